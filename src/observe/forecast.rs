//! What lies ahead of the ring: when it is full, when its backlog is drained, how long an outage of the database it would cover.
//! Pure: levels and times come as arguments.
//!
//! Smoothing. The rate of intake is the mean of the last [`INTAKE_SPAN`] (of the time since start, while that is shorter), so that
//! devices that report together once a minute, or fall silent for one, move it little. The rate at which rows get their fate is the
//! mean of the last [`SETTLING_SPAN`], so that a database that goes away or comes back shows soon; for as long after its return the
//! drain is foretold too slow rather than too fast. A backlog of less than [`KEEPING_UP`] of intake is what is always under way, and a
//! larger one that has not lasted for [`PATIENCE`] is a burst.

use std::{collections::VecDeque, fmt::Write as _, time::Duration};

use serde::Serialize;
use utoipa::ToSchema;

/// The intake's rate is the mean of so long.
pub const INTAKE_SPAN: Duration = Duration::from_mins(5);
/// The settling's rate is the mean of so long.
pub const SETTLING_SPAN: Duration = Duration::from_secs(10);
/// Nothing is foretold from less history than this.
pub const LEAST_SPAN: Duration = Duration::from_secs(5);
/// Intake of so long may wait for the database without being a backlog.
const KEEPING_UP: Duration = Duration::from_secs(5);
/// A backlog that is younger than this says nothing of the database.
const PATIENCE: Duration = Duration::from_secs(3);
/// Levels are kept no closer together than this, for either rate.
const INTAKE_STEP: Duration = Duration::from_secs(5);
const SETTLING_STEP: Duration = Duration::from_secs(1);
const DAY_S: f64 = 86_400.0;

/// How far the log has come, in bytes since the ring's creation; each only grows, and `kept ≤ settled ≤ appended`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Levels {
    /// Taken in.
    pub appended: u64,
    /// Before it every row has its fate; equal to `appended` when nothing waits.
    pub settled: u64,
    /// Before it space may be used again.
    pub kept: u64,
}

/// What is foretold. A figure that is not known, or that never comes at the present rates, is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct Forecast {
    /// Seconds of history behind the rate of intake; none while there is too little.
    pub measured_over_s: Option<f64>,
    /// Bytes the ring takes in a second.
    pub intake_bytes_per_s: Option<f64>,
    /// Bytes a second that get their fate: stored, quarantined or dropped.
    pub settling_bytes_per_s: Option<f64>,
    /// Bytes that can still be taken in if nothing more is stored.
    pub free_bytes: u64,
    /// Bytes that wait for QuestDB.
    pub backlog_bytes: u64,
    /// Seconds until the ring is full.
    pub full_in_s: Option<f64>,
    /// Seconds until nothing waits any more but what is always under way.
    pub drained_in_s: Option<f64>,
    /// Seconds that QuestDB could be away from now on before the ring is full.
    pub outage_covered_s: Option<f64>,
    /// All of it in one sentence.
    pub sentence: String,
}

impl Forecast {
    /// The same while it is known that the database takes nothing, which the rate of the last
    /// seconds shows later: what comes in stays, and nothing is drained.
    #[must_use]
    pub fn while_nothing_is_stored(mut self) -> Self {
        if self.backlog_bytes > 0 {
            self.drained_in_s = None;
        }
        self.full_in_s = match self.intake_bytes_per_s {
            Some(_) if self.free_bytes == 0 => Some(0.0),
            Some(intake) => quotient(self.free_bytes as f64, intake),
            None => None,
        };
        self.sentence = sentence(&self, true);
        self
    }
}

/// Remembers where the log was, and says where it is going.
#[derive(Debug)]
pub struct Forecaster {
    usable: u64,
    window: Duration,
    intake: History,
    settling: History,
}

impl Forecaster {
    /// A forecaster of a ring that holds `usable` bytes, of which none is free again before it has been settled for `window`.
    #[must_use]
    pub fn new(usable: u64, window: Duration) -> Self {
        Self {
            usable,
            window,
            intake: History::new(INTAKE_STEP, INTAKE_SPAN),
            settling: History::new(SETTLING_STEP, SETTLING_SPAN),
        }
    }

    /// Takes note of the levels at a time (since boot). However often it is told, it keeps less than a hundred of them.
    pub fn note(&mut self, at: Duration, levels: Levels) {
        self.intake.note(at, levels);
        self.settling.note(at, levels);
    }

    /// What follows from the levels now and those noted before.
    #[must_use]
    pub fn look(&self, at: Duration, now: Levels) -> Forecast {
        let backlog = now.appended.saturating_sub(now.settled);
        let free = self.usable.saturating_sub(now.appended.saturating_sub(now.kept));
        let mut forecast = Forecast { free_bytes: free, backlog_bytes: backlog, ..Forecast::default() };
        if let (Some(long), Some(short)) = (self.intake.start(at), self.settling.start(at)) {
            let intake = rate(long.levels.appended, now.appended, at.saturating_sub(long.at));
            let settling = rate(short.levels.settled, now.settled, at.saturating_sub(short.at));
            let least = |since| self.settling.least_backlog(since).min(backlog) as f64;
            let pace = Pace {
                intake,
                settling,
                backlog: backlog as f64,
                lasting_backlog: least(at.saturating_sub(PATIENCE)),
                least_backlog: least(short.at),
            };
            forecast.measured_over_s = Some(at.saturating_sub(long.at).as_secs_f64());
            forecast.intake_bytes_per_s = Some(intake);
            forecast.settling_bytes_per_s = Some(settling);
            forecast.full_in_s = self.full_in(&pace, at, now, free as f64);
            forecast.drained_in_s = pace.drained_in();
            forecast.outage_covered_s = quotient(free as f64, intake);
        }
        forecast.sentence = sentence(&forecast, false);
        forecast
    }

    fn full_in(&self, pace: &Pace, at: Duration, now: Levels, free: f64) -> Option<f64> {
        if free <= 0.0 {
            return Some(0.0);
        }
        let window_bytes = pace.intake * self.window.as_secs_f64();
        let growth = if pace.is_behind() {
            pace.intake - pace.settling
        } else if window_bytes + pace.backlog > self.usable as f64 {
            // The database keeps up, but what waits for the resend window to pass does not fit.
            let before = self.settling.start(at)?;
            pace.intake - rate(before.levels.kept, now.kept, at.saturating_sub(before.at))
        } else {
            0.0
        };
        // Until the window has passed over what is settled, nothing becomes free however fast rows are stored.
        let held = quotient(free, pace.intake).filter(|full| *full < self.held_for(at, now).as_secs_f64());
        match (quotient(free, growth), held) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// How long space goes on not becoming free at all, at most: the window, less the time for which what comes first has been settled.
    fn held_for(&self, at: Duration, now: Levels) -> Duration {
        if now.settled <= now.kept {
            return Duration::ZERO;
        }
        let settled_since = self.intake.last(|levels| levels.settled <= now.kept);
        // Where history does not reach back so far, space that has not moved through all of it may be held for the longest.
        let since = settled_since.or_else(|| self.intake.oldest().filter(|note| note.levels.kept == now.kept));
        since.map_or(Duration::ZERO, |note| (note.at + self.window).saturating_sub(at))
    }
}

/// Rates in bytes a second, and what waits, in bytes.
struct Pace {
    intake: f64,
    settling: f64,
    backlog: f64,
    /// The least that has waited during [`PATIENCE`].
    lasting_backlog: f64,
    /// The least that has waited while `settling` was measured.
    least_backlog: f64,
}

impl Pace {
    fn under_way(&self) -> f64 {
        self.intake * KEEPING_UP.as_secs_f64()
    }

    /// Nothing gets its fate, although something has been waiting for it all the time.
    fn is_stuck(&self) -> bool {
        self.least_backlog > 0.0 && self.settling <= 0.0
    }

    /// More waits, and has done so for a while, than a burst or a batch explains.
    fn is_behind(&self) -> bool {
        self.is_stuck() || self.lasting_backlog > self.under_way()
    }

    fn drained_in(&self) -> Option<f64> {
        if self.backlog <= 0.0 {
            Some(0.0)
        } else if self.is_stuck() {
            None
        } else if self.backlog <= self.under_way() {
            quotient(self.backlog, self.intake)
        } else {
            quotient(self.backlog, self.settling - self.intake)
        }
    }
}

/// Levels noted before, no closer together than a step, no further back than needed to cover a span.
#[derive(Debug)]
struct History {
    step: Duration,
    span: Duration,
    notes: VecDeque<Note>,
}

#[derive(Debug, Clone, Copy)]
struct Note {
    at: Duration,
    levels: Levels,
}

impl History {
    fn new(step: Duration, span: Duration) -> Self {
        Self { step, span, notes: VecDeque::new() }
    }

    fn note(&mut self, at: Duration, levels: Levels) {
        if self.notes.back().is_some_and(|last| at < last.at + self.step) {
            return;
        }
        self.notes.push_back(Note { at, levels });
        while self.notes.get(1).is_some_and(|second| second.at + self.span <= at) {
            self.notes.pop_front();
        }
    }

    /// Where the span that ends at `at` begins; the oldest note while there is no older one; none when even that is too young.
    fn start(&self, at: Duration) -> Option<Note> {
        let old_enough = self.notes.iter().rev().find(|note| note.at + self.span <= at);
        old_enough.or(self.notes.front()).copied().filter(|note| note.at + LEAST_SPAN <= at)
    }

    /// The least that has waited at any note after `since`.
    fn least_backlog(&self, since: Duration) -> u64 {
        let within = self.notes.iter().filter(|note| note.at > since);
        within.map(|note| note.levels.appended.saturating_sub(note.levels.settled)).min().unwrap_or(0)
    }

    fn last(&self, is: impl Fn(&Levels) -> bool) -> Option<Note> {
        self.notes.iter().rev().find(|note| is(&note.levels)).copied()
    }

    fn oldest(&self) -> Option<Note> {
        self.notes.front().copied()
    }
}

/// Bytes a second; 0 over no time.
fn rate(from: u64, to: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { to.saturating_sub(from) as f64 / elapsed.as_secs_f64() }
}

/// Seconds that bytes last at a rate; none when they last for ever.
fn quotient(bytes: f64, per_second: f64) -> Option<f64> {
    (per_second > 0.0).then(|| bytes / per_second).filter(|seconds| seconds.is_finite())
}

/// The figures in words; `is_away` says that the database takes nothing.
fn sentence(forecast: &Forecast, is_away: bool) -> String {
    let Some(intake) = forecast.intake_bytes_per_s else {
        return format!("not known before {} s of history", LEAST_SPAN.as_secs());
    };
    if is_away {
        return match forecast.full_in_s {
            Some(seconds) if seconds <= 0.0 => "full until QuestDB takes rows again".to_owned(),
            Some(seconds) => {
                format!("full in {} at {}, unless QuestDB takes rows again", span(seconds), speed(intake))
            }
            None => "nothing comes in; what waits goes once QuestDB takes rows again".to_owned(),
        };
    }
    let mut text = match forecast.full_in_s {
        Some(seconds) if seconds <= 0.0 => "full".to_owned(),
        Some(seconds) => format!("full in {} at {}", span(seconds), speed(intake)),
        None if intake > 0.0 && forecast.drained_in_s.is_none() => {
            format!("too soon to say when it is full, at {}", speed(intake))
        }
        None if intake > 0.0 => format!("does not fill up at {}", speed(intake)),
        None => "nothing comes in".to_owned(),
    };
    match forecast.drained_in_s {
        Some(_) if forecast.backlog_bytes == 0 => text.push_str("; nothing waits"),
        Some(seconds) => drop(write!(text, "; drained in {}", span(seconds))),
        None => text.push_str("; the backlog does not shrink"),
    }
    match forecast.outage_covered_s {
        Some(seconds) => drop(write!(text, "; an outage of {} would fit", span(seconds))),
        None => text.push_str("; how long an outage would fit is not known"),
    }
    text
}

/// A time as a person says it: `90 s`, `5 min`, `2.0 h`.
pub(super) fn span(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 2.0 * DAY_S => format!("{:.1} h", s / 3_600.0),
        s if s < 730.0 * DAY_S => format!("{:.1} days", s / DAY_S),
        s if s < 36_525.0 * DAY_S => format!("{:.1} years", s / 365.25 / DAY_S),
        _ => "more than 100 years".to_owned(),
    }
}

fn speed(bytes_per_s: f64) -> String {
    match bytes_per_s {
        b if b < 1e3 => format!("{b:.0} B/s"),
        b if b < 1e6 => format!("{:.1} kB/s", b / 1e3),
        b => format!("{:.1} MB/s", b / 1e6),
    }
}

#[cfg(test)]
mod tests;
