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
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
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
        forecast.sentence = sentence(&forecast);
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

fn sentence(forecast: &Forecast) -> String {
    let Some(intake) = forecast.intake_bytes_per_s else {
        return format!("not known before {} s of history", LEAST_SPAN.as_secs());
    };
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

fn span(seconds: f64) -> String {
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICK: Duration = Duration::from_secs(2);
    const MIB: u64 = 1 << 20;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A ring followed for a while: each tick what comes in, what gets its fate, and what becomes free.
    struct Course {
        forecaster: Forecaster,
        now: Duration,
        levels: Levels,
    }

    impl Course {
        fn new(usable: u64, window: Duration) -> Self {
            let mut forecaster = Forecaster::new(usable, window);
            forecaster.note(at(0), Levels::default());
            Self { forecaster, now: at(0), levels: Levels::default() }
        }

        /// Lets time pass in ticks, `step` telling how the levels move in one.
        fn run(&mut self, ticks: u64, mut step: impl FnMut(&mut Levels)) -> Forecast {
            for _ in 0..ticks {
                self.now += TICK;
                step(&mut self.levels);
                self.forecaster.note(self.now, self.levels);
            }
            self.forecaster.look(self.now, self.levels)
        }
    }

    /// Everything is stored and free at once.
    fn kept_up(bytes: u64) -> impl FnMut(&mut Levels) {
        move |levels| {
            levels.appended += bytes;
            (levels.settled, levels.kept) = (levels.appended, levels.appended);
        }
    }

    fn outage(bytes: u64) -> impl FnMut(&mut Levels) {
        move |levels| levels.appended += bytes
    }

    #[track_caller]
    fn assert_near(value: Option<f64>, wanted: f64) {
        let value = value.expect("a figure");
        assert!((value - wanted).abs() <= wanted * 1e-9, "{value} instead of {wanted}");
    }

    #[test]
    fn nothing_is_foretold_from_too_little_history() {
        let mut course = Course::new(MIB, at(0));
        let early = course.run(2, outage(100));
        assert_eq!((early.full_in_s, early.drained_in_s, early.outage_covered_s), (None, None, None));
        assert_eq!((early.free_bytes, early.backlog_bytes), (MIB - 200, 200));
        assert!(early.sentence.contains("not known"), "{}", early.sentence);
        assert!(course.run(1, outage(100)).full_in_s.is_some());
    }

    #[test]
    fn without_intake_there_is_no_time() {
        let idle = Course::new(MIB, at(60)).run(20, |_| {});
        assert_eq!((idle.full_in_s, idle.drained_in_s, idle.outage_covered_s), (None, Some(0.0), None));
        assert!(idle.sentence.starts_with("nothing comes in; nothing waits"), "{}", idle.sentence);
    }

    #[test]
    fn a_database_that_keeps_up_leaves_only_the_outage_to_foretell() {
        let forecast = Course::new(MIB, at(60)).run(30, kept_up(2_000));
        assert_eq!((forecast.full_in_s, forecast.drained_in_s), (None, Some(0.0)));
        assert_near(forecast.outage_covered_s, MIB as f64 / 1_000.0);
        assert_eq!(forecast.sentence, "does not fill up at 1.0 kB/s; nothing waits; an outage of 17 min would fit");
    }

    #[test]
    fn an_outage_is_known_within_the_settling_span() {
        let mut course = Course::new(100 * MIB, at(0));
        course.run(200, kept_up(20_000));
        let ticks = SETTLING_SPAN.as_secs() / TICK.as_secs();
        let forecast = course.run(ticks, outage(20_000));
        let free = 100 * MIB - ticks * 20_000;
        assert_eq!(forecast.free_bytes, free);
        assert_near(forecast.full_in_s, free as f64 / 10_000.0);
        assert_eq!(forecast.drained_in_s, None);
        assert_eq!(
            forecast.sentence,
            "full in 2.9 h at 10.0 kB/s; the backlog does not shrink; an outage of 2.9 h would fit"
        );
    }

    #[test]
    fn an_outage_shows_even_where_hardly_anything_comes_in() {
        let mut course = Course::new(MIB, at(0));
        course.run(150, kept_up(2_000));
        course.run(1, outage(100));
        let forecast = course.run(10, |_| {});
        assert_eq!(forecast.drained_in_s, None, "100 bytes wait in vain, little as that is");
        assert!(forecast.full_in_s.is_some());
    }

    #[test]
    fn a_backlog_drains_at_the_difference_of_the_rates() {
        let mut course = Course::new(MIB, at(0));
        course.run(200, outage(2_000));
        let forecast = course.run(10, |levels| {
            levels.appended += 2_000;
            levels.settled += 6_000;
            levels.kept = levels.settled;
        });
        assert_eq!(forecast.backlog_bytes, 360_000);
        assert_near(forecast.drained_in_s, 360_000.0 / 2_000.0);
        assert_eq!(forecast.full_in_s, None, "draining faster than intake");
    }

    #[test]
    fn a_database_that_is_too_slow_fills_the_ring_at_the_difference() {
        let forecast = Course::new(MIB, at(0)).run(50, |levels| {
            levels.appended += 4_000;
            levels.settled += 1_000;
            levels.kept = levels.settled;
        });
        assert_near(forecast.full_in_s, (MIB - 150_000) as f64 / 1_500.0);
        assert_eq!(forecast.drained_in_s, None);
    }

    #[test]
    fn space_that_the_resend_window_holds_is_not_free() {
        let usable = 100_000;
        let mut course = Course::new(usable, at(60));
        course.run(20, outage(4_000));
        // The database is back and stores all at once, yet the rest of the ring is filled before the window is over.
        let forecast = course.run(2, |levels| {
            levels.appended += 4_000;
            levels.settled = levels.appended;
        });
        assert_eq!(forecast.free_bytes, 12_000);
        assert_near(forecast.full_in_s, 12_000.0 / 2_000.0);
        let relieved = course.run(3, |levels| levels.kept = levels.settled);
        assert_eq!(relieved.full_in_s, None);
    }

    #[test]
    fn a_ring_too_small_for_its_window_fills_up_although_the_database_keeps_up() {
        let window = at(1_200);
        let mut settled = VecDeque::from(vec![0; window.as_secs() as usize / 2]);
        let mut course = Course::new(4_000_000, window);
        let mut step = |bytes: u64, levels: &mut Levels| {
            levels.appended += bytes;
            levels.settled = levels.appended;
            settled.push_back(levels.settled);
            levels.kept = settled.pop_front().unwrap_or(0);
        };
        let fits = course.run(1_000, |levels| step(4_000, levels));
        assert_eq!(fits.full_in_s, None, "a window of 2,400,000 bytes");
        let forecast = course.run(160, |levels| step(8_000, levels));
        assert_eq!(forecast.free_bytes, 960_000);
        assert_near(forecast.full_in_s, 960_000.0 / 2_000.0);
    }

    #[test]
    fn a_full_ring_is_full_now() {
        let forecast = Course::new(1_000, at(0)).run(20, outage(100));
        assert_eq!((forecast.full_in_s, forecast.free_bytes), (Some(0.0), 0));
        assert!(forecast.sentence.starts_with("full; "), "{}", forecast.sentence);
    }

    #[test]
    fn bursts_and_silences_move_the_rate_little() {
        // Devices that report together once a minute: 60,000 bytes in one tick of thirty.
        let mut course = Course::new(10 * MIB, at(0));
        for tick in 0..600 {
            let bytes = if tick % 30 == 0 { 60_000 } else { 0 };
            let forecast = course.run(1, kept_up(bytes));
            if course.now >= INTAKE_SPAN {
                let intake = forecast.intake_bytes_per_s.expect("known");
                assert!((750.0..=1_250.0).contains(&intake), "{intake} at {tick}");
                assert_eq!(forecast.full_in_s, None);
            }
        }
    }

    #[test]
    fn a_burst_that_has_just_come_is_no_outage() {
        let mut course = Course::new(10 * MIB, at(0));
        course.run(150, kept_up(2_000));
        let forecast = course.run(1, outage(MIB));
        assert_eq!(forecast.full_in_s, None, "it has not waited long enough to tell");
    }

    fn moves() -> impl Strategy<Value = Vec<(u64, u64, u64, u64)>> {
        let amount = || prop_oneof![Just(0), 0..10_000u64, any::<u32>().prop_map(u64::from)];
        prop::collection::vec((0..20_000u64, amount(), amount(), amount()), 1..400)
    }

    proptest! {
        /// Whatever happens, a figure is a number of seconds, and memory stays bounded.
        #[test]
        fn no_figure_is_negative_or_infinite(usable in 0..1u64 << 42, window in 0..90_000u64, moves in moves()) {
            let mut course = Course::new(usable, at(window));
            for (millis, come, settle, free) in moves {
                course.now += Duration::from_millis(millis);
                let levels = &mut course.levels;
                levels.appended += come;
                levels.settled = (levels.settled + settle).min(levels.appended);
                levels.kept = (levels.kept + free).min(levels.settled);
                course.forecaster.note(course.now, course.levels);
                let forecast = course.forecaster.look(course.now, course.levels);
                let rates = [forecast.intake_bytes_per_s, forecast.settling_bytes_per_s, forecast.measured_over_s];
                let times = [forecast.full_in_s, forecast.drained_in_s, forecast.outage_covered_s];
                for figure in rates.into_iter().chain(times).flatten() {
                    prop_assert!(figure.is_finite() && figure >= 0.0, "{:?}", forecast);
                }
                prop_assert!(forecast.full_in_s.is_none() || forecast.full_in_s >= forecast.outage_covered_s, "{:?}", forecast);
                let kept = course.forecaster.intake.notes.len() + course.forecaster.settling.notes.len();
                prop_assert!(kept < 100, "{} notes", kept);
            }
        }

        /// On steady rates the ring is full when it was said to be, and drained when it was said to be.
        #[test]
        fn steady_rates_come_true(intake in 1..5_000u64, settling in 0..5_000u64, ticks in 10..200u64) {
            let mut course = Course::new(4 * MIB, at(0));
            course.run(1, outage(MIB));
            // The bytes of the backlog's beginning are intake too, until they have left the span.
            course.run(INTAKE_SPAN.as_secs() / TICK.as_secs() + 10, outage(0));
            let step = move |levels: &mut Levels| {
                levels.appended += intake * TICK.as_secs();
                levels.settled = (levels.settled + settling * TICK.as_secs()).min(levels.appended);
                levels.kept = levels.settled;
            };
            let forecast = course.run(INTAKE_SPAN.as_secs() / TICK.as_secs() + ticks, step);
            let backlog = course.levels.appended - course.levels.settled;
            if backlog > 5 * intake + 2 * SETTLING_SPAN.as_secs() * settling.saturating_sub(intake) && forecast.free_bytes > 0 {
                let expected = |bytes: u64, more: u64, less: u64| (more > less).then(|| bytes as f64 / (more - less) as f64);
                let near = |a: Option<f64>, b: Option<f64>| match (a, b) {
                    (Some(a), Some(b)) => (a - b).abs() <= b * 1e-9,
                    (a, b) => a == b,
                };
                prop_assert!(near(forecast.full_in_s, expected(forecast.free_bytes, intake, settling)), "{:?}", forecast);
                prop_assert!(near(forecast.drained_in_s, expected(backlog, settling, intake)), "{:?}", forecast);
            }
        }
    }
}
