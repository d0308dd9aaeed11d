//! The configuration: the layers that the settings come from, their validation, and secrets.
//!
//! What there is to set is plain data near the bottom of the crate (`settings/`). [`load`] stands above `decode` and
//! `republish`, whose patterns and templates it checks.

mod layers;
mod machine;
pub mod permitted;
pub mod places;
mod print;
mod schema;
pub mod secrets;
pub mod sizes;
pub mod validate;
mod words;

#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use config::{ConfigError as LayerError, Map, Value, ValueKind};
use serde::de::DeserializeOwned;

pub use layers::{Added, Origins, directory as fragments_of};
pub use print::{as_shown, to_toml};

use self::{
    sizes::{Because, Chosen, Machine},
    validate::tag_fault,
};
use crate::{
    decode,
    settings::{Settings, Source},
    shown::harmless,
};

/// The file read when none is named.
pub const DEFAULT_FILE: &str = "/etc/forebay/forebay.toml";

/// One thing wrong with the configuration, or worth a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File and line, or environment variable, where the key was set.
    pub origin: Option<String>,
    /// The key's path; empty for what concerns a whole file.
    pub key: String,
    /// What is wrong, and the remedy.
    pub what: String,
}

impl Problem {
    fn new(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { origin: None, key: key.into(), what: what.into() }
    }

    fn at(mut self, origin: impl fmt::Display) -> Self {
        self.origin = Some(origin.to_string());
        self
    }

    /// Fills in where the key, or the nearest table above it, was set.
    fn locate(mut self, origins: &Origins) -> Self {
        let mut key = self.key.as_str();
        while self.origin.is_none() && !key.is_empty() {
            self.origin = origins.get(key).cloned();
            key = key.rsplit_once('.').map_or("", |(above, _)| above);
        }
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [self.origin.as_deref(), Some(&*self.key)].into_iter().flatten().filter(|part| !part.is_empty()) {
            write!(f, "{}: ", harmless(part))?;
        }
        f.write_str(&harmless(&self.what))
    }
}

/// Everything wrong with a configuration, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// What is wrong; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// A configuration that is sound.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The files they come from, in the order of their layers.
    pub files: Vec<PathBuf>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<String>,
    /// Where each key was set; what is not here is a default.
    pub origins: Origins,
    /// Defaults that this machine makes others than usual.
    pub chosen: Vec<Chosen>,
}

impl Loaded {
    /// Has the files keep the sizes of `running` where none is set: a running daemon's files are
    /// there, whatever room there is now.
    pub fn keep_file_sizes(&mut self, running: &Settings) {
        let settings = &mut self.settings;
        for (key, size, own) in [
            ("ring.size", &mut settings.ring.size, running.ring.size),
            ("quarantine.size", &mut settings.quarantine.size, running.quarantine.size),
        ] {
            if !self.origins.contains_key(key) {
                *size = own;
            }
        }
    }
}

/// Loads `file` (default [`DEFAULT_FILE`]), conf.d/*.toml beside it, and the environment. Sizes
/// that are not set fit the machine. The error has every mistake.
pub fn load(file: Option<&Path>) -> Result<Loaded, ConfigError> {
    load_on(file, None, std::env::vars_os(), &machine::look)
}

/// Loads the same with one more fragment, which need not be there yet. A source that it has and
/// another file has as well is a mistake: the two would become one.
pub fn load_added(file: Option<&Path>, added: Added<'_>) -> Result<Loaded, ConfigError> {
    let taken = taken_names(file.unwrap_or(Path::new(DEFAULT_FILE)), added);
    if !taken.is_empty() {
        return Err(ConfigError { problems: taken });
    }
    load_on(file, Some(added), std::env::vars_os(), &machine::look)
}

/// Sources of a fragment that other files have.
fn taken_names(file: &Path, added: Added<'_>) -> Vec<Problem> {
    let names = toml::from_str::<toml::Table>(added.text).ok();
    let sources = names.as_ref().and_then(|table| table.get("source")).and_then(toml::Value::as_table);
    let there = layers::merge(file, None, std::iter::empty()).origins;
    let taken = sources.into_iter().flatten().filter_map(|(name, _)| {
        let key = format!("source.{name}");
        let origin = there.get(&key)?;
        let what = "there is a source of this name already; give the new one another name, or change the one there";
        Some(Problem::new(key, what).at(origin))
    });
    taken.collect()
}

/// The same with an environment of the caller's, and the usual sizes.
pub fn load_with(
    file: Option<&Path>,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Loaded, ConfigError> {
    load_on(file, None, environment, &|_| Machine::default())
}

/// The same on a machine of the caller's.
fn load_on(
    file: Option<&Path>,
    added: Option<Added<'_>>,
    environment: impl Iterator<Item = (OsString, OsString)>,
    look: &dyn Fn(&Settings) -> Machine,
) -> Result<Loaded, ConfigError> {
    let mut merged = layers::merge(file.unwrap_or(Path::new(DEFAULT_FILE)), added, environment);
    if merged.files.is_empty() {
        return Err(ConfigError { problems: merged.problems });
    }
    let (mut settings, misread) = read_sections(merged.values);
    share_tags(&mut settings);
    // A file that is no TOML may hold all that is missing.
    let readable = misread.is_empty() && merged.problems.iter().all(|problem| !problem.key.is_empty());
    if !readable && misread.is_empty() {
        return Err(ConfigError { problems: merged.problems });
    }
    merged.problems.extend(misread.into_iter().map(|problem| problem.locate(&merged.origins)));
    // What a misread section was meant to say is unknown: judging its defaults would only confuse.
    let (mut warnings, mut chosen) = (Vec::new(), Vec::new());
    if readable {
        chosen = sizes::choose(&settings, &|key| merged.origins.contains_key(key), &look(&settings));
        let (kept, fitted): (Vec<_>, Vec<_>) = chosen.iter().partition(|chosen| chosen.because == Because::Existing);
        sizes::apply(&mut settings, fitted);
        let findings = validate::check(&settings);
        // A file that is there is used whatever its size, as it is when another size is set.
        sizes::apply(&mut settings, kept);
        merged.problems.extend(findings.problems.into_iter().map(|problem| problem.locate(&merged.origins)));
        warnings = findings.warnings.into_iter().map(|warning| warning.locate(&merged.origins).to_string()).collect();
    }
    if merged.problems.is_empty() {
        Ok(Loaded { settings, files: merged.files, warnings, origins: merged.origins, chosen })
    } else {
        Err(ConfigError { problems: merged.problems })
    }
}

/// What is wrong with a key that is not there.
const REQUIRED: &str = "this key is required and has no default; set it";

/// Reads section by section, so that a mistake in one does not hide those in the others.
fn read_sections(mut values: Map<String, Value>) -> (Settings, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut settings = Settings::default();
    let mut take = |name: &str| values.remove(name).unwrap_or_else(|| Value::new(None, Map::<String, Value>::new()));
    if let ValueKind::Table(sources) = take("source").kind {
        for (name, value) in sources {
            let source: Option<Source> = read_section(&format!("source.{name}"), value, &mut problems);
            if source.as_ref().is_some_and(|source| source.table_template().is_empty() && source.table.is_none()) {
                problems.push(Problem::new(format!("source.{name}.table"), REQUIRED));
            } else if let Some(source) = source {
                settings.source.insert(name, source);
            }
        }
    } else {
        problems.push(Problem::new("source", "sources are tables with names of their own, as in [source.plant]"));
    }
    macro_rules! sections {
        ($($section:ident),*) => {
            $(if let Some(section) = read_section(stringify!($section), take(stringify!($section)), &mut problems) {
                settings.$section = section;
            })*
        };
    }
    sections!(mqtt, tags, ring, quarantine, latest, limits, questdb, batch, control, daemon, log);
    (settings, problems)
}

/// Gives `[tags]` to every source whose configuration names no column so.
fn share_tags(settings: &mut Settings) {
    let sound = settings.tags.iter().filter(|(name, value)| tag_fault(name, value).is_none());
    for (name, value) in sound {
        for source in settings.source.values_mut().filter(|source| !decode::names_column(source, name)) {
            source.tags.insert(name.clone(), value.clone());
        }
    }
}

fn read_section<T: DeserializeOwned>(path: &str, value: Value, problems: &mut Vec<Problem>) -> Option<T> {
    match value.try_deserialize() {
        Ok(section) => Some(section),
        Err(error) => {
            problems.push(explain(path, error));
            None
        }
    }
}

/// A deserialisation error in forebay's own form.
fn explain(path: &str, error: LayerError) -> Problem {
    let under = |key: Option<String>| match key {
        Some(key) if !key.is_empty() => format!("{path}.{key}"),
        _ => path.to_owned(),
    };
    match error {
        LayerError::Type { unexpected, expected, key, .. } => {
            Problem::new(under(key), words::misplaced(&unexpected.to_string(), expected))
        }
        LayerError::At { error, key, .. } => Problem::new(under(key), words::reworded(&error.to_string())),
        LayerError::NotFound(key) => Problem::new(under(Some(key)), REQUIRED),
        other => Problem::new(path, words::reworded(&other.to_string())),
    }
}
