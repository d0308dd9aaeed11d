//! One measured run of a contender.

use std::{
    ops::Range,
    time::{Duration, Instant, SystemTime},
};

use forebay::{
    entry::encode_rows,
    point::{Row, Timestamp, Value},
    ring::layout::record_bytes,
};
use serde::Serialize;
use serde_json::Value as Json;

use crate::{
    Plan,
    common::{
        memory,
        role::Role,
        sample::{self, Watch},
    },
    support::{Daemon, DaemonBuilder, Mosquitto, QuestDb, Readings, unique},
};

/// Devices that publish.
pub const DEVICES: u64 = 200;
const LIMIT: Duration = Duration::from_mins(10);

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Contender {
    /// Only acknowledges.
    Reader,
    /// Acknowledges at once and keeps rows in memory.
    Naive,
    /// The program.
    Forebay,
}

/// In the order of a round.
pub const ALL: [Contender; 3] = [Contender::Reader, Contender::Naive, Contender::Forebay];

impl Contender {
    /// As shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reader => "bare reader",
            Self::Naive => "naive program",
            Self::Forebay => "forebay",
        }
    }
}

/// What one run measured.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Who.
    pub contender: Contender,
    /// Quality of service of publications and subscription.
    pub qos: u8,
    /// Messages handled; fewer than published only at QoS 0.
    pub messages: u64,
    /// Messages a second, from the first publication until the last message is handled (forebay, naive: is in QuestDB).
    pub per_second: f64,
    /// CPU time a message in microseconds.
    pub cpu_us: f64,
    /// Peak anonymous memory in bytes.
    pub anonymous_bytes: u64,
    /// Bytes written to storage a message.
    pub written_per_message: f64,
    /// Bytes of a message's own record, without pads and commits (docs/ring-format.md, "Record").
    pub record_per_message: f64,
    /// Bytes of ring a message takes, pads and commits included.
    pub ring_per_message: f64,
    /// Receive to PUBACK: median and 99th percentile in microseconds.
    pub ack_us: Option<(u64, u64)>,
}

impl Run {
    /// Bytes written to storage over the bytes of the record itself; 0 for who keeps no record.
    pub fn written_times(&self) -> f64 {
        if self.record_per_message > 0.0 { self.written_per_message / self.record_per_message } else { 0.0 }
    }
}

/// Publishes `range` at `qos`, and waits until the broker has it all.
fn publish(readings: &Readings, broker: &Mosquitto, qos: u8, messages: &[(String, String)]) {
    let mut publisher = broker.publisher().expect("the broker is there");
    for (topic, payload) in messages {
        let sent = match qos {
            0 => publisher.publish_qos0(topic, payload.as_bytes()),
            _ => publisher.publish(topic, payload.as_bytes()),
        };
        sent.unwrap_or_else(|why| panic!("publishing for {}: {why}", readings.name));
    }
    publisher.drain(LIMIT).expect("the broker acknowledges");
}

fn encoded(readings: &Readings, range: Range<u64>) -> Vec<(String, String)> {
    range.map(|n| readings.reading(n)).collect()
}

/// Runs one contender once.
pub fn run(contender: Contender, qos: u8, plan: &Plan, broker: &Mosquitto, questdb: &QuestDb) -> Run {
    let readings = Readings::new(unique("bench"), DEVICES);
    let messages = encoded(&readings, 0..plan.messages);
    memory::bring_to_hand();
    let run = match contender {
        Contender::Forebay => run_forebay(qos, &readings, &messages, broker, questdb),
        Contender::Reader | Contender::Naive => run_role(contender, qos, &readings, &messages, broker, questdb),
    };
    if contender != Contender::Reader {
        questdb.settle(&readings.name);
        let rows = questdb.count(&readings.name);
        assert_eq!(rows as u64, run.messages, "{}: rows in QuestDB", contender.name());
        questdb.sql(&format!("DROP TABLE '{}'", readings.name));
    }
    run
}

/// The table as forebay creates it.
pub fn create_table(questdb: &QuestDb, table: &str) {
    questdb.sql(&format!(
        "CREATE TABLE '{table}' (timestamp TIMESTAMP, device SYMBOL, site SYMBOL, seq LONG, temperature DOUBLE, \
         humidity DOUBLE, ok BOOLEAN) TIMESTAMP(timestamp) PARTITION BY DAY WAL DEDUP UPSERT KEYS(timestamp, device, site)"
    ));
}

fn run_role(
    contender: Contender,
    qos: u8,
    readings: &Readings,
    messages: &[(String, String)],
    broker: &Mosquitto,
    questdb: &QuestDb,
) -> Run {
    let name = if contender == Contender::Reader { "reader" } else { "naive" };
    if contender == Contender::Naive {
        create_table(questdb, &readings.name);
    }
    let topic = format!("{}/+/+", readings.name);
    let mut role = Role::start(&[
        name.into(),
        broker.port.to_string(),
        topic,
        qos.to_string(),
        messages.len().to_string(),
        questdb.conf(),
    ]);
    let pid = role.process.id();
    let (cpu, written, watch) = (sample::cpu(pid), sample::written(pid), Watch::start(pid));
    let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    publish(readings, broker, qos, messages);
    let result = role.result();
    let handled = result["messages"].as_u64().expect("a count");
    let mut elapsed = Duration::from_micros(result["end_us"].as_u64().expect("a time")).saturating_sub(start);
    if handled < messages.len() as u64 {
        // It waited in vain for what the broker dropped.
        elapsed = elapsed.saturating_sub(Duration::from_secs(3));
    }
    Run {
        contender,
        qos,
        messages: handled,
        per_second: handled as f64 / elapsed.as_secs_f64(),
        cpu_us: sample::cpu(pid).saturating_sub(cpu).as_secs_f64() * 1e6 / handled as f64,
        anonymous_bytes: watch.finish().peak(),
        written_per_message: (sample::written(pid) - written) as f64 / handled as f64,
        record_per_message: 0.0,
        ring_per_message: 0.0,
        ack_us: None,
    }
}

/// A daemon with its defaults: durability `commit`, a ring of 256 MiB.
pub fn daemon(readings: &Readings, broker: &Mosquitto, questdb: &QuestDb, qos: u8, ring: &str) -> DaemonBuilder {
    DaemonBuilder::new()
        .servers(broker, questdb)
        .source(readings)
        .set(&format!("source.{}.qos", readings.name), i64::from(qos))
        .set("ring.size", ring)
        .set("questdb.resend_window", "1min")
}

fn run_forebay(
    qos: u8,
    readings: &Readings,
    messages: &[(String, String)],
    broker: &Mosquitto,
    questdb: &QuestDb,
) -> Run {
    let mut daemon = daemon(readings, broker, questdb, qos, "256MiB").start();
    daemon.wait_subscribed();
    let pid = daemon.id();
    let (cpu, written, watch) = (sample::cpu(pid), sample::written(pid), Watch::start(pid));
    let start = Instant::now();
    publish(readings, broker, qos, messages);
    let (status, end) = wait_stored(&daemon, messages.len() as u64, qos);
    let handled = status["ledger"]["stored"].as_u64().expect("a count");
    let ack = &status["broker"]["ack_latency_us"];
    let run = Run {
        contender: Contender::Forebay,
        qos,
        messages: handled,
        per_second: handled as f64 / (end - start).as_secs_f64(),
        cpu_us: sample::cpu(pid).saturating_sub(cpu).as_secs_f64() * 1e6 / handled as f64,
        anonymous_bytes: watch.finish().peak(),
        written_per_message: (sample::written(pid) - written) as f64 / handled as f64,
        record_per_message: mean_record(readings, messages.len() as u64),
        ring_per_message: status["ring"]["used_bytes"].as_f64().unwrap_or(0.0) / handled as f64,
        ack_us: (qos == 1).then(|| (ack["p50"].as_u64().unwrap_or(0), ack["p99"].as_u64().unwrap_or(0))),
    };
    assert_eq!(daemon.stop().code(), Some(0), "forebay stops in order");
    run
}

/// Bytes of a reading's record, on average over readings `0..count`.
pub fn mean_record(readings: &Readings, count: u64) -> f64 {
    (0..count).map(|n| record(readings, n)).sum::<u64>() as f64 / count as f64
}

/// Bytes of the record that reading `n` becomes.
fn record(readings: &Readings, n: u64) -> u64 {
    let (topic, _) = readings.reading(n);
    let mut levels = topic.split('/').skip(1);
    let mut symbol = |name: &str| (name.into(), levels.next().unwrap_or_default().into());
    let (site, device) = (symbol("site"), symbol("device"));
    let fields = [
        ("seq", Value::Long(0)),
        ("temperature", Value::Double(0.0)),
        ("humidity", Value::Double(0.0)),
        ("ok", Value::Bool(true)),
    ];
    let fields = fields.map(|(name, value)| (name.into(), value)).to_vec();
    let row =
        Row { time: Some(Timestamp(0)), device_time: true, symbols: vec![device, site], fields, ..Row::default() };
    let mut body = Vec::new();
    encode_rows(&readings.name, &[row], &mut body).expect("a reading is within the limits");
    record_bytes(body.len())
}

/// Asks for the status often enough to be exact to 1 % and seldom enough to cost nothing worth counting.
pub fn wait_stored(daemon: &Daemon, messages: u64, qos: u8) -> (Json, Instant) {
    const INTERVAL: Duration = Duration::from_millis(25);
    const QOS0_IDLE: Duration = Duration::from_secs(3);
    let begin = Instant::now();
    let (mut last, mut changed, mut asked) = (0, Instant::now(), false);
    loop {
        let status = daemon.status();
        let stored = status["ledger"]["stored"].as_u64().unwrap_or(0);
        if stored != last {
            (last, changed) = (stored, Instant::now());
        }
        // The last batch does not wait for company that does not come.
        if !asked && status["ledger"]["messages"].as_u64() >= Some(messages) {
            asked = daemon.request("POST", "/v1/flush", "").is_ok_and(|answer| answer.code == 202);
        }
        if stored >= messages || (qos == 0 && stored > 0 && changed.elapsed() > QOS0_IDLE) {
            return (status, changed);
        }
        assert!(begin.elapsed() < LIMIT, "not stored within {LIMIT:?}: {status}");
        std::thread::sleep(INTERVAL);
    }
}
