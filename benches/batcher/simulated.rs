//! The simulator's table.

use forebay::flush::simulator::{
    Outcome,
    regimes::{Contender, all as regimes, compare, dynamic, peers, score, short_lingers, sizes},
    run,
};
use serde::Serialize;

/// A regime's outcome.
#[derive(Debug, Serialize)]
pub struct Row {
    regime: String,
    keeps_up: bool,
    rows_per_s: f64,
    p50_s: f64,
    p99_s: f64,
    transactions: u64,
    longest_flush_s: f64,
    prediction_error: f64,
    /// Of the best fixed setting's throughput.
    throughput: f64,
    /// The best fixed setting's p99 over this.
    p99: f64,
    /// The best fixed setting by the objective, its p99 and its transactions.
    best: (String, f64, u64),
    /// How each peer's default compares with the best fixed setting, by the objective.
    peers: Vec<(String, f64)>,
}

/// All regimes.
#[derive(Debug)]
pub struct Table {
    /// One a regime.
    pub rows: Vec<Row>,
    /// For each fixed setting, its worst figure against the best of a regime, and where that is.
    worst: Vec<(String, f64, String)>,
}

/// Runs everything.
pub fn all(seed: u64) -> Table {
    let fixed = [sizes(), peers()].concat();
    let lingering = short_lingers();
    let mut worst: Vec<_> =
        fixed.iter().chain(&lingering).map(|fixed| (fixed.name.clone(), f64::INFINITY, String::new())).collect();
    let mut rows = Vec::new();
    for regime in regimes(seed) {
        let name = format!("{} × {}", regime.arrivals, regime.database);
        let own = run(&regime.scenario, &dynamic().batch);
        let others = compare(&regime, &fixed);
        for (worst, other) in worst.iter_mut().zip(others.iter().chain(&compare(&regime, &lingering))) {
            let value = score(other, &others).value();
            if value < worst.1 {
                (worst.1, worst.2) = (value, name.clone());
            }
        }
        rows.push(row(name, &own, &fixed, &others));
    }
    Table { rows, worst }
}

fn row(regime: String, own: &Outcome, fixed: &[Contender], others: &[Outcome]) -> Row {
    let told = score(own, others);
    let value = |at: usize| score(&others[at], others).value();
    let best = (0..others.len()).max_by(|a, b| value(*a).total_cmp(&value(*b))).expect("contenders");
    let first_peer = fixed.len() - peers().len();
    Row {
        regime,
        keeps_up: told.keeps_up,
        rows_per_s: own.rows_per_s,
        p50_s: own.p50_s,
        p99_s: own.p99_s,
        transactions: own.transactions,
        longest_flush_s: own.longest_flush_s,
        prediction_error: own.prediction_error,
        throughput: told.throughput,
        p99: told.p99,
        best: (fixed[best].name.clone(), others[best].p99_s, others[best].transactions),
        peers: (first_peer..fixed.len()).map(|at| (fixed[at].name.clone(), value(at))).collect(),
    }
}

impl Table {
    /// Prints it as Markdown.
    pub fn print(&self) {
        println!(
            "| regime | rows/s | p50 | p99 | transactions | best fixed | its p99 | its transactions | throughput of it | p99 of it |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
        for row in &self.rows {
            let (best, best_p99, best_transactions) = &row.best;
            let missed = row.throughput < 0.95 || (row.keeps_up && row.p99 < 1.0 / 1.15);
            println!(
                "| {} | {:.0} | {} | {} | {} | {best} | {} | {best_transactions} | {:.2} | {:.2}{} |",
                row.regime,
                row.rows_per_s,
                seconds(row.p50_s),
                seconds(row.p99_s),
                row.transactions,
                seconds(*best_p99),
                row.throughput,
                1.0 / row.p99,
                if missed { " **missed**" } else { "" },
            );
        }
        println!("\n| fixed setting | worst against the best of a regime | where |\n|---|---|---|");
        for (name, worst, regime) in &self.worst {
            println!("| {name} | {:.1} × | {regime} |", 1.0 / worst);
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
