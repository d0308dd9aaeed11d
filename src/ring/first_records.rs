//! Where the first record of each table lies that may still have to be sent, as a start found it: a
//! lane begins with the first of its own, instead of walking over what is all other lanes'. Pure.

use std::collections::BTreeMap;

use super::marks::Mark;
use crate::lanes::Lanes;

/// Tables told apart; with more of them every lane begins at the beginning.
const MAX_TABLES: usize = 1024;

/// The first record of each table in a stretch of the log.
#[derive(Debug, Clone, Default)]
pub struct FirstRecords {
    by_table: BTreeMap<u32, Mark>,
    is_full: bool,
    /// Where the stretch begins.
    from: Mark,
    /// Where it ends.
    upto: Mark,
}

impl FirstRecords {
    /// Of an empty stretch.
    pub fn from(from: Mark) -> Self {
        Self { by_table: BTreeMap::new(), is_full: false, from, upto: from }
    }

    /// Takes note of the next record.
    pub fn note(&mut self, table_hash: u32, at: Mark, end: Mark) {
        self.upto = end;
        if !self.by_table.contains_key(&table_hash) {
            self.is_full |= self.by_table.len() >= MAX_TABLES;
            if !self.is_full {
                self.by_table.insert(table_hash, at);
            }
        }
    }

    /// Where a lane's first record lies, or the end of the stretch.
    pub fn of_lane(&self, lanes: Lanes, number: usize) -> Mark {
        if self.is_full {
            return self.from;
        }
        let own = self.by_table.iter().filter(|(hash, _)| lanes.of(**hash) == number);
        own.map(|(_, at)| *at).min().unwrap_or(self.upto)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::marks::{Pos, Seq};

    fn mark(n: usize) -> Mark {
        Mark { pos: Pos(1_000 + 64 * n as u64), seq: Seq(7 + n as u64) }
    }

    proptest! {
        #[test]
        fn a_lane_begins_with_its_first_record(tables in prop::collection::vec(0u32..6, 0..40), count in 1usize..5) {
            let lanes = Lanes::new(count);
            let mut first = FirstRecords::from(mark(0));
            for (n, table) in tables.iter().enumerate() {
                first.note(*table, mark(n), mark(n + 1));
            }
            for number in 0..count {
                let wanted = tables.iter().position(|table| lanes.of(*table) == number).unwrap_or(tables.len());
                prop_assert_eq!(first.of_lane(lanes, number), mark(wanted));
            }
        }
    }

    #[test]
    fn with_too_many_tables_every_lane_begins_at_the_beginning() {
        let mut first = FirstRecords::from(mark(0));
        (0..=MAX_TABLES).for_each(|n| first.note(2 * n as u32, mark(n), mark(n + 1)));
        assert_eq!([0, 1].map(|number| first.of_lane(Lanes::new(2), number)), [mark(0), mark(0)]);
    }
}
