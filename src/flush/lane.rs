//! One lane: reads its records in order, sends their rows in batches, and tells the ring how far it is.
//!
//! One request is in flight while the next batch is encoded and handed over to follow it. Whatever has to be sent again is sent by rewinding the
//! cursor and running through to the end, so that an old row never overwrites a newer one.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{
    ages::Ages,
    answer::Trouble,
    apply_lag::{Pace, Throttle},
    batching::{Filled, MAX_SPAN_BYTES, Sent, Unsent},
    breaker::{Breaker, Gate, Standing},
    course::Course,
    encode::{Barrier, EncodeError, Encoder},
    flow::Flow,
    late::Late,
    model::Model,
    outside::{Link, Wait},
    policy::{Decision, Follows, Policy, Reason, View},
    reborn::Reborn,
    replay::Replay,
    shared::{Health, Shared},
    time_limit::TimeLimit,
    trouble::{Growth, Journal},
    unconfirmed::{LOOK_EVERY, Tables, Unconfirmed},
};
use crate::{
    lanes::Lanes,
    marks::{Mark, Pos},
    observe::heartbeat::Heartbeat,
    questdb::RowBuffer,
    ring::Reader,
    settings,
};

/// Rows of a probe.
const PROBE_ROWS: usize = 64;
/// How often the server is asked when it was started while nothing waits for that: so that an
/// outage is noticed although nothing comes.
const IDLE_ASK_STARTED_EVERY: Duration = Duration::from_secs(15);
/// Longest wait without looking round.
const IDLE_WAIT: Duration = Duration::from_mins(1);
/// The same while the measured flow is still above [`QUIET_ROWS_PER_S`].
const SETTLING_WAIT: Duration = Duration::from_secs(3);
const QUIET_ROWS_PER_S: f64 = 1.0;
/// Time for a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// What QuestDB says about tables is asked again after this.
pub(super) const SCHEMA_AGE: Duration = Duration::from_mins(1);

/// A wait for company.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// How long it took, where it was as long as was decided.
    pub waited: Option<Duration>,
    /// Whether a look became due meanwhile.
    pub looks: bool,
}

/// A lane and all it needs. `run` is its thread.
pub(super) struct Lane {
    pub number: usize,
    pub lanes: Lanes,
    pub shared: Arc<Shared>,
    pub heartbeat: Heartbeat,
    pub reader: Reader,
    pub encoder: Encoder,
    pub policy: Box<dyn Policy>,
    pub batch: settings::Batch,
    /// Longest time for a request, its bytes apart; the server is given less while it is quick.
    pub request_timeout: Duration,
    pub random: fastrand::Rng,
    /// The connection.
    pub link: Box<dyn Link>,
    /// How time passes.
    pub wait: Box<dyn Wait>,
    pub spare: Option<RowBuffer>,
    /// What is handed over and not answered yet: the request in flight, and the one that follows it.
    pub flight: VecDeque<Sent>,
    pub barrier: Option<Barrier>,
    pub breaker: Breaker,
    /// What the next request is given at most.
    pub time_limit: TimeLimit,
    /// What the connection gives a request.
    pub given_time: Duration,
    /// Rows of a request, as decided last.
    pub decided_rows: usize,
    pub growth: Growth,
    pub journal: Journal,
    /// How fast QuestDB's apply lag lets the lane write.
    pub pace: Pace,
    pub throttle: Throttle,
    /// State of the schema whose tables the watch knows.
    pub tables_noted: u64,
    pub model: Model,
    pub flow: Flow,
    /// Where its first record lay at the start, and how far it has come, rewinds aside.
    pub began: Mark,
    pub high: Mark,
    /// Whether to rewind to safe once the database is back.
    pub rewind: bool,
    /// Where the run to [`Self::high`] that is not through yet began.
    pub again: Option<Mark>,
    /// Where this lane may have to begin again, as the ring was told last.
    pub held: Option<Mark>,
    /// What was passed lately without sending anything.
    pub unsent: Unsent,
    /// What to send once more for requests that were not answered.
    pub late: Late,
    /// How long after the database answers again.
    pub grace: Duration,
    /// What is sent from the cursor on.
    pub course: Course,
    /// The last replay, until what it sent cannot be lost any more.
    pub replay: Option<Replay>,
    /// How long QuestDB may lose what it acknowledged.
    pub resend_window: Duration,
    /// When everything durable had been encoded last, since boot; none before: what waits at a
    /// start has waited long enough.
    pub filled_at: Option<Duration>,
    pub schema_since: Duration,
    /// What was safe at `schema_since`.
    pub safe_then: Mark,
    pub largest_bytes: usize,
    /// Bytes of a row in recent requests; 0 before the first.
    pub row_bytes: usize,
    /// Where this run's records begin.
    pub run_began: Pos,
    /// Ages of the batch being filled.
    pub ages: Ages,
    /// What the journal was told last of why batches are what they are, and when.
    pub told_why: Option<(Duration, Reason)>,
    /// Rows of the last request.
    pub sent_rows: usize,
    /// How often the server is asked when it was started.
    pub ask_started_every: Duration,
    /// Rewinds asked of all lanes that this one has followed.
    pub rewinds_seen: u64,
    /// Fresh looks asked of all lanes that this one has taken.
    pub fresh_looks_seen: u64,
    /// What was sent since its tables were last seen to be the ones they were.
    pub unconfirmed: Unconfirmed,
    /// Tables with rows in the batch that was filled last.
    pub filling: Tables,
    /// Tables that turned out to be others than they were.
    pub reborn: Reborn,
    /// Whether this lane has the memory that one lane at a time may borrow.
    pub borrows: bool,
    /// Up to where messages that did not become rows are set aside ahead of the cursor.
    pub letters_upto: Mark,
    /// Whether the next request is no measure of what requests cost.
    pub unusual: bool,
    /// The wait for company of the batch that comes next.
    pub company: Company,
}

impl Lane {
    /// Runs until a stop.
    pub fn run(mut self) {
        while !self.is_over() {
            self.turn();
        }
        self.heartbeat.waiting("stopped", None);
    }

    /// Does what the breaker allows, once.
    pub(super) fn turn(&mut self) {
        let result = match self.breaker.gate(self.now()) {
            Gate::Wait(time) => {
                self.heartbeat.waiting("backing off", Some(time));
                self.report();
                let time = self.set_letters_aside(time);
                self.wait.rest(&self.shared, time);
                Ok(())
            }
            Gate::Probe => self.probe(),
            Gate::Go => self.cycle(None),
        };
        if let Err(trouble) = result {
            self.fail(trouble);
        }
    }

    /// Time since boot.
    pub(super) fn now(&self) -> Duration {
        self.encoder.clock.since_boot()
    }

    pub(super) fn is_over(&self) -> bool {
        let Some(left) = self.shared.stopping() else { return false };
        let nothing_left = self.flight.is_empty() && self.reader.mark().pos >= self.durable();
        left.is_zero() || nothing_left || self.breaker.standing() == Standing::Open
    }

    pub(super) fn durable(&self) -> Pos {
        self.encoder.ring.marks().durable.pos
    }

    pub(super) fn hurried(&self) -> bool {
        self.shared.stopping().is_some() || self.reader.mark().pos < self.shared.flush_upto()
    }

    /// Finds out whether the database is back, with as little as possible.
    pub(super) fn probe(&mut self) -> Result<(), Trouble> {
        self.heartbeat.waiting("QuestDB's answer to a probe", Some(PING_TIMEOUT + self.request_timeout));
        self.encoder.sql.ping(PING_TIMEOUT).map_err(EncodeError::from)?;
        self.link.connect().map_err(Trouble::Write)?;
        self.unusual = true;
        if std::mem::take(&mut self.rewind) {
            let marks = self.encoder.ring.marks();
            self.rewind_to(marks.safe.max(marks.tail).max(self.began));
        }
        if self.reader.mark().pos < self.durable() {
            self.cycle(Some(PROBE_ROWS))?;
            while !self.flight.is_empty() {
                self.receive()?;
            }
        }
        // The change of a table that comes next is part of the probe: it fails with a growing backoff, not afresh each time.
        if self.barrier.is_some() {
            return Ok(());
        }
        self.breaker.succeeded();
        self.shared.report(self.number, |report| {
            if report.health > Health::Slow {
                report.health = Health::Ok;
            }
            (report.error, report.trouble) = (None, None);
        });
        self.note_recovery();
        self.report();
        Ok(())
    }

    /// One round: wait for enough rows, encode them, and hand them over to follow the request in flight; where they can't, take its
    /// answer and send.
    pub(super) fn cycle(&mut self, rows: Option<usize>) -> Result<(), Trouble> {
        // While a backlog lasts something is always in flight; what is due comes before the next request.
        if self.flight.len() > 1 || (!self.flight.is_empty() && self.rewind_is_due()) {
            return self.receive();
        }
        self.refresh();
        if self.flight.is_empty() {
            self.follow_replay();
            if !self.follow_rewind() && self.shared.may_ask_started(self.ask_started_every()) {
                match self.ask_started() {
                    // The watch has missed this restart, which ends it.
                    Ok(true) => self.shared.vigil().end(),
                    Ok(false) => {}
                    // Where nothing comes, no request meets what ails it.
                    Err(error) if self.reader.mark().pos >= self.durable() => return Err(Trouble::Idle(error.into())),
                    Err(error) => tracing::debug!(lane = self.number, %error, "the next request meets what ails it"),
                }
            }
            self.look_while_idle();
        }
        let mut decision = self.decide();
        self.company.waited = None;
        if let Some(rows) = rows {
            decision.rows = decision.rows.min(rows);
            decision.linger = Duration::ZERO;
        }
        let is_probe = rows.is_some();
        if let Some(barrier) = self.barrier.take() {
            if !self.flight.is_empty() {
                self.barrier = Some(barrier);
                return self.receive();
            }
            if !self.is_same_server(self.reader.mark())? {
                return Ok(());
            }
            self.heartbeat.waiting("a change of a table", Some(self.request_timeout * 10));
            self.encoder.prepare(&barrier)?;
            self.unusual = true;
        } else if self.flight.is_empty() {
            if !self.await_rows(&mut decision) {
                return Ok(());
            }
            if is_probe {
                self.company.waited = None;
            }
            self.look_afresh();
            if !self.look_at_refusing()? {
                return Ok(());
            }
        } else if !self.may_follow(&decision) {
            return self.receive();
        }
        let mut buffer = self.take_buffer();
        let before = self.reader.mark();
        let (span, filled) = match self.fill(&decision, &mut buffer) {
            Ok(filled) => filled,
            Err(trouble) => {
                self.give_back(buffer);
                self.reader.seek(before);
                self.drain();
                return Err(trouble);
            }
        };
        match filled {
            Filled::NothingMore => self.filled_at = Some(self.now()),
            Filled::Full => self.filled_at = self.filled_at.map(|before| before.max(self.rest_came_at())),
            Filled::Barrier => {}
        }
        let Some(buffer) = self.follow(span, buffer) else { return Ok(()) };
        if let Err(trouble) = self.receive() {
            // What was encoded meanwhile goes with its buffer, unless the cursor is before it already.
            if self.reader.mark() == span.end {
                self.reader.seek(span.start);
            }
            self.give_back(buffer);
            return Err(trouble);
        }
        // The answer may have led to a rewind or to a search for bad rows; the cursor decides what comes next.
        if self.reader.mark() != span.end {
            self.barrier = None;
            self.give_back(buffer);
            return Ok(());
        }
        self.launch(span, buffer)
    }

    /// Follows changed settings, rewinds that are due, and forgets tables' descriptions that are old.
    pub(super) fn refresh(&mut self) {
        let batch = self.shared.batch();
        if batch != self.batch {
            self.policy = super::policy::from_settings(&batch);
            self.batch = batch;
        }
        let now = self.now();
        if self.unsent.quiet_since.is_some_and(|since| self.shared.is_kept_since(since)) {
            // Where nothing is sent, the server's word that it runs stands for an answer.
            self.late.answered(now, self.grace);
        }
        if self.flight.is_empty()
            && let Some(missed) = self.late.take_due(now)
        {
            tracing::info!(lane = self.number, "sending again what a request without an answer may have overwritten");
            self.go_back(missed.from, &missed.course);
        }
        self.forget_replay();
        self.tell_hold();
        if now.saturating_sub(self.schema_since) > SCHEMA_AGE {
            self.schema_since = now;
            self.encoder.schema.forget();
            // A rewind that was asked for a while ago goes back to what was safe then.
            let keep = self.shared.lowest_kept(self.number, self.kept()).min(self.safe_then.seq);
            self.encoder.letters.exceptions.forget_before(keep);
            self.reborn.forget_before(self.safe_then.pos);
            self.safe_then = self.encoder.ring.marks().safe;
        }
    }

    pub(super) fn decide(&mut self) -> Decision {
        let durable = self.durable();
        self.flow.arrived(self.now(), durable);
        let waiting = durable.0.saturating_sub(self.reader.mark().pos.0);
        self.borrow_memory(waiting);
        let mut decision = self.policy.decide(&View {
            backlog_rows: self.flow.own_rows(waiting),
            arrival_rows_per_s: self.flow.own_rows_per_s(),
            fitting_rows: self.fitting_rows(),
            rows_before: self.flight.is_empty().then_some(self.sent_rows),
            model: &self.model,
            settings: &self.batch,
        });
        self.tell_why(&decision);
        self.keep_pace(&mut decision);
        let pace = self.pace.sentence();
        self.shared.report(self.number, |report| {
            let status = &mut report.status;
            status.pace = pace;
            status.batch_rows = decision.rows;
            status.linger_ms = decision.linger.as_secs_f64() * 1e3;
            status.reason = decision.reason.to_string();
        });
        decision
    }

    /// Whether what waits may follow a request in flight.
    fn may_follow(&self, decision: &Decision) -> bool {
        let waiting = self.durable().0.saturating_sub(self.reader.mark().pos.0);
        match decision.follows {
            Follows::Nothing => false,
            Follows::FullBatch => waiting > self.wanted_bytes(decision),
            Follows::Whatever => waiting > 0,
        }
    }

    /// Bytes of the ring beyond which a batch is taken to be full: with its last row, however small that is.
    pub(super) fn wanted_bytes(&self, decision: &Decision) -> u64 {
        self.flow.bytes_for(decision.rows.saturating_sub(1).min(usize::MAX >> 16)).min(MAX_SPAN_BYTES)
    }

    /// Waits for the first row, then for company. False when there is nothing to do after all.
    pub(super) fn await_rows(&mut self, decision: &mut Decision) -> bool {
        let ring = self.encoder.ring.clone();
        let from = self.reader.mark().pos;
        let mut first_at = self.filled_at;
        if self.durable() <= from {
            self.shrink();
            self.shared.report(self.number, |report| {
                // Of the last request; nothing is slow any more.
                if report.health == Health::Slow {
                    report.health = Health::Ok;
                }
            });
            // Soon after a flow ends, one look more lets the decision and its reason follow.
            let idle = if self.flow.rows_per_s() > QUIET_ROWS_PER_S { SETTLING_WAIT } else { IDLE_WAIT };
            let wait = self.late.wait(self.now()).unwrap_or(idle);
            let wait = wait.min(self.ask_started_every());
            let wait = if self.unconfirmed.from().is_some() { wait.min(LOOK_EVERY) } else { wait };
            let wait = wait.clamp(Duration::from_millis(1), idle);
            self.heartbeat.waiting("new rows", Some(wait));
            if !self.wait.until_durable(&ring, from, wait) {
                return false;
            }
            first_at = Some(self.now());
            let rows = decision.rows;
            *decision = self.decide();
            decision.rows = decision.rows.min(rows);
        }
        let until = first_at.map_or(Duration::ZERO, |first_at| first_at + decision.linger);
        let enough = Pos(from.0 + self.wanted_bytes(decision));
        self.heartbeat.waiting("more rows to send together", Some(decision.linger));
        while !self.hurried() {
            let now = self.now();
            let left = until.saturating_sub(now);
            if self.durable() > enough {
                break;
            }
            if left.is_zero() {
                self.company.waited = first_at.map(|first_at| now.saturating_sub(first_at));
                break;
            }
            let look = self.look_due_in(now);
            if look.is_zero() {
                // Back to the start of the round, which looks; the rows go on waiting from when
                // they came.
                (self.filled_at, self.company.looks) = (first_at, true);
                return false;
            }
            self.wait.until_durable(&ring, enough, left.min(look));
        }
        true
    }

    /// When what a full batch left behind began to come, going by how fast it comes.
    fn rest_came_at(&self) -> Duration {
        let waiting = self.durable().0.saturating_sub(self.reader.mark().pos.0);
        self.now().saturating_sub(self.flow.time_for(waiting))
    }

    /// How often to ask when the server was started while nothing is sent.
    fn ask_started_every(&self) -> Duration {
        if self.window_is_open() { self.ask_started_every } else { IDLE_ASK_STARTED_EVERY }
    }

    /// Why nothing is decided about batches, where that is so.
    fn rests_because(&self) -> Option<&'static str> {
        match self.breaker.standing() {
            Standing::Open => Some("nothing is sent until QuestDB answers; one small batch tries it now and then"),
            Standing::HalfOpen => Some("one small batch tries whether QuestDB takes rows again"),
            Standing::Closed | Standing::Untold => None,
        }
    }

    /// Publishes what `status` shows.
    pub(super) fn report(&mut self) {
        let now = self.now();
        let schema = &self.encoder.schema;
        if std::mem::replace(&mut self.tables_noted, schema.generation()) != schema.generation() {
            self.shared.wal.note_tables(self.number, schema.tables());
        }
        self.shared.report(self.number, |report| {
            report.status.lane = self.number;
            report.status.fixed_ms = self.model.fixed_s() * 1e3;
            report.status.per_row_us = self.model.per_row_s() * 1e6;
            report.status.spread = self.model.spread();
            report.status.last_error = self.model.last_error();
            report.status.timeout_ms = self.time_limit.current().as_secs_f64() * 1e3;
            report.status.breaker = self.breaker.standing();
            if let Some(reason) = self.rests_because() {
                reason.clone_into(&mut report.status.reason);
            }
            let condemned = self.encoder.condemned.warnings().chain(self.encoder.refused.warnings());
            report.warnings = schema
                .warnings()
                .map(str::to_owned)
                .chain(condemned)
                .chain(self.encoder.coming.told())
                .chain(self.reborn.told(now))
                .collect();
            report.at_least_once = schema.at_least_once().map(str::to_owned).collect();
            report.sent_upto = self.high.pos;
        });
    }
}
