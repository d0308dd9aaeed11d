//! What others may know of reloading: the settings in force, and what became of the last reload.

use std::{fmt::Write as _, sync::Mutex};

use crate::{config::as_shown, control::api::ConfigStatus, settings::Settings, sync::lock};

/// Most names, or keys, that a line names.
const MAX_NAMED: usize = 20;

/// The settings in force, and what became of the last reload.
#[derive(Debug, Default)]
pub struct Reloaded(Mutex<Standing>);

#[derive(Debug, Default)]
struct Standing {
    settings: Settings,
    /// What is wrong with the configuration that was read last, where it was refused.
    refused: Option<String>,
    /// The keys that wait for a restart.
    waiting: Vec<String>,
}

impl Reloaded {
    /// After a start with these settings.
    pub fn at_start(settings: Settings) -> Self {
        Self(Mutex::new(Standing { settings, ..Standing::default() }))
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        lock(&self.0).settings.clone()
    }

    /// Takes note of the settings that are in force now, and of the keys that wait for a restart.
    pub fn taken(&self, settings: Settings, waiting: Vec<String>) {
        *lock(&self.0) = Standing { settings, refused: None, waiting };
    }

    /// Takes note that what was read is refused, for these mistakes.
    pub fn refused(&self, problems: &[String]) {
        lock(&self.0).refused = Some(first_of(problems));
    }

    /// Whether the configuration that was read last was refused.
    pub fn is_refused(&self) -> bool {
        lock(&self.0).refused.is_some()
    }

    /// Whether no source is configured.
    pub fn has_no_source(&self) -> bool {
        lock(&self.0).settings.source.is_empty()
    }

    /// All of it, for who asks.
    pub fn status(&self) -> ConfigStatus {
        let standing = lock(&self.0);
        ConfigStatus {
            // Settings become JSON whatever they are: each of them is data.
            settings: serde_json::to_value(as_shown(&standing.settings)).unwrap_or_default(),
            refused: standing.refused.clone(),
            waiting: standing.waiting.clone(),
        }
    }

    /// What the operator should know.
    pub fn warnings(&self) -> Vec<String> {
        let standing = lock(&self.0);
        let refused = standing.refused.as_ref().map(|why| {
            format!("the configuration that was read last is invalid, and the one before stays in force: {why}")
        });
        let waits = (!standing.waiting.is_empty()).then(|| {
            format!("the configuration has changed in what is in force after a restart: {}", named(&standing.waiting))
        });
        refused.into_iter().chain(waits).collect()
    }
}

/// The first of several, and how many more there are.
fn first_of(problems: &[String]) -> String {
    match problems {
        [] => String::new(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}

/// The first of a list, in one line.
pub fn named(list: &[String]) -> String {
    let mut text = list[..list.len().min(MAX_NAMED)].join("; ");
    if list.len() > MAX_NAMED {
        // Writing into memory does not fail.
        let _ = write!(text, "; and {} more", list.len() - MAX_NAMED);
    }
    text
}
