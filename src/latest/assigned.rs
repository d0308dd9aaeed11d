//! The times that readings without a device's time get: that of their receipt, strictly increasing
//! within a series. Pure.
//!
//! A wall clock makes small steps back, and many readings come with one look at it, so a time given
//! may lead the clock. It must not lead by much: a clock that was in 2036 for a second would keep
//! every series there, a microsecond a reading.
//!
//! A time that is given twice would replace a stored row. Times given since the last leap of the
//! clock, and those given between that leap and the one before it, are known as two stretches, and
//! no time inside them is given again where the lead's bound allows to pass over them: so a clock
//! that is ahead for less than half of the bound never causes it. Where the clock is set back for
//! longer into times that it has shown before, a reading may meet an older one by chance: of the
//! same series, in the same microsecond. For readings of once a second that is one in a million.

/// How far a time given may lead the wall clock, in microseconds: ten seconds. Time services step a
/// clock that they keep by at most a second or so (chrony's `makestep 1.0`, a leap second), and the
/// 100,000 rows of the largest message need a tenth of a second.
pub(super) const MAX_LEAD_US: i64 = 10_000_000;

/// Times given one behind the other, first and last included; none where the first is the later
/// one.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    from_us: i64,
    to_us: i64,
}

impl Stretch {
    const NONE: Self = Self { from_us: i64::MAX, to_us: i64::MIN };

    fn holds(self, at_us: i64) -> bool {
        (self.from_us..=self.to_us).contains(&at_us)
    }
}

/// What has been given to one series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Assigned {
    /// Since the last leap.
    present: Stretch,
    /// Between that leap and the one before it.
    before: Stretch,
    /// What the wall clock showed for the last one: readings of one message have the same.
    wall_us: i64,
}

impl Assigned {
    /// Nothing yet.
    pub const NONE: Self = Self { present: Stretch::NONE, before: Stretch::NONE, wall_us: i64::MIN };

    /// The time of a reading received when the wall clock shows `wall_us`.
    pub fn assign(&mut self, wall_us: i64) -> i64 {
        let last_us = self.present.to_us;
        let is_same_message = self.wall_us == wall_us;
        let is_led = last_us > wall_us.saturating_add(MAX_LEAD_US) && !is_same_message;
        let (mut at_us, other) = if is_led {
            // The clock may be back a little before the times given until it leapt.
            let is_near = self.before.to_us < wall_us.saturating_add(MAX_LEAD_US / 2);
            (if is_near { wall_us.max(self.before.to_us.saturating_add(1)) } else { wall_us }, self.present)
        } else {
            (wall_us.max(last_us.saturating_add(1)), self.before)
        };
        if other.holds(at_us) && other.to_us < wall_us.saturating_add(MAX_LEAD_US / 2) {
            at_us = other.to_us.saturating_add(1);
        }
        self.wall_us = wall_us;
        self.follow(at_us);
        at_us
    }

    /// Takes note of a time that was given to a reading received at `received_us`, as the ring has
    /// it; in the order of the records. What lies before the receipt was not given here: it is a
    /// reading that was set aside, and put back.
    pub fn seen(&mut self, at_us: i64, received_us: i64) {
        if at_us >= received_us && !self.present.holds(at_us) {
            self.follow(at_us);
        }
    }

    fn follow(&mut self, at_us: i64) {
        let Stretch { from_us, to_us } = self.present;
        let goes_on = at_us > to_us && at_us <= to_us.saturating_add(MAX_LEAD_US);
        if goes_on {
            self.present = Stretch { from_us, to_us: at_us };
        } else {
            let left = std::mem::replace(&mut self.present, Stretch { from_us: at_us, to_us: at_us });
            self.before = left;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;
    const YEAR: i64 = 365 * 24 * 3_600 * SECOND;
    /// Some moment.
    const NOW: i64 = 57 * YEAR;

    #[test]
    fn readings_of_one_message_and_of_a_clock_that_steps_back_a_little_keep_their_order() {
        let mut assigned = Assigned::NONE;
        let burst: Vec<i64> = (0..10_000).map(|_| assigned.assign(NOW)).collect();
        assert_eq!((burst[0], burst[9_999]), (NOW, NOW + 9_999));
        assert_eq!(assigned.assign(NOW + SECOND), NOW + SECOND);
        assert_eq!(assigned.assign(NOW), NOW + SECOND + 1);
        assert_eq!(assigned.assign(NOW + SECOND - MAX_LEAD_US + 1), NOW + SECOND + 2, "as far as the bound");
        let burst: Vec<i64> = (0..10_000).map(|_| assigned.assign(NOW + SECOND - MAX_LEAD_US + 2)).collect();
        assert!(burst.is_sorted_by(|a, b| a < b), "the bound does not cut a message in two");
    }

    #[test]
    fn a_clock_that_was_ahead_for_a_moment_keeps_no_series_ahead() {
        let mut assigned = Assigned::NONE;
        assert_eq!(assigned.assign(NOW), NOW);
        let ahead = NOW + 10 * YEAR;
        assert_eq!(assigned.assign(ahead), ahead);
        assert_eq!(assigned.assign(ahead + SECOND), ahead + SECOND);
        assert_eq!(assigned.assign(NOW - 5), NOW + 1, "nor is a time given twice");
        assert_eq!(assigned.assign(NOW + SECOND), NOW + SECOND);
        assert_eq!(assigned.assign(ahead + SECOND), ahead + SECOND + 1, "nor ten years later");
    }

    #[test]
    fn the_same_holds_after_a_restart() {
        let ahead = NOW + 10 * YEAR;
        let mut assigned = Assigned::NONE;
        // An earlier program gave a microsecond a reading for ever.
        for n in 0..50 {
            assigned.seen(ahead + n, NOW + n * SECOND);
        }
        assert_eq!(assigned.assign(NOW + 50 * SECOND), NOW + 50 * SECOND);
        let mut assigned = Assigned::NONE;
        assigned.seen(ahead, ahead);
        assigned.seen(NOW + 7, NOW);
        assigned.seen(NOW - SECOND, NOW + 8);
        assert_eq!(assigned.assign(NOW + 3), NOW + 8, "one that was put back tells nothing");
    }

    proptest! {
        #[test]
        fn no_time_is_given_twice_nor_leads_by_more_than_the_bound(
            steps in prop::collection::vec((0..3 * SECOND, 1usize..300), 1..40),
            leap in 1..40usize,
            away in 11 * SECOND..20 * YEAR,
            stays in 1..3usize,
        ) {
            let (mut assigned, mut wall, mut given) = (Assigned::NONE, NOW, HashSet::new());
            for (at, (step, readings)) in steps.into_iter().enumerate() {
                wall += step + 1;
                // At most two steps of three seconds each: less than half of the bound.
                let shown = if (leap..leap + stays).contains(&at) { wall + away } else { wall };
                let mut last = i64::MIN;
                for _ in 0..readings {
                    let time = assigned.assign(shown);
                    prop_assert!(time > last && time >= shown && time <= shown + MAX_LEAD_US);
                    prop_assert!(given.insert(time), "{time} twice");
                    last = time;
                }
            }
        }

        #[test]
        fn small_steps_of_the_clock_keep_all_in_order(
            steps in prop::collection::vec(-300_000i64..SECOND, 1..200),
        ) {
            let (mut assigned, mut wall, mut last) = (Assigned::NONE, NOW, i64::MIN);
            let mut highest = wall;
            for step in steps {
                wall = (wall + step).max(highest - MAX_LEAD_US / 2);
                highest = highest.max(wall);
                let time = assigned.assign(wall);
                prop_assert!(time > last && time - wall <= MAX_LEAD_US);
                last = time;
            }
        }
    }
}
