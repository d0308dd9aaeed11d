//! forebay end to end, against a bare reader and a naive program on the same broker and the same database, in one run.
//!
//! Each contender is a process of its own (this program started again with a role, or the daemon), so that CPU time, memory
//! and bytes written are the kernel's figures for it alone. Rounds are interleaved; medians are shown.

mod contenders;
mod paced;
mod report;
mod roles;

#[path = "../common/mod.rs"]
mod common;

#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::{process::ExitCode, time::Duration};

use common::budget::Budget;
use support::{Mosquitto, QuestDb};

/// What is asked for on the command line.
#[derive(Debug, Clone)]
pub struct Plan {
    rounds: usize,
    /// Time for the rounds.
    minutes: u64,
    messages: u64,
    /// Messages a second of the steady flows, and how long each is measured.
    paces: Vec<u64>,
    seconds: u64,
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
                "{why}\nusage: e2e [--rounds N] [--minutes N] [--messages N] [--pace MESSAGES_PER_SECOND, 0: none] [--seconds N] [--only reader|naive|forebay]"
            );
            return ExitCode::from(2);
        }
    };
    let (broker, questdb) = (Mosquitto::start(), QuestDb::as_shipped());
    let mut results = report::Results::default();
    let mut budget = Budget::of(Duration::from_mins(plan.minutes));
    for round in (1..=plan.rounds).take_while(|_| budget.admits_another()) {
        for qos in [0, 1] {
            for contender in contenders::ALL.into_iter().filter(|contender| plan.takes(contender.name())) {
                let run = contenders::run(contender, qos, &plan, &broker, &questdb);
                eprintln!("round {round}/{} QoS {qos} {}: {:.0} msg/s", plan.rounds, contender.name(), run.per_second);
                results.runs.push(run);
            }
        }
    }
    if plan.only.is_none() {
        results.paced = paced::run(&plan.paces, plan.seconds, &broker, &questdb);
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
    let mut plan =
        Plan { rounds: 5, minutes: 60, messages: 200_000, paces: vec![300, 2_000, 20_000], seconds: 10, only: None };
    let mut rest = arguments.iter().filter(|argument| *argument != "--bench");
    while let Some(name) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("{name} needs a value"))?;
        if name == "--only" {
            plan.only = Some(value.clone());
            continue;
        }
        let number: u64 = value.parse().map_err(|_| format!("{name}: {value} is no count"))?;
        match name.as_str() {
            // None: the steady flows alone.
            "--rounds" => plan.rounds = number as usize,
            "--minutes" => plan.minutes = number.max(1),
            "--messages" => plan.messages = number.max(1),
            // None: full load alone.
            "--pace" => plan.paces = Some(number).filter(|pace| *pace > 0).into_iter().collect(),
            "--seconds" => plan.seconds = number.max(1),
            other => return Err(format!("{other} is unknown")),
        }
    }
    Ok(plan)
}
