//! A medium that behaves as a disk may: it keeps every version of a sector that a power cut could leave, fails syncs, and lies.
//!
//! Stated in docs/ring-format.md, "What is assumed of the medium". What is simulated:
//!
//! - A sector of 512 bytes is written whole or not at all; stored and not yet synced, a power cut leaves any version it has had since,
//!   or, where the image asks for it, garbage.
//! - A sync makes durable what is dirty in the pages it touches, as writeback does.
//! - A sync that fails may have written any of it, and leaves its pages clean: what is in the cache is not written again unless it is
//!   stored again.
//! - A sync that lies says that it succeeded, and is otherwise like one that fails.
//! - A process that dies leaves the cache as it is.

use std::{collections::BTreeMap, io, ops::Range, sync::Mutex};

use fastrand::Rng;

use super::super::{layout::SECTOR_BYTES, media::Media};
use crate::sync::lock;

const SECTOR: usize = SECTOR_BYTES as usize;
type Sector = [u8; SECTOR];

/// What the next sync does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NextSync {
    /// What it should.
    #[default]
    Works,
    /// It fails.
    Fails,
    /// It says that it worked.
    Lies,
}

/// Versions of a sector that are not known to be on the disk.
#[derive(Debug, Clone)]
struct Unsure {
    versions: Vec<Sector>,
    dirty: bool,
}

#[derive(Debug, Clone)]
struct Disk {
    /// What loads see.
    cache: Vec<u8>,
    /// What is on the disk for sure, but for the sectors in `unsure`.
    sure: Vec<u8>,
    unsure: BTreeMap<usize, Unsure>,
    next_sync: NextSync,
    page_bytes: u64,
    rng: Rng,
}

/// Called after every store, and before and after every sync.
pub type Watch = Box<dyn FnMut(&CrashMedia) + Send>;

/// The medium.
pub struct CrashMedia {
    disk: Mutex<Disk>,
    watch: Mutex<Option<Watch>>,
}

/// How a power cut chooses among the versions of a sector.
#[derive(Debug, Clone, Copy)]
pub enum Leaves {
    /// What was on the disk before.
    Oldest,
    /// What was stored last.
    Newest,
    /// Any version; one in so many sectors is garbage (0: none).
    Any {
        /// One in so many.
        garbage_in: u32,
    },
}

impl CrashMedia {
    /// A medium whose contents are on the disk. Writeback goes by pages of that size.
    pub fn with(contents: Vec<u8>, page_bytes: u64) -> Self {
        let disk = Disk {
            cache: contents.clone(),
            sure: contents,
            unsure: BTreeMap::new(),
            next_sync: NextSync::Works,
            page_bytes,
            rng: Rng::with_seed(1),
        };
        Self { disk: Mutex::new(disk), watch: Mutex::new(None) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Disk> {
        lock(&self.disk)
    }

    /// Has something called at every point at which a crash leaves something new.
    pub fn watch(&self, watch: Option<Watch>) {
        *lock(&self.watch) = watch;
    }

    fn tell(&self) {
        let watch = lock(&self.watch).take();
        if let Some(mut watch) = watch {
            watch(self);
            self.watch(Some(watch));
        }
    }

    /// Decides about the next sync.
    pub fn next_sync(&self, next: NextSync) {
        self.lock().next_sync = next;
    }

    /// What a power cut now leaves.
    pub fn after_power_cut(&self, leaves: Leaves, rng: &mut Rng) -> Vec<u8> {
        let disk = self.lock();
        let mut image = disk.sure.clone();
        for (sector, unsure) in &disk.unsure {
            let place = &mut image[sector * SECTOR..][..SECTOR];
            match leaves {
                Leaves::Oldest => {}
                Leaves::Newest => place.copy_from_slice(&unsure.versions[unsure.versions.len() - 1][..]),
                Leaves::Any { garbage_in } if garbage_in > 0 && rng.u32(0..garbage_in) == 0 => rng.fill(place),
                Leaves::Any { .. } => {
                    let pick = rng.usize(0..=unsure.versions.len());
                    if let Some(version) = unsure.versions.get(pick) {
                        place.copy_from_slice(&version[..]);
                    }
                }
            }
        }
        image
    }
}

impl Media for CrashMedia {
    fn len(&self) -> u64 {
        self.lock().cache.len() as u64
    }

    fn load(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let disk = self.lock();
        into.copy_from_slice(&disk.cache[at as usize..at as usize + into.len()]);
        Ok(())
    }

    /// Reading settles which version of a sector is on the disk.
    fn load_from_disk(&self, at: u64, into: &mut [u8]) -> io::Result<bool> {
        let mut disk = self.lock();
        let Disk { sure, unsure, rng, .. } = &mut *disk;
        let (from, to) = (at as usize / SECTOR, (at as usize + into.len()).div_ceil(SECTOR));
        let clean: Vec<usize> = unsure.range(from..to).filter(|(_, unsure)| !unsure.dirty).map(|(at, _)| *at).collect();
        for sector in clean {
            let Some(Unsure { versions, .. }) = unsure.remove(&sector) else { continue };
            if let Some(version) = versions.get(rng.usize(0..=versions.len())) {
                sure[sector * SECTOR..][..SECTOR].copy_from_slice(&version[..]);
            }
        }
        into.copy_from_slice(&sure[at as usize..at as usize + into.len()]);
        Ok(true)
    }

    fn store(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.lock();
        let Disk { cache, unsure, .. } = &mut *disk;
        let range = at as usize..at as usize + bytes.len();
        let Some(place) = cache.get_mut(range.clone()) else {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a store outside the ring"));
        };
        place.copy_from_slice(bytes);
        for sector in range.start / SECTOR..range.end.div_ceil(SECTOR) {
            let now: Sector = cache[sector * SECTOR..][..SECTOR].try_into().map_err(io::Error::other)?;
            let unsure = unsure.entry(sector).or_insert(Unsure { versions: Vec::new(), dirty: true });
            unsure.versions.push(now);
            unsure.dirty = true;
        }
        drop(disk);
        self.tell();
        Ok(())
    }

    fn sync(&self, range: Range<u64>) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        self.tell();
        let mut disk = self.lock();
        let next = std::mem::take(&mut disk.next_sync);
        let page = disk.page_bytes;
        let from = (range.start / page * page / SECTOR_BYTES) as usize;
        let to = (range.end.next_multiple_of(page) / SECTOR_BYTES) as usize;
        let Disk { cache, sure, unsure, .. } = &mut *disk;
        let mut written = Vec::new();
        for (sector, unsure) in unsure.range_mut(from..to).filter(|(_, unsure)| unsure.dirty) {
            unsure.dirty = false;
            if next == NextSync::Works {
                sure[sector * SECTOR..][..SECTOR].copy_from_slice(&cache[sector * SECTOR..][..SECTOR]);
                written.push(*sector);
            }
        }
        for sector in written {
            unsure.remove(&sector);
        }
        drop(disk);
        if next == NextSync::Fails {
            return Err(io::Error::other("simulated failure of a sync"));
        }
        self.tell();
        Ok(())
    }
}
