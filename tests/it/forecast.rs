//! What status foretells of the ring comes true.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{
    Daemon, DaemonBuilder, Load, Mosquitto, QuestDb, Readings, daemon::told, eventually, eventually_some, heavy, unique,
};

/// The bytes of the ring that a reading takes vary with how many share a commit, and the rate is a mean over all the time before.
const TOLERANCE: f64 = 0.25;

/// A ring of 6 MiB, and a database that is sent five rows a request.
fn stage(broker: &Mosquitto, questdb: &QuestDb, readings: &Readings) -> Daemon {
    let daemon = DaemonBuilder::new()
        .servers(broker, questdb)
        .source(readings)
        .set("ring.size", "6MiB")
        .set("mqtt.max_payload", "64KiB")
        .set("batch.strategy", "hybrid")
        .set("batch.max_rows", 5)
        .set("batch.max_lanes", 1)
        .start();
    daemon.wait_subscribed();
    daemon
}

#[test]
fn the_ring_is_full_when_it_was_said_to_be_and_drains_when_the_database_is_back() {
    const PER_SECOND: u64 = 1_000;
    let _alone = heavy();
    let (broker, mut questdb) = (Mosquitto::start(), QuestDb::start());
    let readings = Readings::new(unique("forecast"), 50);
    let daemon = stage(&broker, &questdb, &readings);
    let load = Load::start(&readings, broker.port, PER_SECOND);
    eventually(Duration::from_mins(1), "rows are stored", || daemon.ledger("stored") > 8 * PER_SECOND);
    let forecast = daemon.status()["forecast"].clone();
    assert_eq!(forecast["full_in_s"], Value::Null, "the database keeps up: {forecast}");
    questdb.kill9();
    eventually(Duration::from_mins(1), "most of the ring is taken", || fill(&daemon.status()) > 0.6);

    // The daemon has kept the forecast's history by itself: looking at it adds nothing.
    let asked = Instant::now();
    let forecast = daemon.status()["forecast"].clone();
    let foretold = forecast["full_in_s"].as_f64().unwrap_or_else(|| panic!("{forecast}"));
    assert_eq!(forecast["drained_in_s"], Value::Null, "nothing drains: {forecast}");
    let covered = forecast["outage_covered_s"].as_f64().expect("known");
    assert!((covered - foretold).abs() < TOLERANCE * covered, "the outage has begun, so it is the same: {forecast}");
    let (code, out, err) = told(&daemon.cli(&["status"]));
    assert_eq!(code, 0, "{err}");
    assert!(out.lines().any(|line| line.trim_start().starts_with("forecast") && line.contains("full in ")), "{out}");
    let metrics = daemon.request("GET", "/metrics", "").expect("answers").body;
    assert!(metrics.contains("\nforebay_ring_full_in_seconds "), "{metrics}");
    assert!(!metrics.contains("\nforebay_ring_drained_in_seconds "), "{metrics}");

    eventually(Duration::from_mins(1), "the ring is full", || daemon.status()["ring"]["full"] == true);
    let was = asked.elapsed().as_secs_f64();
    assert!((foretold - was).abs() <= TOLERANCE * was, "full after {was:.1} s, foretold {foretold:.1} s: {forecast}");
    let full = daemon.status()["forecast"]["full_in_s"].as_f64().expect("known");
    assert!(full < 1.0, "a full ring is full now, or as good as: {full} s");

    let published = load.finish();
    questdb.restart();
    let drained = eventually_some(Duration::from_mins(1), "a drain is foretold", || {
        let forecast = daemon.status()["forecast"].clone();
        forecast["drained_in_s"].as_f64().filter(|_| forecast["backlog_bytes"].as_u64() > Some(1 << 20))
    });
    // What is settled in the first seconds is averaged with the outage before, so it can only come sooner.
    let foretold = Instant::now();
    daemon.wait_drained(published, Duration::from_mins(2));
    let was = foretold.elapsed().as_secs_f64();
    assert!(was <= drained * (1.0 + TOLERANCE) + 1.0, "drained after {was:.1} s, foretold {drained:.1} s");
    eventually(Duration::from_secs(30), "nothing waits, nothing fills up", || {
        let forecast = daemon.status()["forecast"].clone();
        forecast["drained_in_s"].as_f64() == Some(0.0) && forecast["full_in_s"].is_null()
    });
}

fn fill(status: &Value) -> f64 {
    status["ring"]["fill"].as_f64().unwrap_or(0.0)
}
