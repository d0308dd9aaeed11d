//! Rows and messages set aside: two bounded files, `path` and `path.old`.
//!
//! Entries are appended to `path`. When it would pass half the size, it becomes `path.old`, whose entries are pushed
//! out, so the newest are always kept. Damage never stops a start: what does not check out ends a file's reading.

pub mod format;

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

pub use format::{DEAD_LETTER, Entry, Key};

use super::status::QuarantineStatus;
use crate::config::settings;

/// Reasons told apart in the status; entries with others are counted together.
const MAX_REASONS: usize = 200;
/// Reasons shown in the status.
const SHOWN_REASONS: usize = 10;
/// Bytes of a reason that tell it from others in the status.
const REASON_BYTES: usize = 160;
/// Smallest size that can be asked for, in bytes; a smaller one is taken for this.
pub const LEAST_SIZE_BYTES: u64 = 256 << 10;
/// Unwritten bytes are written out beyond this.
const BUFFER_BYTES: usize = 64 << 10;

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
    file: File,
    unwritten: Vec<u8>,
    unsynced: bool,
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

fn old_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".old");
    name.into()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

impl Quarantine {
    /// Opens the files, creates what is missing, and returns the rows that are in them, by ring id and record.
    ///
    /// A damaged end is cut off and reported in the log.
    pub fn open(settings: &settings::Quarantine) -> io::Result<(Self, Vec<Key>)> {
        let path = settings.path.clone();
        let mut keys = Vec::new();
        let mut old = Tally::default();
        scan(&old_path(&path), &mut |entry, bytes| {
            old.count(entry, bytes);
            keys.push(entry.key);
        })?;
        let mut now = Tally::default();
        let intact = scan(&path, &mut |entry, bytes| {
            now.count(entry, bytes);
            keys.push(entry.key);
        })?;
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        if intact == 0 {
            file.set_len(0)?;
            file.write_all(&format::HEADER)?;
        } else {
            file.set_len(intact)?;
        }
        file.seek(io::SeekFrom::End(0))?;
        file.sync_all()?;
        sync_directory(&path)?;
        now.bytes += format::HEADER.len() as u64;
        let inner = Inner { file, unwritten: Vec::new(), unsynced: false, now, old, pushed_out: 0 };
        let half_bytes = settings.size.0.max(LEAST_SIZE_BYTES) / 2;
        Ok((Self { path, half_bytes, inner: Mutex::new(inner) }, keys))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an entry; it is durable after the next [`Self::sync`].
    pub fn push(&self, entry: &Entry<'_>) -> io::Result<()> {
        let mut inner = self.lock();
        let before = inner.unwritten.len();
        format::encode(entry, &mut inner.unwritten);
        let bytes = (inner.unwritten.len() - before) as u64;
        if inner.now.bytes + bytes > self.half_bytes && inner.now.entries > 0 {
            let new = inner.unwritten.split_off(before);
            self.rotate(&mut inner)?;
            inner.unwritten = new;
        }
        inner.now.count(entry, bytes);
        inner.unsynced = true;
        if inner.unwritten.len() > BUFFER_BYTES { write_out(&mut inner) } else { Ok(()) }
    }

    /// Makes everything pushed durable.
    pub fn sync(&self) -> io::Result<()> {
        let mut inner = self.lock();
        if !inner.unsynced {
            return Ok(());
        }
        write_out(&mut inner)?;
        inner.file.sync_data()?;
        inner.unsynced = false;
        Ok(())
    }

    /// Appends entries; they are durable on return.
    pub fn add(&self, entries: &[Entry<'_>]) -> io::Result<()> {
        entries.iter().try_for_each(|entry| self.push(entry))?;
        self.sync()
    }

    fn rotate(&self, inner: &mut Inner) -> io::Result<()> {
        write_out(inner)?;
        inner.file.sync_data()?;
        fs::rename(&self.path, old_path(&self.path))?;
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&self.path)?;
        file.write_all(&format::HEADER)?;
        sync_directory(&self.path)?;
        inner.file = file;
        inner.pushed_out += inner.old.entries;
        inner.old = std::mem::take(&mut inner.now);
        inner.now.bytes = format::HEADER.len() as u64;
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
        write_out(&mut self.lock())?;
        read_files(&self.path, each)
    }
}

/// Calls `each` with every entry of a quarantine that no daemon has open, oldest first.
pub fn read_files(path: &Path, each: &mut dyn FnMut(&Entry<'_>)) -> io::Result<()> {
    scan(&old_path(path), &mut |entry, _| each(entry))?;
    scan(path, &mut |entry, _| each(entry))?;
    Ok(())
}

fn write_out(inner: &mut Inner) -> io::Result<()> {
    let Inner { file, unwritten, .. } = inner;
    file.write_all(unwritten)?;
    unwritten.clear();
    unwritten.shrink_to(BUFFER_BYTES);
    Ok(())
}

/// Reads a file's entries; returns the length of its intact part, 0 when not even the header is intact or there is none.
fn scan(path: &Path, each: &mut dyn FnMut(&Entry<'_>, u64)) -> io::Result<u64> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    let mut header = format::HEADER;
    if reader.read_exact(&mut header).is_err() || header != format::HEADER {
        if length > 0 {
            tracing::error!(path = %path.display(), "no quarantine file, or a damaged one: its entries cannot be read");
        }
        return Ok(0);
    }
    let mut intact = header.len() as u64;
    let mut bytes = Vec::new();
    loop {
        let mut prefix = [0; format::PREFIX_BYTES];
        if reader.read_exact(&mut prefix).is_err() {
            break;
        }
        let Some((len, crc)) = format::decode_prefix(prefix) else { break };
        bytes.resize(len, 0);
        if reader.read_exact(&mut bytes).is_err() {
            break;
        }
        let Some(entry) = format::decode(&bytes, crc) else { break };
        let size = (format::PREFIX_BYTES + len) as u64;
        each(&entry, size);
        intact += size;
    }
    if intact < length {
        let lost = length - intact;
        tracing::error!(path = %path.display(), lost_bytes = lost, "the end of a quarantine file is damaged");
    }
    Ok(intact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Bytes, point::Timestamp, ring::Seq};

    fn key(seq: u64) -> Key {
        Key { ring_id: 9, seq: Seq(seq), row: 0 }
    }

    fn push(quarantine: &Quarantine, seq: u64, body: &[u8]) {
        let time = Timestamp(0);
        let entry = Entry { key: key(seq), time, received: time, reason: "bad", origin: "t", body };
        quarantine.push(&entry).unwrap();
    }

    fn settings(directory: &Path) -> settings::Quarantine {
        settings::Quarantine { path: directory.join("q"), size: Bytes::kib(256) }
    }

    #[test]
    fn entries_outlive_a_start() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        let (quarantine, keys) = Quarantine::open(&settings).unwrap();
        assert!(keys.is_empty());
        (1..=3).for_each(|seq| push(&quarantine, seq, b"x"));
        quarantine.sync().unwrap();
        drop(quarantine);
        let (quarantine, keys) = Quarantine::open(&settings).unwrap();
        assert_eq!(keys, [key(1), key(2), key(3)]);
        let status = quarantine.status();
        assert_eq!((status.entries, status.reasons), (3, vec![("bad".to_owned(), 3)]));
        push(&quarantine, 4, b"y");
        let mut seqs = Vec::new();
        quarantine.read(&mut |entry| seqs.push(entry.key.seq.0)).unwrap();
        assert_eq!(seqs, [1, 2, 3, 4]);
    }

    #[test]
    fn the_oldest_are_pushed_out_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        let (quarantine, _) = Quarantine::open(&settings).unwrap();
        (1..=1_000).for_each(|seq| push(&quarantine, seq, &[7; 1_000]));
        quarantine.sync().unwrap();
        let status = quarantine.status();
        assert_eq!(status.entries + status.pushed_out, 1_000);
        assert!(status.bytes <= 256 << 10 && status.entries > 100, "{status:?}");
        let on_disk =
            fs::metadata(&settings.path).unwrap().len() + fs::metadata(old_path(&settings.path)).unwrap().len();
        assert!(on_disk <= status.bytes, "{on_disk}");
        let (_, keys) = Quarantine::open(&settings).unwrap();
        assert_eq!((keys.last(), keys.len() as u64), (Some(&key(1_000)), status.entries));
    }

    #[test]
    fn damage_stops_no_start() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        let (quarantine, _) = Quarantine::open(&settings).unwrap();
        (1..=3).for_each(|seq| push(&quarantine, seq, b"x"));
        quarantine.sync().unwrap();
        let mut bytes = fs::read(&settings.path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&settings.path, &bytes).unwrap();
        let (quarantine, keys) = Quarantine::open(&settings).unwrap();
        assert_eq!(keys, [key(1), key(2)]);
        push(&quarantine, 4, b"z");
        quarantine.sync().unwrap();
        assert_eq!(Quarantine::open(&settings).unwrap().1, [key(1), key(2), key(4)]);
        fs::write(&settings.path, b"rubbish").unwrap();
        assert!(Quarantine::open(&settings).unwrap().1.is_empty());
    }
}
