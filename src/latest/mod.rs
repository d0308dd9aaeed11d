//! The latest value of every series, in memory.
//!
//! Latest means the highest event time of each field, not the last arrival; of two readings of the
//! same microsecond the later record wins, as in QuestDB. A time that is not believed is older than
//! any other (`rank`). The map is bounded in series and in bytes; the least recently updated series
//! makes room.
//!
//! The map has two sides. Whoever brings readings (`shard`, `slot`) takes short locks that only
//! others who bring readings take; whoever reads (`board`, `list`, `feed`) takes none.

mod apart;
mod assigned;
mod board;
mod by_symbol;
mod cleared;
mod displaced;
mod feed;
mod fields;
mod fill;
mod filter;
mod history;
mod key;
mod list;
#[cfg(test)]
mod parts_of_keys;
mod past;
mod rank;
mod restore;
mod room;
mod shapes;
mod shard;
mod shown;
mod slot;
#[cfg(test)]
mod spellings;
#[cfg(test)]
mod tests;
mod union;
pub mod view;

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
};

use serde::Serialize;
use utoipa::ToSchema;

use self::{
    assigned::MAX_LEAD_US,
    board::Board,
    displaced::Displaced,
    feed::Feed,
    fields::Stamp,
    key::{KeyRef, pairs},
    past::value_ref,
    shard::Shard,
    slot::{Remember, Slot, Taken},
};
pub use self::{
    feed::{Change, Event, MAX_SEATS, Subscription, WATCH_BACKLOG},
    fields::Field,
    fill::FROM_DATABASE,
    filter::{Filter, FilterError},
    key::Key,
    list::{Listing, Walk},
    restore::{Restored, Restorer},
    slot::{MAX_COMPLETED_BYTES, Standing},
    union::Collisions,
};
use crate::{
    entry::ValueRef,
    marks::Seq,
    point::{MAX_FIELDS, Received, Row, Timestamp},
    settings,
    sync::lock,
};

/// Series a lock covers, roughly, up to [`MAX_SHARDS`] locks.
const SERIES_PER_SHARD: usize = 1024;
const MAX_SHARDS: usize = 16;

/// Where values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// A message, or what stands for one.
    Message,
    /// The ring, read back at the start. Readers see it all at once, later.
    Ring,
    /// The database.
    Database,
}

/// What taking values in has done.
#[derive(Debug, Default)]
struct Applied {
    /// Some field holds its value now.
    changed: bool,
    /// The series may have got fields that it had not.
    grew: bool,
    /// The series as it is now, where it changed and somebody who watches is to be told.
    series: Option<Series>,
}

/// A series and its latest values.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Table and symbols.
    pub key: Arc<Key>,
    /// Its fields in the order in which they first came; never empty.
    pub fields: Arc<Vec<Field>>,
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

/// State of the map, as `status` shows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct LatestStatus {
    /// Series held.
    pub series: u64,
    /// Most that may be held.
    pub max_series: u64,
    /// Bytes they take, roughly.
    pub bytes: u64,
    /// Most bytes they may take.
    pub max_bytes: u64,
    /// Bytes of the moments remembered of all series: later rows of a moment are compared with them
    /// and completed from them.
    pub history_bytes: u64,
    /// Most bytes they may take.
    pub max_history_bytes: u64,
    /// Series that made room for others, since start.
    pub evicted: u64,
    /// Readings that changed a latest value, since start.
    pub updates: u64,
    /// Readings that changed none, because later ones were held, since start.
    pub late: u64,
    /// Series taken in from QuestDB because somebody asked for them, since start.
    pub filled: u64,
    /// The last record all of whose readings the map has seen.
    pub seq: Seq,
    /// Watchers now.
    pub watchers: u64,
}

/// The map. Shared by reference.
#[derive(Debug)]
pub struct Latest {
    shards: Box<[Mutex<Shard>]>,
    hasher: foldhash::quality::RandomState,
    board: Board,
    feed: Arc<Feed>,
    /// Random, so that numbers of an earlier map's changes are not taken for this one's.
    id: u32,
    max_series: usize,
    max_bytes: usize,
    max_history_bytes: usize,
    history_bytes: AtomicUsize,
    displaced: Mutex<Displaced>,
    /// Held by whoever has series leave; taken before a shard's lock.
    making_room: Mutex<()>,
    /// Of series that are new to the map, rows up to this time may have come before, in
    /// microseconds.
    unknown_us: AtomicI64,
    series: AtomicUsize,
    bytes: AtomicUsize,
    evicted: AtomicU64,
    updates: AtomicU64,
    late: AtomicU64,
    filled: AtomicU64,
    /// See [`Latest::believe_upto`], in microseconds.
    believed_us: AtomicI64,
    /// See [`LatestStatus::seq`].
    seen: AtomicU64,
}

impl Latest {
    /// An empty map within the settings' bounds.
    #[must_use]
    pub fn new(settings: &settings::Latest) -> Self {
        let max_series = settings.max_series.clamp(1, u32::MAX as usize);
        let shards = (max_series / SERIES_PER_SHARD).clamp(1, MAX_SHARDS).next_power_of_two().min(MAX_SHARDS);
        let hasher = foldhash::quality::RandomState::default();
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            board: Board::new(hasher.clone()),
            hasher,
            feed: Arc::new(Feed::new()),
            id: fastrand::u32(..),
            max_series,
            max_bytes: usize::try_from(settings.max_bytes.0).unwrap_or(usize::MAX),
            max_history_bytes: usize::try_from(settings.history_bytes.0).unwrap_or(usize::MAX),
            history_bytes: AtomicUsize::new(0),
            displaced: Mutex::default(),
            making_room: Mutex::default(),
            unknown_us: AtomicI64::new(i64::MIN),
            series: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
            updates: AtomicU64::new(0),
            late: AtomicU64::new(0),
            filled: AtomicU64::new(0),
            believed_us: AtomicI64::new(i64::MAX),
            seen: AtomicU64::new(0),
        }
    }

    /// Makes a row ready for the ring, before it is appended.
    ///
    /// A row without a time gets its receive time: whole microseconds, strictly increasing within
    /// the series, also if the wall clock goes back a little. A row of a remembered moment becomes
    /// the union of both, because QuestDB's dedup replaces whole rows; its notes say whether it
    /// replaces a value, or is older than what is remembered.
    pub fn prepare(&self, table: &str, row: &mut Row, received: Received) {
        self.make_ready(table, row, received, true);
    }

    /// Whether all that a row with a time says is known of its moment.
    pub fn holds(&self, table: &str, row: &Row) -> bool {
        let key = KeyRef { table, symbols: pairs(&row.symbols) };
        let hash = key.hash(&self.hasher);
        let mut shard = self.shard(hash);
        let found = shard.find(hash, &key);
        found.and_then(|at| shard.get_mut(at)).is_some_and(|slot| slot.holds(row))
    }

    /// What is known of the moment of a row with a time.
    pub fn standing(&self, table: &str, row: &Row) -> Standing {
        let key = KeyRef { table, symbols: pairs(&row.symbols) };
        let hash = key.hash(&self.hasher);
        let mut shard = self.shard(hash);
        let found = shard.find(hash, &key);
        found.and_then(|at| shard.get_mut(at)).map_or(Standing::Unknown, |slot| slot.standing(row))
    }

    fn make_ready(&self, table: &str, row: &mut Row, received: Received, meet: bool) {
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
            Some(key) => {
                let at = shard.insert(self.new_slot(hash, key.clone(), None));
                shard.touch(at);
                Some(at)
            }
            None => found,
        };
        let Some(slot) = at.and_then(|at| shard.get_mut(at)) else {
            row.notes.uncompared |= meet && row.time.is_some_and(|time| time.to_micros() <= self.unknown_us());
            return;
        };
        if row.time.is_none() {
            row.device_time = false;
            row.time = Some(slot.assign(received.wall));
        }
        if meet {
            slot.meet(row, |mark| lock(&self.displaced).holds(mark));
        }
        if entering.is_some() {
            self.entered(slot.bytes);
            drop(shard);
            self.make_room(hash, None);
        }
    }

    fn unknown_us(&self) -> i64 {
        self.unknown_us.load(Ordering::Relaxed)
    }

    /// A series new to the map; `first_us` is the time of its first row where the ring is read
    /// back.
    fn new_slot(&self, hash: u64, key: Key, first_us: Option<i64>) -> Slot {
        let mut slot = Slot::new(hash, key);
        let unknown_us = self.unknown_us();
        // What was in the ring before this row is not known, if there was anything.
        let unknown_us = first_us.filter(|_| unknown_us > i64::MIN).map_or(unknown_us, |first| first.saturating_sub(1));
        slot.history.forget_up_to(unknown_us);
        slot
    }

    /// Takes in a row that is in the ring as record `seq`.
    pub fn update(&self, table: &str, row: &Row, seq: Seq, received: Received) {
        let key = KeyRef { table, symbols: pairs(&row.symbols) };
        let fields = row.fields.iter().map(|(name, value)| (name.as_str(), value_ref(value)));
        let time = row.time.unwrap_or(received.wall);
        let stamp = self.stamp(time, row.device_time, received, seq);
        let applied = self.apply(&key, fields, stamp, From::Message);
        self.count(applied.changed);
        if row.notes.replaced > 0 {
            self.note_replacing(table, row);
        }
        if let Some(series) = applied.series {
            self.feed.publish(Change::Values(series));
        }
    }

    /// Remembers a row that has been counted as one that replaced others.
    fn note_replacing(&self, table: &str, row: &Row) {
        let series = KeyRef { table, symbols: pairs(&row.symbols) }.hash(&self.hasher);
        let micros = row.time.map_or(0, Timestamp::to_micros);
        lock(&self.displaced).note(displaced::of_row(series, micros, row.own_fields()));
    }

    /// Takes note that the wall clock is trusted, and that no event time beyond `limit` is to be
    /// believed: a value that has one was recorded while the clock was wrong, or unknown, and gives
    /// way to the next reading. Until then all are believed.
    pub fn believe_upto(&self, limit: Timestamp) {
        self.believed_us.store(limit.to_micros(), Ordering::Relaxed);
    }

    fn stamp(&self, time: Timestamp, device_time: bool, received: Received, seq: Seq) -> Stamp {
        let believed_us = self.believed_us.load(Ordering::Relaxed);
        // A reading timed by its receipt says what time it is: one so far ahead was timed while the
        // clock was. One whose time lies before its receipt comes in later than it came, and says
        // nothing.
        let tells_time = !device_time && time.to_micros() >= received.wall.to_micros();
        let by_receipt_us = time.to_micros().saturating_add(MAX_LEAD_US);
        let believed_us = if tells_time { believed_us.min(by_receipt_us) } else { believed_us };
        Stamp { time, device_time, received: received.wall, seq, believed_us }
    }

    fn count(&self, changed: bool) {
        let counter = if changed { &self.updates } else { &self.late };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes note that every reading of the records up to `seq` has been taken in. The way in says it, which knows what is still
    /// on its way here.
    pub fn saw(&self, seq: Seq) {
        self.seen.fetch_max(seq.0, Ordering::Release);
    }

    /// The last record all of whose readings the map has seen: what is asked for since then is new.
    pub fn seen(&self) -> Seq {
        Seq(self.seen.load(Ordering::Acquire))
    }

    /// Takes values in, and shows them to readers.
    fn apply<'k, 'f>(
        &self,
        key: &KeyRef<'k, impl Iterator<Item = (&'k str, &'k str)> + Clone>,
        fields: impl Iterator<Item = (&'f str, ValueRef<'f>)> + Clone,
        stamp: Stamp,
        from: From,
    ) -> Applied {
        let hash = key.hash(&self.hasher);
        let mut shard = self.shard(hash);
        if from == From::Database && shard.cleared.covers(hash, stamp.time) {
            return Applied::default();
        }
        let found = shard.find(hash, key);
        let first_us = (from == From::Ring).then(|| stamp.time.to_micros());
        let at = found.unwrap_or_else(|| shard.insert(self.new_slot(hash, key.to_key(), first_us)));
        self.apply_at(shard, at, found.is_none(), stamp.seq, from, |slot, remember| slot.apply(fields, stamp, remember))
    }

    /// Has a slot of the shard take values in, and keeps the map's books.
    fn apply_at(
        &self,
        mut shard: MutexGuard<'_, Shard>,
        at: usize,
        is_new: bool,
        seq: Seq,
        from: From,
        take: impl FnOnce(&mut Slot, Remember) -> Taken,
    ) -> Applied {
        match from {
            From::Ring => shard.touched_by(at, seq),
            From::Message | From::Database => shard.touch(at),
        }
        let remember = match from {
            From::Database => Remember::Nothing,
            From::Ring | From::Message if self.max_history_bytes == 0 => Remember::Latest,
            From::Ring | From::Message => Remember::Moments { next_block: shard.blocks.next_number() },
        };
        let Some(slot) = shard.get_mut(at) else { return Applied::default() };
        let hash = slot.hash;
        let before = if is_new { 0 } else { slot.bytes };
        let (held, history_before) = (slot.fields.len(), slot.history.bytes());
        let taken = take(slot, remember);
        let changed = taken.changed;
        // Where a series has as many as it may, one may have taken another's place.
        let grew = is_new || slot.fields.len() > held || held >= MAX_FIELDS;
        if changed && from != From::Ring && slot.shown.is_none() {
            self.board.add(slot.show(seq));
        }
        if !taken.displaced.is_empty() {
            let mut displaced = lock(&self.displaced);
            taken.displaced.iter().for_each(|mark| displaced.note(*mark));
        }
        let (after, history_after) = (slot.bytes, slot.history.bytes());
        let wanted = changed && from == From::Message && self.feed.is_in_use();
        let series = wanted.then(|| slot.series());
        if taken.block_begun {
            shard.begun(at);
        }
        if is_new {
            self.entered(after);
        } else if after != before {
            self.bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        }
        self.weigh_history(history_before, history_after);
        drop(shard);
        if after != before {
            // A row read back may be older than what other threads have brought, and gives way to
            // it.
            self.make_room(hash, (from == From::Ring).then_some(Seq(seq.0 + 1)));
        }
        if history_after > history_before {
            self.make_history_room(hash);
        }
        Applied { changed, grew, series }
    }

    /// Forgets a series as far as records up to `seq` go; later readings bring it back. True when it was held.
    pub fn clear<N: AsRef<str>, V: AsRef<str>>(
        &self,
        table: &str,
        symbols: &[(N, V)],
        seq: Seq,
        received: Received,
    ) -> bool {
        let key = KeyRef { table, symbols: pairs(symbols) };
        let hash = key.hash(&self.hasher);
        let mut shard = self.shard(hash);
        shard.cleared.note(hash, received.wall);
        let found = shard.find(hash, &key);
        let Some((at, slot)) = found.and_then(|at| Some((at, shard.get_mut(at)?))) else { return false };
        let (before, history_before) = (slot.bytes, slot.history.bytes());
        slot.forget(seq);
        self.weigh_history(history_before, slot.history.bytes());
        let (after, is_empty, key) = (slot.bytes, slot.fields.is_empty(), Arc::clone(&slot.key));
        // Its receive times stay known while it has fields, no longer; a cleared series starts afresh.
        let gone = if is_empty { shard.remove(at) } else { None };
        match &gone {
            Some(slot) => self.left(slot, before),
            None => drop(self.bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed)),
        }
        drop(shard);
        if gone.is_some() && self.feed.is_in_use() {
            self.feed.publish(Change::Cleared(key));
        }
        true
    }

    /// Follows the changes: from the one of that number on, as far as it is kept, or from now on. None when too many follow them already.
    pub fn subscribe(&self, from: Option<u64>) -> Option<Subscription> {
        self.feed.subscribe(from)
    }

    /// What names a change to a watcher that comes back: this map, and the change's number.
    pub fn event_id(&self, number: u64) -> String {
        format!("{:08x}-{number}", self.id)
    }

    /// The number of a change of this map that has been published.
    pub fn read_event_id(&self, text: &str) -> Option<u64> {
        let (map, number) = text.split_once('-')?;
        let number = number.parse().ok().filter(|number| *number < self.feed.next_number())?;
        (u32::from_str_radix(map, 16).ok()? == self.id).then_some(number)
    }

    /// Counters and fill.
    pub fn status(&self) -> LatestStatus {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LatestStatus {
            series: self.series.load(Ordering::Relaxed) as u64,
            max_series: self.max_series as u64,
            bytes: self.bytes.load(Ordering::Relaxed) as u64,
            max_bytes: self.max_bytes as u64,
            history_bytes: self.history_bytes.load(Ordering::Relaxed) as u64,
            max_history_bytes: self.max_history_bytes as u64,
            evicted: count(&self.evicted),
            updates: count(&self.updates),
            late: count(&self.late),
            filled: count(&self.filled),
            seq: self.seen(),
            watchers: self.feed.watchers().into(),
        }
    }

    fn shard_of(&self, hash: u64) -> usize {
        // Bits that the hash table uses neither for the bucket nor for the tag.
        (hash >> 40) as usize & (self.shards.len() - 1)
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.shard_of(hash)])
    }
}
