//! What is subscribed to follows the configuration, and one publication is one message however many filters match.

use std::{path::Path, time::Duration};

use serde_json::Value;

use crate::support::{Daemon, DaemonBuilder, Mosquitto, QuestDb, daemon::count, eventually, eventually_eq, unique};

const LIMIT: Duration = Duration::from_secs(30);

fn rows_of(daemon: &Daemon, name: &str) -> u64 {
    count(&daemon.source_status(name), "rows")
}

/// How many filters the ring remembers.
fn filters(daemon: &Daemon) -> u64 {
    let told = daemon.cli(&["ring", "info", "--json"]);
    let info: Value = serde_json::from_slice(&told.stdout).unwrap_or_default();
    let state = info["state"].as_array().cloned().unwrap_or_default();
    state.iter().find(|of| of["kind"] == "filter").map_or(0, |of| count(of, "entries"))
}

#[test]
fn a_filter_that_no_source_wants_is_taken_back_and_what_waited_for_it_is_set_aside() {
    for protocol in [4, 5] {
        let (broker, questdb, name) = (Mosquitto::start(), QuestDb::shared(), unique("changed"));
        let builder = DaemonBuilder::new()
            .without_database(&broker)
            .set("mqtt.protocol", protocol)
            .set("questdb.conf", questdb.conf());
        let mut daemon = builder.takes(&name, "old/{id}").start();
        daemon.wait_subscribed();
        broker.publish(&[("old/a", r#"{"v":1}"#)]);
        eventually_eq(LIMIT, "the first", (1, 0), || daemon.taken());
        assert!(daemon.stop().success(), "{}", daemon.log());
        broker.publish(&[("old/a", r#"{"v":2}"#)]);
        daemon.reconfigure(|builder| builder.set(&format!("source.{name}.topic"), "new/{id}"));
        daemon.restart();
        daemon.wait_subscribed();
        broker.publish(&[("new/a", r#"{"v":3}"#)]);
        eventually_eq(LIMIT, "the new one, and what had waited for the old filter", (2, 1), || daemon.taken());
        eventually_eq(LIMIT, "filters remembered", 1, || filters(&daemon));
        broker.publish(&[("old/a", r#"{"v":4}"#), ("new/a", r#"{"v":5}"#)]);
        eventually_eq(LIMIT, "the new one alone", (3, 1), || daemon.taken());
        assert!(daemon.log().contains("are taken back"), "{}", daemon.log());
        eventually(LIMIT, "it is in quarantine", || {
            let told = daemon.cli(&["--json", "quarantine", "ls"]);
            String::from_utf8_lossy(&told.stdout).contains("old/a")
        });
    }
}

#[test]
fn a_narrower_filter_takes_the_place_of_a_wider_one_even_after_a_kill() {
    let broker = Mosquitto::start();
    let mut daemon = DaemonBuilder::new().without_database(&broker).takes("s", "plant/#").start();
    daemon.wait_subscribed();
    broker.publish(&[("plant/l1/data", r#"{"v":1}"#)]);
    eventually_eq(LIMIT, "the first", (1, 0), || daemon.taken());
    daemon.kill9();
    daemon.reconfigure(|builder| builder.set("source.s.topic", "plant/{line}/data"));
    daemon.restart();
    daemon.wait_subscribed();
    eventually_eq(LIMIT, "filters remembered", 1, || filters(&daemon));
    let before = daemon.taken();
    broker.publish(&[
        ("plant/l1/data", r#"{"v":2}"#),
        ("plant/l1/log", "a line of text"),
        ("plant/l1/data", r#"{"v":3}"#),
    ]);
    eventually_eq(LIMIT, "each once", (before.0 + 2, before.1), || daemon.taken());
}

#[test]
fn one_publication_is_one_message_and_the_most_specific_source_takes_it() {
    for protocol in [4, 5] {
        let broker = Mosquitto::start();
        let mut all = DaemonBuilder::new().without_database(&broker).set("mqtt.protocol", protocol);
        for (name, topic) in [
            // "all" comes first by its name.
            ("all", "root/#"),
            ("deeper", "root/{maker}/{model}/data/{format}/#"),
            ("formats", "root/{maker}/{model}/data/{format}"),
            ("left", "side/{a}/x"),
            ("right", "side/y/{b}"),
        ] {
            all = all.takes(name, topic);
        }
        // A lower QoS covers nothing: both filters are subscribed to.
        let daemon = all.set("source.all.qos", 0).start();
        daemon.wait_subscribed();
        broker.publish(&[
            ("root/1/2/data/f", r#"{"v":1}"#),
            ("root/1/2/data/f/foo", r#"{"v":2}"#),
            ("root/1/status", r#"{"v":3}"#),
            ("side/y/x", r#"{"v":4}"#),
            ("side/y/x", r#"{"v":4}"#),
            ("side/z/x", r#"{"v":5}"#),
        ]);
        let by_source = || ["all", "deeper", "formats", "left", "right"].map(|name| rows_of(&daemon, name));
        eventually_eq(LIMIT, "rows by source", [1, 1, 1, 1, 2], by_source);
        let messages = daemon.ledger("messages");
        // A last one shows that nothing else was under way.
        broker.publish(&[("side/z/x", r#"{"v":6}"#)]);
        eventually_eq(LIMIT, "the last", messages + 1, || daemon.ledger("messages"));
        assert_eq!((by_source(), daemon.taken()), ([1, 1, 1, 2, 2], (7, 0)));
        let copies = count(&daemon.broker(), "copies");
        assert_eq!(copies > 0, protocol == 5, "{copies}");
    }
}

#[test]
fn copies_that_waited_at_the_broker_are_stored_once() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let name = unique("waited");
    let (left, right) = (format!("{name}_l"), format!("{name}_r"));
    let builder = DaemonBuilder::new().without_database(&broker).set("questdb.conf", questdb.conf());
    let builder = builder.takes(&left, &format!("{name}/{{a}}/x"));
    let mut daemon = builder.takes(&right, &format!("{name}/y/{{b}}")).start();
    daemon.wait_subscribed();
    assert!(daemon.stop().success(), "{}", daemon.log());
    let (topic, payloads) = (format!("{name}/y/x"), ["{\"v\":1}", "{\"v\":2}", "{\"v\":1}"]);
    broker.publish(&payloads.map(|payload| (topic.as_str(), payload)));
    daemon.restart();
    daemon.wait_drained(3, LIMIT);
    eventually_eq(LIMIT, "rows", 3, || {
        questdb.settle(&right);
        questdb.count(&right)
    });
    assert_eq!(count(&daemon.broker(), "copies"), 3);
    assert_eq!(questdb.count(&left), 0);
}

#[test]
fn a_changed_client_id_and_filters_that_cross_are_told_by_check() {
    let broker = Mosquitto::start();
    let builder = DaemonBuilder::new()
        .without_database(&broker)
        .set("mqtt.client_id", "gate-1")
        .set("questdb.resend_window", "1m")
        .takes("s", "a/{x}");
    let mut daemon = builder.start();
    daemon.wait_subscribed();
    let check = |daemon: &Daemon| {
        let told = daemon.cli(&["check", "--quiet"]);
        assert!(told.status.success());
        String::from_utf8_lossy(&told.stderr).into_owned()
    };
    assert_eq!(check(&daemon), "");
    daemon.reconfigure(|builder| builder.set("mqtt.client_id", "gate-2"));
    for round in ["beside the daemon", "while it is stopped"] {
        let told = check(&daemon);
        assert!(told.contains("has been \"gate-1\" so far"), "{round}: {told}");
        if round == "beside the daemon" {
            assert!(daemon.stop().success());
        }
    }
    daemon.restart();
    assert!(daemon.log().contains("has been \"gate-1\" so far"), "{}", daemon.log());
    assert_eq!(check(&daemon), "", "told once it has changed");

    daemon.reconfigure(|builder| {
        let builder = builder.takes("t", "b/+/x").takes("u", "b/y/+").set("source.s.shared_group", "g");
        builder.takes("v", "a/#").set("mqtt.protocol", 4)
    });
    let told = check(&daemon);
    assert!(told.contains("source.t.topic: some topics match source.u") && told.contains("protocol = 5"), "{told}");
    assert!(told.contains("source.s.shared_group") && told.contains("source.v"), "{told}");
    assert!(Path::new(&daemon.ring()).exists());
}
