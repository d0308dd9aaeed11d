//! Payloads of every shape through the daemon: line protocol, CSV, rows anywhere in a document, jq,
//! packed payloads, user properties; and what is left out by a pattern.

use std::{io::Write, time::Duration};

use flate2::{Compression, write::GzEncoder};
use rumqttc::v5::{
    Client, Event, Incoming, MqttOptions,
    mqttbytes::{QoS, v5::PublishProperties},
};
use serde_json::{Value, json};

use crate::support::{Daemon, DaemonBuilder, Mosquitto, QuestDb, eventually, eventually_eq, unique};

const LIMIT: Duration = Duration::from_secs(60);

fn list(texts: &[&str]) -> toml::Value {
    texts.iter().map(|text| toml::Value::from(*text)).collect::<Vec<_>>().into()
}

fn publish(broker: &Mosquitto, messages: &[(&str, &[u8])]) {
    let mut publisher = broker.publisher().expect("connects");
    for (topic, payload) in messages {
        publisher.publish(topic, payload).expect("publishes");
    }
    publisher.drain(LIMIT).expect("the broker acknowledges");
}

/// What is counted of a source beside the ledger's sum.
fn counted(daemon: &Daemon, source: &str, counter: &str) -> u64 {
    let status = daemon.status();
    let counted = status["ring"]["counted"].as_array().cloned().unwrap_or_default();
    counted.iter().find(|of| of["source"] == source).and_then(|of| of[counter].as_u64()).unwrap_or(0)
}

#[test]
fn the_lines_of_one_message_go_to_their_tables_and_come_once() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let (cpu, mem) = (unique("cpu"), unique("mem"));
    let builder = DaemonBuilder::new().set("source.t.topic", "telegraf/{host}/#").set("source.t.format", "line");
    let mut daemon = builder.servers(&broker, questdb).start();
    daemon.wait_subscribed();
    let lines = format!(
        "{cpu},cpu=cpu0 idle=98.5 1780228800000000000\n{mem} used=2i 1780228800\n{mem} used=\n{cpu},cpu=cpu1 idle=97.5 1780228800000"
    );
    publish(&broker, &[("telegraf/pi/all", lines.as_bytes())]);
    daemon.wait_drained(1, LIMIT);
    for table in [&cpu, &mem] {
        questdb.settle(table);
    }
    let rows = questdb.sql(&format!("SELECT cpu, host, idle FROM '{cpu}' ORDER BY cpu"));
    assert_eq!(json!(rows), json!([["cpu0", "pi", 98.5], ["cpu1", "pi", 97.5]]));
    assert_eq!(json!(questdb.sql(&format!("SELECT host, used FROM '{mem}'"))), json!([["pi", 2]]));
    assert_eq!((daemon.ledger("rows"), daemon.ledger("dead_letters")), (3, 1), "a bad line costs itself");
    // Latest values know each table, after a restart too.
    for _ in 0..2 {
        let (code, said, error) = crate::support::daemon::told(&daemon.cli(&["get", &mem, "host=pi", "--json"]));
        assert!(code == 0 && said.contains("\"used\":2"), "{said} {error}");
        assert!(daemon.stop().success(), "{}", daemon.log());
        daemon.restart();
    }
}

#[test]
fn rows_anywhere_csv_and_packed_payloads_are_stored() {
    let (broker, questdb, table) = (Mosquitto::start(), QuestDb::shared(), unique("shapes"));
    let daemon = DaemonBuilder::new()
        .set("source.rows.topic", "rows/{gateway}")
        .set("source.rows.table", table.as_str())
        .set("source.rows.rows", "*[].values")
        .set("source.rows.timestamp.field", "^.ts")
        .set("source.rows.tags.device", "{key}")
        .set("source.csv.topic", "csv/{gateway}")
        .set("source.csv.table", table.as_str())
        .set("source.csv.format", "csv")
        .set("source.csv.columns", list(&["time", "device", "t"]))
        .set("source.csv.symbols", list(&["device"]))
        .set("source.csv.timestamp.field", "time")
        .set("source.csv.timestamp.zone", "+02:00")
        .servers(&broker, questdb)
        .start();
    daemon.wait_subscribed();
    let document = br#"{"a":[{"ts":1780000000,"values":{"t":1}},{"ts":1780000001,"values":{"t":2}}],"b":[{"ts":1780000000,"values":{"t":3}}]}"#;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(document).expect("packs");
    let packed = gzip.finish().expect("packs");
    publish(&broker, &[("rows/g1", document), ("rows/g2", &packed), ("csv/g3", b"2026-05-28 22:26:40,c,4\n")]);
    daemon.wait_drained(3, LIMIT);
    questdb.settle(&table);
    let statement = format!("SELECT gateway, device, t, timestamp FROM '{table}' ORDER BY gateway, device, timestamp");
    let (first, second) = ("2026-05-28T20:26:40.000000Z", "2026-05-28T20:26:41.000000Z");
    let of = |gateway: &str| {
        [json!([gateway, "a", 1.0, first]), json!([gateway, "a", 2.0, second]), json!([gateway, "b", 3.0, first])]
    };
    let expected: Vec<Value> = [&of("g1")[..], &of("g2"), &[json!(["g3", "c", 4.0, first])]].concat();
    assert_eq!(json!(questdb.sql(&statement)), json!(expected));
}

#[test]
fn a_jq_program_that_does_not_end_costs_its_own_source_alone() {
    let (broker, questdb, table) = (Mosquitto::start(), QuestDb::shared(), unique("jq"));
    let daemon = DaemonBuilder::new()
        .set("source.good.topic", "good/{x}")
        .set("source.good.table", table.as_str())
        .set("source.good.jq", ".values[] | {id, v}")
        .set("source.good.symbols", list(&["id"]))
        .set("source.bad.topic", "bad/{x}")
        .set("source.bad.table", table.as_str())
        .set("source.bad.jq", "if .loop then def f: f; f elif .grow then [range(1e12)] else . end")
        .servers(&broker, questdb)
        .start();
    daemon.wait_subscribed();
    let good = br#"{"values":[{"id":"a","v":1},{"id":"b","v":2}]}"#;
    publish(
        &broker,
        &[("good/1", good), ("bad/1", b"{\"loop\":true}"), ("bad/1", b"{\"grow\":true}"), ("bad/1", b"{\"v\":3}")],
    );
    publish(&broker, &[("bad/1", b"{\"loop\":true}"), ("bad/1", b"{\"loop\":true}"), ("bad/1", b"{\"loop\":true}")]);
    publish(&broker, &[("bad/1", b"{\"v\":4}"), ("good/2", good)]);
    daemon.wait_drained(9, LIMIT);
    questdb.settle(&table);
    assert_eq!(questdb.count(&table), 5, "two of each good message, and one that came between the bad ones");
    assert_eq!(daemon.ledger("dead_letters"), 6);
    let (_, said, _) = crate::support::daemon::told(&daemon.cli(&["quarantine", "ls", "--json"]));
    for reason in ["took longer than", "took more than", "tried again in"] {
        assert!(said.contains(reason), "{reason}: {said}");
    }
}

#[test]
fn what_a_pattern_or_exclude_leaves_out_is_counted_and_dropped() {
    let (broker, questdb, table) = (Mosquitto::start(), QuestDb::shared(), unique("part"));
    let daemon = DaemonBuilder::new()
        .set("source.shelly.topic", list(&["shelly-{id}/status", "shelly-{id}/status/{part}"]))
        .set("source.shelly.exclude", list(&["+/status/sys"]))
        .set("source.shelly.table", table.as_str())
        .servers(&broker, questdb)
        .start();
    daemon.wait_subscribed();
    publish(
        &broker,
        &[
            ("shelly-1/status", b"{\"v\":1}"),
            ("shelly-1/status/switch", b"{\"v\":2}"),
            ("shelly-1/status/sys", b"{\"v\":3}"),
            ("tasmota-1/status", b"{\"v\":4}"),
        ],
    );
    eventually_eq(LIMIT, "counted", 2, || counted(&daemon, "shelly", "unmatched"));
    daemon.wait_drained(2, LIMIT);
    questdb.settle(&table);
    assert_eq!((questdb.count(&table), daemon.ledger("dead_letters")), (2, 0));
    eventually(LIMIT, "acknowledged", || daemon.broker()["unacknowledged"] == 0);
}

#[test]
fn a_user_property_becomes_a_symbol() {
    let (broker, questdb, table) = (Mosquitto::start(), QuestDb::shared(), unique("property"));
    let daemon = DaemonBuilder::new()
        .set("source.s.topic", "p/{x}")
        .set("source.s.table", table.as_str())
        .set("source.s.format", "plain")
        .set("source.s.user_properties", list(&["unit"]))
        .servers(&broker, questdb)
        .start();
    daemon.wait_subscribed();
    let address: (String, u16) = broker
        .url()
        .rsplit_once("//")
        .and_then(|(_, address)| address.split_once(':'))
        .and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)))
        .expect("an address");
    let (client, mut connection) = Client::new(MqttOptions::new("property", address.0, address.1), 10);
    let properties =
        PublishProperties { user_properties: vec![("unit".into(), "°C".into())], ..PublishProperties::default() };
    client.publish_with_properties("p/1", QoS::AtLeastOnce, false, "21.5", properties).expect("queued");
    let acknowledged = |event| matches!(event, Ok(Event::Incoming(Incoming::PubAck(_))));
    assert!(connection.iter().any(acknowledged), "the broker acknowledges");
    daemon.wait_drained(1, LIMIT);
    questdb.settle(&table);
    assert_eq!(json!(questdb.sql(&format!("SELECT unit, x, value FROM '{table}'"))), json!([["°C", "1", 21.5]]));
}

/// The steps of docs/sources.md.
#[test]
fn a_column_that_began_with_the_wrong_type_is_put_right() {
    let (broker, questdb, table) = (Mosquitto::start(), QuestDb::shared(), unique("wrong"));
    let builder = DaemonBuilder::new().set("source.s.topic", "w/{x}").set("source.s.table", table.as_str());
    let mut daemon = builder.servers(&broker, questdb).start();
    daemon.wait_subscribed();
    publish(&broker, &[("w/1", b"{\"v\":\"21,5\"}")]);
    daemon.wait_drained(1, LIMIT);
    publish(&broker, &[("w/2", b"{\"v\":22.5}")]);
    daemon.wait_drained(2, LIMIT);
    questdb.settle(&table);
    assert_eq!(
        json!(questdb.sql(&format!("SELECT v, v_double FROM '{table}'"))),
        json!([["21,5", null], [null, 22.5]])
    );
    assert!(daemon.stop().success(), "{}", daemon.log());
    daemon.reconfigure(|builder| builder.set("source.s.fields.v", "double"));
    daemon.restart();
    daemon.wait_subscribed();
    publish(&broker, &[("w/3", b"{\"v\":\"23,5\"}")]);
    daemon.wait_drained(3, LIMIT);
    for step in ["ALTER COLUMN v TYPE DOUBLE", "DROP COLUMN v_double"] {
        if step.starts_with("DROP") {
            questdb.sql(&format!("UPDATE '{table}' SET v = v_double WHERE v IS NULL"));
            questdb.settle(&table);
        }
        questdb.sql(&format!("ALTER TABLE '{table}' {step}"));
        questdb.settle(&table);
    }
    publish(&broker, &[("w/4", b"{\"v\":24.5}")]);
    let values = || {
        let rows = questdb.sql(&format!("SELECT v FROM '{table}' WHERE v IS NOT NULL ORDER BY v"));
        json!(rows)
    };
    eventually_eq(LIMIT, "all that are numbers", json!([[22.5], [23.5], [24.5]]), values);
}
