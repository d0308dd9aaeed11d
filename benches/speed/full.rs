//! A ring file that is full.

use std::{path::Path, sync::Arc, thread, time::Duration};

use forebay::{
    clock::{Clock, SharedClock, SystemClock},
    entry::encode_rows,
    observe::heartbeat::Heartbeats,
    point::{Received, Row, Timestamp, Value},
    ring::{AppendError, Kind, Opened, Part, Record, Ring, table_hash},
    settings::{Bytes, CommitSpacing, Durability, OnFull, Ring as Settings},
};
use serde::Serialize;

/// Series in the ring.
pub const SERIES: usize = 10_000;
const TABLE: &str = "sensors";
/// When the first row of each series was measured.
const FIRST: Timestamp = Timestamp(1_700_000_000_000_000_000);

/// What the rows of a full ring are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Contents {
    /// History: all of them are stored.
    Settled,
    /// Backlog: none of them is, as after a long outage.
    Pending,
}

/// Settings of a ring of so many MiB at `path`.
pub fn settings(path: &Path, mib: u64) -> Settings {
    Settings {
        path: path.to_owned(),
        size: Bytes::mib(mib),
        durability: Durability::Commit,
        commit_spacing: CommitSpacing::Fixed(Duration::ZERO),
        on_full: OnFull::Block,
        ..Settings::default()
    }
}

/// Opens a ring; `visit` sees every record.
pub fn open(settings: &Settings, visit: &mut dyn FnMut(&Record<'_>)) -> Opened {
    let clock: SharedClock = Arc::new(SystemClock);
    let heartbeat = Heartbeats::new(Arc::clone(&clock)).register("bench");
    Ring::open(settings, Duration::ZERO, clock, heartbeat, visit, &mut |_| {}).expect("the ring opens")
}

/// Makes a full ring; how many rows were appended.
pub fn make(settings: &Settings, contents: Contents) -> u64 {
    // Appended as fast as the disk takes it, so that commits are large.
    let quick = Settings { commit_spacing: CommitSpacing::Fixed(Duration::from_millis(200)), ..settings.clone() };
    let ring = open(&quick, &mut |_| {}).ring;
    let (mut bodies, received) = (bodies(), SystemClock.now());
    let mut appended = 0;
    match contents {
        Contents::Pending => {
            while append(&ring, nth(&mut bodies, appended), received).is_ok() {
                appended += 1;
            }
        }
        Contents::Settled => {
            ring.set_lanes(1);
            let mut reader = ring.reader(ring.marks().settled);
            // Once round and a bit.
            while ring.marks().appended.pos.0 < settings.size.0 / 16 * 17 {
                if append(&ring, nth(&mut bodies, appended), received).is_ok() {
                    appended += 1;
                    if appended % 100_000 != 0 {
                        continue;
                    }
                }
                while reader.next().expect("readable").is_some() {}
                ring.confirm_kept(SystemClock.since_boot());
                ring.lane_done(0, reader.mark());
                thread::yield_now();
            }
            ring.stop_committing();
            while reader.next().expect("readable").is_some() {}
            ring.lane_done(0, reader.mark());
        }
    }
    ring.close().expect("the ring closes");
    appended
}

fn append(ring: &Ring, body: &[u8], received: Received) -> Result<(), AppendError> {
    let part = Part { kind: Kind::Rows, table_hash: table_hash(TABLE), rows: 1, body, ..Part::default() };
    ring.append(&[part], received).map(drop)
}

/// The row appended after so many: of the next series, a second later each time round, as devices
/// report.
fn nth(bodies: &mut [Vec<u8>], appended: u64) -> &[u8] {
    let (round, series) = (appended / SERIES as u64, appended as usize % SERIES);
    let time = FIRST.0 + round as i64 * 1_000_000_000;
    // It stands behind the table's name and its length.
    bodies[series][1 + TABLE.len()..][..8].copy_from_slice(&time.to_le_bytes());
    &bodies[series]
}

/// A row of each series, 100 bytes each.
pub fn bodies() -> Vec<Vec<u8>> {
    (0..SERIES)
        .map(|n| {
            let row = Row {
                time: Some(FIRST),
                device_time: true,
                symbols: vec![("device".into(), format!("dev-{n:04}").into()), ("site".into(), "hall-1-north".into())],
                fields: vec![
                    ("temperature".into(), Value::Double(21.5)),
                    ("humidity".into(), Value::Double(40.0)),
                    ("ok".into(), Value::Bool(true)),
                ],
                ..Row::default()
            };
            let mut body = Vec::new();
            encode_rows(TABLE, &[row], &mut body).expect("within the limits");
            assert_eq!(body.len(), 100, "bytes of a row");
            body
        })
        .collect()
}
