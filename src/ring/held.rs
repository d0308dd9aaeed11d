//! Which records are held back: rows whose time is not known yet. docs/ring-format.md, section
//! "Rows held back". Pure.

use super::marks::{Mark, Pos, Seq};

/// Stretches of held records told apart for [`Held::holds`]; beyond, the last one grows over what
/// lies between.
const MAX_RUNS: usize = 4096;
/// Ordinary appends go at most this many 64ths of the ring beyond the oldest held record.
const MOST_PARTS: u64 = 48;
/// From this many 64ths on the oldest ones have to be released, whatever is known.
const CROWDED_PARTS: u64 = 16;

/// The held records of a ring that are not released, durably, so far.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// Where the oldest lies, or a place before it.
    from: Mark,
    /// Every held record up to this one is released.
    released_upto: Seq,
    /// Rows held.
    rows: u64,
    /// Their records, as first and last numbers; oldest first.
    runs: std::collections::VecDeque<(Seq, Seq)>,
}

impl Held {
    /// Takes note of a held record behind all others.
    pub fn hold(&mut self, at: Mark, rows: u16) {
        if at.seq <= self.released_upto {
            return;
        }
        if self.runs.is_empty() {
            self.from = at;
        }
        self.rows += u64::from(rows);
        let is_full = self.runs.len() >= MAX_RUNS;
        match self.runs.back_mut() {
            Some((_, last)) if is_full || last.0 + 1 == at.seq.0 => *last = at.seq,
            _ => self.runs.push_back((at.seq, at.seq)),
        }
    }

    /// Takes note that the held records up to `seq`, with so many rows, are released durably; the
    /// next one lies at `next` or behind it.
    pub fn release(&mut self, seq: Seq, rows: u64, next: Mark) {
        self.released_upto = self.released_upto.max(seq);
        self.rows = self.rows.saturating_sub(rows);
        self.from = self.from.max(next);
        while let Some((first, last)) = self.runs.front_mut() {
            if *last > seq {
                *first = (*first).max(Seq(seq.0 + 1));
                break;
            }
            self.runs.pop_front();
        }
    }

    /// Where to look for the oldest; none while nothing is held.
    pub fn from(&self) -> Option<Mark> {
        (!self.runs.is_empty()).then_some(self.from)
    }

    /// Every held record up to this one is released.
    pub fn released_upto(&self) -> Seq {
        self.released_upto
    }

    /// Rows held.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether a record is held, as far as is known; never false of one that is.
    pub fn holds(&self, seq: Seq) -> bool {
        let after = self.runs.partition_point(|(first, _)| *first <= seq);
        after > 0 && self.runs[after - 1].1 >= seq
    }

    /// Up to where ordinary appends may take the head of a ring of so many bytes.
    pub fn limit(&self, capacity: u64) -> Pos {
        self.from().map_or(Pos(u64::MAX), |from| Pos(from.pos.0 + capacity / 64 * MOST_PARTS))
    }

    /// Whether the oldest have to go with what is known.
    pub fn is_crowded(&self, head: Pos, capacity: u64) -> bool {
        self.from().is_some_and(|from| head.0.saturating_sub(from.pos.0) > capacity / 64 * CROWDED_PARTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(n: u64) -> Mark {
        Mark { pos: Pos(n * 100), seq: Seq(n) }
    }

    #[test]
    fn records_are_held_until_they_are_released_in_their_order() {
        let mut held = Held::default();
        assert!(held.from().is_none() && !held.holds(Seq(0)) && held.limit(6400) == Pos(u64::MAX));
        for n in [3, 4, 7] {
            held.hold(mark(n), 10);
        }
        assert_eq!((held.from(), held.rows()), (Some(mark(3)), 30));
        assert_eq!([2, 3, 4, 5, 7, 8].map(|n| held.holds(Seq(n))), [false, true, true, false, true, false]);
        assert_eq!(held.limit(6_400), Pos(300 + 4_800));
        assert!(!held.is_crowded(Pos(1_900), 6_400) && held.is_crowded(Pos(1_901), 6_400), "the limit is exact");
        held.release(Seq(3), 10, mark(4));
        assert_eq!((held.from(), held.holds(Seq(3)), held.holds(Seq(4))), (Some(mark(4)), false, true));
        held.hold(mark(3), 10);
        assert_eq!(held.rows(), 20, "one that is released is not held again");
        held.release(Seq(7), 20, mark(9));
        assert_eq!((held.from(), held.rows()), (None, 0));
        held.hold(mark(12), 1);
        assert_eq!(held.from(), Some(mark(12)));
    }

    #[test]
    fn the_list_of_held_records_is_bounded_and_forgets_none() {
        let mut held = Held::default();
        for n in 1..=2 * MAX_RUNS as u64 {
            held.hold(mark(2 * n), 1);
        }
        assert_eq!(held.runs.len(), MAX_RUNS);
        assert!((1..=2 * MAX_RUNS as u64).all(|n| held.holds(Seq(2 * n))));
    }
}
