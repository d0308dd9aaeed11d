//! A backlog in one table, drained into QuestDB, against the best bare loop over questdb-rs with the same rows in the same run.
//!
//! Contenders take turns, so that drift of the machine or the database meets all alike. With `--distance` the same through a
//! line that takes its time, against several bare loops at once: what a table in more than one lane would gain.

mod backlog;
mod bare;
mod contenders;
mod report;

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/line.rs"]
mod line;
#[allow(unused_imports, reason = "the tests use all of it, this a part")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::{process::ExitCode, time::Duration};

use backlog::Backlog;
use common::budget::Budget;
use contenders::Stage;
use support::{Mosquitto, QuestDb};

/// Rows that warm the database up: its code is compiled while it runs.
const WARM_UP_ROWS: u64 = 5_000_000;

/// What is asked for on the command line.
#[derive(Debug)]
struct Plan {
    /// Rows, of each size in turn.
    backlogs: Vec<u64>,
    rounds: usize,
    /// Time for the rounds of all sizes.
    minutes: u64,
    /// Rows a batch of the bare loop.
    batches: Vec<usize>,
    /// One-way delays in milliseconds.
    distances: Vec<usize>,
    /// Bare loops at once, at a distance.
    pairs: Vec<usize>,
    /// Additions to forebay's configuration.
    set: Vec<(String, toml::Value)>,
}

const USAGE: &str = "usage: drain [--backlog ROWS,ROWS…] [--rounds N] [--minutes N] [--batches ROWS,ROWS…] [--distance MS,MS…] [--pairs N,N…] [--set KEY=VALUE]…";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [role, name, rest @ ..] = &arguments[..]
        && (role.as_str(), name.as_str()) == ("role", "bare")
    {
        bare::run(rest);
        loop {
            std::thread::park();
        }
    }
    let plan = match plan(&arguments) {
        Ok(plan) => plan,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let (broker, questdb) = (Mosquitto::start(), QuestDb::as_shipped());
    let near = Stage { questdb: &questdb, broker: &broker, conf: questdb.conf() };
    let warm_up = contenders::bare(&near, &Backlog::new(WARM_UP_ROWS), 10_000, 1);
    eprintln!("warm-up: {:.0} rows/s", warm_up.answered_per_s);
    if plan.distances.is_empty() {
        let sizes = u32::try_from(plan.backlogs.len()).expect("a few");
        let results: Vec<_> = plan
            .backlogs
            .iter()
            .map(|rows| {
                let mut results = report::Results::new(*rows);
                let mut budget = Budget::of(Duration::from_mins(plan.minutes) / sizes);
                for round in (0..plan.rounds).take_while(|_| budget.admits_another()) {
                    turn(&near, &plan, *rows, round, &[1], &mut results);
                }
                results.print();
                results
            })
            .collect();
        report::write_json(&results);
    }
    for ms in &plan.distances {
        let port =
            line::Line { one_way: Duration::from_millis(*ms as u64), ..line::Line::default() }.open(questdb.port).port;
        let far = Stage { conf: format!("http::addr=127.0.0.1:{port};"), ..near };
        let rows = plan.backlogs[0];
        let mut results = report::Results::new(rows);
        for round in 0..plan.rounds {
            turn(&far, &plan, rows, round, &plan.pairs, &mut results);
        }
        println!("\n{ms} ms away, one way");
        results.print();
    }
    ExitCode::SUCCESS
}

/// One round: every contender once, with forebay in the middle, the other way round every other time.
fn turn(stage: &Stage<'_>, plan: &Plan, rows: u64, round: usize, pairs: &[usize], results: &mut report::Results) {
    let backlog = Backlog::new(rows);
    let mut bare: Vec<(usize, usize)> =
        pairs.iter().flat_map(|pairs| plan.batches.iter().map(|batch| (*batch, *pairs))).collect();
    if round % 2 == 1 {
        bare.reverse();
    }
    for (place, (batch, pairs)) in bare.iter().enumerate() {
        if place == bare.len() / 2 {
            results.forebay(contenders::forebay(stage, &backlog, &plan.set));
        }
        results.bare(*batch, *pairs, contenders::bare(stage, &backlog, *batch, *pairs));
    }
}

fn plan(arguments: &[String]) -> Result<Plan, String> {
    let mut plan = Plan {
        backlogs: vec![300_000, 3_000_000, 5_000_000],
        rounds: 3,
        minutes: 60,
        batches: vec![5_000, 10_000, 20_000, 50_000, 100_000],
        distances: Vec::new(),
        pairs: vec![1, 2, 4, 8],
        set: Vec::new(),
    };
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("{name} needs a value"))?;
        let numbers = || -> Result<Vec<usize>, String> {
            let read = |text: &str| text.parse().ok().filter(|n| *n > 0).ok_or(format!("{name}: {text} is no count"));
            value.split(',').map(read).collect()
        };
        match name.as_str() {
            "--backlog" => plan.backlogs = numbers()?.into_iter().map(|rows| rows as u64).collect(),
            "--minutes" => plan.minutes = numbers()?[0] as u64,
            "--rounds" => plan.rounds = numbers()?[0],
            "--batches" => plan.batches = numbers()?,
            "--distance" => plan.distances = numbers()?,
            "--pairs" => plan.pairs = numbers()?,
            "--set" => plan.set.push(setting(value)?),
            other => return Err(format!("{other} is unknown")),
        }
    }
    Ok(plan)
}

/// `batch.max_rows=50000` as a key and its value; what is no TOML value is taken for a string.
fn setting(text: &str) -> Result<(String, toml::Value), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("--set: {text} has no ="))?;
    let value = value.parse().map_or_else(|_| toml::Value::String(value.into()), toml::Value::Integer);
    Ok((key.into(), value))
}
