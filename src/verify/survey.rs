//! A first walk through the ring: where to begin, what is settled, and whether the ledger counts what is there.

use crate::{
    clock::boot_id,
    ring::{
        Kind, Ledger, Mark, Seq,
        history::{History, HistoryError, Step},
        layout::Commit,
        ledger::Intake,
        media::Media,
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
pub fn survey<M: Media>(history: &mut History<M>, since: Option<Cutoff>) -> Result<Survey, HistoryError> {
    let header = *history.header();
    let in_this_boot = header.boot_id == boot_id();
    let (mut start, mut last): (Option<Mark>, Option<(Commit, Mark)>) = (None, None);
    loop {
        match history.step()? {
            Step::End => break,
            Step::Commit(commit, end) => last = Some((commit, end)),
            Step::Record(record, generation) if start.is_none() => {
                let this_run = in_this_boot && generation == header.generation;
                if since.is_none_or(|since| since.is_before(record.received, this_run)) {
                    start = Some(record.mark);
                }
            }
            _ => {}
        }
    }
    // The header may have been written later, as by a clean stop.
    let header = *history.header();
    let (mut intake, mut outcome, mut counted) = (header.intake, header.outcome, None);
    if let Some((commit, end)) = last {
        let refused = Intake {
            refused_messages: header.intake.refused_messages,
            refused_rows: header.intake.refused_rows,
            ..Intake::default()
        };
        intake = commit.intake.latest(refused);
        counted = count(history, commit.outcome.settled, end)?.map(|rows| (rows, commit));
        let newest = (outcome.settled, outcome.rows());
        if (commit.outcome.settled, commit.outcome.rows()) > newest {
            outcome = commit.outcome;
        }
    }
    let fault = counted.and_then(|(rows, commit)| {
        let pending = commit.intake.rows.saturating_sub(commit.outcome.rows());
        let text = || {
            format!(
                "the newest commit says that {pending} rows wait behind record {}, and {rows} are there",
                commit.outcome.settled.seq
            )
        };
        (rows != pending).then(text)
    });
    Ok(Survey { start, settled: outcome.settled.seq, ledger: Ledger::of(&intake, &outcome), fault })
}

/// Rows from one place to another; none where some of it cannot be read.
fn count<M: Media>(history: &mut History<M>, from: Mark, to: Mark) -> Result<Option<u64>, HistoryError> {
    if from < history.header().tail {
        return Ok(None);
    }
    history.seek(from);
    let mut rows = 0;
    while history.mark().pos < to.pos {
        match history.step()? {
            Step::Record(record, _) if record.kind == Kind::Rows => rows += u64::from(record.rows),
            Step::Record(..) | Step::Commit(..) => {}
            Step::Damaged(..) | Step::Overtaken(..) | Step::End => return Ok(None),
        }
    }
    Ok(Some(rows))
}
