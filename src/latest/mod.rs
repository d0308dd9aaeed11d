//! The latest value of every series, in memory.
//!
//! Latest means the highest event time of each field, not the last arrival. The map is bounded by `max_series` and by
//! [`MEAN_SERIES_BYTES`] a series; the least recently updated series makes room.

mod feed;
mod filter;
mod key;
mod shapes;
mod shard;
mod slot;
#[cfg(test)]
mod tests;
mod union;

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use serde::Serialize;

use self::{
    feed::Feed,
    key::{KeyRef, pairs},
    shapes::{Reach, Shapes},
    shard::Shard,
    slot::{Slot, Stamp, value_ref},
};
pub use self::{
    feed::{Event, Subscription, WATCH_BACKLOG},
    filter::{Filter, FilterError},
    key::Key,
    slot::Field,
};
use crate::{
    config::settings,
    entry::{RowRef, ValueRef},
    point::{Received, Row},
    ring::Seq,
};

/// Bytes a series may take on average before the least recently updated makes room, whatever `max_series` says.
pub const MEAN_SERIES_BYTES: usize = 1024;
/// Bytes the map may take in any case.
const LEAST_BYTES: usize = 4 << 20;
/// Series a lock covers, roughly, up to [`MAX_SHARDS`] locks.
const SERIES_PER_SHARD: usize = 1024;
const MAX_SHARDS: usize = 16;
/// Slots looked through before a listing lets go of the lock for a moment.
const SLOTS_PER_HOLD: usize = 256;

/// A series and its latest values.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Table and symbols.
    pub key: Key,
    /// Its fields in the order in which they first came; never empty.
    pub fields: Vec<Field>,
}

impl Series {
    /// The field with the highest event time.
    pub fn newest(&self) -> Option<&Field> {
        self.fields.iter().max_by_key(|field| (field.time, field.seq))
    }

    /// The last record that holds any of the values.
    pub fn seq(&self) -> Seq {
        self.fields.iter().map(|field| field.seq).max().unwrap_or_default()
    }
}

/// What a listing found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listing {
    /// Sorted by table and symbols.
    pub series: Vec<Series>,
    /// Whether there are more than were asked for.
    pub truncated: bool,
}

/// State of the map, as `status` shows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LatestStatus {
    /// Series held.
    pub series: u64,
    /// Most that may be held.
    pub max_series: u64,
    /// Bytes they take, roughly.
    pub bytes: u64,
    /// Series that made room for others, since start.
    pub evicted: u64,
    /// Readings that changed a latest value, since start.
    pub updates: u64,
    /// Readings that changed none, because later ones were held, since start.
    pub late: u64,
    /// Watchers now.
    pub watchers: u64,
}

/// The map. Shared by reference; every method takes short locks of its own.
#[derive(Debug)]
pub struct Latest {
    shards: Box<[Mutex<Shard>]>,
    hasher: foldhash::quality::RandomState,
    shapes: Mutex<Shapes>,
    feed: Feed,
    max_series: usize,
    max_bytes: usize,
    series: AtomicUsize,
    bytes: AtomicUsize,
    evicted: AtomicU64,
}

impl Latest {
    /// An empty map within the settings' bounds.
    #[must_use]
    pub fn new(settings: &settings::Latest) -> Self {
        let max_series = settings.max_series.clamp(1, u32::MAX as usize);
        let shards = (max_series / SERIES_PER_SHARD).clamp(1, MAX_SHARDS).next_power_of_two().min(MAX_SHARDS);
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            hasher: foldhash::quality::RandomState::default(),
            shapes: Mutex::default(),
            feed: Feed::new(),
            max_series,
            max_bytes: max_series.saturating_mul(MEAN_SERIES_BYTES).max(LEAST_BYTES),
            series: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// Makes a row ready for the ring, before it is appended.
    ///
    /// A row without a time gets its receive time: whole microseconds, strictly increasing within the series, also if the
    /// wall clock goes back. A row of the very microsecond of values held becomes the union of both, because QuestDB's
    /// dedup replaces whole rows. Rows older than what is held can't be completed: the map keeps no history.
    pub fn prepare(&self, table: &str, row: &mut Row, received: Received) {
        self.make_ready(table, row, received, true);
    }

    fn make_ready(&self, table: &str, row: &mut Row, received: Received, complete: bool) {
        let (hash, mut shard, found, entering) = {
            let key = KeyRef { table, symbols: pairs(&row.symbols) };
            let hash = key.hash(&self.hasher);
            let shard = self.shard(hash);
            let found = shard.find(hash, &key);
            let entering = (found.is_none() && row.time.is_none()).then(|| key.to_key());
            (hash, shard, found, entering)
        };
        // The series is entered at once, so that a second row of the same message gets a later time than this one.
        let at = match &entering {
            Some(key) => Some(shard.insert(Slot::new(hash, key.clone()))),
            None => found,
        };
        let Some(slot) = at.and_then(|at| shard.get_mut(at)) else { return };
        if row.time.is_none() {
            row.device_time = false;
            row.time = Some(slot.assign(received.wall));
        }
        if complete {
            slot.complete(row);
        }
        if let Some(key) = entering {
            self.entered(&key, slot.bytes);
            drop(shard);
            self.make_room(hash);
        }
    }

    /// Takes in a row that is in the ring as record `seq`.
    pub fn update(&self, table: &str, row: &Row, seq: Seq, received: Received) {
        let key = KeyRef { table, symbols: pairs(&row.symbols) };
        let fields = row.fields.iter().map(|(name, value)| (name.as_str(), value_ref(value)));
        let time = row.time.unwrap_or(received.wall);
        self.apply(&key, fields, Stamp { time, device_time: row.device_time, received: received.wall, seq });
    }

    /// Takes in a row read back from the ring; called in the order of the records.
    pub fn restore(&self, table: &str, row: &RowRef<'_>, seq: Seq, received: Received) {
        let key = KeyRef { table, symbols: row.symbols() };
        let stamp = Stamp { time: row.time, device_time: row.device_time, received: received.wall, seq };
        self.apply(&key, row.fields(), stamp);
    }

    fn apply<'k, 'f>(
        &self,
        key: &KeyRef<'k, impl Iterator<Item = (&'k str, &'k str)> + Clone>,
        fields: impl Iterator<Item = (&'f str, ValueRef<'f>)>,
        stamp: Stamp,
    ) {
        let hash = key.hash(&self.hasher);
        let mut shard = self.shard(hash);
        let found = shard.find(hash, key);
        let at = found.unwrap_or_else(|| shard.insert(Slot::new(hash, key.to_key())));
        let before = found.and_then(|at| shard.get(at)).map_or(0, |slot| slot.bytes);
        let changed = shard.apply(at, fields, stamp);
        let news = changed.filter(|_| self.feed.watchers() > 0).map(snapshot);
        let slot = shard.get(at);
        let after = slot.map_or(0, |slot| slot.bytes);
        if let Some(slot) = slot.filter(|_| found.is_none()) {
            self.entered(&slot.key, after);
        } else if after != before {
            self.bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        }
        drop(shard);
        if after != before {
            self.make_room(hash);
        }
        if let Some(news) = news {
            self.feed.publish(news);
        }
    }

    /// Forgets a series as far as records up to `seq` go; later readings bring it back. True when it was held.
    pub fn clear<N: AsRef<str>, V: AsRef<str>>(&self, table: &str, symbols: &[(N, V)], seq: Seq) -> bool {
        let key = KeyRef { table, symbols: pairs(symbols) };
        let hash = key.hash(&self.hasher);
        let mut shard = self.shard(hash);
        let Some(at) = shard.find(hash, &key) else { return false };
        let Some(slot) = shard.get_mut(at) else { return false };
        let before = slot.bytes;
        slot.forget(seq);
        let after = slot.bytes;
        // Its receive times stay known while it has fields, no longer; a cleared series starts afresh.
        let gone = if slot.fields.is_empty() { shard.remove(at) } else { None };
        drop(shard);
        match gone {
            Some(slot) => self.left(&slot.key, before),
            None => drop(self.bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed)),
        }
        true
    }

    /// One series by its whole key; the symbols are sorted by name.
    pub fn get<N: AsRef<str>, V: AsRef<str>>(&self, table: &str, symbols: &[(N, V)]) -> Option<Series> {
        let key = KeyRef { table, symbols: pairs(symbols) };
        let hash = key.hash(&self.hasher);
        let shard = self.shard(hash);
        let slot = shard.get(shard.find(hash, &key)?)?;
        (!slot.fields.is_empty()).then(|| snapshot(slot))
    }

    /// The series that match, at most `limit`.
    pub fn list(&self, filter: &Filter, limit: usize) -> Listing {
        if let Some(table) = filter.table() {
            // The lock order is shard, then shapes: this one is let go before a shard is taken.
            let reach = lock(&self.shapes).reach(table, filter.symbols());
            match reach {
                Reach::Nothing => return Listing::default(),
                Reach::One => {
                    let found = self.get(table, filter.symbols());
                    return Listing { series: found.into_iter().collect(), truncated: false };
                }
                Reach::Many => {}
            }
        }
        self.scan(filter, limit)
    }

    fn scan(&self, filter: &Filter, limit: usize) -> Listing {
        let mut series = Vec::new();
        for shard in &self.shards {
            let mut from = 0;
            while let Some(chunk) = lock(shard).chunk(from, SLOTS_PER_HOLD) {
                let wanted = chunk.filter(|slot| !slot.fields.is_empty() && filter.matches(&slot.key));
                series.extend(wanted.take((limit + 1).saturating_sub(series.len())).map(snapshot));
                from += SLOTS_PER_HOLD;
            }
            if series.len() > limit {
                break;
            }
        }
        let truncated = series.len() > limit;
        series.truncate(limit);
        // A series that left and came back during the listing may stand in it twice; the later one is the newer.
        series.sort_by(|a, b| a.key.cmp(&b.key).then(b.seq().cmp(&a.seq())));
        series.dedup_by(|next, kept| next.key == kept.key);
        Listing { series, truncated }
    }

    /// Follows the changes from now on.
    pub fn subscribe(&self) -> Subscription {
        self.feed.subscribe()
    }

    /// Counters and fill.
    pub fn status(&self) -> LatestStatus {
        let (mut updates, mut late) = (0, 0);
        for shard in &self.shards {
            let shard = lock(shard);
            updates += shard.updates;
            late += shard.late;
        }
        LatestStatus {
            series: self.series.load(Ordering::Relaxed) as u64,
            max_series: self.max_series as u64,
            bytes: self.bytes.load(Ordering::Relaxed) as u64,
            evicted: self.evicted.load(Ordering::Relaxed),
            updates,
            late,
            watchers: self.feed.watchers() as u64,
        }
    }

    fn shard_of(&self, hash: u64) -> usize {
        // Bits that the hash table uses neither for the bucket nor for the tag.
        (hash >> 40) as usize & (self.shards.len() - 1)
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.shard_of(hash)])
    }

    /// Called with the series' shard locked, so that nobody can take the series out before it is counted.
    fn entered(&self, key: &Key, bytes: usize) {
        lock(&self.shapes).add(key);
        self.series.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn left(&self, key: &Key, bytes: usize) {
        lock(&self.shapes).remove(key);
        self.series.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn make_room(&self, keep: u64) {
        while self.series.load(Ordering::Relaxed) > self.max_series
            || self.bytes.load(Ordering::Relaxed) > self.max_bytes
        {
            let first = self.shard_of(keep);
            let count = self.shards.len();
            let evict = |step: usize| lock(&self.shards[(first + step) % count]).evict(keep);
            let Some(slot) = (0..count).find_map(evict) else { return };
            self.left(&slot.key, slot.bytes);
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn snapshot(slot: &Slot) -> Series {
    Series { key: slot.key.clone(), fields: slot.fields.clone() }
}

/// A panic aborts the process, so a poisoned lock is only ever seen by tests.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
