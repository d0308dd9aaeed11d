//! The whole daemon on the measured device: devices, mosquitto and QuestDB write elsewhere.

use std::time::{Duration, Instant};

use forebay::{
    entry::encode_rows,
    point::{Row, Timestamp, Value},
    ring::layout::record_bytes,
};

use crate::{
    Case, Figures,
    place::Place,
    support::{DaemonBuilder, Load, Mosquitto, QuestDb, Readings, eventually, unique},
};

const DEVICES: u64 = 200;
const LIMIT: Duration = Duration::from_mins(5);

/// Publishes at the case's rate for so long, and says what was written.
pub fn run(place: &Place, case: &Case, duration: Duration, broker: &Mosquitto, questdb: &QuestDb) -> Figures {
    let readings = Readings::new(unique("wear"), DEVICES);
    let path = |name: &str| place.directory.join(name).display().to_string();
    for name in ["daemon-ring", "daemon-quarantine"] {
        let _ = std::fs::remove_file(path(name));
    }
    let mut daemon = DaemonBuilder::new()
        .servers(broker, questdb)
        .source(&readings)
        .set("ring.path", path("daemon-ring"))
        .set("ring.size", "128MiB")
        .set("ring.commit_spacing", case.spacing.to_string())
        .set("quarantine.path", path("daemon-quarantine"))
        .start();
    daemon.wait_subscribed();
    let commits = |daemon: &crate::support::Daemon| daemon.status()["ring"]["commit_us"]["count"].as_u64().unwrap_or(0);
    let before = (commits(&daemon), place.device.counters());
    let start = Instant::now();
    let load = Load::start(&readings, broker.port, case.rate);
    eventually(LIMIT, "the load has run", || start.elapsed() >= duration);
    let elapsed = start.elapsed();
    let messages = load.finish();
    let acknowledged = || daemon.status()["broker"]["acknowledged"].as_u64().unwrap_or(0);
    eventually(LIMIT, "everything is acknowledged", || acknowledged() >= messages);
    let written = place.device.counters().since(before.1);
    let commits = commits(&daemon) - before.0;
    let ack_ms =
        ["p50", "p99"].map(|part| daemon.status()["broker"]["ack_latency_us"][part].as_f64().unwrap_or(0.0) / 1e3);
    assert_eq!(daemon.stop().code(), Some(0), "forebay stops in order");
    let mean = |of: &dyn Fn(u64) -> u64| (0..messages).map(of).sum::<u64>() as f64 / messages as f64;
    Figures {
        readings: messages,
        elapsed,
        commits,
        written,
        baseline_bytes: 0,
        taken_bytes: None,
        ack_ms: Some((ack_ms[0], ack_ms[1])),
        message_bytes: Some(mean(&|n| readings.reading(n).1.len() as u64)),
        record_bytes: mean(&|n| record(&readings, n)),
    }
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
