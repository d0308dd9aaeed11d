//! How old rows are when they are stored (pure).

use std::time::Duration;

use crate::{observe::histogram::Histogram, point::Received};

/// Groups of rows that a batch tells apart; for more, groups become coarser.
const MAX_GROUPS: usize = 256;
/// Rows received closer together than this are one group at first, in nanoseconds.
const APART_NS: u64 = 500_000;

/// When the rows of a batch were received: to half a millisecond, or to a hundredth of the time it took, whichever is more.
#[derive(Debug, Default)]
pub struct Ages {
    /// Nanoseconds since boot of the first rows, and rows; in order.
    groups: Vec<(u64, u64)>,
    /// How often groups have become coarser by half.
    coarser: u32,
}

impl Ages {
    /// Takes in rows that were received together. Rows come in the order in which they were received.
    pub fn add(&mut self, received: Received, rows: u16) {
        let at = received.since_boot_ns;
        if let Some((first, group)) = self.groups.last_mut()
            && at.saturating_sub(*first) < APART_NS << self.coarser
        {
            *group += u64::from(rows);
            return;
        }
        while self.groups.len() >= MAX_GROUPS {
            self.coarsen();
        }
        self.groups.push((at, rows.into()));
    }

    /// Doubles the span of a group.
    fn coarsen(&mut self) {
        self.coarser += 1;
        let apart = APART_NS << self.coarser;
        self.groups.dedup_by(|(at, rows), (first, group)| {
            let joins = at.saturating_sub(*first) < apart;
            if joins {
                *group += *rows;
            }
            joins
        });
    }

    /// Forgets the batch.
    pub fn clear(&mut self) {
        self.groups.clear();
        self.coarser = 0;
    }

    /// Age of the oldest rows; none without rows.
    pub fn oldest(&self, now: Received) -> Option<Duration> {
        let (at, _) = self.groups.first()?;
        Some(Duration::from_nanos(now.since_boot_ns.saturating_sub(*at)))
    }

    /// The batch is stored: counts each row with its age, in microseconds, and forgets it.
    pub fn record(&mut self, now: Received, into: &Histogram) {
        for (at, rows) in self.groups.drain(..) {
            into.record_many(now.since_boot_ns.saturating_sub(at) / 1_000, rows);
        }
        self.coarser = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::Timestamp;

    fn at(ms: u64) -> Received {
        Received { wall: Timestamp(0), since_boot_ns: ms * 1_000_000 }
    }

    #[test]
    fn rows_count_with_the_age_of_their_group() {
        let (mut ages, histogram) = (Ages::default(), Histogram::new());
        (0..99).for_each(|_| ages.add(at(100), 1));
        ages.add(at(50), 0);
        ages.add(at(190), 1);
        ages.record(at(200), &histogram);
        ages.record(at(900), &histogram);
        let told = histogram.quantiles();
        assert_eq!((told.count, told.max), (100, 100_000));
        assert!((97_000..=100_000).contains(&told.p50), "{told:?}");
    }

    #[test]
    fn groups_are_bounded_and_no_row_is_left_out() {
        let (mut ages, histogram) = (Ages::default(), Histogram::new());
        (0..10_000).for_each(|ms| ages.add(at(ms), 3));
        assert!(ages.groups.len() <= MAX_GROUPS);
        ages.record(at(10_000), &histogram);
        let told = histogram.quantiles();
        assert_eq!(told.count, 30_000);
        assert!((4_900_000..5_200_000).contains(&told.p50), "{told:?}");
        // The next batch is told as finely as this one was at first.
        ages.add(at(20_000), 1);
        ages.add(at(20_001), 1);
        assert_eq!(ages.groups.len(), 2);
    }
}
