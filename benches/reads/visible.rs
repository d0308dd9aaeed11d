//! From a device's publish to visible at the socket: a watcher tells when each reading is there.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    LIMIT, Told,
    support::{Daemon, Mosquitto, Readings},
};

const PER_SECOND: u64 = 1_000;
const SECONDS: u64 = 10;

/// The times of all readings.
pub struct Visible(Told);

/// Publishes at a steady rate, over one connection with one reading at a time, and watches.
pub fn measure(readings: &Readings, broker: &Mosquitto, daemon: &Daemon) -> Visible {
    let mut stream = UnixStream::connect(daemon.socket()).expect("the daemon's socket");
    write!(stream, "GET /v1/watch?table={} HTTP/1.1\r\nHost: f\r\n\r\n", readings.name).expect("the request goes");
    stream.set_read_timeout(Some(LIMIT)).expect("a time-out");
    let count = PER_SECOND * SECONDS;
    let (begun, begins) = channel();
    let watched = readings.clone();
    let watcher = thread::spawn(move || {
        let mut seen = Vec::new();
        let mut lines = BufReader::new(stream).lines();
        assert!(lines.next().expect("a head").expect("a head").contains("200"));
        begun.send(()).expect("somebody waits");
        while (seen.len() as u64) < count {
            let line = lines.next().expect("the stream goes on").expect("the stream goes on");
            let at = Instant::now();
            let Some(data) = line.strip_prefix("data:") else { continue };
            let series: Value = serde_json::from_str(data).expect("JSON");
            let device: u64 = series["symbols"]["device"].as_str().expect("a device")[4..].parse().expect("a number");
            let seq = series["fields"]["seq"].as_u64().expect("a sequence number");
            seen.push((seq * watched.devices + device, at));
        }
        seen
    });
    begins.recv().expect("the watch has begun");
    let mut publisher = broker.publisher().expect("the broker is there");
    let (began, mut sent) = (Instant::now(), Vec::new());
    for n in 0..count {
        let due = began + Duration::from_micros(n * 1_000_000 / PER_SECOND);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let (topic, payload) = readings.reading(crate::SERIES + n);
        sent.push(Instant::now());
        publisher.publish(&topic, payload.as_bytes()).expect("publishes");
        publisher.flush().expect("publishes");
    }
    let seen = watcher.join().expect("the watcher ends in order");
    let age =
        |(number, at): (u64, Instant)| at.duration_since(sent[(number - crate::SERIES) as usize]).as_secs_f64() * 1e6;
    Visible(Told::of(seen.into_iter().map(age).collect(), SECONDS))
}

impl Visible {
    /// Prints it.
    pub fn print(&self) {
        let Told { per_second, p50_us, p99_us } = self.0;
        println!("\npublished to visible at a watcher, {per_second:.0} msg/s: p50 {p50_us:.0} µs, p99 {p99_us:.0} µs");
    }
}
