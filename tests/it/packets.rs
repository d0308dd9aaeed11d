//! What brokers send that is too large, broken, or against the rules.

use std::time::Duration;

use crate::support::{
    Daemon, DaemonBuilder, Mosquitto,
    daemon::{count, told},
    eventually, eventually_eq,
    mosquitto::Options,
    process::free_port,
    standin::{Script, StandIn},
};

const LIMIT: Duration = Duration::from_secs(30);

/// A daemon with one source, `s` of `big/{id}`, and without a database.
fn builder(url: String, protocol: i64) -> DaemonBuilder {
    DaemonBuilder::new()
        .set("mqtt.url", url)
        .set("mqtt.protocol", protocol)
        .set("questdb.conf", format!("http::addr=127.0.0.1:{};", free_port()))
        .set("source.s.topic", "big/{id}")
        .set("source.s.table", "s")
}

/// Rows, and dead letters, since the ring was created.
fn taken(daemon: &Daemon) -> (u64, u64) {
    let ledger = daemon.status()["ledger"].clone();
    (count(&ledger, "rows"), count(&ledger, "dead_letters"))
}

/// What is set aside, out of the ring: without a database it waits there.
fn aside(daemon: &Daemon) -> Vec<String> {
    let (_, text, _) = told(&daemon.cli(&["ring", "cat"]));
    text.lines().filter(|line| line.contains("\"reason\"")).map(str::to_owned).collect()
}

/// The most memory that a process has had, in bytes.
fn peak(id: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).expect("a process");
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    1_024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
}

/// A PUBLISH at QoS 1 of MQTT 3.1.1, or without properties of MQTT 5.
fn publish(first: u8, topic: &[u8], id: u16, rest: &[u8]) -> (u16, Vec<u8>) {
    let body = [&[0, topic.len() as u8], topic, &id.to_be_bytes(), rest].concat();
    (id, [&[first, body.len() as u8], &body[..]].concat())
}

#[test]
fn what_is_above_max_payload_is_set_aside_in_bounded_memory_and_the_others_go_on() {
    for protocol in [4, 5] {
        let broker = Mosquitto::start();
        let daemon = builder(broker.url(), protocol).set("mqtt.max_payload", "16KiB").start();
        daemon.wait_subscribed();
        let mut publisher = broker.publisher().expect("connects");
        let before = peak(daemon.id());
        let large = vec![b'x'; 64 << 20];
        for (topic, payload) in
            [("big/a", &b"{\"v\":1}"[..]), ("big/x", &large[..20_000]), ("big/y", &large), ("big/a", b"{\"v\":2}")]
        {
            publisher.publish(topic, payload).expect("publishes");
        }
        publisher.drain(LIMIT).expect("the broker acknowledges");
        eventually_eq(LIMIT, "rows, dead letters", (2, 2), || taken(&daemon));
        eventually(LIMIT, "their sizes are told", || {
            let reasons = aside(&daemon);
            [20_000, large.len()].iter().all(|bytes| {
                let wanted = format!("it has {bytes} bytes; [mqtt] max_payload allows 16384");
                reasons.iter().any(|reason| reason.contains(&wanted))
            })
        });
        eventually_eq(LIMIT, "unacknowledged", 0, || count(&daemon.broker(), "unacknowledged"));
        let grown = peak(daemon.id()) - before;
        assert!(grown < 24 << 20, "{grown} bytes more");
        assert_eq!(count(&daemon.broker(), "connects"), 1);
    }
}

#[test]
fn the_same_over_a_web_socket() {
    let broker = Mosquitto::with(&Options { websocket: true, ..Options::default() });
    let url = format!("ws://127.0.0.1:{}/", broker.websocket_port.expect("listens"));
    let daemon = builder(url, 5).set("mqtt.max_payload", "16KiB").start();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    let large = vec![b'x'; 1 << 20];
    for (topic, payload) in [("big/a", &b"{\"v\":1}"[..]), ("big/x", &large), ("big/a", b"{\"v\":2}")] {
        publisher.publish(topic, payload).expect("publishes");
    }
    publisher.drain(LIMIT).expect("the broker acknowledges");
    eventually_eq(LIMIT, "rows, dead letters", (2, 1), || taken(&daemon));
    eventually_eq(LIMIT, "acknowledged", 3, || count(&daemon.broker(), "acknowledged"));
    assert_eq!(count(&daemon.broker(), "connects"), 1);
}

#[test]
fn a_broken_message_is_set_aside_and_acknowledged_and_does_not_come_for_ever() {
    for is_five in [false, true] {
        let none: &[u8] = if is_five { &[0] } else { &[] };
        let good = [none, b"{\"v\":1}"].concat();
        let mut deliver = vec![publish(0x32, b"big/\xFF\xFE", 1, &good), publish(0x32, b"big/a", 3, &good)];
        if is_five {
            deliver.insert(1, publish(0x32, b"big/b", 2, b""));
        }
        let ids: Vec<u16> = deliver.iter().map(|(id, _)| *id).collect();
        let connack = if is_five { vec![0, 0, 0] } else { vec![0, 0] };
        let broker = StandIn::start(Script { connack, most_qos: 1, is_five, deliver, closes: false });
        let daemon = builder(broker.url(), if is_five { 5 } else { 4 }).start();
        eventually_eq(LIMIT, "acknowledged", ids.clone(), || broker.acknowledged());
        assert_eq!(taken(&daemon), (1, ids.len() as u64 - 1));
        eventually(LIMIT, "why", || {
            let reasons = aside(&daemon);
            let cut = |reason: &String| reason.contains("the packet ends before its properties do");
            reasons.iter().any(|reason| reason.contains("its topic is no UTF-8")) && reasons.iter().any(cut) == is_five
        });
        assert_eq!(broker.connections(), 1);
    }
}

#[test]
fn a_broker_that_bends_the_rules_is_borne() {
    // Receive maximum 0, a keep-alive of 0, and messages at QoS 2.
    let deliver = vec![publish(0x34, b"big/a", 1, b"\0{\"v\":1}"), publish(0x32, b"big/a", 2, b"\0{\"v\":2}")];
    let connack = vec![0, 0, 6, 33, 0, 0, 19, 0, 0];
    let broker = StandIn::start(Script { connack, most_qos: 1, is_five: true, deliver, closes: false });
    let daemon = builder(broker.url(), 5).start();
    eventually(LIMIT, "both are acknowledged", || broker.acknowledged().len() == 2);
    assert_eq!((taken(&daemon), broker.connections()), ((2, 0), 1));
    assert_eq!((broker.came(5).len(), broker.came(7).len()), (1, 1), "PUBREC and PUBCOMP");
    assert_eq!(daemon.broker()["connected"], true);
}

#[test]
fn a_link_that_breaks_again_and_again_is_tried_again_soon_and_what_it_may_be_is_told() {
    let script = Script { connack: vec![0, 0, 0], most_qos: 1, is_five: true, deliver: Vec::new(), closes: true };
    let broker = StandIn::start(script);
    let daemon = builder(broker.url(), 5).start();
    // Full waits would be 0.25, 0.5, 1, 2, 4 s.
    eventually(LIMIT, "it is tried again", || broker.connections() >= 6);
    // Mosquitto 2.0.11 closes so, too, where another client takes the session over.
    eventually(LIMIT, "the reasons", || {
        let told = daemon.broker()["error"].as_str().unwrap_or_default().to_owned();
        told.contains("client_id") && told.contains("the link breaks")
    });
    assert!(daemon.log().contains("without giving a reason"), "{}", daemon.log());
}

#[test]
fn a_session_that_is_kept_for_a_shorter_time_than_asked_for_is_told_everywhere() {
    // A session expiry of 90 s. Mosquitto has no such limit; other brokers do.
    let connack = vec![0, 0, 5, 17, 0, 0, 0, 90];
    let broker = StandIn::start(Script { connack, most_qos: 1, is_five: true, deliver: Vec::new(), closes: false });
    let daemon = builder(broker.url(), 5).start();
    daemon.wait_subscribed();
    assert_eq!(daemon.broker()["shortened"], serde_json::json!({ "asked_s": 604_800, "granted_s": 90 }));
    let words = "keeps messages for forebay only 1m 30s long while it is away, not 7days";
    assert!(daemon.log().contains(words), "{}", daemon.log());
    assert!(told(&daemon.cli(&["status"])).1.contains(words));
    let (_, _, errors) = told(&daemon.cli(&["check", "--connect", "--quiet"]));
    assert!(errors.contains(words), "{errors}");
    let page = daemon.request("GET", "/metrics", "").expect("the page").body;
    assert!(page.contains("forebay_broker_session_shortened 1"), "{page}");
}

#[test]
fn a_lower_qos_than_asked_for_is_told_everywhere() {
    let broker = Mosquitto::with(&Options { max_qos: Some(0), ..Options::default() });
    let daemon = builder(broker.url(), 5).start();
    daemon.wait_subscribed();
    let lowered = daemon.broker()["lowered"].clone();
    assert_eq!(lowered, serde_json::json!([{ "filter": "big/+", "asked": 1, "granted": 0 }]));
    let words = "grants QoS 0 in place of 1 to big/+";
    assert!(daemon.log().contains(words), "{}", daemon.log());
    assert!(told(&daemon.cli(&["status"])).1.contains(words));
    let (_, _, errors) = told(&daemon.cli(&["check", "--connect", "--quiet"]));
    assert!(errors.contains(words), "{errors}");
    let page = daemon.request("GET", "/metrics", "").expect("the page").body;
    assert!(page.contains("forebay_broker_lowered 1"), "{page}");
}
