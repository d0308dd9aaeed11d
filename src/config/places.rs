//! What stands where the configured files are wanted: looked at by `forebay check`, and at the start by whoever opens them.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use super::{Loaded, Problem};
use crate::{
    files::read::{CREDENTIALS, other_than_file},
    settings::Settings,
};

/// Files that are read, by their keys.
pub(super) fn read_files(settings: &Settings) -> Vec<(&'static str, PathBuf)> {
    let (mqtt, questdb) = (&settings.mqtt, &settings.questdb);
    let conf = questdb_confstr::parse_conf_str(&questdb.conf).ok();
    let roots = conf.and_then(|conf| conf.get("tls_roots").map(PathBuf::from));
    let files = [
        ("mqtt.password_file", mqtt.password_file.clone()),
        ("mqtt.tls.ca_file", mqtt.tls.ca_file.clone()),
        ("mqtt.tls.cert_file", mqtt.tls.cert_file.clone()),
        ("mqtt.tls.key_file", mqtt.tls.key_file.clone()),
        ("questdb.password_file", questdb.password_file.clone()),
        ("questdb.token_file", questdb.token_file.clone()),
        ("questdb.conf: tls_roots", roots),
        ("control.token_file", settings.control.token_file.clone()),
    ];
    files.into_iter().filter_map(|(key, path)| Some((key, path?))).collect()
}

/// What cannot be used as it is. What is not there yet, and what this user may not look at, is no problem of the configuration.
pub fn look(loaded: &Loaded) -> Vec<Problem> {
    let settings = &loaded.settings;
    let mut problems = Vec::new();
    let mut regular = read_files(settings);
    regular.push(("ring.path", settings.ring.path.clone()));
    regular.push(("quarantine.path", settings.quarantine.path.clone()));
    for (key, path) in regular {
        if let Some(kind) = kind_of(&path) {
            let what = format!("{} is {kind}, not a regular file; name another, or move it away", path.display());
            problems.push(Problem::new(key, what));
        }
    }
    let socket = &settings.control.socket;
    if let Some(kind) = fs::metadata(socket).ok().map(|found| other_than_file(&found).unwrap_or("a regular file"))
        && kind != "a socket"
    {
        let what =
            format!("{} is there already and is {kind}, not a socket; name another, or move it away", socket.display());
        problems.push(Problem::new("control.socket", what));
    }
    problems.into_iter().map(|problem| problem.locate(&loaded.origins)).collect()
}

/// Warnings of files that are to be read and are not there. Credentials are there while the service
/// runs.
pub fn missing(loaded: &Loaded) -> Vec<String> {
    let is_missing = |path: &Path| fs::metadata(path).is_err_and(|why| why.kind() == io::ErrorKind::NotFound);
    let files = read_files(&loaded.settings).into_iter();
    let missing = files.filter(|(_, path)| !is_credential(path) && is_missing(path));
    let told = missing.map(|(key, path)| Problem::new(key, format!("{} does not exist", path.display())));
    told.map(|problem| problem.locate(&loaded.origins).to_string()).collect()
}

/// Whether the service manager hands the file over while the service runs.
pub fn is_credential(path: &Path) -> bool {
    let given = env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    path.starts_with(CREDENTIALS) || path.starts_with("%d") || given.is_some_and(|given| path.starts_with(given))
}

fn kind_of(path: &Path) -> Option<&'static str> {
    fs::metadata(path).ok().as_ref().and_then(other_than_file)
}
