//! Arrivals × databases, and the strategies that are held against each other.

use std::time::Duration;

use super::{Arrivals, Database, SYNC_S, Scenario, Spell, Stalls, fixed, run};
use crate::settings::{self, units::Bytes};

/// Batch sizes of the fixed strategies.
pub const SIZES: [usize; 11] = [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000];
/// Lingers of the fixed strategies, in hundredths of the budget.
const SHARES: [u32; 9] = [1, 10, 30, 50, 70, 80, 90, 95, 98];
/// Bytes of a request that all strategies keep to.
const REQUEST: Bytes = Bytes::mib(3);
/// Figures come in steps of a thousandth: so much more is the same.
const TOLERANCE: f64 = 1.005;
/// Transactions over the fewest that the objective allows.
pub const MOST_TRANSACTIONS: f64 = 1.05;
/// Share of the best throughput that the objective asks for.
pub const LEAST_THROUGHPUT: f64 = 0.95;

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Regime {
    /// What arrives, in a word.
    pub arrivals: &'static str,
    /// The database, in a few.
    pub database: &'static str,
    /// What is simulated.
    pub scenario: Scenario,
}

/// A strategy and its name.
#[derive(Debug, Clone)]
pub struct Contender {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub batch: settings::Batch,
}

/// Budgets from arrival to stored that strategies are held to.
pub const FRESHNESS: [Duration; 3] = [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(10)];

/// The strategy that follows measured latency, with a budget and defaults.
pub fn dynamic(freshness: Duration) -> Contender {
    let batch = settings::Batch { freshness, max_bytes: REQUEST, ..settings::Batch::default() };
    Contender { name: "dynamic".into(), batch }
}

/// Every fixed size, with a linger.
pub fn sizes(linger: Duration) -> Vec<Contender> {
    SIZES.iter().map(|rows| Contender { name: format!("{rows} rows"), batch: fixed(*rows, linger) }).collect()
}

/// Large batches that wait for a share of the budget.
pub fn lingers(freshness: Duration) -> Vec<Contender> {
    SHARES
        .map(|percent| {
            let linger = freshness * percent / 100;
            Contender { name: format!("linger {} ms", linger.as_micros() as f64 / 1e3), batch: fixed(30_000, linger) }
        })
        .to_vec()
}

/// What peers do by default, named by who does it.
pub fn peers() -> Vec<Contender> {
    [
        ("Telegraf", 1_000, 10_000),
        ("Vector", 10_000, 1_000),
        ("questdb-rs", 75_000, 1_000),
        ("Kafka Connect", 75_000, 1_000),
    ]
    .map(|(name, rows, ms)| Contender {
        name: format!("{name}: {rows} rows / {} s", ms / 1_000),
        batch: fixed(rows, Duration::from_millis(ms)),
    })
    .to_vec()
}

const ARRIVALS: [(&str, Arrivals); 4] = [
    ("steady", Arrivals::Steady { rows_per_s: 2_000.0 }),
    ("bursty", Arrivals::Bursty { rows_per_s: 50.0, burst_rows: 5_000.0, over_s: 0.2, every_s: 5.0 }),
    ("diurnal", Arrivals::Diurnal { rows_per_s: 2_000.0, day_s: 200.0 }),
    ("backlog", Arrivals::Backlog { rows: 1_000_000, rows_per_s: 500.0 }),
];

fn databases() -> [(&'static str, Database, f64); 8] {
    let near = Database::default();
    let distant = |round_trip_s: f64| Database { fixed_s: near.fixed_s + round_trip_s, ..near };
    // Loss limits what one connection carries (M. Mathis et al., 1997): 1460 B / (0.3 s · √(2/3 · 0.0001)) ≈ 0.6 MB/s.
    let lossy = Database { per_row_s: 170e-6, loses: (0.05, 0.6), breaks: 0.002, ..distant(0.3) };
    // A link of 1 MB/s.
    let throttled = Database { per_row_s: 100e-6, ..near };
    let spell = |from_s, until_s| Spell { from_s, until_s };
    [
        ("near", near, 120.0),
        ("50 ms away", distant(0.05), 120.0),
        ("300 ms away", distant(0.3), 240.0),
        ("300 ms, lossy", lossy, 2_000.0),
        ("throttled", throttled, 240.0),
        ("stalls", Database { stalls: Some(Stalls { first_s: 10.0, every_s: 10.0, for_s: 0.5 }), ..near }, 240.0),
        ("10× slower for minutes", Database { slow: Some((spell(60.0, 240.0), 10.0)), ..near }, 400.0),
        ("down for an hour", Database { down: Some(spell(60.0, 3_660.0)), ..near }, 4_000.0),
    ]
}

/// All of them, from one seed, for as long as a budget is over some sixty times.
pub fn all(seed: u64, freshness: Duration) -> Vec<Regime> {
    let mut regimes = Vec::new();
    for (arrivals, arriving) in ARRIVALS {
        for (database, meets, seconds) in databases() {
            let scenario = Scenario {
                arrivals: arriving,
                database: meets,
                sync_s: SYNC_S,
                sync_spread: 0.0,
                warm_up_rows: 0,
                seconds: seconds.max(60.0 * freshness.as_secs_f64()),
                seed,
            };
            regimes.push(Regime { arrivals, database, scenario });
        }
    }
    regimes
}

/// How a strategy compares with others in a regime.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Whether 99 of 100 rows were stored within the budget.
    pub holds: bool,
    /// Whether any of the others did that.
    pub can_be_held: bool,
    /// Its transactions over the fewest of those that hold the budget, and the target latency as
    /// well as it does; none where nobody does.
    pub transactions: Option<f64>,
    /// Its throughput over the best of the others.
    pub throughput: f64,
}

impl Score {
    /// Whether it meets the objective: where the budget can be held it is, with at most 5 % more
    /// transactions than the best; else rows are stored at 95 % of the best rate at least.
    pub fn is_met(&self) -> bool {
        if self.can_be_held {
            self.holds && self.transactions.is_none_or(|times| times <= MOST_TRANSACTIONS)
        } else {
            self.throughput >= LEAST_THROUGHPUT
        }
    }
}

/// Holds an outcome against others.
pub fn score(of: &super::Outcome, among: &[super::Outcome], freshness: Duration) -> Score {
    let budget_s = freshness.as_secs_f64() * TOLERANCE;
    // What is not stored by the end counts with its age then, so who does not keep up does not hold
    // it.
    let holds = |one: &super::Outcome| one.p99_s <= budget_s;
    let target_s = settings::Batch::default().target_latency.as_secs_f64().max(of.flush_p90_s) * TOLERANCE;
    let fair = among.iter().filter(|one| holds(one) && one.flush_p90_s <= target_s);
    let fewest = fair.map(|one| one.transactions).min();
    let best = among.iter().map(|one| one.rows_per_s).fold(f64::NEG_INFINITY, f64::max);
    Score {
        holds: holds(of),
        can_be_held: among.iter().any(holds),
        // One more or less is a matter of where the end lies.
        transactions: fewest.map(|fewest| of.transactions.saturating_sub(1) as f64 / fewest.max(1) as f64),
        throughput: of.rows_per_s / best,
    }
}

/// Outcomes of strategies in a regime, in their order.
pub fn compare(regime: &Regime, contenders: &[Contender]) -> Vec<super::Outcome> {
    contenders.iter().map(|contender| run(&regime.scenario, &contender.batch)).collect()
}
