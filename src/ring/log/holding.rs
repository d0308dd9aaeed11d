//! What of the log is held back, and what that means for its tail and its head.

use std::sync::atomic::Ordering;

use super::Log;
use crate::{
    marks::{Mark, Pos, Seq},
    ring::{
        held::Held,
        seeded::{Bug, is_on},
    },
    sync::lock,
};

impl Log {
    /// Takes note of a held record at the head.
    pub(super) fn hold(&self, at: Mark, rows: u16) {
        self.change_held(|held| held.hold(at, rows));
    }

    /// Takes note that the held records up to `seq` are released durably; see [`Held::release`].
    pub(in crate::ring) fn release(&self, seq: Seq, rows: u64, next: Mark) {
        self.change_held(|held| held.release(seq, rows, next));
        self.starved.store(false, Ordering::Release);
    }

    /// What recovery found to be held.
    pub(in crate::ring) fn set_held(&self, found: Held) {
        self.change_held(|held| *held = found);
    }

    /// Looks at what is held.
    pub(in crate::ring) fn with_held<T>(&self, look: impl FnOnce(&Held) -> T) -> T {
        look(&lock(&self.held))
    }

    /// As much of what lies before a position as the tail may pass: not the oldest held record.
    pub(in crate::ring) fn not_held(&self, upto: Pos) -> Pos {
        if is_on(Bug::HeldLeftBehind) {
            return upto;
        }
        self.with_held(Held::from).map_or(upto, |from| upto.min(from.pos))
    }

    fn change_held(&self, change: impl FnOnce(&mut Held)) {
        let mut held = lock(&self.held);
        change(&mut held);
        self.held_limit.store(held.limit(self.geometry.capacity).0, Ordering::Release);
    }
}
