//! A ring file opened to be read, while a daemon may be writing to it.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, path::Path};

use super::media::Media;

/// A file that is never written to, and takes no lock.
#[derive(Debug)]
pub struct ReadOnlyMedia {
    file: File,
    len: u64,
}

impl ReadOnlyMedia {
    /// Opens the file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }
}

impl Media for ReadOnlyMedia {
    fn len(&self) -> u64 {
        self.len
    }

    fn load(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }

    fn store(&self, _at: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "the ring was opened to be read"))
    }

    fn sync(&self, _range: Range<u64>) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "the ring was opened to be read"))
    }

    /// Nobody asks who only reads.
    fn load_from_disk(&self, _at: u64, _into: &mut [u8]) -> io::Result<bool> {
        Ok(false)
    }
}
