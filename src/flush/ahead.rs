//! What a lane does while QuestDB is away: messages that cannot become rows need none, and are set
//! aside ahead of its cursor.

use std::time::Duration;

use super::{encode::EncodeError, lane::Lane};
use crate::{
    marks::{Mark, Pos},
    ring::{Kind, ReadError, tables::HASH_WITHOUT_TABLE},
};

/// How often a waiting lane looks for such messages, and how long it may take.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Lane {
    /// While QuestDB is away: sets aside what waits behind the cursor and needs no QuestDB. Returns
    /// how long to wait for the next look.
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
