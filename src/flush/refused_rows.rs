//! Rows set aside on their way to QuestDB, by the source that brought them.

use std::{collections::BTreeMap, sync::Mutex};

use crate::{sync::lock, tally::SourceId};

/// The counts since start; sources have at most 65,536 numbers.
#[derive(Debug, Default)]
pub struct RefusedRows(Mutex<BTreeMap<SourceId, u64>>);

impl RefusedRows {
    /// Counts rows of a source.
    pub fn count(&self, source: SourceId, rows: u64) {
        *lock(&self.0).entry(source).or_default() += rows;
    }

    /// Rows of a source.
    pub fn of(&self, source: SourceId) -> u64 {
        lock(&self.0).get(&source).copied().unwrap_or_default()
    }
}
