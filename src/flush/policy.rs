//! How much is sent at once, and how long a row waits for company (pure).

use std::time::Duration;

use super::model::Model;
use crate::config::settings;

/// Share of a batch's time that its fixed cost may take before a larger one stops paying.
const KNEE_SHARE: f64 = 0.05;
/// Share of the time that a steady flow may spend on fixed costs.
const DUTY: f64 = 0.1;
/// Transactions a second a lane aims at under a steady flow: each one costs QuestDB work beyond its latency.
const TRANSACTIONS_PER_S: f64 = 10.0;
/// Wait that lets the rows of one commit go together.
const LEAST_LINGER: Duration = Duration::from_millis(2);
/// Linger when it is turned off in the settings: rows still leave some day.
const ENDLESS_LINGER: Duration = Duration::from_hours(1);
/// Rows of a batch are never decided to be fewer.
const LEAST_ROWS: usize = 64;
/// Fewer waiting rows are no backlog.
const LEAST_BACKLOG_ROWS: f64 = 500.0;
/// Most times a batch is halved for failures.
const MAX_HALVINGS: u32 = 8;

/// What a decision rests on.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Rows that wait to be sent.
    pub backlog_rows: f64,
    /// Rows that arrive a second.
    pub arrival_rows_per_s: f64,
    /// Most rows that fit into a request, from the size of recent ones.
    pub fitting_rows: usize,
    /// What a flush costs.
    pub model: &'a Model,
    /// Limits and aims.
    pub settings: &'a settings::Batch,
}

/// How the next batch is to be cut.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Most rows.
    pub rows: usize,
    /// Longest wait of its first row.
    pub linger: Duration,
    /// Why, in one line.
    pub reason: String,
}

/// How a flush went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Stored.
    Stored,
    /// Not answered in time, or answered that it is too much.
    Strained,
    /// Failed for a reason that size has no part in.
    Failed,
}

/// A way to decide.
pub trait Policy: Send {
    /// Decides on the next batch.
    fn decide(&self, view: &View<'_>) -> Decision;
    /// Learns how a flush went.
    fn observe(&mut self, outcome: Outcome);
}

/// The policy the settings name.
pub fn from_settings(settings: &settings::Batch) -> Box<dyn Policy> {
    match settings.strategy {
        settings::Strategy::Dynamic => Box::new(Dynamic::default()),
        settings::Strategy::Hybrid => Box::new(Hybrid),
    }
}

/// Fixed limits: whichever of rows, bytes or linger is reached first; 0 turns one off.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hybrid;

impl Policy for Hybrid {
    fn decide(&self, view: &View<'_>) -> Decision {
        let rows = if view.settings.max_rows == 0 { usize::MAX } else { view.settings.max_rows };
        let linger = if view.settings.max_linger.is_zero() { ENDLESS_LINGER } else { view.settings.max_linger };
        Decision { rows, linger, reason: "hybrid: fixed limits from the settings".into() }
    }

    fn observe(&mut self, _: Outcome) {}
}

/// Share by which lingers differ from one batch to the next under a steady flow. The cost of a row can be told from the
/// fixed cost only where sizes differ.
const SWAY: f64 = 0.2;

/// Follows the measured cost of flushes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dynamic {
    halvings: u32,
    /// Flushes stored, which alternate between a shorter and a longer linger.
    stored: u32,
}

/// What bounds the rows of a batch.
struct Size {
    rows: usize,
    bound_by: &'static str,
}

impl Dynamic {
    /// Rows to where larger batches stop paying, within the target latency and the settings' limit.
    fn size(self, view: &View<'_>) -> Size {
        let fixed = view.model.fixed_s();
        let per_row = view.model.per_row_s().max(1e-9);
        let target = view.settings.target_latency.as_secs_f64();
        let knee = fixed * (1.0 / KNEE_SHARE - 1.0) / per_row;
        // A fixed cost that eats the target by itself cannot be held by sending less: the target is for the rows then.
        let rest = if fixed < 0.5 * target { target - fixed } else { target };
        let held = rest / per_row;
        let (rows, bound_by) = if held < knee {
            let slow =
                if fixed < 0.5 * target { "to hold target_latency" } else { "fixed cost is high: large and few" };
            (held, slow)
        } else {
            (knee, "larger would not pay")
        };
        let limit = if view.settings.max_rows == 0 { usize::MAX } else { view.settings.max_rows };
        let rows = (rows as usize).max(LEAST_ROWS) >> self.halvings;
        let bound_by = if rows > limit { "max_rows" } else { bound_by };
        let bound_by = if rows.min(limit) > view.fitting_rows { "max_bytes" } else { bound_by };
        let limit = limit.min(view.fitting_rows.max(1));
        let bound_by = if self.halvings > 0 { "shrunk after failures" } else { bound_by };
        Size { rows: rows.clamp(LEAST_ROWS.min(limit), limit), bound_by }
    }

    /// Wait that spreads the fixed cost over enough rows: none for a trickle, longer for a flow.
    fn linger(self, view: &View<'_>) -> Duration {
        let fixed = view.model.fixed_s();
        let sway = if self.stored.is_multiple_of(2) { 1.0 - SWAY } else { 1.0 + SWAY };
        let cycle = (1.0 / TRANSACTIONS_PER_S).max(fixed / DUTY) * sway;
        let between_rows = 1.0 / view.arrival_rows_per_s.max(1e-3);
        let longest = if view.settings.max_linger.is_zero() { ENDLESS_LINGER } else { view.settings.max_linger };
        Duration::from_secs_f64((cycle - between_rows).max(0.0)).max(LEAST_LINGER).min(longest)
    }
}

impl Policy for Dynamic {
    fn decide(&self, view: &View<'_>) -> Decision {
        let size = self.size(view);
        let linger = self.linger(view);
        let (fixed_ms, row_us) = (view.model.fixed_s() * 1e3, view.model.per_row_s() * 1e6);
        let costs = format!("a flush costs {fixed_ms:.1} ms + {row_us:.2} µs a row");
        let in_a_cycle = view.arrival_rows_per_s * linger.as_secs_f64();
        let backlog = view.backlog_rows > (2.0 * in_a_cycle).max(LEAST_BACKLOG_ROWS);
        let reason = if backlog {
            format!("backlog of {:.0} rows: {}; {costs}", view.backlog_rows, size.bound_by)
        } else if linger <= LEAST_LINGER {
            format!("quiet ({:.1} rows/s): small and fresh; {costs}", view.arrival_rows_per_s)
        } else {
            let cycles = 1.0 / linger.as_secs_f64();
            format!(
                "{:.0} rows/s in at most {cycles:.0} flushes/s ({}); {costs}",
                view.arrival_rows_per_s, size.bound_by
            )
        };
        Decision { rows: size.rows, linger, reason }
    }

    fn observe(&mut self, outcome: Outcome) {
        self.stored = self.stored.wrapping_add(u32::from(outcome == Outcome::Stored));
        self.halvings = match outcome {
            Outcome::Stored => self.halvings.saturating_sub(1),
            Outcome::Strained => (self.halvings + 1).min(MAX_HALVINGS),
            Outcome::Failed => self.halvings,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn model(fixed_ms: f64, row_us: f64) -> Model {
        let mut model = Model::default();
        for i in 0..300 {
            let rows = 100 + 400 * (i % 10);
            model.observe(rows, Duration::from_secs_f64(fixed_ms * 1e-3 + row_us * 1e-6 * rows as f64));
        }
        model
    }

    fn decide(policy: Dynamic, fixed_ms: f64, row_us: f64, backlog: f64, arrival: f64) -> Decision {
        let settings = settings::Batch::default();
        let model = model(fixed_ms, row_us);
        let view = View {
            backlog_rows: backlog,
            arrival_rows_per_s: arrival,
            fitting_rows: usize::MAX,
            model: &model,
            settings: &settings,
        };
        policy.decide(&view)
    }

    #[test]
    fn quiet_is_fresh_and_a_flow_is_bundled() {
        let quiet = decide(Dynamic::default(), 1.0, 0.7, 1.0, 1.0);
        assert!(quiet.linger <= LEAST_LINGER && quiet.reason.starts_with("quiet"), "{quiet:?}");
        let flow = decide(Dynamic::default(), 1.0, 0.7, 100.0, 10_000.0);
        assert!(flow.linger >= Duration::from_millis(75) && flow.linger <= Duration::from_millis(120), "{flow:?}");
    }

    #[test]
    fn backlog_is_sent_as_large_as_pays() {
        let near = decide(Dynamic::default(), 1.0, 0.7, 1e6, 0.0);
        assert!((20_000..35_000).contains(&near.rows) && near.reason.starts_with("backlog"), "{near:?}");
        let far = decide(Dynamic::default(), 200.0, 0.7, 1e6, 1_000.0);
        assert_eq!((far.rows, far.linger), (50_000, Duration::from_secs(1)));
        let slow = decide(Dynamic::default(), 10.0, 100.0, 1e6, 0.0);
        assert!((800..1_000).contains(&slow.rows) && slow.reason.contains("target_latency"), "{slow:?}");
    }

    #[test]
    fn failing_halves_and_recovers() {
        let mut policy = Dynamic::default();
        let rows = |policy| decide(policy, 1.0, 0.7, 1e6, 0.0).rows;
        let full = rows(policy);
        policy.observe(Outcome::Strained);
        assert_eq!(rows(policy), full / 2);
        (0..100).for_each(|_| policy.observe(Outcome::Strained));
        assert!(rows(policy) >= LEAST_ROWS);
        (0..100).for_each(|_| policy.observe(Outcome::Stored));
        assert_eq!(rows(policy), full);
    }

    #[test]
    fn hybrid_limits_can_be_turned_off() {
        let settings = settings::Batch { max_rows: 0, max_linger: Duration::ZERO, ..settings::Batch::default() };
        let model = Model::default();
        let view =
            View { backlog_rows: 1.0, arrival_rows_per_s: 1.0, fitting_rows: 1, model: &model, settings: &settings };
        let decision = Hybrid.decide(&view);
        assert_eq!((decision.rows, decision.linger), (usize::MAX, ENDLESS_LINGER));
    }

    proptest! {
        #[test]
        fn decisions_keep_to_the_limits(
            fixed_ms in 0.0..5_000.0, row_us in 0.0..5_000.0, backlog in 0.0..1e9, arrival in 0.0..1e7,
            halvings in 0u32..20, max_rows in 1usize..100_000,
        ) {
            let settings = settings::Batch { max_rows, ..settings::Batch::default() };
            let model = model(fixed_ms, row_us);
            let mut policy = Dynamic::default();
            (0..halvings).for_each(|_| policy.observe(Outcome::Strained));
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
}
