//! The simulator's tables: one a budget.

use std::time::Duration;

use forebay::flush::simulator::{
    Outcome,
    regimes::{Contender, FRESHNESS, all as regimes, compare, dynamic, lingers, peers, score, sizes},
    run,
};
use serde::Serialize;

/// A regime's outcome.
#[derive(Debug, Serialize)]
pub struct Row {
    freshness_s: f64,
    regime: String,
    rows_per_s: f64,
    p50_s: f64,
    p99_s: f64,
    flush_p90_s: f64,
    transactions: u64,
    prediction_error: f64,
    /// Whether the budget is held, and whether any fixed setting holds it.
    holds: bool,
    can_be_held: bool,
    /// Transactions over the fewest of a fixed setting that holds it.
    times_transactions: Option<f64>,
    /// Of the best fixed setting's throughput.
    throughput: f64,
    is_met: bool,
}

/// All regimes, with one budget.
#[derive(Debug)]
pub struct Table {
    freshness: Duration,
    /// One a regime.
    pub rows: Vec<Row>,
    /// For each fixed setting, in how many regimes it meets the objective.
    met: Vec<(String, usize)>,
}

/// Runs everything.
pub fn all(seed: u64) -> Vec<Table> {
    FRESHNESS.map(|freshness| table(seed, freshness)).into()
}

fn table(seed: u64, freshness: Duration) -> Table {
    let fixed: Vec<Contender> = [lingers(freshness), sizes(freshness), peers()].concat();
    let mut met: Vec<_> = fixed.iter().map(|fixed| (fixed.name.clone(), 0)).collect();
    let mut rows = Vec::new();
    for regime in regimes(seed, freshness) {
        let name = format!("{} × {}", regime.arrivals, regime.database);
        let own = run(&regime.scenario, &dynamic(freshness).batch);
        let others = compare(&regime, &fixed);
        for ((_, met), other) in met.iter_mut().zip(&others) {
            *met += usize::from(score(other, &others, freshness).is_met());
        }
        rows.push(row(name, &own, &others, freshness));
    }
    Table { freshness, rows, met }
}

fn row(regime: String, own: &Outcome, others: &[Outcome], freshness: Duration) -> Row {
    let told = score(own, others, freshness);
    Row {
        freshness_s: freshness.as_secs_f64(),
        regime,
        rows_per_s: own.rows_per_s,
        p50_s: own.p50_s,
        p99_s: own.p99_s,
        flush_p90_s: own.flush_p90_s,
        transactions: own.transactions,
        prediction_error: own.prediction_error,
        holds: told.holds,
        can_be_held: told.can_be_held,
        times_transactions: told.transactions,
        throughput: told.throughput,
        is_met: told.is_met(),
    }
}

impl Table {
    /// Prints it as Markdown.
    pub fn print(&self) {
        println!("freshness = {}\n", seconds(self.freshness.as_secs_f64()));
        println!(
            "| regime | rows/s | p50 | p99 | flush p90 | transactions | of the fewest | throughput of the best | objective |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        for row in &self.rows {
            let times = row.times_transactions.map_or_else(|| "–".to_owned(), |times| format!("{times:.2}"));
            let objective = match (row.is_met, row.can_be_held) {
                (true, true) => "held",
                (true, false) => "cannot be held; throughput",
                (false, _) => "**missed**",
            };
            println!(
                "| {} | {:.0} | {} | {} | {} | {} | {times} | {:.2} | {objective} |",
                row.regime,
                row.rows_per_s,
                seconds(row.p50_s),
                seconds(row.p99_s),
                seconds(row.flush_p90_s),
                row.transactions,
                row.throughput,
            );
        }
        println!("\n| fixed setting | regimes in which it fails, of {} |\n|---|---|", self.rows.len());
        let own = self.rows.iter().filter(|row| !row.is_met).count();
        println!("| dynamic | {own} |");
        for (name, met) in &self.met {
            println!("| {name} | {} |", self.rows.len() - met);
        }
        println!();
    }
}

/// A time in the unit that suits it.
pub fn seconds(value: f64) -> String {
    match value {
        value if value < 1.0 => format!("{:.1} ms", value * 1e3),
        value => format!("{value:.1} s"),
    }
}
