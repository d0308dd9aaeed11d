//! One lane: reads its records in order, sends their rows in batches, and tells the ring how far it is.
//!
//! One request is in flight while the next batch is encoded. Whatever has to be sent again is sent by rewinding the
//! cursor and running through to the end, so that an old row never overwrites a newer one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    breaker::{Breaker, Gate},
    encode::{Barrier, EncodeError, Encoded, Encoder},
    flow::Flow,
    model::Model,
    policy::{Decision, Outcome, Policy, View},
    sender::{Done, Sender},
    shared::{Health, Shared},
};
use crate::{
    config::settings,
    observe::heartbeat::Heartbeat,
    questdb::{RowBuffer, SqlError, WriteError, Writer},
    ring::{Mark, Pos, ReadError, Reader},
};

/// Memory for rows being encoded and sent, all lanes together, in bytes.
pub const MAX_BUFFERED_BYTES: usize = 8 << 20;
/// Rows of a probe.
const PROBE_ROWS: usize = 64;
/// Records set aside that end a batch.
const MAX_SET_ASIDE: usize = 4_096;
/// Bytes of the ring that end a batch, whatever was in them.
const MAX_SPAN_BYTES: u64 = 16 << 20;
/// Longest wait without looking round.
const IDLE_WAIT: Duration = Duration::from_mins(1);
/// Time for a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// What a loop may be late by before the watchdog takes it for hung.
const SLACK: Duration = Duration::from_secs(30);
/// A request that timed out may still be executed within about this time; then its rows are sent again.
const GRACE: Duration = Duration::from_secs(30);
/// What QuestDB says about tables is asked again after this.
const SCHEMA_AGE: Duration = Duration::from_mins(1);
/// Bytes of a buffer that are kept in any case.
const KEPT_BYTES: usize = 64 << 10;
/// A stored flush slower than this many times the target latency is shown as slow.
const SLOW_TIMES: u32 = 5;

/// A batch being filled or in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// Where its first record begins.
    pub start: Mark,
    /// Where its last record ends.
    pub end: Mark,
    /// Rows in it.
    pub rows: usize,
    /// Rows before this are not sent a second time to tables without deduplication.
    pub once_below: Pos,
}

/// Why filling ended.
#[derive(Debug, PartialEq, Eq)]
enum Filled {
    Full,
    NothingMore,
    Barrier,
}

/// Why a lane cannot go on now.
#[derive(Debug)]
pub(super) enum Trouble {
    Write(WriteError),
    Encode(EncodeError),
    Read(ReadError),
    Stopped,
}

impl From<EncodeError> for Trouble {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

/// A lane and all it needs. `run` is its thread.
pub(super) struct Lane {
    pub number: usize,
    pub lanes: usize,
    pub shared: Arc<Shared>,
    pub heartbeat: Heartbeat,
    pub reader: Reader,
    pub encoder: Encoder,
    pub policy: Box<dyn Policy>,
    pub batch: settings::Batch,
    pub request_timeout: Duration,
    pub random: fastrand::Rng,
    pub sender: Sender,
    /// The connection; with the sender thread while a request is in flight.
    pub writer: Option<Writer>,
    pub spare: Option<RowBuffer>,
    pub flight: Option<Span>,
    pub barrier: Option<Barrier>,
    pub breaker: Breaker,
    pub model: Model,
    pub flow: Flow,
    /// How far this lane has come, rewinds aside.
    pub high: Mark,
    /// Whether to rewind to safe once the database is back.
    pub rewind: bool,
    /// When to rewind once more, and how far, for requests that timed out.
    pub late: Option<(Instant, Mark)>,
    pub filled_at: Instant,
    pub schema_since: Instant,
    pub flushes_seen: u64,
    pub largest_bytes: usize,
}

impl Lane {
    /// Runs until a stop.
    pub fn run(mut self) {
        while !self.is_over() {
            let now = self.encoder.clock.since_boot();
            let result = match self.breaker.gate(now) {
                Gate::Wait(time) => {
                    self.heartbeat.waiting("backing off", Some(time + SLACK));
                    self.report();
                    self.shared.rest(time);
                    Ok(())
                }
                Gate::Probe => self.probe(),
                Gate::Go => self.cycle(None),
            };
            if let Err(trouble) = result {
                self.fail(trouble);
            }
        }
        self.heartbeat.waiting("stopped", None);
    }

    fn is_over(&self) -> bool {
        let Some(left) = self.shared.stopping() else { return false };
        let nothing_left = self.flight.is_none() && self.reader.mark().pos >= self.durable();
        left.is_zero() || nothing_left || self.breaker.word() == "open"
    }

    fn durable(&self) -> Pos {
        self.encoder.ring.marks().durable.pos
    }

    fn hurried(&self) -> bool {
        self.shared.stopping().is_some() || self.shared.flushes_asked() != self.flushes_seen
    }

    /// Finds out whether the database is back, with as little as possible.
    fn probe(&mut self) -> Result<(), Trouble> {
        self.heartbeat.waiting("QuestDB's answer to a probe", Some(self.request_timeout + SLACK));
        self.encoder.sql.ping(PING_TIMEOUT).map_err(EncodeError::from)?;
        if let Some(writer) = &mut self.writer {
            writer.connect().map_err(Trouble::Write)?;
        }
        if std::mem::take(&mut self.rewind) {
            let marks = self.encoder.ring.marks();
            self.rewind_to(marks.safe.max(marks.tail));
        }
        if self.reader.mark().pos < self.durable() {
            self.cycle(Some(PROBE_ROWS))?;
            while self.flight.is_some() {
                self.receive()?;
            }
        }
        self.breaker.succeeded();
        self.shared.report(self.number, |report| {
            if report.health > Health::Slow {
                report.health = Health::Ok;
            }
            report.error = None;
        });
        Ok(())
    }

    /// One round: wait for enough rows, encode them, take the answer of the request before, send.
    fn cycle(&mut self, rows: Option<usize>) -> Result<(), Trouble> {
        self.refresh();
        let mut decision = self.decide();
        if let Some(rows) = rows {
            decision.rows = decision.rows.min(rows);
            decision.linger = Duration::ZERO;
        }
        if let Some(barrier) = self.barrier.take() {
            if self.flight.is_some() {
                self.barrier = Some(barrier);
                return self.receive();
            }
            self.heartbeat.waiting("a change of a table", Some(self.request_timeout * 4 + SLACK));
            self.encoder.prepare(&barrier)?;
        } else if self.flight.is_none() {
            if !self.await_rows(&decision) {
                return Ok(());
            }
        } else if !self.is_enough(&decision) {
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
        if filled == Filled::NothingMore {
            self.filled_at = Instant::now();
            self.flushes_seen = self.shared.flushes_asked();
        }
        if self.flight.is_some()
            && let Err(trouble) = self.receive()
        {
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
    fn refresh(&mut self) {
        let batch = self.shared.batch();
        if batch != self.batch {
            self.policy = super::policy::from_settings(&batch);
            self.batch = batch;
        }
        if self.flight.is_none()
            && let Some((due, mark)) = self.late
            && Instant::now() >= due
        {
            self.late = None;
            if mark < self.reader.mark() {
                tracing::info!(lane = self.number, "sending again what a request that timed out may have overwritten");
                self.rewind_to(mark);
            }
        }
        if self.schema_since.elapsed() > SCHEMA_AGE {
            self.schema_since = Instant::now();
            self.encoder.schema.forget();
            self.encoder.exceptions.forget_before(self.encoder.ring.marks().tail.seq);
        }
    }

    fn decide(&mut self) -> Decision {
        let durable = self.durable();
        self.flow.arrived(self.encoder.clock.since_boot(), durable);
        let waiting = durable.0.saturating_sub(self.reader.mark().pos.0);
        let decision = self.policy.decide(&View {
            backlog_rows: self.flow.own_rows(waiting),
            arrival_rows_per_s: self.flow.rows_per_s(),
            model: &self.model,
            settings: &self.batch,
        });
        self.shared.report(self.number, |report| {
            let status = &mut report.status;
            status.batch_rows = decision.rows;
            status.linger_ms = decision.linger.as_secs_f64() * 1e3;
            status.reason.clone_from(&decision.reason);
        });
        decision
    }

    fn is_enough(&self, decision: &Decision) -> bool {
        let waiting = self.durable().0.saturating_sub(self.reader.mark().pos.0);
        waiting >= self.wanted_bytes(decision)
    }

    fn wanted_bytes(&self, decision: &Decision) -> u64 {
        self.flow.bytes_for(decision.rows.min(usize::MAX >> 16)).min(MAX_SPAN_BYTES)
    }

    /// Waits for the first row, then for company. False when there is nothing to do after all.
    fn await_rows(&mut self, decision: &Decision) -> bool {
        let ring = self.encoder.ring.clone();
        let from = self.reader.mark().pos;
        let mut first_at = self.filled_at;
        if self.durable() <= from {
            self.shrink();
            self.heartbeat.waiting("new rows", None);
            self.flushes_seen = self.shared.flushes_asked();
            let wait = self.late.map_or(IDLE_WAIT, |(due, _)| due.saturating_duration_since(Instant::now()));
            if !ring.wait_durable(from, wait.clamp(Duration::from_millis(1), IDLE_WAIT)) {
                return false;
            }
            first_at = Instant::now();
        }
        let until = first_at + decision.linger;
        let enough = Pos(from.0 + self.wanted_bytes(decision));
        self.heartbeat.waiting("more rows to send together", Some(decision.linger + SLACK));
        while !self.hurried() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.durable() > enough {
                break;
            }
            ring.wait_durable(enough, left);
        }
        true
    }

    fn shrink(&mut self) {
        if self.flight.is_none() {
            self.reader.release();
        }
        self.largest_bytes = 0;
        if let Some(buffer) = &mut self.spare {
            buffer.clear(KEPT_BYTES);
        }
    }

    fn take_buffer(&mut self) -> RowBuffer {
        let spare = self.spare.take();
        match (spare, &self.writer) {
            (Some(buffer), Some(writer)) if !writer.speaks(&buffer) => writer.buffer(),
            (Some(buffer), _) => buffer,
            (None, Some(writer)) => writer.buffer(),
            (None, None) => RowBuffer::default(),
        }
    }

    /// Clears a buffer for its next use, and gives memory back that recent batches did not need.
    fn give_back(&mut self, mut buffer: RowBuffer) {
        buffer.clear((4 * self.largest_bytes).max(KEPT_BYTES));
        self.spare = Some(buffer);
    }

    /// Encodes records from the cursor on until the batch is full or nothing more is durable.
    fn fill(&mut self, decision: &Decision, buffer: &mut RowBuffer) -> Result<(Span, Filled), Trouble> {
        self.heartbeat.waiting("encoding", Some(SLACK));
        let share = MAX_BUFFERED_BYTES / 2 / self.lanes;
        let asked = if self.batch.max_bytes.0 == 0 { usize::MAX } else { self.batch.max_bytes.0 as usize };
        let max_bytes = asked.min(share);
        let mut start = self.reader.mark();
        let once_below = self.high.pos;
        let (mut all_rows, mut filled) = (0, Filled::Full);
        while buffer.rows() < decision.rows && self.encoder.uncounted.len() < MAX_SET_ASIDE {
            let record = match self.reader.next() {
                Ok(Some(record)) => record,
                Ok(None) => {
                    filled = Filled::NothingMore;
                    break;
                }
                Err(ReadError::Overtaken { to }) if buffer.is_empty() => {
                    self.reader.seek(to);
                    start = to;
                    continue;
                }
                Err(error) => return Err(Trouble::Read(error)),
            };
            all_rows += usize::from(record.rows);
            if record.table_hash as usize % self.lanes != self.number {
                continue;
            }
            let over = buffer.rows() + usize::from(record.rows) > decision.rows
                || buffer.bytes() + 2 * record.body.len() > max_bytes;
            if over && !buffer.is_empty() {
                let back = record.mark;
                self.reader.seek(back);
                break;
            }
            if let Encoded::Barrier(barrier) = self.encoder.encode(&record, once_below, buffer)? {
                let back = record.mark;
                self.reader.seek(back);
                self.barrier = Some(barrier);
                filled = Filled::Barrier;
                break;
            }
            if record.end.pos.0 - start.pos.0 > MAX_SPAN_BYTES {
                break;
            }
        }
        let end = self.reader.mark();
        self.flow.read(end.pos.0 - start.pos.0, all_rows, buffer.rows());
        Ok((Span { start, end, rows: buffer.rows(), once_below }, filled))
    }

    /// Sends a batch; one without rows is done already.
    fn launch(&mut self, span: Span, buffer: RowBuffer) -> Result<(), Trouble> {
        if span.rows == 0 {
            self.give_back(buffer);
            return if span.end == span.start { Ok(()) } else { self.settle(span.end) };
        }
        let Some(mut writer) = self.writer.take() else { return Err(Trouble::Stopped) };
        let connected = writer.connect();
        if connected.is_err() || !writer.speaks(&buffer) {
            self.writer = Some(writer);
            self.reader.seek(span.start);
            self.give_back(buffer);
            return connected.map_err(Trouble::Write);
        }
        self.largest_bytes = buffer.bytes().max(self.largest_bytes - self.largest_bytes / 16);
        self.heartbeat.waiting("QuestDB's answer", Some(self.patience(buffer.bytes())));
        if !self.sender.send(writer, buffer) {
            return Err(Trouble::Stopped);
        }
        self.flight = Some(span);
        self.shared.report(self.number, |report| report.status.rows_sent += span.rows as u64);
        Ok(())
    }

    /// The client waits its time-out and some for the bytes (facts of questdb-rs: 100 KiB/s).
    fn patience(&self, bytes: usize) -> Duration {
        self.request_timeout * 2 + Duration::from_secs(bytes as u64 / (100 << 10)) + SLACK
    }

    /// Waits for the answer to the request in flight and acts on it.
    fn receive(&mut self) -> Result<(), Trouble> {
        let Some(span) = self.flight else { return Ok(()) };
        let done = loop {
            let slice = self.shared.stopping().map_or(Duration::from_secs(1), |left| left.min(Duration::from_secs(1)));
            match self.sender.wait(slice) {
                Some(done) => break done,
                None if self.shared.stopping().is_some_and(|left| left.is_zero()) => return Err(Trouble::Stopped),
                None => {}
            }
        };
        self.flight = None;
        let Done { writer, buffer, result, took } = done;
        self.writer = Some(writer);
        self.give_back(buffer);
        match result {
            Ok(()) => {
                self.stored(span.rows, took);
                self.settle(span.end)
            }
            Err(WriteError::BadRow { line, message }) => self.isolate(span, Some(line), &message),
            Err(WriteError::Refused { message }) => self.isolate(span, None, &message),
            Err(error) => {
                if matches!(error, WriteError::Timeout(_)) {
                    let start = self.late.map_or(span.start, |(_, mark)| mark.min(span.start));
                    self.late = Some((Instant::now() + GRACE, start));
                }
                self.reader.seek(span.start);
                Err(Trouble::Write(error))
            }
        }
    }

    /// Waits for a request in flight before something else goes wrong; its own trouble comes first.
    fn drain(&mut self) {
        if self.flight.is_some()
            && let Err(trouble) = self.receive()
        {
            self.fail(trouble);
        }
    }

    /// Takes note of a stored flush.
    pub(super) fn stored(&mut self, rows: usize, took: Duration) {
        self.model.observe(rows, took);
        self.policy.observe(Outcome::Stored);
        self.breaker.succeeded();
        let slow = took > self.batch.target_latency * SLOW_TIMES;
        self.shared.report(self.number, |report| {
            report.health = if slow { Health::Slow } else { Health::Ok };
            report.error = None;
            report.status.flushes += 1;
            report.status.last_rows = rows;
            report.status.last_ms = took.as_secs_f64() * 1e3;
        });
        self.report();
    }

    /// Tells the ring that everything before `end` has its fate.
    pub(super) fn settle(&mut self, end: Mark) -> Result<(), Trouble> {
        self.encoder.count_set_aside()?;
        self.encoder.ring.lane_done(self.number, end);
        self.high = self.high.max(end);
        Ok(())
    }

    fn rewind_to(&mut self, mark: Mark) {
        if mark < self.reader.mark() {
            self.reader.seek(mark);
            self.shared.report(self.number, |report| report.status.rewinds += 1);
        }
    }

    /// Takes note of trouble: backs off, and has what may be lost sent again.
    fn fail(&mut self, trouble: Trouble) {
        self.barrier = None;
        let (health, strained, broken) = match &trouble {
            Trouble::Stopped => return,
            Trouble::Read(ReadError::Overtaken { to }) => {
                self.reader.seek(*to);
                return;
            }
            // Recovery at the next start tells exactly what is lost.
            Trouble::Read(error) => return self.encoder.ring.poison(&error.to_string()),
            Trouble::Write(WriteError::Auth(_)) | Trouble::Encode(EncodeError::Sql(SqlError::Auth)) => {
                (Health::Refused, false, false)
            }
            Trouble::Write(WriteError::Timeout(_)) | Trouble::Encode(EncodeError::Sql(SqlError::Timeout)) => {
                (Health::Unreachable, true, true)
            }
            Trouble::Write(WriteError::Unreachable(_))
            | Trouble::Encode(EncodeError::Sql(SqlError::Unreachable(_))) => (Health::Unreachable, false, true),
            _ => (Health::Overloaded, true, false),
        };
        if broken {
            self.rewind = true;
            self.encoder.schema.forget();
            if let Some(writer) = &mut self.writer {
                writer.disconnect();
            }
        }
        self.policy.observe(if strained { Outcome::Strained } else { Outcome::Failed });
        let first = self.breaker.failures() == 0;
        let wait = self.breaker.failed(self.encoder.clock.since_boot(), self.random.f64());
        let text = match trouble {
            Trouble::Write(error) => error.to_string(),
            Trouble::Encode(error) => error.to_string(),
            Trouble::Read(_) | Trouble::Stopped => return,
        };
        if first {
            tracing::warn!(lane = self.number, retry_in_ms = wait.as_millis() as u64, "flushing fails: {text}");
        }
        self.shared.report(self.number, |report| {
            report.health = health;
            report.error = Some(text);
            report.status.failures += 1;
        });
        self.report();
    }

    /// Publishes what `status` shows.
    fn report(&self) {
        let schema = &self.encoder.schema;
        self.shared.report(self.number, |report| {
            report.status.lane = self.number;
            report.status.fixed_ms = self.model.fixed_s() * 1e3;
            report.status.per_row_us = self.model.per_row_s() * 1e6;
            self.breaker.word().clone_into(&mut report.status.breaker);
            report.warnings = schema.warnings().map(str::to_owned).collect();
            report.at_least_once = schema.at_least_once().map(str::to_owned).collect();
        });
    }
}
