//! A moment in the past, on both of the machine's clocks. Pure.

use std::time::Duration;

use crate::point::{Received, Timestamp};

/// Since when, as somebody asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// So long ago.
    Ago(Duration),
    /// Since that moment by the wall clock.
    At(Timestamp),
}

impl Since {
    /// Reads a span such as `10m`, or an RFC 3339 time; the error says what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(ago) = humantime::parse_duration(text) {
            return Ok(Self::Ago(ago));
        }
        Self::at(text).map_err(|_| {
            format!("{text:?} is neither a span such as \"10m\" nor a time such as \"2026-03-01T12:00:00Z\"")
        })
    }

    /// Reads an RFC 3339 time.
    pub fn at(text: &str) -> Result<Self, String> {
        let time: jiff::Timestamp = text.parse().map_err(|error| format!("{text:?} is no RFC 3339 time: {error}"))?;
        let nanos = i64::try_from(time.as_nanosecond()).map_err(|_| format!("{text:?} is outside 1677 to 2262"))?;
        Ok(Self::At(Timestamp(nanos)))
    }

    /// The moment by the wall clock, which shows `now`; the end of time where it lies beyond.
    #[must_use]
    pub fn by_wall(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(ago) => Timestamp(now.0.saturating_sub(i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX))),
            Self::At(time) => time,
        }
    }

    /// The moment on both clocks, which show `now`.
    #[must_use]
    pub fn on(self, now: Received) -> Cutoff {
        let ago_ns = match self {
            Self::Ago(ago) => i128::try_from(ago.as_nanos()).unwrap_or(i128::MAX),
            Self::At(time) => i128::from(now.wall.0) - i128::from(time.0),
        };
        Cutoff {
            wall_ns: i128::from(now.wall.0).saturating_sub(ago_ns),
            since_boot_ns: i128::from(now.since_boot_ns).saturating_sub(ago_ns),
        }
    }
}

/// A moment on both clocks; that on the clock since boot may lie before the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutoff {
    wall_ns: i128,
    since_boot_ns: i128,
}

impl Cutoff {
    /// Whether something was received then or later. What was received in this boot is told by the time since boot, which nobody
    /// sets; of anything older only the wall clock is comparable.
    #[must_use]
    pub fn is_before(&self, received: Received, in_this_boot: bool) -> bool {
        if in_this_boot {
            i128::from(received.since_boot_ns) >= self.since_boot_ns
        } else {
            i128::from(received.wall.0) >= self.wall_ns
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn received(wall_s: i64, since_boot_s: u64) -> Received {
        Received { wall: Timestamp(wall_s * S), since_boot_ns: since_boot_s * S as u64 }
    }

    #[test]
    fn spans_and_times_are_read() {
        assert_eq!(Since::parse("10m"), Ok(Since::Ago(Duration::from_mins(10))));
        assert_eq!(Since::parse("1970-01-01T00:00:02Z"), Ok(Since::At(Timestamp(2 * S))));
        assert_eq!(Since::Ago(Duration::from_secs(3)).by_wall(Timestamp(5 * S)), Timestamp(2 * S));
        assert_eq!(Since::Ago(Duration::MAX).by_wall(Timestamp(0)), Timestamp(-i64::MAX));
        for bad in ["", "10", "yesterday", "1970-01-01", "9999-01-01T00:00:00Z"] {
            assert!(Since::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wall_clock_that_was_set_meanwhile_does_not_matter_in_this_boot() {
        // Received 60 s ago, when the wall clock stood in 1970; it was set since.
        let (now, then) = (received(1_700_000_000, 100), received(40, 40));
        for since in [Since::Ago(Duration::from_secs(61)), Since::At(Timestamp(1_699_999_939 * S))] {
            assert!(since.on(now).is_before(then, true) && !since.on(now).is_before(then, false));
        }
        assert!(!Since::Ago(Duration::from_secs(59)).on(now).is_before(then, true));
    }

    #[test]
    fn earlier_boots_are_compared_by_the_wall_clock() {
        let now = received(1_700_000_000, 100);
        let earlier = received(1_699_999_000, 999_999);
        assert!(Since::Ago(Duration::from_secs(1_001)).on(now).is_before(earlier, false));
        assert!(!Since::Ago(Duration::from_secs(999)).on(now).is_before(earlier, false));
    }

    #[test]
    fn any_span_and_time_is_taken() {
        let now = received(1_700_000_000, 100);
        assert!(Since::Ago(Duration::MAX).on(now).is_before(received(0, 0), true));
        assert!(!Since::At(Timestamp(i64::MAX)).on(now).is_before(now, true));
        assert!(Since::At(Timestamp(i64::MIN)).on(now).is_before(received(0, 0), false));
    }
}
