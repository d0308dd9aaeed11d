//! What the ring should hold, kept plainly: every record, what became of it, and how far each promise went.

use std::{collections::BTreeSet, sync::Weak};

use super::super::{
    layout::Kind,
    ledger::{Intake, Outcome},
    log::Log,
    marks::Seq,
};

/// One record.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Hash of its table.
    pub table_hash: u32,
    /// Rows it counts.
    pub rows: u16,
    /// Whether it ends its message.
    pub last: bool,
    /// Its bytes.
    pub body: Vec<u8>,
    /// Bytes of the file it takes: position and length, with header and padding. Known once it is appended.
    pub place: (u64, u64),
    /// Counts of the log behind it.
    pub intake: Intake,
    /// Rows of it that are in quarantine.
    pub set_aside: u32,
    /// Whether it was given up by policy.
    pub dropped: bool,
}

/// A commit that was sealed.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// Where its first record lies.
    pub from: u64,
    /// Where it ends.
    pub to: u64,
    /// What it says was durable before it.
    pub vouches: u64,
}

/// The model. Record `n` is `entries[n - 1]`.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Every record since the ring was made.
    pub entries: Vec<Entry>,
    /// Commits, oldest first.
    pub groups: Vec<Group>,
    /// Last record acknowledged before the present life.
    pub acked: Seq,
    /// The log of the present life, which knows what it acknowledges.
    pub log: Weak<Log>,
    /// The furthest the tail was asked to go.
    pub tail: Seq,
    /// First record without a fate, as the lanes have said.
    pub settled: Seq,
    /// First record that may not count as safe.
    pub safe: Seq,
    /// Rows of each message refused at the door since the ring was made.
    pub refused: Vec<u64>,
    /// How many of them were acknowledged before the present life.
    pub refused_acked: u64,
    /// Messages and rows refused in all lives, those that were forgotten before they were acknowledged included.
    pub refused_ever: (u64, u64),
    /// Records that a sync lied about: they may be missing, or read as what was there before.
    pub lied: BTreeSet<Seq>,
}

impl Model {
    /// Record `seq`.
    pub fn entry(&self, seq: Seq) -> Option<&Entry> {
        self.entries.get((seq.0 as usize).checked_sub(1)?)
    }

    /// The number of the next record.
    pub fn next(&self) -> Seq {
        Seq(self.entries.len() as u64 + 1)
    }

    /// Last record that must survive.
    pub fn acked(&self) -> Seq {
        let now = self.log.upgrade().map_or(Seq(0), |log| Seq(log.durable().seq.0 - 1));
        self.acked.max(now)
    }

    /// How many refused messages are acknowledged, and so must stay counted.
    pub fn refused_acked(&self) -> u64 {
        let now = self.log.upgrade().map_or(0, |log| log.ackable().refused);
        self.refused_acked.max(now)
    }

    /// Counts of the log before record `seq`.
    pub fn intake_before(&self, seq: Seq) -> Intake {
        self.entry(Seq(seq.0 - 1)).map(|entry| entry.intake).unwrap_or_default()
    }

    /// Rows stored, quarantined and dropped before record `seq`.
    pub fn outcome_before(&self, seq: Seq) -> Outcome {
        let mut outcome = Outcome::default();
        for entry in self.entries.iter().take(seq.0 as usize - 1).filter(|entry| entry.kind == Kind::Rows) {
            let rows = u64::from(entry.rows);
            let set_aside = u64::from(entry.set_aside).min(rows);
            outcome.quarantined += set_aside;
            *if entry.dropped { &mut outcome.dropped } else { &mut outcome.stored } += rows - set_aside;
        }
        outcome
    }

    /// Appends a message of these parts, not yet known to be in the log.
    pub fn push(&mut self, parts: Vec<(Kind, u32, u16, Vec<u8>)>) {
        let count = parts.len();
        for (number, (kind, table_hash, rows, body)) in parts.into_iter().enumerate() {
            let mut intake = self.intake_before(self.next());
            let last = number + 1 == count;
            intake.count(kind, rows, last);
            self.entries.push(Entry {
                kind,
                table_hash,
                rows,
                last,
                body,
                place: (0, 0),
                intake,
                set_aside: 0,
                dropped: false,
            });
        }
    }

    /// Takes over what a recovery has found, once it is checked: records from `head` on were never acknowledged and are gone, so are refusals
    /// beyond those counted, and what has no fate on disk has none.
    pub fn continue_from(&mut self, head: Seq, head_pos: u64, outcome: Outcome, refused: u64) {
        self.refused.truncate(refused as usize);
        self.refused_acked = refused;
        self.entries.truncate(head.0 as usize - 1);
        self.groups.retain(|group| group.to <= head_pos);
        self.acked = Seq(head.0 - 1);
        self.settled = outcome.settled.seq;
        self.safe = self.safe.min(self.settled);
        for entry in self.entries.iter_mut().skip(outcome.settled.seq.0 as usize - 1) {
            // The quarantine is a file of its own: what is in it stays.
            entry.dropped = false;
        }
        self.lied.clear();
    }
}
