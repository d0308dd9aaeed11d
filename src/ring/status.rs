//! The ring as `status` shows it.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Ring, Seq, layout::DATA_START, state::States};
use crate::{
    observe::histogram::{Distribution, Quantiles},
    settings::{Durability, OnFull},
    sync::lock,
    tally::SourceCounts,
};

/// State of the ring.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RingStatus {
    /// The file.
    pub path: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Bytes between tail and head: history and what waits.
    pub used_bytes: u64,
    /// Bytes between the settled watermark and the head: what waits for QuestDB.
    pub pending_bytes: u64,
    /// Share of the ring taken by what may not be overwritten yet (from `safe`, or the oldest held
    /// rows, to the head), 0 to 1.
    pub fill: f64,
    /// Last record whose space is free again; history begins behind it.
    pub tail: Seq,
    /// Last record settled at least `resend_window` ago.
    pub safe: Seq,
    /// Last record before which everything is stored, quarantined or dropped.
    pub settled: Seq,
    /// Last durable record.
    pub durable: Seq,
    /// Last record appended.
    pub appended: Seq,
    /// What an acknowledgement waits for.
    pub durability: Durability,
    /// In words: `durable` or `appended`.
    pub acks_wait_for: &'static str,
    /// What happens when the ring is full.
    pub on_full: OnFull,
    /// Rows that wait for their time to be known; they count as pending, and nothing else waits for
    /// them.
    pub held_rows: u64,
    /// Whether an append is waiting for room.
    pub full: bool,
    /// Commits synced since start, and how long each took from sealing to the end of its sync, in microseconds.
    pub commit_us: Quantiles,
    /// The same, for the metrics page.
    #[serde(skip)]
    pub commit: Distribution,
    /// Rows dropped since start, by table.
    pub dropped_by_table: Vec<(String, u64)>,
    /// Messages turned away since the ring was created, with all that was in them (`drop-newest`).
    pub refused_messages: u64,
    /// Messages that could not become rows, and were given up with the oldest rows since start: the
    /// quarantine did not take them.
    pub dropped_letters: u64,
    /// What is counted by source since the ring was created, beside the ledger. What no source took has an empty name.
    pub counted: Vec<SourceCounts>,
    /// Damaged stretches found at start: first and last lost record of each.
    pub gaps: Vec<(Seq, Seq)>,
    /// Why nothing is taken in or acknowledged until somebody has mended it, if that is so.
    pub halted: Option<String>,
    /// Why the ring has failed, if it has.
    pub poisoned: Option<String>,
}

impl Ring {
    /// Whether there is no room for what comes in.
    pub fn is_full(&self) -> bool {
        self.shared.log.starved()
    }

    /// The ring's state.
    pub fn status(&self) -> RingStatus {
        let shared = &self.shared;
        let marks = self.marks();
        let capacity = shared.log.geometry().capacity;
        let (dropped_by_table, dropped_letters) = {
            let settlement = lock(&shared.settlement);
            (settlement.dropped_by_table(), settlement.dropped_letters())
        };
        let last = |mark: super::Mark| Seq(mark.seq.0.saturating_sub(1));
        RingStatus {
            path: shared.settings.path.display().to_string(),
            size_bytes: DATA_START + capacity,
            used_bytes: marks.appended.pos.0 - marks.tail.pos.0,
            pending_bytes: marks.appended.pos.0.saturating_sub(marks.settled.pos.0),
            fill: marks.appended.pos.0.saturating_sub(shared.log.not_held(marks.safe.pos).0) as f64 / capacity as f64,
            tail: last(marks.tail),
            safe: last(marks.safe),
            settled: last(marks.settled),
            durable: last(marks.durable),
            appended: last(marks.appended),
            durability: shared.settings.durability,
            acks_wait_for: match shared.settings.durability {
                Durability::Commit => "durable",
                Durability::Interval | Durability::Memory => "appended",
            },
            on_full: shared.settings.on_full,
            held_rows: self.held_rows(),
            full: shared.log.starved(),
            commit_us: shared.commit_micros.quantiles(),
            commit: shared.commit_micros.distribution(),
            dropped_by_table,
            refused_messages: shared.log.intake().refused_messages,
            dropped_letters,
            counted: self.with_states(States::source_counts),
            gaps: shared.log.gaps().iter().map(|(from, to)| (from.seq, Seq(to.seq.0.saturating_sub(1)))).collect(),
            halted: shared.log.halted(),
            poisoned: shared.log.poisoned(),
        }
    }
}
