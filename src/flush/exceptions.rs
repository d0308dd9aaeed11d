//! Rows that are in quarantine and must not be sent when their records are read again.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::ring::Seq;

/// The set, by record. Bounded by the ring: records before its tail are forgotten.
#[derive(Debug, Default)]
pub struct Exceptions {
    any: AtomicBool,
    rows: Mutex<BTreeMap<Seq, Vec<u16>>>,
}

impl Exceptions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Seq, Vec<u16>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a row; false when it was there already.
    pub fn insert(&self, seq: Seq, row: u16) -> bool {
        self.any.store(true, Ordering::Release);
        let mut records = self.lock();
        let rows = records.entry(seq).or_default();
        let new = !rows.contains(&row);
        if new {
            rows.push(row);
        }
        new
    }

    /// Whether some row of the record is in the set; costs next to nothing while the set is empty.
    pub fn touches(&self, seq: Seq) -> bool {
        self.any.load(Ordering::Acquire) && self.lock().contains_key(&seq)
    }

    /// Whether the row is in the set.
    pub fn contains(&self, seq: Seq, row: u16) -> bool {
        self.any.load(Ordering::Acquire) && self.lock().get(&seq).is_some_and(|rows| rows.contains(&row))
    }

    /// Forgets records before `tail`.
    pub fn forget_before(&self, tail: Seq) {
        if self.any.load(Ordering::Acquire) {
            let mut records = self.lock();
            *records = records.split_off(&tail);
            self.any.store(!records.is_empty(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_kept_until_the_tail_passes() {
        let exceptions = Exceptions::default();
        assert!(!exceptions.contains(Seq(1), 0));
        assert!(exceptions.insert(Seq(1), 0) && !exceptions.insert(Seq(1), 0) && exceptions.insert(Seq(5), 2));
        assert!(exceptions.contains(Seq(1), 0) && !exceptions.contains(Seq(1), 1) && exceptions.touches(Seq(5)));
        exceptions.forget_before(Seq(5));
        assert!(!exceptions.touches(Seq(1)) && exceptions.contains(Seq(5), 2));
        exceptions.forget_before(Seq(6));
        assert!(!exceptions.touches(Seq(5)));
    }
}
