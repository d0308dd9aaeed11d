//! Opening a full ring whose file is in the page cache: the scan alone, with the map of latest values, and the daemon.

use std::{
    os::unix::net::UnixDatagram,
    path::Path,
    time::{Duration, Instant},
};

use forebay::{
    ingest::restore::{Memory, restore},
    latest::Latest,
    limits::Allowance,
    ring::{headers, inspect::FileMedia, recover},
    settings::Latest as LatestSettings,
};
use serde::Serialize;

use crate::{
    full::{self, Contents, SERIES},
    support::{DaemonBuilder, Readings, scratch},
};

/// Each is measured so often; the median counts.
const ROUNDS: usize = 3;
const LIMIT: Duration = Duration::from_mins(2);

/// What was measured, in seconds.
#[derive(Debug, Serialize)]
pub struct Start {
    contents: Contents,
    bytes: u64,
    records: u64,
    /// The scan of every record by itself.
    scan_s: f64,
    /// `Ring::open` and nothing else.
    open_s: f64,
    /// `Ring::open` that fills the map of latest values, as the daemon does.
    restore_s: f64,
    /// From starting the process to `READY=1`.
    ready_s: f64,
    /// What the service manager was told on the way, and when.
    told: Vec<(f64, String)>,
    /// Longest silence towards it.
    silence_s: f64,
}

impl Start {
    /// Shows it.
    pub fn print(&self) {
        let gib = self.bytes as f64 / f64::from(1 << 30);
        println!(
            "\na full ring of {gib:.2} GiB, {} records, {:?}: scan {:.2} s ({:.2} GB/s), open {:.2} s, open and restore {SERIES} series \
             {:.2} s, daemon ready after {:.2} s",
            self.records,
            self.contents,
            self.scan_s,
            self.bytes as f64 / self.scan_s / 1e9,
            self.open_s,
            self.restore_s,
            self.ready_s
        );
        println!("  told {} times, never silent for more than {:.2} s; some of it:", self.told.len(), self.silence_s);
        for (at, status) in self.told.iter().step_by((self.told.len() / 6).max(1)) {
            println!("  {at:.2} s: {status}");
        }
    }
}

/// Makes the ring and measures.
pub fn measure(directory: &Path, contents: Contents, mib: u64) -> Start {
    let path = directory.join("ring");
    let _ = std::fs::remove_file(&path);
    let settings = full::settings(&path, mib);
    full::make(&settings, contents);
    let (mut scans, mut opens, mut restores, mut records) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let media = FileMedia::open(&path).expect("the ring file");
        let header = headers::read_header(&media).expect("readable").expect("valid");
        let start = Instant::now();
        let found = recover::scan(&media, header, &mut |_| {}, &mut |_| {}).expect("scans");
        scans.push(start.elapsed().as_secs_f64());
        bytes = found.head.pos.0 - header.tail.pos.0;
        opens.push(open(&settings, &mut |_| {}));
        records = 0;
        let latest = Latest::new(&LatestSettings::default());
        let allowance = Allowance::default();
        let start = Instant::now();
        let opened = restore(Memory { latest: &latest, allowance: &allowance }, |take| {
            full::open(&settings, &mut |record| {
                records += 1;
                take(record);
            })
        });
        restores.push(start.elapsed().as_secs_f64());
        opened.ring.close().expect("the ring closes");
        assert_eq!(latest.status().series, SERIES as u64, "series in the map");
    }
    let (ready_s, told, silence_s) = ready(&path, mib);
    let [scan_s, open_s, restore_s] = [scans, opens, restores].map(median);
    Start { contents, bytes, records, scan_s, open_s, restore_s, ready_s, told, silence_s }
}

fn open(settings: &forebay::settings::Ring, visit: &mut dyn FnMut(&forebay::ring::Record<'_>)) -> f64 {
    let start = Instant::now();
    let opened = full::open(settings, visit);
    let took = start.elapsed().as_secs_f64();
    opened.ring.close().expect("the ring closes");
    took
}

/// Starts the daemon on the ring; when it was ready, and what it told on the way.
fn ready(ring: &Path, mib: u64) -> (f64, Vec<(f64, String)>, f64) {
    let name = scratch::sockets().join("speed.sock");
    let manager = UnixDatagram::bind(&name).expect("a socket for notifications");
    manager.set_read_timeout(Some(LIMIT)).expect("a time limit");
    let mut daemon = DaemonBuilder::new()
        .set("ring.path", ring.display().to_string())
        .set("ring.size", format!("{mib}MiB"))
        .source(&Readings::new("sensors", 1))
        .set("mqtt.url", "mqtt://127.0.0.1:1")
        .set("questdb.conf", "http::addr=127.0.0.1:2;")
        .write();
    daemon.environment.push(("NOTIFY_SOCKET".into(), name.display().to_string()));
    let start = Instant::now();
    daemon.launch();
    let (mut told, mut last, mut silence) = (Vec::new(), 0.0_f64, 0.0_f64);
    let ready = loop {
        let mut message = [0; 4096];
        let length = manager.recv(&mut message).expect("the daemon gets ready");
        let at = start.elapsed().as_secs_f64();
        silence = silence.max(at - last);
        last = at;
        let text = String::from_utf8_lossy(&message[..length]).into_owned();
        if text.contains("READY=1") {
            break at;
        }
        if let Some(status) = text.lines().find_map(|line| line.strip_prefix("STATUS=")) {
            told.push((at, status.to_owned()));
        }
    };
    daemon.kill9();
    let _ = std::fs::remove_file(&name);
    (ready, told, silence)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
