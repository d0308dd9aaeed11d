//! Putting an open file back under a name that has been taken from it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, FallocateFlags, RenameFlags, fallocate, renameat_with};

/// Bytes copied at a time. After larger writes the kernel keeps the file in large folios, and each small write into it later writes a
/// whole one.
const CHUNK_BYTES: usize = 4096;
/// How many bytes are copied between two signs of progress.
const PROGRESS_BYTES: u64 = 16 << 20;

/// Copies the first `bytes` of an open file to `path`, where nothing may stand, and returns the copy, which is locked before it has the
/// name. It is whole and synced when it appears.
///
/// A file that was removed cannot be given a name again, so this is a copy even where its file system is the same.
pub fn put_back(file: &File, bytes: u64, path: &Path, progress: &mut dyn FnMut(u64)) -> io::Result<File> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.back", std::process::id()));
    let temporary = directory.join(name);
    let copied = copy(file, bytes, &temporary, progress).and_then(|copy| {
        renameat_with(CWD, &temporary, CWD, path, RenameFlags::NOREPLACE)?;
        File::open(directory)?.sync_all()?;
        Ok(copy)
    });
    if copied.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    copied
}

fn copy(file: &File, bytes: u64, to: &PathBuf, progress: &mut dyn FnMut(u64)) -> io::Result<File> {
    let mode = file.metadata()?.permissions().mode() & 0o777;
    let mut copy = OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(to)?;
    copy.try_lock()?;
    match fallocate(&copy, FallocateFlags::empty(), 0, bytes) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
        Err(why) => return Err(why.into()),
    }
    let (mut chunk, mut at) = ([0; CHUNK_BYTES], 0);
    while at < bytes {
        let length = (bytes - at).min(CHUNK_BYTES as u64) as usize;
        file.read_exact_at(&mut chunk[..length], at)?;
        copy.write_all(&chunk[..length])?;
        at += length as u64;
        if at.is_multiple_of(PROGRESS_BYTES) {
            progress(at);
        }
    }
    copy.sync_all()?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_file_gets_its_name_back_whole_and_locked_and_nothing_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let text = "x".repeat(3 * CHUNK_BYTES + 7);
        fs::write(&path, &text).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(
            put_back(&file, 5, &path, &mut |_| {}).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists,
            "something has the name"
        );
        fs::remove_file(&path).unwrap();
        let copy = put_back(&file, text.len() as u64, &path, &mut |_| {}).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert!(File::open(&path).unwrap().try_lock().is_err());
        drop(copy);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
        let nowhere = directory.path().join("none/a");
        assert_eq!(put_back(&file, 5, &nowhere, &mut |_| {}).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
