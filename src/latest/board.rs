//! The side of the map that is read. No lock is taken here: whoever reads never waits for whoever
//! writes, nor the other way round.
//!
//! Series are found by their whole key in a concurrent hash map, in order of table and symbols in a
//! concurrent skip list, and by the value of a symbol in another one (`by_symbol`).

use std::{ops::Bound, sync::Arc};

use crossbeam_skiplist::SkipMap;

use super::{
    Series,
    by_symbol::{BySymbol, ENTRY_BYTES},
    key::{Key, KeyRef, pairs},
    shapes::{Reach, Shapes},
    shown::Shown,
};
use crate::point::Text;

/// Bytes that a series takes on this side, roughly: what is shown, and its entries in all indexes.
pub(super) fn bytes(key: &Key) -> usize {
    size_of::<Shown>() + 128 + key.symbols.len() * ENTRY_BYTES
}

/// Every series that has values.
#[derive(Debug)]
pub(super) struct Board {
    by_key: papaya::HashMap<Arc<Key>, Arc<Shown>, foldhash::quality::RandomState>,
    sorted: SkipMap<Arc<Key>, Arc<Shown>>,
    by_symbol: BySymbol,
    shapes: Shapes,
}

impl Board {
    pub fn new(hasher: foldhash::quality::RandomState) -> Self {
        Self {
            by_key: papaya::HashMap::with_hasher(hasher.clone()),
            sorted: SkipMap::new(),
            by_symbol: BySymbol::new(hasher),
            shapes: Shapes::default(),
        }
    }

    /// Shows a series. Called with its shard locked, so that nobody takes it out before it is in.
    pub fn add(&self, shown: &Arc<Shown>) {
        self.by_key.pin().insert(Arc::clone(&shown.key), Arc::clone(shown));
        self.sorted.insert(Arc::clone(&shown.key), Arc::clone(shown));
        self.by_symbol.add(shown);
        self.shapes.add(&shown.key);
    }

    /// Shows it no longer. Called with its shard locked.
    pub fn remove(&self, shown: &Arc<Shown>) {
        self.shapes.remove(&shown.key);
        self.by_symbol.remove(shown);
        self.sorted.remove(&*shown.key);
        self.by_key.pin().remove(&shown.key);
    }

    pub fn get<N: AsRef<str>, V: AsRef<str>>(&self, table: &str, symbols: &[(N, V)]) -> Option<Series> {
        let key = KeyRef { table, symbols: pairs(symbols) };
        self.by_key.pin().get(&key).map(|shown| shown.series())
    }

    pub fn reach(&self, table: &str, symbols: &[(Text, Text)]) -> Reach {
        self.shapes.reach(table, symbols)
    }

    /// Calls `see` with series from a place on, in order of table and symbols, for as long as it
    /// returns true: with each that has all of these values, and with others.
    pub fn walk(&self, symbols: &[(Text, Text)], from: Bound<&Arc<Key>>, mut see: impl FnMut(&Arc<Shown>) -> bool) {
        if !symbols.is_empty() {
            return self.by_symbol.walk(symbols, from, see);
        }
        for entry in self.sorted.range::<Arc<Key>, _>((from, Bound::Unbounded)) {
            if !see(entry.value()) {
                return;
            }
        }
    }
}
