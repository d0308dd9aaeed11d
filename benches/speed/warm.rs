//! The ring's file as a medium that is only read.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt};

use forebay::ring::media::Media;

/// The ring's file, read as the ring reads it.
pub struct Warm(pub File);

impl Media for Warm {
    fn len(&self) -> u64 {
        self.0.metadata().map_or(0, |file| file.len())
    }

    fn load(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, at)
    }

    fn store(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::Error::other("only for reading"))
    }

    fn sync(&self, _: Range<u64>) -> io::Result<()> {
        Ok(())
    }

    fn load_from_disk(&self, _: u64, _: &mut [u8]) -> io::Result<bool> {
        Ok(false)
    }
}
