//! Latest values that memory lacks, out of the database: one query for many callers at once, with a deadline, and none while the
//! database is known to be away.
//!
//! `desk` decides who waits for what (pure), `rows` has statement and rows (pure); this is the shell around them.

mod desk;
mod rows;

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use self::desk::{Desk, Job, Said};
pub use self::desk::{MAX_QUESTIONS, NOTHING_FOR};
use crate::{
    clock::SharedClock,
    flush::breaker::Standing,
    latest::{Filter, Latest},
    names,
    point::{Row, Text},
    questdb::{Connection, Sql, SqlError, applied::Applied},
    sync::lock,
};

/// How long one who asks waits for the database.
pub const DEADLINE: Duration = Duration::from_secs(2);
/// Most requests that wait for write-ahead logs to be applied, each in a thread.
const MAX_APPLYING: usize = 2;

/// What came of a question to the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The map has what the database holds of it.
    Filled,
    /// The database holds nothing of it.
    Nothing,
    /// It is not known what the database holds, for this reason.
    Unknown(String),
    /// The table is none of forebay's: its rows are not for whoever asks forebay.
    Foreign,
}

/// Counters, as `status` shows them.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct LookupStatus {
    /// Questions since start.
    pub asked: u64,
    /// Statements they became.
    pub queries: u64,
    /// Questions that shared the statement of the same question, asked before.
    pub joined: u64,
    /// Questions whose answer QuestDB had.
    pub filled: u64,
    /// Questions to which QuestDB said that there is nothing.
    pub nothing: u64,
    /// Questions answered by what it had said a moment ago: nothing.
    pub remembered: u64,
    /// Questions without an answer in time, for any of the reasons that follow.
    pub unanswered: u64,
    /// Not asked, because QuestDB is away or did not answer a moment ago.
    pub away: u64,
    /// Not asked, because too many waited already.
    pub busy: u64,
    /// No answer within the deadline.
    pub timed_out: u64,
    /// An error in place of an answer.
    pub failed: u64,
    /// Questions about tables that are none of forebay's, which QuestDB is never asked about.
    pub foreign: u64,
    /// `closed`, `open` or `half-open`.
    #[schema(value_type = String)]
    pub breaker: Standing,
}

/// What others know.
pub struct Known {
    /// Whether the database is away.
    pub is_away: Box<dyn Fn() -> bool + Send + Sync>,
    /// Whether a table is forebay's: one that a source may write, or that the ring has had rows of.
    pub is_ours: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

/// Asks the database on behalf of many.
pub struct Lookup {
    latest: Arc<Latest>,
    sql: Sql,
    clock: SharedClock,
    known: Known,
    desk: Mutex<Desk<oneshot::Sender<Outcome>>>,
    applying: tokio::sync::Semaphore,
    counts: Counts,
}

/// Counters; [`LookupStatus`] says what they count.
#[derive(Debug, Default)]
struct Counts {
    asked: AtomicU64,
    queries: AtomicU64,
    joined: AtomicU64,
    filled: AtomicU64,
    nothing: AtomicU64,
    remembered: AtomicU64,
    away: AtomicU64,
    busy: AtomicU64,
    timed_out: AtomicU64,
    failed: AtomicU64,
    foreign: AtomicU64,
}

impl Counts {
    fn status(&self, breaker: Standing) -> LookupStatus {
        let of = |count: &AtomicU64| count.load(Relaxed);
        let [away, busy, timed_out, failed] = [&self.away, &self.busy, &self.timed_out, &self.failed].map(of);
        LookupStatus {
            asked: of(&self.asked),
            queries: of(&self.queries),
            joined: of(&self.joined),
            filled: of(&self.filled),
            nothing: of(&self.nothing),
            remembered: of(&self.remembered),
            unanswered: away + busy + timed_out + failed,
            away,
            busy,
            timed_out,
            failed,
            foreign: of(&self.foreign),
            breaker,
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl Lookup {
    /// Fills this map from that database. Nothing is sent yet.
    pub fn new(
        latest: Arc<Latest>,
        connection: &Connection,
        clock: SharedClock,
        known: Known,
    ) -> Result<Self, SqlError> {
        let request_timeout = connection.request_timeout.min(DEADLINE);
        let sql = Sql::new(Arc::new(Connection { request_timeout, ..connection.clone() }))?;
        Ok(Self {
            latest,
            sql,
            clock,
            known,
            desk: Mutex::default(),
            applying: tokio::sync::Semaphore::new(MAX_APPLYING),
            counts: Counts::default(),
        })
    }

    /// Counters.
    pub fn status(&self) -> LookupStatus {
        let breaker = self.desk().breaker();
        self.counts.status(breaker)
    }

    fn desk(&self) -> MutexGuard<'_, Desk<oneshot::Sender<Outcome>>> {
        lock(&self.desk)
    }

    /// Has the map filled with what the database holds of a filter that names a table; within [`DEADLINE`].
    pub async fn ask(self: &Arc<Self>, filter: &Filter) -> Outcome {
        count(&self.counts.asked);
        let (fate, outcome) = self.answer(filter).await;
        count(fate);
        outcome
    }

    /// The answer, and as what it counts.
    async fn answer(self: &Arc<Self>, filter: &Filter) -> (&AtomicU64, Outcome) {
        let (counts, unknown) = (&self.counts, |why: &str| Outcome::Unknown(why.to_owned()));
        if !filter.table().is_some_and(&self.known.is_ours) {
            return (&counts.foreign, Outcome::Foreign);
        }
        if (self.known.is_away)() {
            return (&counts.away, unknown("QuestDB is away; it is asked again once rows can be sent"));
        }
        let (waiter, answer) = oneshot::channel();
        let said = self.desk().ask(filter, waiter, self.clock.since_boot());
        match said {
            Said::Nothing => return (&counts.remembered, Outcome::Nothing),
            Said::Away => return (&counts.away, unknown("QuestDB did not answer a moment ago")),
            Said::Busy => {
                return (&counts.busy, Outcome::Unknown(format!("{MAX_QUESTIONS} questions wait for QuestDB already")));
            }
            Said::Join => count(&counts.joined),
            Said::Wait(false) => {}
            Said::Wait(true) => {
                let lookup = Arc::clone(self);
                tokio::task::spawn_blocking(move || lookup.work());
            }
        }
        match tokio::time::timeout(DEADLINE, answer).await {
            Ok(Ok(outcome @ Outcome::Filled)) => (&counts.filled, outcome),
            Ok(Ok(outcome @ Outcome::Nothing)) => (&counts.nothing, outcome),
            Ok(Ok(outcome)) => (&counts.failed, outcome),
            Ok(Err(_)) => (&counts.failed, unknown("the daemon is stopping")),
            Err(_) => {
                let why = format!("QuestDB did not answer within {} s", DEADLINE.as_secs());
                (&counts.timed_out, Outcome::Unknown(why))
            }
        }
    }

    /// Asks until nobody waits any more.
    fn work(&self) {
        loop {
            let Some(job) = self.desk().take() else { return };
            match self.query(&job) {
                Ok(found) => {
                    let now = self.clock.since_boot();
                    let is_found = |filter: &Filter| found.iter().any(|row| means(filter, row));
                    for (waiter, found) in self.desk().answered(job, is_found, now) {
                        let _ = waiter.send(if found { Outcome::Filled } else { Outcome::Nothing });
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, table = %job.table, "no latest values from QuestDB");
                    let waiters = self.desk().failed(self.clock.since_boot(), fastrand::f64());
                    for waiter in waiters {
                        let _ = waiter.send(Outcome::Unknown(error.to_string()));
                    }
                }
            }
        }
    }

    /// Puts what the database holds into the map; returns what the map took.
    fn query(&self, job: &Job) -> Result<Vec<Row>, SqlError> {
        count(&self.counts.queries);
        let Some(info) = self.sql.table_info(&job.table)? else { return Ok(Vec::new()) };
        let Some(asked) = rows::Asked::new(info) else { return Ok(Vec::new()) };
        let filters: Vec<&Filter> = job.filters.iter().filter(|filter| asked.can_answer(filter)).collect();
        if filters.is_empty() {
            return Ok(Vec::new());
        }
        let answer = self.sql.query(&asked.statement(filters.into_iter()))?;
        let mut rows = asked.rows(&answer)?;
        rows.retain(|row| self.latest.fill(asked.table(), row));
        Ok(rows)
    }

    /// Waits, at most so long, until QuestDB shows in queries what it has accepted for these tables by now; the error names what is
    /// not shown, and why.
    pub async fn applied(self: &Arc<Self>, tables: Vec<String>, within: Duration) -> Result<(), String> {
        let deadline = tokio::time::Instant::now() + within;
        let late = || "QuestDB has accepted the rows and does not show them yet".to_owned();
        let permit = tokio::time::timeout_at(deadline, self.applying.acquire()).await;
        let Ok(Ok(_permit)) = permit else { return Err(late()) };
        let lookup = Arc::clone(self);
        let waited = tokio::task::spawn_blocking(move || {
            let until = std::time::Instant::now() + deadline.saturating_duration_since(tokio::time::Instant::now());
            tables.iter().try_for_each(|table| lookup.await_table(table, until))
        });
        match tokio::time::timeout_at(deadline, waited).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(late()),
        }
    }

    fn await_table(&self, table: &str, until: std::time::Instant) -> Result<(), String> {
        let left = until.saturating_duration_since(std::time::Instant::now());
        match self.sql.await_applied(table, left) {
            Ok(Applied::Yes) => Ok(()),
            Ok(Applied::Behind) => {
                Err(format!("QuestDB has accepted rows of table {table:?} and does not show them yet"))
            }
            Ok(Applied::Suspended) => Err(format!("table {table:?} is suspended; see QuestDB's log")),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn means(filter: &Filter, row: &Row) -> bool {
    let has = |name, value| row.symbols.iter().any(|(n, v): &(Text, Text)| v == value && names::same(n, name));
    filter.symbols().iter().all(|(name, value)| has(name, value))
}
