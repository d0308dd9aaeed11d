//! The committer: one thread that seals, syncs, publishes and moves the tail.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};

use super::{
    log::{Log, lock},
    marks::{Mark, Pos},
    settle::Settlement,
};
use crate::{
    clock::SharedClock,
    config::settings::{Durability, OnFull, Ring as Settings},
    observe::{heartbeat::Heartbeat, histogram::Histogram},
};

/// How often a ring short of space is looked at, since what is safe grows with time alone.
const SHORT_OF_SPACE_PERIOD: Duration = Duration::from_millis(20);
/// How often an idle committer looks around.
const IDLE_PERIOD: Duration = Duration::from_secs(1);
/// How often counts of refused messages are brought to disk.
const REFUSED_PERIOD: Duration = Duration::from_secs(1);
/// A sync that takes longer than this is reported as stuck by the watchdog.
const SYNC_DEADLINE: Duration = Duration::from_mins(2);

/// What the committer shares with the rest of the ring.
pub(super) struct Shared {
    pub log: Arc<Log>,
    pub settlement: Mutex<Settlement>,
    pub clock: SharedClock,
    pub settings: Settings,
    pub ackable: watch::Sender<Pos>,
    pub failed: watch::Sender<Option<String>>,
    pub room: Notify,
    pub commit_micros: Histogram,
    pub bell: Bell,
}

/// Wakes the committer.
#[derive(Default)]
pub(super) struct Bell {
    state: Mutex<BellState>,
    rung: Condvar,
}

#[derive(Default)]
struct BellState {
    rung: bool,
    stop: bool,
}

impl Bell {
    /// Wakes the committer, now or at its next wait.
    pub fn ring(&self) {
        let mut state = lock(&self.state);
        if !state.rung {
            state.rung = true;
            self.rung.notify_one();
        }
    }

    /// Asks the committer to finish.
    pub fn stop(&self) {
        let mut state = lock(&self.state);
        (state.stop, state.rung) = (true, true);
        self.rung.notify_one();
    }

    fn wait(&self, timeout: Duration) -> bool {
        let state = lock(&self.state);
        let waited = self.rung.wait_timeout_while(state, timeout, |state| !state.rung);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.rung = false;
        state.stop
    }

    /// Lets time pass, but for a stop; rings meanwhile wake nobody and are not lost.
    fn pause(&self, timeout: Duration) {
        let state = lock(&self.state);
        drop(self.rung.wait_timeout_while(state, timeout, |state| !state.stop));
    }

    fn stopping(&self) -> bool {
        lock(&self.state).stop
    }
}

/// Starts the thread.
pub(super) fn start(shared: Arc<Shared>, heartbeat: Heartbeat) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("committer".into()).spawn(move || Committer::new(shared, heartbeat).run())
}

pub(super) struct Committer {
    shared: Arc<Shared>,
    heartbeat: Heartbeat,
    last_commit: Option<Instant>,
    refused_on_disk: u64,
    refused_written: Instant,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, heartbeat: Heartbeat) -> Self {
        let refused_on_disk = shared.log.intake().refused_messages;
        Self { shared, heartbeat, last_commit: None, refused_on_disk, refused_written: Instant::now() }
    }

    fn run(mut self) {
        loop {
            let stopping = self.wait();
            let turn = self.turn(stopping);
            if let Err(reason) = turn {
                let reason = self.shared.log.poison(&reason);
                tracing::error!(%reason, "the ring is poisoned: nothing more is acknowledged");
                self.shared.failed.send_replace(Some(reason));
                return;
            }
            if stopping && !self.shared.log.unsealed() {
                return;
            }
        }
    }

    /// Waits for work and then for the spacing between commits; returns whether to finish.
    fn wait(&mut self) -> bool {
        let log = &self.shared.log;
        if !log.unsealed() {
            let short = log.starved() || log.index().is_low(log.free_bytes());
            let period = if short { SHORT_OF_SPACE_PERIOD } else { IDLE_PERIOD };
            self.heartbeat.waiting("something to commit", None);
            if self.shared.bell.wait(period) {
                return true;
            }
        }
        let spacing = match self.shared.settings.durability {
            Durability::Commit => self.shared.settings.commit_spacing,
            Durability::Interval | Durability::Memory => self.shared.settings.interval,
        };
        let due = self.last_commit.map(|last| last + spacing);
        while let Some(left) = due.and_then(|due| due.checked_duration_since(Instant::now())) {
            if self.shared.bell.stopping() {
                return true;
            }
            self.heartbeat.waiting("the spacing between commits", None);
            self.shared.bell.pause(left);
        }
        self.shared.bell.stopping()
    }

    /// One round: a commit, room where it is short, counts that are due.
    pub(super) fn turn(&mut self, stopping: bool) -> Result<(), String> {
        if let Some(reason) = self.shared.log.poisoned() {
            return Err(reason);
        }
        self.heartbeat.waiting("the disk (sync of a commit)", Some(SYNC_DEADLINE));
        self.commit().map_err(|error| format!("the sync of a commit failed: {error}"))?;
        self.make_room()?;
        self.note_refused(stopping).map_err(|error| format!("the sync of the header failed: {error}"))
    }

    fn commit(&mut self) -> std::io::Result<()> {
        let Shared { log, settings, commit_micros, ackable, .. } = &*self.shared;
        let started = Instant::now();
        let sync = settings.durability != Durability::Memory;
        let Some(sealed) = log.commit(sync)? else { return Ok(()) };
        self.last_commit = Some(started);
        if sync {
            commit_micros.record(started.elapsed().as_micros() as u64);
        }
        ackable.send_replace(sealed.to.pos);
        Ok(())
    }

    /// Moves the tail when little is free, by the `on_full` policy further than what is safe.
    fn make_room(&self) -> Result<(), String> {
        let Shared { log, settlement, settings, clock, room, .. } = &*self.shared;
        let starved = log.starved();
        if !starved && !log.index().is_low(log.free_bytes()) {
            return Ok(());
        }
        let now = clock.since_boot();
        let head = log.appended().pos;
        let mut settlement = lock(settlement);
        let safe = settlement.publish(now);
        let mut target = log.index().target(head, safe.pos).filter(|to| to.pos > log.tail().pos);
        // Rows that are stored lose the protection of the resend window before a row that is not stored is lost.
        let upto = match settings.on_full {
            OnFull::Block => safe.pos,
            OnFull::DropNewest => settlement.settled().pos,
            OnFull::DropOldest => log.durable().pos,
        };
        if upto > safe.pos && (target.is_none() || !self.frees_enough(target, head)) {
            target = log.index().target(head, upto).filter(|to| to.pos > log.tail().pos);
            if let Some(to) = target {
                settlement.drop_upto(to, now).map_err(|error| format!("dropping the oldest rows failed: {error}"))?;
            }
        }
        let Some(to) = target else { return Ok(()) };
        drop(settlement);
        self.heartbeat.waiting("the disk (sync of the header)", Some(SYNC_DEADLINE));
        log.move_tail(to).map_err(|error| format!("the sync of the header failed: {error}"))?;
        room.notify_waiters();
        Ok(())
    }

    fn frees_enough(&self, target: Option<Mark>, head: Pos) -> bool {
        let capacity = self.shared.log.geometry().capacity;
        let tail = target.unwrap_or_else(|| self.shared.log.tail());
        !self.shared.log.index().is_low((tail.pos.0 + capacity).saturating_sub(head.0))
    }

    /// Brings the counts of messages refused at the door to disk, seldom enough not to wear it.
    fn note_refused(&mut self, stopping: bool) -> std::io::Result<()> {
        let refused = self.shared.log.intake().refused_messages;
        if refused != self.refused_on_disk && (stopping || self.refused_written.elapsed() >= REFUSED_PERIOD) {
            self.shared.log.write_header(|_| {})?;
            self.refused_on_disk = refused;
            self.refused_written = Instant::now();
        }
        Ok(())
    }
}
