//! Programs in jq's language that make rows of a JSON document before it is decoded.
//!
//! A program may loop without end, take all memory or call itself until its stack is full, so it
//! runs in a process of its own, a worker: the daemon's own program, started as
//! `forebay jq-worker`. A worker that takes too long or too much is ended, and the next document
//! gets another.

mod breaker;
mod dates;
mod document;
mod error;
mod frame;
mod functions;
mod limits;
mod native;
mod patterns;
mod program;
mod rows;
mod worker;

use std::{fmt, sync::Arc, thread, time::Instant};

use breaker::Breaker;
pub use error::JqError;
use limits::STACK_BYTES;
pub use limits::{MAX_OUTPUT_BYTES, MAX_PROGRAM_BYTES, MAX_ROWS_PER_MESSAGE, MEMORY_LIMIT_BYTES, TIME_LIMIT};
use program::Program;
pub use worker::serve;
use worker::{Allowance, Start, Worker};

/// Compiles a program without running it. The error says what is wrong with it, and where.
pub fn check(program: &str) -> Result<(), String> {
    // A program that is nested deeply fills the stack of a common thread.
    let check = || Program::compile(program).map(drop);
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("jq-check".to_owned()).stack_size(STACK_BYTES);
        let checked = builder.spawn_scoped(scope, check).map_err(|error| format!("it cannot be checked: {error}"))?;
        checked.join().unwrap_or_else(|_| Err("jq's compiler broke down over it".to_owned()))
    })
}

/// A program of a source, with its worker, which is started when the first document comes. It
/// makes rows of one document at a time. A clone gets a worker of its own.
pub struct Jq {
    program: Arc<str>,
    by: By,
    breaker: Breaker,
}

/// What runs a program.
enum By {
    /// A worker, if there is one now.
    Worker { start: Start, allowance: Allowance, now: Option<Worker> },
    /// This process; or why the program cannot be compiled.
    Here(Result<Arc<Program>, String>),
}

impl fmt::Debug for Jq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jq").field("program", &self.program).field("breaker", &self.breaker).finish_non_exhaustive()
    }
}

impl Clone for Jq {
    fn clone(&self) -> Self {
        let by = match &self.by {
            By::Worker { start, allowance, .. } => By::Worker { start: *start, allowance: *allowance, now: None },
            By::Here(program) => By::Here(program.clone()),
        };
        Self { program: Arc::clone(&self.program), by, breaker: self.breaker.clone() }
    }
}

impl Jq {
    /// A program that runs in a worker. In tests of this crate it runs in this process, which is
    /// not forebay's then.
    pub fn new(program: &str) -> Self {
        if cfg!(test) { Self::here(program) } else { Self::started_by(worker::forebay, program, Allowance::default()) }
    }

    /// A program that runs in this process, without a limit to its time and its memory.
    pub fn here(program: &str) -> Self {
        let compiled = Program::compile(program).map(Arc::new);
        Self { program: program.into(), by: By::Here(compiled), breaker: Breaker::default() }
    }

    fn started_by(start: Start, program: &str, allowance: Allowance) -> Self {
        let by = By::Worker { start, allowance, now: None };
        Self { program: program.into(), by, breaker: Breaker::default() }
    }

    /// The outputs of the program for a document, which is one JSON value: one JSON array in UTF-8.
    /// It waits for them, [`TIME_LIMIT`] at most and a few seconds more where a worker has to be
    /// started.
    pub fn run(&mut self, document: &[u8]) -> Result<Vec<u8>, JqError> {
        self.run_at(document, Instant::now)
    }

    /// The same by another clock.
    fn run_at(&mut self, document: &[u8], clock: impl Fn() -> Instant) -> Result<Vec<u8>, JqError> {
        self.breaker.admit(clock()).map_err(|(workers, wait)| JqError::Refused { workers, wait })?;
        let outcome = match &mut self.by {
            By::Here(Ok(program)) => program.run(document),
            By::Here(Err(why)) => Err(JqError::NotStarted(why.clone())),
            By::Worker { start, allowance, now } => run_by(now, *start, &self.program, *allowance, document),
        };
        let has_cost_a_worker = outcome.as_ref().is_err_and(JqError::costs_a_worker);
        self.breaker.tried(has_cost_a_worker, clock());
        outcome
    }
}

/// Has a worker run the document: the one there is, or another.
fn run_by(
    now: &mut Option<Worker>,
    start: Start,
    program: &str,
    allowance: Allowance,
    document: &[u8],
) -> Result<Vec<u8>, JqError> {
    // One that ended while it had nothing to do, for want of memory elsewhere, is no loss.
    let kept = now.take().and_then(|mut worker| worker.is_fit().then_some(worker));
    let mut worker = kept.map_or_else(|| Worker::start(start, program, allowance), Ok)?;
    let outcome = worker.run(document);
    if !outcome.as_ref().is_err_and(JqError::costs_a_worker) {
        *now = Some(worker);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn by_worker(program: &str) -> Jq {
        let allowance = Allowance { start: Duration::from_secs(30), ..Allowance::default() };
        Jq::started_by(worker::tests::this_test, program, allowance)
    }

    #[test]
    fn a_program_goes_to_another_thread() {
        fn goes<T: Send + Clone>(_: T) {}
        goes(Jq::new("."));
    }

    #[test]
    fn a_worker_makes_the_rows_that_this_process_makes() {
        let (mut apart, mut here) = (by_worker(".v[] | {v: .}"), Jq::new(".v[] | {v: .}"));
        for document in [&b"{\"v\":[1,2.5]}"[..], b"{}", b"[", b"{\"v\":[]}"] {
            assert_eq!(apart.run(document), here.run(document));
        }
        assert_eq!(apart.clone().run(b"{\"v\":[null]}"), Ok(b"[{\"v\":null}]".to_vec()));
    }

    #[test]
    fn a_program_that_keeps_ending_its_workers_is_let_rest() {
        let mut jq = by_worker("if . then def f: [f]; f else . end");
        let start = Instant::now();
        for _ in 0..3 {
            assert!(matches!(jq.run_at(b"true", || start), Err(JqError::Ended(_))));
        }
        let wait = Duration::from_mins(1);
        assert_eq!(jq.run_at(b"false", || start), Err(JqError::Refused { workers: 3, wait }));
        assert_eq!(jq.run_at(b"false", || start + wait), Ok(b"[false]".to_vec()));
        assert!(matches!(jq.run_at(b"true", || start + wait), Err(JqError::Ended(_))));
        assert_eq!(jq.run_at(b"false", || start + wait), Ok(b"[false]".to_vec()));
    }

    #[test]
    fn a_worker_that_ended_in_between_is_replaced() {
        let mut jq = by_worker(".");
        for _ in 0..4 {
            assert_eq!(jq.run(b"1"), Ok(b"[1]".to_vec()));
            let By::Worker { now: Some(worker), .. } = &mut jq.by else { panic!("no worker") };
            worker.end();
        }
    }

    #[test]
    fn a_program_is_checked_however_deeply_it_is_nested() {
        assert_eq!(check(".a[] | {b}"), Ok(()));
        assert_eq!(check(".a | foo").unwrap_err(), "line 1, column 6: there is no filter foo");
        for nested in ["(", "[", "{a:", "-", "if ", "def f: ", ". as $a | ", "\"\\(", ".|", "..[", "reduce "] {
            _ = check(&nested.repeat(MAX_PROGRAM_BYTES / nested.len()));
        }
        let [open, close] = ["(", ")"].map(|bracket| bracket.repeat(8_000));
        assert_eq!(check(&format!("{open}.{close}")), Ok(()));
    }

    #[test]
    fn a_program_that_is_wrong_fails_in_every_document() {
        let mut jq = Jq::here("foo");
        let why = "line 1, column 1: there is no filter foo".to_owned();
        assert_eq!(jq.run(b"1"), Err(JqError::NotStarted(why)));
    }
}
