//! What goes into the log and what comes of it.

use super::{
    layout::Kind,
    marks::{Pos, Seq},
};

/// One record of a message about to be appended.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// What it is: rows, a dead letter or a clear.
    pub kind: Kind,
    /// [`super::table_hash`] of its table; 0 where there is none.
    pub table_hash: u32,
    /// Rows in the body.
    pub rows: u16,
    /// The body, encoded by [`crate::entry`].
    pub body: &'a [u8],
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
    /// The ring has failed; nothing more may be acknowledged.
    #[error("the ring is poisoned: {0}")]
    Poisoned(String),
}
