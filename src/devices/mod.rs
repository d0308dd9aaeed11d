//! Ready-made sources: a configuration file for each family of devices and programs that is known,
//! and the signs that tell a family's messages from those of others. Pure: the files' texts are
//! part of the program.
//!
//! A new family is a file `conf/devices/NAME.toml`, a page of its messages `tests/devices/NAME.md`,
//! and a line in `table.rs`.

pub mod change;
pub mod signs;

mod table;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::Deserialize;
use thiserror::Error;

pub use self::signs::{Recogniser, Signs};
use crate::settings::Source;

/// What sends messages of one form, and the sources that take them.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// The name of the file, and of its first source.
    pub name: &'static str,
    /// The file: comments, then `[source.NAME]`, perhaps followed by `[source.NAME-…]`.
    pub text: &'static str,
    /// What shows that messages are the family's.
    pub signs: Signs,
}

/// A family whose file is no configuration of sources.
#[derive(Debug, Error)]
#[error("the ready-made file {name}.toml: {what}")]
pub struct FamilyError {
    /// The family.
    pub name: &'static str,
    /// What is wrong with its file.
    pub what: String,
}

/// All families, in the order of their names.
#[must_use]
pub fn all() -> &'static [Family] {
    table::FAMILIES
}

/// The family of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Family> {
    all().iter().find(|family| family.name == name)
}

/// The name of a machine's zone. A machine that tells none goes by UTC (`localtime(5)`).
#[must_use]
pub fn zone_name(zone: &TimeZone) -> Option<&str> {
    if zone.is_unknown() { Some("UTC") } else { zone.iana_name() }
}

/// The known name that is spelled most like this one, if any is near.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    /// Below it two names have too little in common.
    const LEAST_LIKENESS: f64 = 0.8;
    let like = |family: &Family| (strsim::jaro_winkler(family.name, name), family.name);
    let best = all().iter().map(like).max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(likeness, _)| *likeness >= LEAST_LIKENESS).map(|(_, name)| name)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    source: BTreeMap<String, Source>,
}

impl Family {
    /// Its name as people write it: the first comment up to the colon.
    #[must_use]
    pub fn title(&self) -> &'static str {
        self.headline().0
    }

    /// What sends it and what its rows are: the rest of the first comment.
    #[must_use]
    pub fn subject(&self) -> &'static str {
        self.headline().1
    }

    fn headline(&self) -> (&'static str, &'static str) {
        let line = self.text.lines().next().unwrap_or_default().trim_start_matches('#').trim();
        line.split_once(": ").unwrap_or((line, ""))
    }

    /// The comments before the first section, as lines of text.
    #[must_use]
    pub fn about(&self) -> String {
        let lines = self.text.lines().take_while(|line| line.starts_with('#'));
        let text = lines.map(|line| line.strip_prefix("# ").unwrap_or(line.trim_start_matches('#')));
        text.collect::<Vec<_>>().join("\n")
    }

    /// The sources that the file describes.
    pub fn sources(&self) -> Result<BTreeMap<String, Source>, FamilyError> {
        let file: Result<File, _> = toml::from_str(self.text);
        file.map(|file| file.source).map_err(|error| self.error(error.message()))
    }

    /// What tells its messages from others.
    pub fn recogniser(&self) -> Result<Recogniser, FamilyError> {
        Recogniser::new(&self.sources()?, &self.signs).map_err(|what| self.error(&what))
    }

    fn error(&self, what: &str) -> FamilyError {
        FamilyError { name: self.name, what: what.to_owned() }
    }
}
