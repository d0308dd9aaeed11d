//! One quarantine file as it is written: appending at a known place, and keeping what is damaged.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Seek},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};

use super::format::{HEADER_BYTES, STATE_AT, TAKEN_OUT, encode_header};
use crate::files::{
    place::{self, Displaced},
    put_back::put_back,
};

/// Unwritten bytes are written out beyond this.
const BUFFER_BYTES: usize = 64 << 10;
/// Files and ends of files that are kept for being damaged.
const MAX_DAMAGED: usize = 16;

/// `path` with more at the end of its name.
pub fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

/// Makes creations and renames in a file's directory durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// The file being written. What could not be written is kept, and written to the same place the next time.
#[derive(Debug)]
pub struct Appender {
    file: File,
    /// Where the next bytes go.
    end: u64,
    unwritten: Vec<u8>,
    unsynced: bool,
    /// Bytes of the disk it has for itself.
    reserved: u64,
}

impl Appender {
    /// An empty file, with whatever was there gone.
    pub fn create(path: &Path, reserve: u64, number: u32) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        lock(&file)?;
        file.set_len(0)?;
        file.write_all_at(&encode_header(number), 0)?;
        Self::new(file, HEADER_BYTES as u64, reserve, path)
    }

    /// Goes on at `end` of an existing file; what follows is cut off. Its header is made one of the present version.
    pub fn resume(path: &Path, end: u64, reserve: u64, number: u32) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        lock(&file)?;
        if file.metadata()?.len() != end {
            file.set_len(end)?;
        }
        // It lies within a sector, and where it is the same nothing changes.
        file.write_all_at(&encode_header(number), 0)?;
        Self::new(file, end, reserve, path)
    }

    fn new(file: File, end: u64, reserve: u64, path: &Path) -> io::Result<Self> {
        reserve_space(&file, reserve, path);
        file.sync_all()?;
        Ok(Self { file, end, unwritten: Vec::new(), unsynced: false, reserved: reserve })
    }

    /// Length of the file once everything is written.
    pub fn len(&self) -> u64 {
        self.end + self.unwritten.len() as u64
    }

    /// Appends an entry, durable after the next [`Self::sync`]; on an error it is not taken.
    pub fn push(&mut self, entry: &[u8]) -> io::Result<()> {
        let before = self.unwritten.len();
        self.unwritten.extend_from_slice(entry);
        if self.unwritten.len() > BUFFER_BYTES
            && let Err(error) = self.write_out()
        {
            self.unwritten.truncate(before);
            return Err(error);
        }
        self.unsynced = true;
        Ok(())
    }

    /// Writes what is pushed; on an error all of it stays to be written.
    pub fn write_out(&mut self) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all_at(&self.unwritten, self.end) {
            // A part may be there. It is written over the next time; should that never come, nothing of it is taken for an entry.
            let _ = self.file.set_len(self.end);
            let _ = fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, self.reserved);
            return Err(error);
        }
        self.end += self.unwritten.len() as u64;
        self.unwritten.clear();
        self.unwritten.shrink_to(BUFFER_BYTES);
        Ok(())
    }

    /// Looks whether the file is still at its place, and can be written.
    pub fn look_at_place(&self, path: &Path) -> Result<(), Displaced> {
        place::look(&self.file, path)
    }

    /// Puts a copy where the file was removed from, which must be free, and goes on in it.
    pub fn put_back(&mut self, path: &Path) -> io::Result<()> {
        self.file = put_back(&self.file, self.end, path, &mut |_| {})?;
        reserve_space(&self.file, self.reserved, path);
        Ok(())
    }

    /// Where the bytes that are written out end.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Another handle on the file, for reading at places.
    pub fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Takes the entry out that begins at a place; durable after the next [`Self::sync`].
    pub fn take_out(&mut self, at: u64) -> io::Result<()> {
        take_out(&self.file, at)?;
        self.unsynced = true;
        Ok(())
    }

    /// Ends appending; everything has to be written. The handle that is left can still take entries out.
    pub fn into_file(self) -> File {
        self.file
    }

    /// Makes everything pushed durable.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.unsynced {
            self.write_out()?;
            self.file.sync_data()?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Has writing go to another file, such as one that refuses; returns the one before.
    #[cfg(test)]
    pub fn replace_file(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }
}

/// Takes the file's lock, which it keeps as long as it is open.
fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(is_taken()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn is_taken() -> io::Error {
    let message = "it is locked: another forebay is running on it";
    io::Error::new(io::ErrorKind::ResourceBusy, message)
}

/// An error where another process has the file of a quarantine open to write.
pub fn refuse_if_locked(path: &Path) -> io::Result<()> {
    match super::scan::open_to_read(path) {
        Ok(file) => lock(&file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes the entry out that begins at a place of a file: one byte, so that a crash leaves it in or out.
pub fn take_out(file: &File, at: u64) -> io::Result<()> {
    file.write_all_at(&[TAKEN_OUT], at + STATE_AT)
}

/// Sets space aside without changing the file's length, so that a disk that fills up later does not stop the quarantine.
fn reserve_space(file: &File, bytes: u64, path: &Path) {
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        Err(error) => {
            tracing::error!(path = %path.display(), bytes, "cannot set space aside for the quarantine: {error}; free some space");
        }
    }
}

/// Moves a file that is none of the quarantine's out of the way; it is never written to.
pub fn move_aside(path: &Path) -> io::Result<()> {
    let free = (1..=MAX_DAMAGED).map(|n| beside(path, &format!(".damaged-{n}"))).find(|to| !to.exists());
    let Some(to) = free else {
        return Err(io::Error::other(format!(
            "it is no quarantine file, and {MAX_DAMAGED} files of its name that end in .damaged-N are kept already; remove some"
        )));
    };
    fs::rename(path, &to)?;
    sync_directory(path)?;
    tracing::error!(path = %path.display(), moved_to = %to.display(), "this is no quarantine file, or one whose start is damaged: it was moved");
    Ok(())
}

/// Copies a damaged end, before it is cut off, into a file of its own.
pub fn copy_aside(path: &Path, from: u64) -> io::Result<()> {
    let free = (1..=MAX_DAMAGED).map(|n| beside(path, &format!(".damaged-{n}"))).find(|to| !to.exists());
    let Some(to) = free else {
        tracing::error!(path = %path.display(), at = from, "the damaged end of a quarantine file is cut off; no copy is kept, there are {MAX_DAMAGED}");
        return Ok(());
    };
    let mut source = File::open(path)?;
    source.seek(io::SeekFrom::Start(from))?;
    let copied = OpenOptions::new().write(true).create_new(true).open(&to).and_then(|mut out| {
        io::copy(&mut source, &mut out)?;
        out.sync_all()
    });
    let outcome = if copied.is_ok() { "kept" } else { "not kept: it cannot be written" };
    tracing::error!(path = %path.display(), at = from, copy = %to.display(), "the damaged end of a quarantine file is cut off; the copy is {outcome}");
    Ok(())
}
