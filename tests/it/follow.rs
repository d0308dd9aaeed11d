//! `forebay decode --follow` shows what comes beside the running daemon, and takes nothing from it.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    Daemon, DaemonBuilder, Mosquitto, QuestDb,
    clients::said_in,
    daemon::{FOREBAY, count, told},
    eventually, eventually_eq,
    process::{Guarded, free_port},
    scratch::{Scratch, scratch},
    unique,
};

const LIMIT: Duration = Duration::from_secs(60);

/// A command that follows; what it says goes to a file.
struct Following {
    process: Guarded,
    dir: Scratch,
}

impl Following {
    /// Starts it and waits until it listens.
    #[track_caller]
    fn start(daemon: &Daemon, arguments: &[&str]) -> Self {
        let dir = scratch("follow");
        let process = Guarded::spawn(Path::new(FOREBAY), &dir.join("log"), |command| {
            command.arg("--config").arg(daemon.config()).args(["decode", "--follow"]).args(arguments);
        });
        let following = Self { process, dir };
        eventually(LIMIT, "it listens", || following.said().contains("listening to "));
        following
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// The objects it printed, once it has ended with this code.
    #[track_caller]
    fn objects(mut self, code: i32) -> Vec<Value> {
        let status = self.process.wait(LIMIT);
        assert_eq!(status.code(), Some(code), "{}", self.said());
        said_in(&self.said())
    }
}

fn builder(broker: &Mosquitto, table: &str) -> DaemonBuilder {
    DaemonBuilder::new()
        .set("mqtt.url", broker.url())
        .set("questdb.conf", format!("http::addr=127.0.0.1:{};", free_port()))
        .set("source.s.topic", format!("{table}/{{id}}"))
        .set("source.s.table", table)
        .set("source.s.fields.v", "long")
}

/// What is counted of a source without leaving a record.
fn counted(daemon: &Daemon, source: &str, counter: &str) -> u64 {
    let status = daemon.status();
    let all = status["ring"]["counted"].as_array().cloned().unwrap_or_default();
    all.iter().find(|of| of["source"] == source).map_or(0, |of| count(of, counter))
}

#[test]
fn what_comes_is_shown_and_the_daemon_has_it_too() {
    let questdb = QuestDb::shared();
    for protocol in [5, 4] {
        let (broker, table) = (Mosquitto::start(), unique("follow"));
        let builder = builder(&broker, &table).servers(&broker, questdb).set("mqtt.protocol", protocol);
        // Another source that takes the same topics: a broker may send a copy for each.
        let builder = builder.set("source.t.topic", "+/1/#").set("source.t.table", "t");
        let daemon = builder.start();
        daemon.wait_subscribed();
        let following = Following::start(&daemon, &["--json", "--count", "3"]);
        let topic = format!("{table}/1");
        broker.publish(&[(&topic, r#"{"v":1}"#), (&topic, r#"{"v":"x","w":2.5}"#), (&topic, "{}")]);
        let objects = following.objects(1);
        assert_eq!(objects.len(), 3, "MQTT {protocol}: {objects:?}");
        let row = |fields| json!({ "table": table, "symbols": { "id": "1" }, "fields": fields, "time": null });
        let first = json!({
            "source": "s", "topic": topic, "rows": [row(json!({ "v": 1 }))], "set_aside": [], "empty": false, "clears": false
        });
        assert_eq!(objects[0], first);
        assert_eq!(objects[1]["rows"], json!([row(json!({ "w": 2.5 }))]));
        let reason = objects[1]["set_aside"][0]["reason"].as_str().unwrap_or_default();
        assert!(reason.starts_with("at $.v: "), "{reason}");
        assert!(objects[2]["empty"] == true && objects[2]["rows"] == json!([]));
        // What says nothing is counted by its source, and is no message of the ledger.
        eventually_eq(LIMIT, "empty ones", 1, || counted(&daemon, "s", "empty"));
        let ledger = daemon.status()["ledger"].clone();
        let counts = ["messages", "rows", "dead_letters"].map(|name| count(&ledger, name));
        assert_eq!(counts, [2, 2, 1], "MQTT {protocol}: {ledger}");
        assert_eq!(daemon.broker()["connects"], 1, "the daemon's connection was left alone");
    }
}

#[test]
fn a_shared_source_is_not_robbed() {
    let (broker, table) = (Mosquitto::start(), unique("shared"));
    let daemon = builder(&broker, &table).set("source.s.shared_group", "gang").start();
    daemon.wait_subscribed();
    let following = Following::start(&daemon, &["--json", "--source", "s", "--count", "30"]);
    let messages: Vec<_> = (0..30).map(|n| (format!("{table}/{n}"), format!(r#"{{"v":{n}}}"#))).collect();
    broker.publish(&messages.iter().map(|(topic, payload)| (topic.as_str(), payload.as_str())).collect::<Vec<_>>());
    let objects = following.objects(0);
    let values: Vec<_> = objects.iter().filter_map(|object| object["rows"][0]["fields"]["v"].as_i64()).collect();
    assert_eq!(values, (0..30).collect::<Vec<i64>>());
    eventually(LIMIT, "the daemon has all of them", || daemon.ledger("messages") == 30);
    assert_eq!(daemon.ledger("rows"), 30);
}

#[test]
fn it_goes_on_until_it_is_told_and_outlasts_the_broker() {
    let (mut broker, table) = (Mosquitto::start(), unique("outlasts"));
    let daemon = builder(&broker, &table).set("source.s.retained", "latest").write();
    let mut publisher = broker.publisher().expect("connects");
    publisher.publish_retained(&format!("{table}/kept"), br#"{"v":7}"#).expect("publishes");
    publisher.drain(LIMIT).expect("the broker acknowledges");
    drop(publisher);
    let mut following = Following::start(&daemon, &["--topic", &format!("{table}/+")]);
    eventually(LIMIT, "the retained one", || {
        let said = following.said();
        said.contains(&format!("  {table}/kept  retained\nsource: s\nnot stored: table {table}\n"))
            && said.contains("(retained = \"latest\")\n")
    });
    broker.kill9();
    eventually(LIMIT, "the loss is told", || following.said().contains("; trying again"));
    broker.restart();
    eventually(LIMIT, "it listens again", || following.said().matches("listening to ").count() == 2);
    broker.publish(&[(&format!("{table}/1"), r#"{"v":8}"#)]);
    eventually(LIMIT, "the next one", || following.said().contains("  long     v = 8\n"));
    following.process.signal(Signal::TERM);
    assert_eq!(following.process.wait(Duration::from_secs(5)).code(), Some(0), "{}", following.said());
}

#[test]
fn it_ends_by_its_time_a_closed_pipe_and_a_broker_that_is_away() {
    let (broker, table) = (Mosquitto::start(), unique("ends"));
    let daemon = builder(&broker, &table).write();
    assert_eq!(told(&daemon.cli(&["decode", "--follow", "--for", "1s"])).0, 0);
    let (code, _, error) = told(&daemon.cli(&["decode", "--follow", "--topic", "elsewhere/#"]));
    assert!(code == 3 && error.contains("no source takes a topic that \"elsewhere/#\" matches"), "{error}");
    for wrong in [&["--follow", "--payload", "{}"][..], &["--payload", "{}"], &["--topic", "t", "--count", "1"]] {
        assert_eq!(told(&daemon.cli(&[&["decode"], wrong].concat())).0, 2, "{wrong:?}");
    }

    let mut command = Command::new(FOREBAY);
    command.arg("--config").arg(daemon.config()).args(["decode", "--follow", "--json"]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut said = BufReader::new(process.stderr.take().expect("a pipe")).lines();
    assert!(said.next().expect("a line").expect("text").contains("listening to "));
    drop(process.stdout.take());
    broker.publish(&[(&format!("{table}/1"), r#"{"v":1}"#)]);
    let mut status = None;
    eventually(LIMIT, "it ends", || {
        status = process.try_wait().expect("wait");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    assert_eq!(said.map_while(Result::ok).collect::<Vec<_>>(), Vec::<String>::new(), "it ends quietly");

    drop(broker);
    let (code, _, error) = told(&daemon.cli(&["decode", "--follow"]));
    assert!(code == 4 && error.contains("check mqtt.url and that the broker runs"), "{code}: {error}");
}
