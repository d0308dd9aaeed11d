//! "What is the latest value?", over the socket and the command line.

use std::time::Duration;

use serde_json::Value;

use crate::support::{DaemonBuilder, Mosquitto, QuestDb, Readings, daemon::told, eventually, eventually_eq, unique};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn the_latest_value_is_visible_becomes_stored_and_survives_a_kill() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("latest"), 3);
    let name = readings.name.clone();
    let mut daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    daemon.wait_subscribed();
    readings.publish(&mut broker.publisher().expect("connects"), 0..30);

    let target = format!("/v1/latest?table={name}&device=dev-1");
    let series = |daemon: &crate::support::Daemon| -> Value {
        daemon.request("GET", &target, "").map_or(Value::Null, |response| response.json()["series"][0].clone())
    };
    eventually_eq(LIMIT, "the latest reading", Value::from(9), || series(&daemon)["fields"]["seq"].clone());
    eventually_eq(LIMIT, "its state", Value::from("stored"), || series(&daemon)["state"].clone());
    let one = series(&daemon);
    assert_eq!(
        (&one["table"], &one["symbols"]["device"], &one["symbols"]["site"]),
        (&name.as_str().into(), &"dev-1".into(), &"site-1".into())
    );
    let missing = daemon.request("GET", &format!("/v1/latest?table={name}&device=dev-99"), "").expect("answers");
    assert_eq!(missing.code, 404);

    daemon.kill9();
    daemon.restart();
    eventually_eq(LIMIT, "the latest reading after a kill", Value::from(9), || {
        series(&daemon)["fields"]["seq"].clone()
    });
}

#[test]
fn while_the_database_is_away_values_are_durable_and_not_stored() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::prepared(None));
    let readings = Readings::new(unique("away"), 1);
    let daemon = DaemonBuilder::new().servers(&broker, &questdb).source(&readings).start();
    daemon.wait_subscribed();
    readings.publish(&mut broker.publisher().expect("connects"), 0..5);
    let target = format!("/v1/latest?table={}", readings.name);
    eventually(LIMIT, "the value is there and durable", || {
        let series =
            daemon.request("GET", &target, "").map_or(Value::Null, |response| response.json()["series"][0].clone());
        series["fields"]["seq"] == 4 && series["state"] == "durable"
    });
}

#[test]
fn get_exits_3_when_nothing_matches_and_prints_what_does() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("get"), 2);
    let daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    daemon.wait_subscribed();
    readings.publish(&mut broker.publisher().expect("connects"), 0..10);
    daemon.wait_drained(10, LIMIT);
    let (code, out, error) = told(&daemon.cli(&["get", &readings.name, "device=dev-1"]));
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("temperature"), "{out}");
    assert_eq!(told(&daemon.cli(&["get", &readings.name, "device=nobody"])).0, 3);
}
