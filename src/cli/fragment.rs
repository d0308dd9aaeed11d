//! New files of the configuration: checked with all the others, and written whole or not at all.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{Exit, Failure};
use crate::{
    config::{self, Added, Loaded},
    files::access::{Wish, advice},
};

/// Whoever runs the daemon reads it.
pub const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// A file that is not there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Where it goes.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

impl Fragment {
    /// Writes it. `remedy` is what else can be done where a file is in the way, after "edit it, remove it".
    pub fn write(&self, remedy: &str) -> Result<(), Failure> {
        write_new(&self.path, &self.text, FILE_MODE).map_err(|error| not_written(&self.path, &error, remedy))
    }
}

/// That a file is in the way.
pub fn in_the_way(path: &Path, remedy: &str) -> String {
    format!("{} is there already and is not replaced; edit it, remove it{remedy}", path.display())
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

/// Writes a new file: it has its name once it is whole and synced. Nothing is replaced.
pub fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    match fs::DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // A hidden file is no fragment.
    let mut hidden = OsString::from(".");
    hidden.push(path.file_name().unwrap_or_default());
    hidden.push(format!(".{}.new", std::process::id()));
    let temporary = directory.join(hidden);
    let written = write_whole(&temporary, text, mode).and_then(|()| {
        renameat_with(CWD, &temporary, CWD, path, RenameFlags::NOREPLACE)?;
        File::open(directory)?.sync_all()
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_whole(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // Whatever the umask takes away.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Why a new file could not be written.
pub fn not_written(path: &Path, error: &io::Error, remedy: &str) -> Failure {
    match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::new(Exit::Usage, in_the_way(path, remedy)),
        io::ErrorKind::PermissionDenied => {
            let directory = path.ancestors().skip(1).find(|above| above.exists()).unwrap_or(Path::new("."));
            let advice = advice(directory, Wish::Make);
            Failure::new(Exit::Failed, format!("{} cannot be written ({error}): {advice}", path.display()))
        }
        _ => Failure::new(Exit::Failed, format!("{} cannot be written ({error})", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_with_its_mode_and_never_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("conf.d/x.toml");
        write_new(&path, "a = 1\n", 0o640).expect("written");
        assert_eq!(write_new(&path, "b = 2\n", 0o640).expect_err("there").kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).expect("a file"), "a = 1\n");
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(directory.path().join("conf.d")).expect("a directory").count(), 1);
    }
}
