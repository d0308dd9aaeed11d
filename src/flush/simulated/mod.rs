//! Whatever goes wrong on the way, the tables end as if rows had been written one after the other: lanes as they are, against a simulated
//! database, in simulated time.
//!
//! One number is one run: `FOREBAY_ORDER_SEED=n` repeats it, cut to as few steps as it takes to fail, and prints what happened.
//! `FOREBAY_ORDER_RUNS=n` asks for so many runs (the long mode).
//!
//! Not in the simulation, since nothing can be done about them: a request that is executed later than the grace after its lane's next
//! answer, and one that makes a table anew that a crash took.

mod check;
mod database;
mod outside;
mod run;
mod world;

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use self::run::{Plan, Run};
use super::seeded::{self, Bug};
use crate::sync::lock;

/// Runs in an ordinary run of the tests.
const RUNS: u64 = 4_000;
/// Threads that run them.
const THREADS: u64 = 2;
/// Most that happens in a run before everything is well.
const STEPS: usize = 160;

const PLAIN: Plan = Plan { bad_rows: false, hopeless: false, replays: false, drops: false };
const DROPS: Plan = Plan { drops: true, ..PLAIN };
const BAD_ROWS: Plan = Plan { bad_rows: true, ..PLAIN };
const HOPELESS: Plan = Plan { bad_rows: true, hopeless: true, ..PLAIN };
const REPLAYS: Plan = Plan { replays: true, ..PLAIN };

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

/// A place for quarantines, in memory where the system has one.
struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        let shm = PathBuf::from("/dev/shm");
        let directory = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        Self(directory.unwrap())
    }
}

/// A run of at most so many steps; what was wrong, and what happened if it was to be told.
fn go(seed: u64, plan: Plan, steps: usize, directory: &Directory, tells: bool) -> (Result<(), String>, Vec<String>) {
    let mut run = Run::new(seed, plan, directory.0.path(), tells);
    let verdict = (0..steps).try_for_each(|_| run.step()).and_then(|()| run.finish());
    let trace = lock(&run.world).trace.take().unwrap_or_default();
    (verdict, trace)
}

/// The least number of steps after which a run goes wrong, what is wrong then, and what happened.
fn shorten(seed: u64, plan: Plan, directory: &Directory) -> String {
    if go(seed, plan, STEPS, directory, false).0.is_ok() {
        return "Ok(())".to_owned();
    }
    let steps = (0..=STEPS).find(|steps| go(seed, plan, *steps, directory, false).0.is_err()).unwrap_or(STEPS);
    let (verdict, trace) = go(seed, plan, steps, directory, true);
    let happened = trace.join("\n");
    format!("{happened}\n{steps} steps: {verdict:?}")
}

fn check_runs(name: &str, plan: Plan, runs: u64) {
    if let Some(seed) = variable("FOREBAY_ORDER_SEED") {
        let directory = Directory::new();
        let told = shorten(seed, plan, &directory);
        println!("{name}: seed {seed}\n{told}");
        return assert!(told.ends_with("Ok(())"));
    }
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let directory = Directory::new();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= runs {
                        break;
                    }
                    if let (Err(why), _) = go(seed, plan, STEPS, &directory, false) {
                        let told = shorten(seed, plan, &directory);
                        panic!("{name}: {why}\n{told}\nrepeat it with FOREBAY_ORDER_SEED={seed}");
                    }
                }
            });
        }
    });
    println!("{name}: {runs} runs of {STEPS} steps");
}

fn runs() -> u64 {
    variable("FOREBAY_ORDER_RUNS").unwrap_or(RUNS)
}

#[test]
fn tables_end_as_if_rows_had_been_written_one_after_the_other() {
    check_runs("plain", PLAIN, runs() / 2);
}

#[test]
fn bad_rows_go_to_quarantine_and_change_nothing_else() {
    check_runs("bad rows", BAD_ROWS, runs() / 4);
}

#[test]
fn tables_that_refuse_everything_for_a_while_change_nothing_else() {
    check_runs("hopeless tables", HOPELESS, runs() / 4);
}

#[test]
fn replays_end_as_they_began() {
    check_runs("replays", REPLAYS, runs() / 4);
}

#[test]
fn tables_that_operators_drop_keep_what_comes_after() {
    check_runs("dropped tables", DROPS, runs() / 4);
}

/// Runs until a bug is found, and what was found.
fn caught(bug: Bug, plan: Plan, directory: &Directory) -> Option<(u64, String)> {
    const MOST: u64 = 50_000;
    (0..MOST).find_map(|seed| {
        let verdict = seeded::with(Some(bug), || go(seed, plan, STEPS, directory, false)).0;
        verdict.err().map(|why| (seed + 1, why))
    })
}

#[test]
fn every_seeded_bug_is_caught() {
    let directory = Directory::new();
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let plan = match bug {
            Bug::SuccessorsFirst => BAD_ROWS,
            Bug::NoLook | Bug::ChangedForgotten => DROPS,
            _ => PLAIN,
        };
        match caught(bug, plan, &directory) {
            Some((runs, why)) => println!("{bug:?}: caught after {runs} runs: {why}"),
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
