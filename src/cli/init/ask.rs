//! Questions to whoever runs the command, and their answers.

use std::io::{self, BufRead, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use crate::{
    cli::{Exit, Failure},
    shown::for_terminal,
};

/// Longest answer in bytes.
const MAX_ANSWER_BYTES: usize = 4_096;

/// Where answers come from.
pub struct Answers {
    /// None where the defaults are taken.
    input: Option<Box<dyn BufRead>>,
    /// Whether that is the terminal of standard input.
    is_terminal: bool,
}

impl Answers {
    /// From the terminal, or the defaults where `takes_defaults`.
    pub fn new(takes_defaults: bool) -> Result<Self, Failure> {
        if takes_defaults {
            return Ok(Self { input: None, is_terminal: false });
        }
        let input = io::stdin();
        if !input.is_terminal() {
            let what = "standard input is no terminal, so nobody can be asked: give --yes to take the defaults, and options for the rest";
            return Err(Failure::new(Exit::Usage, what));
        }
        Ok(Self { input: Some(Box::new(io::BufReader::new(input))), is_terminal: true })
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
        let line = self.line(true)?;
        let answer = line.trim();
        Ok(if answer.is_empty() { default } else { answer }.to_owned())
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

    /// A line that the terminal does not show. Spaces are part of it.
    pub fn secret(&mut self, question: &str) -> Result<String, Failure> {
        loop {
            ask(&format!("{question}: "));
            let answer = self.line(false);
            ask("\n");
            let answer = answer?;
            if answer.is_empty() {
                ask("it is empty; please type it\n");
            } else if answer.contains(char::is_control) {
                ask("it has a key that stands for no character; please type it again\n");
            } else {
                return Ok(answer);
            }
        }
    }

    /// A line without its end.
    fn line(&mut self, is_shown: bool) -> Result<String, Failure> {
        let Some(input) = &mut self.input else {
            return Err(Failure::new(Exit::Usage, "nobody can be asked; give options for what has no default"));
        };
        let terminal = self.is_terminal.then(|| Asking::begin(is_shown)).flatten();
        let interrupts = terminal.as_ref().map(Asking::interrupts).unwrap_or_default();
        read_line(input, &interrupts)
    }
}

/// Reads a line up to its end. A byte of `interrupts` means that the user gives up.
fn read_line(input: &mut dyn BufRead, interrupts: &[u8]) -> Result<String, Failure> {
    let mut line = Vec::new();
    loop {
        let available = match input.fill_buf() {
            Ok(available) => available,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
            Err(why) => return Err(Failure::new(Exit::Failed, format!("can't read the answer: {why}"))),
        };
        if available.is_empty() && line.is_empty() {
            return Err(Failure::new(Exit::Usage, "the input ended before all was answered; nothing was written"));
        }
        let end = available.iter().position(|byte| *byte == b'\n' || interrupts.contains(byte));
        let (part, ending) = available.split_at(end.unwrap_or(available.len()));
        let ending = ending.first().copied();
        let (is_last, read) = (ending.is_some() || available.is_empty(), part.len() + usize::from(ending.is_some()));
        line.extend_from_slice(part);
        input.consume(read);
        if ending.is_some_and(|byte| byte != b'\n') {
            return Err(Failure::new(Exit::Failed, "interrupted; nothing was written"));
        }
        if line.len() > MAX_ANSWER_BYTES {
            let what = format!("an answer has at most {MAX_ANSWER_BYTES} bytes; nothing was written");
            return Err(Failure::new(Exit::Usage, what));
        }
        if is_last {
            line.truncate(line.strip_suffix(b"\r").unwrap_or(&line).len());
            let text = String::from_utf8(line);
            return text.map_err(|_| Failure::new(Exit::Usage, "an answer is not UTF-8; nothing was written"));
        }
    }
}

/// Writes a question; when even that fails nobody can be asked, and the answer's end says so.
fn ask(text: &str) {
    let mut out = io::stderr().lock();
    let _ = write!(out, "{}", for_terminal(text));
    let _ = out.flush();
}

/// The terminal while an answer is typed, as it was before once this is dropped. The keys that
/// interrupt (Ctrl-C, Ctrl-\) end the line instead of the process: so the terminal is put back in
/// any case, and they work after listening too, which has taken the signals over.
struct Asking {
    before: Termios,
}

impl Asking {
    fn begin(is_shown: bool) -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let changed = while_asking(&before, is_shown);
        // What was typed before the question was shown, and is no part of a secret.
        let when = if is_shown { OptionalActions::Now } else { OptionalActions::Flush };
        tcsetattr(io::stdin(), when, &changed).ok()?;
        Some(Self { before })
    }

    fn interrupts(&self) -> Vec<u8> {
        let codes = [SpecialCodeIndex::VINTR, SpecialCodeIndex::VQUIT].map(|code| self.before.special_codes[code]);
        codes.into_iter().filter(|code| *code != NO_KEY).collect()
    }
}

/// No key has this function (`_POSIX_VDISABLE`, termios(3)).
const NO_KEY: u8 = 0;

/// The terminal's settings with the keys that interrupt as further ends of a line.
fn while_asking(before: &Termios, is_shown: bool) -> Termios {
    let mut changed = before.clone();
    let codes = &mut changed.special_codes;
    for (key, end) in
        [(SpecialCodeIndex::VINTR, SpecialCodeIndex::VEOL), (SpecialCodeIndex::VQUIT, SpecialCodeIndex::VEOL2)]
    {
        codes[end] = codes[key];
        codes[key] = NO_KEY;
    }
    if !is_shown {
        changed.local_modes.remove(LocalModes::ECHO);
    }
    changed
}

impl Drop for Asking {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
impl Answers {
    /// From a text.
    pub fn from_text(text: &'static str) -> Self {
        Self { input: Some(Box::new(text.as_bytes())), is_terminal: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_answer_is_the_default_and_the_end_is_none() {
        let mut answers = Answers::from_text("\n other \nNo\nmaybe\nyes\n");
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
        assert_eq!(answers.secret("password").unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn of_a_secret_only_the_end_of_its_line_goes() {
        let mut answers = Answers::from_text("\n a b \t\n a b \r\n c \n");
        assert_eq!(answers.secret("password").unwrap(), " a b ", "an empty one, or one with a tab, is asked again");
        assert_eq!(answers.secret("password").unwrap(), " c ");
    }

    #[test]
    fn the_keys_that_interrupt_end_a_line_while_somebody_is_asked() {
        use SpecialCodeIndex as Code;
        // A terminal of the test's own, as every user may open one (pty(7)).
        let terminal = std::fs::File::options().read(true).write(true).open("/dev/ptmx").unwrap();
        let before = tcgetattr(&terminal).unwrap();
        for is_shown in [true, false] {
            tcsetattr(&terminal, OptionalActions::Now, &while_asking(&before, is_shown)).unwrap();
            let asking = tcgetattr(&terminal).unwrap();
            assert_eq!(asking.local_modes.contains(LocalModes::ECHO), is_shown);
            assert!(asking.local_modes.contains(LocalModes::ICANON | LocalModes::ISIG));
            let codes = |of: &Termios, codes: [Code; 2]| codes.map(|code| of.special_codes[code]);
            assert_eq!(codes(&asking, [Code::VEOL, Code::VEOL2]), codes(&before, [Code::VINTR, Code::VQUIT]));
            assert_eq!(codes(&asking, [Code::VINTR, Code::VQUIT]), [NO_KEY; 2]);
        }
        assert_eq!(Asking { before }.interrupts(), b"\x03\x1c");
    }

    #[test]
    fn a_key_that_interrupts_ends_it_and_a_line_has_a_limit() {
        let told = |text: &[u8]| read_line(&mut &*text, b"\x03\x1c").unwrap_err().error.unwrap().to_string();
        assert!(told(b"secret\x03").contains("interrupted") && told(b"\x1c").contains("interrupted"));
        assert!(!told(b"secret\x03").contains("secret"));
        assert_eq!(read_line(&mut &b"a\nb\n"[..], b"\x03").unwrap(), "a");
        assert_eq!(read_line(&mut &b"a"[..], b"\x03").unwrap(), "a", "the input may end without a newline");
        let line = |bytes: usize| [vec![b'x'; bytes], b"\n".to_vec()].concat();
        assert_eq!(read_line(&mut line(MAX_ANSWER_BYTES).as_slice(), b"").unwrap().len(), MAX_ANSWER_BYTES);
        assert!(told(&line(MAX_ANSWER_BYTES + 1)).contains("at most") && told(b"\xff\n").contains("UTF-8"));
    }
}
