//! Exit codes, and the one place that prints an error.

use std::{error::Error, fmt::Display, io::Write, process::ExitCode};

use crate::{control::client::ClientError, shown::harmless_lines};

/// How a command ends; the numbers are relied on by scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Nothing was found.
    NotFound = 3,
    /// The daemon is not reachable; of `decode --follow`, the broker.
    Unreachable = 4,
    /// The ring is poisoned, or its file fails.
    Ring = 5,
}

/// Why a command ends without success.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The error; none when there is nothing to print.
    pub error: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure for an error, or for a message.
    pub fn new(exit: Exit, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit, error: Some(error.into()) }
    }

    /// An end without a word: standard output was closed, or everything has been said.
    pub fn silent(exit: Exit) -> Self {
        Self { exit, error: None }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Problem(problem) if problem.status == 404 => Exit::NotFound,
            ClientError::Problem(problem) if problem.status == 400 => Exit::Usage,
            error if error.is_unreachable() => Exit::Unreachable,
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

/// Prints the error with what caused it, and gives the exit code.
pub fn conclude(done: Result<(), Failure>) -> ExitCode {
    let Err(failure) = done else { return ExitCode::SUCCESS };
    if let Some(error) = failure.error {
        // With standard error closed there is nobody left to tell.
        let _ = writeln!(std::io::stderr(), "forebay: {}", harmless_lines(&chain(&*error).to_string()));
    }
    ExitCode::from(failure.exit as u8)
}

/// The error and its sources, each once: "a: b: c".
fn chain(error: &(dyn Error + 'static)) -> impl Display + use<> {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_are_told_once() {
        let error = Outer(std::io::Error::other("inner"));
        assert_eq!(chain(&error).to_string(), "outer: inner");
    }

    #[test]
    fn an_unreachable_daemon_and_a_miss_have_codes_of_their_own() {
        assert_eq!(Failure::from(ClientError::Missing("/s".into())).exit, Exit::Unreachable);
        let problem = |status| crate::control::api::Problem {
            kind: "about:blank".into(),
            title: String::new(),
            status,
            detail: String::new(),
            hint: String::new(),
        };
        assert_eq!(Failure::from(ClientError::Problem(problem(404))).exit, Exit::NotFound);
        assert_eq!(Failure::from(ClientError::Problem(problem(400))).exit, Exit::Usage);
        assert_eq!(Failure::from(ClientError::Problem(problem(503))).exit, Exit::Failed);
    }
}
