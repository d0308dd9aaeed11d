//! Memory of the lanes' buffers while a backlog drains.

use std::time::Duration;

use forebay::ring::table_hash;

use crate::support::{DaemonBuilder, Mosquitto, QuestDb, Readings, eventually_eq, relay::Relay, unique};

const LANES: u32 = 2;
const LIMIT: Duration = Duration::from_mins(2);
/// Messages for each lane, and the bytes of text in each: more than all buffers take, by far.
const MESSAGES: u64 = 1_000;
const TEXT_BYTES: usize = 16 << 10;

#[test]
fn lanes_that_drain_a_backlog_use_the_memory_they_share_and_no_more() {
    // The default, and more of it.
    for (max_buffered_mib, least_mib) in [(8, 6), (16, 12)] {
        let peak = peak_of_a_drain(max_buffered_mib);
        assert!(
            peak <= max_buffered_mib << 20,
            "{peak} bytes in the buffers of all lanes, {max_buffered_mib} MiB allowed"
        );
        assert!(peak > least_mib << 20, "{peak} bytes at most: the limit is not reached, so this shows nothing");
    }
}

/// Bytes that the lanes' buffers took at most, with a backlog in each.
fn peak_of_a_drain(max_buffered_mib: u64) -> u64 {
    let (broker, questdb, mut relay) = (Mosquitto::start(), QuestDb::shared(), Relay::shut());
    let tables: Vec<Readings> = (0..LANES).map(|lane| Readings::new(name_in(lane), 1)).collect();
    let builder = DaemonBuilder::new()
        .servers(&broker, questdb)
        .set("questdb.conf", format!("http::addr=127.0.0.1:{};", relay.port))
        .set("batch.max_lanes", i64::from(LANES))
        .set("batch.max_buffered", format!("{max_buffered_mib}MiB"));
    let daemon = tables.iter().fold(builder, DaemonBuilder::source_by_receipt).start();
    daemon.wait_subscribed();
    let text = "x".repeat(TEXT_BYTES);
    let mut publisher = broker.publisher().expect("connects");
    for n in 0..MESSAGES {
        for table in &tables {
            let payload = format!(r#"{{"seq":{n},"text":"{text}"}}"#);
            publisher.publish(&format!("{}/site/dev", table.name), payload.as_bytes()).expect("publishes");
        }
    }
    publisher.drain(LIMIT).expect("the broker acknowledges");
    let rows = MESSAGES * u64::from(LANES);
    eventually_eq(LIMIT, "the backlog is in the ring", rows, || daemon.ledger("rows"));
    relay.open(questdb.port);
    eventually_eq(LIMIT, "the backlog is drained", rows, || daemon.ledger("stored"));
    daemon.status()["flush"]["buffer_peak_bytes"].as_u64().expect("a number of bytes")
}

/// The name of a table that belongs to a lane.
fn name_in(lane: u32) -> String {
    std::iter::repeat_with(|| unique("memory")).find(|name| table_hash(name) % LANES == lane).expect("endless")
}
