//! The body of a commit.

use super::{COMMIT_BODY_BYTES, words::Words};
use crate::ring::{
    ledger::{Intake, Outcome},
    marks::{Mark, Pos},
};

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
        out
    }

    /// Reads a body; none where it is too short.
    pub fn decode(body: &[u8]) -> Option<Self> {
        let mut bytes: [u8; COMMIT_BODY_BYTES] = body.get(..COMMIT_BODY_BYTES)?.try_into().ok()?;
        let mut r = Words { bytes: &mut bytes, at: 0 };
        Some(Self {
            durable: r.get_mark(),
            safe: r.get_mark(),
            intake: r.get_intake(),
            outcome: r.get_outcome(),
            boot_id: r.get_raw(),
            from: Pos(r.get_u64()),
        })
    }
}
