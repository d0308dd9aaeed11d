//! The strategy that follows measured latency. Its objectives, in this order:
//!
//! 1. keep up with what arrives, and work off a backlog at the speed that the database has;
//! 2. have rows stored within `freshness` of their arrival;
//! 3. hold `target_latency` for a flush;
//! 4. cost the database little: few transactions.
//!
//! A transaction is dear for the database, whatever the latency of its answer says: some 10 ms of
//! its processor's time. Readers have the latest values from memory at once. So rows wait for
//! company as long as `freshness` allows ([`Budget`]). Where it cannot be held, they wait for a
//! small share of the time that their flush takes anyway ([`LINGER_SHARE`]), so that a burst goes
//! together: one request is in flight at a time, and what arrives meanwhile is the next batch.

use std::{fmt, time::Duration};

use super::{self as policy, Decision, Follows, Outcome, Policy, View, budget::Budget, row_limit};

/// Share of a batch's time that its fixed cost may take before a larger one stops paying: it could gain no more than this.
const KNEE_SHARE: f64 = 0.03;
/// Keeping up means to store this many times what arrives.
const HEADROOM: f64 = 1.25;
/// A backlog that would take longer to work off within the target latency takes precedence over it, in seconds.
const PATIENCE_S: f64 = 2.0;
/// Share of a flush's time for which a row waits for company.
const LINGER_SHARE: f64 = 0.1;
/// Rows of a batch are never decided to be fewer.
const LEAST_ROWS: usize = 64;
/// What is not measured is found in steps: a batch may be so many times larger than the largest recent one, and more where it
/// takes at most [`BOLD`] target latencies or [`DOUBT`] times what is expected even if rows cost as much as they well may.
const STEP: f64 = 32.0;
/// See [`STEP`].
const BOLD: f64 = 10.0;
/// See [`STEP`].
const DOUBT: f64 = 2.0;
/// In a backlog a batch with nothing in flight before it has at most so many times the rows of the
/// one before, or rows that are encoded within the fixed cost: the database waits meanwhile.
const FIRST_STEP: f64 = 8.0;
/// So many rows are encoded in no time.
const FEW_ROWS: f64 = 1_024.0;
/// What encoding a row is taken to need, in seconds.
const ENCODE_S: f64 = 1e-6;
/// What is left of the largest recent batch after a smaller one.
const LARGEST_FADES: f64 = 0.98;
/// A fixed cost beyond this share of the target is not held down by sending less: the target then is for the rows.
const DISTANT: f64 = 0.5;
/// Share of the budget that the rows of a flush may take where the target cannot be held.
const FLUSH_SHARE: f64 = 0.25;
/// More flushes' worth of rows waiting are a backlog.
const BACKLOG_FLUSHES: f64 = 3.0;
/// Fewer waiting rows are none.
const LEAST_BACKLOG_ROWS: f64 = 500.0;

/// Follows the measured cost of flushes.
#[derive(Debug, Clone, Default)]
pub struct Dynamic {
    /// Rows of the largest flush stored recently.
    largest: f64,
    /// Rows that may be tried after flushes that were too much; doubles with each one stored.
    strained: Option<usize>,
    budget: Budget,
}

/// What ended up bounding the rows of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Larger batches would gain next to nothing.
    Knee,
    /// The target latency.
    Target,
    /// The target latency, for the rows alone: the fixed cost is beyond it.
    Distance,
    /// Smaller ones would not keep up.
    KeepUp,
    /// What larger ones cost is not known yet.
    Growth,
    /// The database waits for the batch to be encoded.
    First,
    /// Requests were too much lately.
    Strained,
    /// `max_rows`.
    Rows,
    /// `max_bytes`, or the memory for all lanes.
    Bytes,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Knee => "larger would not pay",
            Self::Target => "to hold target_latency",
            Self::Distance => "each flush costs much: large and few",
            Self::KeepUp => "fewer would not keep up",
            Self::Growth => "growing in steps",
            Self::First => "the first ones are small",
            Self::Strained => "shrunk after failures",
            Self::Rows => "max_rows",
            Self::Bytes => "max_bytes",
        })
    }
}

/// What the rows that wait are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// Few: they wait for company.
    Company,
    /// More than can be company.
    Backlog,
    /// One that would take longer than [`PATIENCE_S`] to work off within the target.
    LongBacklog,
}

/// The costs a decision rests on, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Costs {
    fixed: f64,
    per_row: f64,
}

impl Costs {
    fn of(view: &View<'_>) -> Self {
        Self { fixed: view.model.fixed_s(), per_row: view.model.per_row_s().max(1e-9) }
    }

    fn flush_s(self, rows: f64) -> f64 {
        self.fixed + self.per_row * rows
    }

    /// Rows a second in batches of that many.
    fn rate(self, rows: f64) -> f64 {
        rows / self.flush_s(rows)
    }

    /// Rows from which on larger batches gain no more than [`KNEE_SHARE`].
    fn knee(self) -> f64 {
        self.fixed * (1.0 / KNEE_SHARE - 1.0) / self.per_row
    }

    /// Most rows that are flushed within the target; where the fixed cost alone takes most of it,
    /// rows that take as long, or a share of the budget.
    fn held(self, target: f64, freshness: f64) -> (f64, Bound) {
        if self.fixed < DISTANT * target {
            ((target - self.fixed) / self.per_row, Bound::Target)
        } else {
            (target.max(FLUSH_SHARE * freshness) / self.per_row, Bound::Distance)
        }
    }

    /// Least rows a batch that store so many a second; none where no batch does.
    fn keeping_up(self, rows_per_s: f64) -> Option<f64> {
        let rest = 1.0 - rows_per_s * self.per_row;
        (rest > 0.0).then(|| rows_per_s * self.fixed / rest)
    }

    /// Rows of the batches that follow each other by themselves while so many arrive a second.
    fn self_clocked(self, rows_per_s: f64) -> f64 {
        self.keeping_up(rows_per_s).unwrap_or(f64::INFINITY).max(1.0)
    }
}

impl Dynamic {
    /// Where a batch ends; `held` are the rows that hold the target.
    fn size(&self, view: &View<'_>, costs: Costs, held: (f64, Bound), waiting: Waiting) -> (usize, Bound) {
        let target = view.settings.target_latency.as_secs_f64();
        let knee = (costs.knee(), Bound::Knee);
        let mut size = if waiting == Waiting::LongBacklog && knee.0 > held.0 { knee } else { held };
        // Keeping up comes first.
        match costs.keeping_up(view.arrival_rows_per_s * HEADROOM) {
            Some(rows) if rows > size.0 => size = (rows, Bound::KeepUp),
            None if knee.0 > size.0 => size = knee,
            _ => {}
        }
        size = least(size, (self.bold(view, costs, target), Bound::Growth));
        if let Some(before) = view.rows_before.filter(|_| waiting != Waiting::Company) {
            let most = (FIRST_STEP * (before as f64).max(FEW_ROWS)).max(costs.fixed / ENCODE_S);
            size = least(size, (most, Bound::First));
        }
        if let Some(rows) = self.strained {
            size = least(size, (rows as f64, Bound::Strained));
        }
        size.0 = size.0.max(LEAST_ROWS as f64);
        size = least(size, (row_limit(view.settings) as f64, Bound::Rows));
        size = least(size, (view.fitting_rows as f64, Bound::Bytes));
        ((size.0 as usize).max(1), size.1)
    }

    /// Rows that may be dared, going by what is known.
    fn bold(&self, view: &View<'_>, costs: Costs, target: f64) -> f64 {
        let high = view.model.per_row_high_s();
        if self.largest == 0.0 || high <= DOUBT * costs.per_row {
            return f64::INFINITY;
        }
        let in_targets = (BOLD * target - costs.fixed) / high;
        let in_doubt = (DOUBT - 1.0) * costs.fixed / (high - DOUBT * costs.per_row);
        in_targets.max(in_doubt).max(self.largest * STEP)
    }

    /// Wait of a batch's first row, and whether the freshness asked for can be held.
    fn linger(&self, view: &View<'_>, costs: Costs, rows: usize) -> (Duration, bool) {
        // What a batch takes that is larger than any lately is a supposition, and nothing to wait by (but for a few rows).
        let most = self.largest.max(LEAST_ROWS as f64).min(rows as f64);
        let arriving = costs.self_clocked(view.arrival_rows_per_s).min(most);
        let share = Duration::from_secs_f64((LINGER_SHARE * costs.flush_s(arriving)).min(1e6));
        let freshness = view.settings.freshness;
        let collected = (view.arrival_rows_per_s * freshness.as_secs_f64()).min(most);
        let within = self.budget.linger(freshness, costs.flush_s(collected));
        let least = view.settings.min_linger.unwrap_or_default();
        let longest = view.settings.max_linger.filter(|longest| !longest.is_zero()).unwrap_or(Duration::MAX);
        let wait = within.unwrap_or_default().max(share.min(freshness));
        (wait.max(least).min(longest), within.is_some())
    }
}

fn least(a: (f64, Bound), b: (f64, Bound)) -> (f64, Bound) {
    if b.0 < a.0 { b } else { a }
}

impl Policy for Dynamic {
    fn decide(&self, view: &View<'_>) -> Decision {
        let costs = Costs::of(view);
        let target = view.settings.target_latency.as_secs_f64();
        let held = costs.held(target, view.settings.freshness.as_secs_f64());
        let in_target = held.0.max(LEAST_ROWS as f64).min(view.fitting_rows as f64);
        let spare = (costs.rate(in_target) - view.arrival_rows_per_s).max(1e-3);
        let usual = costs.self_clocked(view.arrival_rows_per_s);
        // What waits for company is none.
        let collected = HEADROOM * view.arrival_rows_per_s * view.settings.freshness.as_secs_f64();
        let backlog = view.backlog_rows > (BACKLOG_FLUSHES * usual).max(LEAST_BACKLOG_ROWS).max(collected);
        let waiting = match backlog {
            true if view.backlog_rows / spare > PATIENCE_S => Waiting::LongBacklog,
            true => Waiting::Backlog,
            false => Waiting::Company,
        };
        let (rows, bound) = self.size(view, costs, held, waiting);
        let (linger, is_fresh) = self.linger(view, costs, rows);
        let reason = Reason {
            waiting: backlog.then_some(view.backlog_rows),
            over_target: waiting == Waiting::LongBacklog && costs.flush_s(rows as f64) > target,
            arriving_per_s: view.arrival_rows_per_s,
            costs,
            rows,
            bound,
            linger,
            freshness: view.settings.freshness,
            is_fresh,
        };
        let follows = match (bound, backlog) {
            (Bound::Growth, _) => Follows::Nothing,
            (_, true) => Follows::Whatever,
            (_, false) => Follows::FullBatch,
        };
        Decision { rows, linger, follows, reason: policy::Reason::Measured(reason) }
    }

    fn observe(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Stored { rows, beyond } => {
                if let Some(beyond) = beyond {
                    self.budget.observe(beyond, rows);
                }
                self.largest = (self.largest * LARGEST_FADES).max(rows as f64);
                self.strained = self.strained.map(|most| most.saturating_mul(2)).filter(|most| *most < 1 << 24);
            }
            Outcome::Strained { rows } => {
                let most = self.strained.unwrap_or(usize::MAX).min(rows.max(1)) / 2;
                self.strained = Some(most.max(LEAST_ROWS));
            }
            Outcome::Failed => {}
        }
    }
}

/// Why a batch is what it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reason {
    /// Rows that wait, where they are a backlog.
    waiting: Option<f64>,
    /// Whether the backlog takes precedence over the target latency.
    over_target: bool,
    arriving_per_s: f64,
    costs: Costs,
    rows: usize,
    bound: Bound,
    linger: Duration,
    freshness: Duration,
    /// Whether that can be held.
    is_fresh: bool,
}

impl Reason {
    /// Whether there is a backlog, and what bounds the batch.
    pub(super) fn kind(&self) -> (bool, Bound) {
        (self.waiting.is_some(), self.bound)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arriving_per_s: arriving, costs, rows, bound, .. } = *self;
        if let Some(waiting) = self.waiting {
            write!(f, "backlog of {waiting:.0} rows, ")?;
            let left_s = waiting / (costs.rate(rows as f64) - arriving).max(1e-3);
            if left_s < 1e6 {
                write!(f, "{left_s:.1} s to go")?;
            } else {
                f.write_str("not shrinking")?;
            }
            f.write_str(if self.over_target { ", before target_latency" } else { "" })?;
            write!(f, ": {rows} rows a flush ({bound})")?;
        } else {
            let wait_s = self.linger.as_secs_f64();
            let collected = (arriving * wait_s).max(1.0).min(rows as f64);
            let [wait, freshness] = [self.linger, self.freshness].map(rounded);
            if self.is_fresh {
                write!(
                    f,
                    "{arriving:.1} rows/s: a batch each {wait}, so that rows are stored within {freshness} (freshness), "
                )?;
            } else {
                write!(
                    f,
                    "{arriving:.1} rows/s: freshness = {freshness} cannot be held, what arrives during a flush goes {wait} later, "
                )?;
            }
            let noun = if collected < 1.5 { "row" } else { "rows" };
            write!(f, "about {collected:.0} {noun}, at most {rows} ({bound})")?;
        }
        write!(f, "; a flush costs {:.1} ms + {:.2} µs a row", costs.fixed * 1e3, costs.per_row * 1e6)
    }
}

/// A span to three digits.
fn rounded(span: Duration) -> String {
    match span.as_secs_f64() {
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s => format!("{s:.2} s").replace(".00 ", " "),
    }
}
