//! What a ring holds, in one document.

use std::{collections::BTreeMap, io};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    InspectError, RingFile,
    accounts::Accounts,
    walk::{Seen, Walk, last_before},
};
use crate::{
    entry::Rows,
    names,
    point::Timestamp,
    ring::{Kind, Ledger, Mark, Marks, Pos, Record, Ring, Seq, StateKind, States},
    tally::SourceCounts,
};

/// Tables whose rows are counted apart; the rest is counted together.
const MAX_TABLES: usize = 256;

/// A watermark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = Watermark)]
pub struct MarkView {
    /// Number of the last record before it.
    pub seq: u64,
    /// Its position in the log.
    pub pos: u64,
}

impl From<Mark> for MarkView {
    fn from(mark: Mark) -> Self {
        Self { seq: last_before(mark).0, pos: mark.pos.0 }
    }
}

/// Rows of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TableRows {
    /// The table.
    pub table: String,
    /// Its rows between tail and head.
    pub rows: u64,
}

/// What a ring holds. The offline document (`forebay ring info --file`) and the answer of `GET /v1/ring` are the same.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RingInfo {
    /// `daemon` where watermarks and ledger come from the running daemon, `file` where they are as the file tells.
    pub source: String,
    /// The file.
    pub path: String,
    /// Its size in bytes, as its header says.
    pub size_bytes: u64,
    /// Version of its format.
    pub format_version: u32,
    /// The ring's id, in hexadecimal.
    pub ring_id: String,
    /// Bytes of data in a lap.
    pub capacity_bytes: u64,
    /// Raised at each start.
    pub generation: u32,
    /// When the latest start was, by that time's wall clock.
    pub opened: Option<String>,
    /// Whether the ring was closed in order; false while a daemon runs.
    pub clean: bool,
    /// Share of the ring taken by what may not be overwritten yet (from `safe` to the head), 0 to 1.
    pub fill: f64,
    /// Bytes between tail and head.
    pub used_bytes: u64,
    /// Bytes between settled and head.
    pub pending_bytes: u64,
    /// The oldest record kept.
    pub tail: MarkView,
    /// Settled at least `resend_window` ago.
    pub safe: MarkView,
    /// Before it everything is stored, quarantined or dropped.
    pub settled: MarkView,
    /// Survives a power cut.
    pub durable: MarkView,
    /// The head.
    pub appended: MarkView,
    /// When the oldest row in the ring was received.
    pub oldest_received: Option<String>,
    /// Milliseconds since then, by this machine's clock.
    pub oldest_age_ms: Option<u64>,
    /// The oldest event time of a row in the ring.
    pub oldest_time: Option<String>,
    /// Data records between tail and head.
    pub records: u64,
    /// Rows in them.
    pub rows: u64,
    /// Messages that could not be decoded.
    pub dead_letters: u64,
    /// Cleared series.
    pub clears: u64,
    /// Rows by table, most first; at most 256 tables.
    pub tables: Vec<TableRows>,
    /// Rows of further tables.
    pub other_tables_rows: u64,
    /// Damaged stretches met on the way.
    pub damaged_stretches: u64,
    /// Whether all from tail to head was looked at. A daemon stops counting after some seconds; then records, rows, tables and what is
    /// oldest are those of the oldest part.
    pub complete: bool,
    /// What became of every row since the ring was created.
    pub ledger: Ledger,
    /// What is counted beside the ledger, by source, since the ring was created. What no source took has an empty name.
    pub sources: Vec<SourceCounts>,
    /// What else outlives the tail: entries by kind.
    pub state: Vec<StateCount>,
}

/// Entries of the state of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct StateCount {
    /// A word for the kind; a kind that this program does not know is `unknown`.
    pub kind: String,
    /// Entries of it.
    pub entries: u64,
}

/// Counts what a walk meets.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub records: u64,
    pub rows: u64,
    pub dead_letters: u64,
    pub clears: u64,
    /// Records that check out and cannot be read all the same, and the first of them.
    pub malformed: u64,
    pub first_malformed: Option<Seq>,
    /// By folded name: the name as it was first met, and its rows.
    tables: BTreeMap<String, (String, u64)>,
    other_rows: u64,
    oldest_received: Option<Timestamp>,
    oldest_time: Option<Timestamp>,
}

impl Contents {
    pub fn count(&mut self, record: &Record<'_>) {
        self.records += 1;
        match record.kind {
            Kind::Rows => self.count_rows(record),
            Kind::DeadLetter => self.dead_letters += 1,
            Kind::Clear => self.clears += 1,
            // Its rows are counted where they are released.
            Kind::Held | Kind::Pad | Kind::Commit | Kind::State => {}
        }
    }

    fn count_rows(&mut self, record: &Record<'_>) {
        let count = u64::from(record.rows);
        self.rows += count;
        earlier(&mut self.oldest_received, record.received.wall);
        let Ok(rows) = Rows::decode(record.body) else { return self.is_malformed(record.seq) };
        let name = names::folded(rows.table);
        if let Some((_, known)) = self.tables.get_mut(&*name) {
            *known += count;
        } else if self.tables.len() < MAX_TABLES {
            self.tables.insert(name.into_owned(), (rows.table.to_owned(), count));
        } else {
            self.other_rows += count;
        }
        for row in rows {
            let Ok(row) = row else { return self.is_malformed(record.seq) };
            earlier(&mut self.oldest_time, row.time);
        }
    }

    fn is_malformed(&mut self, seq: Seq) {
        self.malformed += 1;
        self.first_malformed.get_or_insert(seq);
    }

    /// Names of the tables counted apart.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tables.values().map(|(name, _)| name.as_str())
    }
}

fn earlier(oldest: &mut Option<Timestamp>, time: Timestamp) {
    *oldest = Some(oldest.map_or(time, |oldest| oldest.min(time)));
}

impl RingFile {
    /// What the file holds. `now` is this machine's clock; `keep_on` is asked now and then whether to go on counting.
    pub fn info(&self, now: Timestamp, keep_on: &mut dyn FnMut() -> bool) -> Result<RingInfo, InspectError> {
        self.count(self.walk(), now, keep_on).map_err(|source| self.failed(source))
    }

    fn count(&self, mut walk: Walk<'_>, now: Timestamp, keep_on: &mut dyn FnMut() -> bool) -> io::Result<RingInfo> {
        let (mut contents, mut accounts) = (Contents::default(), Accounts::new(&self.found));
        let mut states = States::new(usize::MAX);
        let (mut complete, mut damaged_stretches) = (true, 0);
        while let Some(seen) = walk.next()? {
            accounts.take(&seen);
            if let Seen::Frame { at, state, .. } = &seen {
                states.apply(state, at.pos.0);
            }
            match &seen {
                Seen::Data(_, record) => contents.count(record),
                Seen::Damaged(_) => damaged_stretches += 1,
                Seen::Frame { .. } if !keep_on() => {
                    complete = false;
                    break;
                }
                Seen::Frame { .. } | Seen::Overtaken { .. } => {}
            }
        }
        let header = *walk.header();
        accounts.newer(&header);
        let mut info = RingInfo {
            source: "file".into(),
            path: self.path.display().to_string(),
            size_bytes: self.expected_bytes(),
            format_version: header.version,
            ring_id: format!("{:016x}", header.ring_id),
            capacity_bytes: header.capacity,
            generation: header.generation,
            opened: (header.generation > 0).then(|| header.opened.wall.to_string()),
            clean: header.clean,
            damaged_stretches,
            complete,
            ledger: accounts.ledger(),
            ..RingInfo::default()
        };
        info.put_marks(accounts.marks());
        info.put_contents(contents, now);
        info.put_states(&states);
        Ok(info)
    }
}

impl RingInfo {
    fn put_marks(&mut self, marks: Marks) {
        let from = |mark: Mark| marks.appended.pos.0.saturating_sub(mark.pos.0);
        self.fill = from(marks.safe) as f64 / self.capacity_bytes as f64;
        (self.used_bytes, self.pending_bytes) = (from(marks.tail), from(marks.settled));
        self.tail = marks.tail.into();
        self.safe = marks.safe.into();
        self.settled = marks.settled.into();
        self.durable = marks.durable.into();
        self.appended = marks.appended.into();
    }

    fn put_states(&mut self, states: &States) {
        self.sources = states.source_counts();
        let kinds = states.kinds().into_iter().filter(|(kind, _)| *kind != StateKind::SOURCE);
        self.state = kinds.map(|(kind, entries)| StateCount { kind: kind.word().to_owned(), entries }).collect();
    }

    fn put_contents(&mut self, contents: Contents, now: Timestamp) {
        let received = contents.oldest_received;
        self.oldest_received = received.map(|time| time.to_string());
        self.oldest_age_ms = received.map(|time| now.0.saturating_sub(time.0).max(0) as u64 / 1_000_000);
        self.oldest_time = contents.oldest_time.map(|time| time.to_string());
        (self.records, self.rows) = (contents.records, contents.rows);
        (self.dead_letters, self.clears) = (contents.dead_letters, contents.clears);
        self.tables = contents.tables.into_values().map(|(table, rows)| TableRows { table, rows }).collect();
        self.tables.sort_by_key(|table| std::cmp::Reverse(table.rows));
        self.other_tables_rows = contents.other_rows;
    }
}

/// What the ring of a running daemon holds: contents from its file, watermarks and ledger from the daemon itself.
pub fn live_info(ring: &Ring, now: Timestamp, keep_on: &mut dyn FnMut() -> bool) -> Result<RingInfo, InspectError> {
    let file = RingFile::open(ring.status().path.as_ref())?;
    // The head is known here, and need not be searched for.
    let walk = file.walk().upto(ring.marks().durable.pos);
    let mut info = file.count(walk, now, keep_on).map_err(|source| file.failed(source))?;
    info.source = "daemon".into();
    info.put_marks(ring.marks());
    info.ledger = ring.ledger();
    ring.with_states(|states| info.put_states(states));
    Ok(info)
}

impl Accounts {
    /// Takes note of what a walk meets.
    pub(super) fn take(&mut self, seen: &Seen<'_>) {
        match seen {
            Seen::Data(header, record) => self.record(record.mark, record.end, header),
            Seen::Frame { end, commit, .. } => self.frame(*end, commit.as_deref()),
            Seen::Damaged(stretch) if stretch.ends_log => {}
            Seen::Damaged(stretch) => self.jump(stretch.to),
            Seen::Overtaken { to, .. } => self.jump(*to),
        }
    }
}

impl From<MarkView> for Mark {
    fn from(view: MarkView) -> Self {
        Self { pos: Pos(view.pos), seq: Seq(view.seq + 1) }
    }
}
