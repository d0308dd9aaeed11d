//! Compares the ring's history with QuestDB row by row.
//!
//! The ring is streamed, and QuestDB asked in chunks; a row that is not there as expected becomes a suspect. A later row of the same time
//! and symbols explains it, whether that one is stored or still to be; so suspects are cleared by reading on from where they were found,
//! and looked for a second time. Memory is bounded by a chunk, the suspects, and what is in quarantine.

pub mod compare;
pub mod report;
mod survey;
mod suspects;
pub mod tables;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use thiserror::Error;

pub use self::report::{Excused, Finding, Report, Uncompared};
use self::{
    compare::{Compared, Key, compare},
    survey::{Survey, survey},
    suspects::Suspects,
    tables::View,
};
use crate::{
    entry::{RowRef, Rows},
    marks::{Mark, Seq},
    names,
    point::{Received, Timestamp},
    questdb::{Sql, SqlError},
    ring::{
        Kind, Ledger, Record,
        inspect::{RingFile, Seen, Walk},
    },
    since::Since,
};

/// Rows compared at once, and bytes of them.
const CHUNK_ROWS: usize = 4_096;
const CHUNK_BYTES: usize = 4 << 20;
/// Pause before another look at a row that a running daemon may just be sending again.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
const LOOKS: usize = 3;

/// What to compare.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// Only these tables; all where none is named.
    pub tables: Vec<String>,
    /// Only what was received since then.
    pub since: Option<Since>,
    /// So many findings are named; the rest is counted.
    pub most: usize,
}

/// What the running daemon says.
#[derive(Debug, Clone, Copy)]
pub struct Running {
    /// The last settled record.
    pub settled: Seq,
    /// The ledger.
    pub ledger: Ledger,
}

/// Why there is no result.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The ring cannot be read.
    #[error("cannot read the ring: {0}")]
    Ring(#[from] std::io::Error),
    /// QuestDB cannot be asked.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The quarantine cannot be read.
    #[error("cannot read the quarantine: {0}")]
    Quarantine(std::io::Error),
    /// Nothing was received since then.
    #[error("the ring holds nothing received since then")]
    Nothing,
}

/// A row of the ring, kept as the body of a rows record with the one row.
#[derive(Debug)]
struct Item {
    seq: Seq,
    row: u16,
    body: Box<[u8]>,
}

impl Item {
    fn new(seq: Seq, row: u16, table: &str, bytes: &[u8]) -> Self {
        let mut body = Vec::with_capacity(1 + table.len() + bytes.len());
        body.push(table.len() as u8);
        body.extend_from_slice(table.as_bytes());
        body.extend_from_slice(bytes);
        Self { seq, row, body: body.into() }
    }

    fn with<T>(&self, each: impl FnOnce(&str, &RowRef<'_>) -> T) -> Option<T> {
        let mut rows = Rows::decode(&self.body).ok()?;
        let table = rows.table;
        rows.next()?.ok().map(|row| each(table, &row))
    }

    fn time_us(&self) -> i64 {
        self.with(|_, row| row.time.to_micros()).unwrap_or_default()
    }

    fn key(&self, view: &View) -> Option<Key> {
        self.with(|_, row| Key::of(row, view.keys.iter().map(String::as_str)))
    }
}

/// Rows in quarantine: record, time of receipt, number in the record.
pub type Quarantined = HashSet<(u64, i64, u16)>;

/// The comparison under way.
struct Verifier<'a> {
    file: &'a RingFile,
    walk: Walk<'a>,
    sql: &'a Sql,
    now: Timestamp,
    quarantined: &'a Quarantined,
    tables: BTreeSet<String>,
    views: HashMap<String, View>,
    /// Tables that cannot be compared, by folded name: they are left alone.
    given_up: BTreeMap<String, Uncompared>,
    suspects: Suspects,
    report: Report,
    most: usize,
    looks: usize,
    settled: Seq,
}

/// Compares. `now` is the time on both clocks; `running` is what the daemon says, none where none can be asked.
pub fn verify(
    file: &RingFile,
    sql: &Sql,
    quarantined: &Quarantined,
    now: Received,
    ask: &Ask,
    running: Option<Running>,
) -> Result<Report, VerifyError> {
    let Survey { start, settled, ledger, fault } = survey(file, ask.since.map(|since| since.on(now)))?;
    let start = start.ok_or(VerifyError::Nothing)?;
    let settled = running.map_or(settled, |running| Seq(running.settled.0 + 1).max(settled));
    let mut verifier = Verifier {
        file,
        walk: Walk::from(file.media(), file.header(), start),
        sql,
        now: now.wall,
        quarantined,
        tables: ask.tables.iter().map(|table| names::folded(table).into_owned()).collect(),
        views: HashMap::new(),
        given_up: BTreeMap::new(),
        suspects: Suspects::default(),
        report: Report { from_seq: start.seq.0, settled_seq: settled.0, ..Report::default() },
        most: ask.most,
        looks: if running.is_some() { LOOKS } else { 1 },
        settled,
    };
    verifier.run()?;
    let Verifier { views, given_up, mut report, .. } = verifier;
    report.tables = views.keys().filter(|table| !given_up.contains_key(*table)).count();
    report.uncompared = given_up.into_values().collect();
    report.warnings.extend(views.values().filter_map(|view| view.warning.clone()));
    report.warnings.sort_unstable();
    report.ledger = running.map_or(ledger, |running| running.ledger);
    let pushed_out = report.ledger.quarantined.saturating_sub(quarantined.len() as u64);
    if pushed_out > 0 {
        report.warnings.push(format!(
            "{pushed_out} quarantined rows have left the quarantine; those still in the ring count as missing"
        ));
    }
    report.ledger_fault = fault.or_else(|| unbalanced(&report.ledger));
    report.ok = report.missing + report.differ == 0 && report.uncompared.is_empty() && report.ledger_fault.is_none();
    Ok(report)
}

fn unbalanced(ledger: &Ledger) -> Option<String> {
    let sum = ledger.pending + ledger.stored + ledger.quarantined + ledger.dropped + ledger.coalesced;
    (sum != ledger.rows).then(|| format!("{} rows were taken in, and {sum} are accounted for", ledger.rows))
}

impl Verifier<'_> {
    fn run(&mut self) -> Result<(), VerifyError> {
        let mut chunk = Chunk::default();
        while let Some(seen) = self.walk.next()? {
            let excused = &mut self.report.excused;
            match seen {
                Seen::Damaged(stretch) => excused.damaged_records += stretch.records(),
                Seen::Overtaken { from, to } => excused.overtaken_records += to.seq.0 - from.seq.0,
                Seen::Data(_, record) if record.kind == Kind::Rows => {
                    chunk.take(&record, &self.tables, self.settled, self.quarantined, excused);
                }
                Seen::Data(..) | Seen::Frame { .. } => {}
            }
            if chunk.items.len() >= CHUNK_ROWS || chunk.bytes >= CHUNK_BYTES {
                self.compare_chunk(std::mem::take(&mut chunk))?;
            }
        }
        self.compare_chunk(chunk)?;
        self.clear()
    }

    fn compare_chunk(&mut self, chunk: Chunk) -> Result<(), VerifyError> {
        let Some(from) = chunk.from else { return Ok(()) };
        let mut by_table: BTreeMap<String, Vec<Item>> = BTreeMap::new();
        for item in chunk.items {
            let Some(table) = item.with(|table, _| names::folded(table).into_owned()) else { continue };
            by_table.entry(table).or_default().push(item);
        }
        for (table, items) in by_table {
            if !self.views.contains_key(&table) && !self.given_up.contains_key(&table) {
                match tables::describe(self.sql, &table, self.now) {
                    Ok(view) => drop(self.views.insert(table.clone(), view)),
                    Err(why) => self.give_up(&table, 0, why)?,
                }
            }
            let due = self.due(&table, items);
            let looked = self.look(&table, due)?;
            for item in looked.again(&mut self.report) {
                self.suspects.add(&table, item, from);
            }
        }
        if self.suspects.is_full() {
            self.clear()?;
        }
        Ok(())
    }

    /// The rows that are to be there: not too old, and of those with one key the last.
    fn due(&mut self, table: &str, items: Vec<Item>) -> Vec<Item> {
        let Some(view) = self.views.get_mut(table) else { return items };
        let excused = &mut self.report.excused;
        let (mut last, mut due): (HashMap<Key, usize>, Vec<Option<Item>>) = (HashMap::new(), Vec::new());
        for item in items {
            item.with(|_, row| view.fields.extend(row.fields().map(|(name, _)| names::folded(name).into_owned())));
            if item.time_us() < view.kept_from_us {
                excused.expired += 1;
                continue;
            }
            if view.dedups()
                && let Some(key) = item.key(view)
                && let Some(earlier) = last.insert(key, due.len())
            {
                due[earlier] = None;
                excused.superseded += 1;
            }
            due.push(Some(item));
        }
        due.into_iter().flatten().collect()
    }

    /// Looks for rows, and counts those that are there. A table that cannot be compared is given up.
    fn look(&mut self, table: &str, items: Vec<Item>) -> Result<Looked, VerifyError> {
        let rows = items.len() as u64;
        if let Some(uncompared) = self.given_up.get_mut(table) {
            uncompared.rows += rows;
            return Ok(Looked::default());
        }
        match self.look_for(table, items) {
            Ok(looked) => Ok(looked),
            Err(why) => self.give_up(table, rows, why).map(|()| Looked::default()),
        }
    }

    /// Leaves a table alone whose answers cannot be used, with so many rows that nothing is known of. What ails the server, and so all
    /// tables, ends the comparison.
    fn give_up(&mut self, table: &str, rows: u64, why: SqlError) -> Result<(), VerifyError> {
        if !matches!(why, SqlError::Answer(_) | SqlError::TooLarge(_) | SqlError::Refused { .. }) {
            return Err(why.into());
        }
        let uncompared = Uncompared { table: table.to_owned(), rows, why: why.to_string() };
        self.given_up.insert(table.to_owned(), uncompared);
        Ok(())
    }

    fn look_for(&mut self, table: &str, items: Vec<Item>) -> Result<Looked, SqlError> {
        let mut looked = Looked::default();
        let Some(view) = self.views.get_mut(table) else { return Ok(looked) };
        let moments: BTreeSet<i64> = items.iter().map(Item::time_us).collect();
        let mut found = tables::fetch(self.sql, view, &moments, items.len())?;
        for item in items {
            let Some(key) = item.key(view) else { continue };
            let candidates = found.rows.entry(key).or_default();
            let mut nearest: Option<Compared> = None;
            let mut is_there = None;
            for (place, candidate) in candidates.iter().enumerate() {
                let known = |name: &str| view.fields.contains(name);
                let compared = item.with(|_, row| compare(row, candidate, &found.columns, &known)).unwrap_or_default();
                if compared.differences.is_empty() {
                    self.report.uncompared_fields += compared.uncompared as u64;
                    is_there = Some(place);
                    break;
                }
                if nearest.as_ref().is_none_or(|nearest| compared.differences.len() < nearest.differences.len()) {
                    nearest = Some(compared);
                }
            }
            match is_there {
                Some(place) => {
                    self.report.agree += 1;
                    if !view.dedups() {
                        // Without deduplication there are to be as many rows as were sent.
                        candidates.swap_remove(place);
                        looked.right.push(item);
                    }
                }
                // Other rows of the moment say nothing about this one where rows are told apart by all they hold.
                None => looked.wrong.push((item, nearest.filter(|_| view.dedups()))),
            }
        }
        Ok(looked)
    }

    /// Drops the suspects that a later row explains, looks once more for the others, and reports what is left.
    fn clear(&mut self) -> Result<(), VerifyError> {
        let suspects = std::mem::take(&mut self.suspects);
        let Some(from) = suspects.from() else { return Ok(()) };
        let mut explanation = suspects.into_explanation(&self.views);
        let mut again = Walk::from(self.file.media(), self.walk.header(), from);
        while let Some(seen) = again.next()? {
            if let Seen::Data(_, record) = seen
                && record.kind == Kind::Rows
            {
                self.report.excused.superseded += explanation.take(&record);
            }
        }
        let left = explanation.left();
        for (table, mut items) in left {
            for look in 0..self.looks {
                if look > 0 {
                    std::thread::sleep(LOOK_PAUSE);
                }
                let looked = self.look(&table, items)?;
                if looked.wrong.is_empty() || look + 1 == self.looks {
                    for (item, compared) in &looked.wrong {
                        self.tell(item, compared.as_ref());
                    }
                    break;
                }
                items = looked.again(&mut self.report);
            }
        }
        Ok(())
    }

    fn tell(&mut self, item: &Item, compared: Option<&Compared>) {
        if compared.is_some() {
            self.report.differ += 1;
        } else {
            self.report.missing += 1;
        }
        if self.report.findings.len() < self.most {
            let finding = item.with(|table, row| Finding {
                table: table.to_owned(),
                time: row.time.to_string(),
                symbols: row.symbols().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
                seq: item.seq.0,
                row: item.row,
                differences: compared.map(|compared| compared.differences.clone()).unwrap_or_default(),
            });
            self.report.findings.extend(finding);
        }
    }
}

/// What a look found.
#[derive(Default)]
struct Looked {
    /// Rows that are not there as expected, and what differs; none where there is no such row.
    wrong: Vec<(Item, Option<Compared>)>,
    /// Rows that are there, where each is one of several that may be equal.
    right: Vec<Item>,
}

impl Looked {
    /// The rows to look for once more: with those that are not there go those of the same moments that are, since equal rows are told
    /// apart by their count alone.
    fn again(self, report: &mut Report) -> Vec<Item> {
        let moments: HashSet<i64> = self.wrong.iter().map(|(item, _)| item.time_us()).collect();
        let mut items: Vec<Item> = self.wrong.into_iter().map(|(item, _)| item).collect();
        for item in self.right.into_iter().filter(|item| moments.contains(&item.time_us())) {
            report.agree -= 1;
            items.push(item);
        }
        items
    }
}

/// Rows that are due, in the order of the ring.
#[derive(Default)]
struct Chunk {
    items: Vec<Item>,
    bytes: usize,
    /// Where the first of them is.
    from: Option<Mark>,
}

impl Chunk {
    /// Takes the rows of a record that are due.
    fn take(
        &mut self,
        record: &Record<'_>,
        tables: &BTreeSet<String>,
        settled: Seq,
        quarantined: &Quarantined,
        excused: &mut Excused,
    ) {
        let Ok(rows) = Rows::decode(record.body) else { return };
        let table = rows.table;
        if !tables.is_empty() && !tables.contains(&*names::folded(table)) {
            return;
        }
        if record.seq >= settled {
            excused.pending += u64::from(record.rows);
            return;
        }
        for (index, row) in rows.flatten().enumerate() {
            let index = index as u16;
            if quarantined.contains(&(record.seq.0, record.received.wall.0, index)) {
                excused.quarantined += 1;
                continue;
            }
            self.from.get_or_insert(record.mark);
            self.bytes += row.bytes.len();
            self.items.push(Item::new(record.seq, index, table, row.bytes));
        }
    }
}
