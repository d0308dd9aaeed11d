//! Whether a newer row of a moment is known: in the ring, looked through once for all entries of a request, or in QuestDB.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use super::{
    Candidate, LOOK_TIMEOUT, Requeue,
    report::{Outcome, Report},
};
use crate::{
    entry::Rows,
    flush::quarantine::Entry,
    ingest::again::Watch,
    latest::Standing,
    marks::{Pos, Seq},
    moment::{moment, of_row},
    names,
    point::Timestamp,
    questdb::present::{self, Wanted},
    ring::{Kind, ReadError, Record},
};

/// Records looked through between two looks at the clock.
const RECORDS_PER_LOOK: u64 = 4_096;

/// What a row set aside was recorded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Its record; none when that was another ring's.
    seq: Option<Seq>,
    row: u16,
    received: Timestamp,
}

impl Origin {
    /// Where an entry comes from, seen from the present ring.
    pub fn of(entry: &Entry<'_>, ring_id: u64) -> Self {
        let seq = (entry.key.ring_id == ring_id).then_some(entry.key.seq);
        Self { seq, row: entry.key.row, received: entry.received }
    }

    /// Whether a row of the present ring was recorded later. Numbers may be given a second time after the ring's end was lost, and
    /// clocks may be wrong: either is enough.
    fn is_before(&self, seq: Seq, row: u16, received: Timestamp) -> bool {
        match self.seq {
            None => true,
            Some(own) if own == seq && received == self.received => row > self.row,
            Some(own) => seq > own || received > self.received,
        }
    }
}

impl Requeue {
    /// Notes in the watch every moment that a newer row is known of. Entries for which that cannot be found out get their outcome.
    pub(super) fn look_for_newer(
        &self,
        watch: &Watch<'_>,
        candidates: &mut [Candidate],
        origins: &HashMap<u64, Origin>,
        report: &mut Report,
    ) {
        if !candidates.iter().any(Candidate::may_enter) {
            return;
        }
        let until = Instant::now() + LOOK_TIMEOUT;
        let joining = self.joining(watch, candidates);
        let asked = match self.look_in_ring(watch, candidates, origins, &joining, until) {
            Ok(()) => self.ask_questdb(watch, candidates, &joining, until, report),
            Err(why) => {
                report.stop(&why);
                HashSet::new()
            }
        };
        for candidate in candidates.iter_mut().filter(|candidate| candidate.may_enter()) {
            if !candidate.rows.tables.iter().all(|(table, _)| asked.contains(table.as_str())) {
                candidate.outcome = Some(Outcome::NotReached);
            }
        }
    }

    /// The moments of rows of messages decoded again of which rows are remembered, all of which
    /// agree with theirs. Such a row joins them, whatever else is known: it takes no value's place, and
    /// is completed from them.
    ///
    /// The watch has begun, so a row that comes in from now on is noticed.
    fn joining(&self, watch: &Watch<'_>, candidates: &[Candidate]) -> HashSet<u64> {
        let mut joining = HashSet::new();
        for candidate in candidates.iter().filter(|candidate| candidate.may_enter() && candidate.is_letter) {
            for (table, row) in candidate.rows.rows() {
                let moment = of_row(table, row);
                match self.ingest.standing(table, row) {
                    Standing::Agrees => drop(joining.insert(moment)),
                    Standing::Contradicts => watch.note(moment),
                    Standing::Unknown => {}
                }
            }
        }
        joining
    }

    /// Goes through what may not be in QuestDB yet: all that is not safe, as of the watch's beginning.
    fn look_in_ring(
        &self,
        watch: &Watch<'_>,
        candidates: &[Candidate],
        origins: &HashMap<u64, Origin>,
        joining: &HashSet<u64>,
        until: Instant,
    ) -> Result<(), String> {
        let tables = candidates.iter().flat_map(|candidate| &candidate.rows.tables);
        let tables: HashSet<String> = tables.map(|(table, _)| names::folded(table).into_owned()).collect();
        let end = watch.marks().appended.pos;
        while self.out.ring.marks().durable.pos < end {
            if let Some(reason) = self.out.ring.poisoned() {
                return Err(reason);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("the ring's commit takes too long".to_owned());
            }
            self.out.ring.wait_durable(Pos(end.0 - 1), left.min(Duration::from_secs(1)));
        }
        let mut reader = self.out.ring.reader(watch.marks().safe);
        for count in 1u64.. {
            if count % RECORDS_PER_LOOK == 0 && Instant::now() >= until {
                return Err("too much in the ring waits for QuestDB; try again once it has taken more".to_owned());
            }
            let record = match reader.next_with(end, |kind, _| kind == Kind::Rows) {
                Ok(Some(record)) => record,
                Ok(None) => break,
                // What was given up is in QuestDB, which is asked next, or nowhere.
                Err(ReadError::Overtaken { to }) => {
                    reader.seek(to);
                    continue;
                }
                Err(error) => return Err(error.to_string()),
            };
            if record.kind == Kind::Rows {
                self.note_newer(watch, &record, &tables, origins, joining);
            }
        }
        Ok(())
    }

    fn note_newer(
        &self,
        watch: &Watch<'_>,
        record: &Record<'_>,
        tables: &HashSet<String>,
        origins: &HashMap<u64, Origin>,
        joining: &HashSet<u64>,
    ) {
        let Ok(rows) = Rows::decode(record.body) else { return };
        let table = rows.table;
        if !tables.contains(&*names::folded(table)) {
            return;
        }
        for (index, row) in rows.flatten().enumerate() {
            let index = index as u16;
            let moment = moment(table, row.time, row.symbols());
            let newer =
                origins.get(&moment).is_some_and(|origin| origin.is_before(record.seq, index, record.received.wall));
            // One that is itself in quarantine, or was, is in no table.
            if newer && !joining.contains(&moment) && !self.out.is_set_aside(record, index) {
                watch.note(moment);
            }
        }
    }

    /// Asks QuestDB about every table; returns those about which it has answered.
    fn ask_questdb(
        &self,
        watch: &Watch<'_>,
        candidates: &[Candidate],
        joining: &HashSet<u64>,
        until: Instant,
        report: &mut Report,
    ) -> HashSet<String> {
        let mut tables: BTreeMap<&str, Vec<&crate::point::Row>> = BTreeMap::new();
        for candidate in candidates.iter().filter(|candidate| candidate.may_enter()) {
            for (table, rows) in &candidate.rows.tables {
                let doubtful = rows.iter().filter(|row| !joining.contains(&of_row(table, row)));
                tables.entry(table).or_default().extend(doubtful);
            }
        }
        let mut asked = HashSet::new();
        for (table, rows) in tables {
            if rows.is_empty() {
                asked.insert(table.to_owned());
                continue;
            }
            let symbols: Vec<Vec<(&str, &str)>> = rows
                .iter()
                .map(|row| row.symbols.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect())
                .collect();
            let mut wanted: Vec<Wanted<'_>> = rows
                .iter()
                .zip(&symbols)
                .map(|(row, symbols)| Wanted { time: row.time.unwrap_or_default(), symbols })
                .collect();
            match present::look(&self.out.sql, table, &mut wanted, until, &mut |moment| watch.note(moment)) {
                Ok(()) => drop(asked.insert(table.to_owned())),
                Err(why) => {
                    report.stop(&format!("whether QuestDB has newer rows is not known: {why}"));
                    // One table may be in trouble alone; a database that is away is so for all.
                    if matches!(why, present::PresentError::Sql(_) | present::PresentError::TooSlow) {
                        break;
                    }
                }
            }
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_records_of_this_ring_are_newer_and_the_row_itself_is_not() {
        let origin = Origin { seq: Some(Seq(10)), row: 2, received: Timestamp(100) };
        assert!(!origin.is_before(Seq(10), 2, Timestamp(100)), "itself");
        assert!(!origin.is_before(Seq(9), 0, Timestamp(90)));
        assert!(!origin.is_before(Seq(10), 1, Timestamp(100)) && origin.is_before(Seq(10), 3, Timestamp(100)));
        assert!(origin.is_before(Seq(11), 0, Timestamp(90)), "a clock set back");
        assert!(origin.is_before(Seq(10), 0, Timestamp(101)), "a number given a second time");
        let other_ring = Origin { seq: None, ..origin };
        assert!(other_ring.is_before(Seq(1), 0, Timestamp(0)));
    }
}
