//! Rows that come as line protocol. A request's rows are one message: they enter the ring together, or none of them does.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use serde::Serialize;
use tokio::sync::{Notify, watch};
use utoipa::ToSchema;

use super::{
    Ingest,
    enter::{Aside, Door, Encoded, Message, Refusal, Shown, TableRows},
    message::too_large,
};
use crate::{
    decode::{
        Faults,
        line::{Line, LineError, Lines, Precision, utf8},
    },
    latest::Collisions,
    limits::LeftOut,
    marks::{Ackable, Pos},
    names,
    observe::{
        histogram::{Distribution, Histogram, Quantiles},
        log::clip,
    },
    point::{Received, Text, Timestamp},
    ring::{AppendError, table_hash},
    settings::OnFull,
    sync::lock,
    tally::{Counter, Counts, Tally},
};

/// Most rows a request may bring.
pub const MAX_ROWS: usize = 100_000;
/// A request takes at most this part of the ring: room for it is made in one step of the tail (`ring/tail.rs`).
pub const RING_PART: u64 = 32;

/// So many members left out are logged one by one, then one in so many.
const LOGGED: u64 = 10;
/// What stands for a topic in a dead letter about a request.
pub(super) const LETTER_TOPIC: &str = "POST /write";
/// Bytes of a request's beginning that such a letter shows.
const LETTER_BYTES: usize = 4 << 10;
/// Most bytes of lines that something was left out of which a letter holds.
const MOST_ASIDE_BYTES: usize = 64 << 10;

/// One request's lines.
#[derive(Debug, Clone, Copy)]
pub struct Writing<'a> {
    /// The body.
    pub body: &'a [u8],
    /// The unit of its times.
    pub precision: Precision,
    /// When it arrived; the time of rows that have none.
    pub received: Received,
}

/// What became of a request's lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// In the ring; to be answered once the ring's `ackable` has reached this position.
    Accepted {
        /// The position.
        end: Pos,
        /// How many rows.
        rows: u64,
    },
    /// The ring is full under `drop-newest`: the rows are counted, and not kept.
    Dropped {
        /// How many rows.
        rows: u64,
        /// To be answered once the ring's `ackable` covers this.
        due: Ackable,
    },
    /// The ring is full. Nothing was taken.
    Full {
        /// Whether room may be made soon: there is something that may be given up.
        soon: bool,
    },
    /// A line is none. Nothing was taken.
    Malformed(LineError),
    /// The request would never fit. Nothing was taken.
    TooLarge(String),
    /// The ring is poisoned, or the daemon stops. Nothing was taken.
    Failed(String),
}

/// Where lines go.
pub trait LineIntake: Send + Sync {
    /// Decodes and appends a request's lines. Takes up to some tens of milliseconds: to be called where blocking is allowed.
    fn write(&self, writing: Writing<'_>) -> Written;

    /// Notified whenever the ring has freed space.
    fn room(&self) -> &Notify;

    /// How far writers may be answered.
    fn ackable(&self) -> watch::Receiver<Ackable>;

    /// Why the ring has failed, once it has.
    fn failed(&self) -> watch::Receiver<Option<String>>;

    /// What is counted of requests.
    fn counts(&self) -> &WriteCounts;
}

/// Counts of requests since start.
#[derive(Debug, Default)]
pub struct WriteCounts {
    requests: AtomicU64,
    rows: AtomicU64,
    /// Requests with a mistake in a line.
    pub malformed: AtomicU64,
    /// Requests for which the ring had no room.
    pub full: AtomicU64,
    /// Members and lines left out of requests whose rest was taken.
    bad_members: AtomicU64,
    /// Requests without the token.
    pub unauthorized: AtomicU64,
    /// Requests refused for anything else: too large, too slow, too many at a time.
    pub refused: AtomicU64,
    last_ns: AtomicI64,
    latency: Histogram,
}

impl WriteCounts {
    /// Counts a request that was answered 204, so long after its last byte had come.
    pub fn answered(&self, rows: u64, received: Timestamp, micros: u64) {
        self.requests.fetch_add(1, Relaxed);
        self.rows.fetch_add(rows, Relaxed);
        self.last_ns.fetch_max(received.0, Relaxed);
        self.latency.record(micros);
    }

    fn left_out(&self, members: u64, reason: &str) {
        let before = self.bad_members.fetch_add(members, Relaxed);
        if before < LOGGED || before.leading_zeros() != (before + members).leading_zeros() {
            let reason = clip(reason);
            tracing::warn!(%reason, "a part of a request to /write is left out: {reason}");
        }
    }

    /// The counts as shown.
    pub fn status(&self) -> WriteStatus {
        let last = self.last_ns.load(Relaxed);
        WriteStatus {
            requests: self.requests.load(Relaxed),
            rows: self.rows.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            bad_members: self.bad_members.load(Relaxed),
            full: self.full.load(Relaxed),
            unauthorized: self.unauthorized.load(Relaxed),
            refused: self.refused.load(Relaxed),
            last_received: (last > 0).then(|| Timestamp(last).to_string()),
            latency_us: self.latency.quantiles(),
            latency: self.latency.distribution(),
        }
    }
}

/// What `POST /write` has brought since start.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct WriteStatus {
    /// Requests answered 204.
    pub requests: u64,
    /// Their rows.
    pub rows: u64,
    /// Requests refused for a mistake in a line.
    pub malformed: u64,
    /// Members and lines left out of requests whose rest was taken.
    pub bad_members: u64,
    /// Requests refused because the ring was full.
    pub full: u64,
    /// Requests refused for want of the token.
    pub unauthorized: u64,
    /// Requests refused for anything else: too large, too slow, too many at a time, stopping.
    pub refused: u64,
    /// When the last one that was answered 204 came (RFC 3339); none before the first.
    pub last_received: Option<String>,
    /// Time from a request's last byte to its answer, in microseconds.
    pub latency_us: Quantiles,
    /// The same as a distribution.
    #[serde(skip)]
    pub latency: Distribution,
}

/// What a request's lines say.
#[derive(Debug, Default)]
struct Read {
    tables: Vec<TableRows>,
    /// What was left out, and the lines that it was left out of.
    faults: Faults,
    aside: String,
    /// Whether a line said nothing.
    is_empty: bool,
}

impl Read {
    fn aside(&mut self, line: &str, faults: &Faults) {
        if self.aside.len() + line.len() < MOST_ASIDE_BYTES {
            self.aside.push_str(line);
            self.aside.push('\n');
        }
        for fault in faults.iter() {
            self.faults.push(fault.clone());
        }
    }
}

impl Ingest {
    /// What has come in as line protocol.
    pub fn write_status(&self) -> WriteStatus {
        self.writes.status()
    }

    /// Takes no lines any more: what is appended from here on would not be committed. Waits for a request that is entering.
    pub fn close_writes(&self) {
        self.gate.close();
    }

    fn read(&self, writing: &Writing<'_>) -> Result<Read, LineError> {
        let text = utf8(writing.body)?;
        let now = writing.received.wall;
        let latest = self.latest_time(writing.received);
        let mut read = Read::default();
        let mut by_name = HashMap::<Cow<'_, str>, usize, foldhash::quality::RandomState>::default();
        let (mut rows, mut last, mut at) = (0, None::<usize>, 0);
        let mut lines = Lines::new(text, writing.precision);
        while let Some(line) = lines.next() {
            let Line { number, table, mut row, faults } = line?;
            let fault = |reason: String| LineError { line: number, column: 1, reason };
            rows += 1;
            if rows > MAX_ROWS {
                return Err(fault(format!("a request may have {MAX_ROWS} rows; send fewer at a time")));
            }
            let start = std::mem::replace(&mut at, lines.position());
            if at - start > self.max_payload {
                return Err(fault(too_large(at - start, self.max_payload)));
            }
            if let Some(time) = row.time.filter(|time| *time > latest) {
                let reason = format!("its time {time} is further ahead of the clock ({now}) than [latest] max_future");
                return Err(fault(reason));
            }
            if !faults.is_empty() {
                read.aside(text[start..at].trim_matches(['\r', '\n']), &faults);
            }
            if row.fields.is_empty() && row.symbols.is_empty() {
                read.is_empty |= faults.is_empty();
                continue;
            }
            if row.time.is_some_and(|time| time < self.max_past) {
                (row.time, row.device_time, row.notes.untimed) = (None, false, true);
            }
            let found = last.filter(|at| names::same(&read.tables[*at].table, &table));
            let found = found.or_else(|| by_name.get(&*names::folded(&table)).copied());
            let place = found.unwrap_or_else(|| {
                read.tables.push(TableRows {
                    table: Text::from(&*table),
                    table_hash: table_hash(&table),
                    rows: Vec::new(),
                });
                let is_folded = names::is_folded(&table);
                let folded = if is_folded { table } else { names::folded(&table).into_owned().into() };
                by_name.insert(folded, read.tables.len() - 1);
                read.tables.len() - 1
            });
            read.tables[place].rows.push(row);
            last = Some(place);
        }
        Ok(read)
    }

    fn enter_lines(&self, read: Read, writing: &Writing<'_>) -> Written {
        let Read { mut tables, faults, aside, is_empty } = read;
        let now = Duration::from_nanos(writing.received.since_boot_ns);
        let keeps = !faults.is_empty() && lock(&self.write_quota).keeps(self.allowance.write(), &faults, now);
        let max_bytes = self.ring.capacity_bytes() / RING_PART;
        let mut message = Message {
            door: Door::Lines,
            source: self.write_source,
            tables: &mut tables,
            owner: self.allowance.write(),
            received: writing.received,
            shown: Shown { topic: LETTER_TOPIC, payload: writing.body, most_bytes: LETTER_BYTES },
            left_out: LeftOut::default(),
            aside: keeps.then(|| Aside { reason: faults.reason(), untimed: None, lines: Some(aside) }),
            collisions: Collisions::default(),
            max_bytes,
            encoded: &mut Encoded::default(),
        };
        let rows = message.rows() as u64;
        if rows == 0 && !keeps {
            self.count_left_out(&faults, now);
            return self.note_lines(is_empty);
        }
        let brought: Vec<(Text, u64)> =
            message.tables.iter().map(|of| (of.table.clone(), of.rows.len() as u64)).collect();
        match self.enter(&mut message) {
            Ok(entered) => {
                let rows = message.rows() as u64;
                if is_empty {
                    // The request is acknowledged by its records; what says nothing needs none.
                    drop(self.ring.note(Tally { source: self.write_source, counts: Counts::one(Counter::Empty) }));
                }
                self.count_left_out(&faults, now);
                Written::Accepted { end: self.ring.ack_position(&entered.appended), rows }
            }
            Err(Refusal::Closed) => Written::Failed("the daemon is stopping".into()),
            Err(Refusal::Unfit(error)) => Written::TooLarge(error.to_string()),
            Err(Refusal::TooLarge { bytes }) => Written::TooLarge(format!(
                "its {rows} rows need {bytes} bytes in the ring; {max_bytes} are allowed (a {RING_PART}nd of [ring] size)"
            )),
            Err(Refusal::Ring { error: AppendError::Full, bytes }) => self.full(&brought, bytes),
            Err(Refusal::Ring { error: error @ AppendError::TooLarge { .. }, .. }) => {
                Written::TooLarge(error.to_string())
            }
            Err(Refusal::Ring { error: error @ (AppendError::Poisoned(_) | AppendError::Halted(_)), .. }) => {
                Written::Failed(error.to_string())
            }
            Err(refusal @ (Refusal::Superseded | Refusal::Limited(_))) => Written::Failed(format!("{refusal:?}")),
        }
    }

    fn count_left_out(&self, faults: &Faults, now: Duration) {
        if !faults.is_empty() {
            lock(&self.write_quota).note(self.allowance.write(), faults, now);
            self.writes.left_out(faults.count(), &faults.reason());
        }
    }

    /// Answers a request of which nothing is to be stored, and counts it where its lines say
    /// nothing.
    fn note_lines(&self, is_empty: bool) -> Written {
        if is_empty {
            let tally = Tally { source: self.write_source, counts: Counts::one(Counter::Empty) };
            if let Err(error) = self.ring.note(tally) {
                return Written::Failed(error.to_string());
            }
        }
        Written::Accepted { end: Pos(0), rows: 0 }
    }

    /// `brought` says how many rows of each table there were before the limits left some out.
    fn full(&self, brought: &[(Text, u64)], needed: u64) -> Written {
        match self.ring.on_full() {
            OnFull::DropNewest => {
                let rows = brought.iter().map(|(_, rows)| rows).sum();
                let counts = brought.iter().map(|(table, rows)| (table.as_str(), *rows));
                let refused = self.ring.count_refused_message(counts);
                Written::Dropped { rows, due: Ackable { refused, ..Ackable::default() } }
            }
            OnFull::DropOldest => Written::Full { soon: true },
            OnFull::Block => {
                let marks = self.ring.marks();
                let occupied = marks.appended.pos.0.saturating_sub(marks.safe.pos.0);
                let history = marks.safe > marks.tail;
                Written::Full { soon: history && occupied + needed < self.ring.capacity_bytes() }
            }
        }
    }
}

impl LineIntake for Ingest {
    fn write(&self, writing: Writing<'_>) -> Written {
        let senders = self.ring.senders();
        let _taking_in = senders.taking_in();
        let written = match self.read(&writing) {
            Ok(read) => self.enter_lines(read, &writing),
            Err(error) => Written::Malformed(error),
        };
        if matches!(written, Written::Accepted { .. } | Written::Dropped { .. }) {
            senders.writer_brought();
        }
        written
    }

    fn room(&self) -> &Notify {
        self.ring.room()
    }

    fn ackable(&self) -> watch::Receiver<Ackable> {
        self.ring.ackable()
    }

    fn failed(&self) -> watch::Receiver<Option<String>> {
        self.ring.failed()
    }

    fn counts(&self) -> &WriteCounts {
        &self.writes
    }
}

#[cfg(test)]
mod tests;
