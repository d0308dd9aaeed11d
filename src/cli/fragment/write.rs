//! New files: each gets its name once it is whole and synced, and none replaces another.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    iter::repeat_with,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags, link, renameat_with},
    io::Errno,
};

use crate::{
    cli::{Exit, Failure},
    files::access::{Wish, advice},
};

const DIRECTORY_MODE: u32 = 0o755;
/// Characters that tell a temporary name from others.
const RANDOM_CHARS: usize = 12;
/// Temporary names that are tried.
const MAX_NAMES: usize = 8;

/// Writes a new file, and the directories above it that are missing. Nothing is replaced.
pub fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let directory = above(path);
    make(directory)?;
    Temporary::write(path, text, mode)?.take_name(path, rename)?;
    sync(directory)
}

fn above(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a directory where there is none. Its name is safe once the directory above it is synced.
fn make(directory: &Path) -> io::Result<()> {
    let create = || fs::DirBuilder::new().mode(DIRECTORY_MODE).create(directory);
    let made = match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound && directory.parent().is_some() => {
            make(above(directory)).and_then(|()| create())
        }
        made => made,
    };
    match made {
        Ok(()) => sync(above(directory)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn rename(from: &Path, to: &Path) -> rustix::io::Result<()> {
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
}

/// A file of this run that has no name of its own yet. It goes when this is dropped.
struct Temporary {
    path: PathBuf,
    is_renamed: bool,
}

impl Temporary {
    /// Writes one beside `path`, whole and synced. Its name is hidden: such a file is no fragment.
    fn write(path: &Path, text: &str, mode: u32) -> io::Result<Self> {
        for _ in 0..MAX_NAMES {
            let random: String = repeat_with(fastrand::alphanumeric).take(RANDOM_CHARS).collect();
            let mut name = OsString::from(".");
            name.push(path.file_name().unwrap_or_default());
            name.push(format!(".{random}.new"));
            let path = above(path).join(name);
            match OpenOptions::new().write(true).create_new(true).mode(mode).open(&path) {
                Ok(mut file) => {
                    let temporary = Self { path, is_renamed: false };
                    // The umask may have taken bits of the mode away.
                    file.set_permissions(fs::Permissions::from_mode(mode))?;
                    file.write_all(text.as_bytes())?;
                    file.sync_all()?;
                    return Ok(temporary);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("every name for a temporary file beside it is taken"))
    }

    /// Gives it its name, unless a file has that. Some file systems cannot rename without
    /// replacing; a hard link never replaces (`rename(2)`, `link(2)`).
    fn take_name(mut self, path: &Path, rename: impl Fn(&Path, &Path) -> rustix::io::Result<()>) -> io::Result<()> {
        match rename(&self.path, path) {
            Ok(()) => self.is_renamed = true,
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => link(&self.path, path)?,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_renamed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// That a file is in the way.
pub fn in_the_way(path: &Path, remedy: &str) -> String {
    format!("{} is there already and is not replaced; edit it, remove it{remedy}", path.display())
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

/// The failure of one of several files, with those that were written before it.
pub fn after(written: &[PathBuf], failure: Failure) -> Failure {
    let Failure { exit, error: Some(error) } = failure else { return failure };
    let names: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    let before = match names.as_slice() {
        [] => "nothing was written".to_owned(),
        names => format!("written before it, and still there: {}", names.join(", ")),
    };
    Failure::new(exit, format!("{error}\n{before}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(directory).expect("a directory");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_written_whole_with_its_mode_and_never_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("etc/forebay/conf.d/x.toml");
        write_new(&path, "a = 1\n", 0o640).expect("written");
        assert_eq!(write_new(&path, "b = 2\n", 0o640).expect_err("there").kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).expect("a file"), "a = 1\n");
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o640);
        assert_eq!(names(above(&path)), ["x.toml"]);
    }

    #[test]
    fn a_file_system_that_cannot_rename_so_gets_a_link_which_replaces_nothing_either() {
        for errno in [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM] {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("x.toml");
            let write =
                |text| Temporary::write(&path, text, 0o600).expect("written").take_name(&path, |_, _| Err(errno));
            write("a = 1\n").expect("linked");
            assert_eq!(write("b = 2\n").expect_err("there").kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read_to_string(&path).expect("a file"), "a = 1\n");
            assert_eq!(names(directory.path()), ["x.toml"]);
        }
    }

    #[test]
    fn another_error_is_told_and_only_files_of_this_run_are_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, other) = (directory.path().join("x.toml"), directory.path().join(".x.toml.1.new"));
        fs::write(&other, "another's").expect("written");
        let temporary = Temporary::write(&path, "", 0o600).expect("written");
        assert_eq!(names(directory.path()).len(), 2);
        let error = temporary.take_name(&path, |_, _| Err(Errno::NOSPC)).expect_err("full");
        assert_eq!(error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
        assert_eq!(names(directory.path()), [".x.toml.1.new"]);
        // What takes the temporary name later on is another's.
        let mut renamed = Temporary::write(&path, "", 0o600).expect("written");
        renamed.is_renamed = true;
        drop(renamed);
        assert_eq!(names(directory.path()).len(), 2);
    }

    #[test]
    fn the_failure_of_one_of_several_files_names_those_before_it() {
        let told = |written: &[PathBuf]| {
            let Failure { exit, error } = after(written, Failure::new(Exit::Failed, "c cannot be written"));
            assert_eq!(exit, Exit::Failed);
            error.expect("an error").to_string()
        };
        assert_eq!(told(&[]), "c cannot be written\nnothing was written");
        assert_eq!(
            told(&["/a".into(), "/b".into()]),
            "c cannot be written\nwritten before it, and still there: /a, /b"
        );
    }
}
