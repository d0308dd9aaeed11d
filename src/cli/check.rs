//! `forebay check`: is the configuration sound, and what does it amount to?

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use clap::Args;
use serde_json::json;

use super::Exit;
use crate::config::{self, Loaded};

/// Exit code for bad usage or configuration.
const BAD_CONFIGURATION: u8 = 2;

/// Arguments of `forebay check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// Also connect to the broker and the database, and log in to both.
    #[arg(long)]
    pub connect: bool,
    /// Print nothing but warnings and mistakes.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Loads the configuration and prints what results: TOML, each key with where it was set, or JSON.
///
/// Warnings go to standard error. Exit codes: 0 sound, 1 output failed, 2 mistakes, each on standard error. `connect` is
/// asked for with `--connect`, once the configuration is known to be sound; it says what it found by itself and gives the
/// exit code.
pub fn run(args: &CheckArgs, config: Option<&Path>, json: bool, connect: impl FnOnce(&Loaded) -> Exit) -> ExitCode {
    let loaded = match config::load(config) {
        Ok(loaded) => loaded,
        Err(error) => {
            report(&error.to_string());
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    for warning in &loaded.warnings {
        report(&format!("warning: {warning}"));
    }
    if !args.quiet {
        let printed = render(&loaded, json).and_then(|text| io::stdout().lock().write_all(text.as_bytes()));
        if let Err(error) = printed {
            report(&format!("the configuration could not be printed ({error})"));
            return ExitCode::FAILURE;
        }
    }
    let exit = if args.connect { connect(&loaded) } else { Exit::Ok };
    ExitCode::from(exit as u8)
}

fn render(loaded: &Loaded, json: bool) -> io::Result<String> {
    if json {
        let all = json!({
            "settings": loaded.settings,
            "origins": loaded.origins,
            "files": loaded.files,
            "warnings": loaded.warnings,
        });
        return serde_json::to_string_pretty(&all).map(|text| text + "\n").map_err(io::Error::other);
    }
    config::to_toml(&loaded.settings, &loaded.origins).map_err(io::Error::other)
}

/// Writes to standard error; when even that fails there is nowhere left to say so.
fn report(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ARGS: CheckArgs = CheckArgs { connect: true, quiet: true };

    fn check(text: &str, reachable: bool) -> ExitCode {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("forebay.toml");
        fs::write(&file, text).expect("written");
        run(&ARGS, Some(&file), false, |_| if reachable { Exit::Ok } else { Exit::Failed })
    }

    #[test]
    fn exit_codes_tell_mistakes_from_failures() {
        let sound = "[source.a]\ntopic = \"a/{x}\"\ntable = \"a\"\n";
        assert_eq!(check(sound, true), ExitCode::SUCCESS);
        assert_eq!(check(sound, false), ExitCode::FAILURE);
        assert_eq!(check("[mqtt]\nprotocol = 9\n", true), ExitCode::from(2));
    }

    #[test]
    fn both_forms_have_the_settings() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("forebay.toml");
        fs::write(&file, "[source.a]\ntopic = \"a/{x}\"\ntable = \"a\"\n").expect("written");
        let loaded = config::load_with(Some(&file), std::iter::empty()).expect("loaded");
        let json: serde_json::Value = serde_json::from_str(&render(&loaded, true).expect("json")).expect("json");
        assert_eq!(json["settings"]["source"]["a"]["table"], "a");
        assert_eq!(json["settings"]["ring"]["size"], "256MiB");
        assert!(render(&loaded, false).expect("toml").contains("[source.a]"));
    }
}
