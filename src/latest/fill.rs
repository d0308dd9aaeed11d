//! Values from the database, for series that the map does not hold (any more).

use std::sync::atomic::Ordering;

use super::{
    From, Latest,
    key::{KeyRef, pairs},
    past::value_ref,
};
use crate::{
    marks::Seq,
    point::{Received, Row},
};

/// The record number of values that came from the database: none has it.
pub const FROM_DATABASE: Seq = Seq(0);

impl Latest {
    /// Takes in a row that the database holds; the row has its time. What the map holds of the same moment or later stays, and so does
    /// what was cleared since. Nobody who watches is told: nothing has changed. False when nothing was taken.
    pub fn fill(&self, table: &str, row: &Row) -> bool {
        let (Some(time), false) = (row.time, row.fields.is_empty()) else { return false };
        let key = KeyRef { table, symbols: pairs(&row.symbols) };
        let fields = row.fields.iter().map(|(name, value)| (name.as_str(), value_ref(value)));
        let stamp = self.stamp(time, true, Received::default(), FROM_DATABASE);
        let taken = self.apply(&key, fields, stamp, From::Database).changed;
        if taken {
            self.filled.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }
}
