//! The command line: one file a subcommand.

pub mod check;
pub mod simulate;

use std::process::ExitCode;

/// Parses the arguments and runs the subcommand.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
