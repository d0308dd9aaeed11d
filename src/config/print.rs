//! The effective configuration as TOML, with where each key was set.

use std::fmt::Write;

use super::{layers::Origins, sizes::Chosen};
use crate::{mqtt::url, settings::Settings};

/// The settings as they may be shown: what a query of the broker's URL says is hidden.
#[must_use]
pub fn as_shown(settings: &Settings) -> Settings {
    let mut shown = settings.clone();
    shown.mqtt.url = url::shown(&settings.mqtt.url);
    shown
}

/// The settings as TOML; keys that were set somewhere carry their origin as a comment, the others
/// are defaults, with the reason where one is not the usual one.
///
/// There is no other secret to hide: secrets are files, and validation refuses them anywhere else.
pub fn to_toml(settings: &Settings, origins: &Origins, chosen: &[Chosen]) -> Result<String, toml::ser::Error> {
    let plain = toml::to_string(&as_shown(settings))?;
    let mut out = String::with_capacity(plain.len() * 2);
    let mut table = String::new();
    for line in plain.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut table);
        }
        let key = line.split_once(" = ").map(|(key, _)| format!("{table}.{key}").replace('"', ""));
        let (origin, chosen) = match &key {
            Some(key) => (origins.get(key), chosen.iter().find(|chosen| chosen.key == key)),
            None => (None, None),
        };
        // Writing into memory does not fail.
        let _ = match (origin, chosen) {
            (Some(origin), _) => writeln!(out, "{line}  # {origin}"),
            (None, Some(Chosen { usual, because, .. })) => {
                writeln!(out, "{line}  # default, {usual} elsewhere: {because}")
            }
            (None, None) => writeln!(out, "{line}"),
        };
    }
    Ok(out)
}
