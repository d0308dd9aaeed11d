//! What the ring is written on: a memory-mapped file, or memory that behaves like one.

use std::{io, ops::Range, sync::Mutex};

use crate::{files::place::Displaced, sync::lock};

/// A medium of fixed size whose bytes become durable when synced.
///
/// Until a sync of a range has returned `Ok`, each 512-byte sector stored to since the last one may be found old or new after a
/// power cut, independently of every other. After a failed sync nothing is known of the range any more.
pub trait Media: Send + Sync {
    /// Size in bytes.
    fn len(&self) -> u64;

    /// Whether the size is zero.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads what was stored last.
    fn load(&self, at: u64, into: &mut [u8]) -> io::Result<()>;

    /// Stores bytes; they are visible to `load` at once and durable after `sync`.
    fn store(&self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns once everything stored in the range before the call is durable.
    fn sync(&self, range: Range<u64>) -> io::Result<()>;

    /// Reads what is on the disk, past every cache of the system's; false where it cannot be told.
    ///
    /// After a sync that failed this is another thing than what `load` reads, and no sync makes them equal: the system takes what it could
    /// not write for written.
    fn load_from_disk(&self, at: u64, into: &mut [u8]) -> io::Result<bool>;

    /// Whether the medium is still where the next start looks for it, and can be written.
    fn look_at_place(&self) -> Result<(), Displaced> {
        Ok(())
    }

    /// Puts a copy where the next start looks for it, which must be free; `progress` is told how many bytes are copied.
    fn put_back(&self, _progress: &mut dyn FnMut(u64)) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl<M: Media + ?Sized> Media for std::sync::Arc<M> {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn load(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        (**self).load(at, into)
    }

    fn store(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        (**self).store(at, bytes)
    }

    fn sync(&self, range: Range<u64>) -> io::Result<()> {
        (**self).sync(range)
    }

    fn load_from_disk(&self, at: u64, into: &mut [u8]) -> io::Result<bool> {
        (**self).load_from_disk(at, into)
    }

    fn look_at_place(&self) -> Result<(), Displaced> {
        (**self).look_at_place()
    }

    fn put_back(&self, progress: &mut dyn FnMut(u64)) -> io::Result<()> {
        (**self).put_back(progress)
    }
}

/// A medium in memory, for tests and benchmarks: what was synced, and what was only stored.
#[derive(Debug)]
pub struct MemoryMedia {
    inner: Mutex<Memory>,
}

#[derive(Debug)]
struct Memory {
    stored: Vec<u8>,
    synced: Vec<u8>,
    fail_syncs: bool,
}

impl MemoryMedia {
    /// A medium with these contents, all of them durable.
    #[must_use]
    pub fn with(contents: Vec<u8>) -> Self {
        Self { inner: Mutex::new(Memory { synced: contents.clone(), stored: contents, fail_syncs: false }) }
    }

    /// From now on every sync fails, as that of a dying disk does.
    pub fn fail_syncs(&self) {
        self.lock().fail_syncs = true;
    }

    /// What a power cut leaves: of each sector, `pick` chooses the stored version (true) or the synced one.
    pub fn after_power_cut(&self, mut pick: impl FnMut() -> bool) -> Vec<u8> {
        let memory = self.lock();
        let mut image = memory.synced.clone();
        for (old, new) in image.chunks_mut(512).zip(memory.stored.chunks(512)) {
            if old != new && pick() {
                old.copy_from_slice(new);
            }
        }
        image
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        lock(&self.inner)
    }
}

fn range_of(memory: &[u8], at: u64, len: usize) -> io::Result<Range<usize>> {
    let start = at as usize;
    match start.checked_add(len) {
        Some(end) if end <= memory.len() => Ok(start..end),
        _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("offset {at} + {len} is outside the ring"))),
    }
}

impl Media for MemoryMedia {
    fn len(&self) -> u64 {
        self.lock().stored.len() as u64
    }

    fn load(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let memory = self.lock();
        let range = range_of(&memory.stored, at, into.len())?;
        into.copy_from_slice(&memory.stored[range]);
        Ok(())
    }

    fn store(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut memory = self.lock();
        let range = range_of(&memory.stored, at, bytes.len())?;
        memory.stored[range].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self, range: Range<u64>) -> io::Result<()> {
        let mut memory = self.lock();
        if memory.fail_syncs {
            return Err(io::Error::other("simulated failure of a sync"));
        }
        let start = range.start as usize / 512 * 512;
        let end = (range.end as usize).next_multiple_of(512).min(memory.stored.len());
        let Memory { stored, synced, .. } = &mut *memory;
        synced[start..end].copy_from_slice(&stored[start..end]);
        Ok(())
    }

    fn load_from_disk(&self, at: u64, into: &mut [u8]) -> io::Result<bool> {
        let memory = self.lock();
        let range = range_of(&memory.synced, at, into.len())?;
        into.copy_from_slice(&memory.synced[range]);
        Ok(true)
    }
}
