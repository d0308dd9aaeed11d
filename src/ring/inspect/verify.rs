//! Whether a ring file is intact: every checksum from tail to head, and both header slots.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use serde::{Deserialize, Serialize};

use super::{
    InspectError, RingFile,
    accounts::Accounts,
    headers::{self, Slot, SlotState},
    info::{Contents, MarkView},
    walk::{Seen, Stretch, Walk, last_before},
};
use crate::ring::{
    Kind, Mark, Pos,
    held::Held,
    tables::{hash_as_written, table_hash},
};

/// Damaged stretches that are listed; all are counted.
const MAX_LISTED: usize = 1_000;
/// Tables named as concerned.
const MAX_TABLES: usize = 256;

/// A damaged stretch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StretchView {
    /// Number of the first record lost; none where only a pad or a commit was hit.
    pub first: Option<u64>,
    /// Number of the last record lost.
    pub last: Option<u64>,
    /// Where the damage begins.
    pub from_pos: u64,
    /// Where reading goes on.
    pub to_pos: u64,
    /// The bytes in between.
    pub bytes: u64,
    /// Tables whose rows are concerned, as far as can be told.
    pub tables: Vec<String>,
    /// Whether nothing intact follows.
    pub ends_log: bool,
}

/// What a check of a ring file found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VerifyReport {
    /// The file.
    pub path: String,
    /// Whether nothing is damaged: not the log, not the header slots, and the file has its length.
    pub intact: bool,
    /// Version of its format.
    pub format_version: u32,
    /// The ring's id, in hexadecimal.
    pub ring_id: String,
    /// Whether the ring was closed in order; false while a daemon runs.
    pub clean: bool,
    /// Bytes the file has.
    pub file_bytes: u64,
    /// Bytes its header says it has.
    pub expected_bytes: u64,
    /// Whether the disk refused to read a part of it; that part shows as damage.
    pub unreadable: bool,
    /// Both header slots.
    pub slots: Vec<Slot>,
    /// Data records that check out.
    pub records: u64,
    /// Rows in them.
    pub rows: u64,
    /// Dead letters among them.
    pub dead_letters: u64,
    /// Clears among them.
    pub clears: u64,
    /// Commits that check out.
    pub commits: u64,
    /// Bytes from tail to head.
    pub bytes: u64,
    /// Where the log begins.
    pub tail: MarkView,
    /// Where it ends: a daemon goes on here.
    pub head: MarkView,
    /// Damaged stretches, the first 1,000.
    pub damage: Vec<StretchView>,
    /// How many there are.
    pub damaged_stretches: u64,
    /// Their bytes.
    pub damaged_bytes: u64,
    /// Their records.
    pub lost_records: u64,
    /// Rows that were taken in, have no fate and are not in the log: the next start counts them as dropped. None where it cannot be told,
    /// since a daemon moved the tail meanwhile.
    pub lost_rows: Option<u64>,
    /// Tables whose rows are concerned, as far as can be told.
    pub tables: BTreeSet<String>,
    /// Records that check out and whose body cannot be read: another forebay's, or a bug.
    pub malformed: u64,
    /// The first of them.
    pub first_malformed: Option<u64>,
    /// Records given up by a running daemon while they were about to be checked.
    pub overtaken: u64,
}

struct Check {
    report: VerifyReport,
    contents: Contents,
    accounts: Accounts,
    held: Held,
    stretches: Vec<Stretch>,
}

impl RingFile {
    /// Checks everything from tail to head.
    pub fn verify(&self) -> Result<VerifyReport, InspectError> {
        self.check().map_err(|source| self.failed(source))
    }

    fn check(&self) -> io::Result<VerifyReport> {
        let mut check = Check {
            report: VerifyReport {
                path: self.path.display().to_string(),
                format_version: self.found.header.version,
                ring_id: format!("{:016x}", self.found.header.ring_id),
                file_bytes: self.media.file_bytes(),
                expected_bytes: self.expected_bytes(),
                slots: headers::slots(&self.media)?.to_vec(),
                tail: self.found.header.tail.into(),
                ..VerifyReport::default()
            },
            contents: Contents::default(),
            accounts: Accounts::new(&self.found),
            held: Held::default(),
            stretches: Vec::new(),
        };
        let mut walk = self.walk();
        while let Some(seen) = walk.next()? {
            check.take(seen);
        }
        let header = *walk.header();
        check.accounts.newer(&header);
        check.report.clean = header.clean;
        let marks = check.accounts.marks();
        check.report.head = marks.appended.into();
        let pending = self.rows_between(marks.settled, marks.appended.pos)?;
        check.report.lost_rows = pending.filter(|_| check.report.overtaken == 0).map(|pending| {
            let fates = check.accounts.outcome().rows();
            check.accounts.intake().rows.saturating_sub(fates + pending + check.held.rows())
        });
        check.report.unreadable = self.media.unreadable();
        Ok(check.finish())
    }

    /// Rows of the intact records between two places; none when the tail has passed the first one meanwhile.
    fn rows_between(&self, from: Mark, upto: Pos) -> io::Result<Option<u64>> {
        let mut walk = Walk::from(&self.media, &self.found.header, from);
        let mut rows = 0;
        while walk.place().pos < upto
            && let Some(seen) = walk.next()?
        {
            match seen {
                Seen::Data(header, record) if record.mark.pos < upto && header.kind == Kind::Rows => {
                    rows += u64::from(header.rows);
                }
                Seen::Overtaken { .. } => return Ok(None),
                _ => {}
            }
        }
        Ok(Some(rows))
    }
}

impl Check {
    fn take(&mut self, seen: Seen<'_>) {
        self.accounts.take(&seen);
        match seen {
            Seen::Data(_, record) => {
                self.contents.count(&record);
                record.tell(&mut self.held);
                self.report.bytes += record.end.pos.0 - record.mark.pos.0;
            }
            Seen::Frame { header, at, end, .. } => {
                self.report.commits += u64::from(header.kind == Kind::Commit);
                self.report.bytes += end.pos.0 - at.pos.0;
            }
            Seen::Damaged(stretch) => {
                self.report.damaged_stretches += 1;
                self.report.damaged_bytes += stretch.bytes();
                self.report.lost_records += stretch.records();
                if self.stretches.len() < MAX_LISTED {
                    self.stretches.push(stretch);
                }
            }
            Seen::Overtaken { from, to } => self.report.overtaken += to.seq.0.saturating_sub(from.seq.0),
        }
    }

    fn finish(self) -> VerifyReport {
        let Self { mut report, contents, stretches, .. } = self;
        (report.records, report.rows) = (contents.records, contents.rows);
        (report.dead_letters, report.clears) = (contents.dead_letters, contents.clears);
        report.malformed = contents.malformed;
        report.first_malformed = contents.first_malformed.map(|seq| seq.0);
        let hashes = |name| [(hash_as_written(name), name), (table_hash(name), name)];
        let known: BTreeMap<u32, &str> = contents.names().flat_map(hashes).collect();
        for stretch in &stretches {
            let view = StretchView::of(stretch, &known);
            let room = MAX_TABLES.saturating_sub(report.tables.len());
            report.tables.extend(view.tables.iter().take(room).cloned());
            report.damage.push(view);
        }
        let sound = |slot: &Slot| matches!(slot.state, SlotState::Valid | SlotState::Empty);
        report.intact = report.damaged_stretches == 0
            && report.malformed == 0
            && !report.unreadable
            && report.file_bytes >= report.expected_bytes
            && report.slots.iter().all(sound);
        report
    }
}

impl StretchView {
    fn of(stretch: &Stretch, known: &BTreeMap<u32, &str>) -> Self {
        let lost = stretch.records() > 0;
        let mut tables = stretch.tables.clone();
        tables.extend(stretch.hashes.iter().filter_map(|hash| known.get(hash)).map(|name| (*name).to_owned()));
        Self {
            first: lost.then_some(stretch.from.seq.0),
            last: lost.then_some(last_before(stretch.to).0),
            from_pos: stretch.from.pos.0,
            to_pos: stretch.to.pos.0,
            bytes: stretch.bytes(),
            tables: tables.into_iter().collect(),
            ends_log: stretch.ends_log,
        }
    }
}
