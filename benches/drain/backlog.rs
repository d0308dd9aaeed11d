//! The rows of a backlog: in the ring of a daemon that is not running, or in the memory of a bare loop.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use forebay::{
    clock::{Clock, SharedClock, SystemClock},
    entry::encode_rows,
    observe::heartbeat::Heartbeats,
    point::{Row, Text, Timestamp, Value},
    ring::{Kind, Part, Ring, table_hash},
    settings::{Bytes, CommitSpacing, Durability, OnFull, Ring as Settings},
};

/// Devices whose readings the rows are.
const DEVICES: u64 = 200;
/// What a row takes in the ring, generously, pads and commits included.
const RING_BYTES_PER_ROW: u64 = 224;
const MIB: u64 = 1 << 20;

/// Numbered rows: row `n` is reading `n / DEVICES` of device `n % DEVICES`.
#[derive(Debug, Clone, Copy)]
pub struct Backlog {
    /// How many.
    pub rows: u64,
    /// Time of each device's first reading, in microseconds.
    pub base_us: i64,
}

/// What differs from row to row.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    pub device: usize,
    pub time_us: i64,
    pub seq: i64,
    pub temperature: f64,
    pub humidity: f64,
    pub ok: bool,
}

/// Names of the devices, each with its site.
pub fn devices() -> Vec<(String, String)> {
    (0..DEVICES).map(|n| (format!("dev-{n}"), format!("site-{}", n % 4))).collect()
}

impl Backlog {
    /// So many rows, a millisecond apart for each device, that begin ten minutes ago.
    pub fn new(rows: u64) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        Self { rows, base_us: (now.as_millis() as i64 - 600_000) * 1_000 }
    }

    /// Row `n`.
    pub fn reading(&self, n: u64) -> Reading {
        let (device, seq) = (n % DEVICES, (n / DEVICES) as i64);
        Reading {
            device: device as usize,
            // Each device has its own moment: rows of one moment in two requests cost QuestDB more, and a bare loop whose batches happen
            // to be multiples of the devices would not meet that.
            time_us: self.base_us + seq * 1_000 + device as i64 * (1_000 / DEVICES as i64),
            seq,
            temperature: 15.0 + (seq % 200) as f64 / 10.0,
            humidity: (40 + device % 50) as f64,
            ok: seq % 7 == 0,
        }
    }

    /// Size of the ring that holds all of them.
    pub fn ring_size(&self) -> Bytes {
        Bytes::mib((self.rows * RING_BYTES_PER_ROW).div_ceil(MIB).max(64))
    }

    /// Makes a ring with the rows in it, each a record of its own as devices send them, none of them stored.
    pub fn fill_ring(&self, path: &Path, table: &str) {
        let settings = Settings {
            path: path.to_owned(),
            size: self.ring_size(),
            durability: Durability::Commit,
            commit_spacing: CommitSpacing::Fixed(Duration::ZERO),
            on_full: OnFull::Block,
            ..Settings::default()
        };
        let clock: SharedClock = Arc::new(SystemClock);
        let heartbeat = Heartbeats::new(Arc::clone(&clock)).register("bench");
        let opened = Ring::open(&settings, Duration::ZERO, clock, heartbeat, &mut |_| {}, &mut |_| {});
        let ring = opened.expect("the ring opens").ring;
        let devices: Vec<(Text, Text)> =
            devices().into_iter().map(|(device, site)| (device.into(), site.into())).collect();
        let mut body = Vec::new();
        for n in 0..self.rows {
            let reading = self.reading(n);
            body.clear();
            encode_rows(table, &[row(&reading, &devices[reading.device])], &mut body).expect("within the limits");
            let part =
                Part { kind: Kind::Rows, table_hash: table_hash(table), rows: 1, body: &body, ..Part::default() };
            ring.append(&[part], SystemClock.now()).expect("the ring has room");
        }
        ring.close().expect("the ring closes");
    }
}

fn row(reading: &Reading, (device, site): &(Text, Text)) -> Row {
    let field = |name: &str, value| (name.into(), value);
    Row {
        time: Some(Timestamp(reading.time_us * 1_000)),
        device_time: true,
        symbols: vec![("device".into(), device.clone()), ("site".into(), site.clone())],
        fields: vec![
            field("seq", Value::Long(reading.seq)),
            field("temperature", Value::Double(reading.temperature)),
            field("humidity", Value::Double(reading.humidity)),
            field("ok", Value::Bool(reading.ok)),
        ],
        ..Row::default()
    }
}

/// Statement that makes the table as forebay would.
pub fn create_table(table: &str) -> String {
    format!(
        "CREATE TABLE '{table}' (timestamp TIMESTAMP, device SYMBOL, site SYMBOL, seq LONG, temperature DOUBLE, \
         humidity DOUBLE, ok BOOLEAN) TIMESTAMP(timestamp) PARTITION BY DAY WAL DEDUP UPSERT KEYS(timestamp, device, site)"
    )
}
