//! What the ring should hold, kept plainly: every record, what became of it, and how far each promise went.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Weak,
};

use super::super::{
    layout::Kind,
    ledger::{Intake, Outcome},
    log::Log,
    marks::Seq,
    state::{StateKind, States},
};
use crate::tally::{Counts, SourceId, Tally};

/// Sources that messages come from, and the one that stands for none.
pub const SOURCES: [&str; 2] = ["a", "b"];

/// A part of a message.
#[derive(Debug, Clone)]
pub struct Piece {
    /// What it is.
    pub kind: Kind,
    /// Hash of its table.
    pub table_hash: u32,
    /// Rows it counts.
    pub rows: u16,
    /// What stands in front of its bytes: a boot, or a number.
    pub front: Vec<u8>,
    /// Its bytes.
    pub body: Vec<u8>,
    /// Of rows that were held back: the record that held them.
    pub releases: Option<Seq>,
    /// What it adds to the counts of its source.
    pub tally: Tally,
    /// The same, a bit for each counter.
    pub bits: u8,
}

/// Something that leaves no data record.
#[derive(Debug, Clone)]
pub enum Note {
    /// A message that is only counted.
    Count(Tally),
    /// An entry of the state that is set or removed.
    Set(Vec<u8>, Option<Vec<u8>>),
}

/// What outlives the tail: the counts of each source that records do not add themselves, and the entries of the state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    pub counts: BTreeMap<SourceId, Counts>,
    pub entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Kept {
    fn take(&mut self, note: &Note) {
        match note {
            Note::Count(tally) => self.counts.entry(tally.source).or_default().add(tally.counts),
            Note::Set(key, Some(value)) => drop(self.entries.insert(key.clone(), value.clone())),
            Note::Set(key, None) => drop(self.entries.remove(key)),
        }
    }

    /// All counts by source, and the entries of the kind that is tried.
    pub fn of(states: &States) -> Self {
        let counts = states.sources().filter(|(.., counts)| !counts.is_zero()).map(|(id, _, counts)| (id, counts));
        let entries = states.all(StateKind::FILTER).map(|(key, value)| (key.to_vec(), value.to_vec()));
        Self { counts: counts.collect(), entries: entries.collect() }
    }
}

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
    /// What it adds to the counts of its source.
    pub tally: Tally,
    /// Of rows that were held back: the record that held them.
    pub releases: Option<Seq>,
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
    /// What outlived the tail when the present life began, without what records add.
    pub kept: Kept,
    /// What came since, with its number; it must survive once that is acknowledged.
    pub notes: Vec<(u64, Note)>,
    /// Notes acknowledged in a life that has ended.
    pub notes_acked: u64,
    /// Records that a sync lied about: they may be missing, or read as what was there before.
    pub lied: BTreeSet<Seq>,
    /// Whether a sync lied at all: about records, or about state alone.
    pub has_lied: bool,
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

    /// Up to which number notes are acknowledged.
    pub fn notes_acked(&self) -> u64 {
        let now = self.log.upgrade().map_or(0, |log| log.ackable().notes);
        self.notes_acked.max(now)
    }

    /// Every state that the counts and the entries may be found in: what is acknowledged is in, and of what came later a beginning.
    pub fn may_be_kept(&self, head: Seq) -> (Vec<Kept>, Vec<Kept>) {
        let mut kept = self.kept.clone();
        for entry in self.entries.iter().take(head.0 as usize - 1).filter(|entry| !entry.tally.counts.is_zero()) {
            kept.counts.entry(entry.tally.source).or_default().add(entry.tally.counts);
        }
        let acked = self.notes_acked();
        let beginnings = |wanted: fn(&Note) -> bool| {
            let mut now = kept.clone();
            let mut all = Vec::new();
            for (number, note) in self.notes.iter().filter(|(_, note)| wanted(note)) {
                if *number > acked {
                    all.push(now.clone());
                }
                now.take(note);
            }
            all.push(now);
            all
        };
        (beginnings(|note| matches!(note, Note::Count(_))), beginnings(|note| matches!(note, Note::Set(..))))
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

    /// Rows held before record `seq` that no record before it releases, as the first number and the
    /// rows of each record.
    pub fn held_before(&self, seq: Seq) -> Vec<(Seq, u64)> {
        let before = || self.entries.iter().zip(1..seq.0);
        let released = before().filter_map(|(entry, _)| entry.releases).max().unwrap_or_default();
        let held = before().filter(|(entry, number)| entry.kind == Kind::Held && *number > released.0);
        held.map(|(entry, number)| (Seq(number), u64::from(entry.rows))).collect()
    }

    /// Appends a message of these parts, not yet known to be in the log.
    pub fn push(&mut self, parts: Vec<Piece>) {
        let count = parts.len();
        for (number, Piece { kind, table_hash, rows, body, releases, tally, .. }) in parts.into_iter().enumerate() {
            let mut intake = self.intake_before(self.next());
            let last = number + 1 == count;
            if releases.is_none() {
                intake.count(kind, rows, last);
            }
            self.entries.push(Entry {
                kind,
                table_hash,
                rows,
                last,
                body,
                place: (0, 0),
                tally,
                releases,
                intake,
                set_aside: 0,
                dropped: false,
            });
        }
    }

    /// Takes over what a recovery has found, once it is checked: records from `head` on were never acknowledged and are gone, so are refusals
    /// beyond those counted, and what has no fate on disk has none.
    pub fn continue_from(&mut self, head: Seq, head_pos: u64, outcome: Outcome, refused: u64, found: Kept) {
        self.kept = found;
        for entry in self.entries.iter().take(head.0 as usize - 1).filter(|entry| !entry.tally.counts.is_zero()) {
            let counts = self.kept.counts.entry(entry.tally.source).or_default();
            let without = counts.to_array().into_iter().zip(entry.tally.counts.to_array()).map(|(sum, one)| sum - one);
            let mut left = [0; 6];
            left.iter_mut().zip(without).for_each(|(left, count)| *left = count);
            *counts = Counts::from_array(left);
        }
        (self.notes, self.notes_acked) = (Vec::new(), 0);
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
        self.has_lied = false;
    }
}
