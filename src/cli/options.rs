//! Which options of all commands each of them shows: those that mean something to it. The others
//! are taken and have no effect, so that a wrapper may give them to any command.

use clap::Command;

/// Commands, by their path, and the options that mean nothing to them.
const MEANINGLESS: &[(&[&str], &[&str])] = &[
    (&["run"], &["socket", "json"]),
    (&["decode"], &["socket"]),
    (&["init"], &["json"]),
    (&["device", "ls"], &["config", "socket"]),
    (&["device", "show"], &["config", "socket"]),
    (&["device", "add"], &["socket"]),
    (&["discover"], &["socket"]),
    // It refuses --json.
    (&["top"], &["json"]),
    (&["ring", "verify"], &["socket"]),
    (&["ring", "ls"], &["socket"]),
    // What it prints is JSON unless --format says otherwise.
    (&["ring", "cat"], &["socket", "json"]),
    (&["ring", "size"], &["socket"]),
    (&["ring", "export"], &["socket"]),
    (&["quarantine", "export"], &["json"]),
    (&["simulate"], &["socket"]),
    (&["import", "telegraf"], &["config", "socket"]),
    (&["version"], &["config", "socket"]),
    (&["completions"], &["config", "socket", "json"]),
    (&["man"], &["config", "socket", "json"]),
];

/// The command line with those options hidden.
pub fn only_what_matters(mut command: Command) -> Command {
    for (path, ids) in MEANINGLESS {
        for id in *ids {
            let option = command.get_arguments().find(|arg| arg.get_id() == id).cloned();
            // What a command has already is not handed down to it.
            command = below(command, path, option.map(|option| option.hide(true)));
        }
    }
    command
}

fn below(command: Command, path: &[&str], option: Option<clap::Arg>) -> Command {
    match path.split_first() {
        Some((name, rest)) => command.mut_subcommand(name, |command| below(command, rest, option)),
        None => command.args(option),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn command() -> Command {
        only_what_matters(crate::cli::Command::command())
    }

    /// What `--help` of a command says.
    fn help(path: &[&str]) -> String {
        let line = ["forebay"].iter().chain(path).chain(&["--help"]);
        command().try_get_matches_from(line).expect_err("help ends it").to_string()
    }

    #[test]
    fn only_options_that_mean_something_are_shown() {
        command().debug_assert();
        for (path, ids) in MEANINGLESS {
            let help = help(path);
            for option in ["config", "socket", "json"] {
                assert_eq!(
                    help.contains(&format!("--{option}")),
                    !ids.contains(&option),
                    "{path:?} --{option}: {help}"
                );
            }
        }
        for path in [&["get"][..], &["status"], &["ring", "info"], &["quarantine", "ls"], &["verify"], &["replay"], &[]]
        {
            let help = help(path);
            assert!(["--config", "--socket", "--json"].iter().all(|option| help.contains(option)), "{path:?}: {help}");
        }
    }

    #[test]
    fn what_is_hidden_is_taken_all_the_same() {
        let lines = [
            &["run", "--json", "--socket", "/s", "-c", "/c"][..],
            &["--json", "--socket=/s", "--config=/c", "version"],
        ];
        for line in lines {
            let matches = command().try_get_matches_from([&["forebay"], line].concat()).unwrap();
            assert!(matches.get_flag("json"));
            for (id, path) in [("socket", "/s"), ("config", "/c")] {
                let said = matches.get_one::<std::path::PathBuf>(id);
                assert_eq!(said.map(std::path::PathBuf::as_path), Some(std::path::Path::new(path)), "{line:?}");
            }
        }
    }
}
