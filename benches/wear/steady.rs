//! The ring by itself: appends at a steady rate, a lane that settles them, the device's counters before and after.

use std::{
    fs::File,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use forebay::{
    clock::{Clock, SharedClock, SystemClock},
    entry::encode_rows,
    observe::heartbeat::Heartbeats,
    point::{Row, Timestamp, Value},
    ring::{Kind, Part, Ring, layout::record_bytes, table_hash},
    settings::{Bytes, CommitSpacing, Durability, OnFull, Ring as Settings},
};

use crate::{Case, Figures, place::Place};

/// Bytes of a row as the ring keeps it: its table's name, time, symbols and fields.
pub const ROW_BYTES: usize = 100;
/// The ring goes round several times at the highest rate.
const RING_BYTES: u64 = 32 << 20;
/// How often readings arrive, unless they are rarer than that.
const TICK: Duration = Duration::from_millis(1);
const TABLE: &str = "sensors";

/// Bytes of the record that a row becomes.
pub fn record() -> u64 {
    record_bytes(ROW_BYTES)
}

/// Appends at the case's rate for so long, and says what was written.
pub fn run(place: &Place, case: &Case, duration: Duration) -> Figures {
    let path = place.directory.join("ring");
    let _ = std::fs::remove_file(&path);
    measure(&path, place, case, duration)
}

/// The same on a ring that is full and was opened with nothing of it in the page cache, as after a reboot.
pub fn run_after_reboot(place: &mut Place, case: &Case, duration: Duration) -> Figures {
    let path = place.directory.join("ring");
    let _ = std::fs::remove_file(&path);
    let ring = open(&path, CommitSpacing::Fixed(Duration::ZERO));
    let lane = Lane::start(&ring);
    let body = body();
    for _ in 0..RING_BYTES / record() {
        while append(&ring, &body).is_err() {
            thread::yield_now();
        }
    }
    lane.finish();
    ring.close().expect("the ring closes");
    drop(ring);
    place.remount().expect("the file system can be mounted again");
    measure(&path, place, case, duration)
}

fn measure(path: &Path, place: &Place, case: &Case, duration: Duration) -> Figures {
    let ring = open(path, case.spacing);
    let lane = Lane::start(&ring);
    let file = File::open(path).expect("the ring file");
    let body = body();
    // The first commits of a start are not what a year is made of.
    offer(&ring, &body, case.rate, Duration::from_millis(500));
    file.sync_all().expect("syncs");
    let appended = |ring: &Ring| ring.marks().appended.pos.0;
    let (commits, before, at) = (ring.status().commit_us.count, place.device.counters(), appended(&ring));
    let start = Instant::now();
    let readings = offer(&ring, &body, case.rate, duration);
    ring.wait_durable(forebay::marks::Pos(ring.marks().appended.pos.0 - 1), Duration::from_secs(5));
    let elapsed = start.elapsed();
    let commits = ring.status().commit_us.count - commits;
    let taken_bytes = Some(appended(&ring) - at);
    // What the file system still owes (its times) is part of the price.
    file.sync_all().expect("syncs");
    let written = place.device.counters().since(before);
    lane.finish();
    ring.close().expect("the ring closes");
    Figures {
        readings,
        elapsed,
        commits,
        written,
        baseline_bytes: 0,
        message_bytes: None,
        ack_ms: None,
        taken_bytes,
        record_bytes: record() as f64,
    }
}

/// Appends readings as they fall due; returns how many.
fn offer(ring: &Ring, body: &[u8], rate: u64, duration: Duration) -> u64 {
    let start = Instant::now();
    let mut appended = 0;
    let mut wake = start;
    let tick = TICK.max(Duration::from_secs(1) / u32::try_from(rate).unwrap_or(u32::MAX));
    while start.elapsed() < duration {
        let due = (start.elapsed().as_micros() as u64 * rate) / 1_000_000 + 1;
        while appended < due {
            append(ring, body).expect("the lane keeps the ring empty");
            appended += 1;
        }
        wake += tick;
        thread::sleep(wake.saturating_duration_since(Instant::now()));
    }
    appended
}

fn append(ring: &Ring, body: &[u8]) -> Result<(), forebay::ring::AppendError> {
    let part = Part { kind: Kind::Rows, table_hash: table_hash(TABLE), rows: 1, body, ..Part::default() };
    ring.append(&[part], SystemClock.now()).map(drop)
}

fn open(path: &Path, spacing: CommitSpacing) -> Ring {
    let clock: SharedClock = Arc::new(SystemClock);
    let settings = Settings {
        path: path.to_owned(),
        size: Bytes(RING_BYTES),
        durability: Durability::Commit,
        commit_spacing: spacing,
        on_full: OnFull::Block,
        ..Settings::default()
    };
    let heartbeat = Heartbeats::new(Arc::clone(&clock)).register("bench");
    let opened = Ring::open(&settings, Duration::ZERO, clock, heartbeat, &mut |_| {}, &mut |_| {});
    opened.expect("the ring opens").ring
}

/// Reads and settles everything, as the lanes of the daemon do, with a database that always answers.
struct Lane {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Lane {
    fn start(ring: &Ring) -> Self {
        ring.set_lanes(1);
        let stop = Arc::new(AtomicBool::new(false));
        let (ring, stopped) = (ring.clone(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut reader = ring.reader(ring.marks().settled);
            while !stopped.load(Ordering::Relaxed) {
                ring.wait_durable(reader.mark().pos, Duration::from_millis(100));
                while reader.next().expect("what is durable can be read").is_some() {}
                ring.confirm_kept(SystemClock.since_boot());
                ring.lane_done(0, reader.mark());
            }
        });
        Self { stop, thread }
    }

    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the lane ends in order");
    }
}

/// A row of exactly [`ROW_BYTES`] bytes: two symbols, two numbers, a boolean.
fn body() -> Vec<u8> {
    let row = Row {
        time: Some(Timestamp(1_700_000_000_000_000_000)),
        device_time: true,
        symbols: vec![("device".into(), "dev-0001".into()), ("site".into(), "hall-1-north".into())],
        fields: vec![
            ("temperature".into(), Value::Double(21.5)),
            ("humidity".into(), Value::Double(40.0)),
            ("ok".into(), Value::Bool(true)),
        ],
        ..Row::default()
    };
    let mut body = Vec::new();
    encode_rows(TABLE, &[row], &mut body).expect("within the limits");
    assert_eq!(body.len(), ROW_BYTES, "bytes of the row");
    body
}
