//! Where the tail may move: a sparse index of commit ends, and the rule that picks one. Pure.

use std::collections::VecDeque;

use super::marks::{Mark, Pos};

/// The index holds about so many places a lap.
const PLACES: u64 = 256;
/// The tail moves when less than this part of the ring is free …
const LOW_PART: u64 = 64;
/// … so far that about this many such parts are free: each durable move is a sync, and there are at most 64 a lap.
const REFILL_PARTS: u64 = 3;

/// Commit ends to which the tail may move, oldest first.
#[derive(Debug)]
pub struct TailIndex {
    capacity: u64,
    places: VecDeque<Mark>,
}

impl TailIndex {
    /// An empty index of a ring with `capacity` bytes of data.
    pub fn new(capacity: u64) -> Self {
        Self { capacity, places: VecDeque::new() }
    }

    /// Offers a commit's end; it is kept when far enough from the previous one.
    pub fn note(&mut self, at: Mark) {
        let spacing = self.capacity / PLACES;
        if self.places.back().is_none_or(|last| at.pos.0 >= last.pos.0 + spacing) {
            self.places.push_back(at);
        }
    }

    /// Forgets the places before the tail.
    pub fn forget_before(&mut self, tail: Pos) {
        while self.places.front().is_some_and(|place| place.pos <= tail) {
            self.places.pop_front();
        }
    }

    /// Whether so little is free that the tail should move.
    pub fn is_low(&self, free_bytes: u64) -> bool {
        free_bytes < self.capacity / LOW_PART * REFILL_PARTS
    }

    /// The last place that is not behind a position.
    pub fn last_upto(&self, upto: Pos) -> Option<Mark> {
        self.places.iter().take_while(|place| place.pos <= upto).last().copied()
    }

    /// The place to move the tail to when the head is at `head` and everything before `upto` may go.
    ///
    /// No further than needed, since what lies before the settled watermark is the history that replay and verify work on.
    pub fn target(&self, head: Pos, upto: Pos) -> Option<Mark> {
        let wanted = (head.0 + self.capacity / LOW_PART * (REFILL_PARTS + 1)).saturating_sub(self.capacity);
        let allowed = || self.places.iter().take_while(|place| place.pos <= upto);
        allowed().find(|place| place.pos.0 >= wanted).or_else(|| allowed().last()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::marks::Seq, *};

    fn mark(n: u64) -> Mark {
        Mark { pos: Pos(n), seq: Seq(n) }
    }

    #[test]
    fn the_index_stays_small() {
        let mut index = TailIndex::new(1 << 20);
        for pos in (0..1 << 20).step_by(512) {
            index.note(mark(pos));
        }
        assert!(index.places.len() <= PLACES as usize);
    }

    #[test]
    fn the_tail_goes_no_further_than_needed_nor_than_allowed() {
        let capacity = 1 << 20;
        let mut index = TailIndex::new(capacity);
        for pos in (0..capacity).step_by(4096) {
            index.note(mark(pos));
        }
        let target = index.target(Pos(capacity), Pos(capacity)).unwrap();
        assert_eq!(target, mark(capacity / 64 * 4));
        assert_eq!(index.target(Pos(capacity), Pos(8192)), Some(mark(8192)), "as far as allowed");
        assert_eq!(index.last_upto(Pos(8191)), Some(mark(4096)));
        index.forget_before(Pos(8192));
        assert_eq!(index.last_upto(Pos(8191)), None);
        assert_eq!(index.target(Pos(capacity), Pos(8192)), None, "nothing left that is allowed");
    }
}
