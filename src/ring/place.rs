//! What stands where the ring file is wanted: nothing, a file, a link to one, or something else altogether.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::mmap::FileError;

/// The file a path names, through links, and whether it exists.
///
/// Damage turns no file into a directory, a pipe or a device, and a link leads nowhere when the disk it leads to is not mounted. Only the
/// operator can mend that, so it is an error: to move a directory aside might take a lot of other things along.
pub fn resolve(path: &Path) -> Result<(PathBuf, bool), FileError> {
    let is_link = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type().is_symlink(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((path.to_owned(), false)),
        Err(source) => return Err(FileError::io("inspect", path, source)),
    };
    if !is_link {
        return Ok((path.to_owned(), true));
    }
    match fs::canonicalize(path) {
        Ok(real) => Ok((real, true)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(FileError::DeadLink(path.to_owned())),
        Err(source) => Err(FileError::io("follow", path, source)),
    }
}

/// Moves a file that is no ring out of the way, whole, and says so; returns where it is.
pub fn move_aside(path: &Path) -> Result<PathBuf, FileError> {
    let mut number = 1_u64;
    let aside = loop {
        let mut name = path.as_os_str().to_os_string();
        name.push(format!(".damaged-{number}"));
        if fs::symlink_metadata(&name).is_err() {
            break PathBuf::from(name);
        }
        number += 1;
    };
    fs::rename(path, &aside).map_err(|source| FileError::io("move aside", path, source))?;
    // Told at once: should the new ring fail, nobody else would tell.
    let (path, moved_to) = (path.display(), aside.display());
    tracing::error!(%path, %moved_to, "this is no ring file, or one of which neither a header nor a commit is left; it was moved aside as it is, and a new ring takes its place");
    Ok(aside)
}
