//! What names a series: its table and its symbols, borrowed for look-up and owned in the map.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    sync::Arc,
};

use papaya::Equivalent;

use crate::point::Text;

/// A series' name, owned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The table.
    pub table: Text,
    /// Symbol names and values, sorted by name.
    pub symbols: Box<[(Text, Text)]>,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        KeyRef { table: &self.table, symbols: pairs(&self.symbols) }.feed(hasher);
    }
}

/// A series' name, borrowed from wherever it stands: a row, a record, a query.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyRef<'a, S> {
    pub table: &'a str,
    /// Yields names and values sorted by name.
    pub symbols: S,
}

impl<'a, S: Iterator<Item = (&'a str, &'a str)> + Clone> KeyRef<'a, S> {
    pub fn hash(&self, state: &impl BuildHasher) -> u64 {
        let mut hasher = state.build_hasher();
        self.feed(&mut hasher);
        hasher.finish()
    }

    fn feed(&self, hasher: &mut impl Hasher) {
        hasher.write(self.table.as_bytes());
        for (name, value) in self.symbols.clone() {
            // The lengths keep ("ab", "c") and ("a", "bc") apart.
            hasher.write_usize(name.len());
            hasher.write(name.as_bytes());
            hasher.write_usize(value.len());
            hasher.write(value.as_bytes());
        }
    }

    pub fn names(&self, key: &Key) -> bool {
        let mut symbols = self.symbols.clone();
        key.table == self.table
            && key.symbols.iter().all(|(n, v)| symbols.next().is_some_and(|(name, value)| n == name && v == value))
            && symbols.next().is_none()
    }

    pub fn to_key(&self) -> Key {
        Key { table: self.table.into(), symbols: self.symbols.clone().map(|(n, v)| (n.into(), v.into())).collect() }
    }
}

impl<'a, S: Iterator<Item = (&'a str, &'a str)> + Clone> Hash for KeyRef<'a, S> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.feed(hasher);
    }
}

impl<'a, S: Iterator<Item = (&'a str, &'a str)> + Clone> Equivalent<Arc<Key>> for KeyRef<'a, S> {
    fn equivalent(&self, key: &Arc<Key>) -> bool {
        self.names(key)
    }
}

/// Borrows pairs of any kind of string as the iterator [`KeyRef`] wants.
pub(super) fn pairs<N: AsRef<str>, V: AsRef<str>>(
    symbols: &[(N, V)],
) -> impl Iterator<Item = (&str, &str)> + Clone + use<'_, N, V> {
    symbols.iter().map(|(n, v)| (n.as_ref(), v.as_ref()))
}
