//! Arrivals × databases, and the strategies that are held against each other.

use std::time::Duration;

use super::{Arrivals, Database, SYNC_S, Scenario, Spell, Stalls, fixed, run};
use crate::settings;

/// Batch sizes of the fixed strategies.
pub const SIZES: [usize; 11] = [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000];
/// Linger of the fixed strategies.
pub const LINGER: Duration = Duration::from_secs(1);

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

/// The strategy that follows measured latency, with its defaults.
pub fn dynamic() -> Contender {
    Contender { name: "dynamic".into(), batch: settings::Batch::default() }
}

/// Every fixed size.
pub fn sizes() -> Vec<Contender> {
    SIZES.iter().map(|rows| Contender { name: format!("{rows} rows"), batch: fixed(*rows, LINGER) }).collect()
}

/// What peers do by default: 1,000 rows or 10 s, 10,000 rows or 1 s.
pub fn peers() -> Vec<Contender> {
    [(1_000, 10), (10_000, 1)]
        .map(|(rows, seconds)| Contender {
            name: format!("{rows} rows / {seconds} s"),
            batch: fixed(rows, Duration::from_secs(seconds)),
        })
        .to_vec()
}

/// Large batches that wait a little only: a flow that clocks itself, with a pause for company that is the same for every database.
pub fn short_lingers() -> Vec<Contender> {
    [1, 5, 50]
        .map(|ms| Contender { name: format!("30000 rows / {ms} ms"), batch: fixed(30_000, Duration::from_millis(ms)) })
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

/// All of them, from one seed.
pub fn all(seed: u64) -> Vec<Regime> {
    let mut regimes = Vec::new();
    for (arrivals, arriving) in ARRIVALS {
        for (database, meets, seconds) in databases() {
            let scenario = Scenario {
                arrivals: arriving,
                database: meets,
                sync_s: SYNC_S,
                sync_spread: 0.0,
                warm_up_rows: 0,
                seconds,
                seed,
            };
            regimes.push(Regime { arrivals, database, scenario });
        }
    }
    regimes
}

/// How a strategy compares with the best of others in a regime: by the 99th percentile of the time from arrival to stored where
/// the database keeps up, else by throughput. 1 is as good; more is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Throughput over the best one's.
    pub throughput: f64,
    /// The best one's 99th percentile over this one's.
    pub p99: f64,
    /// Whether the best kept up.
    pub keeps_up: bool,
}

impl Score {
    /// The objective's figure.
    pub fn value(&self) -> f64 {
        if self.keeps_up { self.p99 } else { self.throughput }
    }
}

/// Holds outcomes against the best of some.
pub fn score(of: &super::Outcome, among: &[super::Outcome]) -> Score {
    let best = |figure: fn(&super::Outcome) -> f64| among.iter().map(figure).fold(f64::NEG_INFINITY, f64::max);
    Score {
        throughput: of.rows_per_s / best(|outcome| outcome.rows_per_s),
        p99: -best(|outcome| -outcome.p99_s) / of.p99_s,
        keeps_up: among.iter().any(super::Outcome::kept_up),
    }
}

/// Outcomes of strategies in a regime, in their order.
pub fn compare(regime: &Regime, contenders: &[Contender]) -> Vec<super::Outcome> {
    contenders.iter().map(|contender| run(&regime.scenario, &contender.batch)).collect()
}
