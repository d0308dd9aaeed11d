//! `forebay check`: is the configuration sound, and what does it amount to?

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::json;

use super::{Exit, Failure, Global, changes, connect, out::say as report};
use crate::{
    config::{
        self, Loaded,
        permitted::{self, Permitted},
        places, sizes,
    },
    control::token::{TokenError, WriteToken},
    daemon::client,
    ring::inspect::RingFile,
    settings::Bytes,
};

/// How long the ring may be looked into for what it remembers of the session.
const RING_WITHIN: Duration = Duration::from_secs(3);

/// Arguments of `forebay check`.
#[derive(Debug, Clone, Default, Args)]
pub struct CheckArgs {
    /// Also connect to the broker and the database, and log in to both.
    #[arg(long)]
    pub connect: bool,
    /// The daemon's user: whether they could use the files is looked at [default: the owner of the
    /// ring's directory, or forebay].
    #[arg(long = "as", value_name = "USER")]
    pub user: Option<String>,
    /// Print what the configuration changes of the running daemon's, and what of it a reload does,
    /// instead of the whole configuration.
    #[arg(long)]
    pub changes: bool,
    /// Print nothing but warnings and mistakes.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Loads the configuration and prints what results: TOML, each key with where it was set, or JSON.
///
/// What stands where its files are wanted is looked at, also whether the daemon's user could use
/// it, and the token of `control.token_file` is read. Warnings go to standard error, and at the end
/// the verdict: valid, or not valid, and with `--connect` whether the connections work. Exit codes:
/// 0 sound, 2 mistakes or refused credentials, 1 output or a connection failed.
pub fn run(args: &CheckArgs, global: &Global) -> Result<(), Failure> {
    let (loaded, permitted) = check(args, global.config_file()).map_err(not_valid)?;
    let shown = match (args.quiet, args.changes) {
        (_, true) => changes::show(&loaded, global),
        (true, false) => Ok(()),
        (false, false) => show(&loaded, permitted.as_ref(), global.json),
    };
    let connected = if args.connect { connect::try_all(&loaded.settings) } else { Ok(()) };
    if !args.quiet || connected.is_err() {
        report(verdict(args.connect, &connected));
    }
    connected.and(shown)
}

/// The last line of a configuration without mistakes of its own.
fn verdict(connects: bool, connected: &Result<(), Failure>) -> &'static str {
    match connected {
        Ok(()) if !connects => "valid",
        Ok(()) => "valid; both connections work",
        Err(failure) if failure.exit == Exit::Usage => "not valid; a connection is refused",
        Err(_) => "valid; a connection does not work",
    }
}

/// The same failure, which ends with the verdict.
fn not_valid(failure: Failure) -> Failure {
    let Failure { exit, error } = failure;
    match error {
        Some(error) => Failure::new(exit, format!("{error}\nnot valid")),
        None => Failure { exit, error },
    }
}

fn check(args: &CheckArgs, file: Option<&Path>) -> Result<(Loaded, Option<Permitted>), Failure> {
    let mut loaded = config::load(file).map_err(|error| Failure::new(Exit::Usage, error))?;
    if let Ok(ring) = RingFile::open(&loaded.settings.ring.path) {
        loaded.warnings.extend(old_session(&loaded, &ring));
        loaded.warnings.extend(other_size(&loaded, &ring));
    }
    loaded.warnings.extend(places::missing(&loaded));
    for warning in &loaded.warnings {
        report(&format!("warning: {warning}"));
    }
    if !args.quiet {
        for line in sizes::told(&loaded.chosen) {
            report(&line);
        }
    }
    let permitted = permitted::look(&loaded, args.user.as_deref()).map_err(|error| Failure::new(Exit::Usage, error))?;
    let mut problems = places::look(&loaded);
    if let Some(Permitted { user, because, problems: refused }) = &permitted {
        if !args.quiet || !refused.is_empty() {
            report(&format!("files are judged for user {user} ({because})"));
        }
        problems.extend(refused.iter().cloned());
    }
    if !problems.is_empty() {
        return Err(Failure::new(Exit::Usage, config::ConfigError { problems }));
    }
    token(&loaded)?;
    Ok((loaded, permitted))
}

/// Prints what the configuration amounts to.
fn show(loaded: &Loaded, permitted: Option<&Permitted>, json: bool) -> Result<(), Failure> {
    let text = render(loaded, permitted, json).map_err(|error| Failure::new(Exit::Failed, error))?;
    super::out::emit(&text)
}

/// Where a key was set, for the front of a message; nothing for a default.
fn origin(loaded: &Loaded, key: &str) -> String {
    loaded.origins.get(key).map(|origin| format!("{origin}: ")).unwrap_or_default()
}

/// What is to be said where the ring was last used under another client id. A ring that cannot be read, or takes long, says nothing.
fn old_session(loaded: &Loaded, ring: &RingFile) -> Option<String> {
    let client_id = &loaded.settings.mqtt.client_id;
    let started = Instant::now();
    let states = ring.states(&mut || started.elapsed() < RING_WITHIN).ok()??;
    let old = client::others(&states, client_id).pop()?;
    Some(format!("{}{}", origin(loaded, "mqtt.client_id"), client::left_behind(&old, client_id)))
}

/// What is to be said where the ring's file has another size than the configuration.
fn other_size(loaded: &Loaded, file: &RingFile) -> Option<String> {
    let settings = &loaded.settings.ring;
    if file.has_size(settings.size.0) {
        return None;
    }
    let origin = origin(loaded, "ring.size");
    let (path, has, wanted) = (settings.path.display(), Bytes(file.expected_bytes()), settings.size);
    Some(format!(
        "{origin}ring.size: {path} has {has} and keeps it, not {wanted}; forebay ring resize gives it another size"
    ))
}

/// Reads the token as the daemon does at its start.
fn token(loaded: &Loaded) -> Result<(), Failure> {
    let Some(path) = &loaded.settings.control.token_file else { return Ok(()) };
    let Err(error) = WriteToken::load(path) else { return Ok(()) };
    let origin = origin(loaded, "control.token_file");
    if matches!(&error, TokenError::Secret(secret) if secret.is_denied()) {
        // A secret is hidden from others than the daemon's user, and this may be one of them.
        report(&format!("warning: {origin}{error}; run this as the daemon's user, or as root, to have it looked at"));
        return Ok(());
    }
    Err(Failure::new(Exit::Usage, format!("{origin}{error}")))
}

fn render(loaded: &Loaded, permitted: Option<&Permitted>, json: bool) -> io::Result<String> {
    if json {
        let chosen: BTreeMap<_, _> = loaded
            .chosen
            .iter()
            .map(|chosen| (chosen.key, json!({"usual": chosen.usual, "why": chosen.because.to_string()})))
            .collect();
        let all = json!({
            "settings": config::as_shown(&loaded.settings),
            "origins": loaded.origins,
            "chosen": chosen,
            "files": loaded.files,
            "warnings": loaded.warnings,
            "judged_for": permitted.map(|permitted| &permitted.user),
        });
        return serde_json::to_string_pretty(&all).map(|text| text + "\n").map_err(io::Error::other);
    }
    config::to_toml(&loaded.settings, &loaded.origins, &loaded.chosen).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn exit_of(text: &str) -> Exit {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("forebay.toml");
        fs::write(&file, text).expect("written");
        let args = CheckArgs { quiet: true, ..CheckArgs::default() };
        check(&args, Some(&file)).map_or_else(|failure| failure.exit, |_| Exit::Ok)
    }

    #[test]
    fn exit_codes_tell_sound_from_mistaken() {
        assert_eq!(exit_of("[source.a]\ntopic = \"a/{x}\"\ntable = \"a\"\n"), Exit::Ok);
        assert_eq!(exit_of("[mqtt]\nprotocol = 9\n"), Exit::Usage);
    }

    #[test]
    fn the_last_word_tells_the_configuration_from_the_connections() {
        let failed = |exit| Err(Failure::silent(exit));
        assert_eq!((verdict(false, &Ok(())), verdict(true, &Ok(()))), ("valid", "valid; both connections work"));
        assert_eq!(verdict(true, &failed(Exit::Usage)), "not valid; a connection is refused");
        assert_eq!(verdict(true, &failed(Exit::Failed)), "valid; a connection does not work");
        let Failure { exit, error } = not_valid(Failure::new(Exit::Usage, "a: b"));
        assert_eq!((exit, error.unwrap().to_string()), (Exit::Usage, "a: b\nnot valid".to_owned()));
    }

    #[test]
    fn a_token_that_the_daemon_would_not_start_with_is_told_with_its_place() {
        let directory = tempfile::tempdir().expect("directory");
        let (file, token) = (directory.path().join("forebay.toml"), directory.path().join("token"));
        let control =
            format!("[control]\nlisten = \"127.0.0.1:8400\"\ntoken_file = {:?}\n", token.display().to_string());
        let text = control + "[source.a]\ntopic = \"a/{x}\"\ntable = \"a\"\n";
        fs::write(&file, text).expect("written");
        let checked = || {
            let done = check(&CheckArgs { quiet: true, ..CheckArgs::default() }, Some(&file));
            done.map_or_else(
                |failure| (failure.exit, failure.error.expect("an error").to_string()),
                |_| (Exit::Ok, String::new()),
            )
        };
        let refused = |word: &str| {
            let (exit, error) = checked();
            assert_eq!(exit, Exit::Usage, "{error}");
            let place = format!("{}:3: control.token_file", file.display());
            assert!(error.starts_with(&place) && error.contains(word), "{word} and {place} in {error}");
        };
        refused("cannot be opened");
        let put = |text: &str, mode| {
            fs::write(&token, text).expect("written");
            fs::set_permissions(&token, fs::Permissions::from_mode(mode)).expect("mode");
        };
        put("", 0o600);
        refused("empty");
        put("short\n", 0o600);
        refused("16 to 1024");
        put(&"t".repeat(1_025), 0o600);
        refused("16 to 1024");
        put("0123456789abcdef\n", 0o644);
        refused("chmod 640");
        put("0123456789abcdef\n", 0o640);
        assert_eq!(checked().0, Exit::Ok);
    }

    #[test]
    fn both_forms_have_the_settings() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("forebay.toml");
        fs::write(&file, "[source.a]\ntopic = \"a/{x}\"\ntable = \"a\"\n").expect("written");
        let loaded = config::load_with(Some(&file), std::iter::empty()).expect("loaded");
        let json: serde_json::Value = serde_json::from_str(&render(&loaded, None, true).expect("json")).expect("json");
        assert_eq!(json["settings"]["source"]["a"]["table"], "a");
        assert_eq!(json["settings"]["ring"]["size"], "256MiB");
        assert!(render(&loaded, None, false).expect("toml").contains("[source.a]"));
    }
}
