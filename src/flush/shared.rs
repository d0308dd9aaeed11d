//! What lanes share with whoever watches and stops them.

use std::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;

use super::{
    buffers::Buffers,
    outside::Vigil,
    replay::{Asked, Requests},
    status::LaneStatus,
    trouble,
    wal_watch::Board,
};
use crate::{
    clock::SharedClock,
    lanes::Lanes,
    marks::{Mark, Pos, Seq},
    observe::histogram::Histogram,
    settings,
    sync::{lock, wait},
};

/// What is told of a server that refuses to say when it was started.
const UNTOLD_START: &str = "QuestDB does not tell when it was started (SELECT pg_postmaster_start_time() is refused), so a restart that loses \
                            rows would go unnoticed: no row becomes safe, and the ring keeps what is stored until it needs the space; let \
                            forebay's user run that statement, or use a newer QuestDB";

/// How a lane gets on with the database, from best to worst.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// The last flush was stored in good time.
    Ok,
    /// The last flush was stored, and took long.
    Slow,
    /// QuestDB accepts rows faster than it applies them, and is written more slowly for it.
    Lagging,
    /// QuestDB accepts rows of a table and no longer applies them.
    Suspended,
    /// Nothing has been tried yet.
    #[default]
    Connecting,
    /// A table cannot be described or changed, or the quarantine cannot be written.
    Blocked,
    /// QuestDB answers that it cannot now.
    Overloaded,
    /// No connection, or no answer.
    Unreachable,
    /// The credentials are refused.
    Refused,
    /// The configuration cannot work with this server.
    Misconfigured,
}

impl Health {
    /// Whether QuestDB takes rows.
    #[must_use]
    pub fn is_up(self) -> bool {
        matches!(self, Self::Ok | Self::Slow | Self::Lagging | Self::Suspended)
    }

    /// Whether QuestDB takes nothing at all, of any table.
    #[must_use]
    pub fn is_away(self) -> bool {
        matches!(self, Self::Unreachable | Self::Refused | Self::Misconfigured)
    }
}

/// What a lane tells about itself.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The numbers.
    pub status: LaneStatus,
    /// How it gets on.
    pub health: Health,
    /// The last error; none after a success.
    pub error: Option<String>,
    /// Its kind.
    pub trouble: Option<trouble::Kind>,
    /// When it was met, since boot.
    pub failed_at: Duration,
    /// Failures since start, by their kind's number.
    pub failures: [u64; trouble::KINDS],
    /// What the operator should know, with statements that mend it.
    pub warnings: Vec<String>,
    /// Tables without deduplication.
    pub at_least_once: Vec<String>,
    /// How far the lane has come, rewinds aside.
    pub sent_upto: Pos,
}

/// Shared between the lanes and [`super::Flusher`].
pub struct Shared {
    clock: SharedClock,
    /// Stop deadline in nanoseconds since boot; 0 while running.
    stop_ns: AtomicU64,
    /// What lies before this position of the ring is to be sent without waiting for company.
    flush_upto: AtomicU64,
    fresh_looks_asked: AtomicU64,
    /// Whether some lane has the memory that one lane at a time may borrow.
    memory_lent: AtomicBool,
    rest: Mutex<()>,
    rest_over: Condvar,
    reports: Vec<Mutex<Report>>,
    batch: Mutex<settings::Batch>,
    /// When the server was started, as it said last.
    server_started: Mutex<Option<String>>,
    /// Whether it does not tell when it was started.
    untold_start: AtomicBool,
    /// When some lane last asked it, since boot.
    started_asked: Mutex<Option<Duration>>,
    /// Rewinds asked of all lanes so far, and how far back those not yet followed by every lane go.
    rewind: Mutex<(u64, Mark)>,
    /// Time since boot, in nanoseconds, at which the server was last seen not to have restarted.
    kept_ns: AtomicU64,
    replays: Mutex<Requests>,
    vigil: Mutex<Box<dyn Vigil>>,
    /// Time from a row's arrival to its being stored, of rows of this run.
    pub ages: Histogram,
    /// What is known of QuestDB's write-ahead logs.
    pub wal: Board,
    /// Memory of the lanes' buffers.
    pub buffers: Buffers,
}

impl Shared {
    /// State for that many lanes.
    pub fn new(lanes: usize, batch: settings::Batch, clock: SharedClock, vigil: Box<dyn Vigil>) -> Self {
        Self {
            clock,
            stop_ns: AtomicU64::new(0),
            flush_upto: AtomicU64::new(0),
            fresh_looks_asked: AtomicU64::new(0),
            memory_lent: AtomicBool::new(false),
            rest: Mutex::new(()),
            rest_over: Condvar::new(),
            reports: (0..lanes).map(|_| Mutex::default()).collect(),
            batch: Mutex::new(batch),
            server_started: Mutex::new(None),
            untold_start: AtomicBool::new(false),
            started_asked: Mutex::new(None),
            rewind: Mutex::new((0, Mark::default())),
            kept_ns: AtomicU64::new(0),
            replays: Mutex::new(Requests::new(lanes)),
            vigil: Mutex::new(vigil),
            ages: Histogram::new(),
            wal: Board::new(lanes),
            buffers: Buffers::default(),
        }
    }

    /// How many lanes there are.
    pub fn lanes(&self) -> Lanes {
        Lanes::new(self.reports.len())
    }

    /// Asks the lanes to end by then.
    pub fn stop(&self, within: Duration) {
        let deadline = (self.clock.since_boot() + within).as_nanos() as u64;
        self.stop_ns.store(deadline.max(1), Ordering::Release);
        self.wake();
    }

    /// How long a stop may still take; none while nobody asked for one.
    pub fn stopping(&self) -> Option<Duration> {
        let deadline = self.stop_ns.load(Ordering::Acquire);
        (deadline != 0).then(|| Duration::from_nanos(deadline).saturating_sub(self.clock.since_boot()))
    }

    /// Asks for everything before that position of the ring to be sent without waiting for company,
    /// once it is durable.
    pub fn ask_for_flush(&self, upto: Pos) {
        self.flush_upto.fetch_max(upto.0, Ordering::AcqRel);
        self.wake();
    }

    /// Asks the lanes to take tables for what they are now, whatever is known of them.
    pub fn ask_for_fresh_look(&self) {
        self.fresh_looks_asked.fetch_add(1, Ordering::AcqRel);
    }

    /// How many times that was asked for.
    pub fn fresh_looks_asked(&self) -> u64 {
        self.fresh_looks_asked.load(Ordering::Acquire)
    }

    /// Lends a lane the memory that one at a time may have; false while another has it.
    pub fn borrow_memory(&self) -> bool {
        !self.memory_lent.swap(true, Ordering::AcqRel)
    }

    /// Takes that memory back.
    pub fn return_memory(&self) {
        self.memory_lent.store(false, Ordering::Release);
    }

    /// Up to where that was asked for.
    pub fn flush_upto(&self) -> Pos {
        Pos(self.flush_upto.load(Ordering::Acquire))
    }

    fn wake(&self) {
        let _guard = lock(&self.rest);
        self.rest_over.notify_all();
    }

    /// Rests so long, or until woken.
    pub fn rest(&self, time: Duration) {
        let guard = lock(&self.rest);
        if self.stopping().is_none() {
            drop(wait(&self.rest_over, guard, time));
        }
    }

    /// The batch settings as they are now.
    pub fn batch(&self) -> settings::Batch {
        lock(&self.batch).clone()
    }

    /// Replaces the batch settings; the number of lanes stays, and with it each lane's share of the memory.
    pub fn set_batch(&self, batch: &settings::Batch) {
        let mut current = lock(&self.batch);
        *current = settings::Batch { max_lanes: current.max_lanes, ..batch.clone() };
    }

    /// Whether it is time for a lane to ask when the server was started.
    pub fn may_ask_started(&self, every: Duration) -> bool {
        let now = self.clock.since_boot();
        let mut asked = lock(&self.started_asked);
        let due = asked.is_none_or(|asked| now.saturating_sub(asked) >= every);
        if due {
            *asked = Some(now);
        }
        due
    }

    /// Whether [`Self::may_ask_started`] would say so.
    pub fn is_ask_started_due(&self, every: Duration) -> bool {
        let now = self.clock.since_boot();
        lock(&self.started_asked).is_none_or(|asked| now.saturating_sub(asked) >= every)
    }

    /// Whether the server has run without a break since the watch began, and all rewinds asked for until now have been seen.
    pub fn is_same_server_as(&self, rewinds_seen: u64) -> bool {
        let vigil = self.vigil();
        vigil.is_unbroken() && self.rewinds_asked() == rewinds_seen
    }

    /// Whether nothing else is known of when the server was started.
    pub fn is_first_sight(&self, started: &str) -> bool {
        let mut known = lock(&self.server_started);
        let same = known.as_deref().is_none_or(|known| known == started);
        *known = Some(started.to_owned());
        same
    }

    /// Takes note of whether the server refuses to tell when it was started; the first time that is told.
    pub fn note_untold_start(&self, is_untold: bool) {
        if self.untold_start.swap(is_untold, Ordering::AcqRel) != is_untold && is_untold {
            tracing::warn!("{UNTOLD_START}");
        }
    }

    /// What the operator should know of the server's start.
    pub fn start_warning(&self) -> Option<&'static str> {
        self.untold_start.load(Ordering::Acquire).then_some(UNTOLD_START)
    }

    /// Asks every lane to rewind to `mark`; `and` is done before a lane can know of it.
    pub fn ask_rewind(&self, mark: Mark, and: impl FnOnce()) {
        let mut rewind = lock(&self.rewind);
        and();
        *rewind = (rewind.0 + 1, mark);
    }

    /// Does something unless a rewind was asked for since `seen`, and before another can be.
    pub fn unless_asked(&self, seen: u64, act: impl FnOnce()) {
        let rewind = lock(&self.rewind);
        if rewind.0 == seen {
            act();
        }
    }

    /// How many times a rewind was asked of all lanes.
    pub fn rewinds_asked(&self) -> u64 {
        lock(&self.rewind).0
    }

    /// How far to rewind, when that was asked since `seen`.
    pub fn rewind_asked(&self, seen: &mut u64) -> Option<Mark> {
        let (asked, mark) = *lock(&self.rewind);
        (asked > std::mem::replace(seen, asked)).then_some(mark)
    }

    /// Takes note that at that time (since boot) the server was seen not to have restarted.
    pub fn confirm_kept(&self, at: Duration) {
        self.kept_ns.fetch_max(at.as_nanos() as u64, Ordering::AcqRel);
    }

    /// Whether the server has been seen at that time (since boot) or later not to have restarted meanwhile.
    pub fn is_kept_since(&self, time: Duration) -> bool {
        Duration::from_nanos(self.kept_ns.load(Ordering::Acquire)) >= time
    }

    /// The watch over the server's process; held while it is asked when it was started.
    pub fn vigil(&self) -> MutexGuard<'_, Box<dyn Vigil>> {
        lock(&self.vigil)
    }

    /// The replays asked for.
    pub fn replays(&self) -> MutexGuard<'_, Requests> {
        lock(&self.replays)
    }

    /// Whether a lane has a replay to follow.
    pub fn replay_is_asked(&self, lane: usize) -> bool {
        self.replays().is_asked(lane)
    }

    /// The replay a lane is to follow.
    pub fn take_replay(&self, lane: usize) -> Option<Asked> {
        self.replays().take(lane)
    }

    /// Takes note of the oldest record that a lane may read again, if any; returns the oldest that some lane may.
    pub fn lowest_kept(&self, lane: usize, kept: Option<Seq>) -> Seq {
        let mut replays = self.replays();
        replays.keep(lane, kept);
        replays.lowest_kept()
    }

    /// Changes a lane's report.
    pub fn report(&self, lane: usize, change: impl FnOnce(&mut Report)) {
        change(&mut lock(&self.reports[lane]));
    }

    /// How the lane that gets on worst does.
    pub fn worst_health(&self) -> Health {
        self.reports.iter().map(|report| lock(report).health).max().unwrap_or_default()
    }

    /// All reports.
    pub fn reports(&self) -> Vec<Report> {
        self.reports.iter().map(|report| lock(report).clone()).collect()
    }
}
