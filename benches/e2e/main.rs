//! forebay end to end, against a bare reader and a naive program on the same broker and the same database, in one run.
//!
//! Each contender is a process of its own (this program started again with a role, or the daemon), so that CPU time, memory
//! and bytes written are the kernel's figures for it alone. Rounds are interleaved; medians are shown.

mod contenders;
mod report;
mod roles;

#[path = "../common/mod.rs"]
mod common;

#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::process::ExitCode;

use support::{Mosquitto, QuestDb};

/// What is asked for on the command line.
#[derive(Debug, Clone)]
pub struct Plan {
    rounds: usize,
    messages: u64,
    pace: u64,
    only: Option<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "role") {
        roles::run(&arguments[1..]);
        return ExitCode::SUCCESS;
    }
    let plan = match plan(&arguments) {
        Ok(plan) => plan,
        Err(why) => {
            eprintln!(
                "{why}\nusage: e2e [--rounds N] [--messages N] [--pace MESSAGES_PER_SECOND] [--only reader|naive|forebay]"
            );
            return ExitCode::from(2);
        }
    };
    let (broker, questdb) = (Mosquitto::start(), QuestDb::as_shipped());
    let mut results = report::Results::default();
    for round in 1..=plan.rounds {
        for qos in [0, 1] {
            for contender in contenders::ALL.into_iter().filter(|contender| plan.takes(contender.name())) {
                let run = contenders::run(contender, qos, &plan, &broker, &questdb);
                eprintln!("round {round}/{} QoS {qos} {}: {:.0} msg/s", plan.rounds, contender.name(), run.per_second);
                results.runs.push(run);
            }
        }
    }
    if plan.takes(contenders::Contender::Forebay.name()) {
        // The default, and nearly as fresh as can be.
        for rate in [300, plan.pace] {
            for freshness in ["1s", "35ms"] {
                results.paced.push(contenders::run_paced(rate, freshness, &broker, &questdb));
            }
        }
    }
    results.print(&plan);
    results.write_json(&plan);
    ExitCode::SUCCESS
}

impl Plan {
    /// Whether a contender of this name takes part.
    fn takes(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }
}

fn plan(arguments: &[String]) -> Result<Plan, String> {
    let mut plan = Plan { rounds: 5, messages: 200_000, pace: 2_000, only: None };
    let mut rest = arguments.iter().filter(|argument| *argument != "--bench");
    while let Some(name) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("{name} needs a value"))?;
        if name == "--only" {
            plan.only = Some(value.clone());
            continue;
        }
        let number: u64 = value.parse().map_err(|_| format!("{name}: {value} is no count"))?;
        match name.as_str() {
            "--rounds" => plan.rounds = number.max(1) as usize,
            "--messages" => plan.messages = number.max(1),
            "--pace" => plan.pace = number.max(1),
            other => return Err(format!("{other} is unknown")),
        }
    }
    Ok(plan)
}
