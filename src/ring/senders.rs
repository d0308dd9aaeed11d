//! Who may bring more before the next commit, as the ways in tell it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use super::{bell::Bell, pace::Came};

/// What the ways in tell.
#[derive(Default)]
pub struct Senders {
    bell: Arc<Bell>,
    from_broker: AtomicU64,
    from_writers: AtomicU64,
    broker_waits: AtomicBool,
    writing: AtomicUsize,
}

impl Senders {
    /// Nobody yet; the bell is rung when nobody can bring more.
    pub(super) fn new(bell: Arc<Bell>) -> Self {
        Self { bell, ..Self::default() }
    }

    /// Counts a message that the broker brought.
    pub fn broker_brought(&self) {
        self.from_broker.fetch_add(1, Relaxed);
    }

    /// Counts a request to write that brought something.
    pub fn writer_brought(&self) {
        self.from_writers.fetch_add(1, Relaxed);
    }

    /// Takes note whether the broker sends nothing more before it has an acknowledgement.
    pub fn broker_waits(&self, waits: bool) {
        if self.broker_waits.load(Relaxed) != waits {
            self.broker_waits.store(waits, Relaxed);
            if waits {
                self.bell.hurry();
            }
        }
    }

    /// Takes note that a request to write is being taken in, until what is returned is dropped; its
    /// writer then waits.
    pub fn taking_in(&self) -> TakingIn<'_> {
        self.writing.fetch_add(1, Relaxed);
        TakingIn { senders: self }
    }

    pub(super) fn came(&self, all: u64) -> Came {
        Came { all, broker: self.from_broker.load(Relaxed), writers: self.from_writers.load(Relaxed) }
    }

    pub(super) fn does_broker_wait(&self) -> bool {
        self.broker_waits.load(Relaxed)
    }

    pub(super) fn writing(&self) -> usize {
        self.writing.load(Relaxed)
    }
}

/// A request to write that is being taken in.
pub struct TakingIn<'a> {
    senders: &'a Senders,
}

impl Drop for TakingIn<'_> {
    fn drop(&mut self) {
        if self.senders.writing.fetch_sub(1, Relaxed) == 1 {
            self.senders.bell.hurry();
        }
    }
}
