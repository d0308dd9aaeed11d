//! Settlement: which rows have their fate, and what it is. Lanes report how far they are; the ring counts.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};

use super::{
    State,
    consumers::ConsumerId,
    layout::Kind,
    ledger::Outcome,
    log::Log,
    marks::{Mark, Pos, Seq},
    reader::{ReadError, Reader, Record},
    seeded::{Bug, is_on},
    window::ResendWindow,
};
use crate::{lanes::Lanes, names};

/// Records with quarantined rows that are remembered, so that nobody is told "stored" of them.
const MAX_EXCEPTIONS: usize = 100_000;
/// Dropped stretches that are remembered for the same reason.
const MAX_DROPPED_RANGES: usize = 1024;
/// Tables whose dropped rows are counted apart; the rest is counted under [`OTHER_TABLES`].
const MAX_TABLES: usize = 256;
/// Name under which dropped rows of further tables are counted.
pub const OTHER_TABLES: &str = "(other)";

/// A request that a lane is waiting for the answer to, or that follows one.
#[derive(Debug, Clone, Copy)]
struct InFlight {
    start: Mark,
    end: Mark,
    /// Its rows that were given up meanwhile: dropped if it fails, stored if it succeeds.
    given_up: u64,
}

impl InFlight {
    fn holds(&self, at: Mark) -> bool {
        self.start.pos <= at.pos && at.pos < self.end.pos
    }
}

/// Saves what needs no database before it is given up.
pub trait Rescue: Send + Sync {
    /// Saves a dead letter, unless it is saved already.
    fn save(&self, record: &Record<'_>) -> io::Result<()>;
    /// Makes what was saved durable.
    fn finish(&self) -> io::Result<()>;
}

/// Follows the lanes of one consumer, QuestDB, and keeps its books.
pub struct Settlement {
    log: Arc<Log>,
    walker: Reader,
    lanes: Vec<Mark>,
    /// Where each lane may have to begin again: nothing from there on becomes safe.
    holds: Vec<Option<Mark>>,
    /// What each lane has under way, the oldest first.
    in_flight: Vec<VecDeque<InFlight>>,
    outcome: Outcome,
    exceptions: BTreeMap<Seq, u32>,
    dropped: VecDeque<(Seq, Seq)>,
    /// By folded name: the name as it was first met, and the rows.
    dropped_by_table: BTreeMap<String, (String, u64)>,
    window: ResendWindow,
    rescue: Option<Arc<dyn Rescue>>,
    dropped_letters: u64,
}

impl Settlement {
    /// Settlement that goes on from `outcome`; `safe` is where resending begins.
    pub fn new(log: Arc<Log>, outcome: Outcome, safe: Mark, resend_window: Duration) -> Self {
        Self {
            walker: Reader::new(Arc::clone(&log), outcome.settled),
            lanes: vec![outcome.settled],
            holds: vec![None],
            in_flight: vec![VecDeque::new()],
            exceptions: BTreeMap::new(),
            dropped: VecDeque::new(),
            dropped_by_table: BTreeMap::new(),
            window: ResendWindow::new(resend_window, safe),
            rescue: None,
            dropped_letters: 0,
            outcome,
            log,
        }
    }

    /// Sets the number of lanes; a record belongs to lane `table_hash % n`. To be called before the lanes start.
    pub fn set_lanes(&mut self, n: usize) {
        self.lanes = vec![self.outcome.settled; n.max(1)];
        self.in_flight = vec![VecDeque::new(); n.max(1)];
        self.holds = vec![None; n.max(1)];
    }

    /// Sets who saves dead letters before they are given up.
    pub fn set_rescue(&mut self, rescue: Arc<dyn Rescue>) {
        self.rescue = Some(rescue);
    }

    /// Takes note that a lane is about to send the records of a stretch. The error is where to go on instead, when some of them
    /// have been given up already.
    pub fn lane_sends(&mut self, lane: usize, start: Mark, end: Mark) -> Result<(), Mark> {
        if self.dropped.iter().any(|(from, to)| *from < end.seq && start.seq < *to) {
            return Err(self.outcome.settled.max(start));
        }
        if let Some(flights) = self.in_flight.get_mut(lane) {
            flights.push_back(InFlight { start, end, given_up: 0 });
        }
        Ok(())
    }

    /// Takes note that what a lane was about to send from a place on has not left after all.
    pub fn lane_takes_back(&mut self, lane: usize, from: Mark) {
        if let Some(flights) = self.in_flight.get_mut(lane) {
            flights.retain(|flight| flight.start.pos < from.pos);
        }
    }

    /// Takes note that what a lane had sent was not stored.
    pub fn lane_failed(&mut self, lane: usize) {
        if let Some(flights) = self.in_flight.get_mut(lane) {
            flights.clear();
        }
    }

    /// Rows given up while they were under way have been stored after all, but for those in quarantine.
    fn arrived(&mut self, lane: usize, upto: Mark) {
        let Some(flights) = self.in_flight.get_mut(lane) else { return };
        let arrived = flights.partition_point(|flight| flight.end.pos <= upto.pos);
        for flight in flights.drain(..arrived).filter(|flight| flight.given_up > 0) {
            let exceptions = self.exceptions.range(flight.start.seq..flight.end.seq);
            let set_aside = exceptions.map(|(_, rows)| u64::from(*rows)).sum::<u64>().min(flight.given_up);
            self.outcome.dropped -= flight.given_up;
            self.outcome.quarantined += set_aside;
            self.outcome.stored += flight.given_up - set_aside;
        }
    }

    /// Takes note of rows of a record that are in quarantine; must come before its lane passes the record.
    pub fn except(&mut self, seq: Seq, rows: u32) {
        *self.exceptions.entry(seq).or_default() += rows;
        if self.exceptions.len() > MAX_EXCEPTIONS {
            let settled = self.outcome.settled.seq;
            if self.exceptions.first_key_value().is_some_and(|(first, _)| *first < settled) {
                self.exceptions.pop_first();
            }
        }
    }

    /// Takes note that a lane has a fate for each of its records before `upto`, and counts them; returns the settled watermark.
    pub fn lane_done(&mut self, lane: usize, upto: Mark, now: Duration) -> Result<Mark, ReadError> {
        self.note_done(lane, upto);
        self.catch_up(now)
    }

    /// The note alone, which takes no time.
    pub fn note_done(&mut self, lane: usize, upto: Mark) {
        if let Some(mark) = self.lanes.get_mut(lane) {
            *mark = (*mark).max(upto);
        }
        self.arrived(lane, upto);
    }

    /// Counts what all lanes have a fate for, and moves the settled watermark; returns it.
    pub fn catch_up(&mut self, now: Duration) -> Result<Mark, ReadError> {
        let all = self.lanes.iter().copied().min().unwrap_or_default();
        self.walk(all, false)?;
        self.publish(now);
        Ok(self.outcome.settled)
    }

    /// Gives up what no lane has stored before `upto`, counting it by table; its resend window goes too.
    pub fn drop_upto(&mut self, upto: Mark, now: Duration) -> Result<(), ReadError> {
        let from = self.outcome.settled.seq;
        if self.walk(upto, true)? > 0 {
            self.remember_dropped(from, upto.seq);
        }
        for lane in &mut self.lanes {
            *lane = (*lane).max(upto);
        }
        self.window.force(upto);
        self.publish(now);
        Ok(())
    }

    /// Moves the settled watermark on, record by record; returns the rows dropped on the way.
    fn walk(&mut self, upto: Mark, give_up: bool) -> Result<u64, ReadError> {
        let (mut dropped, mut letters) = (0, Letters::default());
        while self.walker.mark().pos < upto.pos {
            let lanes = &self.lanes;
            // No further: behind the last record before `upto` may stand a commit, and behind that a record without a fate.
            let limit = if is_on(Bug::SettleOneMore) { Pos(u64::MAX) } else { upto.pos };
            let Some(record) = self.walker.next_with(limit, |_, _| give_up)? else { break };
            if record.kind == Kind::Rows {
                let rows = u64::from(record.rows);
                let excepted = self.exceptions.get(&record.seq).map_or(0, |n| u64::from(*n)).min(rows);
                let number = Lanes::new(lanes.len()).of(record.table_hash);
                self.outcome.quarantined += excepted;
                if give_up && lanes[number].pos < record.end.pos {
                    self.outcome.dropped += rows - excepted;
                    dropped += rows - excepted;
                    if let Some(flight) = self.in_flight[number].iter_mut().find(|flight| flight.holds(record.mark)) {
                        flight.given_up += rows - excepted;
                    }
                    count_table(&mut self.dropped_by_table, record.body, rows - excepted);
                } else {
                    self.outcome.stored += rows - excepted;
                }
            } else if give_up
                && record.kind == Kind::DeadLetter
                && lanes[Lanes::new(lanes.len()).of(record.table_hash)].pos < record.end.pos
            {
                letters.save(self.rescue.as_deref(), &record);
            }
        }
        self.dropped_letters += letters.finish(self.rescue.as_deref());
        let settled = self.walker.mark();
        let beyond = settled.pos > upto.pos.max(self.outcome.settled.pos);
        assert!(!beyond || is_on(Bug::SettleOneMore), "settled beyond what has a fate");
        self.outcome.settled = settled;
        Ok(dropped)
    }

    fn remember_dropped(&mut self, from: Seq, to: Seq) {
        match self.dropped.back_mut() {
            Some((_, end)) if *end == from => *end = to,
            _ => self.dropped.push_back((from, to)),
        }
        if self.dropped.len() > MAX_DROPPED_RANGES {
            self.dropped.pop_front();
        }
    }

    /// Takes note of where a lane may have to begin again.
    pub fn lane_holds(&mut self, lane: usize, from: Option<Mark>, now: Duration) {
        if let Some(hold) = self.holds.get_mut(lane) {
            *hold = from;
        }
        if let Some(from) = from {
            self.window.hold(from);
        }
        self.publish(now);
    }

    /// Up to where nothing is going to be sent again, as far as is known.
    fn at_rest(&self) -> Mark {
        let holds = self.holds.iter().copied().flatten();
        holds.chain([self.outcome.settled]).min().unwrap_or_default()
    }

    /// Advances the resend window and tells the log.
    pub fn publish(&mut self, now: Duration) -> Mark {
        let safe = self.window.advance(now, self.at_rest());
        self.log.set_books(ConsumerId::QUESTDB, self.outcome, safe);
        safe
    }

    /// Takes note that the database was seen at that time not to have restarted.
    pub fn confirm_kept(&mut self, at: Duration, now: Duration) {
        self.window.confirm(at);
        self.publish(now);
    }

    /// Takes note that the database has restarted, and that every lane is going to send all from safe on again.
    pub fn begin_window_anew(&mut self, now: Duration) {
        let safe = self.publish(now);
        self.holds.fill(Some(safe));
        self.window.begin_anew(now);
        self.publish(now);
    }

    /// Where a durable record is. Exceptions outlive the record's place in the ring: latest values refer to it longer.
    pub fn state_of(&self, seq: Seq) -> State {
        if self.dropped.iter().any(|(from, to)| (*from..*to).contains(&seq)) {
            State::Memory
        } else if self.exceptions.contains_key(&seq) {
            State::Refused
        } else if seq >= self.outcome.settled.seq || self.log.with_held(|held| held.holds(seq)) {
            State::Durable
        } else {
            State::Stored
        }
    }

    /// Where everything has its fate.
    pub fn settled(&self) -> Mark {
        self.outcome.settled
    }

    /// Dropped rows by table.
    pub fn dropped_by_table(&self) -> Vec<(String, u64)> {
        self.dropped_by_table.values().cloned().collect()
    }

    /// Dead letters that were given up and could not be saved, since the start.
    pub fn dropped_letters(&self) -> u64 {
        self.dropped_letters
    }

    /// Counts rows that never entered the log.
    pub fn count_refused(&mut self, table: &str, rows: u64) {
        count(&mut self.dropped_by_table, table, rows);
    }
}

/// Dead letters that are given up: how many there were, and how many were saved.
#[derive(Debug, Default)]
struct Letters {
    met: u64,
    saved: u64,
    error: Option<io::Error>,
}

impl Letters {
    fn save(&mut self, rescue: Option<&dyn Rescue>, record: &Record<'_>) {
        self.met += 1;
        match rescue.map(|rescue| rescue.save(record)) {
            Some(Ok(())) => self.saved += 1,
            Some(Err(error)) => self.error = Some(error),
            None => {}
        }
    }

    /// Makes them durable; returns how many are lost.
    fn finish(mut self, rescue: Option<&dyn Rescue>) -> u64 {
        if self.saved > 0
            && let Some(Err(error)) = rescue.map(Rescue::finish)
        {
            (self.saved, self.error) = (0, Some(error));
        }
        let lost = self.met - self.saved;
        if lost > 0 {
            let why = self.error.map_or_else(|| "there is no quarantine".to_owned(), |error| error.to_string());
            tracing::error!(
                lost,
                error = why,
                "the ring is full and gives up its oldest, and with it messages that could not become rows and could not go to the quarantine: {lost} lost"
            );
        }
        lost
    }
}

fn count_table(counts: &mut BTreeMap<String, (String, u64)>, body: &[u8], rows: u64) {
    let table = crate::entry::Rows::decode(body).map_or(OTHER_TABLES, |rows| rows.table);
    count(counts, table, rows);
}

fn count(counts: &mut BTreeMap<String, (String, u64)>, table: &str, rows: u64) {
    if rows == 0 {
        return;
    }
    let is_known = counts.len() < MAX_TABLES || counts.contains_key(&*names::folded(table));
    let table = if is_known { table } else { OTHER_TABLES };
    let (_, sum) = counts.entry(names::folded(table).into_owned()).or_insert_with(|| (table.to_owned(), 0));
    *sum += rows;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_by_table_in_whatever_spelling_and_tables_are_bounded() {
        let mut counts = BTreeMap::new();
        for (table, rows) in [("Plant", 2), ("plant", 3), ("other", 1), ("none", 0)] {
            count(&mut counts, table, rows);
        }
        let shown: Vec<_> = counts.values().cloned().collect();
        assert_eq!(shown, [("other".to_owned(), 1), ("Plant".to_owned(), 5)]);
        (0..2 * MAX_TABLES).for_each(|n| count(&mut counts, &format!("t{n}"), 1));
        count(&mut counts, "PLANT", 1);
        assert_eq!((counts.len(), counts["plant"].1), (MAX_TABLES + 1, 6));
        assert_eq!(counts[OTHER_TABLES], (OTHER_TABLES.to_owned(), MAX_TABLES as u64 + 2));
    }
}
