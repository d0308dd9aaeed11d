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
    policy.observe(Outcome::Stored { rows: 50_000 });
    policy
}

fn decide(policy: Dynamic, costs: (f64, f64), backlog: f64, arrival: f64) -> Decision {
    let settings = settings::Batch::default();
    let model = model(costs.0, costs.1);
    policy.decide(&View {
        backlog_rows: backlog,
        arrival_rows_per_s: arrival,
        fitting_rows: usize::MAX,
        model: &model,
        settings: &settings,
    })
}

const NEAR: (f64, f64) = (1.0, 0.7);

#[test]
fn quiet_and_near_is_sent_at_once() {
    let quiet = decide(grown(), NEAR, 1.0, 1.0);
    assert!(
        quiet.linger.is_zero() && quiet.reason.to_string().starts_with("quiet (1.0 rows/s): fresh, at once;"),
        "{quiet:?}"
    );
    let flow = decide(grown(), NEAR, 100.0, 10_000.0);
    assert!(flow.linger < Duration::from_millis(1) && flow.reason.to_string().starts_with("10000 rows/s"), "{flow:?}");
}

#[test]
fn distance_waits_for_company_a_tenth_of_its_time() {
    let far = decide(grown(), (300.0, 0.7), 100.0, 1_000.0);
    assert!((Duration::from_millis(28)..Duration::from_millis(35)).contains(&far.linger), "{far:?}");
    // A row every ten seconds has no company to wait for.
    assert!(decide(grown(), (300.0, 0.7), 1.0, 0.1).linger.is_zero());
}

#[test]
fn a_backlog_is_sent_as_large_as_pays() {
    let near = decide(grown(), NEAR, 1e6, 0.0);
    assert!(
        (40_000..=50_000).contains(&near.rows) && near.reason.to_string().starts_with("backlog of 1000000 rows"),
        "{near:?}"
    );
    assert!(near.reason.to_string().contains("larger would not pay"), "{near:?}");
    let far = decide(grown(), (200.0, 0.7), 1e6, 1_000.0);
    assert!(far.rows == 50_000 && far.reason.to_string().contains("max_rows"), "{far:?}");
}

#[test]
fn slow_by_row_is_smaller_and_slow_by_distance_larger() {
    let usual = decide(grown(), (2.0, 10.0), 1e6, 0.0).rows;
    assert!(decide(grown(), (2.0, 100.0), 1e6, 0.0).rows * 5 < usual);
    assert!(decide(grown(), (20.0, 10.0), 1e6, 0.0).rows > usual * 5);
}

#[test]
fn target_latency_is_held_unless_that_would_not_keep_up() {
    // 40 ms + 100 µs a row: 600 rows are within 100 ms.
    let slow = (40.0, 100.0);
    let held = decide(grown(), slow, 1_000.0, 1_000.0);
    assert!((580..620).contains(&held.rows) && held.reason.to_string().contains("target_latency"), "{held:?}");
    // A flow that such batches cannot take: 6,500 rows/s × 1.25 need larger ones.
    let pressed = decide(grown(), slow, 1_000.0, 6_500.0);
    assert!(pressed.rows > 1_500 && pressed.reason.to_string().contains("keep up"), "{pressed:?}");
    // A backlog that would take long that way goes before it.
    let behind = decide(grown(), slow, 1e6, 1_000.0);
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
        policy.observe(Outcome::Stored { rows });
        model.observe(Flushed { rows, bytes: 100 * rows, took: cost(rows) });
        let (backlog_rows, arrival_rows_per_s, fitting_rows) = (1e6, 0.0, 31_000);
        let view = View { backlog_rows, arrival_rows_per_s, fitting_rows, model: &model, settings: &settings };
        rows = policy.decide(&view).rows;
    }
    assert!(longest < settings.target_latency * 12, "{longest:?}");
    assert!((500..1_200).contains(&rows), "{rows} rows at last");
}

#[test]
fn what_was_never_measured_is_not_waited_by() {
    // A first flush that paid for more than its twenty rows makes rows look as if they could not be kept up with.
    let (mut policy, mut model) = (Dynamic::default(), Model::default());
    for (rows, ms) in [(1, 187), (20, 391)] {
        policy.observe(Outcome::Stored { rows });
        model.observe(Flushed { rows, bytes: 100 * rows, took: Duration::from_millis(ms) });
    }
    let settings = settings::Batch::default();
    let (backlog_rows, arrival_rows_per_s, fitting_rows) = (1.0, 500.0, 31_000);
    let view = View { backlog_rows, arrival_rows_per_s, fitting_rows, model: &model, settings: &settings };
    let linger = policy.decide(&view).linger;
    assert!(linger < Duration::from_millis(100), "{linger:?}");
}

#[test]
fn failing_halves_what_failed_and_recovers() {
    let mut policy = grown();
    let rows = |policy| decide(policy, NEAR, 1e6, 0.0).rows;
    let full = rows(policy);
    policy.observe(Outcome::Strained { rows: 1_000 });
    assert_eq!(rows(policy), 500);
    policy.observe(Outcome::Failed);
    assert_eq!(rows(policy), 500, "size has no part in other failures");
    (0..100).for_each(|_| policy.observe(Outcome::Strained { rows: 500 }));
    assert!(rows(policy) >= 64);
    (0..20).for_each(|_| policy.observe(Outcome::Stored { rows: 50_000 }));
    assert_eq!(rows(policy), full);
}

#[test]
fn transactions_can_be_spared_at_the_price_of_freshness() {
    let settings = settings::Batch { min_linger: Duration::from_millis(100), ..settings::Batch::default() };
    let model = model(1.0, 0.7);
    let view = View {
        backlog_rows: 1.0,
        arrival_rows_per_s: 1_000.0,
        fitting_rows: usize::MAX,
        model: &model,
        settings: &settings,
    };
    assert_eq!(grown().decide(&view).linger, Duration::from_millis(100));
}

#[test]
fn hybrid_limits_can_be_turned_off() {
    let settings = settings::Batch { max_rows: 0, max_linger: Duration::ZERO, ..settings::Batch::default() };
    let model = Model::default();
    let view = View { backlog_rows: 1.0, arrival_rows_per_s: 1.0, fitting_rows: 1, model: &model, settings: &settings };
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
            model: &model,
            settings: &settings,
        });
        prop_assert!(decision.rows >= 1 && decision.rows <= max_rows);
        prop_assert!(decision.linger <= settings.max_linger);
    }
}
