//! The body of a commit.

use super::words::Words;
use crate::ring::{
    consumers::{Consumers, MAX_CONSUMERS},
    ledger::Intake,
    marks::{Mark, Pos},
};

/// Bytes of a commit's body before the books of its consumers, their number included.
const FIXED_BYTES: usize = 128;
/// Bytes of one consumer's books.
const CONSUMER_BYTES: usize = 72;
/// Bytes of the longest body.
const MOST_BYTES: usize = FIXED_BYTES + MAX_CONSUMERS * CONSUMER_BYTES;
/// Bytes of a body in format 1, which lacked the ring's own data.
const BODY_1_BYTES: usize = 144;
/// Bytes of a body in format 2.
const BODY_2_BYTES: usize = 176;

/// What a commit says of its body, in the place where other records count their rows: its version and how many consumers it tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitForm {
    /// Written by format 1.
    First,
    /// Written by format 2.
    Second,
    /// Written by format 3, with the books of so many consumers.
    Third(usize),
}

impl CommitForm {
    /// The form that a commit's `rows` stand for, if any.
    #[must_use]
    pub fn of(rows: u16) -> Option<Self> {
        let [version, consumers] = rows.to_le_bytes();
        let consumers = usize::from(consumers);
        match version {
            0 if consumers == 0 => Some(Self::First),
            1 if consumers == 0 => Some(Self::Second),
            2 if consumers <= MAX_CONSUMERS => Some(Self::Third(consumers)),
            _ => None,
        }
    }

    /// What stands in the place of `rows`.
    #[must_use]
    pub fn rows(self) -> u16 {
        match self {
            Self::First => 0,
            Self::Second => 1,
            Self::Third(consumers) => u16::from_le_bytes([2, consumers as u8]),
        }
    }

    /// Bytes of the body that mean something; what follows fills the sector.
    #[must_use]
    pub fn body_bytes(self) -> usize {
        match self {
            Self::First => BODY_1_BYTES,
            Self::Second => BODY_2_BYTES,
            Self::Third(consumers) => FIXED_BYTES + consumers * CONSUMER_BYTES,
        }
    }
}

/// Body of a commit: what is known when it is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Commit {
    /// Durable at sealing: everything before it had been synced.
    pub durable: Mark,
    /// Messages and rows in the log up to here.
    pub intake: Intake,
    /// Where each consumer is.
    pub consumers: Consumers,
    /// The boot in which the commit's records were received.
    pub boot_id: [u8; 16],
    /// Where the commit's first record lies.
    pub from: Pos,
    /// What a header would say; none in a commit of format 1.
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
    /// The form in which it is written.
    #[must_use]
    pub fn form(&self) -> CommitForm {
        CommitForm::Third(self.consumers.all().len())
    }

    /// The body's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; self.form().body_bytes()];
        let mut w = Words { bytes: &mut out, at: 0 };
        w.mark(self.durable);
        w.intake(&self.intake);
        w.raw(&self.boot_id);
        w.u64(self.from.0);
        let ring = self.ring.unwrap_or_default();
        w.u64(ring.ring_id);
        w.u64(ring.capacity);
        w.mark(ring.tail);
        w.consumers(&self.consumers);
        out
    }

    /// Reads a body whose commit has these `rows`; none where it is too short or of no form that there is.
    pub fn decode(rows: u16, body: &[u8]) -> Option<Self> {
        let form = CommitForm::of(rows)?;
        let mut bytes = [0; MOST_BYTES];
        let length = form.body_bytes();
        bytes[..length].copy_from_slice(body.get(..length)?);
        let mut r = Words { bytes: &mut bytes, at: 0 };
        match form {
            CommitForm::First | CommitForm::Second => Some(Self::get_older(&mut r, form)),
            CommitForm::Third(consumers) => {
                Self::get(&mut r).filter(|commit| commit.consumers.all().len() == consumers)
            }
        }
    }

    fn get(r: &mut Words<'_>) -> Option<Self> {
        Some(Self {
            durable: r.get_mark(),
            intake: r.get_intake(),
            boot_id: r.get_raw(),
            from: Pos(r.get_u64()),
            ring: Some(RingFacts { ring_id: r.get_u64(), capacity: r.get_u64(), tail: r.get_mark() }),
            consumers: r.get_consumers()?,
        })
    }

    fn get_older(r: &mut Words<'_>, form: CommitForm) -> Self {
        let durable = r.get_mark();
        let safe = r.get_mark();
        let intake = r.get_intake();
        let consumers = Consumers::questdb(safe, r.get_outcome());
        let (boot_id, from) = (r.get_raw(), Pos(r.get_u64()));
        let facts = |r: &mut Words<'_>| RingFacts { ring_id: r.get_u64(), capacity: r.get_u64(), tail: r.get_mark() };
        let ring = (form == CommitForm::Second).then(|| facts(r));
        Self { durable, intake, consumers, boot_id, from, ring }
    }
}
