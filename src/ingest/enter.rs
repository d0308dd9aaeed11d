//! The one way in for rows. MQTT, `/write` and requeue enter them here, in one order:
//!
//! 0. the limits: what would make too many columns or tables is left out;
//! 1. the gate: is the door open, are the rows' moments free, is a row that is put back still the newest of its moment;
//! 2. prepare: each row gets its time, and is completed from the values held of its moment;
//! 3. encode;
//! 4. append to the ring;
//! 5. update the latest values;
//! 6. note the moments that are watched;
//! 7. say that the map has seen the records.
//!
//! # Invariants
//!
//! A *moment* is a table, a microsecond and the symbols: what QuestDB keeps one row of.
//!
//! - **One at a time.** Between a row's look at the values held (2) and the update of the map (5) no other row of its moment is
//!   prepared or appended. So two rows of one moment always meet, and the later record holds the union of both.
//! - **In order.** Of two rows of one moment, the one appended first is taken into the map first. Of other rows the map keeps the
//!   later time, and of the same time the later record, whichever comes first.
//! - **Whole or not at all.** A message's records are appended together, or none of them is; a refused message changes no value. What
//!   the limits leave out is no part of it, and is counted, and perhaps told by a dead letter of the same message, once it has entered.
//! - **Visible before it is acknowledged.** The position to acknowledge by is given out once the map holds every row up to it of
//!   this message.
//! - **Noticed before anyone can miss it.** A row is noted (6) before another row of its moment can pass the gate. So nobody puts
//!   back an older row without knowing of it.
//! - **Seen means complete.** The map says that it has seen a record once it holds the readings of that one and of all before it.
//! - **Others wait for a slice.** A message at once holds the gate from 1 to 7. A message in slices holds it only to claim its
//!   moments (1), for [`SLICE_ROWS`] rows at a time (6), and to give them up (7). Only who brings a row of a claimed moment, or clears a
//!   series, waits for all of it.

use std::{ops::Range, time::Duration};

use super::{
    Ingest,
    gate::{Closed, Moments, State},
};
use crate::{
    clock::BootId,
    entry::{self, DeadLetter, LetterForm, LimitError},
    latest::Collisions,
    limits::{LeftOut, Owner},
    marks::Seq,
    moment::of_row,
    observe::log::clip,
    point::{Received, Row, Text, Timestamp},
    ring::{AppendError, Appended, Kind, Part, layout::data_record_bytes},
    tally::{Counts, SourceId, Tally},
};

/// Messages of more rows than this enter in slices, where their door allows it; and the rows of a slice.
pub(super) const SLICE_ROWS: usize = 500;

/// Messages of more bytes than this enter in slices too, where their door allows it.
const SLICE_BYTES: usize = 64 << 10;

/// Most bytes of a payload in a dead letter about what was left out.
pub(super) const LETTER_PAYLOAD_BYTES: usize = 64 << 10;

/// What brings a message, and how it may enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// A message from the broker: one record, at once.
    Mqtt,
    /// A request's lines: small records; in slices; refused once the daemon stops.
    Lines,
    /// Rows that were set aside: at once, and only those that no newer row is known of.
    Again,
    /// Rows that the record of this number holds back, with their times: one record, at once.
    Release(Seq),
}

impl Door {
    /// Whether it takes nothing any more once the daemon stops.
    pub fn closes(self) -> bool {
        self == Self::Lines
    }

    fn may_slice(self) -> bool {
        self == Self::Lines
    }

    fn yields_to_newer(self) -> bool {
        self == Self::Again
    }

    /// The record whose rows it brings.
    fn releases(self) -> Option<Seq> {
        match self {
            Self::Release(seq) => Some(seq),
            Self::Mqtt | Self::Lines | Self::Again => None,
        }
    }

    /// Whether it brings rows that get the time of their receipt, which may have to wait until that
    /// is known.
    fn may_hold(self) -> bool {
        matches!(self, Self::Mqtt | Self::Lines)
    }

    /// Rows and bytes from which on a record takes no further row.
    fn record_size(self) -> (usize, usize) {
        match self {
            // The lanes' buffers stay small.
            Self::Lines => (1_000, 64 << 10),
            Self::Mqtt | Self::Again | Self::Release(_) => (usize::MAX, usize::MAX),
        }
    }
}

/// The rows of one table, in their order.
#[derive(Debug, Default)]
pub(super) struct TableRows {
    /// The table.
    pub table: Text,
    /// [`crate::ring::table_hash`] of its name.
    pub table_hash: u32,
    /// The rows; once they have entered, those that have, as they have.
    pub rows: Vec<Row>,
}

/// A message about to enter.
#[derive(Debug)]
pub(super) struct Message<'a> {
    /// What brings it.
    pub door: Door,
    /// The source it is from.
    pub source: SourceId,
    /// Its rows, each table once.
    pub tables: &'a mut [TableRows],
    /// Whom the tables count for that it brings.
    pub owner: Owner,
    /// When it was received.
    pub received: Received,
    /// What a dead letter shows of it when something is left out.
    pub shown: Shown<'a>,
    /// What the limits have left out of it; none before it enters.
    pub left_out: LeftOut,
    /// What a dead letter of the same message says of what is no part of its rows.
    pub aside: Option<Aside>,
    /// Rows that it could not all keep; none before it enters.
    pub collisions: Collisions,
    /// Most bytes its records may take in the ring together.
    pub max_bytes: u64,
    /// Where its records are encoded.
    pub encoded: &'a mut Encoded,
}

/// A message's topic and payload, or what stands for them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shown<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The payload.
    pub payload: &'a [u8],
    /// Most bytes of it that are shown.
    pub most_bytes: usize,
}

/// What of a message could not become a part of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aside {
    /// Why.
    pub reason: String,
    /// The place of the row that lacks it among the rows whose time is that of receipt, if it is
    /// one of those. The letter keeps the time.
    pub untimed: Option<usize>,
    /// The lines that it was left out of, where the message is not kept as a whole.
    pub lines: Option<String>,
}

/// Where a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entered {
    /// Its records.
    pub appended: Appended,
    /// How many dead letters are among them, about what was left out.
    pub letters: usize,
}

/// Why a message did not enter. Nothing of it did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The daemon stops.
    Closed,
    /// Newer rows are known of all its rows.
    Superseded,
    /// Something of it would have to be left out, and its door takes all or nothing.
    Limited(String),
    /// A row cannot be encoded.
    Unfit(LimitError),
    /// Its records need more bytes than [`Message::max_bytes`].
    TooLarge {
        /// The bytes they need.
        bytes: u64,
    },
    /// The ring does not take it.
    Ring {
        /// Why not.
        error: AppendError,
        /// The bytes its records need.
        bytes: u64,
    },
}

impl From<Closed> for Refusal {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl<'a> Message<'a> {
    /// A message that brings these rows and nothing else.
    pub fn of(
        door: Door,
        source: SourceId,
        tables: &'a mut [TableRows],
        owner: Owner,
        received: Received,
        encoded: &'a mut Encoded,
    ) -> Self {
        Self {
            door,
            source,
            tables,
            owner,
            received,
            shown: Shown::default(),
            left_out: LeftOut::default(),
            aside: None,
            collisions: Collisions::default(),
            max_bytes: u64::MAX,
            encoded,
        }
    }
}

impl Message<'_> {
    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.tables.iter().map(|table| table.rows.len()).sum()
    }

    /// Whether it would hold others up for long.
    fn is_large(&self) -> bool {
        self.rows() > SLICE_ROWS || self.shown.payload.len() > SLICE_BYTES
    }

    /// What its rows add to the counts of its source.
    fn tally(&self) -> Tally {
        let mut counts = Counts::default();
        let rows = self.tables.iter().flat_map(|of| &of.rows);
        rows.filter(|row| !row.notes.is_empty()).for_each(|row| counts.add(row.notes.counts()));
        Tally { source: self.source, counts }
    }

    /// The moments of its rows.
    pub fn moments(&self) -> impl Iterator<Item = u64> {
        self.tables.iter().flat_map(|of| of.rows.iter().map(|row| of_row(&of.table, row)))
    }

    /// Whether it has a row of one of the moments.
    pub fn meets(&self, moments: &Moments) -> bool {
        self.moments().any(|moment| moments.contains(&moment))
    }

    fn yield_to_newer(&mut self, state: &State) -> Result<(), Refusal> {
        if !self.door.yields_to_newer() {
            return Ok(());
        }
        for TableRows { table, rows, .. } in self.tables.iter_mut() {
            rows.retain(|row| !state.is_superseded(of_row(table, row)));
        }
        if self.rows() == 0 { Err(Refusal::Superseded) } else { Ok(()) }
    }

    /// Encodes its records; returns the bytes they take in the ring.
    ///
    /// Where the clock is not set, the rows that were timed by it go into records of their own,
    /// behind the others.
    fn encode(&mut self, hold: Option<BootId>) -> Result<u64, Refusal> {
        self.add_letter_aside();
        let hold = hold.filter(|_| self.door.may_hold());
        if hold.is_some() {
            self.tables.iter_mut().for_each(|of| of.rows.sort_by_key(|row| !row.device_time));
        }
        let front = Front { hold, releases: self.door.releases() };
        // A message without any row is a record all the same, so that the ledger counts it and its acknowledgement waits its turn.
        let bare = match (self.left_out.is_empty(), self.rows() == 0 && self.encoded.letters.is_empty()) {
            (true, _) => usize::MAX,
            (false, true) => 1,
            (false, false) => 0,
        };
        self.encoded.encode(self.tables, self.door.record_size(), front, bare).map_err(Refusal::Unfit)?;
        let bytes = self.encoded.records.iter().map(|record| data_record_bytes(record.body.len())).sum();
        if bytes > self.max_bytes { Err(Refusal::TooLarge { bytes }) } else { Ok(bytes) }
    }

    /// Encodes the dead letter about what is no part of its rows; they have their times.
    fn add_letter_aside(&mut self) {
        let Some(Aside { reason, untimed, lines }) = self.aside.take() else { return };
        let by_receipt = self.tables.iter().flat_map(|of| &of.rows).filter(|row| !row.device_time);
        let time = untimed.and_then(|place| by_receipt.clone().nth(place)?.time);
        match &lines {
            Some(lines) => {
                let shown = Shown { payload: lines.as_bytes(), most_bytes: lines.len(), ..self.shown };
                self.encoded.add_letter(shown, &reason, time);
            }
            None => self.encoded.add_letter(self.shown, &reason, time),
        }
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.received.since_boot_ns)
    }
}

/// A record in the making: rows of one table, and where its body is.
#[derive(Debug)]
struct Record {
    table: usize,
    rows: Range<usize>,
    body: Range<usize>,
    is_held: bool,
}

/// What stands in front of records' rows.
#[derive(Debug, Clone, Copy, Default)]
struct Front {
    /// Of rows timed by receipt: the boot, since they are held back.
    hold: Option<BootId>,
    /// Of all: the record that held them back.
    releases: Option<Seq>,
}

impl Front {
    fn put(self, is_held: bool, out: &mut Vec<u8>) {
        if let Some(boot) = self.hold.filter(|_| is_held) {
            out.extend_from_slice(&boot);
        } else if let Some(seq) = self.releases {
            out.extend_from_slice(&seq.0.to_le_bytes());
        }
    }
}

/// A message's records: their bodies, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    bytes: Vec<u8>,
    records: Vec<Record>,
    /// The bodies of the dead letters that go with them, and their forms.
    letters: Vec<(Vec<u8>, LetterForm)>,
}

impl Encoded {
    /// Forgets the records, and gives back what memory is beyond so many bytes.
    pub fn clear(&mut self, kept_bytes: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(kept_bytes);
        self.records.clear();
        self.letters = Vec::new();
    }

    fn add_letter(&mut self, shown: Shown<'_>, reason: &str, time: Option<Timestamp>) {
        let Shown { topic, payload, most_bytes } = shown;
        let is_cut = payload.len() > most_bytes;
        let payload = &payload[..payload.len().min(most_bytes)];
        let mut body = Vec::new();
        let form = entry::encode_dead_letter(&DeadLetter { reason, topic, payload, is_cut, time }, &mut body);
        self.letters.push((body, form));
    }

    /// Encodes each table's rows; of tables without rows the first `bare`.
    fn encode(
        &mut self,
        tables: &[TableRows],
        (most_rows, most_bytes): (usize, usize),
        front: Front,
        mut bare: usize,
    ) -> Result<(), LimitError> {
        let Self { bytes, records, .. } = self;
        bytes.clear();
        records.clear();
        for (table, TableRows { table: name, rows, .. }) in tables.iter().enumerate() {
            if rows.is_empty() {
                if bare == 0 {
                    continue;
                }
                bare -= 1;
            }
            let held_from = front.hold.map_or(rows.len(), |_| rows.partition_point(|row| row.device_time));
            let mut at = 0;
            loop {
                let (first, start) = (at, bytes.len());
                let is_held = at >= held_from && at < rows.len();
                let end = if is_held { rows.len() } else { held_from };
                front.put(is_held, bytes);
                entry::encode_rows(name, &[], bytes)?;
                while at < end && at - first < most_rows && bytes.len() - start < most_bytes {
                    entry::encode_row(&rows[at], bytes)?;
                    at += 1;
                }
                records.push(Record { table, rows: first..at, body: start..bytes.len(), is_held });
                if at == rows.len() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn part<'a>(&'a self, record: &Record, message: &Message<'_>) -> Part<'a> {
        let of = &message.tables[record.table];
        Part {
            kind: if record.is_held { Kind::Held } else { Kind::Rows },
            releases: message.door.releases().is_some(),
            source: message.source,
            table_hash: of.table_hash,
            rows: record.rows.len() as u16,
            body: &self.bytes[record.body.clone()],
            has_notes: of.rows[record.rows.clone()].iter().any(|row| !row.notes.is_empty()),
            ..Part::default()
        }
    }
}

impl Ingest {
    /// Brings a message in, in the order and with the invariants that stand at the head of this file.
    pub(super) fn enter(&self, message: &mut Message<'_>) -> Result<Entered, Refusal> {
        self.keep_to_limits(message)?;
        message.encoded.letters.clear();
        let letter = self.letter_of_limits(message);
        let appended = if message.door.may_slice() && message.is_large() {
            self.enter_in_slices(message)?
        } else {
            self.enter_at_once(message)?
        };
        self.replaced.tell(message);
        if !message.left_out.is_empty() {
            self.allowance.count(message.owner, &message.left_out, letter.then(|| message.now()));
            if letter {
                let reason = message.left_out.reason(&self.allowance.rules());
                let (topic, reason) = (clip(message.shown.topic), clip(&reason));
                tracing::warn!(%topic, %reason, "a message on {topic} brings more columns or tables than [limits] allows: {reason}");
            }
        }
        Ok(Entered { appended, letters: message.encoded.letters.len() })
    }

    fn keep_to_limits(&self, message: &mut Message<'_>) -> Result<(), Refusal> {
        if message.door.releases().is_some() {
            // They have been let in.
            return Ok(());
        }
        let (owner, now) = (message.owner, message.now());
        for of in message.tables.iter_mut() {
            self.allowance.keep(owner, &of.table, &mut of.rows, now, &mut message.left_out);
        }
        if message.door.yields_to_newer() && !message.left_out.is_empty() {
            return Err(Refusal::Limited(message.left_out.reason(&self.allowance.rules())));
        }
        Ok(())
    }

    /// Encodes the dead letter about what the limits left out, if one is due.
    fn letter_of_limits(&self, message: &mut Message<'_>) -> bool {
        if message.left_out.is_empty() || !self.allowance.letter_is_due(message.owner, message.now()) {
            return false;
        }
        let reason = message.left_out.reason(&self.allowance.rules());
        message.encoded.add_letter(message.shown, &reason, None);
        true
    }

    fn enter_at_once(&self, message: &mut Message<'_>) -> Result<Appended, Refusal> {
        let received = message.received;
        let mut state = self.gate.lock();
        if state.is_claimed() {
            // With its time a row has its moment.
            for of in message.tables.iter_mut() {
                message.collisions.join(self.latest.time_rows(&of.table, &mut of.rows, received));
            }
        }
        state = self.gate.pass(state, message.door.closes(), |claimed| message.meets(claimed))?;
        message.yield_to_newer(&state)?;
        for of in message.tables.iter_mut() {
            message.collisions.join(self.latest.prepare_rows(&of.table, &mut of.rows, received));
        }
        let bytes = message.encode(self.holds(received))?;
        let appended = self.append(message, bytes)?;
        self.show(message, appended.first);
        if state.watched.is_some() && !message.door.yields_to_newer() {
            message.moments().for_each(|moment| state.note(moment));
        }
        state.saw(&self.latest, appended.last);
        Ok(appended)
    }

    fn enter_in_slices(&self, message: &mut Message<'_>) -> Result<Appended, Refusal> {
        let received = message.received;
        for of in message.tables.iter_mut() {
            message.collisions.join(self.latest.time_rows(&of.table, &mut of.rows, received));
        }
        let claim = self.gate.claim(message.moments().collect(), message.door.closes(), &self.latest)?;
        for of in message.tables.iter_mut() {
            self.latest.complete_rows(&of.table, &mut of.rows, received);
        }
        let bytes = message.encode(self.holds(received))?;
        let appended = self.append(message, bytes)?;
        self.show(message, appended.first);
        self.note_in_slices(message);
        claim.fulfil(appended.last);
        Ok(appended)
    }

    fn append(&self, message: &Message<'_>, bytes: u64) -> Result<Appended, Refusal> {
        let Message { encoded, received, .. } = message;
        let tally = message.tally();
        let letters = encoded.letters.iter().map(|(body, form)| Part {
            kind: Kind::DeadLetter,
            source: message.source,
            body,
            letter: *form,
            ..Part::default()
        });
        let appended = if let ([record], []) = (encoded.records.as_slice(), encoded.letters.as_slice()) {
            self.ring.append_counting(&[encoded.part(record, message)], *received, tally)
        } else {
            let rows = encoded.records.iter().map(|record| encoded.part(record, message));
            let parts: Vec<Part<'_>> = rows.chain(letters).collect();
            self.ring.append_counting(&parts, *received, tally)
        };
        appended.map_err(|error| Refusal::Ring { error, bytes })
    }

    fn show(&self, message: &Message<'_>, first: Seq) {
        for (record, seq) in message.encoded.records.iter().zip(first.0..) {
            let TableRows { table, rows, .. } = &message.tables[record.table];
            for row in &rows[record.rows.clone()] {
                self.latest.update(table, row, Seq(seq), message.received);
            }
        }
    }

    fn note_in_slices(&self, message: &Message<'_>) {
        let mut moments = message.moments();
        let mut slice = Vec::with_capacity(SLICE_ROWS);
        loop {
            let is_watched = self.gate.lock().watched.is_some();
            slice.extend(moments.by_ref().take(SLICE_ROWS));
            if !is_watched || slice.is_empty() {
                return;
            }
            let mut state = self.gate.lock();
            slice.drain(..).for_each(|moment| state.note(moment));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Mutex, mpsc},
        thread,
        time::Duration,
    };

    use super::{super::again::tests::ingest, *};
    use crate::{
        latest::Filter,
        marks::Pos,
        point::{Timestamp, Value},
        ring::table_hash,
        sync::lock,
    };

    const RECEIVED: Received = Received { wall: Timestamp(1_800_000_000_000_000_000), since_boot_ns: 1 };

    fn row(device: &str, micros: i64, fields: &[(&str, i64)]) -> Row {
        Row {
            time: Some(Timestamp(micros * 1_000)),
            device_time: true,
            symbols: vec![("d".into(), device.into())],
            fields: fields.iter().map(|(name, value)| ((*name).into(), Value::Long(*value))).collect(),
            ..Row::default()
        }
    }

    fn of(table: &str, rows: Vec<Row>) -> TableRows {
        TableRows { table: table.into(), table_hash: table_hash(table), rows }
    }

    fn message<'a>(ingest: &Ingest, door: Door, tables: &'a mut [TableRows], encoded: &'a mut Encoded) -> Message<'a> {
        let (owner, shown) = (ingest.allowance.write(), Shown { topic: "topic", payload: b"payload", most_bytes: 100 });
        let left_out = LeftOut::default();
        let source = SourceId::NONE;
        let (aside, collisions) = (None, Collisions::default());
        let (received, max_bytes) = (RECEIVED, u64::MAX);
        Message { door, source, tables, owner, received, shown, left_out, aside, collisions, max_bytes, encoded }
    }

    fn enter(ingest: &Ingest, door: Door, tables: &mut [TableRows]) -> Result<Appended, Refusal> {
        let entered = ingest.enter(&mut message(ingest, door, tables, &mut Encoded::default()))?;
        Ok(entered.appended)
    }

    /// The value of a field, and the record it is from.
    fn held(ingest: &Ingest, table: &str, device: &str, field: &str) -> Option<(Value, Seq)> {
        let series = ingest.latest.get(table, &[("d", device)])?;
        series.fields.iter().find(|held| held.name == field).map(|held| (held.value.clone(), held.seq))
    }

    fn many(table: &str, rows: i64) -> TableRows {
        of(table, (0..rows).map(|n| row("a", n, &[("x", n)])).collect())
    }

    #[test]
    fn records_are_small_where_lines_bring_them_and_one_where_a_message_does() {
        let text = |n: i64| Value::Text("v".repeat(if n % 2 == 0 { 1 } else { 100 }).into());
        let row = |n: i64| Row { time: Some(Timestamp(n)), fields: vec![("x".into(), text(n))], ..Row::default() };
        let tables = [("a", 2_500), ("b", 1), ("c", 0)].map(|(table, rows)| of(table, (0..rows).map(row).collect()));
        let mut encoded = Encoded::default();
        let (most_rows, most_bytes) = Door::Lines.record_size();
        encoded.encode(&tables, (most_rows, most_bytes), Front::default(), usize::MAX).unwrap();
        let mut back = [Vec::new(), Vec::new(), Vec::new()];
        for record in &encoded.records {
            assert!(record.rows.len() <= most_rows && record.body.len() <= most_bytes + 200);
            let rows = entry::Rows::decode(&encoded.bytes[record.body.clone()]).unwrap();
            assert_eq!(rows.table, tables[record.table].table);
            back[record.table].extend(rows.map(|row| row.unwrap().to_row()));
        }
        assert!(encoded.records.len() >= 5);
        assert!(back.iter().zip(&tables).all(|(back, of)| *back == of.rows));
        encoded.encode(&tables, Door::Mqtt.record_size(), Front::default(), usize::MAX).unwrap();
        assert_eq!(encoded.records.len(), 3);
        encoded.encode(&tables, Door::Mqtt.record_size(), Front::default(), 0).unwrap();
        assert_eq!(encoded.records.len(), 2, "of a table all whose rows were left out there is none");
    }

    #[test]
    fn others_enter_while_a_large_request_does_but_a_row_of_its_moments_waits() {
        let ingest = ingest();
        let mut large = [many("t", SLICE_ROWS as i64 + 1)];
        let mut encoded = Encoded::default();
        let message = message(&ingest, Door::Lines, &mut large, &mut encoded);
        let claim = ingest.gate.claim(message.moments().collect(), true, &ingest.latest).unwrap();
        let other = enter(&ingest, Door::Mqtt, &mut [of("t", vec![row("b", 1, &[("x", 1)])])]).unwrap();
        assert_eq!(held(&ingest, "t", "b", "x"), Some((Value::Long(1), other.last)), "it is visible");
        assert!(ingest.latest.seen() < other.last, "but what comes before it is not yet complete");
        let order = Mutex::new(Vec::new());
        let note = |what: &'static str| lock(&order).push(what);
        thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            let (ingest, note) = (&ingest, &note);
            scope.spawn(move || {
                sender.send(()).unwrap();
                enter(ingest, Door::Mqtt, &mut [of("t", vec![row("a", 7, &[("y", 1)])])]).unwrap();
                note("the row of a claimed moment");
            });
            scope.spawn(move || {
                drop(ingest.gate.unclaimed());
                note("a clear");
            });
            receiver.recv_timeout(Duration::from_mins(1)).unwrap();
            enter(ingest, Door::Mqtt, &mut [of("u", vec![row("a", 7, &[("y", 1)])])]).unwrap();
            note("a row of another table");
            drop(claim);
        });
        assert_eq!(lock(&order)[0], "a row of another table");
        assert_eq!(ingest.latest.seen(), Seq(3));
    }

    #[test]
    fn a_row_and_a_large_request_of_its_moment_meet_whichever_is_first() {
        let ingest = ingest();
        enter(&ingest, Door::Mqtt, &mut [of("t", vec![row("a", 7, &[("y", 1)])])]).unwrap();
        let mut large = [many("t", SLICE_ROWS as i64 + 1)];
        let entered = enter(&ingest, Door::Lines, &mut large).unwrap();
        assert_eq!(large[0].rows[7], Row { completed: 1, ..row("a", 7, &[("x", 7), ("y", 1)]) });
        let mut later = [of("t", vec![row("a", SLICE_ROWS as i64, &[("z", 2)])])];
        enter(&ingest, Door::Mqtt, &mut later).unwrap();
        let last = SLICE_ROWS as i64;
        assert_eq!(later[0].rows[0], Row { completed: 1, ..row("a", last, &[("z", 2), ("x", last)]) });
        assert_eq!((ingest.latest.seen(), ingest.ring.ledger().messages), (Seq(entered.last.0 + 1), 3));
    }

    #[test]
    fn a_large_request_gives_its_moments_up_whatever_becomes_of_it() {
        let ingest = ingest();
        ingest.latest.saw(Seq(1));
        let mut tables = [many("t", 1_000)];
        let mut encoded = Encoded::default();
        let mut message = Message { max_bytes: 100, ..message(&ingest, Door::Lines, &mut tables, &mut encoded) };
        assert!(matches!(ingest.enter(&mut message), Err(Refusal::TooLarge { bytes }) if bytes > 100));
        assert!(!ingest.gate.lock().is_claimed());
        assert!(ingest.latest.list(&Filter::new(Some("t"), Vec::<(Text, Text)>::new()).unwrap(), 9).series.is_empty());
        loop {
            match enter(&ingest, Door::Lines, &mut [many("t", 1_000)]) {
                Ok(_) => {}
                Err(Refusal::Ring { error: AppendError::Full, bytes }) if bytes > 10_000 => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(!ingest.gate.lock().is_claimed());
        ingest.gate.close();
        assert_eq!(enter(&ingest, Door::Lines, &mut [many("t", 1_000)]), Err(Refusal::Closed));
        assert_eq!(enter(&ingest, Door::Lines, &mut [many("t", 1)]), Err(Refusal::Closed));
        assert!(!ingest.gate.lock().is_claimed());
    }

    #[test]
    fn a_large_request_stops_older_rows_from_being_put_back() {
        let ingest = ingest();
        let rows = [row("a", 3, &[("x", 0)]), row("b", 3, &[("x", 0)])];
        let watch = ingest.watch(rows.iter().map(|row| of_row("t", row)));
        enter(&ingest, Door::Lines, &mut [many("t", SLICE_ROWS as i64 * 2 + 1)]).unwrap();
        assert!(watch.is_superseded(of_row("t", &rows[0])) && !watch.is_superseded(of_row("t", &rows[1])));
        let mut tables = [of("t", rows.to_vec())];
        enter(&ingest, Door::Again, &mut tables).unwrap();
        assert_eq!(tables[0].rows, rows[1..]);
    }

    #[test]
    fn what_exceeds_the_limits_is_left_out_and_told_by_a_letter_of_the_same_message() {
        let ingest = ingest();
        let fields = |prefix: &str| (0..1_000).map(|n| (format!("{prefix}{n}").into(), Value::Long(n))).collect();
        let wide = |prefix| of("t", vec![Row { fields: fields(prefix), ..row("a", 7, &[]) }]);
        let encoded = &mut Encoded::default();
        let entered = ingest.enter(&mut message(&ingest, Door::Mqtt, &mut [wide("x")], encoded)).unwrap();
        assert_eq!(entered.letters, 1);
        let Appended { first, last, .. } = entered.appended;
        assert_eq!((first, last, ingest.latest.seen()), (Seq(1), Seq(2), Seq(2)));
        let ledger = ingest.ring.ledger();
        assert_eq!((ledger.messages, ledger.rows, ledger.dead_letters), (1, 1, 1));
        assert_eq!(
            ingest.latest.get("t", &[("d", "a")]).unwrap().fields.len(),
            300 - 2,
            "the time and the symbol count"
        );
        let nothing = ingest.enter(&mut message(&ingest, Door::Mqtt, &mut [wide("y")], encoded)).unwrap();
        assert_eq!(nothing.letters, 0);
        let ledger = ingest.ring.ledger();
        assert_eq!((ledger.messages, ledger.rows, ledger.dead_letters), (2, 1, 1), "it is a message all the same");
        let status = ingest.limits();
        assert_eq!((status.len(), status[0].fields, status[0].rows), (1, 702, 1), "{status:?}");
        let again = enter(&ingest, Door::Again, &mut [wide("z")]);
        assert!(matches!(again, Err(Refusal::Limited(why)) if why.starts_with("[limits] columns_per_table = 300")));
        let row = row("b", 7, &[("new", 1)]);
        let watch = ingest.watch(std::iter::once(of_row("t", &row)));
        assert!(
            matches!(watch.enter("t", &[row], RECEIVED), super::super::again::Entered::Unfit(why) if why.contains("[limits]"))
        );
        assert_eq!(ingest.ring.ledger().rows, 1);
    }

    #[test]
    fn doors_side_by_side_lose_no_field_of_any_moment() {
        const MOMENTS: i64 = 1_200;
        let ingest = ingest();
        thread::scope(|scope| {
            for field in ["a", "b"] {
                let ingest = &ingest;
                scope.spawn(move || {
                    let rows = (0..MOMENTS).map(|n| row(&n.to_string(), 7, &[(field, n)])).collect();
                    enter(ingest, Door::Lines, &mut [of("t", rows)]).unwrap();
                });
            }
            for n in (0..MOMENTS).rev() {
                enter(&ingest, Door::Mqtt, &mut [of("t", vec![row(&n.to_string(), 7, &[("c", n)])])]).unwrap();
            }
        });
        let mut last = std::collections::BTreeMap::new();
        let end = ingest.ring.marks().appended.pos;
        assert!(ingest.ring.wait_durable(Pos(end.0 - 1), Duration::from_mins(1)));
        let mut reader = ingest.ring.reader(ingest.ring.marks().tail);
        while let Some(record) = reader.next().unwrap() {
            for row in entry::Rows::decode(record.body).unwrap() {
                let row = row.unwrap().to_row();
                last.insert(row.symbols, row.fields.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>());
            }
        }
        assert_eq!(last.len(), MOMENTS as usize);
        for (device, mut fields) in last {
            fields.sort();
            assert_eq!(fields, ["a", "b", "c"], "of {device:?}");
        }
    }
}
