//! Waiting until QuestDB shows what it has accepted: it acknowledges what is in its write-ahead log, and applies that to the table later.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Sql, SqlError, answer, statement};

const PAUSE: Duration = Duration::from_millis(50);

/// Whether what a table's write-ahead log held is visible to queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is, or the table has no such log, or there is no such table.
    Yes,
    /// QuestDB no longer applies anything to the table (`ALTER TABLE … RESUME WAL`).
    Suspended,
    /// Not within the time given.
    Behind,
}

/// How far a table's write-ahead log is applied.
struct Progress {
    applied: i64,
    accepted: i64,
    is_suspended: bool,
}

impl Sql {
    fn progress(&self, table: &str) -> Result<Option<Progress>, SqlError> {
        let answer = self.query(&statement::wal_state(table))?;
        let answer = answer.with_columns(&["writerTxn", "sequencerTxn", "suspended"])?;
        if answer.rows.is_empty() {
            return Ok(None);
        }
        let row = answer.only_row()?;
        let [applied, accepted] = [answer::number(&row, 0)?, answer::number(&row, 1)?];
        Ok(Some(Progress { applied, accepted, is_suspended: answer::flag(&row, 2)? }))
    }

    /// Whether the table has accepted transactions that it is going to apply, so that its description may be behind.
    pub fn is_applying(&self, table: &str) -> Result<bool, SqlError> {
        Ok(self.progress(table)?.is_some_and(|now| !now.is_suspended && now.applied < now.accepted))
    }

    /// Waits, at most so long, until what the table has accepted by now is applied.
    pub fn await_applied(&self, table: &str, within: Duration) -> Result<Applied, SqlError> {
        let deadline = Instant::now() + within;
        let mut target = None;
        loop {
            let Some(now) = self.progress(table)? else { return Ok(Applied::Yes) };
            if now.applied >= *target.get_or_insert(now.accepted) {
                return Ok(Applied::Yes);
            }
            if now.is_suspended {
                return Ok(Applied::Suspended);
            }
            if Instant::now() >= deadline {
                return Ok(Applied::Behind);
            }
            thread::sleep(PAUSE);
        }
    }
}
