//! Series that an empty message has cleared: what the database still holds of them from before is no latest value.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::point::Timestamp;

/// Most cleared series a shard remembers, about 40 bytes each; the oldest is forgotten beyond.
pub(super) const MAX_CLEARED: usize = 4_096;

/// By the hashes of their keys, with the time of the message that cleared them.
#[derive(Debug, Default)]
pub(super) struct Cleared {
    times: HashMap<u64, Timestamp, foldhash::fast::RandomState>,
    order: VecDeque<u64>,
}

impl Cleared {
    pub fn note(&mut self, hash: u64, received: Timestamp) {
        if self.times.insert(hash, received).is_none() {
            self.order.push_back(hash);
        }
        if self.order.len() > MAX_CLEARED
            && let Some(oldest) = self.order.pop_front()
        {
            self.times.remove(&oldest);
        }
    }

    /// Whether a row of that time is from before the series was cleared.
    pub fn covers(&self, hash: u64, time: Timestamp) -> bool {
        self.times.get(&hash).is_some_and(|cleared| time <= *cleared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_from_before_are_told_from_rows_since_and_the_memory_is_bounded() {
        let mut cleared = Cleared::default();
        cleared.note(1, Timestamp(10));
        assert!(
            cleared.covers(1, Timestamp(10)) && !cleared.covers(1, Timestamp(11)) && !cleared.covers(2, Timestamp(1))
        );
        for hash in 2..=MAX_CLEARED as u64 + 1 {
            cleared.note(hash, Timestamp(5));
        }
        assert!(!cleared.covers(1, Timestamp(10)) && cleared.covers(2, Timestamp(5)));
        assert_eq!((cleared.times.len(), cleared.order.len()), (MAX_CLEARED, MAX_CLEARED));
    }
}
