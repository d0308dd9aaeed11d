//! Settings: what there is to set, the layers they come from, and their validation.

pub mod settings;
pub mod units;

use std::path::{Path, PathBuf};

pub use settings::Settings;
pub use units::Bytes;

/// The file read when none is named.
pub const DEFAULT_FILE: &str = "/etc/forebay/forebay.toml";

/// A configuration that is sound.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The files they come from.
    pub files: Vec<PathBuf>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<String>,
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// Loads `file` (default [`DEFAULT_FILE`]).
pub fn load(file: Option<&Path>) -> Result<Loaded, ConfigError> {
    let file = file.unwrap_or(Path::new(DEFAULT_FILE));
    let said = |why: &dyn std::fmt::Display| ConfigError(format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|why| said(&why))?;
    let settings = toml::from_str(&text).map_err(|why| said(&why))?;
    Ok(Loaded { settings, files: vec![file.into()], warnings: Vec::new() })
}
