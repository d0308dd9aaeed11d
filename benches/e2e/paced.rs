//! What a steady flow costs: the database, the disk and the program itself, beside a bare client
//! and Telegraf with the same freshness.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    common::{
        role::Role,
        sample::{self, Watch},
    },
    contenders::{DEVICES, create_table, daemon, mean_record, wait_stored},
    support::{
        Load, Mosquitto, QuestDb, Readings, eventually,
        process::Guarded,
        scratch::{Scratch, scratch},
        unique,
    },
};

const LIMIT: Duration = Duration::from_mins(1);
/// What QuestDB's clients flush by default over HTTP (`auto_flush_rows`; `auto_flush_interval` is 1
/// s).
const CLIENT_ROWS: u64 = 75_000;
/// Telegraf does not reach more.
const TELEGRAF_MOST: u64 = 2_000;

/// Who keeps the flow, and how fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Keeper {
    /// The program, with this `batch.freshness`.
    Forebay(&'static str),
    /// rumqttc, `serde_json` and questdb-rs: a flush each second or 75,000 rows.
    BareClient,
    /// Telegraf: a request each second.
    Telegraf,
}

/// Everybody; forebay with its default and nearly as fresh as can be.
const KEEPERS: [Keeper; 4] = [Keeper::Telegraf, Keeper::BareClient, Keeper::Forebay("1s"), Keeper::Forebay("35ms")];

/// What it cost.
#[derive(Debug, Clone, Serialize)]
pub struct Paced {
    /// Messages a second that were published.
    pub rate: u64,
    /// Who kept them.
    pub keeper: Keeper,
    /// Messages measured.
    pub messages: u64,
    /// Processors that the database took.
    pub database_cores: f64,
    /// Its processor time a row, in microseconds.
    pub database_us: f64,
    /// Its transactions a second.
    pub transactions_per_s: f64,
    /// Processor time of the program a message, in microseconds.
    pub cpu_us: f64,
    /// Peak anonymous memory in bytes.
    pub anonymous_bytes: u64,
    /// Bytes written a message, and those of its own record; forebay alone.
    pub written: Option<(f64, f64)>,
    /// Receipt to PUBACK, median and 99th percentile, in microseconds; forebay alone.
    pub ack_us: Option<(u64, u64)>,
    /// Arrival to stored, 99th percentile, in milliseconds; forebay alone.
    pub stored_p99_ms: Option<f64>,
}

/// Everybody in turn at each rate, each on a table of its own.
pub fn run(rates: &[u64], seconds: u64, broker: &Mosquitto, questdb: &QuestDb) -> Vec<Paced> {
    let mut results = Vec::new();
    for &rate in rates {
        for keeper in KEEPERS.into_iter().filter(|keeper| *keeper != Keeper::Telegraf || rate <= TELEGRAF_MOST) {
            let readings = Readings::new(unique("paced"), DEVICES);
            let paced = match keeper {
                Keeper::Forebay(freshness) => forebay(rate, freshness, seconds, &readings, broker, questdb),
                Keeper::BareClient | Keeper::Telegraf => other(rate, keeper, seconds, &readings, broker, questdb),
            };
            eprintln!("{rate} msg/s {keeper:?}: QuestDB {:.2} cores", paced.database_cores);
            questdb.settle(&readings.name);
            questdb.sql(&format!("DROP TABLE '{}'", readings.name));
            results.push(paced);
        }
    }
    results
}

/// Measures a process and the database over so many seconds of a flow that runs.
fn measure(
    rate: u64,
    keeper: Keeper,
    seconds: u64,
    load: &Load,
    pid: u32,
    (questdb, table): (&QuestDb, &str),
) -> Paced {
    let server = questdb.id().expect("QuestDB runs");
    let transactions = || questdb.number(&format!("SELECT sequencerTxn FROM wal_tables() WHERE name = '{table}'"));
    let (before, first) = (load.acked(), transactions());
    let (cpu, written, watch, database) =
        (sample::cpu(pid), sample::written(pid), Watch::start(pid), sample::cpu(server));
    let start = Instant::now();
    eventually(LIMIT, "the flow", || start.elapsed() >= Duration::from_secs(seconds));
    let span = start.elapsed().as_secs_f64();
    let database = sample::cpu(server).saturating_sub(database).as_secs_f64();
    let messages = load.acked() - before;
    let a_message = |total: f64| total / messages as f64;
    Paced {
        rate,
        keeper,
        messages,
        database_cores: database / span,
        database_us: a_message(database * 1e6),
        transactions_per_s: (transactions() - first) as f64 / span,
        cpu_us: a_message(sample::cpu(pid).saturating_sub(cpu).as_secs_f64() * 1e6),
        anonymous_bytes: watch.finish().peak(),
        written: Some((a_message((sample::written(pid) - written) as f64), 0.0)),
        ack_us: None,
        stored_p99_ms: None,
    }
}

fn forebay(
    rate: u64,
    freshness: &'static str,
    seconds: u64,
    readings: &Readings,
    broker: &Mosquitto,
    questdb: &QuestDb,
) -> Paced {
    let mut daemon = daemon(readings, broker, questdb, 1, "256MiB").set("batch.freshness", freshness).start();
    daemon.wait_subscribed();
    let load = Load::start(readings, broker.port, rate);
    // The table is made by the first rows, which is no part of a steady flow.
    eventually(LIMIT, "the flow is steady", || load.acked() >= 3 * rate && daemon.ledger("stored") > 0);
    let keeper = Keeper::Forebay(freshness);
    let paced = measure(rate, keeper, seconds, &load, daemon.id(), (questdb, &readings.name));
    let all = load.finish();
    let (status, _) = wait_stored(&daemon, all, 1);
    assert_eq!(daemon.stop().code(), Some(0), "forebay stops in order");
    let ack = &status["broker"]["ack_latency_us"];
    Paced {
        written: paced.written.map(|(written, _)| (written, mean_record(readings, all))),
        ack_us: Some((ack["p50"].as_u64().unwrap_or(0), ack["p99"].as_u64().unwrap_or(0))),
        stored_p99_ms: status["flush"]["stored_latency_us"]["p99"].as_f64().map(|micros| micros / 1e3),
        ..paced
    }
}

fn other(rate: u64, keeper: Keeper, seconds: u64, readings: &Readings, broker: &Mosquitto, questdb: &QuestDb) -> Paced {
    create_table(questdb, &readings.name);
    let process = if keeper == Keeper::Telegraf {
        Process::telegraf(readings, broker, questdb)
    } else {
        Process::bare_client(readings, broker, questdb)
    };
    let load = Load::start(readings, broker.port, rate);
    eventually(LIMIT, "the flow is steady", || load.acked() >= 3 * rate && questdb.count(&readings.name) > 0);
    let paced = measure(rate, keeper, seconds, &load, process.id(), (questdb, &readings.name));
    let all = load.finish();
    eventually(LIMIT, "everything is stored", || questdb.count(&readings.name) as u64 >= all);
    Paced { written: None, ..paced }
}

/// A program that is not forebay.
enum Process {
    Role(Role),
    Telegraf { process: Guarded, _dir: Scratch },
}

impl Process {
    fn id(&self) -> u32 {
        match self {
            Self::Role(role) => role.process.id(),
            Self::Telegraf { process, .. } => process.id(),
        }
    }

    fn bare_client(readings: &Readings, broker: &Mosquitto, questdb: &QuestDb) -> Self {
        let topic = format!("{}/+/+", readings.name);
        let endless = u64::MAX.to_string();
        let [port, rows] = [u64::from(broker.port), CLIENT_ROWS].map(|number| number.to_string());
        Self::Role(Role::start(&["naive".into(), port, topic, "1".into(), endless, questdb.conf(), rows]))
    }

    fn telegraf(readings: &Readings, broker: &Mosquitto, questdb: &QuestDb) -> Self {
        let dir = scratch("telegraf");
        let (configuration, log) = (dir.join("telegraf.conf"), dir.join("log"));
        fs::write(&configuration, telegraf_configuration(&readings.name, broker.port, questdb.port)).expect("a file");
        let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/telegraf");
        let mut process = Guarded::spawn(&program, &log, |command| {
            command.arg("--config").arg(&configuration);
        });
        eventually(LIMIT, "Telegraf is connected", || {
            assert!(process.ended().is_none(), "Telegraf ended: {}", process.log_tail());
            fs::read_to_string(&log).is_ok_and(|log| log.contains("Connected ["))
        });
        Self::Telegraf { process, _dir: dir }
    }
}

/// A request each second, the same topics, tags, fields and times.
fn telegraf_configuration(table: &str, broker: u16, database: u16) -> String {
    let field =
        |(name, kind)| format!("[[inputs.mqtt_consumer.json_v2.field]]\npath = \"{name}\"\ntype = \"{kind}\"\n");
    let fields = [("seq", "int"), ("temperature", "float"), ("humidity", "float"), ("ok", "bool")].map(field).concat();
    format!(
        r#"
[agent]
interval = "1s"
flush_interval = "1s"
metric_batch_size = 10000
metric_buffer_limit = 100000
omit_hostname = true

[[outputs.influxdb_v2]]
urls = ["http://127.0.0.1:{database}"]
token = ""
organization = ""
bucket = ""
content_encoding = "identity"

[[inputs.mqtt_consumer]]
servers = ["tcp://127.0.0.1:{broker}"]
topics = ["{table}/+/+"]
qos = 1
max_undelivered_messages = 10000
topic_tag = ""
data_format = "json_v2"
[[inputs.mqtt_consumer.topic_parsing]]
topic = "{table}/+/+"
tags = "_/site/device"
[[inputs.mqtt_consumer.json_v2]]
measurement_name = "{table}"
timestamp_path = "ts"
timestamp_format = "unix_ms"
{fields}"#
    )
}
