//! QuestDB: writing rows, asking questions, and keeping tables such that a resent row is no second row.

pub mod answer;
pub mod applied;
mod ask;
pub mod change;
pub mod columns;
pub mod connection;
pub mod fit;
pub mod http;
pub mod identity;
mod in_time;
pub mod plan;
pub mod post;
pub mod present;
mod protocol;
mod refusal;
pub mod schema;
pub mod sql;
pub mod statement;
mod survey;
pub mod wal;
pub mod writer;

pub use answer::Table;
pub use ask::Ask;
pub use connection::{Connection, ConnectionError, Secrets};
pub use post::{WriteError, Writer};
pub use refusal::named_column;
pub use sql::{Sql, SqlError};
pub use writer::{Dialect, RowBuffer};

/// Longest message of QuestDB's that is kept, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 512;

/// `text` cut to [`MAX_MESSAGE_BYTES`] at a character's boundary.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_MESSAGE_BYTES)]
}
