//! Messages that cannot become rows go from the ring to the quarantine: when their lane meets them, ahead of it while QuestDB is away,
//! and before the ring gives them up for newer ones.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    encode::EncodeError,
    exceptions::Exceptions,
    lane::Lane,
    quarantine::{CUT_LETTER, DEAD_LETTER, Entry, Key, Quarantine},
};
use crate::{
    clock::SharedClock,
    entry::DeadLetter,
    marks::{Mark, Pos},
    ring::{Kind, ReadError, Record, Rescue, tables::HASH_WITHOUT_TABLE},
    sync::lock,
};

/// How often a lane that waits for QuestDB looks for such messages, and how long it may take.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

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

    /// Puts the message of a record into the quarantine, where it is durable after the next sync; false when it is there already.
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

impl Lane {
    /// While QuestDB is away: sets aside what waits behind the cursor and needs no QuestDB. Returns how long to wait for the next look.
    pub(super) fn set_letters_aside(&mut self, wait: Duration) -> Duration {
        if self.lanes.of(HASH_WITHOUT_TABLE) != self.number {
            return wait;
        }
        let from = self.letters_upto.max(self.reader.mark());
        if from.pos >= self.durable() {
            return wait.min(LOOK_EVERY);
        }
        match self.set_letters_aside_from(from) {
            Ok(upto) => self.letters_upto = upto,
            // The lane meets it, and says so.
            Err(error) => tracing::debug!(lane = self.number, %error, "cannot set messages aside"),
        }
        wait.min(LOOK_EVERY)
    }

    fn set_letters_aside_from(&mut self, from: Mark) -> Result<Mark, EncodeError> {
        let mut reader = self.encoder.ring.reader(from);
        let until = self.now() + LOOK_EVERY;
        while self.now() < until {
            match reader.next_with(Pos(u64::MAX), |kind, _| kind == Kind::DeadLetter) {
                Ok(Some(record)) if record.kind == Kind::DeadLetter => self.encoder.set_letter_aside(&record)?,
                Ok(Some(_)) => {}
                Err(ReadError::Overtaken { to }) => reader.seek(to),
                // Damage is met and told by the lane.
                Ok(None) | Err(_) => break,
            }
        }
        self.encoder.count_set_aside()?;
        Ok(reader.mark())
    }
}
