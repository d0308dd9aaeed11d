//! Which series have a value of a symbol: the index behind questions that name a part of a key.
//!
//! One concurrent skip list has an entry for each symbol of each series. Entries stand in the order
//! of a number made of the symbol's name and value, and then of table and symbols. So the series
//! that have a value stand together in the order of listings, those of a table side by side, and a
//! listing goes on behind any series after one search. There is nothing beside the entries: a value
//! that all series have costs a series what one costs that only this series has. Two values may by
//! chance have the same number, so whoever reads compares the keys.

use std::{
    cmp::Ordering,
    hash::{BuildHasher, Hasher},
    ops::Bound,
    sync::Arc,
};

use crossbeam_skiplist::SkipSet;

use super::{
    key::{Key, write_symbol},
    shown::Shown,
};
use crate::{marks::Seq, point::Text};

/// Bytes that an entry takes, roughly: a node with two pointers, which is the mean, and what the
/// allocator needs for it.
pub(super) const ENTRY_BYTES: usize = size_of::<Entry>() + 4 * size_of::<usize>();

/// Entries looked at of each value that a question names before one of the values is chosen.
const SAMPLED: usize = 16;

/// Series by the values of their symbols.
#[derive(Debug)]
pub(super) struct BySymbol {
    entries: SkipSet<Entry>,
    hasher: foldhash::quality::RandomState,
}

/// A series that has a value.
#[derive(Debug)]
struct Entry {
    /// The number of the symbol's name and value.
    symbol: u64,
    shown: Arc<Shown>,
}

impl Entry {
    /// What stands where an entry of this series would.
    fn at(symbol: u64, key: &Arc<Key>) -> Self {
        Self { symbol, shown: Arc::new(Shown::new(Arc::clone(key), Arc::default(), Seq(0))) }
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.symbol.cmp(&other.symbol).then_with(|| self.shown.key.cmp(&other.shown.key))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl BySymbol {
    pub fn new(hasher: foldhash::quality::RandomState) -> Self {
        Self { entries: SkipSet::new(), hasher }
    }

    pub fn add(&self, shown: &Arc<Shown>) {
        for symbol in &shown.key.symbols {
            self.entries.insert(Entry { symbol: self.number(symbol), shown: Arc::clone(shown) });
        }
    }

    pub fn remove(&self, shown: &Arc<Shown>) {
        for symbol in &shown.key.symbols {
            self.entries.remove(&Entry { symbol: self.number(symbol), shown: Arc::clone(shown) });
        }
    }

    fn number(&self, (name, value): &(Text, Text)) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        write_symbol(name, value, &mut hasher);
        hasher.finish()
    }

    /// Calls `see` with series from a place on, in order of table and symbols, for as long as it
    /// returns true: with each that has all of these values, at least one, and with others that
    /// have one of them.
    pub fn walk(&self, symbols: &[(Text, Text)], from: Bound<&Arc<Key>>, mut see: impl FnMut(&Arc<Shown>) -> bool) {
        let starts: Vec<Bound<Entry>> = symbols.iter().map(|symbol| self.start(symbol, from)).collect();
        let Some(rarest) = self.rarest(&starts) else { return };
        self.behind(rarest).any(|shown| !see(&shown));
    }

    fn start(&self, symbol: &(Text, Text), from: Bound<&Arc<Key>>) -> Bound<Entry> {
        from.map(|key| Entry::at(self.number(symbol), key))
    }

    /// The series that have a value, from a place on.
    fn behind<'a>(&'a self, start: &'a Bound<Entry>) -> impl Iterator<Item = Arc<Shown>> + 'a {
        let symbol = match start {
            Bound::Included(entry) | Bound::Excluded(entry) => Some(entry.symbol),
            Bound::Unbounded => None,
        };
        let entries = self.entries.range((start.as_ref(), Bound::Unbounded));
        entries.take_while(move |entry| Some(entry.symbol) == symbol).map(|entry| Arc::clone(&entry.shown))
    }

    /// Where to begin with the value that the fewest series have from there on: whose series end
    /// first, or else, after as many of each, are furthest on in the order of listings.
    fn rarest<'a>(&self, starts: &'a [Bound<Entry>]) -> Option<&'a Bound<Entry>> {
        if starts.len() < 2 {
            return starts.first();
        }
        let mut lists: Vec<_> = starts.iter().map(|start| (start, self.behind(start), None)).collect();
        for _ in 0..SAMPLED {
            for (start, list, last) in &mut lists {
                *last = list.next();
                if last.is_none() {
                    return Some(*start);
                }
            }
        }
        let furthest = lists.iter().max_by_key(|(_, _, last)| last.as_ref().map(|shown| &shown.key));
        furthest.map(|(start, _, _)| *start)
    }
}
