//! Sending stored rows again out of the ring's history, because somebody asks.
//!
//! A replay is a rewind like any other: the cursor goes back and runs through to the end, so that a row corrected meanwhile keeps its
//! correction. It may be of some tables only, and more than one asked for become one, from the place that is further back. What QuestDB
//! acknowledges is not synced yet: a replay is kept in mind for a resend window after its end, and begun anew when the server restarts
//! before that.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::{IntoParams, ToSchema};

use super::{Flusher, course::Course, exceptions::Id, lane::Lane, status::ReplayStatus};
use crate::{
    lanes::Lanes,
    marks::{Mark, Pos, Seq},
    names,
    point::Timestamp,
    ring::{Kind, ReadError, Record, table_hash},
    since::{Cutoff, Since},
    sync::try_lock,
};

/// Most tables a request may name.
pub const MAX_NAMED: usize = 64;

/// What to replay.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReplayAsk {
    /// From the first record received since then.
    #[param(value_type = Option<String>, example = "2026-03-01T12:00:00Z")]
    pub since: Since,
    /// Only this table, or these: at most 64, each a parameter of its own; all where none is named.
    #[param(rename = "table", required = false)]
    pub tables: Vec<String>,
}

/// What goes again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayAnswer {
    /// Number of the request, from 1 since the daemon's start.
    pub number: u64,
    /// First record that goes again.
    pub from: Seq,
    /// When it was received (RFC 3339, UTC), by the wall clock of that time.
    pub received: String,
    /// Whether the ring's history begins there: what was received before is not kept any more.
    pub history_begins: bool,
    /// What goes again, by lane; what has not been sent a first time yet is not counted.
    pub lanes: Vec<ReplayLane>,
    /// Tables without deduplication, as far as known by now: nothing goes there a second time.
    pub left_out: Vec<String>,
}

/// What a lane sends again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct ReplayLane {
    /// The lane.
    pub lane: usize,
    /// Records.
    pub records: u64,
    /// Rows in them; those in quarantine are counted and not sent.
    pub rows: u64,
    /// Bytes they take in the ring.
    pub bytes: u64,
}

/// Why there is no replay.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// Nothing was received since.
    #[error("the ring holds nothing received since then{}", newest(*.0))]
    Nothing(Option<Timestamp>),
    /// The start of another one is being looked for.
    #[error("the start of another replay is being looked for")]
    Busy,
    /// The ring cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

fn newest(received: Option<Timestamp>) -> String {
    received.map(|time| format!("; its newest record was received at {time}")).unwrap_or_default()
}

/// What a lane is to send again.
#[derive(Debug, Clone)]
pub struct Asked {
    number: u64,
    from: Mark,
    course: Course,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    asked: Option<Asked>,
    /// The oldest record that the lane may read again.
    kept: Option<Seq>,
}

/// Requests that the lanes have not followed yet, at most one each.
#[derive(Debug)]
pub struct Requests {
    number: u64,
    /// Where a replay begins that is about to be asked for.
    announced: Option<Seq>,
    lanes: Vec<Slot>,
}

impl Requests {
    /// None for any lane.
    pub fn new(lanes: usize) -> Self {
        Self { number: 0, announced: None, lanes: vec![Slot::default(); lanes] }
    }

    /// Asks lanes to send again from a place on; returns the number of the request.
    pub(super) fn ask(&mut self, from: Mark, course: &Course, lanes: &[ReplayLane]) -> u64 {
        self.number += 1;
        self.announced = None;
        let number = self.number;
        for lane in lanes {
            let Some(slot) = self.lanes.get_mut(lane.lane) else { continue };
            let asked = Asked { number, from, course: course.clone() };
            slot.asked = Some(match slot.asked.take() {
                Some(earlier) => earlier.and(asked),
                None => asked,
            });
        }
        number
    }

    /// Whether a lane has something to follow.
    pub fn is_asked(&self, lane: usize) -> bool {
        self.lanes[lane].asked.is_some()
    }

    /// Takes what a lane is to follow; its records are kept in mind from here on.
    pub fn take(&mut self, lane: usize) -> Option<Asked> {
        let slot = &mut self.lanes[lane];
        let asked = slot.asked.take()?;
        slot.kept = Some(slot.kept.map_or(asked.from.seq, |kept| kept.min(asked.from.seq)));
        Some(asked)
    }

    /// Takes note of the oldest record that a lane may read again.
    pub fn keep(&mut self, lane: usize, kept: Option<Seq>) {
        self.lanes[lane].kept = kept;
    }

    /// The oldest record that some lane may read again.
    pub fn lowest_kept(&self) -> Seq {
        let asked = self.lanes.iter().filter_map(|slot| slot.asked.as_ref().map(|asked| asked.from.seq));
        let kept = self.lanes.iter().filter_map(|slot| slot.kept);
        asked.chain(kept).chain(self.announced).min().unwrap_or(Seq(u64::MAX))
    }
}

impl Asked {
    /// Both of them, as one.
    fn and(self, other: Self) -> Self {
        let (mut first, second) = if self.from <= other.from { (self, other) } else { (other, self) };
        first.course.take_in(first.from.pos, &second.course);
        first.number = first.number.max(second.number);
        first
    }
}

/// A replay of a lane.
#[derive(Debug)]
pub(super) struct Replay {
    asked: Asked,
    /// What goes again should the server restart: this one, and those before it whose rows it may still lose.
    unsafe_yet: Asked,
    /// Where the lane had been.
    until: Mark,
    /// What is durable before this goes before another replay begins: however often one is asked for, new rows get through.
    then_upto: Pos,
    /// When it was through, since boot.
    through: Option<Duration>,
}

impl Lane {
    /// Whether a replay is asked for, and none under way.
    pub(super) fn replay_is_due(&self) -> bool {
        let cursor = self.reader.mark().pos;
        let is_free = self.replay.as_ref().is_none_or(|replay| replay.through.is_some() && cursor >= replay.then_upto);
        is_free && self.shared.replay_is_asked(self.number)
    }

    /// Goes back when a replay is asked for.
    pub(super) fn follow_replay(&mut self) {
        if !self.replay_is_due() {
            return;
        }
        let Some(asked) = self.shared.take_replay(self.number) else { return };
        tracing::info!(lane = self.number, from = %asked.from.seq, until = %self.high.seq, "replaying");
        self.encoder.schema.forget();
        let unsafe_yet = match self.replay.take() {
            Some(earlier) => earlier.unsafe_yet.and(asked.clone()),
            None => asked.clone(),
        };
        // Whoever asks for old rows wants them, also in a table that was made again.
        self.reborn.lift(|hash| !asked.course.skips(asked.from.pos, hash));
        let begun = asked.clone();
        self.replay = Some(Replay { asked, unsafe_yet, until: self.high, then_upto: self.durable(), through: None });
        self.send_again(&begun);
    }

    /// Goes back to the start of what was replayed, which the server may have lost with its restart.
    pub(super) fn begin_replay_anew(&mut self) {
        let Some(replay) = &mut self.replay else { return };
        replay.through = None;
        let asked = replay.unsafe_yet.clone();
        self.send_again(&asked);
    }

    fn send_again(&mut self, asked: &Asked) {
        self.go_back(asked.from.max(self.encoder.ring.marks().tail), &asked.course);
        self.note_replayed(self.reader.mark());
    }

    /// Takes note that everything up to a place has gone again.
    pub(super) fn note_replayed(&mut self, upto: Mark) {
        let Some(replay) = &mut self.replay else { return };
        if replay.through.is_none() && upto >= replay.until {
            replay.through = Some(self.encoder.clock.since_boot());
            tracing::info!(lane = self.number, until = %replay.until.seq, "the replay is through");
        }
        let status = ReplayStatus {
            number: replay.asked.number,
            from: replay.asked.from.seq,
            at: upto.seq.min(replay.until.seq),
            until: replay.until.seq,
            through: replay.through.is_some(),
        };
        self.shared.report(self.number, |report| report.status.replay = Some(status));
    }

    /// Forgets a replay whose rows are safe in the database.
    pub(super) fn forget_replay(&mut self) {
        let safe_at = self.replay.as_ref().and_then(|replay| replay.through).map(|time| time + self.resend_window);
        // A restart that another lane has found comes first: the word after it is the new server's.
        let is_safe = safe_at.is_some_and(|time| self.shared.is_kept_since(time));
        if is_safe && self.shared.rewinds_asked() == self.rewinds_seen {
            self.replay = None;
        }
    }

    /// The oldest record that may be read again: in a run that is not through, for a replay, or for a request without an answer.
    pub(super) fn kept(&self) -> Option<Seq> {
        let late = self.again.into_iter().chain(self.late.from()).chain(self.unconfirmed.from()).map(|from| from.seq);
        let replay = self.replay.as_ref().map(|replay| replay.unsafe_yet.from.seq);
        late.chain(replay).min()
    }
}

impl Flusher {
    /// Has stored rows sent again. Reads the headers of the ring's records, so it may block for a while.
    pub fn replay(&self, ask: &ReplayAsk) -> Result<ReplayAnswer, ReplayError> {
        let _turn = try_lock(&self.looking).ok_or(ReplayError::Busy)?;
        let tables = &ask.tables[..ask.tables.len().min(MAX_NAMED)];
        let hashes: Vec<u32> = tables.iter().map(|table| table_hash(table)).collect();
        let search = Search { cutoff: ask.since.on(self.clock.now()), hashes: &hashes, lanes: self.shared.lanes() };
        let found = search.run(self)?;
        self.remember_quarantined(found.from.seq);
        let course = if hashes.is_empty() { Course::all(found.from.pos) } else { Course::only(hashes.iter().copied()) };
        let number = self.shared.replays().ask(found.from, &course, &found.lanes);
        self.ring.wake_all();
        let named = |table: &String| tables.is_empty() || tables.iter().any(|named| names::same(named, table));
        let mut left_out: Vec<_> = self.shared.reports().into_iter().flat_map(|report| report.at_least_once).collect();
        left_out.retain(named);
        left_out.sort_unstable();
        left_out.dedup();
        tracing::info!(number, from = %found.from.seq, received = %found.received, ?tables, "a replay was asked for");
        Ok(ReplayAnswer {
            number,
            from: found.from.seq,
            received: found.received.to_string(),
            history_begins: found.history_begins,
            lanes: found.lanes,
            left_out,
        })
    }

    /// Has the lanes know again which rows from `seq` on are in quarantine.
    fn remember_quarantined(&self, seq: Seq) {
        // From now on no lane forgets them.
        self.shared.replays().announced = Some(seq);
        let ring_id = self.ring.id();
        let read = self.quarantine.snapshot().and_then(|snapshot| {
            snapshot.each(&mut |entry| {
                if entry.key.ring_id == ring_id && entry.key.seq >= seq {
                    self.exceptions.insert(Id { seq: entry.key.seq, received: entry.received }, entry.key.row);
                }
            })
        });
        if let Err(error) = read {
            // Rows that are refused a second time are set aside a second time: a nuisance, and no loss.
            tracing::warn!(%error, "the quarantine cannot be read: rows in it may be sent again");
        }
    }
}

struct Search<'a> {
    cutoff: Cutoff,
    hashes: &'a [u32],
    lanes: Lanes,
}

struct Found {
    from: Mark,
    received: Timestamp,
    history_begins: bool,
    lanes: Vec<ReplayLane>,
}

impl Search<'_> {
    fn run(&self, flusher: &Flusher) -> Result<Found, ReplayError> {
        let marks = flusher.ring.marks();
        let sent: Vec<Pos> = flusher.shared.reports().iter().map(|report| report.sent_upto).collect();
        let mut reader = flusher.ring.reader(marks.tail);
        let (mut found, mut newest, mut history_begins): (Option<Found>, _, _) = (None, None, false);
        loop {
            let record = match reader.next_with(marks.durable.pos, |_, _| false) {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(ReadError::Overtaken { to }) => {
                    reader.seek(to);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if found.is_none() {
                let begins = self.cutoff.is_before(record.received, record.mark.pos >= flusher.run_began.pos);
                // Of record 1 nothing was received before.
                history_begins |= begins && newest.is_none() && record.seq > Seq(1);
                newest = Some(record.received.wall);
                if !begins {
                    continue;
                }
            }
            if !self.wants(&record) {
                continue;
            }
            let found = found.get_or_insert_with(|| Found {
                from: record.mark,
                received: record.received.wall,
                history_begins,
                lanes: self.lanes_of_tables(),
            });
            let lane = self.lanes.of(record.table_hash);
            if sent.get(lane).is_some_and(|upto| record.mark.pos < *upto)
                && let Some(lane) = found.lanes.iter_mut().find(|of| of.lane == lane)
            {
                lane.records += 1;
                lane.rows += u64::from(record.rows);
                lane.bytes += record.end.pos.0 - record.mark.pos.0;
            }
        }
        found.ok_or(ReplayError::Nothing(newest))
    }

    /// Only rows are sent again.
    fn wants(&self, record: &Record<'_>) -> bool {
        record.kind == Kind::Rows && (self.hashes.is_empty() || self.hashes.contains(&record.table_hash))
    }

    fn lanes_of_tables(&self) -> Vec<ReplayLane> {
        let serves =
            |lane: usize| self.hashes.is_empty() || self.hashes.iter().any(|hash| self.lanes.of(*hash) == lane);
        (0..self.lanes.count())
            .filter(|lane| serves(*lane))
            .map(|lane| ReplayLane { lane, ..ReplayLane::default() })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_requests_become_one_from_the_place_further_back() {
        let mark = |n: u64| Mark { pos: Pos(n * 10), seq: Seq(n) };
        for [first, second] in [[20, 10], [10, 20]] {
            let mut requests = Requests::new(1);
            let lane = [ReplayLane::default()];
            requests.ask(mark(first), &Course::all(mark(first).pos), &lane);
            let number = requests.ask(mark(second), &Course::all(mark(second).pos), &lane);
            assert_eq!(requests.lowest_kept(), Seq(10));
            let asked = requests.take(0).unwrap();
            assert_eq!((asked.number, asked.from), (number, mark(10)));
            assert!(!asked.course.skips(mark(10).pos, 1), "all of it");
            assert!(!requests.is_asked(0));
        }
    }
}
