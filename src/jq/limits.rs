//! What a jq program may take.

use std::time::Duration;

/// Most outputs of a program for one document: as many rows as the decoder takes of one message.
pub const MAX_ROWS_PER_MESSAGE: usize = 10_000;
/// Largest outputs of a program for one document, written as one array.
pub const MAX_OUTPUT_BYTES: usize = 16 << 20;
/// Longest program. Its compiler calls itself for each level of nesting.
pub const MAX_PROGRAM_BYTES: usize = 16 << 10;
/// Longest time a program may take for one document.
pub const TIME_LIMIT: Duration = Duration::from_secs(1);
/// Most memory that a program's worker may have resident.
pub const MEMORY_LIMIT_BYTES: u64 = 64 << 20;
/// Longest time a worker may take to start and to compile its program.
pub(super) const START_LIMIT: Duration = Duration::from_secs(5);
/// How often a worker that is busy is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Deepest nesting of a document and of an output. Deeper ones end a worker: jaq reads them by
/// functions that call themselves.
pub(super) const MAX_DEPTH: usize = 128;
/// Most documents in a row that may cost a program its worker before others are refused.
pub(super) const MAX_LOSSES: u32 = 3;
/// How long documents are refused then.
pub(super) const REFUSED_FOR: Duration = Duration::from_mins(1);

/// Memory for the stack of a thread that compiles a program; what is not used is not taken.
pub(super) const STACK_BYTES: usize = 64 << 20;
