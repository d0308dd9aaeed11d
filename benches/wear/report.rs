//! The tables, and the JSON file.

use std::path::PathBuf;

use forebay::settings::CommitSpacing;
use serde_json::json;

use crate::{Case, Figures, steady::ROW_BYTES};

/// A small card: its size, and how often each of its bytes can be written.
const CARD_BYTES: f64 = 16e9;
const CARD_WRITES: f64 = 10_000.0;
const YEAR_S: f64 = 365.25 * 86_400.0;
/// The aims for the default: bytes for each byte of a record; bytes a reading, and milliseconds to
/// a PUBACK at 1,000 readings/s and when idle.
const MOST_TIMES: f64 = 1.6;
const MOST_BYTES: f64 = 250.0;
const MOST_ACK_MS: f64 = 15.0;
const MOST_IDLE_ACK_MS: f64 = 4.0;

/// One line of a table.
pub struct Line {
    /// What was measured.
    pub kind: &'static str,
    /// At which rate and spacing.
    pub case: Case,
    /// What came out.
    pub figures: Figures,
}

impl Figures {
    /// Bytes written, without those of the idle device.
    fn net(&self) -> f64 {
        self.written.bytes.saturating_sub(self.baseline_bytes) as f64
    }

    fn per_reading(&self) -> f64 {
        self.net() / self.readings as f64
    }

    /// Bytes of the ring that a reading takes, over its record.
    fn ring_times(&self) -> Option<f64> {
        self.taken_bytes.map(|bytes| bytes as f64 / self.readings as f64 / self.record_bytes)
    }

    fn a_second(&self, count: u64) -> f64 {
        count as f64 / self.elapsed.as_secs_f64()
    }

    /// `card bytes × writes / (bytes written a second × seconds a year)`.
    fn years(&self) -> f64 {
        CARD_BYTES * CARD_WRITES / (self.net() / self.elapsed.as_secs_f64() * YEAR_S)
    }
}

/// Shows everything.
pub fn print(lines: &[Line], device: &str, own: bool) {
    println!("\nwritten to {device}{}, a row of {ROW_BYTES} bytes\n", if own { " (its own)" } else { " (shared)" });
    println!(
        "{:<13} {:>7} {:>8} {:>9} {:>10} {:>9} {:>11} {:>7} {:>8} {:>12} {:>10} {:>10} {:>15}",
        "",
        "asked/s",
        "spacing",
        "came/s",
        "commits/s",
        "flushes/s",
        "B/reading",
        "x row",
        "x record",
        "ring x rec.",
        "idle B/s",
        "years 16GB",
        "PUBACK p50/p99"
    );
    for Line { kind, case, figures } in lines {
        let record = figures.per_reading() / figures.record_bytes;
        let row = match figures.message_bytes {
            None => format!("{:.2}", figures.per_reading() / ROW_BYTES as f64),
            Some(_) => "-".into(),
        };
        let acks = figures.ack_ms.map_or("-".into(), |(p50, p99)| format!("{p50:.1}/{p99:.1} ms"));
        println!(
            "{kind:<13} {:>7} {:>8} {:>9.0} {:>10.1} {:>9.1} {:>11.0} {row:>7} {record:>8.2} {:>12} {:>10.0} {:>10.1} {acks:>15}",
            case.rate,
            case.spacing.to_string(),
            figures.a_second(figures.readings),
            figures.a_second(figures.commits),
            figures.a_second(figures.written.flushes),
            figures.per_reading(),
            figures.ring_times().map_or("-".into(), |times| format!("{times:.2}")),
            figures.a_second(figures.baseline_bytes),
            figures.years(),
        );
    }
    for Line { figures, .. } in lines.iter().filter(|line| line.figures.message_bytes.is_some()).take(1) {
        let (message, record) = (figures.message_bytes.unwrap_or_default(), figures.record_bytes);
        println!("\nthe daemon's messages have {message:.0} bytes of payload; their records have {record:.0} bytes");
    }
    aims(lines);
}

/// What is asked of the default: bytes a reading and PUBACK at 1,000 readings/s, the ring's row at
/// 500, PUBACK when idle.
fn aims(lines: &[Line]) {
    let of = |kind: &str, rate: u64| {
        let is = |line: &&Line| line.kind == kind && line.case.rate == rate && line.case.spacing == CommitSpacing::Auto;
        lines.iter().find(is).map(|line| &line.figures)
    };
    println!();
    for kind in ["ring", "daemon"] {
        if let Some(figures) = of(kind, 1_000) {
            aim(&format!("{kind}, 1,000/s: bytes a reading"), figures.per_reading(), MOST_BYTES);
        }
        if let Some(row) = of(kind, 500).and_then(Figures::ring_times) {
            aim(&format!("{kind}, 500/s: bytes of the ring over the record"), row, MOST_TIMES);
        }
        if let Some(figures) = of(kind, 30_000) {
            aim(
                &format!("{kind}, 30,000/s: bytes written over the record"),
                figures.per_reading() / figures.record_bytes,
                MOST_TIMES,
            );
        }
    }
    for (rate, most_ms) in [(1_000, MOST_ACK_MS), (10, MOST_IDLE_ACK_MS)] {
        if let Some((p50, _)) = of("daemon", rate).and_then(|figures| figures.ack_ms) {
            aim(&format!("daemon, {rate}/s: PUBACK p50 in ms"), p50, most_ms);
        }
    }
}

fn aim(what: &str, is: f64, most: f64) {
    println!("{what}: {is:.2} ({}; aim {most})", if is <= most { "met" } else { "MISSED" });
}

/// Writes every line to `target/bench/wear.json`.
pub fn write_json(lines: &[Line]) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench/wear.json");
    let lines: Vec<_> = lines
        .iter()
        .map(|Line { kind, case, figures }| {
            json!({
                "kind": kind,
                "rate": case.rate,
                "spacing": case.spacing.to_string(),
                "readings": figures.readings,
                "seconds": figures.elapsed.as_secs_f64(),
                "commits": figures.commits,
                "written_bytes": figures.written.bytes,
                "write_requests": figures.written.writes,
                "flushes": figures.written.flushes,
                "baseline_bytes": figures.baseline_bytes,
                "taken_bytes": figures.taken_bytes,
                "ack_ms": figures.ack_ms,
                "record_bytes": figures.record_bytes,
                "bytes_per_reading": figures.per_reading(),
                "years_16gb": figures.years(),
            })
        })
        .collect();
    match std::fs::write(&file, serde_json::to_string_pretty(&lines).expect("JSON")) {
        Ok(()) => println!("\nevery line: {}", file.display()),
        Err(why) => eprintln!("{}: {why}", file.display()),
    }
}
