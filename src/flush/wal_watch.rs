//! The thread that watches QuestDB's write-ahead logs: which tables it no longer applies, and how far it is behind with the others.
//!
//! Every [`LOOK_EVERY`] while rows are sent, or while there is something to see the end of, it asks one question about all tables that forebay
//! writes. What it finds sets each lane's pace ([`super::apply_lag`]).
//!
//! A suspended table goes on being written: QuestDB (9.3.4) accepts its rows, its new columns and its keys as before, keeps them in the
//! table's log, and applies all of it in order once it is told to `RESUME WAL`. Held back in the ring, they would fill it, and one table would stop
//! all others. So nothing is slowed down for it; it is told, with the statement, and its rows can be replayed from the ring as far as that
//! reaches, should the log be lost.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    apply_lag::{Look, Pace, Pacer, Trace},
    shared::{Health, Shared},
};
use crate::{
    clock::SharedClock,
    names,
    observe::heartbeat::Heartbeat,
    questdb::{Sql, SqlError, cut, statement, wal::WalTable},
    ring::Ring,
    sync::lock,
};

/// Time between looks.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Time for a question.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);
/// Most tables watched; of more the first by name.
pub const MAX_WATCHED: usize = 256;
/// Most tables listed in the status, those furthest behind first.
pub const MAX_LISTED: usize = 64;
/// A suspended table is told of again after this.
const REMINDER: Duration = Duration::from_mins(10);

/// What `status` tells of the write-ahead logs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct WalStatus {
    /// Seconds since QuestDB last answered the question; none before it has.
    pub looked_s_ago: Option<f64>,
    /// Why it did not answer the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Tables watched, and tables written that are too many to be.
    pub watched: usize,
    /// See `watched`.
    pub unwatched: usize,
    /// Tables that QuestDB no longer applies rows to.
    pub suspended: usize,
    /// The furthest behind first, at most [`MAX_LISTED`].
    pub tables: Vec<WalTableStatus>,
}

/// A table's write-ahead log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct WalTableStatus {
    /// The table.
    pub table: String,
    /// Whether it is suspended.
    pub suspended: bool,
    /// Why, in QuestDB's words; empty when it does not tell.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Transactions accepted and not applied.
    pub pending_transactions: u64,
    /// Rows accepted and not applied; none when QuestDB does not tell.
    pub pending_rows: Option<u64>,
    /// Age of the oldest transaction not applied, in seconds.
    pub lag_s: f64,
}

/// What the watch has found, shared with lanes and status.
#[derive(Debug)]
pub struct Board(Mutex<Findings>);

#[derive(Debug)]
struct Findings {
    /// Folded names of the tables written, and the lanes that write them.
    names: BTreeMap<String, BTreeSet<usize>>,
    unwatched: BTreeSet<String>,
    paces: Vec<Pace>,
    tables: Vec<WalTableStatus>,
    looked: Option<Instant>,
    error: Option<String>,
}

impl Board {
    /// For so many lanes.
    pub fn new(lanes: usize) -> Self {
        Self(Mutex::new(Findings {
            names: BTreeMap::new(),
            unwatched: BTreeSet::new(),
            paces: vec![Pace::default(); lanes],
            tables: Vec::new(),
            looked: None,
            error: None,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Findings> {
        lock(&self.0)
    }

    /// Takes note of tables that a lane writes.
    pub fn note_tables<'a>(&self, lane: usize, names: impl Iterator<Item = &'a str>) {
        let mut findings = self.lock();
        for name in names {
            let name = names::folded(name).into_owned();
            if findings.names.len() < MAX_WATCHED || findings.names.contains_key(&name) {
                findings.names.entry(name).or_default().insert(lane);
            } else if findings.unwatched.len() < MAX_WATCHED {
                findings.unwatched.insert(name);
            }
        }
    }

    /// How fast a lane may write.
    pub fn pace(&self, lane: usize) -> Pace {
        self.lock().paces.get(lane).copied().unwrap_or_default()
    }

    /// How QuestDB gets on with what it has accepted.
    pub fn health(&self) -> Health {
        let findings = self.lock();
        if findings.tables.iter().any(|table| table.suspended) {
            Health::Suspended
        } else if findings.paces.iter().any(|pace| !pace.is_full()) {
            Health::Lagging
        } else {
            Health::Ok
        }
    }

    /// A sentence for each suspended table, at most [`MAX_LISTED`].
    pub fn warnings(&self) -> Vec<String> {
        self.lock().tables.iter().filter(|table| table.suspended).take(MAX_LISTED).map(warning).collect()
    }

    /// What `status` shows.
    pub fn status(&self) -> WalStatus {
        let findings = self.lock();
        WalStatus {
            looked_s_ago: findings.looked.map(|looked| looked.elapsed().as_secs_f64()),
            error: findings.error.clone(),
            watched: findings.names.len(),
            unwatched: findings.unwatched.len(),
            suspended: findings.tables.iter().filter(|table| table.suspended).count(),
            tables: findings.tables.iter().take(MAX_LISTED).cloned().collect(),
        }
    }
}

fn warning(table: &WalTableStatus) -> String {
    let WalTableStatus { table: name, error, pending_transactions, .. } = table;
    let why = if error.is_empty() { String::new() } else { format!(" ({error})") };
    format!(
        "QuestDB has suspended table {name:?}{why}: it keeps the rows it gets in the table's write-ahead log ({pending_transactions} \
         transactions so far) and shows none of them; mend the cause, then run: {}",
        statement::resume_wal(name)
    )
}

/// The thread.
pub(super) struct Watch {
    pub shared: Arc<Shared>,
    pub ring: Ring,
    pub sql: Sql,
    pub clock: SharedClock,
    pub heartbeat: Heartbeat,
    traces: HashMap<String, Trace>,
    pacers: Vec<Pacer>,
    /// Suspended tables, and when they were last told of.
    told: HashMap<String, Duration>,
    flushes_seen: u64,
}

impl Watch {
    pub(super) fn new(shared: &Arc<Shared>, ring: &Ring, sql: &Sql, clock: &SharedClock, heartbeat: Heartbeat) -> Self {
        Self {
            pacers: vec![Pacer::default(); shared.lanes().count()],
            shared: Arc::clone(shared),
            ring: ring.clone(),
            sql: sql.clone(),
            clock: Arc::clone(clock),
            heartbeat,
            traces: HashMap::new(),
            told: HashMap::new(),
            flushes_seen: 0,
        }
    }

    /// Runs until a stop.
    pub(super) fn run(mut self) {
        while self.shared.stopping().is_none() {
            self.heartbeat.waiting("the next look at QuestDB's write-ahead logs", Some(LOOK_EVERY));
            let until = Instant::now() + LOOK_EVERY;
            while self.shared.stopping().is_none() && Instant::now() < until {
                self.shared.rest(until.saturating_duration_since(Instant::now()));
            }
            if self.shared.stopping().is_none() && self.is_worth_a_look() {
                self.look();
            }
        }
        self.heartbeat.waiting("stopped", None);
    }

    /// Whether the database takes rows, and there is something to see: rows on their way, or an end to wait for.
    fn is_worth_a_look(&mut self) -> bool {
        let reports = self.shared.reports();
        let flushes = reports.iter().map(|report| report.status.flushes).sum();
        let is_new = std::mem::replace(&mut self.flushes_seen, flushes) != flushes;
        let is_up = reports.iter().any(|report| report.health <= Health::Slow);
        let findings = self.shared.wal.lock();
        let is_awaited = findings.tables.iter().any(|table| table.suspended || table.pending_transactions > 0)
            || findings.paces.iter().any(|pace| !pace.is_full());
        is_up && !findings.names.is_empty() && (is_new || is_awaited)
    }

    fn look(&mut self) {
        let names: Vec<String> = self.shared.wal.lock().names.keys().cloned().collect();
        self.heartbeat.waiting("QuestDB's answer about its write-ahead logs", Some(ASK_TIMEOUT * 16));
        let asked = self.clock.since_boot();
        match self.sql.wal_tables(&names, ASK_TIMEOUT) {
            Ok(logs) => self.take_in(asked, &logs),
            Err(error) => self.note_failure(&error),
        }
    }

    /// Without an answer the pace stays as it is: whoever sends meets what ails the database.
    fn note_failure(&self, error: &SqlError) {
        let mut findings = self.shared.wal.lock();
        if findings.error.is_none() {
            tracing::warn!(%error, "QuestDB does not tell how far its write-ahead logs are applied");
        }
        findings.error = Some(cut(&error.to_string()).to_owned());
    }

    fn take_in(&mut self, now: Duration, logs: &[WalTable]) {
        let tables: Vec<(WalTable, Duration)> = logs.iter().map(|log| (log.clone(), self.age(now, log))).collect();
        self.traces.retain(|name, _| logs.iter().any(|log| log.name == *name));
        let reports = self.shared.reports();
        let ring_fill = self.ring.status().fill;
        let lanes = self.shared.wal.lock().names.clone();
        let mut paces = Vec::with_capacity(self.pacers.len());
        for (lane, pacer) in self.pacers.iter_mut().enumerate() {
            let own = tables
                .iter()
                .filter(|(log, _)| lanes.get(&*names::folded(&log.name)).is_some_and(|lanes| lanes.contains(&lane)));
            let sent = reports.get(lane).map_or(0, |report| report.status.rows_sent);
            let before = pacer.pace();
            let pace = pacer.look(sum_up(now, own, sent, ring_fill));
            tell_pace(lane, before, pace, pacer.lag());
            paces.push(pace);
        }
        self.tell_suspended(now, logs);
        let mut listed: Vec<WalTableStatus> = tables.into_iter().map(|(log, age)| status(log, age)).collect();
        listed.sort_by(|a, b| {
            let rank = |table: &WalTableStatus| (table.suspended, table.pending_transactions);
            rank(b).cmp(&rank(a)).then_with(|| a.table.cmp(&b.table))
        });
        let mut findings = self.shared.wal.lock();
        (findings.tables, findings.paces) = (listed, paces);
        (findings.looked, findings.error) = (Some(Instant::now()), None);
    }

    fn age(&mut self, now: Duration, log: &WalTable) -> Duration {
        self.traces.entry(log.name.clone()).or_default().look(now, log.applied, log.accepted)
    }

    fn tell_suspended(&mut self, now: Duration, logs: &[WalTable]) {
        for log in logs.iter().filter(|log| log.is_suspended) {
            let told = self.told.get(&log.name);
            if told.is_none_or(|told| now.saturating_sub(*told) >= REMINDER) {
                tracing::error!(table = %log.name, "{}", warning(&status(log.clone(), Duration::ZERO)));
                self.told.insert(log.name.clone(), now);
            }
        }
        self.told.retain(|name, _| {
            let is_suspended = logs.iter().any(|log| log.is_suspended && log.name == *name);
            if !is_suspended {
                tracing::info!(table = %name, "QuestDB applies the table's write-ahead log again");
            }
            is_suspended
        });
    }
}

/// One look at a lane's tables.
fn sum_up<'a>(at: Duration, tables: impl Iterator<Item = &'a (WalTable, Duration)>, sent: u64, ring_fill: f64) -> Look {
    let none = Look { at, sent, ring_fill, rows: Some(0), rows_of_all: Some(0), ..Look::default() };
    tables.fold(none, |mut look, (log, age)| {
        let add = |sum: Option<u64>| Some(sum?.saturating_add(log.pending_rows?));
        look.rows_of_all = add(look.rows_of_all);
        if !log.is_suspended {
            look.rows = add(look.rows);
            look.age = look.age.max(*age);
            look.transactions = look.transactions.saturating_add(log.pending());
            look.applied = look.applied.saturating_add(log.applied);
            look.is_short_of_memory |= log.memory_pressure > 0;
        }
        look
    })
}

fn status(log: WalTable, age: Duration) -> WalTableStatus {
    WalTableStatus {
        pending_transactions: log.pending(),
        table: log.name,
        suspended: log.is_suspended,
        error: log.error,
        pending_rows: log.pending_rows,
        lag_s: age.as_secs_f64(),
    }
}

/// Tells the journal when a lane is slowed down, capped, or back at full speed: not each step.
fn tell_pace(lane: usize, before: Pace, pace: Pace, lag: Duration) {
    let lag_s = lag.as_secs();
    match pace.sentence() {
        Some(text) if before.is_full() || (before.rows_per_s.is_none() && pace.rows_per_s.is_some()) => {
            tracing::warn!(lane, lag_s, "{text}");
        }
        None if !before.is_full() => tracing::info!(lane, lag_s, "QuestDB has caught up; back at full speed"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(name: &str, is_suspended: bool, applied: i64, accepted: i64, rows: Option<u64>) -> WalTable {
        WalTable { name: name.into(), is_suspended, applied, accepted, pending_rows: rows, ..WalTable::default() }
    }

    #[test]
    fn a_suspended_table_slows_nobody_down() {
        let age = Duration::from_secs(900);
        let tables =
            [(log("a", false, 5, 8, Some(30)), Duration::from_secs(5)), (log("b", true, 5, 900, Some(9_000)), age)];
        let look = sum_up(Duration::ZERO, tables.iter(), 7, 0.5);
        assert_eq!((look.age, look.transactions, look.applied), (Duration::from_secs(5), 3, 5));
        assert_eq!((look.rows, look.rows_of_all), (Some(30), Some(9_030)));
        let old = [(log("a", false, 5, 8, None), Duration::ZERO)];
        assert_eq!(sum_up(Duration::ZERO, old.iter(), 7, 0.5).rows, None);
    }

    #[test]
    fn the_board_is_bounded_and_takes_names_without_case() {
        let board = Board::new(2);
        board.note_tables(0, ["Sensors", "sensors"].into_iter());
        board.note_tables(1, ["SENSORS"].into_iter());
        assert_eq!(board.lock().names["sensors"], [0, 1].into());
        let names: Vec<String> = (0..2 * MAX_WATCHED).map(|number| format!("t{number}")).collect();
        board.note_tables(0, names.iter().map(String::as_str));
        let status = board.status();
        assert_eq!((status.watched, status.unwatched), (MAX_WATCHED, MAX_WATCHED));
        assert_eq!((board.pace(1), board.pace(9)), (Pace::default(), Pace::default()));
    }

    #[test]
    fn a_warning_says_what_to_run() {
        let board = Board::new(1);
        let mut suspended = status(log("s", true, 3, 7, None), Duration::ZERO);
        suspended.error = "DISK FULL".into();
        board.lock().tables = vec![suspended, status(log("t", false, 3, 3, None), Duration::ZERO)];
        let warnings = board.warnings();
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].contains("(DISK FULL)") && warnings[0].contains("ALTER TABLE \"s\" RESUME WAL"),
            "{warnings:?}"
        );
        assert_eq!((board.health(), board.status().suspended), (Health::Suspended, 1));
    }
}
