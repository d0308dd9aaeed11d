//! What tells two configurations apart, key by key, and when a running daemon goes by it. Pure.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;
use serde_json::Value as Json;

use crate::{
    settings::{Batch, Settings},
    shown::harmless,
};

/// Longest value that is shown whole, in characters.
const MAX_SHOWN: usize = 80;

/// When a changed key is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// With the next reload.
    Reload,
    /// With the next start.
    Restart,
    /// When `forebay ring resize` is run: a ring that is there keeps its size.
    Resize,
}

/// A key that two configurations have otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Its path, such as `source.climate.topic`; a source that only one of them has is one key.
    pub key: String,
    /// What it was; none where it was not there.
    pub before: Option<Json>,
    /// What it is; none where it is not there any more.
    pub after: Option<Json>,
    /// When the daemon goes by it.
    pub when: When,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = harmless(&self.key);
        match (&self.before, &self.after) {
            (None, Some(_)) if is_source(&self.key) => write!(f, "{key}: new"),
            (Some(_), None) if is_source(&self.key) => write!(f, "{key}: gone"),
            (before, after) => write!(f, "{key}: {} becomes {}", shown(before.as_ref()), shown(after.as_ref())),
        }
    }
}

fn shown(value: Option<&Json>) -> String {
    let Some(value) = value else { return "nothing".to_owned() };
    let text = value.to_string();
    let text = harmless(&text);
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// The keys that differ, in their order.
#[must_use]
pub fn between(before: &Json, after: &Json) -> Vec<Change> {
    let mut changes = Vec::new();
    compare("", before, after, &mut changes);
    changes
}

/// The keys that two settings have otherwise, in their order.
#[must_use]
pub fn between_settings(before: &Settings, after: &Settings) -> Vec<Change> {
    // Settings become JSON whatever they are: each of them is data.
    let json = |settings| serde_json::to_value(super::as_shown(settings)).unwrap_or_default();
    between(&json(before), &json(after))
}

/// The settings that a daemon runs by after a reload: what it takes over of the new ones, and the
/// rest as it was. [`when`] tells the same of each key.
#[must_use]
pub fn reloaded(running: &Settings, new: &Settings) -> Settings {
    let mut settings = running.clone();
    settings.source.clone_from(&new.source);
    settings.tags.clone_from(&new.tags);
    settings.limits = new.limits.clone();
    settings.batch = Batch { max_lanes: running.batch.max_lanes, ..new.batch.clone() };
    settings.daemon = new.daemon.clone();
    settings.log.level.clone_from(&new.log.level);
    settings
}

/// When a key is in force that has changed.
#[must_use]
pub fn when(key: &str) -> When {
    if key == "ring.size" {
        return When::Resize;
    }
    let section = key.split('.').next().unwrap_or_default();
    let is_soon = match section {
        "source" | "tags" | "limits" | "daemon" => true,
        "batch" => key != "batch.max_lanes",
        "log" => key == "log.level",
        _ => false,
    };
    if is_soon { When::Reload } else { When::Restart }
}

/// Whether a key is that of a whole source.
fn is_source(key: &str) -> bool {
    key.strip_prefix("source.").is_some_and(|name| !name.contains('.'))
}

fn compare(key: &str, before: &Json, after: &Json, changes: &mut Vec<Change>) {
    if before == after {
        return;
    }
    let (Json::Object(old), Json::Object(new)) = (before, after) else {
        let there = |value: &Json| (!value.is_null()).then(|| value.clone());
        let (before, after) = (there(before), there(after));
        return changes.push(Change { key: key.to_owned(), before, after, when: when(key) });
    };
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let path = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        let of = |map: &serde_json::Map<String, Json>| map.get(name).cloned().unwrap_or_default();
        compare(&path, &of(old), &of(new), changes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("forebay.toml");
        std::fs::write(&file, text).expect("written");
        super::super::load_with(Some(&file), std::iter::empty()).expect("a configuration").settings
    }

    #[test]
    fn each_key_that_differs_is_named_with_when_it_is_in_force() {
        let before = settings(
            "[source.a]\ntopic = \"a/{x}\"\ntable = \"a\"\n[source.b]\ntopic = \"b/{x}\"\ntable = \"b\"\n[batch]\nmax_rows = 10",
        );
        let after = settings(
            "[source.a]\ntopic = \"a/{y}\"\ntable = \"a\"\nscale = { v = 0.1 }\n[source.c]\ntopic = \"c/{x}\"\ntable = \"c\"\n\
             [batch]\nmax_rows = 20\nmax_lanes = 3\n[ring]\nsize = \"128MiB\"\n[limits]\ncolumns_per_table = 20",
        );
        let changes = between_settings(&before, &after);
        let told: Vec<String> = changes.iter().map(|change| format!("{:?} {change}", change.when)).collect();
        let expected = [
            "Restart batch.max_lanes: ",
            "Reload batch.max_rows: 10 becomes 20",
            "Reload limits.columns_per_table: 300 becomes 20",
            "Resize ring.size: \"256MiB\" becomes \"128MiB\"",
            "Reload source.a.scale",
            "Reload source.a.topic: \"a/{x}\" becomes \"a/{y}\"",
            "Reload source.b: gone",
            "Reload source.c: new",
        ];
        for want in expected {
            assert!(told.iter().any(|line| line.starts_with(want)), "{want} in {told:#?}");
        }
        assert_eq!(between_settings(&before, &before), []);
        let (now, left) = (reloaded(&before, &after), between_settings(&reloaded(&before, &after), &after));
        assert!(left.iter().all(|change| change.when != When::Reload), "{left:?}");
        let left: Vec<&String> = left.iter().map(|change| &change.key).collect();
        let told = changes.iter().filter(|change| change.when != When::Reload).map(|change| &change.key);
        assert_eq!(left, told.collect::<Vec<_>>());
        assert!(between_settings(&before, &now).iter().all(|change| change.when == When::Reload));
    }

    #[test]
    fn of_each_key_it_is_told_when_it_is_in_force() {
        /// Makes each number and flag another one.
        fn change(value: &mut Json) {
            match value {
                Json::Bool(flag) => *flag = !*flag,
                Json::Number(number) => *value = Json::from(number.as_u64().unwrap_or(1) + 1),
                Json::Object(members) => members.values_mut().for_each(change),
                _ => {}
            }
        }
        let before = settings("");
        let mut json = serde_json::to_value(&before).expect("JSON");
        change(&mut json);
        let after: Settings = serde_json::from_value(json).expect("settings");
        let left = between_settings(&reloaded(&before, &after), &after);
        assert!(left.len() >= 3 && left.iter().all(|change| change.when != When::Reload), "{left:?}");
        let taken = between_settings(&before, &reloaded(&before, &after));
        assert!(taken.len() >= 3 && taken.iter().all(|change| change.when == When::Reload), "{taken:?}");
    }

    #[test]
    fn long_values_are_shown_in_part() {
        let change = Change {
            key: "source.a.jq".into(),
            before: None,
            after: Some(Json::String("x".repeat(500))),
            when: When::Reload,
        };
        assert!(change.to_string().chars().count() < 120 && change.to_string().ends_with('…'));
    }
}
