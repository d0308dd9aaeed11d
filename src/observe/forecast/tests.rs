//! Steady rates exactly, bursts and idle times within reason.

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
fn a_database_that_is_known_to_be_away_drains_nothing() {
    let mut course = Course::new(100 * MIB, at(0));
    // A second after it went away the rates still say that it keeps up.
    let kept_up = course.run(60, kept_up(2 * MIB / 100));
    assert_eq!((kept_up.full_in_s, kept_up.drained_in_s), (None, Some(0.0)));
    let waiting = course.run(1, outage(2 * MIB / 100));
    assert!(waiting.drained_in_s.is_some(), "{waiting:?}");
    let away = waiting.clone().while_nothing_is_stored();
    assert_eq!(away.drained_in_s, None);
    assert_near(away.full_in_s, waiting.free_bytes as f64 / waiting.intake_bytes_per_s.expect("measured"));
    assert!(away.sentence.contains("unless QuestDB takes rows again"), "{}", away.sentence);
    assert!(!away.sentence.contains("drained") && !away.sentence.contains("does not fill up"), "{}", away.sentence);
    let early = Forecast::default().while_nothing_is_stored();
    assert_eq!((early.full_in_s, early.sentence.as_str()), (None, "not known before 5 s of history"));
    let still = Forecast { intake_bytes_per_s: Some(0.0), free_bytes: 1, backlog_bytes: 1, ..Forecast::default() };
    assert_eq!(still.clone().while_nothing_is_stored().full_in_s, None);
    assert!(still.while_nothing_is_stored().sentence.starts_with("nothing comes in"));
    let full = Forecast { intake_bytes_per_s: Some(5.0), free_bytes: 0, backlog_bytes: 1, ..Forecast::default() };
    assert!(full.while_nothing_is_stored().sentence.starts_with("full until"));
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
