//! What is to be published, one entry a series: a newer value takes the place of one that has not left. Pure.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::latest::{Change, Key};

/// Most series that wait. Beyond, the map is gone through again once there is room.
pub const MAX_PENDING: usize = 4_096;

/// The waiting changes, in the order in which their series first came.
#[derive(Debug, Default)]
pub struct Pending {
    changes: HashMap<Arc<Key>, Change>,
    order: VecDeque<Arc<Key>>,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It waits.
    Waits,
    /// It waits in place of an older one, which is never published.
    Replaced,
    /// There is no room.
    Full,
}

impl Pending {
    /// Takes a change.
    pub fn put(&mut self, change: Change) -> Taken {
        let key = Arc::clone(change.key());
        if let Some(waiting) = self.changes.get_mut(&key) {
            *waiting = change;
            return Taken::Replaced;
        }
        if self.order.len() >= MAX_PENDING {
            return Taken::Full;
        }
        self.order.push_back(Arc::clone(&key));
        self.changes.insert(key, change);
        Taken::Waits
    }

    /// The next to publish.
    pub fn pop(&mut self) -> Option<Change> {
        let key = self.order.pop_front()?;
        self.changes.remove(&key)
    }

    /// Puts back what could not be published, unless a newer one waits.
    pub fn put_back(&mut self, change: Change) {
        let key = Arc::clone(change.key());
        if !self.changes.contains_key(&key) {
            self.order.push_front(Arc::clone(&key));
            self.changes.insert(key, change);
        }
    }

    /// How many more there is room for.
    pub fn room(&self) -> usize {
        MAX_PENDING.saturating_sub(self.order.len())
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleared(n: usize) -> Change {
        Change::Cleared(Arc::new(Key { table: n.to_string().into(), symbols: Box::default() }))
    }

    #[test]
    fn a_newer_change_takes_the_place_of_an_older_one_and_their_number_is_limited() {
        let mut pending = Pending::default();
        assert_eq!([1, 2, 1].map(|n| pending.put(cleared(n))), [Taken::Waits, Taken::Waits, Taken::Replaced]);
        let first = pending.pop().unwrap();
        assert_eq!(first, cleared(1));
        pending.put_back(first);
        assert_eq!((pending.pop(), pending.pop(), pending.pop()), (Some(cleared(1)), Some(cleared(2)), None));
        for n in 0..MAX_PENDING {
            assert_eq!(pending.put(cleared(n)), Taken::Waits);
        }
        assert_eq!((pending.put(cleared(MAX_PENDING)), pending.put(cleared(0))), (Taken::Full, Taken::Replaced));
        assert_eq!((pending.len(), pending.room()), (MAX_PENDING, 0));
    }
}
