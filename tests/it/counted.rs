//! What the ring counts by source, and what else it keeps beyond its tail.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Daemon, DaemonBuilder, Mosquitto, QuestDb, Readings, eventually, eventually_eq, unique};

const LIMIT: Duration = Duration::from_secs(60);

fn unmatched(daemon: &Daemon) -> u64 {
    let status = daemon.status();
    let counted = status["ring"]["counted"].as_array().cloned().unwrap_or_default();
    counted.iter().find(|of| of["source"] == "").and_then(|of| of["unmatched"].as_u64()).unwrap_or(0)
}

fn info(daemon: &Daemon) -> Value {
    let told = daemon.cli(&["ring", "info", "--json"]);
    serde_json::from_slice(&told.stdout).unwrap_or_else(|why| panic!("{why}: {told:?}"))
}

/// The broker goes on with a subscription whose source is gone. Each such message is a dead letter, and counted with it.
#[test]
fn what_no_source_takes_is_counted_exactly_however_often_forebay_is_killed() {
    const MESSAGES: u64 = 600;
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("unmatched"), 5);
    let mut daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    daemon.wait_subscribed();
    assert!(daemon.stop().success(), "{}", daemon.log());
    let topic = format!("source.{}.topic", readings.name);
    daemon.reconfigure(|builder| builder.set(&topic, "elsewhere/{site}/{device}"));

    daemon.restart();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    for round in 0..3 {
        let part = MESSAGES / 3;
        readings.publish(&mut publisher, round * part..(round + 1) * part);
        // Some of them may come again.
        eventually(LIMIT, "some are taken in", || daemon.ledger("dead_letters") > round * part);
        daemon.kill9();
        daemon.restart();
        daemon.wait_subscribed();
    }
    eventually(LIMIT, "all have come", || daemon.ledger("dead_letters") >= MESSAGES);
    eventually(LIMIT, "counted as often as set aside", || daemon.ledger("dead_letters") == unmatched(&daemon));
    let before = unmatched(&daemon);
    assert!(daemon.stop().success(), "{}", daemon.log());
    daemon.restart();
    assert_eq!(unmatched(&daemon), before, "after an orderly restart too");
    let page = daemon.request("GET", "/metrics", "").expect("the page").body;
    assert!(page.contains(&format!("forebay_source_unmatched_total{{source=\"(none)\"}} {before}")), "{page}");
}

/// A ring of 1 MiB goes round several times; sources, filters and the boot stay known.
#[test]
fn what_outlives_the_tail_is_there_after_many_laps_and_a_kill() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("laps"), 5);
    let builder = DaemonBuilder::new().servers(&broker, questdb).source(&readings).set("ring.size", "1MiB");
    let builder = builder.set("mqtt.max_payload", "64KiB");
    let mut daemon = builder.set("questdb.resend_window", "0s").start();
    daemon.wait_subscribed();
    let number = |daemon: &Daemon| {
        let sources = info(daemon)["sources"].as_array().cloned().unwrap_or_default();
        sources.iter().find(|of| of["source"] == readings.name.as_str()).map(|of| of["number"].clone())
    };
    let kinds = |daemon: &Daemon| {
        let state = info(daemon)["state"].as_array().cloned().unwrap_or_default();
        state
            .iter()
            .map(|of| (of["kind"].as_str().unwrap_or("").to_owned(), of["entries"].as_u64()))
            .collect::<Vec<_>>()
    };
    let wanted = ["filter", "boot", "client"].map(|kind| (kind.to_owned(), Some(1))).to_vec();
    eventually_eq(LIMIT, "the filter, the boot and the client id are kept", wanted.clone(), || kinds(&daemon));
    let first = number(&daemon).expect("the source has a number");
    let mut publisher = broker.publisher().expect("connects");
    let mut published = 0;
    let capacity = info(&daemon)["capacity_bytes"].as_u64().expect("a number");
    eventually(LIMIT, "the ring has gone round twice", || {
        readings.publish(&mut publisher, published..published + 500);
        published += 500;
        info(&daemon)["tail"]["pos"].as_u64() > Some(2 * capacity)
    });
    daemon.kill9();
    daemon.restart();
    eventually_eq(LIMIT, "all is still kept", wanted, || kinds(&daemon));
    assert_eq!(number(&daemon), Some(first));
    assert!(daemon.stop().success(), "{}", daemon.log());
    // The file tells the same to one who only reads it.
    let ring = daemon.ring();
    let told = daemon.cli(&["ring", "info", "--json", "--file", ring.to_str().expect("text")]);
    let offline: Value = serde_json::from_slice(&told.stdout).expect("a document");
    assert!(offline["state"].as_array().is_some_and(|state| state.len() == 3), "{offline}");
    let verified = daemon.cli(&["ring", "verify", "--file", ring.to_str().expect("text")]);
    assert!(verified.status.success(), "{verified:?}");
    let listed = daemon.cli(&["ring", "ls", "--kind", "state", "--file", ring.to_str().expect("text")]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("state"), "{listed:?}");
}
