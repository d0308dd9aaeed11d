//! Latest values published again, retained.

use std::{collections::BTreeMap, time::Duration};

use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use serde_json::Value;

use crate::support::{
    Daemon, DaemonBuilder, Mosquitto, QuestDb, Readings, daemon::told, eventually, eventually_eq, unique,
};

const LIMIT: Duration = Duration::from_secs(30);

/// What the broker keeps below a topic: payloads by topic, told as soon as they are as many as wanted.
fn kept(broker: &Mosquitto, below: &str, wanted: usize) -> BTreeMap<String, Value> {
    let port = broker.url().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let (client, mut connection) = Client::new(MqttOptions::new(unique("subscriber"), "127.0.0.1", port), 10);
    client.subscribe(format!("{below}/#"), QoS::AtLeastOnce).expect("asks");
    let mut found = BTreeMap::new();
    while found.len() < wanted {
        let Ok(Ok(event)) = connection.recv_timeout(Duration::from_secs(2)) else { break };
        if let Event::Incoming(Packet::Publish(publish)) = event
            && publish.retain
        {
            found.insert(publish.topic, serde_json::from_slice(&publish.payload).expect("JSON"));
        }
    }
    found
}

fn republished(daemon: &Daemon, count: &str) -> u64 {
    daemon.status()["republish"][count].as_u64().unwrap_or(0)
}

#[test]
fn values_are_kept_by_the_broker_follow_changes_and_come_again_when_it_forgets() {
    kept_and_followed(5);
}

#[test]
fn the_same_over_mqtt_3_1_1() {
    kept_and_followed(4);
}

fn kept_and_followed(protocol: i64) {
    let (mut broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("again"), 3);
    let below = unique("published");
    let mut daemon = DaemonBuilder::new()
        .servers(&broker, questdb)
        .source(&readings)
        .set("mqtt.protocol", protocol)
        .set("latest.republish_topic", format!("{below}/{{table}}/{{device}}"))
        .start();
    daemon.wait_subscribed();
    let topic = |n: u64| format!("{below}/{}/dev-{n}", readings.name);
    let seqs = |broker: &Mosquitto, wanted: usize| -> Vec<(String, u64)> {
        let kept = kept(broker, &below, wanted).into_iter();
        kept.map(|(topic, value)| (topic, value["fields"]["seq"].as_u64().unwrap_or(99))).collect()
    };
    let mut publisher = broker.publisher().expect("connects");
    readings.publish(&mut publisher, 0..6);
    eventually_eq(LIMIT, "three values", (0..3).map(|n| (topic(n), 1)).collect(), || seqs(&broker, 3));
    let one = kept(&broker, &below, 3).remove(&topic(1)).expect("dev-1");
    assert_eq!((&one["symbols"]["site"], &one["fields"]["humidity"]), (&"site-1".into(), &41.0.into()));
    assert!(one.get("age_ms").is_none() && one["time"].is_string(), "{one}");

    readings.publish(&mut publisher, 6..7);
    publisher.publish(&readings.reading(2).0, b"").expect("publish");
    publisher.drain(LIMIT).expect("the broker acknowledges");
    eventually_eq(LIMIT, "a newer value, and one less", vec![(topic(0), 2), (topic(1), 1)], || seqs(&broker, 3));
    eventually_eq(LIMIT, "nothing waits", 0, || republished(&daemon, "pending"));
    assert_eq!(republished(&daemon, "failures"), 0);

    // Without persistence it forgets what it kept.
    drop(publisher);
    broker.stop();
    broker.restart();
    eventually_eq(LIMIT, "both come again", vec![(topic(0), 2), (topic(1), 1)], || seqs(&broker, 2));
    assert!(republished(&daemon, "failures") > 0, "the connection was lost");

    daemon.kill9();
    daemon.restart();
    eventually(LIMIT, "a new daemon publishes what the ring holds", || republished(&daemon, "published") >= 2);
    assert_eq!(daemon.ledger("dead_letters"), 0, "nothing came back");
}

#[test]
fn a_topic_that_a_source_takes_is_refused() {
    let readings = Readings::new(unique("loop"), 1);
    let topic = format!("{}/{{device}}/latest", readings.name);
    let daemon = DaemonBuilder::new().source(&readings).set("latest.republish_topic", topic).write();
    let (code, _, error) = told(&daemon.cli(&["check"]));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("latest.republish_topic") && error.contains("would come in again"), "{error}");
}
