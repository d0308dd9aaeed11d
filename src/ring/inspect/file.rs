//! A ring file as a medium that is only read: no lock, no mapping, and as much of it as can be had.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{
    files::read::open_regular,
    ring::{
        layout::{DATA_START, SECTOR_BYTES},
        media::Media,
    },
};

/// A file read through `pread`. What lies behind its end, and what the disk can no longer read, reads as zeros.
#[derive(Debug)]
pub struct FileMedia {
    file: File,
    bytes: u64,
    unreadable: AtomicBool,
}

impl FileMedia {
    /// Opens a regular file for reading.
    pub fn open(path: &Path) -> io::Result<Self> {
        let (file, found) = open_regular(path)?;
        let bytes = found.len();
        Ok(Self { file, bytes, unreadable: AtomicBool::new(false) })
    }

    /// Bytes the file had when it was opened.
    pub fn file_bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the disk refused to read a part of it so far.
    pub fn unreadable(&self) -> bool {
        self.unreadable.load(Ordering::Relaxed)
    }
}

impl Media for FileMedia {
    /// At least the header slots: of a file cut short within them, one may still be there.
    fn len(&self) -> u64 {
        self.bytes.max(DATA_START)
    }

    fn load(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let whole = fill(&|at, into| self.file.read_at(into, at), at, into)?;
        if !whole {
            self.unreadable.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn store(&self, _at: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(read_only())
    }

    fn sync(&self, _range: Range<u64>) -> io::Result<()> {
        Err(read_only())
    }

    /// Nobody asks who only reads.
    fn load_from_disk(&self, _at: u64, _into: &mut [u8]) -> io::Result<bool> {
        Ok(false)
    }
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "this ring is open for reading only")
}

type Read<'a> = &'a dyn Fn(u64, &mut [u8]) -> io::Result<usize>;

/// Reads all of `into`, with zeros behind the end of the file and where the disk fails; returns whether it did not fail.
fn fill(read: Read<'_>, at: u64, into: &mut [u8]) -> io::Result<bool> {
    match read_or_zero(read, at, into) {
        Err(error) if is_bad_medium(&error) => {}
        other => return other.map(|()| true),
    }
    // Sector by sector, so that one bad sector costs no more than itself.
    let mut whole = true;
    let mut done = 0;
    while done < into.len() {
        let to_boundary = SECTOR_BYTES - (at + done as u64) % SECTOR_BYTES;
        let end = into.len().min(done + to_boundary as usize);
        let piece = &mut into[done..end];
        match read_or_zero(read, at + done as u64, piece) {
            Err(error) if is_bad_medium(&error) => {
                piece.fill(0);
                whole = false;
            }
            other => other?,
        }
        done = end;
    }
    Ok(whole)
}

fn read_or_zero(read: Read<'_>, at: u64, into: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < into.len() {
        match read(at + done as u64, &mut into[done..]) {
            Ok(0) => {
                into[done..].fill(0);
                return Ok(());
            }
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What a disk says of a place it can no longer read (`EIO`, read(2)).
fn is_bad_medium(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_the_end_lie_zeros_and_nothing_can_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ring");
        std::fs::write(&path, [7; 100]).unwrap();
        let media = FileMedia::open(&path).unwrap();
        let mut read = [1; 8];
        media.load(96, &mut read).unwrap();
        assert_eq!(read, [7, 7, 7, 7, 0, 0, 0, 0]);
        media.load(1 << 40, &mut read).unwrap();
        assert_eq!(read, [0; 8]);
        assert_eq!((media.file_bytes(), media.len()), (100, DATA_START));
        assert!(media.store(0, &[0]).is_err() && media.sync(0..1).is_err());
        assert!(FileMedia::open(dir.path()).is_err(), "a directory");
        assert!(!media.unreadable());
    }

    #[test]
    fn a_bad_sector_costs_itself_alone() {
        let bad = 1024..1536;
        let read = |at: u64, into: &mut [u8]| {
            if at < bad.end && at + into.len() as u64 > bad.start {
                return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
            }
            into.fill(9);
            Ok(into.len())
        };
        let mut out = vec![1; 2000];
        assert!(!fill(&read, 100, &mut out).unwrap());
        for (index, byte) in out.iter().enumerate() {
            assert_eq!(*byte, if bad.contains(&(index as u64 + 100)) { 0 } else { 9 }, "{index}");
        }
        assert!(fill(&read, 1536, &mut out).unwrap());
        let denied = |_: u64, _: &mut [u8]| Err(io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(fill(&denied, 0, &mut out).is_err(), "another error is the caller's");
    }
}
