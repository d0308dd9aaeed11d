//! Medians, the table, and the JSON file.

use serde_json::json;

use crate::{
    Plan,
    common::results,
    contenders::{ALL, Contender, Run},
    paced::{Keeper, Paced},
};

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Results {
    /// Each run.
    pub runs: Vec<Run>,
    /// forebay at a modest rate.
    pub paced: Vec<Paced>,
}

fn keeper(keeper: Keeper) -> String {
    match keeper {
        Keeper::Forebay(freshness) => format!("forebay, {freshness}"),
        Keeper::BareClient => "bare client".into(),
        Keeper::Telegraf => "Telegraf".into(),
    }
}

/// Median of some figures; 0 of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

impl Results {
    fn of(&self, contender: Contender, qos: u8, figure: impl Fn(&Run) -> f64) -> f64 {
        median(self.runs.iter().filter(|run| run.contender == contender && run.qos == qos).map(figure).collect())
    }

    fn ratio(&self, to: Contender, qos: u8) -> f64 {
        self.of(Contender::Forebay, qos, |run| run.per_second) / self.of(to, qos, |run| run.per_second)
    }

    /// Shows the medians.
    pub fn print(&self, plan: &Plan) {
        if !self.runs.is_empty() {
            self.print_full_load(plan);
        }
        self.print_paced();
    }

    fn print_full_load(&self, plan: &Plan) {
        println!("\n{} messages a run, medians of {} interleaved rounds\n", plan.messages, plan.rounds);
        println!(
            "{:<4} {:<14} {:>9} {:>8} {:>12} {:>11} {:>13} {:>12} {:>10}",
            "QoS", "", "msg/s", "lost", "CPU us/msg", "anon MB", "written B/msg", "ack p50 ms", "p99 ms"
        );
        for qos in [0, 1] {
            for contender in ALL {
                let figure = |f: &dyn Fn(&Run) -> f64| self.of(contender, qos, f);
                let ack = |f: &dyn Fn((u64, u64)) -> u64| {
                    let shown = contender == Contender::Forebay && qos == 1;
                    let value = figure(&|run| run.ack_us.map_or(0.0, |ack| f(ack) as f64 / 1e3));
                    if shown { format!("{value:.2}") } else { "-".into() }
                };
                println!(
                    "{qos:<4} {:<14} {:>9.0} {:>8.0} {:>12.2} {:>11.1} {:>13.0} {:>12} {:>10}",
                    contender.name(),
                    figure(&|run| run.per_second),
                    figure(&|run| plan.messages as f64 - run.messages as f64),
                    figure(&|run| run.cpu_us),
                    figure(&|run| run.anonymous_bytes as f64 / 1e6),
                    figure(&|run| run.written_per_message),
                    ack(&|ack| ack.0),
                    ack(&|ack| ack.1),
                );
            }
            println!(
                "     forebay / bare reader {:.2}   forebay / naive program {:.2}",
                self.ratio(Contender::Reader, qos),
                self.ratio(Contender::Naive, qos)
            );
        }
        let forebay = |figure: &dyn Fn(&Run) -> f64| self.of(Contender::Forebay, 1, figure);
        println!(
            "\na message's own record {:.0} bytes, {:.0} bytes of ring with pads and commits; \
             QoS 1: written {:.2} times its own record",
            forebay(&|run| run.record_per_message),
            forebay(&|run| run.ring_per_message),
            forebay(&Run::written_times)
        );
    }

    /// What steady flows cost.
    fn print_paced(&self) {
        if self.paced.is_empty() {
            return;
        }
        println!(
            "\n| msg/s, QoS 1 | | QuestDB, cores | a row | transactions/s | own CPU a message | anonymous memory | PUBACK p50 / p99 | arrival to stored p99 | bytes written a message | over its record |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|");
        for paced in &self.paced {
            let acks = paced
                .ack_us
                .map_or("–".into(), |(p50, p99)| format!("{:.1} / {:.1} ms", p50 as f64 / 1e3, p99 as f64 / 1e3));
            let (written, times) = paced.written.map_or(("–".into(), "–".into()), |(written, record)| {
                (format!("{written:.0}"), format!("{:.2}", written / record))
            });
            println!(
                "| {} | {} | {:.2} | {:.0} us | {:.1} | {:.1} us | {:.1} MB | {acks} | {} | {written} | {times} |",
                paced.rate,
                keeper(paced.keeper),
                paced.database_cores,
                paced.database_us,
                paced.transactions_per_s,
                paced.cpu_us,
                paced.anonymous_bytes as f64 / 1e6,
                paced.stored_p99_ms.map_or("–".into(), |ms| format!("{ms:.0} ms")),
            );
        }
    }

    /// Writes every run to `target/bench/e2e.json`.
    pub fn write_json(&self, plan: &Plan) {
        let document = json!({
            "messages": plan.messages,
            "rounds": plan.rounds,
            "runs": self.runs,
            "paced": self.paced,
            "qos1": {
                "to_reader": self.ratio(Contender::Reader, 1),
                "to_naive": self.ratio(Contender::Naive, 1),
                "written_times": self.of(Contender::Forebay, 1, Run::written_times),
            },
        });
        results::write("e2e", &document);
    }
}
