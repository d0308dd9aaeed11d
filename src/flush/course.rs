//! What a lane sends from its cursor on (pure): everything, but for a stretch in which only some tables' records go again.

use crate::marks::Pos;

/// Most tables told apart; beyond, everything goes again.
pub const MAX_TABLES: usize = 256;

/// Before `all_from` only records of `tables` are sent, from there on all. The default sends everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Course {
    all_from: Pos,
    /// Hashes of tables' names, sorted.
    tables: Vec<u32>,
}

impl Course {
    /// Everything from `pos` on.
    pub fn all(pos: Pos) -> Self {
        Self { all_from: pos, tables: Vec::new() }
    }

    /// Records of these tables alone, by the hashes of their names.
    pub fn only(hashes: impl IntoIterator<Item = u32>) -> Self {
        let mut tables: Vec<_> = hashes.into_iter().collect();
        tables.sort_unstable();
        tables.dedup();
        if tables.len() > MAX_TABLES { Self::default() } else { Self { all_from: Pos(u64::MAX), tables } }
    }

    /// Whether a record is left out.
    pub fn skips(&self, pos: Pos, table_hash: u32) -> bool {
        pos < self.all_from && self.tables.binary_search(&table_hash).is_err()
    }

    /// Whether records at `pos` may be left out.
    pub fn is_partial_at(&self, pos: Pos) -> bool {
        pos < self.all_from
    }

    /// The course of what is sent from `pos` on.
    pub fn rest(&self, pos: Pos) -> Self {
        if self.is_partial_at(pos) { self.clone() } else { Self::all(pos) }
    }

    /// Takes in what else is wanted, with the cursor at `cursor`: whatever either course sends is sent.
    pub fn take_in(&mut self, cursor: Pos, other: &Self) {
        let mine = self.rest(cursor);
        let union = Self::only(mine.tables.into_iter().chain(other.tables.iter().copied()));
        let all_from = mine.all_from.min(other.all_from).min(union.all_from);
        *self = Self { all_from, tables: union.tables };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn some_tables_go_again_up_to_where_the_lane_had_been() {
        let mut course = Course::default();
        course.take_in(Pos(100), &Course::only([7]));
        assert!(!course.skips(Pos(10), 7) && course.skips(Pos(10), 8));
        assert!(!course.skips(Pos(100), 8), "from the old cursor on everything is new");
        // The connection is lost at 50, and everything from 30 on may be.
        course.take_in(Pos(50), &Course::all(Pos(30)));
        assert!(!course.skips(Pos(30), 8) && course.skips(Pos(29), 8) && !course.skips(Pos(29), 7));
    }

    #[test]
    fn too_many_tables_are_all_tables() {
        let mut course = Course::default();
        course.take_in(Pos(9), &Course::only(0..MAX_TABLES as u32));
        assert!(course.skips(Pos(1), 1_000));
        course.take_in(Pos(5), &Course::only([1_000]));
        assert!(!course.skips(Pos(1), 2_000));
        assert!(!Course::only(0..=MAX_TABLES as u32).skips(Pos(1), 2_000));
    }

    #[test]
    fn of_the_tables_that_are_named_none_is_skipped() {
        let hashes = [1, 2, 7, 1_000, u32::MAX];
        let mut course = Course::default();
        course.take_in(Pos(100), &Course::only(hashes));
        for hash in hashes {
            assert!(!course.skips(Pos(0), hash) && !course.skips(Pos(99), hash), "{hash}");
        }
        assert!(course.skips(Pos(99), 3));
    }

    fn course() -> impl Strategy<Value = Course> {
        prop_oneof![
            (0u64..20).prop_map(|pos| Course::all(Pos(pos))),
            prop::collection::vec(0u32..4, 1..3).prop_map(Course::only),
        ]
    }

    proptest! {
        /// Against a plain model: the set of (position, table) that still has to be sent.
        #[test]
        fn nothing_that_anybody_wants_is_skipped(wishes in prop::collection::vec((0u64..20, 0u64..20, course()), 1..8)) {
            let (mut course, mut cursor) = (Course::default(), 0);
            let mut owed = [[true; 4]; 20];
            for (ahead, to, wish) in wishes {
                // The lane goes on a little, sending.
                let reached = (cursor + ahead).min(20);
                for (pos, tables) in owed.iter_mut().enumerate().take(reached as usize).skip(cursor as usize) {
                    for (table, owed) in tables.iter_mut().enumerate() {
                        *owed &= course.skips(Pos(pos as u64), table as u32);
                    }
                }
                cursor = reached;
                // What it has left out on purpose is owed to nobody.
                owed.iter_mut().take(cursor as usize).for_each(|tables| *tables = [false; 4]);
                course.take_in(Pos(cursor), &wish);
                cursor = cursor.min(to);
                for pos in to..20 {
                    for table in 0..4 {
                        owed[pos as usize][table as usize] |= !wish.skips(Pos(pos), table);
                    }
                }
                for pos in cursor..20 {
                    for table in 0..4 {
                        prop_assert!(!(owed[pos as usize][table as usize] && course.skips(Pos(pos), table)), "{course:?} at {pos}, table {table}");
                    }
                }
            }
        }
    }
}
