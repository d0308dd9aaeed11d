//! Nothing is taken in for the time being: what is appended would not be found again.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use super::Log;
use crate::{
    ring::{append::AppendError, media::Media},
    sync::lock,
};

/// Why nothing is taken in, if that is so.
#[derive(Debug, Default)]
pub(super) struct Halt {
    is_on: AtomicBool,
    reason: Mutex<Option<String>>,
}

impl Log {
    /// Takes nothing in from here on, or takes in again. What is in goes on to be synced and read.
    pub(in crate::ring) fn halt(&self, reason: Option<&str>) {
        let mut now = lock(&self.halt.reason);
        *now = reason.map(str::to_owned);
        self.halt.is_on.store(now.is_some(), Ordering::Release);
    }

    /// Whether nothing is taken in.
    pub(in crate::ring) fn is_halted(&self) -> bool {
        self.halt.is_on.load(Ordering::Acquire)
    }

    /// Why nothing is taken in, if that is so.
    pub(in crate::ring) fn halted(&self) -> Option<String> {
        if self.is_halted() { lock(&self.halt.reason).clone() } else { None }
    }

    /// What the log is written on.
    pub(in crate::ring) fn media(&self) -> &dyn Media {
        &*self.media
    }

    pub(super) fn refuse_when_halted(&self) -> Result<(), AppendError> {
        self.halted().map_or(Ok(()), |reason| Err(AppendError::Halted(reason)))
    }
}
