//! Rows and messages set aside: two bounded files, `path` and `path.old`.
//!
//! Entries are appended to `path`. When it would pass half the size, it becomes `path.old`, whose entries are pushed
//! out, so the newest are always kept. Both are locked while a daemon runs on them. Both halves have their space on the disk from the start. Damage never stops a
//! start, and nothing is thrown away for being damaged: what cannot be read is moved or copied to `path.damaged-N`.

pub mod advice;
mod discard;
mod extent;
mod file;
pub mod format;
mod group;
mod id;
mod placed;
mod scan;
mod select;
mod snapshot;
pub mod status;
pub mod view;

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io,
    ops::ControlFlow,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use self::status::QuarantineStatus;
pub use self::{
    discard::{Discarded, discard},
    extent::{Extent, extent},
    format::{CUT_LETTER, DEAD_LETTER, Entry, Key, exception_of},
    id::{Id, IdError},
    select::{Kind, Selection},
    snapshot::{Cursor, Newest, Owned, Place, PlaceError, Snapshot, Summary},
};
use self::{
    file::{Appender, beside, copy_aside, move_aside, refuse_if_locked, sync_directory},
    scan::{FIRST_ENTRY_AT, Found, Item},
};
use crate::{point::Timestamp, settings, sync::lock};

/// Reasons told apart in the status; entries with others are counted together.
const MAX_REASONS: usize = 200;
/// Under which they are counted.
const OTHER_REASONS: &str = "other reasons";
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
    /// Counts an entry; the kind of its reason.
    fn count(&mut self, entry: &Entry<'_>, bytes: u64) -> String {
        self.entries += 1;
        self.bytes += bytes;
        let reason = reason_of(entry);
        if let Some(count) = self.reasons.get_mut(&reason) {
            *count += 1;
        } else {
            let name = if self.reasons.len() < MAX_REASONS { &*reason } else { OTHER_REASONS };
            *self.reasons.entry(name.to_owned()).or_default() += 1;
        }
        reason
    }

    /// Undoes [`Self::count`] for an entry that has been taken out; its bytes stay until its file goes.
    fn uncount(&mut self, entry: &Entry<'_>) {
        self.entries = self.entries.saturating_sub(1);
        let reason = reason_of(entry);
        let name = if self.reasons.contains_key(&reason) { &*reason } else { OTHER_REASONS };
        if let Some(count) = self.reasons.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                self.reasons.remove(name);
            }
        }
    }
}

/// Under which an entry's reason is counted.
fn reason_of(entry: &Entry<'_>) -> String {
    let mut kind = group::kind_of(&entry.reason[..entry.reason.floor_char_boundary(format::MAX_REASON_BYTES)]);
    kind.truncate(kind.floor_char_boundary(REASON_BYTES));
    kind
}

#[derive(Debug)]
struct Inner {
    file: Appender,
    /// The file's number.
    number: u32,
    /// The file before it and its number; none while a change of files has gone half way.
    old_file: Option<(u32, File)>,
    scratch: Vec<u8>,
    now: Tally,
    old: Tally,
    pushed_out: u64,
    /// Why nothing can be taken in or out: what is written would not be found again.
    displaced: Option<String>,
}

/// The quarantine. Shared between lanes.
#[derive(Debug)]
pub struct Quarantine {
    path: PathBuf,
    half_bytes: u64,
    inner: Mutex<Inner>,
}

/// What is found to be in quarantine at a start, or to have been taken out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The row.
    pub key: Key,
    /// When its message was received: a record's number may be given to another after a loss of the ring's end.
    pub received: Timestamp,
}

/// The older file of a quarantine.
#[must_use]
pub fn old_path(path: &Path) -> PathBuf {
    beside(path, ".old")
}

/// Number of a file that has none written down.
const FIRST_NUMBER: u32 = 1;

/// A file that is open, with what is in it.
struct Opened {
    file: Appender,
    number: u32,
    tally: Tally,
}

/// Reads a file's entries and opens it for appending, created where there is none. It gets at least the number `least`.
fn open_file(path: &Path, reserve: u64, least: u32, held: &mut Vec<Held>) -> io::Result<Opened> {
    let found = match scan::open_to_read(path) {
        Ok(file) => Some((scan::look(&file)?, file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut tally = Tally::default();
    let mut number = least;
    let file = match found {
        Some((Found::Entries { number: own, length }, file)) => {
            number = own.map_or(least, |own| own.max(least));
            let end = read_all(path, &file, length, &mut tally, held)?;
            if end < length {
                copy_aside(path, end)?;
            }
            Appender::resume(path, end, reserve, number)?
        }
        Some((Found::Foreign, _)) => {
            move_aside(path)?;
            Appender::create(path, reserve, number)?
        }
        Some((Found::Unborn, _)) | None => Appender::create(path, reserve, number)?,
    };
    tally.bytes = file.len();
    Ok(Opened { file, number, tally })
}

/// Takes note of everything in a file; returns where its last intact entry ends.
fn read_all(path: &Path, file: &File, length: u64, tally: &mut Tally, held: &mut Vec<Held>) -> io::Result<u64> {
    scan::scan(file, FIRST_ENTRY_AT, length, &mut |item| {
        match item {
            Item::Entry(found) => {
                if !found.taken_out {
                    tally.count(&found.entry, found.bytes);
                }
                held.push(Held { key: found.entry.key, received: found.entry.received });
            }
            Item::Damage { at, bytes } => {
                tracing::error!(path = %path.display(), at, bytes, "a damaged stretch in the quarantine is passed over");
            }
        }
        ControlFlow::Continue(())
    })
}

impl Quarantine {
    /// Opens the files, creates what is missing, and returns what is in them or was taken out of them.
    ///
    /// Damage and whatever is no quarantine file are kept beside them and reported in the log.
    pub fn open(settings: &settings::Quarantine) -> io::Result<(Self, Vec<Held>)> {
        let path = settings.path.clone();
        let half_bytes = settings.size.0.max(LEAST_SIZE_BYTES) / 2;
        // Nothing may be moved aside or cut off under another daemon. Opening them to write takes the locks for good.
        [&path, &old_path(&path)].into_iter().try_for_each(|path| refuse_if_locked(path))?;
        let mut held = Vec::new();
        let old = open_file(&old_path(&path), half_bytes, FIRST_NUMBER, &mut held)?;
        let now = open_file(&path, half_bytes, old.number.saturating_add(1), &mut held)?;
        sync_directory(&path)?;
        let inner = Inner {
            file: now.file,
            number: now.number,
            old_file: Some((old.number, old.file.into_file())),
            scratch: Vec::new(),
            now: now.tally,
            old: old.tally,
            pushed_out: 0,
            displaced: None,
        };
        Ok((Self { path, half_bytes, inner: Mutex::new(inner) }, held))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// Appends an entry; it is durable after the next [`Self::sync`]. On an error it is not taken.
    pub fn push(&self, entry: &Entry<'_>) -> io::Result<String> {
        let mut inner = self.lock();
        inner.refuse_when_displaced()?;
        let mut scratch = std::mem::take(&mut inner.scratch);
        scratch.clear();
        format::encode(entry, &mut scratch);
        let bytes = scratch.len() as u64;
        let pushed = self.make_room(&mut inner, bytes).and_then(|()| inner.file.push(&scratch));
        scratch.shrink_to(SCRATCH_BYTES);
        inner.scratch = scratch;
        pushed?;
        Ok(inner.now.count(entry, bytes))
    }

    /// Makes everything pushed durable.
    pub fn sync(&self) -> io::Result<()> {
        let mut inner = self.lock();
        inner.refuse_when_displaced()?;
        inner.file.sync()
    }

    /// Appends entries; they are durable on return.
    pub fn add(&self, entries: &[Entry<'_>]) -> io::Result<()> {
        entries.iter().try_for_each(|entry| self.push(entry).map(drop))?;
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
        if in_place {
            // What another has put there is not to be moved.
            inner.file.look_at_place(&self.path).map_err(io::Error::other)?;
        }
        if in_place && old.try_exists()? {
            fs::remove_file(&old)?;
        }
        inner.pushed_out += std::mem::take(&mut inner.old).entries;
        inner.old_file = None;
        let file = Appender::create(&next, self.half_bytes, inner.number.saturating_add(1))?;
        if in_place {
            fs::rename(&self.path, &old)?;
        }
        fs::rename(&next, &self.path)?;
        sync_directory(&self.path)?;
        inner.old_file = Some((inner.number, std::mem::replace(&mut inner.file, file).into_file()));
        inner.number = inner.number.saturating_add(1);
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
        // What is counted together comes last, however much it is; so does what is not shown.
        reasons.sort_by_key(|(reason, count)| (reason == OTHER_REASONS, std::cmp::Reverse(*count)));
        if reasons.len() > SHOWN_REASONS {
            let others = reasons.drain(SHOWN_REASONS - 1..).map(|(_, count)| count).sum();
            reasons.push((OTHER_REASONS.to_owned(), others));
        }
        QuarantineStatus {
            entries: inner.now.entries + inner.old.entries,
            bytes: inner.now.bytes + inner.old.bytes,
            pushed_out: inner.pushed_out,
            advice: advice::by_reason(&reasons),
            reasons,
        }
    }

    /// Most bytes its files may have together.
    pub fn size_bytes(&self) -> u64 {
        2 * self.half_bytes
    }

    /// What is in it now, to be read without holding up who pushes.
    pub fn snapshot(&self) -> io::Result<Snapshot> {
        let mut inner = self.lock();
        if let Err(error) = inner.file.write_out() {
            tracing::warn!(%error, "the newest entries of the quarantine cannot be written, and so are not read either");
        }
        let mut snapshot = Snapshot::default();
        if let Some((number, file)) = &inner.old_file {
            snapshot.add(*number, file.try_clone()?, file.metadata()?.len());
        }
        snapshot.add(inner.number, inner.file.handle()?, inner.file.end());
        Ok(snapshot)
    }

    /// Takes entries out for good; durable on return. Returns how many were in: one that was pushed out or taken out meanwhile is not.
    ///
    /// On an error some of them may be out.
    pub fn take_out(&self, entries: &[(Place, Id)]) -> io::Result<u64> {
        let mut inner = self.lock();
        inner.refuse_when_displaced()?;
        let (mut taken, mut old_touched) = (0, false);
        for (place, id) in entries {
            let is_old = match &inner.old_file {
                Some((number, _)) if *number == place.file => true,
                _ if inner.number == place.file => false,
                _ => continue,
            };
            let file = match &inner.old_file {
                Some((_, file)) if is_old => file.try_clone()?,
                _ => inner.file.handle()?,
            };
            let Inner { file: appender, now, old, .. } = &mut *inner;
            let done = scan::entry_at(&file, place.at, |found| {
                if found.taken_out || Id::from(&found.entry) != *id {
                    return Ok(0);
                }
                if is_old {
                    file::take_out(&file, place.at)?;
                    old.uncount(&found.entry);
                } else {
                    appender.take_out(place.at)?;
                    now.uncount(&found.entry);
                }
                Ok::<_, io::Error>(1)
            })?;
            taken += done.transpose()?.unwrap_or(0);
            old_touched |= is_old;
        }
        if old_touched && let Some((_, file)) = &inner.old_file {
            file.sync_data()?;
        }
        inner.file.sync()?;
        Ok(taken)
    }
}

/// What is in a quarantine that no daemon has open; what cannot be read of it is said in `complaints`.
pub fn snapshot_of(path: &Path, complaints: &mut Vec<String>) -> io::Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    let mut least = FIRST_NUMBER;
    for path in [old_path(path), path.to_owned()] {
        let file = match scan::open_to_read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                least = least.saturating_add(1);
                continue;
            }
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        };
        match scan::look(&file)? {
            Found::Entries { number, length } => {
                let number = number.map_or(least, |number| number.max(least));
                snapshot.add(number, file, length);
                least = number.saturating_add(1);
            }
            Found::Unborn => least = least.saturating_add(1),
            Found::Foreign => {
                least = least.saturating_add(1);
                complaints
                    .push(format!("{} is no quarantine file, or its start is damaged; it is left out", path.display()));
            }
        }
    }
    Ok(snapshot)
}

/// [`Quarantine::take_out`] for a quarantine that no daemon has open. (Taking out writes single bytes in their places, so even a
/// daemon that starts meanwhile comes to no harm.)
pub fn take_out_of(path: &Path, entries: &[(Place, Id)]) -> io::Result<u64> {
    let mut complaints = Vec::new();
    let snapshot = snapshot_of(path, &mut complaints)?;
    let mut taken = 0;
    for path in [old_path(path), path.to_owned()] {
        let file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        };
        let Some(number) = snapshot.number_of(&file)? else { continue };
        let mut touched = false;
        for (place, id) in entries.iter().filter(|(place, _)| place.file == number) {
            let is_in = scan::entry_at(&file, place.at, |found| !found.taken_out && Id::from(&found.entry) == *id)?;
            if is_in == Some(true) {
                if !touched {
                    // Entries taken out are of the present version.
                    file.write_all_at(&format::encode_header(number), 0)?;
                    touched = true;
                }
                file::take_out(&file, place.at)?;
                taken += 1;
            }
        }
        if touched {
            file.sync_data()?;
        }
    }
    Ok(taken)
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
mod tests;
