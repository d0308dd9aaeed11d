//! SIGHUP takes other sources, tags and limits in force, and loses and doubles nothing.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    Daemon, DaemonBuilder, Load, Mosquitto, QuestDb, Readings, daemon::count, eventually, eventually_eq, unique,
};

const LIMIT: Duration = Duration::from_secs(30);

/// What the journal says of a reload, and of filters that the broker has confirmed.
const READ: &str = "the configuration was read again";
const SUBSCRIBED: &str = "subscribed filters";

/// Has the daemon read its configuration again, and waits until it has gone over to it.
fn reload(daemon: &mut Daemon, change: impl FnOnce(DaemonBuilder) -> DaemonBuilder) {
    let count = |daemon: &Daemon, line: &str| daemon.log().matches(line).count();
    let (read, subscribed) = (count(daemon, READ), count(daemon, SUBSCRIBED));
    daemon.reconfigure(change);
    daemon.signal(Signal::HUP);
    eventually(LIMIT, "the configuration is read again", || count(daemon, READ) > read);
    let log = daemon.log();
    // New filters are in force once the broker has confirmed them.
    let told = log.rfind(READ).map_or("", |at| &log[at..]);
    if told.contains(".topic") || told.contains(": new") {
        eventually(LIMIT, "the new filters are subscribed", || count(daemon, SUBSCRIBED) > subscribed);
    }
}

fn drop_source(builder: DaemonBuilder, name: &str) -> DaemonBuilder {
    builder.unset("source", name)
}

#[test]
fn sources_come_and_go_and_what_the_broker_still_sends_for_one_that_is_gone_is_set_aside() {
    for protocol in [4, 5] {
        let broker = Mosquitto::start();
        let base =
            DaemonBuilder::new().without_database(&broker).set("mqtt.protocol", protocol).set("tags.gateway", "g1");
        let mut daemon = base.takes("a", "a/{id}").takes("b", "b/{id}").start();
        daemon.wait_subscribed();
        broker.publish(&[("a/1", r#"{"v":1}"#), ("b/1", r#"{"v":1}"#), ("c/1", r#"{"v":1}"#)]);
        eventually_eq(LIMIT, "both sources", (2, 0), || daemon.taken());

        reload(&mut daemon, |of| drop_source(of, "b").takes("c", "c/{id}").set("tags.gateway", "g2"));
        broker.publish(&[("a/1", r#"{"v":2}"#), ("c/1", r#"{"v":2}"#)]);
        eventually_eq(LIMIT, "the new one, and the one that stays", (4, 0), || daemon.taken());
        eventually(LIMIT, "the old filter is taken back", || daemon.log().contains("are taken back"));
        broker.publish(&[("b/1", r#"{"v":3}"#), ("a/1", r#"{"v":3}"#)]);
        eventually_eq(LIMIT, "what no source wants does not come", (5, 0), || daemon.taken());
        assert_eq!(daemon.source_status("b"), Value::Null);
        assert_eq!(count(&daemon.source_status("a"), "rows"), 3, "counts go on");
        let latest = daemon.cli(&["get", "c", "--json"]);
        let text = String::from_utf8_lossy(&latest.stdout).into_owned();
        assert!(text.contains("\"gateway\":\"g2\""), "{text}");
        assert_eq!(count(&daemon.broker(), "connects"), 1, "the connection stays");

        // The same source again: its counts go on.
        reload(&mut daemon, |of| of.takes("b", "b/{id}"));
        broker.publish(&[("b/1", r#"{"v":4}"#)]);
        eventually_eq(LIMIT, "it is back", 2, || count(&daemon.source_status("b"), "rows"));
        assert!(daemon.stop().success(), "{}", daemon.log());
    }
}

#[test]
fn filters_that_change_under_load_lose_and_double_nothing() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    // Times of receipt: a message that is taken twice would be two rows.
    let readings = Readings::new(unique("swap"), 8);
    let name = readings.name.clone();
    let mut daemon = DaemonBuilder::new().servers(&broker, questdb).source_by_receipt(&readings).start();
    daemon.wait_subscribed();
    let load = Load::start(&readings, broker.port, 1_500);
    // Each has another filter than the one before.
    let topics = [
        format!("{name}/#"),
        format!("{name}/{{site}}/{{device}}"),
        format!("{name}/{{site...}}"),
        format!("{name}/{{site}}/dev-{{number}}"),
    ];
    for turn in 0..12 {
        let enough = load.acked() + 400;
        eventually(LIMIT, "the load goes on", || load.acked() >= enough);
        let topic = topics[turn % topics.len()].clone();
        reload(&mut daemon, |of| of.set(&format!("source.{name}.topic"), topic.clone()));
    }
    let published = load.finish();
    daemon.wait_drained(published, LIMIT);
    assert_eq!(daemon.taken(), (published, 0), "each is one row: {}", daemon.log());
    eventually_eq(LIMIT, "each is in QuestDB", published as i64, || questdb.count(&name));
    assert_eq!(count(&daemon.broker(), "connects"), 1, "the connection stays");
}

#[test]
fn overlapping_sources_that_come_and_go_under_load_take_each_message_once() {
    let broker = Mosquitto::start();
    let readings = Readings::new(unique("overlap"), 8);
    let name = readings.name.clone();
    let mut daemon = DaemonBuilder::new().without_database(&broker).takes("wide", &format!("{name}/#")).start();
    daemon.wait_subscribed();
    let load = Load::start(&readings, broker.port, 1_500);
    for turn in 0..8 {
        let enough = load.acked() + 400;
        eventually(LIMIT, "the load goes on", || load.acked() >= enough);
        reload(&mut daemon, |of| match turn % 4 {
            0 => of
                .takes("narrow", &format!("{name}/site-1/{{device}}"))
                .set("source.narrow.qos", 1)
                .set("source.wide.qos", 0),
            1 => drop_source(of, "narrow").set("source.wide.qos", 1),
            2 => drop_source(of, "wide").takes("other", &format!("{name}/{{site}}/{{device}}")),
            _ => drop_source(of, "other").takes("wide", &format!("{name}/#")),
        });
    }
    let published = load.finish();
    eventually(LIMIT, "all are taken", || {
        let (rows, letters) = daemon.taken();
        let dropped = count(&daemon.broker(), "qos0_dropped");
        rows + letters + dropped >= published
    });
    assert_eq!(daemon.taken(), (published, 0), "each is one row: {}", daemon.log());
}

#[test]
fn what_says_the_same_again_and_again_is_taken_before_and_after_each_reload() {
    let broker = Mosquitto::start();
    // Two filters that cross, so that copies are looked for.
    let base = DaemonBuilder::new()
        .without_database(&broker)
        .takes("pair", "o/#")
        .takes("other", "o/x/{id}")
        .set("source.other.qos", 1);
    let base = base.set("source.pair.qos", 0).takes("wide", "plant/#").set("source.wide.qos", 0);
    let mut daemon = base.takes("state", "rep/{d}/state").start();
    daemon.wait_subscribed();
    let mut expected = 0;
    let mut publish = |daemon: &Daemon, topic: &str, stage: &str| {
        for _ in 0..40 {
            broker.publish(&[(topic, r#"{"v":1}"#)]);
        }
        expected += 40;
        eventually_eq(LIMIT, stage, (expected, 0), || daemon.taken());
    };
    publish(&daemon, "plant/x/1", "before");
    reload(&mut daemon, |of| of.takes("narrow", "plant/x/{id}"));
    publish(&daemon, "plant/x/1", "for both filters");
    reload(&mut daemon, |of| drop_source(of, "narrow"));
    publish(&daemon, "plant/x/1", "for one again");
    reload(&mut daemon, |of| of.takes("z", "z/{id}"));
    publish(&daemon, "plant/x/1", "after a change elsewhere");
    publish(&daemon, "rep/x/state", "of the other");
    reload(&mut daemon, |of| of.set("source.state.topic", "{site}/x/state"));
    publish(&daemon, "rep/x/state", "by the filter in its place");
    reload(&mut daemon, |of| of.set("source.state.topic", "rep/{d}/{what}"));
    publish(&daemon, "rep/x/state", "and the next");
    publish(&daemon, "o/x/1", "what crosses");
    reload(&mut daemon, |of| drop_source(of, "pair"));
    publish(&daemon, "o/x/1", "what crosses no more");
}

#[test]
fn retained_messages_do_not_come_again_with_a_reload() {
    for protocol in [4, 5] {
        let broker = Mosquitto::start();
        let base = DaemonBuilder::new()
            .without_database(&broker)
            .set("mqtt.protocol", protocol)
            .takes("a", "a/#")
            .set("source.a.retained", "store");
        let mut daemon = base.start();
        daemon.wait_subscribed();
        let mut publisher = broker.publisher().expect("connects");
        publisher.publish_retained("a/x/1", br#"{"v":1}"#).expect("publishes");
        publisher.drain(LIMIT).expect("the broker acknowledges");
        eventually_eq(LIMIT, "it came", 1, || daemon.taken().0);
        // Another filter crosses it now, and an unrelated one comes.
        reload(&mut daemon, |of| of.takes("b", "{x}/{y}/2").takes("c", "c/{id}"));
        broker.publish(&[("c/1", r#"{"v":1}"#)]);
        eventually(LIMIT, "the new source", || count(&daemon.source_status("c"), "rows") == 1);
        assert_eq!(daemon.taken().0, 2, "with protocol {protocol}");
    }
}

#[test]
fn a_filter_that_is_refused_is_told_until_a_reload_takes_it_away() {
    let broker = Mosquitto::with(&crate::support::mosquitto::Options { max_qos: Some(0), ..Default::default() });
    let mut daemon = DaemonBuilder::new()
        .without_database(&broker)
        .takes("a", "a/{id}")
        .takes("b", "b/{id}")
        .set("source.b.qos", 0)
        .start();
    daemon.wait_subscribed();
    let lowered = |daemon: &Daemon| daemon.broker()["lowered"].as_array().map_or(0, Vec::len);
    eventually_eq(LIMIT, "the broker grants less", 1, || lowered(&daemon));
    reload(&mut daemon, |of| drop_source(of, "a"));
    eventually_eq(LIMIT, "it is told no more", 0, || lowered(&daemon));
    assert_eq!(daemon.broker()["state"], "connected");
}

#[test]
fn a_reload_while_the_broker_is_away_holds_from_the_next_connection_on() {
    let mut broker = Mosquitto::start();
    let mut daemon = DaemonBuilder::new().without_database(&broker).takes("a", "a/{id}").start();
    daemon.wait_subscribed();
    broker.stop();
    eventually(LIMIT, "the broker is gone", || daemon.broker()["connected"] == false);
    daemon.reconfigure(|of| drop_source(of, "a").takes("b", "b/{id}"));
    daemon.signal(Signal::HUP);
    eventually(LIMIT, "it is read", || daemon.log().contains("the configuration was read again"));
    broker.restart();
    daemon.wait_subscribed();
    broker.publish(&[("b/1", r#"{"v":1}"#)]);
    eventually_eq(LIMIT, "the new source", (1, 0), || daemon.taken());
}

#[test]
fn what_was_set_aside_is_decoded_by_the_configuration_of_the_reload() {
    let (broker, questdb, table) = (Mosquitto::start(), QuestDb::shared(), unique("again"));
    let base = DaemonBuilder::new().without_database(&broker).takes("a", "a/{id}").set("source.a.fields.v", "long");
    let mut daemon = base.set("source.a.table", table).set("questdb.conf", questdb.conf()).start();
    daemon.wait_subscribed();
    broker.publish(&[("a/1", r#"{"v":"many"}"#), ("a/2", r#"{"v":2}"#)]);
    eventually_eq(LIMIT, "one is set aside", (1, 1), || daemon.taken());
    reload(&mut daemon, |of| of.set("source.a.fields.v", "string"));
    let done = daemon.cli(&["quarantine", "requeue", "--all"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    eventually_eq(LIMIT, "it is a row", 2, || daemon.taken().0);
}

#[test]
fn limits_follow_a_reload() {
    let broker = Mosquitto::start();
    let base = DaemonBuilder::new().without_database(&broker).takes("a", "a/{id}").set("limits.columns_per_table", 4);
    let mut daemon = base.start();
    daemon.wait_subscribed();
    let field = |n: u64| format!(r#"{{"v{n}":1}}"#);
    let publish = |n| broker.publish(&[("a/1", field(n).as_str())]);
    (0..4).for_each(publish);
    // The time, the id and two fields.
    eventually_eq(LIMIT, "two are let in", 2, || daemon.taken().0);
    let left_out = || daemon_limit(&daemon);
    eventually_eq(LIMIT, "two are left out", 2, left_out);
    reload(&mut daemon, |of| of.set("limits.columns_per_table", 6));
    (4..8).for_each(publish);
    eventually_eq(LIMIT, "two more are let in", 4, || daemon.taken().0);
    eventually_eq(LIMIT, "and counts go on", 4, || daemon_limit(&daemon));
}

fn daemon_limit(daemon: &Daemon) -> u64 {
    let limits = daemon.status()["limits"].as_array().cloned().unwrap_or_default();
    limits.iter().map(|of| count(of, "fields") + count(of, "rows")).sum()
}

#[test]
fn an_invalid_configuration_changes_nothing_and_is_told_until_it_is_put_right() {
    let broker = Mosquitto::start();
    let mut daemon = DaemonBuilder::new().without_database(&broker).takes("a", "a/{id}").start();
    daemon.wait_subscribed();
    daemon.reconfigure(|of| of.takes("b", "b/{id}").set("source.a.topic", "a/{id").set("batch.max_rows", 77));
    daemon.signal(Signal::HUP);
    let refused = |daemon: &Daemon| {
        let warnings = daemon.status()["warnings"].as_array().cloned().unwrap_or_default();
        warnings
            .iter()
            .filter_map(Value::as_str)
            .any(|text| text.contains("invalid") && text.contains("source.a.topic"))
    };
    eventually(LIMIT, "it is told", || refused(&daemon));
    assert_eq!(daemon.source_status("b"), Value::Null, "no part of it is taken");
    let (code, _, said) = crate::support::daemon::told(&daemon.cli(&["status"]));
    assert!(code == 0 && !said.contains("panic"), "{code} {said}");
    broker.publish(&[("a/1", r#"{"v":1}"#)]);
    eventually_eq(LIMIT, "the old source goes on", (1, 0), || daemon.taken());
    reload(&mut daemon, |of| of.set("source.a.topic", "a/{id}"));
    assert!(!refused(&daemon), "it is told no more");
    broker.publish(&[("b/1", r#"{"v":1}"#)]);
    eventually_eq(LIMIT, "the new source", (2, 0), || daemon.taken());
}

#[test]
fn check_tells_what_a_changed_file_would_change() {
    let broker = Mosquitto::start();
    let mut daemon = DaemonBuilder::new().without_database(&broker).takes("a", "a/{id}").start();
    daemon.wait_subscribed();
    let changes = |daemon: &Daemon| crate::support::daemon::told(&daemon.cli(&["check", "--changes"]));
    let (code, out, said) = changes(&daemon);
    assert!(code == 0 && out.contains("nothing has changed"), "{out} {said}");
    daemon.reconfigure(|of| of.takes("b", "b/{id}").set("source.a.table", "other").set("mqtt.keep_alive", "20s"));
    let (code, out, said) = changes(&daemon);
    let expected = "with a reload (systemctl reload forebay):\n  source.a.table: \"a\" becomes \"other\"\n  source.b: new\nwith a restart \
                    (systemctl restart forebay):\n  mqtt.keep_alive: ";
    assert!(code == 0 && out.starts_with(expected), "{out} {said}");
    reload(&mut daemon, |of| of);
    let (_, out, _) = changes(&daemon);
    assert!(out.starts_with("with a restart") && out.contains("mqtt.keep_alive"), "{out}");
    let warnings = daemon.status()["warnings"].to_string();
    assert!(warnings.contains("after a restart: mqtt.keep_alive"), "{warnings}");
    assert!(daemon.stop().success());
    let (code, _, said) = changes(&daemon);
    assert!(code == 4 && said.contains("not reachable"), "{code} {said}");
}
