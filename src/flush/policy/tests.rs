use proptest::prelude::*;

use super::*;
use crate::flush::model::Flushed;

fn model(fixed_ms: f64, row_us: f64) -> Model {
    let mut model = Model::default();
    for i in 0..100 {
        let rows = 100 + 400 * (i % 10);
        let took = Duration::from_secs_f64(fixed_ms * 1e-3 + row_us * 1e-6 * rows as f64);
        model.observe(Flushed { rows, bytes: 100 * rows, took });
    }
    model
}

/// A policy that has stored large batches.
fn grown() -> Dynamic {
    let mut policy = Dynamic::default();
    policy.observe(Outcome::Stored { rows: 50_000, beyond: None });
    policy
}

fn decide(policy: &Dynamic, costs: (f64, f64), backlog: f64, arrival: f64) -> Decision {
    let settings = settings::Batch::default();
    let model = model(costs.0, costs.1);
    policy.decide(&View {
        backlog_rows: backlog,
        arrival_rows_per_s: arrival,
        fitting_rows: usize::MAX,
        rows_before: None,
        model: &model,
        settings: &settings,
    })
}

const NEAR: (f64, f64) = (1.0, 0.7);

#[test]
fn what_is_left_of_the_budget_is_waited() {
    let quiet = decide(&grown(), NEAR, 1.0, 1.0);
    assert!((Duration::from_millis(950)..Duration::from_secs(1)).contains(&quiet.linger), "{quiet:?}");
    assert!(quiet.reason.to_string().contains("so that rows are stored within 1 s (freshness)"), "{}", quiet.reason);
    // A database that takes 300 ms gets its batch earlier.
    let far = decide(&grown(), (300.0, 0.7), 100.0, 1_000.0);
    assert!(far.linger < Duration::from_millis(700), "{far:?}");
    let mut measured = grown();
    (0..200).for_each(|_| measured.observe(Outcome::Stored { rows: 700, beyond: Some(Duration::from_millis(310)) }));
    let linger = decide(&measured, (300.0, 0.7), 100.0, 1_000.0).linger;
    assert!((Duration::from_millis(660)..Duration::from_millis(700)).contains(&linger), "{linger:?}");
}

#[test]
fn where_the_budget_cannot_be_held_a_burst_still_goes_together() {
    let mut policy = grown();
    (0..9).for_each(|_| policy.observe(Outcome::Stored { rows: 9, beyond: Some(Duration::from_secs(3)) }));
    let far = decide(&policy, (3_000.0, 0.7), 100.0, 1_000.0);
    assert!((Duration::from_millis(280)..Duration::from_millis(350)).contains(&far.linger), "{far:?}");
    assert!(far.reason.to_string().contains("freshness = 1 s cannot be held"), "{}", far.reason);
}

#[test]
fn a_backlog_is_sent_as_large_as_pays() {
    let near = decide(&grown(), NEAR, 1e6, 0.0);
    assert!(
        (40_000..=50_000).contains(&near.rows) && near.reason.to_string().starts_with("backlog of 1000000 rows"),
        "{near:?}"
    );
    assert!(near.reason.to_string().contains("max_rows"), "{near:?}");
    let far = decide(&grown(), (200.0, 0.7), 1e6, 1_000.0);
    assert!(far.rows == 50_000 && far.reason.to_string().contains("max_rows"), "{far:?}");
}

#[test]
fn rows_that_wait_for_company_are_no_backlog() {
    let waiting = |rows: f64| decide(&grown(), NEAR, rows, 20_000.0).reason.to_string();
    assert!(waiting(18_000.0).starts_with("20000.0 rows/s: a batch each"), "{}", waiting(18_000.0));
    assert!(waiting(30_000.0).starts_with("backlog of 30000 rows"), "{}", waiting(30_000.0));
}

#[test]
fn slow_by_row_is_smaller_and_slow_by_distance_larger() {
    let usual = decide(&grown(), (2.0, 10.0), 1e6, 0.0).rows;
    assert!(decide(&grown(), (2.0, 100.0), 1e6, 0.0).rows * 5 < usual);
    assert!(decide(&grown(), (20.0, 10.0), 1e6, 0.0).rows > usual * 5);
}

#[test]
fn target_latency_is_held_unless_that_would_not_keep_up() {
    // 40 ms + 100 µs a row: 600 rows are within 100 ms.
    let slow = (40.0, 100.0);
    let held = decide(&grown(), slow, 1_000.0, 1_000.0);
    assert!((580..620).contains(&held.rows) && held.reason.to_string().contains("target_latency"), "{held:?}");
    // A flow that such batches cannot take: 6,500 rows/s × 1.25 need larger ones.
    let pressed = decide(&grown(), slow, 1_000.0, 6_500.0);
    assert!(pressed.rows > 1_500 && pressed.reason.to_string().contains("keep up"), "{pressed:?}");
    // A backlog that would take long that way goes before it.
    let behind = decide(&grown(), slow, 1e6, 1_000.0);
    assert!(behind.rows > 10_000 && behind.reason.to_string().contains("before target_latency"), "{behind:?}");
}

#[test]
fn what_was_never_measured_is_reached_in_steps() {
    // 100 µs a row, which flushes of 50 rows have not told from their fixed cost.
    let cost = |rows: usize| Duration::from_secs_f64(2e-3 + 100e-6 * rows as f64);
    let (mut policy, mut model) = (Dynamic::default(), Model::default());
    let settings = settings::Batch::default();
    let mut rows = 50;
    let mut longest = Duration::ZERO;
    for _ in 0..12 {
        longest = longest.max(cost(rows));
        policy.observe(Outcome::Stored { rows, beyond: None });
        model.observe(Flushed { rows, bytes: 100 * rows, took: cost(rows) });
        let (backlog_rows, arrival_rows_per_s, fitting_rows) = (1e6, 0.0, 31_000);
        let view = View {
            backlog_rows,
            arrival_rows_per_s,
            fitting_rows,
            rows_before: None,
            model: &model,
            settings: &settings,
        };
        rows = policy.decide(&view).rows;
    }
    assert!(longest < settings.target_latency * 12, "{longest:?}");
    assert!((500..1_200).contains(&rows), "{rows} rows at last");
}

#[test]
fn failing_halves_what_failed_and_recovers() {
    let mut policy = grown();
    let rows = |policy: &Dynamic| decide(policy, NEAR, 1e6, 0.0).rows;
    let full = rows(&policy);
    policy.observe(Outcome::Strained { rows: 1_000 });
    assert_eq!(rows(&policy), 500);
    policy.observe(Outcome::Failed);
    assert_eq!(rows(&policy), 500, "size has no part in other failures");
    (0..100).for_each(|_| policy.observe(Outcome::Strained { rows: 500 }));
    assert!(rows(&policy) >= 64);
    (0..20).for_each(|_| policy.observe(Outcome::Stored { rows: 50_000, beyond: None }));
    assert_eq!(rows(&policy), full);
}

#[test]
fn the_former_keys_still_bound_the_wait() {
    let linger = |batch: settings::Batch| {
        let model = model(1.0, 0.7);
        let (backlog_rows, arrival_rows_per_s, fitting_rows) = (1.0, 1_000.0, usize::MAX);
        let view =
            View { backlog_rows, arrival_rows_per_s, fitting_rows, rows_before: None, model: &model, settings: &batch };
        grown().decide(&view).linger
    };
    let (short, long) = (Duration::from_millis(100), Duration::from_secs(5));
    assert_eq!(linger(settings::Batch { max_linger: Some(short), ..settings::Batch::default() }), short);
    assert_eq!(linger(settings::Batch { min_linger: Some(long), ..settings::Batch::default() }), long);
}

#[test]
fn hybrid_limits_can_be_turned_off() {
    let settings = settings::Batch { max_rows: 0, max_linger: Some(Duration::ZERO), ..settings::Batch::default() };
    let model = Model::default();
    let view = View {
        backlog_rows: 1.0,
        arrival_rows_per_s: 1.0,
        fitting_rows: 1,
        rows_before: None,
        model: &model,
        settings: &settings,
    };
    let decision = Hybrid.decide(&view);
    assert_eq!((decision.rows, decision.linger), (usize::MAX, ENDLESS_LINGER));
}

proptest! {
    #[test]
    fn decisions_keep_to_the_limits(
        fixed_ms in 0.0..5_000.0, row_us in 0.0..5_000.0, backlog in 0.0..1e9, arrival in 0.0..1e7,
        failed in prop::collection::vec(0usize..100_000, 0..20), max_rows in 1usize..100_000,
    ) {
        let settings = settings::Batch { max_rows, ..settings::Batch::default() };
        let model = model(fixed_ms, row_us);
        let mut policy = Dynamic::default();
        for rows in failed {
            policy.observe(Outcome::Strained { rows });
        }
        let decision = policy.decide(&View {
            backlog_rows: backlog,
            arrival_rows_per_s: arrival,
            fitting_rows: max_rows / 2,
            rows_before: None,
            model: &model,
            settings: &settings,
        });
        prop_assert!(decision.rows >= 1 && decision.rows <= max_rows);
        prop_assert!(decision.linger <= settings.freshness);
    }
}
