//! The two clocks of a machine, behind a trait so that time can be simulated, and trust in the one
//! that shows the time.

#[cfg(target_pointer_width = "64")]
mod kernel;
/// A machine of 32 bits: no library asks the kernel there, which does not tell then.
#[cfg(not(target_pointer_width = "64"))]
mod kernel {
    pub fn is_synchronised() -> Option<bool> {
        None
    }
}
mod trust;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

pub use self::trust::{AskKept, ClockTrust, Newest, RELEASED};
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

/// A boot of a machine.
pub type BootId = [u8; 16];

/// This boot's identity (`/proc/sys/kernel/random/boot_id`), all zeros where the kernel tells none.
#[must_use]
pub fn boot_id() -> BootId {
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
    fn both_clocks_move() {
        let before = SystemClock.now();
        assert!(before.wall > trust::RELEASED);
        assert!(SystemClock.now().since_boot_ns >= before.since_boot_ns);
    }
}
