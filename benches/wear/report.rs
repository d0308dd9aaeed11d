//! The tables, and the JSON file.

use std::path::PathBuf;

use serde_json::json;

use crate::{Case, Figures, steady::ROW_BYTES};

/// A small card: its size, and how often each of its bytes can be written.
const CARD_BYTES: f64 = 16e9;
const CARD_WRITES: f64 = 10_000.0;
const YEAR_S: f64 = 365.25 * 86_400.0;
/// The aims: bytes written for each byte of rows at 30,000 readings a second, bytes a reading at 1,000 and 20 ms.
const MOST_TIMES: f64 = 1.6;
const MOST_BYTES: f64 = 350.0;

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
        "{:<13} {:>7} {:>8} {:>9} {:>10} {:>9} {:>11} {:>7} {:>8} {:>10} {:>10}",
        "",
        "asked/s",
        "spacing",
        "came/s",
        "commits/s",
        "flushes/s",
        "B/reading",
        "x row",
        "x record",
        "idle B/s",
        "years 16GB"
    );
    for Line { kind, case, figures } in lines {
        let record = figures.per_reading() / figures.record_bytes;
        let row = match figures.message_bytes {
            None => format!("{:.2}", figures.per_reading() / ROW_BYTES as f64),
            Some(_) => "-".into(),
        };
        println!(
            "{kind:<13} {:>7} {:>5} ms {:>9.0} {:>10.1} {:>9.1} {:>11.0} {row:>7} {record:>8.2} {:>10.0} {:>10.1}",
            case.rate,
            case.spacing.as_millis(),
            figures.a_second(figures.readings),
            figures.a_second(figures.commits),
            figures.a_second(figures.written.flushes),
            figures.per_reading(),
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

fn aims(lines: &[Line]) {
    let ring = |rate: u64, millis: u128| {
        let is =
            |line: &&Line| line.kind == "ring" && line.case.rate == rate && line.case.spacing.as_millis() == millis;
        lines.iter().find(is).map(|line| line.figures.per_reading())
    };
    let verdict = |met: bool| if met { "met" } else { "MISSED" };
    println!();
    for millis in [0, 5, 20, 100] {
        if let Some(bytes) = ring(30_000, millis) {
            let (row, record) = (bytes / ROW_BYTES as f64, bytes / crate::steady::record() as f64);
            println!(
                "30,000/s, {millis} ms: {row:.2} times the row ({}), {record:.2} times its record ({}); aim {MOST_TIMES}",
                verdict(row <= MOST_TIMES),
                verdict(record <= MOST_TIMES)
            );
        }
    }
    if let Some(bytes) = ring(1_000, 20) {
        println!("1,000/s, 20 ms: {bytes:.0} bytes a reading ({}); aim {MOST_BYTES}", verdict(bytes <= MOST_BYTES));
    }
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
                "spacing_ms": case.spacing.as_millis() as u64,
                "readings": figures.readings,
                "seconds": figures.elapsed.as_secs_f64(),
                "commits": figures.commits,
                "written_bytes": figures.written.bytes,
                "write_requests": figures.written.writes,
                "flushes": figures.written.flushes,
                "baseline_bytes": figures.baseline_bytes,
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
