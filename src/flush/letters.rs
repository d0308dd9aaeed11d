//! Messages that cannot become rows go from the ring to the quarantine: when their lane meets them,
//! ahead of it while QuestDB is away, and before the ring gives them up for newer ones.

use std::{
    io,
    sync::{Arc, Mutex},
};

use super::{
    exceptions::Exceptions,
    quarantine::{CUT_LETTER, DEAD_LETTER, Entry, Key, Quarantine},
};
use crate::{
    clock::SharedClock,
    entry::DeadLetter,
    ring::{Record, Rescue},
    sync::lock,
};

/// The way there, which lanes and the ring's committer share.
pub struct Letters {
    ring_id: u64,
    pub(super) exceptions: Arc<Exceptions>,
    pub(super) quarantine: Arc<Quarantine>,
    clock: SharedClock,
    /// Held from the question whether a message is in the quarantine until it is.
    turn: Mutex<()>,
}

impl Letters {
    /// Letters of a ring.
    pub fn new(ring_id: u64, exceptions: Arc<Exceptions>, quarantine: Arc<Quarantine>, clock: SharedClock) -> Self {
        Self { ring_id, exceptions, quarantine, clock, turn: Mutex::new(()) }
    }

    /// Puts the message of a record into the quarantine, where it is durable after the next sync;
    /// false when it is there already.
    pub fn set_aside(&self, record: &Record<'_>) -> io::Result<bool> {
        let _turn = lock(&self.turn);
        let letter = record.dead_letter();
        let row = if letter.as_ref().is_ok_and(|letter| letter.is_cut) { CUT_LETTER } else { DEAD_LETTER };
        if self.exceptions.contains(record.into(), DEAD_LETTER) {
            return Ok(false);
        }
        let damage = letter.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let broken =
            DeadLetter { reason: &damage, topic: "(unknown)", payload: record.body, is_cut: false, time: None };
        let DeadLetter { reason, topic: origin, payload: body, time: row_time, .. } = letter.unwrap_or(broken);
        let key = Key { ring_id: self.ring_id, seq: record.seq, row };
        let (time, received) = (self.clock.now().wall, record.received.wall);
        self.quarantine.push(&Entry { key, time, received, reason, origin, body, row_time })?;
        self.exceptions.insert(record.into(), DEAD_LETTER);
        Ok(true)
    }
}

impl Rescue for Letters {
    fn save(&self, record: &Record<'_>) -> io::Result<()> {
        self.set_aside(record).map(drop)
    }

    fn finish(&self) -> io::Result<()> {
        self.quarantine.sync()
    }
}
