//! A lane's batches: from the cursor into a buffer, and off to the sender thread.

use std::{sync::Arc, time::Duration};

use super::{
    ages::Ages,
    answer::Trouble,
    encode::Encoded,
    lane::Lane,
    policy::Decision,
    seeded::{Bug, is_on},
    unconfirmed::Tables,
};
use crate::{
    entry::Rows,
    marks::{Mark, Pos},
    questdb::RowBuffer,
    ring::{Kind, ReadError, Record},
};

/// Records set aside that end a batch.
const MAX_SET_ASIDE: usize = 4_096;
/// Bytes of the ring that end a batch, whatever was in them.
pub(super) const MAX_SPAN_BYTES: u64 = 16 << 20;
/// Pause while the tail follows records that were given up.
const TAIL_MOVES: Duration = Duration::from_millis(10);
/// Bytes of a buffer that are kept in any case.
const KEPT_BYTES: usize = 64 << 10;

/// A batch being filled or in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// Where its first record begins.
    pub start: Mark,
    /// Where its last record ends.
    pub end: Mark,
    /// Rows in it.
    pub rows: usize,
    /// Whether there was any record of the lane's, sent or not.
    pub own: bool,
    /// Whether one was left out since it does not go again.
    pub left_out: bool,
    /// Rows before this are not sent a second time to tables without deduplication.
    pub once_below: Pos,
}

/// A batch that was handed over and is not answered yet.
#[derive(Debug)]
pub(super) struct Sent {
    pub span: Span,
    pub ages: Ages,
    /// Tables with rows in it.
    pub tables: Tables,
    /// How long it waited for company, where it did.
    pub waited: Option<Duration>,
    /// Memory of its buffer.
    capacity: usize,
}

/// What a lane has passed lately without sending anything.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    /// Since where there has been no record of the lane's.
    bare_from: Option<Mark>,
    /// Since where all its rows are set aside, none of them left out.
    quiet_from: Option<Mark>,
    /// Since when (since boot) that is all there is of what nobody answered, so that no answer is to be had.
    pub quiet_since: Option<Duration>,
}

/// Why filling ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filled {
    Full,
    NothingMore,
    Barrier,
}

/// Bytes that a record's rows take in a request, at most: every byte escaped, integers written out, and the table's name (whose
/// length the body begins with) before each row.
fn encoded_bytes(record: &Record<'_>) -> usize {
    let table = usize::from(record.body.first().copied().unwrap_or_default());
    2 * table * usize::from(record.rows) + record.body.len() * 5 / 2
}

impl Lane {
    /// Bytes of a request at most: `batch.max_bytes`, and no more than the lane's share of the memory for all of them.
    fn max_bytes(&self) -> usize {
        let share = if self.borrows { self.batch.request_limit() } else { self.batch.own_share() }.0 as usize;
        let asked = if self.batch.max_bytes.0 == 0 { usize::MAX } else { self.batch.max_bytes.0 as usize };
        asked.min(share)
    }

    /// Rows of a request at most, as far as its bytes go.
    pub(super) fn fitting_rows(&self) -> usize {
        self.max_bytes().checked_div(self.row_bytes).unwrap_or(usize::MAX)
    }

    /// Borrows the memory that one lane at a time may have, when this one has rows enough for it.
    pub(super) fn borrow_memory(&mut self, waiting_bytes: u64) {
        if !self.borrows && waiting_bytes > self.max_bytes() as u64 {
            self.borrows = self.shared.borrow_memory();
        }
    }

    /// Gives memory back that is not needed while nothing waits.
    pub(super) fn shrink(&mut self) {
        if self.flight.is_empty() {
            self.reader.release();
        }
        self.largest_bytes = 0;
        if let Some(buffer) = &mut self.spare {
            buffer.clear(KEPT_BYTES);
        }
        if self.flight.is_empty() {
            self.shared.buffers.note(self.number, self.spare.as_ref().map_or(0, RowBuffer::capacity));
            if std::mem::take(&mut self.borrows) {
                self.shared.return_memory();
            }
        }
    }

    pub(super) fn take_buffer(&mut self) -> RowBuffer {
        let (spare, room) = (self.spare.take(), self.max_bytes());
        let fitting = spare.filter(|buffer| self.link.speaks(buffer));
        fitting.map_or_else(|| self.link.buffer(room), |buffer| buffer.with_room(room))
    }

    /// Takes note of the memory that this lane has, with a batch that is about to leave.
    fn note_buffers(&self, leaving: &RowBuffer) {
        let spare = self.spare.as_ref().map_or(0, RowBuffer::capacity);
        let in_flight: usize = self.flight.iter().map(|sent| sent.capacity).sum();
        let all = leaving.capacity() + in_flight + spare + self.reader.window_bytes();
        self.shared.buffers.note(self.number, all);
    }

    /// Clears a buffer for its next use, and gives memory back that recent batches did not need.
    pub(super) fn give_back(&mut self, mut buffer: RowBuffer) {
        buffer.clear((4 * self.largest_bytes).max(KEPT_BYTES));
        self.spare = Some(buffer);
    }

    /// Encodes records from the cursor on until the batch is full or nothing more is durable.
    pub(super) fn fill(&mut self, decision: &Decision, buffer: &mut RowBuffer) -> Result<(Span, Filled), Trouble> {
        self.heartbeat.waiting("encoding", Some(self.request_timeout * 4));
        let max_bytes = self.max_bytes();
        let mut start = self.reader.mark();
        let once_below = self.high.pos;
        let first_sent_from = once_below.max(self.run_began);
        self.ages.clear();
        self.filling.clear();
        let (mut all_rows, mut has_own, mut left_out, mut filled) = (0, false, false, Filled::Full);
        while buffer.rows() < decision.rows && self.encoder.uncounted.len() < MAX_SET_ASIDE {
            let (lanes, number) = (self.lanes, self.number);
            let own = |_, table_hash: u32| lanes.of(table_hash) == number;
            let record = match self.reader.next_with(Pos(u64::MAX), own) {
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
            let is_own = self.lanes.of(record.table_hash) == self.number;
            has_own |= is_own && record.kind == Kind::Rows;
            // A dead letter is set aside when it is first read; it may have left the quarantine since.
            let is_done = record.kind == Kind::DeadLetter && record.mark.pos < once_below;
            let (pos, hash) = (record.mark.pos, record.table_hash);
            let is_skipped = self.course.skips(pos, hash) || self.reborn.skips(pos, hash);
            left_out |= is_own && is_skipped;
            if !is_own || is_done || is_skipped {
                if record.end.pos.0 - start.pos.0 > MAX_SPAN_BYTES {
                    break;
                }
                continue;
            }
            let over = buffer.rows() + usize::from(record.rows) > decision.rows
                || buffer.bytes() + encoded_bytes(&record) > max_bytes;
            if over && !buffer.is_empty() {
                let back = record.mark;
                all_rows -= usize::from(record.rows);
                self.reader.seek(back);
                break;
            }
            let rows_before = buffer.rows();
            let once_below = self.reborn.once_below(record.table_hash, once_below);
            if let Encoded::Barrier(barrier) = self.encoder.encode(&record, once_below, buffer)? {
                let back = record.mark;
                all_rows -= usize::from(record.rows);
                self.reader.seek(back);
                self.barrier = Some(barrier);
                filled = Filled::Barrier;
                break;
            }
            if buffer.rows() > rows_before {
                let name = || Rows::decode(record.body).map_or_else(|_| String::new(), |rows| rows.table.to_owned());
                self.filling.add(record.table_hash, name);
            }
            if record.mark.pos >= first_sent_from {
                self.ages.add(record.received, record.rows);
            }
            if record.end.pos.0 - start.pos.0 > MAX_SPAN_BYTES {
                break;
            }
        }
        let end = self.reader.mark();
        if !self.course.is_partial_at(start.pos) {
            self.flow.read(end.pos.0 - start.pos.0, all_rows, buffer.rows());
        }
        Ok((Span { start, end, rows: buffer.rows(), own: has_own, left_out, once_below }, filled))
    }

    /// Takes note of a stretch of which nothing is sent.
    fn note_nothing_sent(&mut self, span: Span) {
        let (now, durable) = (self.now(), self.durable());
        let Unsent { bare_from, quiet_from, quiet_since } = &mut self.unsent;
        if span.own {
            *bare_from = None;
        } else {
            self.late.find_bare(*bare_from.get_or_insert(span.start), span.end);
        }
        if span.left_out {
            (*quiet_from, *quiet_since) = (None, None);
            return;
        }
        let from = *quiet_from.get_or_insert(span.start);
        if span.end.pos >= durable && self.late.from().is_some_and(|late| from <= late) {
            quiet_since.get_or_insert(now);
        }
    }

    /// Sends a batch; one without rows is done already.
    pub(super) fn launch(&mut self, span: Span, buffer: RowBuffer) -> Result<(), Trouble> {
        if span.rows == 0 {
            self.give_back(buffer);
            self.report();
            if span.end == span.start {
                return Ok(());
            }
            self.note_nothing_sent(span);
            return self.settle(span, Ages::default());
        }
        self.hold_back();
        self.unsent = Unsent::default();
        match self.may_launch(span) {
            Ok(true) => {}
            Ok(false) => {
                self.give_back(buffer);
                return Ok(());
            }
            Err(trouble) => {
                self.give_back(buffer);
                return Err(trouble);
            }
        }
        // Nothing is in flight here.
        self.given_time = self.time_limit.current();
        self.link.set_request_timeout(self.given_time);
        let connected = self.link.connect();
        if connected.is_err() || !self.link.speaks(&buffer) {
            self.reader.seek(span.start);
            self.give_back(buffer);
            return connected.map_err(Trouble::Write);
        }
        if let Err(go_on_at) = self.encoder.ring.lane_sends(self.number, span.start, span.end) {
            self.give_back(buffer);
            if span.start < self.high {
                // What had been sent before goes on where the tail will be in a moment, and not behind all that is settled.
                self.reader.seek(span.start);
                self.wait.rest(&self.shared, TAIL_MOVES);
            } else {
                self.reader.seek(go_on_at);
            }
            return Ok(());
        }
        self.heartbeat.waiting("QuestDB's answer", Some(self.patience(buffer.bytes())));
        self.note_leaving(span, &buffer);
        if self.link.send(buffer) { Ok(()) } else { Err(Trouble::Stopped) }
    }

    /// Takes note of a batch that is handed over.
    fn note_leaving(&mut self, span: Span, buffer: &RowBuffer) {
        self.row_bytes = (buffer.bytes() / span.rows).max(1);
        self.sent_rows = span.rows;
        self.note_buffers(buffer);
        self.largest_bytes = buffer.bytes().max(self.largest_bytes - self.largest_bytes / 16);
        let tables = std::mem::take(&mut self.filling);
        self.unconfirmed.leaves(self.now(), span.start, &tables);
        let (ages, waited) = (std::mem::take(&mut self.ages), self.company.waited.take());
        self.flight.push_back(Sent { span, ages, tables, waited, capacity: buffer.capacity() });
        self.throttle.sent(self.now(), span.rows, self.pace);
        if is_on(Bug::SettleBeforeAnswer) {
            self.encoder.ring.lane_done(self.number, span.end);
        }
        self.shared.report(self.number, |report| report.status.rows_sent += span.rows as u64);
    }

    /// Hands a batch over to follow the request in flight. The batch is given back where something has to be done first with nothing
    /// in flight, or where there is nothing to follow.
    pub(super) fn follow(&mut self, span: Span, buffer: RowBuffer) -> Option<RowBuffer> {
        let may_follow = self.flight.len() == 1
            && span.rows > 0
            // A quarantine that cannot be written is met with nothing else in flight.
            && self.encoder.uncounted.is_empty()
            && self.time_limit.current() == self.given_time
            && self.throttle.wait(self.now(), self.pace).is_zero()
            && !self.shared.is_ask_started_due(self.ask_started_every)
            && !self.is_look_due()
            && self.encoder.ring.lane_sends(self.number, span.start, span.end).is_ok();
        if !may_follow {
            return Some(buffer);
        }
        self.unsent = Unsent::default();
        self.note_leaving(span, &buffer);
        let (shared, rewinds_seen) = (Arc::clone(&self.shared), self.rewinds_seen);
        // The thread being gone shows at the answer.
        self.link.follow(buffer, Box::new(move || shared.is_same_server_as(rewinds_seen)));
        None
    }
}
