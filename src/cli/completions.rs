//! `forebay completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Command, Failure, out::emit};

/// Arguments of `completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// The shell; its script goes to standard output.
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Command::command(), "forebay", &mut script);
    emit(&String::from_utf8_lossy(&script))
}
