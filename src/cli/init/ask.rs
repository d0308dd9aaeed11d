//! Questions to whoever runs the command, and their answers.

use std::io::{self, BufRead, IsTerminal as _, Write as _};

use rustix::{
    io::Errno,
    termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr},
};

use crate::{
    cli::{Exit, Failure},
    shown::for_terminal,
};

/// Longest answer in bytes.
const MAX_ANSWER_BYTES: u64 = 4_096;

/// Where answers come from.
pub struct Answers {
    /// None where the defaults are taken.
    input: Option<Box<dyn BufRead>>,
}

impl Answers {
    /// From the terminal, or the defaults where `takes_defaults`.
    pub fn new(takes_defaults: bool) -> Result<Self, Failure> {
        if takes_defaults {
            return Ok(Self { input: None });
        }
        let input = io::stdin();
        if !input.is_terminal() {
            let what = "standard input is no terminal, so nobody can be asked: give --yes to take the defaults, and options for the rest";
            return Err(Failure::new(Exit::Usage, what));
        }
        Ok(Self { input: Some(Box::new(io::BufReader::new(input))) })
    }

    /// Whether somebody answers.
    pub fn are_given(&self) -> bool {
        self.input.is_some()
    }

    /// A line; the default where it is empty.
    pub fn text(&mut self, question: &str, default: &str) -> Result<String, Failure> {
        if self.input.is_none() {
            return Ok(default.to_owned());
        }
        ask(&if default.is_empty() { format!("{question}: ") } else { format!("{question} [{default}]: ") });
        let answer = self.line()?;
        Ok(if answer.is_empty() { default.to_owned() } else { answer })
    }

    /// Yes or no; yes where nothing is said.
    pub fn agrees(&mut self, question: &str) -> Result<bool, Failure> {
        loop {
            match self.text(&format!("{question} (y/n)"), "y")?.to_lowercase().as_str() {
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => ask("please answer y or n\n"),
            }
        }
    }

    /// A line that the terminal does not show.
    pub fn secret(&mut self, question: &str) -> Result<String, Failure> {
        ask(&format!("{question}: "));
        let _hidden = Hidden::new();
        let answer = self.line();
        ask("\n");
        answer
    }

    fn line(&mut self) -> Result<String, Failure> {
        let Some(input) = &mut self.input else { return Ok(String::new()) };
        let mut line = String::new();
        let read = io::Read::take(&mut *input, MAX_ANSWER_BYTES).read_line(&mut line);
        match read {
            Ok(0) => {
                Err(Failure::new(Exit::Usage, "the input ended before all was answered; nothing more was written"))
            }
            Ok(_) => Ok(line.trim().to_owned()),
            Err(why) => Err(Failure::new(Exit::Failed, format!("can't read the answer: {why}"))),
        }
    }
}

/// Writes a question; when even that fails nobody can be asked, and the answer's end says so.
fn ask(text: &str) {
    let mut out = io::stderr().lock();
    let _ = write!(out, "{}", for_terminal(text));
    let _ = out.flush();
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(Option<rustix::termios::Termios>);

impl Hidden {
    fn new() -> Self {
        let hide = || -> Result<_, Errno> {
            let before = tcgetattr(io::stdin())?;
            let mut quiet = before.clone();
            quiet.local_modes.remove(LocalModes::ECHO);
            tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
            Ok(before)
        };
        Self(hide().ok())
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(text: &'static str) -> Answers {
        Answers { input: Some(Box::new(text.as_bytes())) }
    }

    #[test]
    fn an_empty_answer_is_the_default_and_the_end_is_none() {
        let mut answers = answers("\n other \nNo\nmaybe\nyes\n");
        assert_eq!(answers.text("Broker", "mqtt://127.0.0.1").unwrap(), "mqtt://127.0.0.1");
        assert_eq!(answers.text("Broker", "").unwrap(), "other");
        assert!(!answers.agrees("take it").unwrap());
        assert!(answers.agrees("take it").unwrap(), "what is neither is asked again");
        assert_eq!(answers.text("more", "x").unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn nobody_is_asked_where_the_defaults_are_taken() {
        let mut answers = Answers::new(true).unwrap();
        assert_eq!(answers.text("Broker", "a").unwrap(), "a");
        assert!(answers.agrees("take it").unwrap() && !answers.are_given());
    }
}
