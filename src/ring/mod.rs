//! The memory-mapped ring file: one log, one order. docs/ring-format.md describes each byte.
//!
//! [`Ring`] is the handle the rest of the program holds. Behind it: `layout` (bytes, pure), `media` and `mmap` (what it is written on),
//! `log` (append, seal, publish, free), `reader`, `settle` (fates and watermarks), `committer` (the thread), `recover` and `open`.

mod append;
pub mod appetite;
mod bell;
mod committer;
pub mod consumers;
#[cfg(test)]
mod crash;
mod first_records;
pub mod headers;
pub mod held;
pub mod inspect;
pub mod layout;
pub mod ledger;
pub mod log;
pub mod losses;
pub mod media;
mod mmap;
mod open;
pub mod pace;
mod place;
pub mod reader;
pub mod recover;
pub mod resize;
mod seeded;
mod senders;
mod settle;
pub mod state;
mod status;
#[cfg(test)]
pub mod still;
mod stretches;
pub mod tables;
mod tail;
#[cfg(test)]
mod tests;
mod window;

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use tokio::sync::watch;

use self::committer::Shared;
pub use self::{
    append::{AppendError, Appended, Part},
    headers::HeaderSource,
    layout::Kind,
    ledger::Ledger,
    losses::Gap,
    mmap::{FileError, MAX_MAPPED, MmapMedia},
    open::{OpenError, Opened, Progress, RecoveryReport, format},
    reader::{ReadError, Reader, Record},
    senders::{Senders, TakingIn},
    settle::Rescue,
    state::{StateFull, StateKind, States},
    status::RingStatus,
    tables::table_hash,
};
use crate::{
    files::place::Displaced,
    lanes::Lanes,
    marks::{self, Ackable, Mark, Marks, Pos, Seq, State},
    point::Received,
    settings::{Durability, OnFull},
    sync::lock,
    tally::{SourceId, Tally},
};

/// The ring. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Ring {
    shared: Arc<Shared>,
    committer: Arc<Mutex<Option<thread::JoinHandle<()>>>>,
}

/// Tells whether a ring is still held open, without holding it open.
#[derive(Debug)]
pub struct Trace(std::sync::Weak<Shared>);

impl Trace {
    /// Whether nobody has a handle of the ring any more.
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl Ring {
    /// Tells later whether the ring is still held open.
    pub fn trace(&self) -> Trace {
        Trace(Arc::downgrade(&self.shared))
    }

    /// Appends a message's records together.
    pub fn append(&self, parts: &[Part<'_>], received: Received) -> Result<Appended, AppendError> {
        self.append_counting(parts, received, Tally::default())
    }

    /// Appends a message's records together, and adds to the counts of its source what they say they bring ([`Part::has_notes`],
    /// [`Part::counts`]).
    pub fn append_counting(
        &self,
        parts: &[Part<'_>],
        received: Received,
        tally: Tally,
    ) -> Result<Appended, AppendError> {
        self.woken(self.shared.log.append(parts, received, tally))
    }

    /// Counts a message that leaves no record. Says which number of notes [`Ring::ackable`] has to reach before the message may be
    /// acknowledged; 0 where acknowledgements do not wait for the disk.
    pub fn note(&self, tally: Tally) -> Result<u64, AppendError> {
        let number = self.woken(self.shared.log.note(tally))?;
        Ok(match self.shared.settings.durability {
            Durability::Commit => number,
            Durability::Interval | Durability::Memory => 0,
        })
    }

    /// Has the committer look at what was appended, or at the want of room.
    fn woken<T>(&self, done: Result<T, AppendError>) -> Result<T, AppendError> {
        match done {
            Ok(_) if self.shared.log.has_page() => self.shared.bell.hurry(),
            Ok(_) | Err(AppendError::Full) => self.shared.bell.ring(),
            Err(_) => {}
        }
        done
    }

    /// Who may bring more before the next commit, as far as the ways in have told.
    pub fn senders(&self) -> &Senders {
        &self.shared.senders
    }

    /// Sets an entry of the state that outlives the tail, or removes it. It is durable once [`Ring::ackable`] has reached the number of
    /// notes that is returned.
    pub fn set_state(&self, kind: StateKind, key: &[u8], value: Option<&[u8]>) -> Result<u64, StateFull> {
        let number = self.shared.log.set_state(kind, key, value)?;
        self.shared.bell.ring();
        Ok(number)
    }

    /// Looks at the state that outlives the tail, as it is, durable or not.
    pub fn with_states<T>(&self, look: impl FnOnce(&States) -> T) -> T {
        self.shared.log.with_states(look)
    }

    /// Numbers for the configured sources, in their order; the same as in earlier runs.
    pub fn register_sources(&self, names: &[&str]) -> Vec<SourceId> {
        let numbers = self.shared.log.register_sources(names);
        self.shared.bell.ring();
        numbers
    }

    /// The position whose passing by [`Ring::ackable`] allows the acknowledgement of a message.
    pub fn ack_position(&self, appended: &Appended) -> Pos {
        match self.shared.settings.durability {
            Durability::Commit => appended.end,
            Durability::Interval | Durability::Memory => Pos(0),
        }
    }

    /// How far acknowledgements may go: those of messages in the ring by position, those of refused ones by number.
    pub fn ackable(&self) -> watch::Receiver<Ackable> {
        self.shared.ackable.subscribe()
    }

    /// Tells why the ring has failed, once it has.
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.shared.failed.subscribe()
    }

    /// Why the ring has failed, if it has.
    pub fn poisoned(&self) -> Option<String> {
        self.shared.log.poisoned()
    }

    /// Fails the ring: nothing more is acknowledged, and the daemon stops so that recovery can decide.
    pub fn poison(&self, reason: &str) {
        let reason = self.shared.log.poison(reason);
        self.shared.failed.send_replace(Some(reason));
        self.shared.bell.ring();
    }

    /// Has nothing taken in or acknowledged, for a reason, or has it go on. What is in the ring goes on to be read.
    pub fn halt(&self, reason: Option<&str>) {
        self.shared.log.halt(reason);
        if reason.is_none() {
            self.shared.bell.ring();
            self.shared.room.notify_waiters();
        }
    }

    /// Why nothing is taken in or acknowledged for the time being, if that is so.
    pub fn halted(&self) -> Option<String> {
        self.shared.log.halted()
    }

    /// Whether the file is still where the next start looks for it, and can be written.
    pub fn look_at_place(&self) -> Result<(), Displaced> {
        self.shared.log.media().look_at_place()
    }

    /// Puts a copy of a closed ring where the next start looks for it, which must be free; `progress` is told how many bytes are copied.
    pub fn put_back(&self, progress: &mut dyn FnMut(u64)) -> std::io::Result<()> {
        self.shared.log.media().put_back(progress)
    }

    /// What to do when there is no room.
    pub fn on_full(&self) -> OnFull {
        self.shared.settings.on_full
    }

    /// Counts a message that the `drop-newest` policy keeps out, by its table. Says which number of refused messages [`Ring::ackable`] has
    /// to reach before the message may be acknowledged; 0 where acknowledgements do not wait for the disk.
    pub fn count_refused(&self, table: &str, rows: u64) -> u64 {
        self.count_refused_message(std::iter::once((table, rows)))
    }

    /// The same for a message with rows of several tables.
    pub fn count_refused_message<'a>(&self, tables: impl Iterator<Item = (&'a str, u64)> + Clone) -> u64 {
        let number = self.shared.log.count_refused(tables.clone().map(|(_, rows)| rows).sum());
        let mut settlement = lock(&self.shared.settlement);
        tables.for_each(|(table, rows)| settlement.count_refused(table, rows));
        drop(settlement);
        self.shared.bell.ring();
        match self.shared.settings.durability {
            Durability::Commit => number,
            Durability::Interval | Durability::Memory => 0,
        }
    }

    /// Notified whenever room has been made after [`AppendError::Full`].
    pub fn room(&self) -> &tokio::sync::Notify {
        &self.shared.room
    }

    /// The five watermarks.
    pub fn marks(&self) -> Marks {
        let log = &self.shared.log;
        // Read from the oldest to the youngest, so that each is at most the next.
        let tail = log.tail();
        let (outcome, safe) = log.outcome();
        let durable = log.durable();
        Marks { tail, safe: safe.max(tail), settled: outcome.settled, durable, appended: log.appended() }
    }

    /// Bytes of data in a lap.
    pub fn capacity_bytes(&self) -> u64 {
        self.shared.log.geometry().capacity
    }

    /// A reader of durable records.
    pub fn reader(&self, from: Mark) -> Reader {
        Reader::new(Arc::clone(&self.shared.log), from)
    }

    /// Where the first record lies that a start found of a lane's and that may still have to be
    /// sent, or where those it found end.
    pub fn first_of_lane(&self, lanes: Lanes, number: usize) -> Mark {
        self.shared.first_records.of_lane(lanes, number)
    }

    /// Waits until the durable watermark is beyond a position; false after the time-out or [`Ring::wake_all`].
    pub fn wait_durable(&self, beyond: Pos, timeout: Duration) -> bool {
        self.shared.log.wait_durable(beyond, timeout)
    }

    /// Wakes every thread that waits in [`Ring::wait_durable`].
    pub fn wake_all(&self) {
        self.shared.log.wake_all();
    }

    /// Sets the number of lanes; a record belongs to lane `table_hash % n`. To be called before the lanes start.
    pub fn set_lanes(&self, n: usize) {
        lock(&self.shared.settlement).set_lanes(n);
    }

    /// Sets who saves dead letters before the ring gives them up for newer records.
    pub fn set_rescue(&self, rescue: Arc<dyn Rescue>) {
        lock(&self.shared.settlement).set_rescue(rescue);
    }

    /// Takes note that a lane is about to send the records of a stretch; the error is where to go on instead, when some of them
    /// have been given up already. [`Ring::lane_done`], [`Ring::lane_failed`] or [`Ring::lane_takes_back`] follows.
    pub fn lane_sends(&self, lane: usize, start: Mark, end: Mark) -> Result<(), Mark> {
        lock(&self.shared.settlement).lane_sends(lane, start, end)
    }

    /// Takes note that what a lane was about to send from a place on has not left after all.
    pub fn lane_takes_back(&self, lane: usize, from: Mark) {
        lock(&self.shared.settlement).lane_takes_back(lane, from);
    }

    /// Takes note that what a lane had sent was not stored.
    pub fn lane_failed(&self, lane: usize) {
        lock(&self.shared.settlement).lane_failed(lane);
    }

    /// Takes note that a lane has a fate for each of its records before `upto`.
    pub fn lane_done(&self, lane: usize, upto: Mark) {
        let now = self.shared.clock.since_boot();
        let settled = lock(&self.shared.settlement).lane_done(lane, upto, now);
        self.after_settling(settled);
    }

    fn after_settling(&self, settled: Result<Mark, ReadError>) {
        match settled {
            Ok(_) if self.shared.log.starved() => self.shared.bell.ring(),
            Ok(_) => {}
            Err(error) => self.poison(&format!("settling failed: {error}")),
        }
    }

    /// Takes note that the database was seen at that time (since boot) not to have restarted: what had been settled for a resend
    /// window by then is safe.
    pub fn confirm_kept(&self, at: Duration) {
        let now = self.shared.clock.since_boot();
        lock(&self.shared.settlement).confirm_kept(at, now);
        if self.shared.log.starved() {
            self.shared.bell.ring();
        }
    }

    /// Takes note of where a lane may have to begin again, if anywhere: nothing from there on becomes safe, and a start, which goes back to
    /// safe, does not begin behind it.
    pub fn lane_holds(&self, lane: usize, from: Option<Mark>) {
        let now = self.shared.clock.since_boot();
        lock(&self.shared.settlement).lane_holds(lane, from, now);
    }

    /// Takes note that the database has restarted and all from safe on is going to be sent again: its resend window begins
    /// anew when every lane has said so ([`Ring::lane_holds`]).
    pub fn begin_window_anew(&self) {
        let now = self.shared.clock.since_boot();
        lock(&self.shared.settlement).begin_window_anew(now);
    }

    /// Takes note of rows of a record that are in quarantine; must come before its lane passes the record.
    pub fn except(&self, seq: Seq, rows: u32) {
        lock(&self.shared.settlement).except(seq, rows);
    }

    /// Where a record is.
    pub fn state_of(&self, seq: Seq) -> State {
        if seq >= self.shared.log.durable().seq {
            return State::Memory;
        }
        lock(&self.shared.settlement).state_of(seq)
    }

    /// The ledger as of now.
    pub fn ledger(&self) -> Ledger {
        // The outcome first: rows come in before they get their fate.
        let (outcome, _) = self.shared.log.outcome();
        Ledger::of(&self.shared.log.intake(), &outcome)
    }

    /// Where the oldest record is that is held back, or a place before it, and up to which number
    /// they are released; none while nothing is held.
    pub fn held(&self) -> Option<(Mark, Seq)> {
        self.shared.log.with_held(|held| Some((held.from()?, held.released_upto())))
    }

    /// Rows that are held back until their time is known.
    pub fn held_rows(&self) -> u64 {
        self.shared.log.with_held(held::Held::rows)
    }

    /// Whether the oldest held records have to be released with what is known, since others need
    /// the room.
    pub fn is_crowded(&self) -> bool {
        let log = &self.shared.log;
        let (head, capacity) = (log.appended().pos, log.geometry().capacity);
        log.with_held(|held| held.is_crowded(head, capacity))
    }

    /// Takes note that the held records up to `seq`, with so many rows, are released by durable
    /// records; others lie at `next` or behind it.
    pub fn released(&self, seq: Seq, rows: u64, next: Mark) {
        self.shared.log.release(seq, rows, next);
        self.shared.bell.ring();
        self.shared.room.notify_waiters();
    }

    /// The ring's id, random at its creation.
    pub fn id(&self) -> u64 {
        self.shared.log.ring_id()
    }

    /// Commits what is left, writes the header and ends the committer. Only lanes may still run.
    pub fn stop_committing(&self) {
        self.shared.bell.stop();
        let thread = lock(&self.committer).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            self.poison("the committer panicked");
        }
    }

    /// Writes the header of a clean stop.
    pub fn close(&self) -> std::io::Result<()> {
        self.stop_committing();
        if self.poisoned().is_some() {
            return Ok(());
        }
        let now = self.shared.clock.since_boot();
        lock(&self.shared.settlement).publish(now);
        self.shared.log.write_header(|header| header.clean = true).map(drop)
    }
}
