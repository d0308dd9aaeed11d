//! From the ring to QuestDB: lanes, the batcher's model and policy, the breaker, isolation of bad rows, quarantine.
//!
//! [`Flusher`] is the handle. Decisions are pure (`model`, `policy`, `breaker`, `trouble`, `time_limit`, `apply_lag`, `isolate`, `flow`, `course`,
//! `late`); `lane` is the thread around
//! them, `sender` the thread that waits for QuestDB, `refusal` what a lane does with a batch that QuestDB refuses.

mod ages;
mod ahead;
mod answer;
pub mod apply_lag;
mod batching;
mod brake;
pub mod breaker;
mod buffers;
mod condemned;
mod course;
mod encode;
mod exceptions;
mod flow;
pub mod isolate;
mod lane;
mod late;
mod letters;
mod look;
pub mod model;
mod notices;
mod outflow;
mod outside;
pub mod policy;
pub mod quarantine;
mod reborn;
mod refusal;
mod refused;
pub mod refused_rows;
pub mod replay;
mod seeded;
mod sender;
mod shared;
#[cfg(test)]
mod simulated;
pub mod simulator;
pub mod status;
#[cfg(test)]
mod tests;
pub mod time_limit;
pub mod trouble;
mod unconfirmed;
mod vigil;
pub mod wal_watch;

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;

use self::{
    ages::Ages,
    breaker::{Breaker, Standing},
    course::Course,
    encode::Encoder,
    exceptions::{Exceptions, Id},
    flow::Flow,
    lane::Lane,
    late::Late,
    letters::Letters,
    model::Model,
    notices::Notices,
    outside::{Link, RealWait, Wait},
    refused_rows::RefusedRows,
    seeded::{Bug, is_on},
    sender::Sender,
    shared::Shared,
    time_limit::TimeLimit,
    wal_watch::Watch,
};
pub use self::{
    encode::AllowNarrow,
    outflow::Outflow,
    quarantine::Quarantine,
    shared::Health,
    status::{FlushStatus, LaneStatus, ReplayStatus},
    wal_watch::{WalStatus, WalTableStatus},
};
use crate::{
    clock::SharedClock,
    limits::Allowance,
    marks::Mark,
    observe::heartbeat::Heartbeats,
    questdb::{
        Ask, Connection, ConnectionError, Secrets, Sql, SqlError, columns::Coming, schema::Schema, statement::NewTable,
    },
    ring::{Rescue, Ring},
    settings,
    sync::lock,
};

/// How often the server is asked whether it was restarted; well within the resend window.
const ASK_STARTED_EVERY: Duration = Duration::from_secs(5);
/// The same where the resend window is short or none.
const LEAST_BETWEEN_ASKS: Duration = Duration::from_millis(250);
/// Pause between looks at whether lanes have ended.
const JOIN_PAUSE: Duration = Duration::from_millis(10);

/// What flushing needs.
pub struct FlushContext {
    /// Where rows come from; its number of lanes is set here.
    pub ring: Ring,
    /// The database.
    pub questdb: settings::Questdb,
    /// How batches are cut.
    pub batch: settings::Batch,
    /// Where rows that cannot be stored go.
    pub quarantine: settings::Quarantine,
    /// Tables whose rows may be sent although their keys lack some of the rows' symbols.
    pub allow_narrow: AllowNarrow,
    /// How many columns a table may get.
    pub allowance: Arc<Allowance>,
    /// Where rows set aside are counted.
    pub refused_rows: Arc<RefusedRows>,
    /// Both clocks.
    pub clock: SharedClock,
    /// Where lanes register with the watchdog.
    pub heartbeats: Heartbeats,
    /// Seed of the backoff's jitter.
    pub seed: u64,
}

/// Why flushing cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The connection cannot be described.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The SQL client cannot be set up.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The quarantine cannot be opened.
    #[error("cannot open the quarantine {path}: {source}; {}", quarantine_hint(source))]
    Quarantine {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// What to do about a quarantine that cannot be opened.
fn quarantine_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => {
            "free some space, lower [quarantine] size, or set [quarantine] path to another disk"
        }
        io::ErrorKind::ResourceBusy => "stop that one, or give this one a [quarantine] path of its own",
        _ => "let the daemon's user write there, or set [quarantine] path",
    }
}

/// The running lanes.
pub struct Flusher {
    shared: Arc<Shared>,
    ring: Ring,
    quarantine: Arc<Quarantine>,
    exceptions: Arc<Exceptions>,
    sql: Sql,
    clock: SharedClock,
    /// Where this run's records begin.
    run_began: Mark,
    /// Held while the start of a replay is looked for.
    looking: Mutex<()>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
}

impl Flusher {
    /// Opens the quarantine and starts the lanes. The database need not be there.
    pub fn start(context: FlushContext) -> Result<Self, StartError> {
        let lanes = context.batch.max_lanes.max(1);
        let connection = Arc::new(Connection::new(&context.questdb, Secrets::read(&context.questdb)?)?);
        let sql = Sql::new(Arc::clone(&connection))?;
        let (quarantine, held) = Quarantine::open(&context.quarantine)
            .map_err(|source| StartError::Quarantine { path: context.quarantine.path.display().to_string(), source })?;
        let quarantine = Arc::new(quarantine);
        let exceptions = recovered(&context.ring, &held);
        let letters = letters(&context, &exceptions, &quarantine);
        begin_lanes(&context.ring, lanes);
        let run_began = context.ring.marks().appended;
        let vigil = Box::new(vigil::Connected::to(connection.address().to_owned()));
        let shared = Arc::new(Shared::new(lanes, context.batch.clone(), Arc::clone(&context.clock), vigil));
        let asked: Arc<dyn Ask> = Arc::new(sql.clone());
        let mut threads = Vec::with_capacity(lanes);
        for number in 0..lanes {
            let encoder = encoder(&context, &asked, &letters);
            let sender = Sender::start(number, Arc::clone(&connection)).map_err(StartError::Thread)?;
            let timeout = connection.request_timeout;
            let lane = lane(&context, number, encoder, &shared, timeout, Box::new(sender), Box::new(RealWait));
            let thread = thread::Builder::new().name(format!("lane-{number}")).spawn(move || lane.run());
            threads.push(thread.map_err(StartError::Thread)?);
        }
        let heartbeat = context.heartbeats.register("wal-watch");
        let watch = Watch::new(&shared, &context.ring, &sql, &context.clock, heartbeat);
        // It may be waiting for an answer when the lanes have ended; it has nothing to finish.
        thread::Builder::new().name("wal-watch".into()).spawn(move || watch.run()).map_err(StartError::Thread)?;
        let FlushContext { ring, clock, .. } = context;
        let (looking, threads) = (Mutex::new(()), Mutex::new(threads));
        Ok(Self { shared, ring, quarantine, exceptions, sql, clock, run_began, looking, threads })
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<thread::JoinHandle<()>>> {
        lock(&self.threads)
    }

    /// Sends what is there for at most `within`, then ends the lanes; the rest stays in the ring. Blocks; true when
    /// every lane has ended.
    pub fn stop(&self, within: Duration) -> bool {
        self.shared.stop(within);
        let deadline = Instant::now() + within + JOIN_PAUSE;
        let mut threads = self.threads();
        while threads.iter().any(|thread| !thread.is_finished()) && Instant::now() < deadline {
            self.ring.wake_all();
            thread::sleep(JOIN_PAUSE);
        }
        let (ended, late): (Vec<_>, Vec<_>) = threads.drain(..).partition(thread::JoinHandle::is_finished);
        let panicked = ended.into_iter().filter_map(|thread| thread.join().err()).count();
        late.is_empty() && panicked == 0
    }

    /// Has everything that has been taken in so far sent without waiting for company, once it is
    /// durable.
    pub fn flush_now(&self) {
        self.shared.ask_for_flush(self.ring.marks().appended.pos);
        self.ring.wake_all();
    }

    /// Replaces the batch settings; the number of lanes stays as it was at the start.
    pub fn set_batch(&self, batch: &settings::Batch) {
        self.shared.set_batch(batch);
        self.flush_now();
    }

    /// The quarantine.
    pub fn quarantine(&self) -> &Arc<Quarantine> {
        &self.quarantine
    }

    /// Has the lanes take tables for what they are now, and judge them by the present settings.
    pub fn look_afresh(&self) {
        self.shared.ask_for_fresh_look();
    }

    /// What putting entries of the quarantine back needs.
    pub fn outflow(&self) -> Outflow {
        Outflow {
            ring: self.ring.clone(),
            quarantine: Arc::clone(&self.quarantine),
            sql: self.sql.clone(),
            clock: Arc::clone(&self.clock),
            exceptions: Arc::clone(&self.exceptions),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Whether some lane has stopped sending, since the database does not answer.
    pub fn is_away(&self) -> bool {
        self.shared.reports().iter().any(|report| report.status.breaker == Standing::Open)
    }

    /// How it gets on with the database: as its worst lane does, and as QuestDB does with what it
    /// has.
    pub fn health(&self) -> Health {
        let health = self.shared.worst_health();
        if health <= Health::Slow { health.max(self.shared.wal.health()) } else { health }
    }

    /// How it goes.
    pub fn status(&self) -> FlushStatus {
        let reports = self.shared.reports();
        // Of lanes that fare alike, the one that tried last knows best: another may not have tried
        // since things changed.
        let worst = reports.iter().max_by_key(|report| (report.health, report.failed_at));
        let health = self.health();
        let failures = trouble::Kind::ALL.into_iter().enumerate().map(|(number, kind)| {
            let count = reports.iter().map(|report| report.failures[number]).sum();
            (kind.word(), count)
        });
        let failures = failures.collect();
        let advice = worst.and_then(|report| report.trouble).map(|kind| kind.advice().to_owned());
        let mut tables: Vec<_> = reports.iter().flat_map(|report| report.at_least_once.iter().cloned()).collect();
        tables.sort_unstable();
        let delivery = if tables.is_empty() {
            "exactly-once".to_owned()
        } else {
            format!("at-least-once ({})", tables.join(", "))
        };
        let (buffer_bytes, buffer_peak_bytes) = self.shared.buffers.now_and_peak();
        FlushStatus {
            database: health,
            error: worst
                .and_then(|report| report.error.clone())
                .or_else(|| reports.iter().find_map(|report| report.error.clone())),
            advice,
            failures,
            wal: self.shared.wal.status(),
            delivery,
            stored_latency_us: self.shared.ages.quantiles(),
            stored_latency: self.shared.ages.distribution(),
            warnings: reports
                .iter()
                .flat_map(|report| report.warnings.iter().cloned())
                .chain(self.shared.wal.warnings())
                .chain(self.shared.start_warning().map(str::to_owned))
                .collect(),
            lanes: reports.into_iter().map(|report| report.status).collect(),
            quarantine: self.quarantine.status(),
            buffer_bytes,
            buffer_peak_bytes,
        }
    }
}

/// Rows of this ring that are in quarantine.
///
/// Of settled records the ring is told at once, for its answers; of the others, which its ledger has yet to count, when
/// they are read and prove to be the ones that were set aside.
fn recovered(ring: &Ring, held: &[quarantine::Held]) -> Arc<Exceptions> {
    let exceptions = Exceptions::default();
    let marks = ring.marks();
    for quarantine::Held { key, received } in held.iter().filter(|held| held.key.ring_id == ring.id()) {
        let id = Id { seq: key.seq, received: *received };
        if key.seq >= marks.settled.seq {
            exceptions.recover(id, quarantine::exception_of(key.row));
        } else if key.seq >= marks.tail.seq && exceptions.insert(id, quarantine::exception_of(key.row)) {
            ring.except(key.seq, 1);
        }
    }
    exceptions.forget_before(marks.safe.seq);
    Arc::new(exceptions)
}

/// The way into the quarantine of messages that did not become rows, also for the ring.
fn letters(context: &FlushContext, exceptions: &Arc<Exceptions>, quarantine: &Arc<Quarantine>) -> Arc<Letters> {
    let (exceptions, quarantine) = (Arc::clone(exceptions), Arc::clone(quarantine));
    let letters = Letters::new(context.ring.id(), exceptions, quarantine, Arc::clone(&context.clock));
    let letters = Arc::new(letters);
    let rescue: Arc<dyn Rescue> = Arc::<Letters>::clone(&letters);
    context.ring.set_rescue(rescue);
    letters
}

fn encoder(context: &FlushContext, sql: &Arc<dyn Ask>, letters: &Arc<Letters>) -> Encoder {
    Encoder {
        ring: context.ring.clone(),
        schema: Schema::new(new_table(&context.questdb), Arc::clone(&context.clock)),
        sql: Arc::clone(sql),
        letters: Arc::clone(letters),
        refused_rows: Arc::clone(&context.refused_rows),
        notices: Notices::default(),
        allow_narrow: Arc::clone(&context.allow_narrow),
        clock: Arc::clone(&context.clock),
        uncounted: Vec::new(),
        scratch: Vec::new(),
        known: encode::KnownShapes::default(),
        coming: Coming::default(),
        condemned: condemned::Condemned::default(),
        refused: refused::Refused::default(),
        allowance: Arc::clone(&context.allowance),
        tight: HashMap::default(),
    }
}

fn new_table(questdb: &settings::Questdb) -> Option<NewTable> {
    questdb.create_tables.then_some(NewTable { partition_by: questdb.partition_by, ttl: questdb.ttl })
}

/// Tells the ring how many lanes there are. Each holds what every start sends again until it is
/// there and knows where its own begins: else what the first one lets go of would be gone for the
/// others.
fn begin_lanes(ring: &Ring, lanes: usize) {
    let safe = ring.marks().safe;
    ring.set_lanes(lanes);
    (0..lanes).for_each(|number| ring.lane_holds(number, Some(safe)));
}

fn lane(
    context: &FlushContext,
    number: usize,
    encoder: Encoder,
    shared: &Arc<Shared>,
    request_timeout: Duration,
    link: Box<dyn Link>,
    wait: Box<dyn Wait>,
) -> Lane {
    let marks = context.ring.marks();
    // Every start sends again from safe, as far as there is anything of the lane's; all lanes hold
    // that until now.
    let first = context.ring.first_of_lane(shared.lanes(), number).max(marks.safe);
    let high = marks.settled.max(first);
    shared.report(number, |report| report.sent_upto = high.pos);
    context.ring.lane_holds(number, Some(first));
    context.ring.lane_done(number, high);
    let heartbeat = context.heartbeats.register(format!("lane-{number}"));
    let now = context.clock.since_boot();
    let mut late = Late::default();
    // By records: behind the last one there may be state, which is sent nowhere.
    if first.seq < marks.durable.seq && !is_on(Bug::NoLateAtStart) {
        // A request of an earlier life may still be executed, too.
        late.miss(first, marks.durable, Course::all(first.pos));
    }
    Lane {
        number,
        lanes: shared.lanes(),
        shared: Arc::clone(shared),
        heartbeat,
        reader: context.ring.reader(first),
        encoder,
        policy: policy::from_settings(&context.batch),
        batch: context.batch.clone(),
        request_timeout,
        random: fastrand::Rng::with_seed(context.seed ^ number as u64),
        link,
        wait,
        spare: None,
        flight: VecDeque::new(),
        barrier: None,
        breaker: Breaker::half_open(),
        time_limit: TimeLimit::new(request_timeout),
        given_time: Duration::ZERO,
        decided_rows: 0,
        growth: trouble::Growth::default(),
        journal: trouble::Journal::default(),
        pace: apply_lag::Pace::default(),
        throttle: apply_lag::Throttle::default(),
        tables_noted: 0,
        model: Model::default(),
        flow: Flow::default(),
        began: first,
        high,
        rewind: false,
        // A request of an earlier life may still be executed, too.
        again: (first < marks.settled).then_some(first),
        held: Some(first),
        unsent: batching::Unsent::default(),
        late,
        // Of the longest time that a request is ever given.
        grace: request_timeout * late::GRACE_TIMEOUTS,
        course: Course::default(),
        replay: None,
        resend_window: context.questdb.resend_window,
        filled_at: None,
        schema_since: now,
        safe_then: marks.safe,
        company: lane::Company::default(),
        largest_bytes: 0,
        row_bytes: 0,
        run_began: marks.appended.pos,
        ages: Ages::default(),
        told_why: None,
        sent_rows: 0,
        ask_started_every: ASK_STARTED_EVERY.min(context.questdb.resend_window / 4).max(LEAST_BETWEEN_ASKS),
        rewinds_seen: 0,
        fresh_looks_seen: 0,
        unconfirmed: unconfirmed::Unconfirmed::default(),
        filling: unconfirmed::Tables::default(),
        reborn: reborn::Reborn::default(),
        unusual: true,
        borrows: false,
        letters_upto: high,
    }
}
