//! Rows and messages set aside: two bounded files, `path` and `path.old`.
//!
//! Entries are appended to `path`. When it would pass half the size, it becomes `path.old`, whose entries are pushed
//! out, so the newest are always kept. Both halves have their space on the disk from the start. Damage never stops a
//! start, and nothing is thrown away for being damaged: what cannot be read is moved or copied to `path.damaged-N`.

mod file;
pub mod format;

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use self::file::{Appender, Found, beside, copy_aside, move_aside, scan, sync_directory};
pub use self::format::{DEAD_LETTER, Entry, Key};
use super::status::QuarantineStatus;
use crate::{config::settings, point::Timestamp};

/// Reasons told apart in the status; entries with others are counted together.
const MAX_REASONS: usize = 200;
/// Reasons shown in the status.
const SHOWN_REASONS: usize = 10;
/// Bytes of a reason that tell it from others in the status.
const REASON_BYTES: usize = 160;
/// Smallest size that can be asked for, in bytes; a smaller one is taken for this.
pub const LEAST_SIZE_BYTES: u64 = 256 << 10;
/// Memory kept for encoding entries.
const SCRATCH_BYTES: usize = 64 << 10;

/// Counts of one file.
#[derive(Debug, Default)]
struct Tally {
    entries: u64,
    bytes: u64,
    reasons: HashMap<String, u64>,
}

impl Tally {
    fn count(&mut self, entry: &Entry<'_>, bytes: u64) {
        self.entries += 1;
        self.bytes += bytes;
        let reason = &entry.reason[..entry.reason.floor_char_boundary(REASON_BYTES)];
        if let Some(count) = self.reasons.get_mut(reason) {
            *count += 1;
        } else {
            let name = if self.reasons.len() < MAX_REASONS { reason } else { "other reasons" };
            *self.reasons.entry(name.to_owned()).or_default() += 1;
        }
    }
}

#[derive(Debug)]
struct Inner {
    file: Appender,
    scratch: Vec<u8>,
    now: Tally,
    old: Tally,
    pushed_out: u64,
}

/// The quarantine. Shared between lanes.
#[derive(Debug)]
pub struct Quarantine {
    path: PathBuf,
    half_bytes: u64,
    inner: Mutex<Inner>,
}

/// What is found to be in quarantine at a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The row.
    pub key: Key,
    /// When its message was received: a record's number may be given to another after a loss of the ring's end.
    pub received: Timestamp,
}

fn old_path(path: &Path) -> PathBuf {
    beside(path, ".old")
}

/// Reads a file's entries and opens it for appending, created where there is none.
fn open_file(path: &Path, reserve: u64, held: &mut Vec<Held>) -> io::Result<(Appender, Tally)> {
    let mut tally = Tally::default();
    let found = scan(path, &mut |entry, bytes| {
        tally.count(entry, bytes);
        held.push(Held { key: entry.key, received: entry.received });
    })?;
    let file = match found {
        Found::Entries { end, length } => {
            if end < length {
                copy_aside(path, end)?;
            }
            Appender::resume(path, end, reserve)?
        }
        Found::Foreign => {
            move_aside(path)?;
            Appender::create(path, reserve)?
        }
        Found::Nothing => Appender::create(path, reserve)?,
    };
    tally.bytes = file.len();
    Ok((file, tally))
}

impl Quarantine {
    /// Opens the files, creates what is missing, and returns what is in them.
    ///
    /// Damage and whatever is no quarantine file are kept beside them and reported in the log.
    pub fn open(settings: &settings::Quarantine) -> io::Result<(Self, Vec<Held>)> {
        let path = settings.path.clone();
        let half_bytes = settings.size.0.max(LEAST_SIZE_BYTES) / 2;
        let mut held = Vec::new();
        let (_, old) = open_file(&old_path(&path), half_bytes, &mut held)?;
        let (file, now) = open_file(&path, half_bytes, &mut held)?;
        sync_directory(&path)?;
        let inner = Inner { file, scratch: Vec::new(), now, old, pushed_out: 0 };
        Ok((Self { path, half_bytes, inner: Mutex::new(inner) }, held))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an entry; it is durable after the next [`Self::sync`]. On an error it is not taken.
    pub fn push(&self, entry: &Entry<'_>) -> io::Result<()> {
        let mut inner = self.lock();
        let mut scratch = std::mem::take(&mut inner.scratch);
        scratch.clear();
        format::encode(entry, &mut scratch);
        let bytes = scratch.len() as u64;
        let pushed = self.make_room(&mut inner, bytes).and_then(|()| inner.file.push(&scratch));
        scratch.shrink_to(SCRATCH_BYTES);
        inner.scratch = scratch;
        pushed?;
        inner.now.count(entry, bytes);
        Ok(())
    }

    /// Makes everything pushed durable.
    pub fn sync(&self) -> io::Result<()> {
        self.lock().file.sync()
    }

    /// Appends entries; they are durable on return.
    pub fn add(&self, entries: &[Entry<'_>]) -> io::Result<()> {
        entries.iter().try_for_each(|entry| self.push(entry))?;
        self.sync()
    }

    /// Starts a new file when the present one has no room for so many bytes more.
    ///
    /// The older file goes first: its space is what the new one is made of. Both renames come once the new one is
    /// complete, so that after an error the present file is still in its place.
    fn make_room(&self, inner: &mut Inner, bytes: u64) -> io::Result<()> {
        if inner.now.entries == 0 || inner.now.bytes + bytes <= self.half_bytes {
            return Ok(());
        }
        inner.file.sync()?;
        let (old, next) = (old_path(&self.path), beside(&self.path, ".new"));
        // An attempt that failed between the renames has moved the present file to the older one's place.
        let in_place = self.path.try_exists()?;
        if in_place && old.try_exists()? {
            fs::remove_file(&old)?;
        }
        inner.pushed_out += std::mem::take(&mut inner.old).entries;
        let file = Appender::create(&next, self.half_bytes)?;
        if in_place {
            fs::rename(&self.path, &old)?;
        }
        fs::rename(&next, &self.path)?;
        sync_directory(&self.path)?;
        inner.file = file;
        inner.old = std::mem::take(&mut inner.now);
        inner.now.bytes = inner.file.len();
        tracing::warn!(pushed_out = inner.pushed_out, "the quarantine is full: its older half made room");
        Ok(())
    }

    /// Its fill.
    pub fn status(&self) -> QuarantineStatus {
        let inner = self.lock();
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        for (reason, count) in inner.now.reasons.iter().chain(&inner.old.reasons) {
            *reasons.entry(reason).or_default() += count;
        }
        let mut reasons: Vec<_> = reasons.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        reasons.truncate(SHOWN_REASONS);
        QuarantineStatus {
            entries: inner.now.entries + inner.old.entries,
            bytes: inner.now.bytes + inner.old.bytes,
            pushed_out: inner.pushed_out,
            reasons,
        }
    }

    /// Calls `each` with every entry, oldest first.
    pub fn read(&self, each: &mut dyn FnMut(&Entry<'_>)) -> io::Result<()> {
        self.lock().file.write_out()?;
        read_files(&self.path, each)
    }
}

/// Calls `each` with every entry of a quarantine that no daemon has open, oldest first.
pub fn read_files(path: &Path, each: &mut dyn FnMut(&Entry<'_>)) -> io::Result<()> {
    for path in [old_path(path), path.to_owned()] {
        if scan(&path, &mut |entry, _| each(entry))? == Found::Foreign {
            tracing::error!(path = %path.display(), "this is no quarantine file, or one whose start is damaged");
        }
    }
    Ok(())
}

#[cfg(test)]
impl Quarantine {
    /// Has every write fail as on a full disk, until the file returned is put back.
    pub fn fill_disk(&self) -> fs::File {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        self.lock().file.replace_file(full)
    }

    /// Ends [`Self::fill_disk`].
    pub fn free_disk(&self, file: fs::File) {
        self.lock().file.replace_file(file);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;
    use crate::{config::Bytes, ring::Seq};

    fn push(quarantine: &Quarantine, seq: u64, body: &[u8]) -> io::Result<()> {
        let key = Key { ring_id: 9, seq: Seq(seq), row: 0 };
        let entry = Entry { key, time: Timestamp(0), received: Timestamp(3), reason: "bad", origin: "t", body };
        quarantine.push(&entry)
    }

    fn settings(directory: &Path) -> settings::Quarantine {
        settings::Quarantine { path: directory.join("q"), size: Bytes::kib(256) }
    }

    fn seqs(settings: &settings::Quarantine) -> Vec<u64> {
        Quarantine::open(settings).unwrap().1.iter().map(|held| held.key.seq.0).collect()
    }

    /// A quarantine of entries 1 to `count`, closed.
    fn filled(settings: &settings::Quarantine, count: u64) {
        let (quarantine, _) = Quarantine::open(settings).unwrap();
        (1..=count).for_each(|seq| push(&quarantine, seq, b"x").unwrap());
        quarantine.sync().unwrap();
    }

    #[test]
    fn entries_outlive_a_start() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        filled(&settings, 3);
        let (quarantine, held) = Quarantine::open(&settings).unwrap();
        assert_eq!(held.len(), 3);
        assert!(held.iter().all(|held| held.received == Timestamp(3)));
        let status = quarantine.status();
        assert_eq!((status.entries, status.reasons), (3, vec![("bad".to_owned(), 3)]));
        push(&quarantine, 4, b"y").unwrap();
        let mut seqs = Vec::new();
        quarantine.read(&mut |entry| seqs.push(entry.key.seq.0)).unwrap();
        assert_eq!(seqs, [1, 2, 3, 4]);
    }

    #[test]
    fn the_oldest_are_pushed_out_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        let (quarantine, _) = Quarantine::open(&settings).unwrap();
        (1..=1_000).for_each(|seq| push(&quarantine, seq, &[7; 1_000]).unwrap());
        quarantine.sync().unwrap();
        let status = quarantine.status();
        assert_eq!(status.entries + status.pushed_out, 1_000);
        assert!(status.bytes <= 256 << 10 && status.entries > 100, "{status:?}");
        let on_disk =
            fs::metadata(&settings.path).unwrap().len() + fs::metadata(old_path(&settings.path)).unwrap().len();
        assert!(on_disk <= status.bytes, "{on_disk}");
        let seqs = seqs(&settings);
        assert_eq!((seqs.last(), seqs.len() as u64), (Some(&1_000), status.entries));
    }

    #[test]
    fn both_halves_have_their_space_from_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        let _quarantine = Quarantine::open(&settings).unwrap();
        for path in [settings.path.clone(), old_path(&settings.path)] {
            let metadata = fs::metadata(path).unwrap();
            assert!(metadata.blocks() * 512 >= 128 << 10, "{metadata:?}");
        }
    }

    #[test]
    fn a_full_disk_takes_nothing_and_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        let (quarantine, _) = Quarantine::open(&settings).unwrap();
        push(&quarantine, 1, b"x").unwrap();
        quarantine.sync().unwrap();
        push(&quarantine, 2, b"y").unwrap();
        let file = quarantine.fill_disk();
        assert!(quarantine.sync().is_err());
        // Beyond the buffer each push has to write; tried again and again it is neither kept nor counted.
        for _ in 0..100 {
            assert!(push(&quarantine, 3, &vec![7; 70 << 10]).is_err());
        }
        assert_eq!(quarantine.status().entries, 2);
        // As a write that got half way leaves it.
        let end = file.metadata().unwrap().len();
        file.write_all_at(&[9; 30], end).unwrap();
        quarantine.free_disk(file);
        push(&quarantine, 3, b"z").unwrap();
        quarantine.sync().unwrap();
        drop(quarantine);
        assert_eq!(seqs(&settings), [1, 2, 3]);
        assert!(!beside(&settings.path, ".damaged-1").exists());
    }

    #[test]
    fn a_change_of_files_that_fails_can_be_made_later() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        let (quarantine, _) = Quarantine::open(&settings).unwrap();
        (1..=200).for_each(|seq| push(&quarantine, seq, &[7; 1_000]).unwrap());
        // The new file cannot be created while a directory has its name.
        let blocked = beside(&settings.path, ".new");
        fs::create_dir(&blocked).unwrap();
        let mut next = 201;
        while push(&quarantine, next, &[7; 1_000]).is_ok() {
            next += 1;
        }
        assert!(push(&quarantine, next, &[7; 1_000]).is_err());
        fs::remove_dir(&blocked).unwrap();
        // As if the second rename had failed the last time.
        fs::rename(&settings.path, old_path(&settings.path)).unwrap();
        (next..next + 3).for_each(|seq| push(&quarantine, seq, &[7; 1_000]).unwrap());
        quarantine.sync().unwrap();
        assert_eq!(seqs(&settings).last(), Some(&(next + 2)));
        assert!(seqs(&settings).len() > 100);
    }

    #[test]
    fn what_is_no_quarantine_is_moved_and_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        for (n, what) in [b"rubbish".as_slice(), &[1; 5_000]].into_iter().enumerate() {
            fs::write(&settings.path, what).unwrap();
            assert!(seqs(&settings).is_empty());
            assert_eq!(fs::read(beside(&settings.path, &format!(".damaged-{}", n + 1))).unwrap(), what);
        }
        for n in 3..=16 {
            fs::write(beside(&settings.path, &format!(".damaged-{n}")), b"").unwrap();
        }
        fs::write(&settings.path, b"rubbish").unwrap();
        assert!(Quarantine::open(&settings).is_err());
        assert_eq!(fs::read(&settings.path).unwrap(), b"rubbish");
    }

    #[test]
    fn a_flipped_bit_costs_one_entry_and_a_torn_end_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        filled(&settings, 4);
        let intact = fs::read(&settings.path).unwrap();
        let entry = (intact.len() - 16) / 4;
        for at in [0, 1, 3, 5, 20, entry - 1] {
            let mut bytes = intact.clone();
            bytes[16 + entry + at] ^= 0x10;
            fs::write(&settings.path, &bytes).unwrap();
            assert_eq!(seqs(&settings), [1, 3, 4], "byte {at}");
            assert_eq!(fs::read(&settings.path).unwrap(), bytes);
        }
        fs::write(&settings.path, &intact[..intact.len() - 5]).unwrap();
        assert_eq!(seqs(&settings), [1, 2, 3]);
        assert_eq!(fs::read(beside(&settings.path, ".damaged-1")).unwrap().len(), entry - 5);
        filled(&settings, 1);
        assert_eq!(seqs(&settings), [1, 2, 3, 1]);
    }
}
