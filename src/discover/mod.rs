//! Sources worked out of what is heard at a broker.
//!
//! [`Notes`] hold what was heard, within limits; [`listen()`] fills them beside a running daemon.
//! [`findings_beside`] tells which topics there are and proposes `[source.…]` sections that take
//! them: those of known families first ([`crate::devices`]), then such as follow from topics that
//! look alike (`group`) and from what their documents hold (`propose`). Every proposal is checked
//! and tried with the messages that were heard (`trial`) before it is shown. All but [`listen()`]
//! is pure.

mod binary;
mod columns;
mod draft;
mod exclude;
mod families;
mod findings;
mod found;
mod group;
mod housekeeping;
mod layout;
mod listen;
mod members;
mod notes;
mod passing;
mod payload;
mod placeholders;
mod propose;
mod report;
mod shape;
#[cfg(test)]
mod tests;
mod time;
mod trial;
mod values;
mod vocabulary;
mod words;

pub use self::{
    draft::some,
    findings::findings_beside,
    found::{Findings, Left, Proposal},
    listen::{Ended, Listening, listen},
    notes::{Limits, Notes},
    report::{as_json, in_words},
};
