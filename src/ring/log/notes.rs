//! State and counts in the log: what is written in state records, in front of the commit that makes it durable.

use std::{io, sync::atomic::Ordering};

use super::{Extension, Head, Kind, Log, RecordHeader, Sealed, layout};
use crate::{
    marks::Pos,
    ring::{
        append::AppendError,
        state::{StateFull, StateKind, States},
    },
    sync::lock,
    tally::{SourceId, Tally},
};

/// What became of the state that the tail would pass.
pub(super) enum Carried {
    /// It lies behind, in this commit.
    Now(Option<Sealed>),
    /// There is no room for it; the oldest of it lies there.
    NoRoom(Pos),
    /// A message is being written: nothing can be sealed before it is.
    Later,
}

impl Log {
    /// Counts a message that leaves no record; returns the number of the note, which is durable once [`Log::ackable`] has reached it.
    ///
    /// It takes room in the log like any message, since the counts are written with the next commit.
    pub fn note(&self, tally: Tally) -> Result<u64, AppendError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(AppendError::Poisoned(self.poisoned().unwrap_or_default()));
        }
        self.refuse_when_halted()?;
        let mut head = lock(&self.head);
        if !self.admits(self.behind_changes(&head)) {
            self.starved.store(true, Ordering::Release);
            return Err(AppendError::Full);
        }
        head.states.tally(tally);
        self.taken.fetch_add(1, Ordering::Relaxed);
        Ok(head.note())
    }

    /// Sets an entry of the state, or removes it; returns the number of the note.
    pub fn set_state(&self, kind: StateKind, key: &[u8], value: Option<&[u8]>) -> Result<u64, StateFull> {
        let mut head = lock(&self.head);
        head.states.set(kind, key, value)?;
        Ok(head.note())
    }

    /// Numbers for the configured sources; see [`States::register`].
    pub fn register_sources(&self, names: &[&str]) -> Vec<SourceId> {
        let mut head = lock(&self.head);
        let numbers = head.states.register(names);
        head.note();
        numbers
    }

    /// Looks at the state as it is, synced or not.
    pub fn with_states<T>(&self, look: impl FnOnce(&States) -> T) -> T {
        look(&lock(&self.head).states)
    }

    /// The place behind a state record with the changes that have to be in the log before anything is appended.
    pub(super) fn behind_changes(&self, head: &Head) -> u64 {
        let pos = head.at.pos.0;
        if !head.states.has_changes() {
            return pos;
        }
        let bytes = layout::record_bytes(head.states.pending_bytes());
        self.geometry.place(pos, bytes) + bytes
    }

    /// Where the next message's first record is going to lie, if it fits before the lap's end.
    #[cfg(test)]
    pub(in crate::ring) fn next_place(&self) -> u64 {
        self.behind_changes(&lock(&self.head))
    }

    /// Writes a state record at the head.
    pub(super) fn write_state(&self, head: &mut Head) -> io::Result<()> {
        let mut body = std::mem::take(&mut head.state_body);
        body.clear();
        let entries = head.states.write(&mut body);
        let frame = RecordHeader { rows: entries, ..self.frame(Kind::State, head.at.seq, body.len()) };
        self.write_record(head, &frame, Extension::default(), &body, frame.total())?;
        let at = head.at.pos.0 - frame.total();
        head.states.written(at);
        head.state_body = body;
        Ok(())
    }

    /// Whether the newest record of some entry is not durable: the tail must not pass an older one meanwhile.
    fn has_unsealed_state(&self, head: &Head) -> bool {
        head.states.newest().is_some_and(|newest| newest >= self.durable().pos.0)
    }

    /// Writes all state again, durably, where some of it lies before a position that the tail is about to pass; and makes durable what has
    /// been written of it meanwhile.
    ///
    /// All of it at once, so that it happens once a lap. The room for it is kept back at each append; recovery may find the ring fuller than
    /// that, where it lost a header.
    pub(super) fn carry_state(&self, before: Pos) -> io::Result<Option<Carried>> {
        {
            let mut head = lock(&self.head);
            let is_older = head.states.is_older_than(before.0);
            if !is_older && !self.has_unsealed_state(&head) {
                return Ok(None);
            }
            if head.apart > 0 {
                return Ok(Some(Carried::Later));
            }
            if is_older {
                head.states.touch_all();
            }
            head.is_carrying = true;
        }
        let sealed = self.commit(true)?;
        // Another message may have come in between.
        let mut head = lock(&self.head);
        head.is_carrying = false;
        let oldest = head.states.oldest().filter(|oldest| *oldest < before.0);
        let is_durable = oldest.is_none() && !self.has_unsealed_state(&head);
        Ok(Some(match oldest {
            None if is_durable => Carried::Now(sealed),
            _ if head.apart > 0 => Carried::Later,
            oldest => Carried::NoRoom(oldest.map_or(before, Pos)),
        }))
    }
}
