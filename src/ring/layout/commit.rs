//! The body of a commit.

use super::words::Words;
use crate::ring::{
    ledger::{Intake, Outcome},
    marks::{Mark, Pos},
};

/// Bytes of a commit's body that mean something; the rest fills its sector.
pub const COMMIT_BODY_BYTES: usize = 176;
/// The same in format version 1, which lacked the ring's own data.
const COMMIT_BODY_1_BYTES: usize = 144;
/// What a commit written now says of its body, in the place where other records count their rows. Format version 1 said 0.
pub const COMMIT_BODY_VERSION: u16 = 1;

/// Bytes that mean something in a body of that version.
pub fn commit_body_bytes(version: u16) -> usize {
    if version == 0 { COMMIT_BODY_1_BYTES } else { COMMIT_BODY_BYTES }
}

/// Body of a commit: what is known when it is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Commit {
    /// Durable at sealing: everything before it had been synced.
    pub durable: Mark,
    /// Where resending begins after a start.
    pub safe: Mark,
    /// Messages and rows in the log up to here.
    pub intake: Intake,
    /// What became of the rows before the settled watermark.
    pub outcome: Outcome,
    /// The boot in which the commit's records were received.
    pub boot_id: [u8; 16],
    /// Where the commit's first record lies.
    pub from: Pos,
    /// What a header would say; none in a commit of format version 1.
    pub ring: Option<RingFacts>,
}

/// What a commit says of its ring, so that a header that is lost can be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RingFacts {
    /// The ring's id.
    pub ring_id: u64,
    /// Bytes of data in a lap.
    pub capacity: u64,
    /// The tail as the last synced header had it.
    pub tail: Mark,
}

impl Commit {
    /// The body's bytes.
    pub fn encode(&self) -> [u8; COMMIT_BODY_BYTES] {
        let mut out = [0; COMMIT_BODY_BYTES];
        let mut w = Words { bytes: &mut out, at: 0 };
        w.mark(self.durable);
        w.mark(self.safe);
        w.intake(&self.intake);
        w.outcome(&self.outcome);
        w.raw(&self.boot_id);
        w.u64(self.from.0);
        let ring = self.ring.unwrap_or_default();
        w.u64(ring.ring_id);
        w.u64(ring.capacity);
        w.mark(ring.tail);
        out
    }

    /// Reads a body of that version; none where it is too short.
    pub fn decode(version: u16, body: &[u8]) -> Option<Self> {
        let mut bytes = [0; COMMIT_BODY_BYTES];
        let length = commit_body_bytes(version);
        bytes[..length].copy_from_slice(body.get(..length)?);
        let mut r = Words { bytes: &mut bytes, at: 0 };
        let mut commit = Self {
            durable: r.get_mark(),
            safe: r.get_mark(),
            intake: r.get_intake(),
            outcome: r.get_outcome(),
            boot_id: r.get_raw(),
            from: Pos(r.get_u64()),
            ring: None,
        };
        if version > 0 {
            commit.ring = Some(RingFacts { ring_id: r.get_u64(), capacity: r.get_u64(), tail: r.get_mark() });
        }
        Some(commit)
    }
}
