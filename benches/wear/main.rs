//! What forebay writes to the disk: bytes a reading and syncs a second, by the device's own counters, at several rates and
//! commit spacings. docs/wear.md has the figures and what they mean for a card.

mod daemon;
mod device;
mod place;
mod report;
mod steady;

#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::{process::ExitCode, time::Duration};

use device::Counters;
use forebay::settings::CommitSpacing;
use place::Place;
use report::Line;
use support::{Mosquitto, QuestDb};

const RATES: [u64; 4] = [10, 500, 1_000, 30_000];
const AUTO: CommitSpacing = CommitSpacing::Auto;
const SPACINGS: [CommitSpacing; 5] = [AUTO, fixed(0), fixed(5), fixed(20), fixed(100)];
/// What the daemon is measured at.
const DAEMON: [(u64, CommitSpacing); 7] =
    [(10, AUTO), (500, AUTO), (1_000, AUTO), (1_000, fixed(5)), (1_000, fixed(20)), (30_000, AUTO), (30_000, fixed(5))];
/// What a ring is measured at that was opened with a cold cache.
const REBOOTED: [(u64, CommitSpacing); 3] = [(10, AUTO), (1_000, AUTO), (30_000, AUTO)];

const fn fixed(millis: u64) -> CommitSpacing {
    CommitSpacing::Fixed(Duration::from_millis(millis))
}

/// What is asked of the ring.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Readings a second.
    rate: u64,
    /// `commit_spacing`.
    spacing: CommitSpacing,
}

/// What one run measured.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    readings: u64,
    elapsed: Duration,
    commits: u64,
    written: Counters,
    /// Bytes written in the same time while nothing was appended.
    baseline_bytes: u64,
    /// Bytes of the ring that the readings took, where nothing else went into it.
    taken_bytes: Option<u64>,
    /// Receipt to PUBACK in milliseconds, median and 99th percentile, where there are PUBACKs.
    ack_ms: Option<(f64, f64)>,
    /// Bytes of a message's payload, where there are messages.
    message_bytes: Option<f64>,
    /// Bytes of a reading's record in the ring.
    record_bytes: f64,
}

struct Plan {
    seconds: u64,
    only: Option<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let plan = match plan(&arguments) {
        Ok(plan) => plan,
        Err(why) => {
            eprintln!("{why}\nusage: wear [--seconds N] [--only ring|rebooted|daemon]");
            return ExitCode::from(2);
        }
    };
    match measure(&plan) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("the device can't be measured: {why}");
            ExitCode::FAILURE
        }
    }
}

fn measure(plan: &Plan) -> std::io::Result<()> {
    let duration = Duration::from_secs(plan.seconds);
    let mut place = Place::take()?;
    let mut lines = Vec::new();
    let mut idle = Idle { duration, known: None };
    let cases = RATES.into_iter().flat_map(|rate| SPACINGS.map(|spacing| Case { rate, spacing }));
    for case in cases.filter(|_| plan.takes("ring")) {
        let baseline = idle.bytes(&place);
        lines.push(line("ring", case, steady::run(&place, &case, duration), baseline));
    }
    let rebooted = if plan.takes("rebooted") && place.own { &REBOOTED[..] } else { &[] };
    for &(rate, spacing) in rebooted {
        let case = Case { rate, spacing };
        let baseline = idle.bytes(&place);
        lines.push(line("rebooted ring", case, steady::run_after_reboot(&mut place, &case, duration), baseline));
    }
    if plan.takes("daemon") && place.own {
        let (broker, questdb) = (Mosquitto::start(), QuestDb::as_shipped());
        for (rate, spacing) in DAEMON {
            let case = Case { rate, spacing };
            let baseline = idle.bytes(&place);
            lines.push(line("daemon", case, daemon::run(&place, &case, duration, &broker, &questdb), baseline));
        }
    }
    report::print(&lines, &place.device.name, place.own);
    report::write_json(&lines);
    Ok(())
}

fn line(kind: &'static str, case: Case, figures: Figures, baseline_bytes: u64) -> Line {
    let line = Line { kind, case, figures: Figures { baseline_bytes, ..figures } };
    eprintln!("{kind} {} readings/s, {}: {} bytes", case.rate, case.spacing, figures.written.bytes);
    line
}

/// Bytes written by others in the time of a run: measured once on a device of our own, before each run on a shared one.
struct Idle {
    duration: Duration,
    known: Option<u64>,
}

impl Idle {
    fn bytes(&mut self, place: &Place) -> u64 {
        if let Some(bytes) = self.known.filter(|_| place.own) {
            return bytes;
        }
        let before = place.device.counters();
        std::thread::sleep(self.duration);
        *self.known.insert(place.device.counters().since(before).bytes)
    }
}

impl Plan {
    fn takes(&self, kind: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == kind)
    }
}

fn plan(arguments: &[String]) -> Result<Plan, String> {
    let mut plan = Plan { seconds: 20, only: None };
    let mut rest = arguments.iter().filter(|argument| *argument != "--bench");
    while let Some(name) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--seconds" => {
                plan.seconds = value.parse().ok().filter(|n| *n > 0).ok_or_else(|| format!("{value}: no seconds"))?;
            }
            "--only" => plan.only = Some(value.clone()),
            other => return Err(format!("{other} is unknown")),
        }
    }
    Ok(plan)
}
