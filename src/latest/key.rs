//! What names a series: its table and its symbols, borrowed for look-up and owned in the map.

use std::{
    cmp::Ordering,
    hash::{BuildHasher, Hash, Hasher},
    sync::Arc,
};

use papaya::Equivalent;

use crate::{names, point::Text};

/// A series' name, owned. Its table and the names of its symbols keep the spelling in which they
/// first came, and are the same in any ([`names`]); their values are not.
#[derive(Debug, Clone)]
pub struct Key {
    /// The table.
    pub table: Text,
    /// Symbol names and values, sorted by name.
    pub symbols: Box<[(Text, Text)]>,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        names::same(&self.table, &other.table) && are_same(&self.symbols, &other.symbols)
    }
}

impl Eq for Key {}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let symbols = || {
            let both = self.symbols.iter().zip(&other.symbols);
            let mut by_symbol = both.map(|(a, b)| names::cmp(&a.0, &b.0).then_with(|| a.1.cmp(&b.1)));
            let first = by_symbol.find(|order| order.is_ne());
            first.unwrap_or_else(|| self.symbols.len().cmp(&other.symbols.len()))
        };
        names::cmp(&self.table, &other.table).then_with(symbols)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
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

    #[inline]
    fn feed(&self, hasher: &mut impl Hasher) {
        names::write(self.table, hasher);
        for (name, value) in self.symbols.clone() {
            write_symbol(name, value, hasher);
        }
    }

    #[inline]
    pub fn names(&self, key: &Key) -> bool {
        let mut symbols = self.symbols.clone();
        let is_next =
            |(n, v): &(Text, Text)| symbols.next().is_some_and(|(name, value)| names::same(n, name) && v == value);
        names::same(&key.table, self.table) && key.symbols.iter().all(is_next) && symbols.next().is_none()
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

/// Feeds a symbol to a hasher, in the same way whatever the spelling of its name.
#[inline]
pub(super) fn write_symbol(name: &str, value: &str, hasher: &mut impl Hasher) {
    names::write(name, hasher);
    // The length keeps ("ab", "c") and ("a", "bc") apart.
    hasher.write_usize(value.len());
    hasher.write(value.as_bytes());
}

/// Borrows pairs of any kind of string as the iterator [`KeyRef`] wants.
pub(super) fn pairs<N: AsRef<str>, V: AsRef<str>>(
    symbols: &[(N, V)],
) -> impl Iterator<Item = (&str, &str)> + Clone + use<'_, N, V> {
    symbols.iter().map(|(n, v)| (n.as_ref(), v.as_ref()))
}

/// Whether two lists of symbols, each sorted by name, are the same.
pub(super) fn are_same(a: &[(Text, Text)], b: &[(Text, Text)]) -> bool {
    let is_same = |((a, of_a), (b, of_b)): (&(Text, Text), &(Text, Text))| of_a == of_b && names::same(a, b);
    a.len() == b.len() && a.iter().zip(b).all(is_same)
}
