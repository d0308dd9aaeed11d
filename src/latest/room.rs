//! What the map takes, and who makes room when that is more than it may.

use std::sync::atomic::Ordering;

use super::{Latest, slot::Slot};
use crate::{marks::Seq, sync::lock};

impl Latest {
    /// Takes account of what a series remembers now instead of before.
    pub(super) fn weigh_history(&self, before: usize, after: usize) {
        if after != before {
            self.history_bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        }
    }

    /// Forgets the moments that were remembered first, beginning with those beside the series of
    /// this hash.
    pub(super) fn make_history_room(&self, hash: u64) {
        while self.history_bytes.load(Ordering::Relaxed) > self.max_history_bytes {
            let (first, count) = (self.shard_of(hash), self.shards.len());
            let freed = (0..count).find_map(|step| lock(&self.shards[(first + step) % count]).forget_block());
            match freed {
                Some(bytes) => drop(self.history_bytes.fetch_sub(bytes, Ordering::Relaxed)),
                None => return,
            }
        }
    }

    /// Takes account of a series that is new.
    pub(super) fn entered(&self, bytes: usize) {
        self.series.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes account of a series that is no longer in its shard, which is still locked.
    pub(super) fn left(&self, slot: &Slot, bytes: usize) {
        if let Some(shown) = &slot.shown {
            self.board.remove(shown);
        }
        self.series.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.history_bytes.fetch_sub(slot.history.bytes(), Ordering::Relaxed);
        // When the series comes again, nothing is known of it.
        self.unknown_us.fetch_max(slot.newest_us(), Ordering::Relaxed);
    }

    /// Has the least recently updated series leave, beginning with those beside the series of this
    /// hash, which stays; but none that was updated by the record `before` or a later one, if that
    /// is given. Where there are no older ones, the series itself leaves then, unless it is the
    /// last.
    pub(super) fn make_room(&self, hash: u64, before: Option<Seq>) {
        if !self.is_over() {
            return;
        }
        // Two that looked at once would have two series leave for one.
        let _one_at_a_time = lock(&self.making_room);
        let (first, count) = (self.shard_of(hash), self.shards.len());
        let evict = |shard: usize, keep: Option<u64>, before: Seq| {
            let mut shard = lock(&self.shards[shard]);
            let slot = shard.evict(keep, before);
            slot.inspect(|slot| self.left(slot, slot.bytes)).is_some()
        };
        let last = Seq(u64::MAX);
        while self.is_over() {
            let other = (0..count).any(|step| evict((first + step) % count, Some(hash), before.unwrap_or(last)));
            let has_others = self.series.load(Ordering::Relaxed) > 1;
            let itself = || before.is_some_and(|before| has_others && evict(first, None, before));
            if !other && !itself() {
                return;
            }
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether it has more than it may.
    fn is_over(&self) -> bool {
        self.series.load(Ordering::Relaxed) > self.max_series || self.bytes.load(Ordering::Relaxed) > self.max_bytes
    }
}
