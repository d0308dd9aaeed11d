//! The side of the map that is read. No lock is taken here: whoever reads never waits for whoever writes, nor the other way round.
//!
//! A series' values are an immutable list behind an atomic pointer; an update puts another list there. Series are found by their
//! whole key in a concurrent hash map, and in order of table and symbols in a concurrent skip list.

use std::{
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use crossbeam_skiplist::SkipMap;

use super::{
    Field, Series,
    key::{Key, KeyRef, pairs},
    shapes::{Reach, Shapes},
};
use crate::{marks::Seq, point::Text};

/// Bytes that the entries of both indexes take for a series, roughly.
pub(super) const INDEX_BYTES: usize = size_of::<Shown>() + 128;

/// A series as readers see it.
#[derive(Debug)]
pub(super) struct Shown {
    pub key: Arc<Key>,
    fields: ArcSwap<Vec<Field>>,
    /// The last record that changed it, so that a listing of what is new looks at little else.
    seq: AtomicU64,
}

impl Shown {
    pub fn new(key: Arc<Key>, fields: Arc<Vec<Field>>, seq: Seq) -> Self {
        Self { key, fields: ArcSwap::new(fields), seq: AtomicU64::new(seq.0) }
    }

    pub fn put(&self, fields: Arc<Vec<Field>>, seq: Seq) {
        self.fields.store(fields);
        // A reader that sees this number sees the values stored before it.
        self.seq.fetch_max(seq.0, Ordering::Release);
    }

    pub fn seq(&self) -> Seq {
        Seq(self.seq.load(Ordering::Acquire))
    }

    pub fn series(&self) -> Series {
        Series { key: Arc::clone(&self.key), fields: self.fields.load_full() }
    }
}

/// Every series that has values.
#[derive(Debug)]
pub(super) struct Board {
    by_key: papaya::HashMap<Arc<Key>, Arc<Shown>, foldhash::quality::RandomState>,
    sorted: SkipMap<Arc<Key>, Arc<Shown>>,
    shapes: Shapes,
}

impl Board {
    pub fn new(hasher: foldhash::quality::RandomState) -> Self {
        Self { by_key: papaya::HashMap::with_hasher(hasher), sorted: SkipMap::new(), shapes: Shapes::default() }
    }

    /// Shows a series. Called with its shard locked, so that nobody takes it out before it is in.
    pub fn add(&self, shown: &Arc<Shown>) {
        self.by_key.pin().insert(Arc::clone(&shown.key), Arc::clone(shown));
        self.sorted.insert(Arc::clone(&shown.key), Arc::clone(shown));
        self.shapes.add(&shown.key);
    }

    /// Shows it no longer. Called with its shard locked.
    pub fn remove(&self, key: &Arc<Key>) {
        self.shapes.remove(key);
        self.sorted.remove(&**key);
        self.by_key.pin().remove(key);
    }

    pub fn get<N: AsRef<str>, V: AsRef<str>>(&self, table: &str, symbols: &[(N, V)]) -> Option<Series> {
        let key = KeyRef { table, symbols: pairs(symbols) };
        self.by_key.pin().get(&key).map(|shown| shown.series())
    }

    pub fn reach(&self, table: &str, symbols: &[(Text, Text)]) -> Reach {
        self.shapes.reach(table, symbols)
    }

    /// Calls `see` with the series from a place on, in order of table and symbols, for as long as it returns true.
    pub fn walk(&self, from: Bound<&Key>, mut see: impl FnMut(&Arc<Shown>) -> bool) {
        for entry in self.sorted.range::<Key, _>((from, Bound::Unbounded)) {
            if !see(entry.value()) {
                return;
            }
        }
    }
}
