//! The map at the start: filled from the ring, and then shown to readers.

use std::{
    hash::{BuildHasher, Hasher},
    sync::{Arc, atomic::Ordering},
};

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::{
    From, Latest,
    fields::Values,
    key::{Key, KeyRef, pairs},
    slot::Slot,
};
use crate::{
    entry::{RawRow, RawRows, RowRef, ValueRef},
    marks::Seq,
    names,
    point::Received,
    sync::lock,
};

/// Bytes that what a [`Restorer`] knows may take, roughly: 20,000 series of usual names.
const MAX_KNOWN_BYTES: usize = 4 << 20;
/// When there is no room for further series, those that are known are forgotten each time so many
/// rows of others have come.
const MAX_UNKNOWN: usize = 200_000;

/// What taking in a row read back has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// A latest value is the row's now.
    pub changed: bool,
    /// The row may have names that its series had not: the series is new, or has more fields than
    /// before.
    pub grew: bool,
}

impl Latest {
    /// Says with which record the ring begins that is going to be read back. Rows from before it
    /// are known to nobody.
    pub fn begins_with(&self, first: Seq, received: Received) {
        if first > Seq(1) {
            self.unknown_us.fetch_max(received.wall.to_micros(), Ordering::Relaxed);
        }
    }

    /// Takes in a row read back from the ring. Rows of one series come in the order of their
    /// records; those of others may come from other threads at the same time. Readers see them
    /// after [`Latest::restored`]. It is for the caller to count it.
    pub fn restore(&self, table: &str, row: &RowRef<'_>, seq: Seq, received: Received) -> Restored {
        let stamp = self.stamp(row.time, row.device_time, received, seq);
        let symbols = sorted_symbols(row);
        let key = KeyRef { table, symbols: pairs(&symbols) };
        let applied = self.apply(&key, row.fields(), stamp, From::Ring);
        if row.notes.replaced > 0 {
            self.note_replacing(table, &row.to_row());
        }
        Restored { changed: applied.changed, grew: applied.grew }
    }

    /// Shows readers what was read back from the ring.
    pub fn restored(&self) {
        for shard in &self.shards {
            for slot in lock(shard).slots_mut().filter(|slot| slot.shown.is_none() && !slot.fields.is_empty()) {
                self.board.add(slot.show(slot.series().seq()));
            }
        }
    }
}

/// A row's symbols in the order of names, which older records do not have.
fn sorted_symbols<'a>(row: &RowRef<'a>) -> SmallVec<[(&'a str, &'a str); 8]> {
    let mut symbols: SmallVec<_> = row.symbols().collect();
    if !symbols.is_sorted_by(|a: &(&str, &str), b| names::cmp(a.0, b.0).is_le()) {
        symbols.sort_unstable_by(|a, b| names::cmp(a.0, b.0));
    }
    symbols
}

/// One thread's way to take in what is read back. It knows the last series by their encoded bytes,
/// so that most rows are compared with those, and not read as text: a start out of a full ring
/// spends its time here.
///
/// What it has taken in is counted when it is dropped.
#[derive(Debug)]
pub struct Restorer<'a> {
    latest: &'a Latest,
    known: HashTable<Known>,
    /// Bytes of what is known.
    bytes: usize,
    /// Rows of series for which there was no room, since some were last forgotten.
    unknown: usize,
    hasher: foldhash::fast::RandomState,
    updates: u64,
    late: u64,
}

/// Where a series is in the map.
#[derive(Debug)]
struct Known {
    /// Hash of the encoded bytes.
    number: u64,
    /// The table's name, and behind it the symbols, as a record has them.
    encoded: Box<[u8]>,
    /// Bytes of the table's name.
    table_bytes: usize,
    /// Its hash in the map.
    hash: u64,
    /// Its slot. It is still the series' own as long as that has the same key.
    at: usize,
    key: Arc<Key>,
}

/// Why a row is to be read as a whole.
#[derive(Debug, PartialEq, Eq)]
enum Unusable {
    /// Where its series is in the map is not known, or no longer so.
    Place,
    /// The row has more to say than new values of its series' fields.
    Row,
}

impl Known {
    /// Bytes it takes, with those of a key that nobody else may hold any more.
    fn bytes(&self) -> usize {
        size_of::<Self>() + 2 * self.encoded.len()
    }

    #[inline]
    fn is(&self, table: &[u8], symbols: &[u8]) -> bool {
        self.encoded.split_at_checked(table.len()).is_some_and(|parts| parts == (table, symbols))
            && self.table_bytes == table.len()
    }
}

impl<'a> Restorer<'a> {
    /// A way into a map.
    #[must_use]
    pub fn new(latest: &'a Latest) -> Self {
        let hasher = foldhash::fast::RandomState::default();
        Self { latest, known: HashTable::new(), bytes: 0, unknown: 0, hasher, updates: 0, late: 0 }
    }

    /// Takes in the rows of a record's body, as [`Latest::restore`] does; the rows that may have
    /// names that their series had not are shown to `grown`.
    pub fn take(&mut self, body: &[u8], seq: Seq, received: Received, mut grown: impl FnMut(&str, &RowRef<'_>)) {
        let Ok(mut rows) = RawRows::decode(body) else { return };
        let mut fields = SmallVec::<[_; 16]>::new();
        loop {
            let start = rows.at();
            let Ok(Some(row)) = rows.row() else { return };
            fields.clear();
            for _ in 0..row.fields {
                let Ok(field) = rows.field() else { return };
                fields.push(field);
            }
            let number = self.number(rows.table, row.symbol_bytes);
            let changed = match self.take_known(number, rows.table, &row, &fields, seq, received) {
                Ok(changed) => changed,
                Err(why) => {
                    let whole = RowRef::of(&body[start..rows.at()]);
                    let (Ok(table), Ok(whole)) = (std::str::from_utf8(rows.table), whole) else { continue };
                    let restored = self.latest.restore(table, &whole, seq, received);
                    if restored.grew {
                        grown(table, &whole);
                    }
                    if why == Unusable::Place {
                        self.learn(number, table, &whole);
                    }
                    restored.changed
                }
            };
            let counter = if changed { &mut self.updates } else { &mut self.late };
            *counter += 1;
        }
    }

    #[inline]
    fn number(&self, table: &[u8], symbols: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(table);
        hasher.write(symbols);
        hasher.finish()
    }

    /// Takes in a row that replaced none, of a series that is known and holds all its fields; says
    /// whether a latest value is the row's now.
    #[inline]
    fn take_known(
        &self,
        number: u64,
        table: &[u8],
        row: &RawRow<'_>,
        fields: &[(&[u8], ValueRef<'_>)],
        seq: Seq,
        received: Received,
    ) -> Result<bool, Unusable> {
        let known = self.known.find(number, |known| known.number == number && known.is(table, row.symbol_bytes));
        let Some(known) = known else { return Err(Unusable::Place) };
        let mut shard = self.latest.shard(known.hash);
        let slot = shard.get_mut(known.at).filter(|slot| Arc::ptr_eq(&slot.key, &known.key));
        let Some(slot) = slot else { return Err(Unusable::Place) };
        let mut values = Values::new();
        if row.replaced > 0 || !slot.as_spelled(fields, &mut values) {
            return Err(Unusable::Row);
        }
        let stamp = self.latest.stamp(row.time, row.device_time, received, seq);
        let take = |slot: &mut Slot, remember| slot.apply_numbered(&values, stamp, remember);
        Ok(self.latest.apply_at(shard, known.at, false, seq, From::Ring, take).changed)
    }

    /// Remembers where a row's series is, if there is room.
    fn learn(&mut self, number: u64, table: &str, row: &RowRef<'_>) {
        let encoded = [table.as_bytes(), row.symbol_bytes()];
        let is_same = |known: &Known| known.number == number && known.is(encoded[0], encoded[1]);
        if let Ok(old) = self.known.find_entry(number, is_same) {
            // Its series has left the map since, and has another place there now.
            self.bytes -= old.remove().0.bytes();
        }
        if self.bytes >= MAX_KNOWN_BYTES {
            self.unknown += 1;
            if self.unknown < MAX_UNKNOWN {
                return;
            }
            self.known.clear();
            (self.bytes, self.unknown) = (0, 0);
        }
        let symbols = sorted_symbols(row);
        let key = KeyRef { table, symbols: pairs(&symbols) };
        let hash = key.hash(&self.latest.hasher);
        let mut shard = self.latest.shard(hash);
        let Some(at) = shard.find(hash, &key) else { return };
        let Some(key) = shard.get_mut(at).map(|slot| Arc::clone(&slot.key)) else { return };
        drop(shard);
        let known = Known { number, encoded: encoded.concat().into(), table_bytes: table.len(), hash, at, key };
        self.bytes += known.bytes();
        self.known.insert_unique(number, known, |known| known.number);
    }
}

impl Drop for Restorer<'_> {
    fn drop(&mut self) {
        self.latest.updates.fetch_add(self.updates, Ordering::Relaxed);
        self.latest.late.fetch_add(self.late, Ordering::Relaxed);
    }
}
