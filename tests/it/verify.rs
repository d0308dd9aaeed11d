//! `forebay verify` beside a real QuestDB: what agrees, what is missing, and what is no fault.

use std::{os::unix::fs::FileExt, time::Duration};

use serde_json::Value;

use crate::support::{
    Daemon, DaemonBuilder, Load, Mosquitto, QuestDb, Readings,
    daemon::{count, pending, told},
    eventually, eventually_eq, heavy,
    impostor::{Impostor, Said},
    unique,
};

const LIMIT: Duration = Duration::from_secs(60);

struct Stage {
    broker: Mosquitto,
    questdb: &'static QuestDb,
    readings: Readings,
    daemon: Daemon,
}

fn stage(stem: &str, change: impl FnOnce(DaemonBuilder, &Readings) -> DaemonBuilder) -> Stage {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique(stem), 10);
    let daemon = change(DaemonBuilder::new().servers(&broker, questdb).source(&readings), &readings).start();
    daemon.wait_subscribed();
    Stage { broker, questdb, readings, daemon }
}

impl Stage {
    fn publish(&self, range: std::ops::Range<u64>) {
        self.readings.publish(&mut self.broker.publisher().expect("connects"), range);
    }

    fn say(&self, payload: &str) {
        let mut publisher = self.broker.publisher().expect("connects");
        publisher.publish(&self.readings.reading(0).0, payload.as_bytes()).expect("publishes");
        publisher.drain(LIMIT).expect("the broker acknowledges");
    }

    /// Exit code and report.
    fn verify(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, out, err) = told(&self.daemon.cli(&[&["verify", "--json"], arguments].concat()));
        let report = serde_json::from_str(&out).unwrap_or_else(|why| panic!("{why}: {code} {out}{err}"));
        (code, report)
    }

    /// Rows that agree, are missing, and differ.
    #[track_caller]
    fn assert_result(&self, agree: u64, missing: u64, differ: u64) -> Value {
        let (code, report) = self.verify(&[]);
        let found = ["agree", "missing", "differ"].map(|name| report[name].as_u64().expect("a count"));
        assert_eq!(found, [agree, missing, differ], "{report}");
        assert_eq!(code, i32::from(missing + differ > 0), "{report}");
        assert_eq!(report["ledger_fault"], Value::Null, "{report}");
        report
    }
}

#[test]
fn each_missing_and_differing_row_is_named() {
    let mut stage = stage("verify", |builder, _| builder);
    let table = stage.readings.name.clone();
    stage.publish(0..10_000);
    stage.daemon.wait_drained(10_000, LIMIT);
    stage.assert_result(10_000, 0, 0);

    // One field of one row, then one row less.
    stage.questdb.sql(&format!("UPDATE '{table}' SET temperature = -1 WHERE seq = 7 AND device = 'dev-3'"));
    stage.questdb.settle(&table);
    let report = stage.assert_result(9_999, 0, 1);
    let finding = &report["findings"][0];
    assert_eq!(
        (&finding["table"], finding["symbols"][0][1].as_str()),
        (&table.clone().into(), Some("dev-3")),
        "{report}"
    );
    let difference = serde_json::json!([{ "field": "temperature", "ring": "15.7", "questdb": "-1" }]);
    assert_eq!(finding["differences"], difference);

    stage
        .questdb
        .sql(&format!("CREATE TABLE '{table}_less' AS (SELECT * FROM '{table}' WHERE seq != 8 OR device != 'dev-4')"));
    stage.questdb.sql(&format!("TRUNCATE TABLE '{table}'"));
    stage.questdb.sql(&format!("INSERT INTO '{table}' SELECT * FROM '{table}_less'"));
    let report = stage.assert_result(9_998, 1, 1);
    let missing =
        report["findings"].as_array().and_then(|all| all.iter().find(|one| one["differences"] == Value::Array(vec![])));
    let missing = missing.expect("the missing one is named");
    assert_eq!((missing["symbols"][0][1].as_str(), missing["row"].as_u64()), (Some("dev-4"), Some(0)), "{report}");
    let (code, out, _) = told(&stage.daemon.cli(&["verify", "--most", "1"]));
    assert_eq!((code, out.contains("… and 1 more"), out.contains("balances")), (1, true, true), "{out}");

    // The same with the daemon gone, and mended by a replay.
    assert_eq!(stage.daemon.stop().code(), Some(0));
    stage.assert_result(9_998, 1, 1);
    stage.daemon.restart();
    assert_eq!(told(&stage.daemon.cli(&["replay", "--since", "1h", "--wait=1m"])).0, 0);
    stage.assert_result(10_000, 0, 0);
}

#[test]
fn a_row_that_is_missing_behind_damage_is_found() {
    const COUNT: u64 = 5_000;
    let mut stage = stage("behind", |builder, _| builder.set("ring.size", "2MiB").set("mqtt.max_payload", "64KiB"));
    let table = stage.readings.name.clone();
    stage.publish(0..COUNT);
    stage.daemon.wait_drained(COUNT, LIMIT);
    eventually(LIMIT, "all is safe, and nobody sends it again", || {
        let ring = stage.daemon.status()["ring"].clone();
        ring["safe"] == ring["settled"]
    });
    // One of the newest readings is not in the database; two in the middle of the ring rot.
    let last = (COUNT - 1) / stage.readings.devices;
    stage.questdb.sql(&format!(
        "CREATE TABLE '{table}_less' AS (SELECT * FROM '{table}' WHERE seq != {last} OR device != 'dev-4')"
    ));
    stage.questdb.sql(&format!("TRUNCATE TABLE '{table}'"));
    stage.questdb.sql(&format!("INSERT INTO '{table}' SELECT * FROM '{table}_less'"));
    eventually_eq(LIMIT, "rows left", COUNT as i64 - 1, || stage.questdb.count(&table));
    for place in [150_000, 300_000] {
        flip_in_rows(&stage.daemon.ring(), place);
    }

    assert_found_behind_damage(&stage, COUNT, last);
    assert_eq!(stage.daemon.stop().code(), Some(0), "{}", stage.daemon.log());
    assert_found_behind_damage(&stage, COUNT, last);
}

/// Flips a bit in the first record's rows behind a place of the ring file.
fn flip_in_rows(ring: &std::path::Path, place: usize) {
    let bytes = std::fs::read(ring).expect("the ring");
    let at = place + bytes[place..].windows(5).position(|window| window == b"site-").expect("rows");
    let file = std::fs::File::options().write(true).open(ring).expect("the ring");
    file.write_all_at(&[bytes[at] ^ 4], at as u64).expect("one byte");
}

/// Two records are told as lost to damage, and reading `last` of device 4, behind them, as missing.
#[track_caller]
fn assert_found_behind_damage(stage: &Stage, readings: u64, last: u64) {
    let report = stage.assert_result(readings - 3, 1, 0);
    assert_eq!(report["excused"]["damaged_records"].as_u64(), Some(2), "{report}");
    let finding = &report["findings"][0];
    let newest = readings - stage.readings.devices;
    assert_eq!(finding["symbols"][0][1].as_str(), Some("dev-4"), "{report}");
    assert!(finding["seq"].as_u64() > Some(newest), "reading {last}: {report}");
    let (code, out, _) = told(&stage.daemon.cli(&["verify"]));
    assert_eq!((code, out.contains("2 records lost to damage")), (1, true), "{out}");
}

#[test]
fn what_is_no_fault_is_not_reported() {
    let stage =
        stage("excused", |builder, readings| builder.set(&format!("source.{}.fields.count", readings.name), "long"));
    let ts = 1_700_000_000_000u64;
    let payloads = [
        // Corrected later, once within and once without the older field.
        format!(r#"{{"ts":{ts},"seq":1,"temperature":1.5,"humidity":2}}"#),
        format!(r#"{{"ts":{ts},"seq":1,"temperature":2.5,"humidity":3}}"#),
        // Values at the edge of what the types can tell.
        format!(r#"{{"ts":{},"seq":9007199254740993,"temperature":1e300,"count":-9223372036854775807}}"#, ts + 1),
        format!(r#"{{"ts":{},"seq":0,"temperature":5e-324,"humidity":0.1,"ok":true}}"#, ts + 2),
        format!(r#"{{"ts":{},"temperature":-0.0,"note":"","Note_B":"ü \"quoted\" \\ \n"}}"#, ts + 3),
        format!(r#"{{"ts":{},"temperature":12,"count":3,"note":"x"}}"#, ts + 4),
        // Refused by the database for its type: nothing but such values goes to a UUID.
        format!(r#"{{"ts":{},"code":"hot"}}"#, ts + 5),
        // No reading at all.
        "rubbish".to_owned(),
    ];
    stage.questdb.sql(&format!(
        "CREATE TABLE '{}' (timestamp TIMESTAMP, device SYMBOL, site SYMBOL, code UUID) TIMESTAMP(timestamp) PARTITION BY DAY WAL \
         DEDUP UPSERT KEYS(timestamp, device, site)",
        stage.readings.name
    ));
    for payload in &payloads {
        stage.say(payload);
    }
    // An older moment gets the value that it lacks from the row before.
    stage.say(&format!(r#"{{"ts":{ts},"seq":4,"temperature":3.5}}"#));
    stage.daemon.wait_drained(payloads.len() as u64 + 1, LIMIT);
    let report = stage.assert_result(5, 0, 0);
    let excused = &report["excused"];
    assert_eq!((excused["superseded"].as_u64(), excused["quarantined"].as_u64()), (Some(2), Some(1)), "{report}");

    // The value of the older row comes back, as from one that overwrote a newer one.
    stage.questdb.sql(&format!("UPDATE '{}' SET humidity = 2 WHERE seq = 4", stage.readings.name));
    stage.questdb.settle(&stage.readings.name);
    let report = stage.assert_result(4, 0, 1);
    let difference = serde_json::json!([{ "field": "humidity", "ring": "3", "questdb": "2" }]);
    assert_eq!(report["findings"][0]["differences"], difference);
}

#[test]
fn tables_without_dedup_are_matched_by_count_and_old_partitions_are_not_due() {
    let stage = stage("plain", |builder, _| builder);
    let table = &stage.readings.name;
    stage.questdb.sql(&format!(
        "CREATE TABLE '{table}' (timestamp TIMESTAMP, device SYMBOL, site SYMBOL) TIMESTAMP(timestamp) PARTITION BY HOUR TTL 2 DAYS WAL"
    ));
    // Two of the same, and one that its table's time to live has taken.
    stage.publish(0..500);
    let (topic, payload) = stage.readings.reading(0);
    let mut publisher = stage.broker.publisher().expect("connects");
    publisher.publish(&topic, payload.as_bytes()).expect("publishes");
    publisher.publish(&topic, br#"{"ts":1700000000000,"seq":1}"#).expect("publishes");
    publisher.drain(LIMIT).expect("the broker acknowledges");
    stage.daemon.wait_drained(502, LIMIT);
    let report = stage.assert_result(501, 0, 0);
    assert_eq!(report["excused"]["expired"].as_u64(), Some(1), "{report}");

    stage.questdb.sql(&format!("CREATE TABLE '{table}_once' AS (SELECT DISTINCT * FROM '{table}')"));
    stage.questdb.sql(&format!("TRUNCATE TABLE '{table}'"));
    stage.questdb.sql(&format!("INSERT INTO '{table}' SELECT * FROM '{table}_once'"));
    stage.assert_result(500, 1, 0);
}

#[test]
fn a_ring_in_use_is_verified_and_its_tail_may_move() {
    let stage = stage("inuse", |builder, _| builder.set("ring.size", "2MiB").set("mqtt.max_payload", "64KiB"));
    let load = Load::start(&stage.readings, stage.broker.port, 3_000);
    let mut verified = 0;
    for _ in 0..5 {
        let enough = load.acked() + 4_000;
        eventually(LIMIT, "the load goes on", || load.acked() >= enough);
        let (code, report) = stage.verify(&["--table", &stage.readings.name]);
        assert_eq!(code, 0, "{report}");
        verified += report["agree"].as_u64().expect("a count");
    }
    assert!(verified > 10_000, "{verified}");
    let published = load.finish();
    stage.daemon.wait_drained(published, LIMIT);
    let (code, report) = stage.verify(&["--since", "1h"]);
    assert_eq!((code, &report["excused"]["pending"]), (0, &0.into()), "{report}");
    assert_eq!(told(&stage.daemon.cli(&["verify", "--since", "2100-01-01T00:00:00Z"])).0, 3);
}

#[test]
fn what_cannot_be_compared_has_codes_of_its_own() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::prepared(None));
    let readings = Readings::new(unique("codes"), 1);
    let mut daemon = DaemonBuilder::new().servers(&broker, &questdb).source(&readings).start();
    daemon.wait_subscribed();
    readings.publish(&mut broker.publisher().expect("connects"), 0..10);
    eventually(LIMIT, "all are taken in", || daemon.ledger("messages") == 10);
    // Nothing is settled, so there is nothing to ask.
    let (code, out, err) = told(&daemon.cli(&["verify"]));
    assert_eq!((code, out.contains("10 rows still to be stored")), (0, true), "{out}{err}");
    daemon.kill9();
    let ring = daemon.ring();
    std::fs::remove_file(&ring).expect("the ring is there");
    let (code, _, err) = told(&daemon.cli(&["verify"]));
    assert_eq!((code, err.contains("ring")), (5, true), "{err}");
    std::fs::write(&ring, vec![7; 100_000]).expect("written");
    let (code, _, err) = told(&daemon.cli(&["verify"]));
    assert_eq!((code, err.contains("is no ring, or nothing is left of it")), (5, true), "{err}");
}

#[test]
fn many_corrections_far_apart_are_explained() {
    let stage = stage("many", |builder, _| builder);
    // More suspects than are kept at a time, each explained far behind; and moments far apart in a dense table.
    let count = 12_000;
    for version in [1, 2] {
        let mut publisher = stage.broker.publisher().expect("connects");
        for n in 0..count {
            let (topic, payload) = stage.readings.reading(n);
            let payload = payload.replacen('{', &format!("{{\"version\":{version},"), 1);
            publisher.publish(&topic, payload.as_bytes()).expect("publishes");
        }
        publisher.drain(LIMIT).expect("the broker acknowledges");
    }
    let (first, last) = (stage.readings.reading(0), stage.readings.reading(count - 11));
    stage.readings.publish(&mut stage.broker.publisher().expect("connects"), count..40_000);
    let mut publisher = stage.broker.publisher().expect("connects");
    for (topic, payload) in [first, last] {
        publisher.publish(&topic, payload.as_bytes()).expect("publishes");
    }
    publisher.drain(LIMIT).expect("the broker acknowledges");
    stage.daemon.wait_drained(count + 40_002, LIMIT);
    // What came last of two moments lacks the version, and gets it from the row before: those rows
    // agree as well.
    let report = stage.assert_result(40_002, 0, 0);
    assert_eq!(report["excused"]["superseded"].as_u64(), Some(count), "{report}");
}

#[test]
fn the_ledger_is_exact_across_kills_whatever_became_of_the_rows() {
    let mut stage = stage("ledger", |builder, _| builder);
    let table = stage.readings.name.clone();
    stage.questdb.sql(&format!(
        "CREATE TABLE '{table}' (timestamp TIMESTAMP, device SYMBOL, site SYMBOL, code UUID) TIMESTAMP(timestamp) \
         PARTITION BY DAY WAL DEDUP UPSERT KEYS(timestamp, device, site)"
    ));
    let (rounds, each) = (6, 400);
    for round in 0..rounds {
        let mut publisher = stage.broker.publisher().expect("connects");
        for n in round * each..(round + 1) * each {
            let (topic, mut payload) = stage.readings.reading(n);
            // Every tenth is refused by the database.
            if n % 10 == 0 {
                payload = payload.replacen("\"temperature\":", "\"code\":\"hot\",\"t\":", 1);
            }
            publisher.publish(&topic, payload.as_bytes()).expect("publishes");
        }
        publisher.drain(LIMIT).expect("the broker acknowledges");
        let settled = stage.daemon.ledger("stored");
        eventually(LIMIT, "some of it is stored", || stage.daemon.ledger("stored") > settled || round % 2 == 1);
        stage.daemon.kill9();
        stage.daemon.restart();
        stage.daemon.wait_subscribed();
    }
    let good = rounds * each * 9 / 10;
    eventually_eq(LIMIT, "rows that are good", good as i64, || stage.questdb.count(&table));
    eventually_eq(LIMIT, "rows still to be stored", 0, || pending(&stage.daemon.status()["ledger"]));
    let ledger = stage.daemon.status()["ledger"].clone();
    let [rows, stored, quarantined] = ["rows", "stored", "quarantined"].map(|name| count(&ledger, name));
    // What was under way at a kill is delivered a second time, and counted as often.
    assert!(stored >= good && quarantined >= rounds * each / 10 && stored + quarantined == rows, "{ledger}");
    assert_eq!(stage.daemon.database()["quarantine"]["entries"].as_u64(), Some(quarantined), "{ledger}");
    let (code, report) = stage.verify(&[]);
    assert_eq!((code, report["excused"]["quarantined"].as_u64()), (0, Some(quarantined)), "{report}");
    assert_eq!(
        report["agree"].as_u64().zip(report["excused"]["superseded"].as_u64()).map(|(a, b)| a + b),
        Some(stored)
    );
}

#[test]
fn rows_dropped_for_want_of_room_are_counted_across_kills() {
    let _alone = heavy();
    let (broker, mut questdb) = (Mosquitto::start(), QuestDb::prepared(None));
    let readings = Readings::new(unique("dropped"), 1);
    let builder = DaemonBuilder::new().servers(&broker, &questdb).source(&readings).set("ring.on_full", "drop-oldest");
    let mut daemon = builder.set("ring.size", "2MiB").set("mqtt.max_payload", "64KiB").start();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    for round in 0..5 {
        readings.publish(&mut publisher, round * 8_000..(round + 1) * 8_000);
        daemon.kill9();
        daemon.restart();
        daemon.wait_subscribed();
    }
    questdb.restart();
    eventually_eq(LIMIT, "rows still to be stored", 0, || pending(&daemon.status()["ledger"]));
    questdb.settle(&readings.name);
    let ledger = daemon.status()["ledger"].clone();
    let [rows, stored, dropped] = ["rows", "stored", "dropped"].map(|name| count(&ledger, name));
    assert!(dropped > 10_000 && rows >= 40_000 && stored + dropped == rows, "{ledger}");
    assert!(questdb.count(&readings.name) as u64 <= stored, "{ledger}");
    let (code, out, err) = told(&daemon.cli(&["verify"]));
    assert_eq!((code, out.contains("0 are missing, 0 differ")), (0, true), "{out}{err}");
}

#[test]
fn a_table_that_cannot_be_compared_is_named_and_the_others_are_compared() {
    let (other, odd) = (unique("other"), unique("odd"));
    let (name, pattern) = (odd.clone(), format!("{other}/{{device}}"));
    let mut stage = stage("uncompared", |builder, _| {
        builder.set(&format!("source.{other}.topic"), pattern).set(&format!("source.{other}.table"), name)
    });
    stage.publish(0..100);
    let mut publisher = stage.broker.publisher().expect("connects");
    for n in 0..20 {
        publisher.publish(&format!("{other}/d{n}"), b"{\"v\":1}").expect("publishes");
    }
    publisher.drain(LIMIT).expect("the broker acknowledges");
    stage.daemon.wait_drained(120, LIMIT);
    stage.assert_result(120, 0, 0);

    let impostor = Impostor::before(Some(stage.questdb.port), |_| Said::Passed);
    let conf = impostor.conf();
    stage.daemon.reconfigure(|builder| builder.set("questdb.conf", conf));
    let large = format!("{{\"columns\":[{{\"name\":\"{}\"}}],\"dataset\":[]}}", "x".repeat(9 << 20));
    for body in ["{}".to_owned(), "<html>Sign in</html>".to_owned(), String::new(), large] {
        let about = odd.clone();
        impostor.say(move |line| if line.contains(&about) { Said::Whole(200, body.clone()) } else { Said::Passed });
        let (code, report) = stage.verify(&[]);
        let uncompared = &report["uncompared"];
        assert_eq!((code, &report["agree"], &report["missing"]), (1, &100.into(), &0.into()), "{report}");
        assert_eq!((&uncompared[0]["table"], &uncompared[0]["rows"]), (&odd.clone().into(), &20.into()), "{report}");
        assert_eq!((uncompared.as_array().map(Vec::len), &report["tables"]), (Some(1), &1.into()), "{report}");
    }
    let (code, out, err) = told(&stage.daemon.cli(&["verify"]));
    assert!(code == 1 && out.contains(&format!("not compared  {odd}  (20 rows)")), "{out}{err}");
    assert_eq!(stage.verify(&["--table", &stage.readings.name]).0, 0, "the odd one is not asked about");
    impostor.say(|_| Said::Passed);
    stage.assert_result(120, 0, 0);
}
