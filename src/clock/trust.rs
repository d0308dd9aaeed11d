//! Whether the wall clock may judge the times that devices tell.

use std::{
    fmt,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::kernel;
use crate::point::{Received, Timestamp};

/// How often an untrusted clock is looked at.
const LOOK_AGAIN_NS: u64 = 1_000_000_000;
/// No release of this program is older than 2026-01-01T00:00:00Z.
pub const RELEASED: Timestamp = Timestamp(1_767_225_600_000_000_000);
/// There while systemd-timesyncd runs; a file in it says that it has synchronised the clock
/// (systemd-timesyncd.service(8)).
const TIMESYNCD: &str = "/run/systemd/timesync";

/// Says whether some time service keeps the clock; none where that cannot be had.
pub type AskKept = Box<dyn Fn() -> Option<bool> + Send + Sync>;

/// Decides whether the wall clock may judge device timestamps.
///
/// A gateway without a battery-backed clock boots in the past. The clock is trusted once it is not
/// behind the newest time found in the ring, not behind the release it runs, and the kernel says
/// that a time service keeps it, whichever that is. Where the kernel does not tell (or the machine
/// has 32 bits), systemd-timesyncd is asked, where it runs, and without it the first two have to do.
/// Trust once
/// gained stays.
pub struct ClockTrust {
    ask: AskKept,
    not_before: Timestamp,
    trusted: AtomicBool,
    /// Time since boot at which to look again.
    look_again_ns: AtomicU64,
}

impl fmt::Debug for ClockTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { not_before, trusted, .. } = self;
        f.debug_struct("ClockTrust").field("not_before", not_before).field("trusted", trusted).finish_non_exhaustive()
    }
}

impl ClockTrust {
    /// Trust that is always given.
    #[must_use]
    pub fn always() -> Self {
        let trust = Self::told_by(Box::new(|| Some(true)));
        trust.trusted.store(true, Ordering::Relaxed);
        trust
    }

    /// Trust to be gained by what this machine says.
    #[must_use]
    pub fn to_be_gained() -> Self {
        Self::told_by(Box::new(|| kernel::is_synchronised().or_else(timesyncd)))
    }

    /// Trust to be gained by what is told.
    #[must_use]
    pub fn told_by(ask: AskKept) -> Self {
        Self { ask, not_before: RELEASED, trusted: AtomicBool::new(false), look_again_ns: AtomicU64::new(0) }
    }

    /// The same for a clock that is wrong while it is behind `newest`: the newest wall-clock time
    /// known from before.
    #[must_use]
    pub fn not_before(self, newest: Timestamp) -> Self {
        Self { not_before: self.not_before.max(newest), ..self }
    }

    /// Whether the clock that shows `now` is to be trusted.
    pub fn is_trusted(&self, now: Received) -> bool {
        if self.is_gained() {
            return true;
        }
        if now.since_boot_ns < self.look_again_ns.load(Ordering::Relaxed) {
            return false;
        }
        self.look_again_ns.store(now.since_boot_ns.saturating_add(LOOK_AGAIN_NS), Ordering::Relaxed);
        let trusted = self.would_be_given(now);
        self.trusted.fetch_or(trusted, Ordering::Relaxed);
        trusted
    }

    /// Whether what is known so far speaks for the clock that shows `now`; nothing is gained by it.
    pub fn would_be_given(&self, now: Received) -> bool {
        self.is_gained() || now.wall >= self.not_before && (self.ask)().unwrap_or(true)
    }

    /// Whether the clock has been found to be right.
    pub fn is_gained(&self) -> bool {
        self.trusted.load(Ordering::Relaxed)
    }
}

fn timesyncd() -> Option<bool> {
    let folder = Path::new(TIMESYNCD);
    folder.exists().then(|| folder.join("synchronized").exists())
}

/// The newest wall-clock time of a ring's records, taken in their order.
///
/// Of the records of one boot the last one's counts, since a clock that was ahead for a while and
/// was set back was wrong meanwhile.
#[derive(Debug, Default)]
pub struct Newest {
    of_boots_before: Timestamp,
    last: Received,
}

impl Newest {
    /// Takes the next record's time of receipt.
    pub fn note(&mut self, received: Received) {
        if received.since_boot_ns < self.last.since_boot_ns {
            self.of_boots_before = self.time();
        }
        self.last = received;
    }

    /// The newest time so far.
    pub fn time(&self) -> Timestamp {
        self.of_boots_before.max(self.last.wall)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn at(wall: i64, seconds: u64) -> Received {
        Received { wall: Timestamp(wall), since_boot_ns: seconds * LOOK_AGAIN_NS }
    }

    fn told(answer: Option<bool>) -> (ClockTrust, Arc<AtomicBool>) {
        let kept = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&kept);
        (ClockTrust::told_by(Box::new(move || asked.load(Ordering::Relaxed).then_some(true).or(answer))), kept)
    }

    #[test]
    fn a_clock_behind_the_ring_or_the_release_is_not_trusted_until_it_has_caught_up() {
        let newest = Timestamp(RELEASED.0 + 1_000);
        let trust = ClockTrust::told_by(Box::new(|| Some(true))).not_before(newest);
        assert!(!trust.is_trusted(at(0, 1)), "1970");
        assert!(!trust.is_trusted(at(newest.0 - 1, 2)));
        assert!(trust.is_trusted(at(newest.0, 3)));
        let trust = ClockTrust::told_by(Box::new(|| Some(true))).not_before(Timestamp(0));
        assert!(!trust.would_be_given(at(RELEASED.0 - 1, 1)) && trust.would_be_given(at(RELEASED.0, 1)));
        assert!(!trust.is_gained(), "a look alone gains nothing");
        assert!(ClockTrust::always().is_trusted(at(0, 1)));
    }

    #[test]
    fn the_kernel_decides_once_a_second_and_trust_once_gained_stays() {
        let (trust, kept) = told(Some(false));
        assert!(!trust.is_trusted(at(RELEASED.0, 1)));
        kept.store(true, Ordering::Relaxed);
        assert!(!trust.is_trusted(at(RELEASED.0, 1)), "not asked again within a second");
        assert!(trust.is_trusted(at(RELEASED.0, 2)));
        kept.store(false, Ordering::Relaxed);
        assert!(trust.is_trusted(at(0, 9)) && trust.is_gained());
    }

    #[test]
    fn a_clock_of_which_nobody_tells_is_judged_by_what_it_shows() {
        let (trust, _) = told(None);
        assert!(trust.is_trusted(at(RELEASED.0, 1)));
    }

    #[test]
    fn a_clock_that_was_ahead_and_set_back_does_not_tell_the_newest_time() {
        let newest = |records: &[(i64, u64)]| {
            let mut newest = Newest::default();
            for (wall, seconds) in records {
                newest.note(at(*wall, *seconds));
            }
            newest.time().0
        };
        assert_eq!(newest(&[]), 0);
        assert_eq!(newest(&[(5, 1), (900, 2), (7, 3)]), 7);
        assert_eq!(newest(&[(5, 1), (9, 2), (1, 1), (2, 2)]), 9, "the boot before knew better");
    }
}
