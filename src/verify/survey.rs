//! A first walk through the ring: where to begin, what is settled, and whether the ledger counts what is there.

use std::io;

use crate::{
    clock::boot_id,
    marks::{Mark, Seq},
    ring::{
        Kind, Ledger,
        held::Held,
        inspect::{RingFile, Seen, Walk},
        layout::{Commit, Header},
    },
    since::Cutoff,
};

/// What the walk found.
pub struct Survey {
    /// The first record received since the time asked for; none when there is none.
    pub start: Option<Mark>,
    /// Everything before this record is settled.
    pub settled: Seq,
    /// The ledger of the newest commit.
    pub ledger: Ledger,
    /// What is wrong with it.
    pub fault: Option<String>,
}

/// Walks from the tail to the head.
pub fn survey(file: &RingFile, since: Option<Cutoff>) -> io::Result<Survey> {
    let header = *file.header();
    let mut walk = file.walk();
    let in_this_boot = header.boot_id == boot_id();
    let (mut start, mut last): (Option<Mark>, Option<(Commit, Mark, u64)>) = (None, None);
    let mut held = Held::default();
    while let Some(seen) = walk.next()? {
        match seen {
            Seen::Frame { commit: Some(commit), end, .. } => last = Some((*commit, end, held.rows())),
            Seen::Data(head, record) => {
                record.tell(&mut held);
                let this_run = in_this_boot && head.generation == header.generation;
                if start.is_none() && since.is_none_or(|since| since.is_before(record.received, this_run)) {
                    start = Some(record.mark);
                }
            }
            _ => {}
        }
    }
    // The header may have been written later, as by a clean stop.
    let header = *walk.header();
    let (mut intake, mut outcome, mut counted) = (header.intake, header.consumers.outcome(), None);
    if let Some((commit, end, held)) = last {
        intake = intake.latest(commit.intake);
        counted =
            count(file, walk.header(), commit.consumers.outcome().settled, end)?.map(|rows| (rows + held, commit));
        let newest = (outcome.settled, outcome.rows());
        if (commit.consumers.outcome().settled, commit.consumers.outcome().rows()) > newest {
            outcome = commit.consumers.outcome();
        }
    }
    let fault = counted.and_then(|(rows, commit)| {
        let pending = commit.intake.rows.saturating_sub(commit.consumers.outcome().rows());
        let text = || {
            format!(
                "the newest commit says that {pending} rows wait behind record {}, and {rows} are there",
                commit.consumers.outcome().settled.seq
            )
        };
        (rows != pending).then(text)
    });
    Ok(Survey { start, settled: outcome.settled.seq, ledger: Ledger::of(&intake, &outcome), fault })
}

/// Rows from one place to another; none where some of it cannot be read.
fn count(file: &RingFile, header: &Header, from: Mark, to: Mark) -> io::Result<Option<u64>> {
    if from < header.tail {
        return Ok(None);
    }
    let mut walk = Walk::from(file.media(), header, from).upto(to.pos);
    let mut rows = 0;
    while let Some(seen) = walk.next()? {
        match seen {
            Seen::Data(_, record) if record.kind == Kind::Rows => rows += u64::from(record.rows),
            Seen::Data(..) | Seen::Frame { .. } => {}
            Seen::Damaged(_) | Seen::Overtaken { .. } => return Ok(None),
        }
    }
    Ok((walk.place().pos >= to.pos).then_some(rows))
}
