//! Fixed fields, one after the other, little-endian.

use crate::ring::{
    consumers::{Consumer, ConsumerId, Consumers, MAX_CONSUMERS},
    ledger::{Intake, Outcome},
    marks::{Mark, Pos, Seq},
};

#[inline]
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[inline]
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Writes and reads the fixed fields of headers and commits one after the other.
pub(super) struct Words<'a> {
    pub bytes: &'a mut [u8],
    pub at: usize,
}

impl Words<'_> {
    pub fn raw(&mut self, value: &[u8]) {
        self.bytes[self.at..self.at + value.len()].copy_from_slice(value);
        self.at += value.len();
    }

    pub fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    pub fn mark(&mut self, mark: Mark) {
        self.u64(mark.pos.0);
        self.u64(mark.seq.0);
    }

    pub fn intake(&mut self, i: &Intake) {
        for value in [i.messages, i.dead_letters, i.clears, i.rows, i.refused_messages, i.refused_rows] {
            self.u64(value);
        }
    }

    /// How many consumers there are, then the books of each.
    pub fn consumers(&mut self, consumers: &Consumers) {
        self.u64(consumers.all().len() as u64);
        for Consumer { id, safe, outcome } in consumers.all() {
            self.u64(u64::from(id.0));
            self.mark(*safe);
            self.mark(outcome.settled);
            for value in [outcome.stored, outcome.quarantined, outcome.dropped, outcome.coalesced] {
                self.u64(value);
            }
        }
    }

    pub fn get_raw<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&self.bytes[self.at..self.at + N]);
        self.at += N;
        out
    }

    pub fn get_u64(&mut self) -> u64 {
        u64::from_le_bytes(self.get_raw())
    }

    pub fn get_mark(&mut self) -> Mark {
        Mark { pos: Pos(self.get_u64()), seq: Seq(self.get_u64()) }
    }

    pub fn get_intake(&mut self) -> Intake {
        Intake {
            messages: self.get_u64(),
            dead_letters: self.get_u64(),
            clears: self.get_u64(),
            rows: self.get_u64(),
            refused_messages: self.get_u64(),
            refused_rows: self.get_u64(),
        }
    }

    /// The outcome as formats 1 and 2 wrote it.
    pub fn get_outcome(&mut self) -> Outcome {
        Outcome {
            settled: self.get_mark(),
            stored: self.get_u64(),
            quarantined: self.get_u64(),
            dropped: self.get_u64(),
            coalesced: 0,
        }
    }

    /// The books of all consumers; none where there are more than fit.
    pub fn get_consumers(&mut self) -> Option<Consumers> {
        let count = usize::try_from(self.get_u64()).ok().filter(|count| *count <= MAX_CONSUMERS)?;
        let mut consumers = Consumers::default();
        for _ in 0..count {
            let id = ConsumerId(u16::try_from(self.get_u64()).ok()?);
            let safe = self.get_mark();
            let outcome = self.get_outcome();
            let outcome = Outcome { coalesced: self.get_u64(), ..outcome };
            consumers.put(Consumer { id, safe, outcome });
        }
        Some(consumers)
    }
}
