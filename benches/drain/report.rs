//! Medians, the table, and the JSON file.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{common::results, contenders::Run};

/// Rows a batch and pairs of threads of a bare loop.
type Shape = (usize, usize);

/// Everything that was measured over one line.
#[derive(Debug)]
pub struct Results {
    rows: u64,
    forebay: Vec<Run>,
    bare: BTreeMap<Shape, Vec<Run>>,
}

fn median(runs: &[Run], figure: impl Fn(&Run) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Results {
    /// Nothing yet, for that many rows.
    pub fn new(rows: u64) -> Self {
        Self { rows, forebay: Vec::new(), bare: BTreeMap::new() }
    }

    /// Takes in a run of forebay.
    pub fn forebay(&mut self, run: Run) {
        eprintln!("forebay: {:.0} rows/s", run.answered_per_s);
        self.forebay.push(run);
    }

    /// Takes in a run of the bare loop.
    pub fn bare(&mut self, batch: usize, pairs: usize, run: Run) {
        eprintln!("bare loop, {batch} rows a batch, {pairs} at once: {:.0} rows/s", run.answered_per_s);
        self.bare.entry((batch, pairs)).or_default().push(run);
    }

    /// forebay's median over the best of the bare loops'.
    fn ratio(&self, figure: fn(&Run) -> f64) -> f64 {
        median(&self.forebay, figure) / self.bare.values().map(|runs| median(runs, figure)).fold(0.0, f64::max)
    }

    /// Shows the medians.
    pub fn print(&self) {
        println!("\n{} rows in one table, medians of {} rounds\n", self.rows, self.forebay.len());
        println!(
            "{:<34} {:>15} {:>15} {:>15} {:>11}",
            "", "rows/s answered", "rows/s applied", "rows/s in all", "CPU us/row"
        );
        let line = |name: &str, runs: &[Run]| {
            let figure = |f: fn(&Run) -> f64| median(runs, f);
            let (answered, applied) = (figure(|run| run.answered_per_s), figure(|run| run.applied_per_s));
            let (in_all, cpu_us) = (figure(|run| run.in_all_per_s), figure(|run| run.cpu_us));
            println!("{name:<34} {answered:>15.0} {applied:>15.0} {in_all:>15.0} {cpu_us:>11.2}");
        };
        for ((batch, pairs), runs) in &self.bare {
            line(&format!("bare loop, {batch} a batch, {pairs} at once"), runs);
        }
        line("forebay", &self.forebay);
        let (answered, applied) = (self.ratio(|run| run.answered_per_s), self.ratio(|run| run.applied_per_s));
        let in_all = self.ratio(|run| run.in_all_per_s);
        println!(
            "forebay / best bare loop: {answered:.2} until answered, {applied:.2} until applied; {in_all:.2} with the first request"
        );
        for memory in self.forebay.iter().filter_map(|run| run.memory.as_ref()) {
            print!("anonymous memory at most {:.1} MiB, by tenths of the time", mib(memory.anonymous));
            memory.course.iter().for_each(|bytes| print!(" {:.1}", mib(*bytes)));
            println!(
                "; all lanes' buffers at most {:.2} MiB; largest batch {} rows",
                mib(memory.buffers),
                memory.batch_rows
            );
        }
    }

    fn as_json(&self) -> serde_json::Value {
        let bare: Vec<_> = self
            .bare
            .iter()
            .map(|((rows, pairs), runs)| json!({ "batch_rows": rows, "pairs": pairs, "runs": runs }))
            .collect();
        json!({
            "rows": self.rows,
            "forebay": self.forebay,
            "bare": bare,
            "ratio_answered": self.ratio(|run| run.answered_per_s),
            "ratio_applied": self.ratio(|run| run.applied_per_s),
            "ratio_in_all": self.ratio(|run| run.in_all_per_s),
        })
    }
}

/// Writes every run to `target/bench/drain.json`.
pub fn write_json(of_all: &[Results]) {
    results::write("drain", &of_all.iter().map(Results::as_json).collect());
}
