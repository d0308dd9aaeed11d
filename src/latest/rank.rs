//! Which of two readings of a field is the later one. Pure.

use crate::{marks::Seq, point::Timestamp};

/// What is compared: the higher rank is the latest value.
///
/// QuestDB keeps microseconds and lets the later row replace the earlier, so the comparison does
/// the same. A time that is not believed ranks below every one that is, so that it does not stay
/// the latest for years; among themselves such readings keep their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    is_believed: bool,
    time_us: i64,
    seq: Seq,
}

impl Rank {
    /// The rank of a reading where times beyond `believed_us` are not believed.
    pub fn of(time: Timestamp, seq: Seq, believed_us: i64) -> Self {
        let time_us = time.to_micros();
        Self { is_believed: time_us <= believed_us, time_us, seq }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_beyond_the_limit_ranks_below_all_others() {
        let rank = |micros: i64, seq, limit| Rank::of(Timestamp(micros * 1_000), Seq(seq), limit);
        assert!(rank(20, 1, i64::MAX) > rank(10, 2, i64::MAX), "while nothing is doubted");
        assert!(rank(10, 2, i64::MAX) > rank(10, 1, i64::MAX));
        assert!(rank(20, 9, 19) < rank(10, 1, 19));
        assert!(rank(19, 1, 19) > rank(10, 9, 19), "the limit is exact");
        assert!(rank(30, 1, 19) > rank(20, 9, 19), "among themselves");
    }
}
