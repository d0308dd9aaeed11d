//! What the reader of an imported configuration must know beside the sources themselves.

use serde::Serialize;

/// How much a remark weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// forebay has nothing that does the same.
    NoCounterpart,
    /// forebay does it in another way, or other rows come of it.
    Changed,
    /// Good to know.
    Note,
}

impl Kind {
    /// The word in front of a remark.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NoCounterpart => "no counterpart",
            Self::Changed => "changed",
            Self::Note => "note",
        }
    }
}

/// A place in a Telegraf configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The option, such as `inputs.mqtt_consumer[0].qos`.
    #[serde(rename = "where")]
    pub path: String,
}

/// A remark and the place of what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// What it is about.
    #[serde(flatten)]
    pub place: Place,
    /// What the reader must know.
    pub what: String,
    /// How much it weighs.
    pub kind: Kind,
    /// The key of the printed source that it stands before; the source's head where it is empty.
    #[serde(skip)]
    pub key: &'static str,
}

impl Remark {
    /// A remark for the head of a source.
    pub fn new(kind: Kind, place: Place, what: impl Into<String>) -> Self {
        Self { place, what: what.into(), kind, key: "" }
    }

    /// The same before a key.
    #[must_use]
    pub fn at(self, key: &'static str) -> Self {
        Self { key, ..self }
    }
}
