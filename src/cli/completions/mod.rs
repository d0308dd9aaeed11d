//! `forebay completions`, and what the shells' scripts call: candidates for the word that is being typed.
//!
//! A shell's script only calls the program, with `COMPLETE` in its environment, so it never goes out of date. Names of tables, symbols
//! and fields come from the running daemon.

mod bash;
mod names;

use std::io;

use clap::Args;
use clap_complete::{
    CompleteEnv, Shell,
    env::{Elvish, Fish, Powershell, Shells, Zsh},
};

use self::bash::Bash;
use super::{Exit, Failure, command, out::emit};

/// The variable that makes the program complete instead of run.
const VARIABLE: &str = "COMPLETE";
const SHELLS: Shells<'static> = Shells(&[&Bash, &Elvish, &Fish, &Powershell, &Zsh]);

/// Arguments of `completions`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
The script has the shell ask this program for candidates: subcommands, options, and the names of tables, symbols and fields from \
the running daemon, which has 200 ms to answer; without it there are no names. Names and values that a shell would take for more \
than a word are left out.

  bash  source <(forebay completions bash)          in ~/.bashrc
  zsh   source <(forebay completions zsh)           in ~/.zshrc, after compinit
  fish  forebay completions fish | source           in ~/.config/fish/config.fish

make install puts them where the shells look for themselves.")]
pub struct CompletionsArgs {
    /// The shell; its script goes to standard output.
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let script = script(&args.shell.to_string()).map_err(|why| Failure::new(Exit::Failed, why))?;
    emit(&script)
}

fn script(shell: &str) -> io::Result<String> {
    let unknown = || io::Error::other(format!("there is no script for {shell}"));
    let shell = SHELLS.completer(shell).ok_or_else(unknown)?;
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, "forebay", "forebay", "forebay", &mut script)?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// Completes and ends the process if that is what a shell has called for.
pub fn complete() {
    CompleteEnv::with_factory(|| with_names(command())).var(VARIABLE).shells(SHELLS).complete();
}

/// Adds names, from the daemon and of ready-made files, to the arguments that take them, in every
/// subcommand.
fn with_names(command: clap::Command) -> clap::Command {
    let named = command.mut_args(|arg| match arg.get_id().as_str() {
        "terms" => arg.add(names::terms()),
        "table" | "tables" => arg.add(names::tables()),
        "fields" => arg.add(names::fields()),
        "family" => arg.add(names::families()),
        _ => arg,
    });
    named.mut_subcommands(with_names)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn arguments_that_take_names_are_found() {
        let command = with_names(command());
        let completed = |path: &[&str], id: &str| {
            let command = path.iter().fold(&command, |command, name| command.find_subcommand(name).unwrap());
            let arg = command.get_arguments().find(|arg| arg.get_id() == id);
            arg.unwrap().get::<clap_complete::engine::ArgValueCompleter>().is_some()
        };
        for (path, id) in [
            (["get"].as_slice(), "terms"),
            (&["get"], "fields"),
            (&["get"], "table"),
            (&["watch"], "terms"),
            (&["replay"], "tables"),
            (&["verify"], "tables"),
            (&["ring", "cat"], "table"),
            (&["quarantine", "ls"], "table"),
            (&["device", "show"], "family"),
            (&["device", "add"], "family"),
        ] {
            assert!(completed(path, id), "{path:?} {id}");
        }
        assert!(!completed(&["get"], "limit"));
    }

    #[test]
    fn every_shell_has_a_script_that_calls_the_program() {
        for shell in Shell::value_variants() {
            let script = script(&shell.to_string()).unwrap();
            assert!(script.contains("forebay") && script.contains(VARIABLE), "{shell}: {script}");
        }
    }
}
