//! Whether a name still leads to a file that is open.
//!
//! A file can be removed, renamed, replaced, or lose its file system while it is open, and whoever has it open goes on writing to what
//! nobody finds again. Nothing but a look at its name tells.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{StatVfsMountFlags, fstatvfs, statvfs};

/// How a name and an open file have come apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Displaced {
    /// Nothing has the name.
    #[error("{} is gone: it was removed or renamed, or its directory was, or its disk is not mounted any more", .0.display())]
    Gone(PathBuf),
    /// Another file has the name.
    #[error("another file has taken the place of {}", .0.display())]
    Replaced(PathBuf),
    /// The name cannot be followed.
    #[error("{} cannot be found under its name: {}", .0.display(), .1)]
    Unreachable(PathBuf, String),
    /// Nothing can be written any more.
    #[error("the file system of {} has become read-only; `dmesg` may say why", .0.display())]
    ReadOnly(PathBuf),
}

/// Looks whether `path`, through links, leads to `file`, and whether it can be written.
pub fn look(file: &File, path: &Path) -> Result<(), Displaced> {
    let unreachable = |why: &io::Error| Displaced::Unreachable(path.to_owned(), why.to_string());
    let ours = file.metadata().map_err(|why| unreachable(&why))?;
    match fs::metadata(path) {
        Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => {}
        Ok(_) => return Err(Displaced::Replaced(path.to_owned())),
        Err(why) if matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(Displaced::Gone(path.to_owned()));
        }
        Err(why) => return Err(unreachable(&why)),
    }
    let is_read_only = fstatvfs(file).is_ok_and(|system| system.f_flag.contains(StatVfsMountFlags::RDONLY));
    if is_read_only { Err(Displaced::ReadOnly(path.to_owned())) } else { Ok(()) }
}

/// Room on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// What a program that is not root may still take.
    pub free_bytes: u64,
    /// All of it.
    pub size_bytes: u64,
}

/// Room on the file system of `path`; none where the system does not tell (statvfs(3)).
pub fn disk(path: &Path) -> Option<Disk> {
    let system = statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(system.f_frsize);
    Some(Disk { free_bytes: bytes(system.f_bavail), size_bytes: bytes(system.f_blocks) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_tells_its_room() {
        let directory = tempfile::tempdir().unwrap();
        let room = disk(directory.path()).expect("told");
        assert!(room.free_bytes <= room.size_bytes && room.size_bytes > 0, "{room:?}");
        assert_eq!(disk(&directory.path().join("none")), None);
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_noticed_until_it_leads_back() {
        let directory = tempfile::tempdir().unwrap();
        let (path, aside) = (directory.path().join("a"), directory.path().join("b"));
        let file = File::create(&path).unwrap();
        assert_eq!(look(&file, &path), Ok(()));
        fs::rename(&path, &aside).unwrap();
        assert_eq!(look(&file, &path), Err(Displaced::Gone(path.clone())));
        fs::copy(&aside, &path).unwrap();
        assert_eq!(look(&file, &path), Err(Displaced::Replaced(path.clone())), "a copy is another file");
        fs::rename(&aside, &path).unwrap();
        assert_eq!(look(&file, &path), Ok(()));
    }

    #[test]
    fn a_directory_that_moves_takes_its_files_along_and_a_link_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (home, moved) = (directory.path().join("home"), directory.path().join("moved"));
        fs::create_dir(&home).unwrap();
        let file = File::create(home.join("a")).unwrap();
        fs::rename(&home, &moved).unwrap();
        assert!(matches!(look(&file, &home.join("a")), Err(Displaced::Gone(_))));
        fs::write(&home, "a file where the directory was").unwrap();
        assert!(matches!(look(&file, &home.join("a")), Err(Displaced::Gone(_))));
        fs::remove_file(&home).unwrap();
        std::os::unix::fs::symlink(&moved, &home).unwrap();
        assert_eq!(look(&file, &home.join("a")), Ok(()));
    }
}
