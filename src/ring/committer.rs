//! The committer: one thread that seals, syncs, publishes and moves the tail.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};

use super::{
    bell::Bell,
    first_records::FirstRecords,
    log::Log,
    marks::{Ackable, Mark, Pos},
    pace::{Due, Look, Pace},
    senders::Senders,
    settle::Settlement,
};
use crate::{
    clock::SharedClock,
    observe::{heartbeat::Heartbeat, histogram::Histogram},
    settings::{CommitSpacing, Durability, OnFull, Ring as Settings},
    sync::lock,
};

/// How often a ring short of space is looked at, since what is safe grows with time alone.
const SHORT_OF_SPACE_PERIOD: Duration = Duration::from_millis(20);
/// How often an idle committer looks around.
const IDLE_PERIOD: Duration = Duration::from_secs(1);
/// A sync that takes longer than this is reported as stuck by the watchdog.
const SYNC_DEADLINE: Duration = Duration::from_mins(2);

/// What the committer shares with the rest of the ring.
pub(super) struct Shared {
    pub log: Arc<Log>,
    /// As the start found them.
    pub first_records: FirstRecords,
    pub settlement: Mutex<Settlement>,
    pub clock: SharedClock,
    pub settings: Settings,
    pub ackable: watch::Sender<Ackable>,
    pub failed: watch::Sender<Option<String>>,
    pub room: Notify,
    pub commit_micros: Histogram,
    pub bell: Arc<Bell>,
    pub senders: Senders,
}

/// Starts the thread.
pub(super) fn start(shared: Arc<Shared>, heartbeat: Heartbeat) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("committer".into()).spawn(move || Committer::new(shared, heartbeat).run())
}

pub(super) struct Committer {
    shared: Arc<Shared>,
    heartbeat: Heartbeat,
    /// When the latest commit, or header in place of one, began.
    last_commit: Option<Instant>,
    pace: Pace,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, heartbeat: Heartbeat) -> Self {
        Self { shared, heartbeat, last_commit: None, pace: Pace::default() }
    }

    fn run(mut self) {
        loop {
            let stopping = self.wait();
            if let Err(reason) = self.turn() {
                let reason = self.shared.log.poison(&reason);
                tracing::error!(%reason, "the ring is poisoned: nothing more is acknowledged");
                self.shared.failed.send_replace(Some(reason));
                return;
            }
            if stopping && !self.has_work() {
                return;
            }
        }
    }

    fn has_work(&self) -> bool {
        self.shared.log.unsealed() || self.shared.log.owes_refusals()
    }

    /// Waits for work and then for the spacing between commits; returns whether to finish.
    fn wait(&mut self) -> bool {
        let log = &self.shared.log;
        if !self.has_work() {
            let free = log.free_bytes();
            let short = log.starved() || log.index().is_low(free);
            let period = if short { SHORT_OF_SPACE_PERIOD } else { IDLE_PERIOD };
            self.heartbeat.waiting("something to commit", Some(period));
            if self.shared.bell.wait(period) {
                return true;
            }
        }
        loop {
            let now = Instant::now();
            if self.shared.bell.is_stopping() {
                return true;
            }
            let due = self.due(now);
            if let Due::At(then) | Due::By(then) = due {
                self.heartbeat.waiting("the spacing between commits", Some(then - now));
            }
            match due {
                Due::Now => return false,
                Due::At(then) => self.shared.bell.pause(then - now),
                Due::By(then) => self.shared.bell.pause_until_hurried(then - now),
            }
        }
    }

    /// When what waits is to be committed.
    fn due(&self, now: Instant) -> Due {
        let settings = &self.shared.settings;
        let spacing = match (settings.durability, settings.commit_spacing) {
            (Durability::Commit, CommitSpacing::Auto) => return self.pace.due(&self.look(), now),
            (Durability::Commit, CommitSpacing::Fixed(spacing)) => spacing,
            (Durability::Interval | Durability::Memory, _) => settings.interval,
        };
        match self.last_commit.map(|last| last + spacing) {
            Some(due) if due > now => Due::At(due),
            _ => Due::Now,
        }
    }

    fn look(&self) -> Look {
        let Shared { log, senders, .. } = &*self.shared;
        Look { has_page: log.has_page(), broker_waits: senders.does_broker_wait(), writing: senders.writing() }
    }

    /// Takes note of a commit, or of a header in place of one, that begins.
    fn begins(&mut self) {
        let now = Instant::now();
        self.last_commit = Some(now);
        self.pace.committed(now, self.shared.senders.came(self.shared.log.taken()));
    }

    /// One round: a commit, room where it is short, counts that are due.
    pub(super) fn turn(&mut self) -> Result<(), String> {
        if let Some(reason) = self.shared.log.poisoned() {
            return Err(reason);
        }
        self.heartbeat.waiting("the disk (sync of a commit)", Some(SYNC_DEADLINE));
        let committed = self.commit().map_err(|error| format!("the sync of a commit failed: {error}"))?;
        self.make_room()?;
        // A commit has counted what was refused before it; what was refused since waits for the next turn, as an append would.
        if !committed {
            self.note_refused().map_err(|error| format!("the sync of the header failed: {error}"))?;
            // What was synced while nothing was taken in is told once that is over.
            self.tell();
        }
        Ok(())
    }

    /// Tells everybody how far acknowledgements may go. While nothing is taken in, what is synced would not be found again.
    fn tell(&self) {
        let Shared { log, ackable, .. } = &*self.shared;
        let now = log.ackable();
        if log.is_halted() || *ackable.borrow() == now {
            return;
        }
        // Looking takes some microseconds; a sync takes a thousand times as long. Whoever watches the place tells of it, and lets it go on.
        match log.media().look_at_place() {
            Ok(()) => {
                ackable.send_replace(now);
            }
            Err(displaced) => log.halt(Some(&displaced.to_string())),
        }
    }

    /// Commits what there is; false when there is nothing.
    fn commit(&mut self) -> std::io::Result<bool> {
        let Shared { log, settings, commit_micros, .. } = &*self.shared;
        let started = Instant::now();
        let came = self.shared.senders.came(log.taken());
        let sync = settings.durability != Durability::Memory;
        if log.commit(sync)?.is_none() {
            return Ok(false);
        }
        self.last_commit = Some(started);
        self.pace.committed(started, came);
        if sync {
            commit_micros.record(started.elapsed().as_micros() as u64);
        }
        self.tell();
        Ok(true)
    }

    /// Moves the tail when little is free, by the `on_full` policy further than what is safe.
    fn make_room(&self) -> Result<(), String> {
        let Shared { log, settlement, settings, clock, room, .. } = &*self.shared;
        let starved = log.starved();
        let free = log.free_bytes();
        if !starved && !log.index().is_low(free) {
            return Ok(());
        }
        let now = clock.since_boot();
        let head = log.appended().pos;
        let mut settlement = lock(settlement);
        let safe = settlement.publish(now);
        // What is held back, and is not released durably, is nowhere else.
        let safe = Mark { pos: log.not_held(safe.pos), ..safe };
        let mut target = log.index().target(head, safe.pos).filter(|to| to.pos > log.tail().pos);
        // Rows that are stored lose the protection of the resend window before a row that is not stored is lost.
        let upto = match settings.on_full {
            OnFull::Block => safe.pos,
            OnFull::DropNewest => settlement.settled().pos,
            OnFull::DropOldest => log.durable().pos,
        };
        let upto = log.not_held(upto);
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
        self.tell();
        room.notify_waiters();
        Ok(())
    }

    fn frees_enough(&self, target: Option<Mark>, head: Pos) -> bool {
        let capacity = self.shared.log.geometry().capacity;
        let tail = target.unwrap_or_else(|| self.shared.log.tail());
        !self.shared.log.index().is_low((tail.pos.0 + capacity).saturating_sub(head.0))
    }

    /// Brings the count of messages refused at the door to disk where no commit carries it: in a header, which takes the place of a commit.
    fn note_refused(&mut self) -> std::io::Result<()> {
        if self.shared.log.owes_refusals() {
            self.heartbeat.waiting("the disk (sync of the header)", Some(SYNC_DEADLINE));
            self.begins();
            self.shared.log.write_header(|_| {})?;
            self.tell();
        }
        Ok(())
    }
}
