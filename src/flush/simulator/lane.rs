//! The lane's cycle, as `flush::lane` runs it: wait for rows, linger, encode, send; encode the next while one is in flight.

use std::time::Duration;

use super::{
    Outcome, ROW_BYTES, Scenario,
    database::{Answer, Kind},
    queue::Queue,
};
use crate::{
    flush::{
        breaker::{Breaker, Gate},
        flow::Flow,
        model::{Flushed, Model},
        policy::{self, Decision, Follows, Policy, View},
    },
    marks::Pos,
    ring::pace,
    settings,
};

/// Bytes that are a page's worth, for which a commit is due.
const PAGE_BYTES: u64 = 4_096;
/// Fewer rows a second are committed at once.
const RARE_ROWS_PER_S: f64 = 20.0;
/// Arrivals are drawn for spans of this.
const TICK_US: u64 = 1_000;
/// Encoding a row.
const ENCODE_US: f64 = 0.4;
/// A row's bytes in the ring.
const RING_BYTES: u64 = 128;
const PROBE_ROWS: u64 = 64;

#[derive(Debug, Clone, Copy)]
struct Flight {
    rows: u64,
    sent_us: u64,
    answer: Answer,
    /// How long its first row waited for company, where it waited as long as was decided.
    waited_us: Option<u64>,
}

impl Flight {
    fn done_us(&self) -> u64 {
        self.sent_us + (self.answer.after_s * 1e6) as u64
    }
}

struct Lane<'a> {
    scenario: &'a Scenario,
    batch: &'a settings::Batch,
    policy: Box<dyn Policy>,
    model: Model,
    flow: Flow,
    breaker: Breaker,
    queue: Queue,
    random: fastrand::Rng,
    now_us: u64,
    flight: Option<Flight>,
    /// Rows of the last request.
    sent_rows: usize,
    /// Rows encoded while a request is in flight, and when that is done.
    next: Option<(u64, u64)>,
    /// When the lane last found nothing more; none before, when what waits has waited long enough.
    filled_us: Option<u64>,
    /// Nothing waited when the lane last looked.
    idle: bool,
    decision: Option<Decision>,
    /// How long the batch being sent has waited for company, where it waited as long as was
    /// decided.
    waited_us: Option<u64>,
    /// The next flush pays for a new connection.
    unusual: bool,
    errors: (f64, u64),
    /// Rows stored when what waited at the start was, and when.
    drained_us: Option<(u64, u64)>,
    /// Times of the requests, in seconds.
    flushes: Vec<f64>,
    outcome: Outcome,
}

/// Runs a scenario with a strategy.
pub fn run(scenario: &Scenario, batch: &settings::Batch) -> Outcome {
    let mut arriving = fastrand::Rng::with_seed(scenario.seed);
    let mut lane = Lane::new(scenario, batch);
    let span_us = (scenario.seconds * 1e6) as u64;
    let (mut began_us, mut end_us) = (None, span_us);
    let mut commit_due: Option<u64> = None;
    let (mut committed_us, mut tick_us) = (0, 0);
    let mut syncing: Option<(u64, u64)> = None;
    lane.queue.arrive(0, scenario.arrivals.waiting());
    lane.queue.commit(scenario.arrivals.waiting());
    while lane.now_us < end_us {
        let commit = commit_due.filter(|_| syncing.is_none());
        let due = [Some(tick_us), commit, syncing.map(|(at, _)| at), lane.due_us()];
        lane.now_us = due.into_iter().flatten().min().unwrap_or(end_us).max(lane.now_us);
        let now_us = lane.now_us;
        if let Some((_, upto)) = syncing.take_if(|(at, _)| *at <= now_us) {
            lane.queue.commit(upto);
        }
        if began_us.is_none() && lane.queue.stored() >= scenario.warm_up_rows {
            (began_us, end_us) = (Some(now_us), now_us + span_us);
        }
        if tick_us <= now_us {
            let rows = match began_us {
                Some(began_us) => {
                    let at_s = (now_us - began_us) as f64 * 1e-6;
                    scenario.arrivals.draw(at_s, TICK_US as f64 * 1e-6, &mut arriving)
                }
                None if tick_us == 0 => 1,
                None => scenario.warm_up_rows.saturating_sub(lane.queue.arrived()),
            };
            // They came within the tick that is over, half of it ago on average.
            lane.queue.arrive(now_us.saturating_sub(TICK_US / 2), rows);
            tick_us += TICK_US;
            let upto = syncing.map_or(0, |(_, upto)| upto);
            commit_due = lane.commit_spacing(upto).map(|spacing| now_us.max(committed_us + spacing.as_micros() as u64));
        }
        if syncing.is_none() && commit_due.take_if(|at| *at <= now_us).is_some() {
            committed_us = now_us;
            syncing = Some((now_us + scenario.sync_us(&mut arriving), lane.queue.arrived()));
        }
        lane.turn();
    }
    lane.outcome(end_us)
}

impl<'a> Lane<'a> {
    fn new(scenario: &'a Scenario, batch: &'a settings::Batch) -> Self {
        Self {
            scenario,
            batch,
            policy: policy::from_settings(batch),
            model: Model::default(),
            flow: Flow::default(),
            breaker: Breaker::half_open(),
            queue: Queue::default(),
            random: fastrand::Rng::with_seed(!scenario.seed),
            now_us: 0,
            flight: None,
            sent_rows: 0,
            next: None,
            filled_us: None,
            // A backlog is no company to wait for.
            idle: scenario.arrivals.waiting() == 0,
            decision: None,
            waited_us: None,
            unusual: true,
            errors: (0.0, 0),
            drained_us: None,
            flushes: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    /// How far apart commits are, as `commit_spacing = "auto"` has it; none where nothing waits for
    /// one but what is being synced.
    fn commit_spacing(&self, syncing_upto: u64) -> Option<Duration> {
        let waiting = self.queue.arrived() - self.queue.durable().max(syncing_upto);
        let is_rare = self.flow.rows_per_s() < RARE_ROWS_PER_S;
        let spacing = if is_rare || waiting * RING_BYTES >= PAGE_BYTES { pace::LEAST } else { pace::LONGEST };
        (waiting > 0).then_some(spacing)
    }

    fn now(&self) -> Duration {
        Duration::from_micros(self.now_us)
    }

    /// When something happens to the lane by itself.
    fn due_us(&mut self) -> Option<u64> {
        if let Some(flight) = &self.flight {
            return Some(flight.done_us());
        }
        match self.breaker.gate(self.now()) {
            Gate::Wait(wait) => Some(self.now_us + wait.as_micros() as u64 + 1),
            _ if self.queue.waiting() == 0 => None,
            Gate::Probe => Some(self.now_us),
            Gate::Go => {
                let linger = self.decision.as_ref().map_or(0, |decision| decision.linger.as_micros() as u64);
                Some(self.filled_us.map_or(self.now_us, |filled| filled + linger))
            }
        }
    }

    fn turn(&mut self) {
        if self.flight.is_some_and(|flight| flight.done_us() <= self.now_us)
            && let Some(flight) = self.flight.take()
        {
            self.answered(flight);
        }
        if self.flight.is_some() {
            return;
        }
        match self.breaker.gate(self.now()) {
            Gate::Wait(_) => {}
            Gate::Probe => self.launch(PROBE_ROWS, false),
            Gate::Go => self.go(),
        }
    }

    fn go(&mut self) {
        if let Some((rows, ready_us)) = self.next.take() {
            self.send(rows, ready_us.max(self.now_us));
            self.encode_next();
            return;
        }
        if self.queue.waiting() == 0 {
            self.idle = true;
            return;
        }
        if std::mem::take(&mut self.idle) {
            // The first row of an empty queue waits from when it comes.
            self.filled_us = Some(self.now_us);
        }
        if self.decision.is_none() {
            self.decision = Some(self.decide());
        }
        let Some(Decision { rows, linger, .. }) = self.decision else { return };
        let is_enough = self.queue.waiting() >= rows as u64;
        let waited_us = self.filled_us.map(|filled| self.now_us - filled);
        if is_enough || waited_us.is_none_or(|waited| waited >= linger.as_micros() as u64) {
            self.waited_us = waited_us.filter(|_| !is_enough);
            self.launch(rows as u64, true);
        }
    }

    fn decide(&mut self) -> Decision {
        self.flow.arrived(self.now(), Pos(self.queue.durable() * RING_BYTES));
        let waiting = self.queue.waiting();
        let asked = if self.batch.max_bytes.0 == 0 { u64::MAX } else { self.batch.max_bytes.0 };
        let limit = self.batch.request_limit().0.min(asked) as usize;
        let decision = self.policy.decide(&View {
            backlog_rows: self.flow.own_rows(waiting * RING_BYTES),
            arrival_rows_per_s: self.flow.own_rows_per_s(),
            fitting_rows: limit / ROW_BYTES,
            rows_before: self.flight.is_none().then_some(self.sent_rows),
            model: &self.model,
            settings: self.batch,
        });
        Decision { rows: decision.rows.min(limit / ROW_BYTES), ..decision }
    }

    /// Encodes and sends; then encodes the next batch, if there is one.
    fn launch(&mut self, rows: u64, more: bool) {
        let rows = self.queue.take(rows);
        if rows == 0 {
            return;
        }
        let rest_us = self.flow.time_for(self.queue.waiting() * RING_BYTES).as_micros() as u64;
        let rest_came_us = self.now_us.saturating_sub(rest_us);
        self.filled_us = match self.queue.waiting() {
            0 => Some(self.now_us),
            _ => self.filled_us.map(|before| before.max(rest_came_us)),
        };
        self.flow.read(rows * RING_BYTES, rows as usize, rows as usize);
        self.decision = None;
        self.send(rows, self.now_us + (ENCODE_US * rows as f64) as u64);
        if more {
            self.encode_next();
        }
    }

    fn encode_next(&mut self) {
        let decision = self.decide();
        let may_follow = match decision.follows {
            Follows::Nothing => false,
            Follows::FullBatch => self.queue.waiting() >= decision.rows as u64,
            Follows::Whatever => self.queue.waiting() > 0,
        };
        if may_follow {
            let rows = self.queue.take(decision.rows as u64);
            self.flow.read(rows * RING_BYTES, rows as usize, rows as usize);
            self.next = Some((rows, self.now_us + (ENCODE_US * rows as f64) as u64));
        }
    }

    fn send(&mut self, rows: u64, sent_us: u64) {
        let database = &self.scenario.database;
        let mut answer = database.answer(sent_us as f64 * 1e-6, rows, rows * ROW_BYTES as u64, &mut self.random);
        if self.unusual {
            // Another round trip for the connection.
            answer.after_s += database.round_trip_s();
        }
        self.sent_rows = rows as usize;
        self.flight = Some(Flight { rows, sent_us, answer, waited_us: self.waited_us.take() });
    }

    fn answered(&mut self, flight: Flight) {
        let Flight { rows, answer, waited_us, .. } = flight;
        let age_us = self.queue.oldest_us().map(|arrived| self.now_us.saturating_sub(arrived));
        let beyond = waited_us.zip(age_us).map(|(waited, age)| Duration::from_micros(age.saturating_sub(waited)));
        self.flushes.push(answer.after_s);
        self.outcome.longest_flush_s = self.outcome.longest_flush_s.max(answer.after_s);
        let outcome = match answer.kind {
            Kind::Stored => policy::Outcome::Stored { rows: rows as usize, beyond },
            Kind::TimedOut => policy::Outcome::Strained { rows: rows as usize },
            Kind::Broken => policy::Outcome::Failed,
        };
        self.policy.observe(outcome);
        if answer.kind != Kind::Stored {
            self.outcome.failures += 1;
            self.breaker.failed(self.now(), self.random.f64());
            self.queue.rewind();
            self.next = None;
            self.decision = None;
            self.unusual = true;
            return;
        }
        self.outcome.transactions += 1;
        self.breaker.succeeded();
        self.queue.store(self.now_us, rows);
        let at_first = self.scenario.arrivals.waiting();
        if self.drained_us.is_none() && at_first > 0 && self.queue.stored() >= at_first {
            self.drained_us = Some((self.queue.stored(), self.now_us));
        }
        let took = Duration::from_secs_f64(answer.after_s);
        let flushed = Flushed { rows: rows as usize, bytes: rows as usize * ROW_BYTES, took };
        if std::mem::take(&mut self.unusual) {
            self.model.observe_unusual(flushed);
        } else {
            self.model.observe(flushed);
            self.errors = (self.errors.0 + self.model.last_error().abs().min(1.0), self.errors.1 + 1);
        }
    }

    fn outcome(self, end_us: u64) -> Outcome {
        let (arrived, stored) = (self.queue.arrived(), self.queue.stored());
        let (p50_s, p99_s) = self.queue.ages(end_us);
        let mut flushes = self.flushes;
        flushes.sort_unstable_by(f64::total_cmp);
        let flush_p90_s = flushes.get(flushes.len() * 9 / 10).copied().unwrap_or_default();
        let (rows, within_us) = self.drained_us.unwrap_or((stored, end_us));
        let rows_per_s = rows as f64 / (within_us as f64 * 1e-6);
        let prediction_error = self.errors.0 / self.errors.1.max(1) as f64;
        Outcome { arrived, stored, rows_per_s, p50_s, p99_s, flush_p90_s, prediction_error, ..self.outcome }
    }
}
