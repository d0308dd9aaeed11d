//! Which series a query means.

use std::hash::{Hash, Hasher};

use super::key::{Key, are_same};
use crate::{
    names,
    point::{MAX_NAME_BYTES, MAX_SYMBOL_BYTES, MAX_SYMBOLS, Text},
};

/// A table, if given, and symbols that must have these very values. Symbols not named may have any.
/// Names may be spelled in any way.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    table: Option<Text>,
    symbols: Vec<(Text, Text)>,
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        let tables = match (&self.table, &other.table) {
            (Some(a), Some(b)) => names::same(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        tables && are_same(&self.symbols, &other.symbols)
    }
}

impl Eq for Filter {}

impl Hash for Filter {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.table.is_some().hash(hasher);
        names::write(self.table.as_deref().unwrap_or_default(), hasher);
        for (name, value) in &self.symbols {
            names::write(name, hasher);
            value.hash(hasher);
        }
    }
}

/// A query that can't be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A name given twice.
    #[error("{0:?} is given twice; a series has one value for each symbol")]
    Twice(Text),
    /// A name or value longer than any can be.
    #[error("{name:?} is too long: names have 1 to {MAX_NAME_BYTES} bytes, symbol values at most {MAX_SYMBOL_BYTES}")]
    Length {
        /// The name, cut to 40 characters.
        name: Text,
    },
    /// More symbols than a series can have.
    #[error("more than {MAX_SYMBOLS} symbols; a series has at most that many")]
    Count,
}

impl Filter {
    /// A filter for a table (or all) and symbols in any order.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(
        table: Option<&str>,
        symbols: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, FilterError> {
        let mut filter = Self { table: table.map(Text::from), symbols: Vec::new() };
        for (name, value) in symbols {
            let (name, value) = (name.as_ref(), value.as_ref());
            if name.is_empty() || name.len() > MAX_NAME_BYTES || value.len() > MAX_SYMBOL_BYTES {
                return Err(FilterError::Length { name: name.chars().take(40).collect() });
            }
            if filter.symbols.len() == MAX_SYMBOLS {
                return Err(FilterError::Count);
            }
            filter.symbols.push((name.into(), value.into()));
        }
        filter.symbols.sort_unstable_by(|a, b| names::cmp(&a.0, &b.0));
        let twice = filter.symbols.windows(2).find(|pair| names::same(&pair[0].0, &pair[1].0));
        match twice {
            Some(pair) => Err(FilterError::Twice(pair[0].0.clone())),
            None => Ok(filter),
        }
    }

    /// The table; all when absent.
    pub fn table(&self) -> Option<&str> {
        self.table.as_deref()
    }

    /// Symbols sorted by name.
    pub fn symbols(&self) -> &[(Text, Text)] {
        &self.symbols
    }

    /// Whether a series is meant.
    pub fn matches(&self, key: &Key) -> bool {
        let mut have = key.symbols.iter();
        self.table.as_ref().is_none_or(|table| names::same(table, &key.table))
            && self.symbols.iter().all(|(name, value)| have.by_ref().any(|(n, v)| v == value && names::same(n, name)))
    }
}
