//! What a lane does with QuestDB's answer, and with trouble.

use std::{sync::Arc, time::Duration};

use super::{
    ages::Ages,
    batching::{Sent, Span, Unsent},
    course::Course,
    encode::EncodeError,
    lane::Lane,
    model::Flushed,
    outside::{Done, NotStored},
    policy::Outcome,
    seeded::{Bug, is_on},
    shared::Health,
    trouble::{Answer, Kind},
    unconfirmed::Tables,
};
use crate::{
    marks::Mark,
    questdb::{SqlError, WriteError},
    ring::ReadError,
};

/// A stored flush slower than this many times the target latency is shown as slow.
const SLOW_TIMES: u32 = 5;

/// Why a lane cannot go on now.
#[derive(Debug)]
pub(super) enum Trouble {
    Write(WriteError),
    Encode(EncodeError),
    Read(ReadError),
    /// A question failed while nothing was under way.
    Idle(EncodeError),
    Stopped,
}

impl From<EncodeError> for Trouble {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl Lane {
    /// The client waits its time-out and some for the bytes (facts of questdb-rs: 100 KiB/s).
    pub(super) fn patience(&self, bytes: usize) -> Duration {
        self.request_timeout * 2 + Duration::from_secs(bytes as u64 / (100 << 10))
    }

    /// Waits for the answer to a request, however long that takes, unless a stop takes longer than it may.
    pub(super) fn await_answer(&mut self) -> Result<Done, Trouble> {
        loop {
            let slice = self.shared.stopping().map_or(Duration::from_secs(1), |left| left.min(Duration::from_secs(1)));
            match self.link.wait(slice) {
                Some(done) => return Ok(done),
                None if self.shared.stopping().is_some_and(|left| left.is_zero()) => return Err(Trouble::Stopped),
                None => {}
            }
        }
    }

    /// Waits for the answer to the request in flight and acts on it.
    pub(super) fn receive(&mut self) -> Result<(), Trouble> {
        if self.flight.is_empty() {
            return Ok(());
        }
        let Done { buffer, result, took } = self.await_answer()?;
        let Some(Sent { span, ages, tables, waited, .. }) = self.flight.pop_front() else { return Ok(()) };
        let flushed = Flushed { rows: span.rows, bytes: buffer.bytes(), took };
        self.sent_rows = span.rows;
        if !self.flight.is_empty() {
            self.heartbeat.waiting("QuestDB's answer", Some(self.patience(self.largest_bytes)));
        }
        self.give_back(buffer);
        if result.is_err() {
            self.recall()?;
        }
        match result {
            Ok(()) => {
                let taken = self.encoder.condemned.on_trial(span.start.pos, span.end.pos);
                self.encoder.condemned.acquit(&taken);
                for (hash, fault) in self.encoder.refused.on_trial(span.start.pos, span.end.pos) {
                    self.encoder.refused.acquit(hash, fault);
                }
                self.unconfirmed.stored(&tables);
                let age = ages.oldest(self.encoder.clock.now());
                self.stored(flushed, waited.zip(age).map(|(waited, age)| age.saturating_sub(waited)));
                self.settle(span, ages)
            }
            Err(NotStored::Unsent) => {
                self.take_back(span);
                Ok(())
            }
            Err(NotStored::Failed(WriteError::BadRow { message, .. } | WriteError::Refused { message })) => {
                // A refusal is an answer, too.
                self.late.answered(self.now(), self.grace);
                if !self.is_refused_as_it_is(span, &tables)? {
                    return Ok(());
                }
                // Of its rows some are going to be stored after this look.
                self.unconfirmed.leaves(self.now(), span.start, &tables);
                self.unconfirmed.blur(&tables);
                self.isolate(span, ages, &message)
            }
            Err(NotStored::Failed(error)) => {
                self.unconfirmed.blur(&tables);
                self.note_unanswered(span, &error);
                self.encoder.ring.lane_failed(self.number);
                self.reader.seek(span.start);
                Err(Trouble::Write(error))
            }
        }
    }

    /// Whether a batch was refused by tables that are what they were: false where one has changed, and the rows are encoded for what it is
    /// now.
    fn is_refused_as_it_is(&mut self, span: Span, tables: &Tables) -> Result<bool, Trouble> {
        let is_same = match self.are_tables_same_by_now(span.start, tables) {
            Ok(true) => return Ok(true),
            Ok(false) => Ok(false),
            Err(trouble) => {
                self.reader.seek(span.start);
                Err(trouble)
            }
        };
        self.encoder.ring.lane_takes_back(self.number, span.start);
        self.shared.report(self.number, |report| report.status.rows_sent -= span.rows as u64);
        is_same
    }

    /// Takes back what was to follow a request that is not stored.
    fn recall(&mut self) -> Result<(), Trouble> {
        if !self.flight.is_empty() {
            let Done { buffer, .. } = self.await_answer()?;
            self.give_back(buffer);
        }
        if let Some(Sent { span, .. }) = self.flight.pop_front() {
            self.take_back(span);
        }
        Ok(())
    }

    /// Goes back to a batch that has not left after all.
    fn take_back(&mut self, span: Span) {
        self.encoder.ring.lane_takes_back(self.number, span.start);
        self.reader.seek(span.start);
        self.barrier = None;
        self.shared.report(self.number, |report| report.status.rows_sent -= span.rows as u64);
    }

    /// Takes note that a request may be executed later although it has failed: nobody said that it was refused.
    pub(super) fn note_unanswered(&mut self, span: Span, error: &WriteError) {
        let may_come = matches!(
            error,
            WriteError::Timeout(_) | WriteError::Unreachable(_) | WriteError::Overloaded(_) | WriteError::Strange(_)
        );
        if may_come && !is_on(Bug::NoLateRewind) {
            self.late.miss(span.start, span.end, self.course.rest(span.start.pos));
            if is_on(Bug::GraceFromFailure) {
                self.late.answered(self.now(), self.grace);
            }
            self.tell_hold();
        }
    }

    /// Waits for a request in flight before something else goes wrong; its own trouble comes first.
    pub(super) fn drain(&mut self) {
        if let Err(trouble) = self.receive() {
            self.fail(trouble);
        }
    }

    /// Takes note of a stored flush, and of how long after its wait for company the oldest row was
    /// stored.
    pub(super) fn stored(&mut self, flush: Flushed, beyond: Option<Duration>) {
        let Flushed { rows, took, .. } = flush;
        let grown = self.learn(flush);
        self.policy.observe(if grown { Kind::GrowingLatency.outcome(rows) } else { Outcome::Stored { rows, beyond } });
        self.breaker.succeeded();
        self.note_recovery();
        let now = self.now();
        self.late.answered(now, self.grace);
        let slow = grown || took > self.batch.target_latency * SLOW_TIMES;
        self.shared.report(self.number, |report| {
            report.health = if slow { Health::Slow } else { Health::Ok };
            report.error = None;
            report.trouble = grown.then_some(Kind::GrowingLatency);
            report.failures[Kind::GrowingLatency as usize] += u64::from(grown);
            report.status.flushes += 1;
            report.status.last_rows = rows;
            report.status.last_ms = took.as_secs_f64() * 1e3;
        });
        self.report();
    }

    /// Tells the ring that the rows of a batch, and everything before it, have their fate. On trouble the batch is sent again.
    pub(super) fn settle(&mut self, span: Span, mut ages: Ages) -> Result<(), Trouble> {
        let through = span.end >= self.high;
        // What is stored already does not go twice to a table without deduplication, even if it cannot be settled now.
        self.high = self.high.max(span.end);
        ages.record(self.encoder.clock.now(), &self.shared.ages);
        self.shared.report(self.number, |report| report.sent_upto = self.high.pos);
        if let Err(error) = self.encoder.count_set_aside() {
            self.reader.seek(span.start);
            return Err(error.into());
        }
        self.encoder.ring.lane_done(self.number, span.end);
        self.reborn.passed(span.end.pos);
        if through {
            self.again = None;
        }
        self.tell_hold();
        self.note_replayed(span.end);
        if is_on(Bug::ResendFirstOnly) && span.end < self.high {
            self.reader.seek(self.high);
        }
        Ok(())
    }

    /// Whether a batch may be sent: false when the server has restarted, and the cursor is at what goes first now.
    pub(super) fn may_launch(&mut self, span: Span) -> Result<bool, Trouble> {
        // What goes again is told from where the batch begins.
        let may = self.is_same_server(span.start)? && self.may_go_to_tables(span)?;
        if may && self.reader.mark() != span.end {
            self.reader.seek(span.end);
        }
        Ok(may)
    }

    /// Whether the server is the one it was, with `cursor` as the place that everything before has been sent of: false when it has
    /// restarted, and the cursor is at what goes first now. Asked before a table is changed, too: a crash takes that as it takes rows.
    pub(super) fn is_same_server(&mut self, cursor: Mark) -> Result<bool, Trouble> {
        let shared = Arc::clone(&self.shared);
        // Other lanes send nothing either until the server has answered.
        let mut vigil = shared.vigil();
        if self.shared.rewinds_asked() > self.rewinds_seen {
            // Another lane has found the server restarted.
            drop(vigil);
            self.reader.seek(cursor);
            self.follow_rewind();
            return Ok(false);
        }
        let is_unbroken = vigil.is_unbroken() || is_on(Bug::NoVigil);
        if is_unbroken && !shared.may_ask_started(self.ask_started_every) {
            return Ok(true);
        }
        if !is_unbroken {
            // First this and then the question: what is answered holds as long as the vigil.
            vigil.begin();
        }
        self.reader.seek(cursor);
        match self.ask_started() {
            Ok(true) => {
                if is_unbroken {
                    // It has missed this restart (a power cut closes no connection), and would vouch for the next one as well.
                    vigil.end();
                }
                return Ok(false);
            }
            Ok(false) => {}
            Err(error) if is_unbroken => tracing::debug!(%error, "the next request meets what ails it"),
            Err(error) => {
                // A watch over a server that nothing is known of would vouch for nothing.
                if !is_on(Bug::VigilWithoutAnswer) {
                    vigil.end();
                }
                return Err(EncodeError::from(error).into());
            }
        }
        Ok(true)
    }

    /// Asks the server when it was started; true when it has restarted, and this lane has followed.
    ///
    /// QuestDB acknowledges before it syncs, so a crash that no request has met may have cost it acknowledged rows. Only an
    /// answer lets what is settled become safe; when it is another than before, every lane rewinds to safe.
    pub(super) fn ask_started(&mut self) -> Result<bool, SqlError> {
        self.heartbeat.waiting("when QuestDB was started", Some(self.request_timeout));
        let ring = &self.encoder.ring;
        // From before the question: what happens after it is not vouched for.
        let asked_at = self.now();
        match self.encoder.sql.started()? {
            Some(started) if !self.shared.is_first_sight(&started) => {
                let marks = ring.marks();
                tracing::warn!(lane = self.number, %started, "QuestDB was restarted; what it may not have synced is sent again");
                let from = if is_on(Bug::RewindToSettled) { marks.settled } else { marks.safe };
                self.shared.ask_rewind(from.max(marks.tail), || ring.begin_window_anew());
                // Lanes that have nothing to do rewind now, too.
                ring.wake_all();
                self.follow_rewind();
                Ok(true)
            }
            Some(_) => {
                ring.confirm_kept(asked_at);
                self.shared.confirm_kept(asked_at);
                self.shared.note_untold_start(false);
                Ok(false)
            }
            // Its rows go on, and stay in the ring: nobody says that it has kept what it took.
            None => {
                self.shared.note_untold_start(true);
                Ok(false)
            }
        }
    }

    /// Whether rows that are stored, or replayed, may still be lost with the database.
    pub(super) fn window_is_open(&self) -> bool {
        let marks = self.encoder.ring.marks();
        marks.safe < marks.settled || self.replay.is_some()
    }

    /// Forgets what is known of tables and opens a new connection, when that was asked for. To be called with nothing in flight.
    pub(super) fn look_afresh(&mut self) {
        let asked = self.shared.fresh_looks_asked();
        if std::mem::replace(&mut self.fresh_looks_seen, asked) != asked {
            self.encoder.schema.forget();
            self.encoder.condemned.try_all();
            self.encoder.refused.try_all();
            self.link.disconnect();
            self.unusual = true;
        }
    }

    /// Whether [`Self::refresh`], [`Self::look_afresh`], [`Self::follow_rewind`] or [`Self::follow_replay`] has something to do.
    pub(super) fn rewind_is_due(&self) -> bool {
        self.late.is_due(self.now())
            || self.shared.rewinds_asked() > self.rewinds_seen
            || self.shared.fresh_looks_asked() != self.fresh_looks_seen
            || self.replay_is_due()
    }

    /// Rewinds when another lane or this one has found the database restarted; true when that was asked.
    pub(super) fn follow_rewind(&mut self) -> bool {
        let Some(mark) = self.shared.rewind_asked(&mut self.rewinds_seen) else { return false };
        self.encoder.schema.forget_after_restart();
        // What a crash took is not told from what an operator dropped.
        self.reborn.lift(|_| true);
        self.rewind_to(mark.max(self.encoder.ring.marks().tail).max(self.began));
        self.begin_replay_anew();
        // Until now the ring has held what every lane might have to send again.
        self.held = Some(mark);
        self.tell_hold();
        true
    }

    /// Tells the ring where this lane may have to begin again: where a run that is not through yet began, or a request that nobody answered.
    pub(super) fn tell_hold(&mut self) {
        let from = if is_on(Bug::NothingHeld) { None } else { self.again.into_iter().chain(self.late.from()).min() };
        if from != self.held {
            let (number, ring) = (self.number, &self.encoder.ring);
            // Where a rewind is still to be followed, the ring holds what that goes back to.
            self.shared.unless_asked(self.rewinds_seen, || {
                ring.lane_holds(number, from);
                self.held = from;
            });
        }
    }

    /// Sends everything from a place on, unless the cursor is there already.
    pub(super) fn rewind_to(&mut self, mark: Mark) {
        self.go_back(mark, &Course::all(mark.pos));
    }

    /// Sends again from a place on, by that course and by the one that was steered already.
    pub(super) fn go_back(&mut self, mark: Mark, course: &Course) {
        let cursor = self.reader.mark();
        if is_on(Bug::CourseReplaced) {
            self.course = course.clone();
        }
        self.course.take_in(cursor.pos, course);
        if mark < cursor {
            self.reader.seek(mark);
            self.unsent = Unsent::default();
            self.again = Some(self.again.map_or(mark, |again| again.min(mark)));
            self.tell_hold();
            self.shared.report(self.number, |report| report.status.rewinds += 1);
        }
    }

    /// Takes note of trouble: backs off, and has what may be lost sent again.
    pub(super) fn fail(&mut self, trouble: Trouble) {
        self.barrier = None;
        let is_idle = matches!(trouble, Trouble::Idle(_));
        let (kind, text) = match trouble {
            Trouble::Stopped => return,
            Trouble::Read(ReadError::Overtaken { to }) => {
                self.reader.seek(to);
                return;
            }
            // Recovery at the next start tells exactly what is lost.
            Trouble::Read(error) => return self.encoder.ring.poison(&error.to_string()),
            Trouble::Write(error) => (Kind::of_write(&error), error.to_string()),
            Trouble::Encode(error) | Trouble::Idle(error) => (Kind::of_encode(&error), error.to_string()),
        };
        let Answer { health, is_broken, .. } = kind.answer();
        let now = self.encoder.clock.since_boot();
        // Nothing was under way that may have died with it; a restart is found out by what the
        // server says once it answers.
        if is_broken && (!is_idle || kind == Kind::StrangeAnswer) {
            self.rewind = true;
            self.encoder.schema.forget();
            self.link.disconnect();
            if kind == Kind::TimedOut { self.time_limit.timed_out(now) } else { self.time_limit.lost() }
        }
        if !is_idle {
            self.policy.observe(kind.outcome(self.sent_rows));
        }
        let wait = self.breaker.failed(now, self.random.f64());
        if self.journal.failed(kind, now) {
            let (lane, retry_in_ms) = (self.number, wait.as_millis() as u64);
            tracing::warn!(lane, retry_in_ms, kind = kind.word(), "flushing fails: {text}; {}", kind.advice());
        }
        self.shared.report(self.number, |report| {
            (report.health, report.error, report.trouble) = (health, Some(text), Some(kind));
            report.failed_at = now;
            report.failures[kind as usize] += 1;
            report.status.failures += 1;
        });
        self.report();
    }
}
