//! New files of the configuration: checked with all the others, written whole or not at all, and
//! put in force.

mod next;
mod write;

use std::path::{Path, PathBuf};

pub use self::{
    next::next,
    write::{after, in_the_way, not_written, write_new},
};
use super::{Exit, Failure, Global};
use crate::config::{self, Added, Loaded};

/// Whoever runs the daemon reads it.
pub const FILE_MODE: u32 = 0o644;

/// A file that is not there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Where it goes.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

impl Fragment {
    /// Writes it. `remedy` is what else can be done where a file is in the way, after "edit it,
    /// remove it".
    pub fn write(&self, remedy: &str) -> Result<(), Failure> {
        write_new(&self.path, &self.text, FILE_MODE).map_err(|error| not_written(&self.path, &error, remedy))
    }
}

/// The configuration file that is meant, from the root on: what is written beside it needs its
/// directory.
pub fn config_file(global: &Global) -> Result<PathBuf, Failure> {
    absolute(global.config_file().unwrap_or(Path::new(config::DEFAULT_FILE)))
}

/// A path from the root on.
pub fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let what = |error| format!("{}: no path from the root on can be made of it ({error})", path.display());
    std::path::absolute(path).map_err(|error| Failure::new(Exit::Usage, what(error)))
}

/// The whole configuration with the fragments.
pub fn load(file: &Path, fragments: &[Fragment]) -> Result<Loaded, Failure> {
    let added: Vec<Added<'_>> = fragments.iter().map(|of| Added { path: &of.path, text: &of.text }).collect();
    config::load_added(Some(file), &added).map_err(|error| Failure::new(Exit::Usage, error))
}

/// Checks the whole configuration with the fragments; what it newly warns of.
pub fn check(file: &Path, fragments: &[Fragment]) -> Result<Vec<String>, Failure> {
    let Loaded { warnings, .. } = load(file, fragments).map_err(|Failure { exit, error }| {
        let why = error.map(|error| error.to_string()).unwrap_or_default();
        Failure::new(exit, format!("{why}\nnot added: the configuration would not be valid with it"))
    })?;
    let before = config::load(Some(file)).map(|loaded| loaded.warnings).unwrap_or_default();
    let mut new: Vec<String> = warnings.into_iter().filter(|warning| !before.contains(warning)).collect();
    // Two patterns of a source may earn the same words.
    new.dedup();
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_is_made_one_from_the_root_on() {
        let of = |path: &str| config_file(&Global { config: Some(path.into()), ..Global::default() });
        let here = std::env::current_dir().expect("a directory");
        for name in ["forebay.toml", "./forebay.toml"] {
            assert_eq!(of(name).expect("a path"), here.join("forebay.toml"));
        }
        assert_eq!(of("/a/forebay.toml").expect("a path"), Path::new("/a/forebay.toml"));
        assert_eq!(config_file(&Global::default()).expect("a path"), Path::new(config::DEFAULT_FILE));
        assert_eq!(of("").expect_err("no path").exit, Exit::Usage);
    }
}
