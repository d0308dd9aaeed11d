//! What goes into the log and what comes of it.

use super::{
    layout::{Extension, Kind},
    marks::{Pos, Seq},
};
use crate::{entry::LetterForm, tally::SourceId};

/// One record of a message about to be appended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Part<'a> {
    /// What it is: rows, a dead letter or a clear.
    pub kind: Kind,
    /// Which source brought it.
    pub source: SourceId,
    /// [`super::table_hash`] of its table; 0 where there is none.
    pub table_hash: u32,
    /// Rows in the body.
    pub rows: u16,
    /// The body, encoded by [`crate::entry`].
    pub body: &'a [u8],
    /// Whether some of its rows have notes ([`crate::point::RowNotes`]).
    pub has_notes: bool,
    /// One bit for each counter to which it adds one itself ([`crate::tally::Counter::bit`]).
    pub counts: u8,
    /// Of a dead letter: the form of its body.
    pub letter: LetterForm,
    /// Of rows: whether they were held back, and are counted already; the body begins with the
    /// number of the record that holds them.
    pub releases: bool,
}

impl Part<'_> {
    /// What stands between the record's header and its body.
    pub(super) fn extension(&self) -> Extension {
        Extension { source: self.source, counts: self.counts, has_notes: self.has_notes, letter: self.letter }
    }
}

/// Where a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its first record.
    pub first: Seq,
    /// Its last record.
    pub last: Seq,
    /// The position behind it.
    pub end: Pos,
}

/// Why a message was not appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No room until the tail moves.
    #[error("the ring is full")]
    Full,
    /// It would never fit.
    #[error("the message needs {bytes} bytes in the ring; {limit} are allowed (an eighth of [ring] size)")]
    TooLarge {
        /// Bytes of its largest record, header included.
        bytes: u64,
        /// Largest record.
        limit: u64,
    },
    /// Nothing is taken in until somebody has mended what stands in the way; whatever is full or not, the message is to be kept.
    #[error("nothing is taken in: {0}")]
    Halted(String),
    /// The ring has failed; nothing more may be acknowledged.
    #[error("the ring is poisoned: {0}")]
    Poisoned(String),
}
