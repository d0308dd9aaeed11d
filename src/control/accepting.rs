//! When no connection can be taken, mostly for want of file descriptors: how long to wait, and what of it is worth a line in the journal
//! (pure).

use std::time::Duration;

/// Pause after the first failure; doubled with each one more in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// Least time between two lines of the journal. A listener may fail and work by turns.
const BETWEEN_LINES: Duration = Duration::from_mins(10);

/// What is known of failures. Times are since an arbitrary, fixed start.
#[derive(Debug, Default)]
pub struct Accepting {
    /// Failures in a row.
    in_a_row: u32,
    /// Failures since the last line.
    untold: u64,
    told: Option<Duration>,
}

impl Accepting {
    /// Takes note of a failure: how long to wait, and how many there were since the last line when another is due.
    pub fn failed(&mut self, now: Duration) -> (Duration, Option<u64>) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.in_a_row.min(8)).min(LAST_PAUSE);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.untold += 1;
        let is_due = self.told.is_none_or(|told| now.saturating_sub(told) >= BETWEEN_LINES);
        let tell = is_due.then(|| std::mem::take(&mut self.untold));
        if is_due {
            self.told = Some(now);
        }
        (pause, tell)
    }

    /// Takes note of a connection that was taken.
    pub fn succeeded(&mut self) {
        self.in_a_row = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn pauses_grow_to_a_second_and_begin_again_after_a_success() {
        let mut accepting = Accepting::default();
        let pauses: Vec<u128> = (0..40).map(|_| accepting.failed(Duration::ZERO).0.as_millis()).collect();
        assert_eq!(pauses[..6], [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(pauses[39], 1_000);
        accepting.succeeded();
        assert_eq!(accepting.failed(Duration::ZERO).0, FIRST_PAUSE);
    }

    #[test]
    fn an_hour_of_failures_takes_six_lines_however_they_come() {
        let mut accepting = Accepting::default();
        let (mut lines, mut told) = (0, 0);
        for at in (0..3_600_000).step_by(100) {
            let (_, tell) = accepting.failed(MILLISECOND * at);
            lines += u32::from(tell.is_some());
            told += tell.unwrap_or(0);
            if at % 1_000 == 0 {
                accepting.succeeded();
            }
        }
        assert_eq!(lines, 6);
        assert_eq!(told, 5 * 6_000 + 1, "each line tells of those before it");
    }
}
