//! One drain: of a daemon's ring, or of a bare loop's memory.

use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use serde_json::Value as Json;

use crate::{
    backlog::{Backlog, create_table},
    common::{
        memory,
        role::Role,
        sample::{self, Watch},
    },
    support::{Daemon, DaemonBuilder, Mosquitto, QuestDb, Readings, unique},
};

const LIMIT: Duration = Duration::from_mins(10);
/// Seldom enough to cost nothing worth counting, often enough to be exact to 1 %.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// The same for the first answer and the last rows, whose times count.
const LOOK_CLOSELY_EVERY: Duration = Duration::from_millis(2);
/// See [`LOOK_CLOSELY_EVERY`].
const LAST_ROWS: u64 = 60_000;
/// Parts of the time whose peak memory is told apart.
const PARTS: usize = 10;

/// Where the contenders write.
pub struct Stage<'a> {
    pub questdb: &'a QuestDb,
    pub broker: &'a Mosquitto,
    /// The string for questdb-rs; another than the server's own where something lies between.
    pub conf: String,
}

/// What one drain measured. The clock starts with the first answer, whose rows do not count, but
/// for [`Self::in_all_per_s`].
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Rows a second until the last request is answered.
    pub answered_per_s: f64,
    /// Rows a second until all rows are visible in the table.
    pub applied_per_s: f64,
    /// All rows a second from the first request's start until the last is answered: with the first
    /// ones, which are small in forebay and large in a bare loop.
    pub in_all_per_s: f64,
    /// CPU time a row in microseconds, start and end of the process included for forebay.
    pub cpu_us: f64,
    /// What only forebay tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
}

/// Memory of a draining daemon.
#[derive(Debug, Clone, Serialize)]
pub struct Memory {
    /// Peak anonymous memory in bytes.
    pub anonymous: u64,
    /// The same in each tenth of the time.
    pub course: Vec<u64>,
    /// Peak of what all lanes' buffers take, in bytes, as the daemon tells it.
    pub buffers: u64,
    /// Rows of its largest batch.
    pub batch_rows: u64,
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_micros() as u64
}

/// When all that was accepted for the table is visible.
fn applied_us(questdb: &QuestDb, table: &str) -> u64 {
    let started = Instant::now();
    let statement = format!("SELECT writerTxn, sequencerTxn FROM wal_tables() WHERE name = '{table}'");
    while !questdb.try_sql(&statement).is_ok_and(|rows| rows.iter().all(|row| row[0] == row[1])) {
        assert!(started.elapsed() < LIMIT, "{table}: not applied");
        std::thread::sleep(LOOK_EVERY);
    }
    now_us()
}

/// Checks that every row is there, and drops the table.
fn finish(questdb: &QuestDb, table: &str, rows: u64) {
    assert_eq!(questdb.count(table) as u64, rows, "{table}: rows in QuestDB");
    questdb.sql(&format!("DROP TABLE '{table}'"));
}

fn per_s(rows: u64, from_us: u64, to_us: u64) -> f64 {
    rows as f64 * 1e6 / (to_us.saturating_sub(from_us) as f64).max(1.0)
}

/// The bare loop, with so many pairs of threads.
pub fn bare(stage: &Stage<'_>, backlog: &Backlog, batch: usize, pairs: usize) -> Run {
    let (questdb, table) = (stage.questdb, unique("drain"));
    questdb.sql(&create_table(&table));
    let [rows, base_us, batch, pairs] =
        [backlog.rows, backlog.base_us as u64, batch as u64, pairs as u64].map(|n| n.to_string());
    let arguments = ["bare".into(), stage.conf.clone(), table.clone(), rows, base_us, batch, pairs];
    memory::bring_to_hand();
    let mut role = Role::start(&arguments);
    let pid = role.process.id();
    let cpu = sample::cpu(pid);
    let result = role.result();
    let applied = applied_us(questdb, &table);
    let cpu = sample::cpu(pid).saturating_sub(cpu);
    drop(role);
    finish(questdb, &table, backlog.rows);
    let told = |name: &str| result[name].as_u64().expect("a number");
    let counted = backlog.rows - told("first_rows");
    Run {
        answered_per_s: per_s(counted, told("first_us"), told("last_us")),
        applied_per_s: per_s(counted, told("first_us"), applied),
        in_all_per_s: per_s(backlog.rows, told("began_us"), told("last_us")),
        cpu_us: cpu.as_secs_f64() * 1e6 / backlog.rows as f64,
        memory: None,
    }
}

/// A daemon that finds the backlog in its ring; `set` adds to its configuration.
pub fn forebay(stage: &Stage<'_>, backlog: &Backlog, set: &[(String, toml::Value)]) -> Run {
    let questdb = stage.questdb;
    let readings = Readings::new(unique("drain"), 1);
    let builder = DaemonBuilder::new()
        .servers(stage.broker, questdb)
        .source(&readings)
        .set("questdb.conf", stage.conf.clone())
        .set("questdb.resend_window", "1min")
        .set("ring.size", backlog.ring_size().to_string());
    let builder = set.iter().fold(builder, |builder, (key, value)| builder.set(key, value.clone()));
    let ring = builder.dir().join("ring");
    backlog.fill_ring(&ring, &readings.name);
    memory::bring_to_hand();
    let mut daemon = builder.start();
    let watch = Watch::start(daemon.id());
    let mut seen = Seen::default();
    while seen.stored < backlog.rows {
        seen.look(&daemon);
        assert!(seen.started.elapsed() < LIMIT, "{} of {} rows: {}", seen.stored, backlog.rows, daemon.status());
        let is_near_end = seen.stored + LAST_ROWS > backlog.rows;
        std::thread::sleep(if seen.stored == 0 || is_near_end { LOOK_CLOSELY_EVERY } else { LOOK_EVERY });
    }
    let (last_us, course) = (now_us(), watch.finish());
    let applied = applied_us(questdb, &readings.name);
    let cpu = sample::cpu(daemon.id());
    assert_eq!(daemon.stop().code(), Some(0), "forebay stops in order");
    drop(daemon);
    let _ = std::fs::remove_file(ring);
    finish(questdb, &readings.name, backlog.rows);
    let counted = backlog.rows - seen.first;
    Run {
        answered_per_s: per_s(counted, seen.first_us, last_us),
        applied_per_s: per_s(counted, seen.first_us, applied),
        in_all_per_s: per_s(backlog.rows, seen.began_us, last_us),
        cpu_us: cpu.as_secs_f64() * 1e6 / backlog.rows as f64,
        memory: Some(Memory {
            anonymous: course.peak(),
            course: course.peaks(PARTS),
            buffers: seen.buffers,
            batch_rows: seen.batch_rows,
        }),
    }
}

/// What the daemon's status has shown so far.
struct Seen {
    started: Instant,
    /// When a request was under way first.
    began_us: u64,
    stored: u64,
    first: u64,
    first_us: u64,
    buffers: u64,
    batch_rows: u64,
}

impl Default for Seen {
    fn default() -> Self {
        Self { started: Instant::now(), began_us: 0, stored: 0, first: 0, first_us: 0, buffers: 0, batch_rows: 0 }
    }
}

impl Seen {
    fn look(&mut self, daemon: &Daemon) {
        let status = daemon.status();
        self.stored = status["ledger"]["stored"].as_u64().unwrap_or(0);
        if self.first == 0 && self.stored > 0 {
            (self.first, self.first_us) = (self.stored, now_us());
        }
        let lanes = status["flush"]["lanes"].as_array().cloned().unwrap_or_default();
        let sent = |lane: &Json| lane["rows_sent"].as_u64().is_some_and(|rows| rows > 0);
        if self.began_us == 0 && lanes.iter().any(sent) {
            self.began_us = now_us();
        }
        let most = |name: &str| lanes.iter().filter_map(|lane: &Json| lane[name].as_u64()).max().unwrap_or(0);
        self.buffers = self.buffers.max(status["flush"]["buffer_peak_bytes"].as_u64().unwrap_or(0));
        self.batch_rows = self.batch_rows.max(most("last_rows"));
    }
}
