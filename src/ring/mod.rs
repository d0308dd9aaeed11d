//! The memory-mapped ring file: one log, one order. docs/ring-format.md describes each byte.

pub mod ledger;
pub mod marks;

pub use ledger::Ledger;
pub use marks::{Mark, Marks, Pos, Seq};
