//! Rows that are in quarantine and must not be sent when their records are read again.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{marks::Seq, point::Timestamp, ring::Record, sync::lock};

/// Most runs of rows remembered, about 64 bytes each; the oldest records are forgotten beyond. A row that is forgotten
/// and read again is refused and set aside again, so that it is in quarantine twice.
pub const MAX_RUNS: usize = 128 << 10;

/// A record. Its number alone does not tell: after a loss of the ring's end it is given to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// Its number.
    pub seq: Seq,
    /// When its message was received.
    pub received: Timestamp,
}

impl From<&Record<'_>> for Id {
    fn from(record: &Record<'_>) -> Self {
        Self { seq: record.seq, received: record.received.wall }
    }
}

/// Rows of a record, as runs from first to last; a record refused as a whole is one run.
#[derive(Debug)]
enum Runs {
    One((u16, u16)),
    Many(Vec<(u16, u16)>),
}

impl Runs {
    fn as_slice(&self) -> &[(u16, u16)] {
        match self {
            Self::One(run) => std::slice::from_ref(run),
            Self::Many(runs) => runs,
        }
    }

    fn contains(&self, row: u16) -> bool {
        let runs = self.as_slice();
        let after = runs.partition_point(|(first, _)| *first <= row);
        after > 0 && runs[after - 1].1 >= row
    }

    /// Adds a row that is not in yet.
    fn insert(&mut self, row: u16) {
        let mut runs = self.as_slice().to_vec();
        let at = runs.partition_point(|(first, _)| *first <= row);
        let joins_before = at > 0 && u32::from(runs[at - 1].1) + 1 == u32::from(row);
        let joins_after = at < runs.len() && u32::from(row) + 1 == u32::from(runs[at].0);
        match (joins_before, joins_after) {
            (true, true) => {
                runs[at - 1].1 = runs[at].1;
                runs.remove(at);
            }
            (true, false) => runs[at - 1].1 = row,
            (false, true) => runs[at].0 = row,
            (false, false) => runs.insert(at, (row, row)),
        }
        *self = if let [run] = runs[..] { Self::One(run) } else { Self::Many(runs) };
    }
}

#[derive(Debug)]
struct Rows {
    runs: Runs,
    /// Rows found in quarantine at the start that the ring has not been told of.
    untold: u32,
}

#[derive(Debug, Default)]
struct Records {
    by_id: BTreeMap<Id, Rows>,
    runs: usize,
}

impl Records {
    fn insert(&mut self, id: Id, row: u16, untold: u32) -> bool {
        let (before, after) = match self.by_id.get_mut(&id) {
            Some(rows) if rows.runs.contains(row) => return false,
            Some(rows) => {
                let before = rows.runs.as_slice().len();
                rows.runs.insert(row);
                rows.untold += untold;
                (before, rows.runs.as_slice().len())
            }
            None => {
                self.by_id.insert(id, Rows { runs: Runs::One((row, row)), untold });
                (0, 1)
            }
        };
        self.runs = self.runs + after - before;
        while self.runs > MAX_RUNS
            && let Some((_, rows)) = self.by_id.pop_first()
        {
            self.runs -= rows.runs.as_slice().len();
        }
        true
    }
}

/// The set, by record. Bounded by [`MAX_RUNS`].
#[derive(Debug, Default)]
pub struct Exceptions {
    any: AtomicBool,
    records: Mutex<Records>,
}

impl Exceptions {
    fn lock(&self) -> MutexGuard<'_, Records> {
        lock(&self.records)
    }

    /// Adds a row; false when it was there already.
    pub fn insert(&self, id: Id, row: u16) -> bool {
        self.any.store(true, Ordering::Release);
        self.lock().insert(id, row, 0)
    }

    /// Adds a row that is in quarantine since before the start. The ring is to be told of it ([`Self::claim`]) once a
    /// record shows that it is the one.
    pub fn recover(&self, id: Id, row: u16) {
        self.any.store(true, Ordering::Release);
        self.lock().insert(id, row, 1);
    }

    /// Rows of the record that the ring is to be told of now.
    pub fn claim(&self, id: Id) -> u32 {
        if !self.any.load(Ordering::Acquire) {
            return 0;
        }
        self.lock().by_id.get_mut(&id).map_or(0, |rows| std::mem::take(&mut rows.untold))
    }

    /// Whether some row of the record is in the set; costs next to nothing while the set is empty.
    pub fn touches(&self, id: Id) -> bool {
        self.any.load(Ordering::Acquire) && self.lock().by_id.contains_key(&id)
    }

    /// Whether the row is in the set.
    pub fn contains(&self, id: Id, row: u16) -> bool {
        self.any.load(Ordering::Acquire) && self.lock().by_id.get(&id).is_some_and(|rows| rows.runs.contains(row))
    }

    /// Forgets records before `seq`, which are not read again.
    pub fn forget_before(&self, seq: Seq) {
        if self.any.load(Ordering::Acquire) {
            let mut records = self.lock();
            let kept = records.by_id.split_off(&Id { seq, received: Timestamp(i64::MIN) });
            records.runs = kept.values().map(|rows| rows.runs.as_slice().len()).sum();
            records.by_id = kept;
            self.any.store(!records.by_id.is_empty(), Ordering::Release);
        }
    }
}

#[cfg(test)]
impl Exceptions {
    /// Whether some record of that number has the row in the set.
    pub fn holds(&self, seq: Seq, row: u16) -> bool {
        self.lock().by_id.iter().any(|(id, rows)| id.seq == seq && rows.runs.contains(row))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn id(seq: u64) -> Id {
        Id { seq: Seq(seq), received: Timestamp(7) }
    }

    #[test]
    fn rows_are_kept_until_they_are_not_read_again() {
        let exceptions = Exceptions::default();
        assert!(!exceptions.contains(id(1), 0));
        assert!(exceptions.insert(id(1), 0) && !exceptions.insert(id(1), 0) && exceptions.insert(id(5), 2));
        assert!(exceptions.contains(id(1), 0) && !exceptions.contains(id(1), 1) && exceptions.touches(id(5)));
        exceptions.forget_before(Seq(5));
        assert!(!exceptions.touches(id(1)) && exceptions.contains(id(5), 2));
        exceptions.forget_before(Seq(6));
        assert!(!exceptions.touches(id(5)));
    }

    #[test]
    fn a_number_given_to_another_record_is_no_match() {
        let exceptions = Exceptions::default();
        exceptions.recover(id(1), 0);
        let other = Id { received: Timestamp(8), ..id(1) };
        assert!(!exceptions.contains(other, 0) && !exceptions.touches(other));
        assert_eq!((exceptions.claim(other), exceptions.claim(id(1)), exceptions.claim(id(1))), (0, 1, 0));
        assert!(exceptions.contains(id(1), 0));
    }

    #[test]
    fn a_record_refused_as_a_whole_is_one_run_and_runs_are_bounded() {
        let exceptions = Exceptions::default();
        for row in 0..10_000 {
            exceptions.insert(id(0), row);
        }
        assert_eq!(exceptions.lock().runs, 1);
        for seq in 1..=MAX_RUNS as u64 {
            exceptions.insert(id(seq), 3);
        }
        let records = exceptions.lock();
        assert_eq!((records.runs, records.by_id.len()), (MAX_RUNS, MAX_RUNS));
        assert!(!records.by_id.contains_key(&id(0)));
    }

    proptest! {
        #[test]
        fn rows_in_any_order_are_the_same_set(rows in prop::collection::vec(0u16..40, 1..60), edge: bool) {
            let exceptions = Exceptions::default();
            let mut set = BTreeSet::new();
            for row in rows {
                let row = if edge { u16::MAX - row } else { row };
                prop_assert_eq!(exceptions.insert(id(1), row), set.insert(row));
            }
            for row in (0..50).chain(u16::MAX - 50..=u16::MAX) {
                prop_assert_eq!(exceptions.contains(id(1), row), set.contains(&row));
            }
            let runs = set.iter().filter(|row| **row == 0 || !set.contains(&(**row - 1))).count();
            prop_assert_eq!(exceptions.lock().runs, runs);
        }
    }
}
