//! A backlog in the ring, drained into QuestDB, against a bare questdb-rs loop with the same rows.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::{
    contenders::{DEVICES, Role, create_table, daemon},
    support::{Mosquitto, QuestDb, Readings, eventually, unique},
};

const BARE_BATCHES: [usize; 2] = [10_000, 50_000];
const LIMIT: Duration = Duration::from_mins(10);

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Drain {
    /// Rows in the ring at the start, each a record of its own.
    pub rows: u64,
    /// Rows a second from the first row stored to the last.
    pub forebay_per_second: f64,
    /// Rows a second of the bare loop, with each batch size.
    pub bare_per_second: Vec<(usize, f64)>,
}

impl Drain {
    /// forebay's rate over the best of the bare loop's.
    pub fn ratio(&self) -> f64 {
        self.forebay_per_second / self.bare_per_second.iter().map(|(_, rate)| *rate).fold(0.0, f64::max)
    }
}

/// Fills a ring while QuestDB is away, then drains it.
pub fn measure(rows: u64, broker: &Mosquitto, questdb: &mut QuestDb) -> Drain {
    let readings = Readings::new(unique("drain"), DEVICES);
    questdb.stop();
    let mut daemon = daemon(&readings, broker, questdb, 1, "512MiB").set("daemon.stop_timeout", "1s").start();
    daemon.wait_subscribed();
    fill(&readings, rows, broker);
    eventually(LIMIT, "the backlog is in the ring", || daemon.ledger("rows") == rows);
    assert_eq!(daemon.stop().code(), Some(0), "forebay stops in order");

    questdb.restart();
    // The bare loop goes first on the restarted database, so that it is forebay that meets a warm one as well.
    let bare_per_second = BARE_BATCHES.map(|batch| (batch, bare(rows, batch, questdb))).to_vec();
    daemon.restart();
    let (mut first, mut start) = (0, Instant::now());
    let forebay_per_second = loop {
        let stored = daemon.ledger("stored");
        if first == 0 && stored > 0 {
            (first, start) = (stored, Instant::now());
        }
        if stored >= rows {
            break (rows - first) as f64 / start.elapsed().as_secs_f64().max(1e-9);
        }
        assert!(start.elapsed() < LIMIT, "{stored} of {rows} rows drained: {}", daemon.status());
        std::thread::sleep(Duration::from_millis(10));
    };
    questdb.settle(&readings.name);
    assert_eq!(questdb.count(&readings.name) as u64, rows, "rows in QuestDB");
    assert_eq!(daemon.stop().code(), Some(0), "forebay stops in order");
    Drain { rows, forebay_per_second, bare_per_second }
}

fn bare(rows: u64, batch: usize, questdb: &QuestDb) -> f64 {
    let table = unique("bare");
    create_table(questdb, &table);
    let mut role = Role::start(&["writer".into(), questdb.conf(), table.clone(), rows.to_string(), batch.to_string()]);
    let result = role.result();
    questdb.settle(&table);
    assert_eq!(questdb.count(&table) as u64, rows, "rows of the bare loop");
    questdb.sql(&format!("DROP TABLE '{table}'"));
    rows as f64 / result["seconds"].as_f64().expect("a time")
}

/// One row a message, as devices send them: the ring holds as many records as rows.
fn fill(readings: &Readings, rows: u64, broker: &Mosquitto) {
    let mut publisher = broker.publisher().expect("the broker is there");
    for n in 0..rows {
        let (topic, payload) = readings.reading(n);
        publisher.publish(&topic, payload.as_bytes()).expect("publishes");
    }
    publisher.drain(LIMIT).expect("the broker acknowledges");
}
