//! Records of another log of the same ring, written into this one as they are but for their place:
//! what a ring of another size is made of.

use std::io;

use super::{Extension, Log, RecordHeader};
use crate::{
    marks::{Mark, Seq},
    ring::{
        layout::{EXTENSION_BYTES, SECTOR_BYTES},
        ledger::Intake,
        state::States,
    },
    sync::lock,
};

impl Log {
    /// Appends a record of another log. Nobody else may append meanwhile.
    pub(in crate::ring) fn copy(&self, header: &RecordHeader, behind_header: &[u8]) -> io::Result<()> {
        let mut head = lock(&self.head);
        let bytes = header.total();
        if head.states.is_pending() {
            self.write_state(&mut head)?;
        }
        if header.seq != head.at.seq || !self.admits(self.geometry.place(head.at.pos.0, bytes) + bytes) {
            return Err(io::Error::other(format!("record {} does not fit", header.seq)));
        }
        let (extension, body) = match behind_header.split_first_chunk::<EXTENSION_BYTES>() {
            Some((extension, body)) if header.extended => (Extension::decode(*extension), body),
            _ => (Extension::default(), behind_header),
        };
        let header = RecordHeader { generation: self.generation, ..*header };
        self.write_record(&mut head, &header, extension, body, bytes)?;
        head.at.seq.0 += 1;
        if !header.releases {
            head.intake.count(header.kind, header.rows, header.last);
        }
        Ok(())
    }

    /// Goes on with a later record behind a sector of zeros: those in between are lost in the other
    /// log, and a start is to find the same.
    pub(in crate::ring) fn leave_gap(&self, upto: Seq) {
        let mut head = lock(&self.head);
        let pos = self.geometry.place(head.at.pos.0, SECTOR_BYTES) + SECTOR_BYTES;
        head.at = Mark { pos: crate::marks::Pos(pos), seq: upto };
    }

    /// Takes over, at the end, what the other log counts in all.
    pub(in crate::ring) fn end_copy(&self, intake: Intake, states: &States) {
        let mut head = lock(&self.head);
        head.intake = intake;
        head.states.take_counts(states);
        // So that there is a last commit with all books, and one before it.
        head.states.touch_all();
    }
}
