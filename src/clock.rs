//! The two clocks of a machine, behind a trait so that time can be simulated.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::point::{Received, Timestamp};

/// Source of wall-clock and monotonic time.
pub trait Clock: Send + Sync {
    /// Both clocks, read together.
    fn now(&self) -> Received;

    /// Nanoseconds since this boot, never going back.
    fn since_boot(&self) -> Duration {
        Duration::from_nanos(self.now().since_boot_ns)
    }

    /// Lets so much time pass: by sleeping, where time passes by itself.
    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// A clock shared between threads.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clocks: `CLOCK_REALTIME` and `CLOCK_BOOTTIME` (`clock_gettime(2)`).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Received {
        let nanos = |id| {
            let t = rustix::time::clock_gettime(id);
            t.tv_sec * 1_000_000_000 + t.tv_nsec
        };
        Received {
            wall: Timestamp(nanos(rustix::time::ClockId::Realtime)),
            since_boot_ns: nanos(rustix::time::ClockId::Boottime) as u64,
        }
    }
}

/// A clock that stands still until told otherwise.
#[derive(Debug, Default)]
pub struct SimulatedClock {
    wall_ns: AtomicI64,
    since_boot_ns: AtomicU64,
}

impl SimulatedClock {
    /// A clock showing `wall`, zero nanoseconds after boot.
    #[must_use]
    pub fn at(wall: Timestamp) -> Self {
        Self { wall_ns: AtomicI64::new(wall.0), since_boot_ns: AtomicU64::new(0) }
    }

    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        self.wall_ns.fetch_add(by.as_nanos() as i64, Ordering::SeqCst);
        self.since_boot_ns.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
    }

    /// Sets the wall clock alone, as a time server or an operator does.
    pub fn step_wall(&self, wall: Timestamp) {
        self.wall_ns.store(wall.0, Ordering::SeqCst);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Received {
        Received {
            wall: Timestamp(self.wall_ns.load(Ordering::SeqCst)),
            since_boot_ns: self.since_boot_ns.load(Ordering::SeqCst),
        }
    }

    fn pause(&self, time: Duration) {
        self.advance(time);
    }
}

/// Decides whether the wall clock may judge device timestamps.
///
/// A gateway without a battery-backed clock boots in the past. The clock is trusted once it is not behind the newest time
/// found in the ring, not behind the release it runs, and, where systemd-timesyncd keeps the time, once that has synchronised
/// (systemd-timesyncd.service(8), `/run/systemd/timesync/synchronized`). Trust once gained stays.
#[derive(Debug)]
pub struct ClockTrust {
    not_before: Timestamp,
    trusted: AtomicBool,
    /// Time since boot at which to look again.
    look_again_ns: AtomicU64,
}

/// How often an untrusted clock is looked at.
const LOOK_AGAIN_NS: u64 = 1_000_000_000;
/// No release of this program is older than 2026-01-01T00:00:00Z.
const RELEASED: Timestamp = Timestamp(1_767_225_600_000_000_000);

impl ClockTrust {
    /// Trust that is always given.
    #[must_use]
    pub fn always() -> Self {
        Self { not_before: Timestamp(0), trusted: AtomicBool::new(true), look_again_ns: AtomicU64::new(0) }
    }

    /// Trust to be gained; `newest` is the newest wall-clock time known from before.
    #[must_use]
    pub fn to_be_gained(newest: Timestamp) -> Self {
        Self { not_before: newest.max(RELEASED), trusted: AtomicBool::new(false), look_again_ns: AtomicU64::new(0) }
    }

    /// Whether the clock that shows `now` is to be trusted.
    pub fn is_trusted(&self, now: Received) -> bool {
        if self.trusted.load(Ordering::Relaxed) {
            return true;
        }
        if now.wall < self.not_before || now.since_boot_ns < self.look_again_ns.load(Ordering::Relaxed) {
            return false;
        }
        self.look_again_ns.store(now.since_boot_ns + LOOK_AGAIN_NS, Ordering::Relaxed);
        let timesyncd = Path::new("/run/systemd/timesync");
        let trusted = !timesyncd.exists() || timesyncd.join("synchronized").exists();
        self.trusted.store(trusted, Ordering::Relaxed);
        trusted
    }
}

/// This boot's identity (`/proc/sys/kernel/random/boot_id`), all zeros where the kernel tells none.
#[must_use]
pub fn boot_id() -> [u8; 16] {
    let mut id = [0; 16];
    if let Ok(text) = std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        let digits: Vec<u8> = text.bytes().filter_map(|b| (b as char).to_digit(16).map(|d| d as u8)).collect();
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_behind_the_ring_is_not_trusted_until_it_has_caught_up() {
        let newest = Timestamp(RELEASED.0 + 1_000);
        let trust = ClockTrust::to_be_gained(newest);
        let at = |wall: i64| Received { wall: Timestamp(wall), since_boot_ns: 1 };
        assert!(!trust.is_trusted(at(0)), "1970");
        assert!(!trust.is_trusted(at(newest.0 - 1)));
        assert!(ClockTrust::always().is_trusted(at(0)));
    }

    #[test]
    fn both_clocks_move() {
        let before = SystemClock.now();
        assert!(before.wall > RELEASED);
        assert!(SystemClock.now().since_boot_ns >= before.since_boot_ns);
    }
}
