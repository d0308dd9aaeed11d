//! `forebay check`: is the configuration sound, and what does it amount to?

use std::{
    io::{self, Write},
    path::Path,
};

use clap::Args;
use serde_json::json;

use super::{Exit, Failure, Global, connect};
use crate::config::{self, Loaded};

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
/// Warnings go to standard error. Exit codes: 0 sound, 2 mistakes or refused credentials, 1 output or a connection failed.
pub fn run(args: &CheckArgs, global: &Global) -> Result<(), Failure> {
    let loaded = check(args, global.config_file(), global.json)?;
    if args.connect { connect::try_all(&loaded.settings) } else { Ok(()) }
}

fn check(args: &CheckArgs, file: Option<&Path>, json: bool) -> Result<Loaded, Failure> {
    let loaded = config::load(file).map_err(|error| Failure::new(Exit::Usage, error))?;
    for warning in &loaded.warnings {
        report(&format!("warning: {warning}"));
    }
    if !args.quiet {
        let text = render(&loaded, json).map_err(|error| Failure::new(Exit::Failed, error))?;
        super::out::emit(&text)?;
    }
    Ok(loaded)
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

    fn exit_of(text: &str) -> Exit {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("forebay.toml");
        fs::write(&file, text).expect("written");
        let args = CheckArgs { connect: false, quiet: true };
        check(&args, Some(&file), false).map_or_else(|failure| failure.exit, |_| Exit::Ok)
    }

    #[test]
    fn exit_codes_tell_sound_from_mistaken() {
        assert_eq!(exit_of("[source.a]\ntopic = \"a/{x}\"\ntable = \"a\"\n"), Exit::Ok);
        assert_eq!(exit_of("[mqtt]\nprotocol = 9\n"), Exit::Usage);
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
