//! From ring records to rows of a request; what cannot be sent goes to quarantine.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
};

use thiserror::Error;

use super::{
    condemned::Condemned,
    exceptions::Id,
    letters::Letters,
    notices::Notices,
    quarantine::{Entry, Key},
    refused::{Fault, Refused},
    refused_rows::RefusedRows,
    seeded::{Bug, is_on},
};
use crate::{
    clock::SharedClock,
    entry::{RawRows, RowRef, Rows},
    limits::{self, Allowance, Excess},
    marks::{Pos, Seq},
    names,
    point::Text,
    questdb::{
        Ask, RowBuffer, SqlError,
        change::Change,
        columns::{Columns, Coming},
        schema::{Examined, Schema, Verdict},
        sql::TableInfo,
    },
    ring::{Kind, Record, Ring},
};

/// Tells whether rows may go to a table although its keys lack some of their symbols.
pub type AllowNarrow = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Takes a row: the encoder, its table as it is sent, its number in the record, the row.
pub type EachRow<'a> = &'a mut dyn FnMut(&mut Encoder, &str, u16, &RowRef<'_>) -> Result<(), EncodeError>;

/// Why a record cannot be encoded now; it is tried again later.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// QuestDB could not be asked about the table.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The quarantine could not be written.
    #[error("cannot write the quarantine (is its disk full?): {0}")]
    Quarantine(#[from] io::Error),
}

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Encoded {
    /// Its rows are in the buffer, in quarantine, or skipped.
    Taken,
    /// Its table has to be changed first, with nothing in flight. Nothing of it is in the buffer.
    Barrier(Barrier),
}

/// A table to be made fit for a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barrier {
    /// The table.
    pub table: String,
    /// The row's symbols.
    pub symbols: Vec<String>,
}

/// Tables whose usual rows are known; forgotten beyond.
const MAX_KNOWN_TABLES: usize = 1_024;
/// Tables whose columns are counted; forgotten beyond.
const MAX_TIGHT_TABLES: usize = 256;
/// Shapes of rows known a table; the oldest makes room.
const MAX_KNOWN_SHAPES: usize = 4;

/// Names of symbols, as in a row's encoded bytes with the values left out, of rows that go to a table as they are.
#[derive(Debug, Default)]
struct Shapes {
    /// As its rows are sent, whatever their spelling.
    table: String,
    names: Vec<Vec<u8>>,
}

impl Shapes {
    fn hold(&self, symbol_bytes: &[u8]) -> bool {
        self.names.iter().any(|names| is_named(symbol_bytes, names))
    }
}

/// Names in encoded symbols, each with its length; nothing after what does not read.
fn names_in(mut symbols: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (name, rest) = symbols.split_at_checked(1 + usize::from(*symbols.first()?))?;
        let (length, rest) = rest.split_first_chunk()?;
        symbols = rest.get(usize::from(u16::from_le_bytes(*length))..)?;
        Some(name)
    })
}

fn is_named(symbol_bytes: &[u8], mut wanted: &[u8]) -> bool {
    for name in names_in(symbol_bytes) {
        match wanted.strip_prefix(name) {
            Some(rest) => wanted = rest,
            None => return false,
        }
    }
    wanted.is_empty()
}

/// Shapes by table, as long as what the schema knows does not change.
#[derive(Debug, Default)]
pub struct KnownShapes {
    generation: u64,
    tables: HashMap<u32, Shapes, foldhash::fast::RandomState>,
}

impl KnownShapes {
    fn shapes(&self, table_hash: u32, table: &[u8], generation: u64) -> Option<&Shapes> {
        if self.generation != generation {
            return None;
        }
        let shapes = self.tables.get(&table_hash)?;
        let is_its = |table: &[u8]| std::str::from_utf8(table).is_ok_and(|table| names::same(table, &shapes.table));
        (shapes.table.as_bytes() == table || is_its(table)).then_some(shapes)
    }

    fn learn(&mut self, table_hash: u32, table: &str, generation: u64, symbol_bytes: &[u8]) {
        let full = self.tables.len() >= MAX_KNOWN_TABLES && !self.tables.contains_key(&table_hash);
        if self.generation != generation || full {
            self.tables.clear();
            self.generation = generation;
        }
        let shapes = self.tables.entry(table_hash).or_default();
        if !names::same(&shapes.table, table) {
            *shapes = Shapes { table: table.to_owned(), names: Vec::new() };
        }
        if !shapes.hold(symbol_bytes) {
            if shapes.names.len() >= MAX_KNOWN_SHAPES {
                shapes.names.remove(0);
            }
            shapes.names.push(names_in(symbol_bytes).flatten().copied().collect());
        }
    }
}

/// A lane's encoder.
pub struct Encoder {
    /// The ring, for its id and for counting what is set aside.
    pub ring: Ring,
    /// What is known of the tables.
    pub schema: Schema,
    /// Where tables are asked about and changed.
    pub sql: Arc<dyn Ask>,
    /// The quarantine, what is in it, and its way in for messages that did not become rows.
    pub letters: Arc<Letters>,
    /// Rows set aside, by source.
    pub refused_rows: Arc<RefusedRows>,
    /// What the journal tells of rows set aside.
    pub notices: Notices,
    /// See [`AllowNarrow`].
    pub allow_narrow: AllowNarrow,
    /// Wall clock.
    pub clock: SharedClock,
    /// Set aside, and not yet counted by the ring.
    pub uncounted: Vec<(Seq, u32)>,
    /// Scratch for a quarantine entry's body.
    pub scratch: Vec<u8>,
    /// Rows that need no second look.
    pub known: KnownShapes,
    /// Tables that refuse everything.
    pub condemned: Condemned,
    /// Columns that refuse a form of values.
    pub refused: Refused,
    /// Columns that rows make.
    pub coming: Coming,
    /// How many columns a table may get.
    pub allowance: Arc<Allowance>,
    /// Columns of tables whose rows in the ring may have more, by folded name.
    pub tight: HashMap<String, limits::Columns, foldhash::fast::RandomState>,
}

impl Encoder {
    /// Takes a record into `buffer`. Rows before `once_below` do not go a second time to a table without deduplication.
    pub fn encode(
        &mut self,
        record: &Record<'_>,
        once_below: Pos,
        buffer: &mut RowBuffer,
    ) -> Result<Encoded, EncodeError> {
        let untold = self.letters.exceptions.claim(record.into());
        if untold > 0 {
            self.uncounted.push((record.seq, untold));
        }
        match record.kind {
            Kind::Rows => {
                if let Some(reason) = self.condemnation(record) {
                    let aside: EachRow<'_> = &mut |encoder, _, index, _| encoder.set_aside(record, index, &reason);
                    self.each_row(record, once_below, aside)?;
                    return Ok(Encoded::Taken);
                }
                let is_doubtful = self.refused.concerns(record.table_hash);
                if !is_doubtful && self.encode_known(record, buffer) {
                    return Ok(Encoded::Taken);
                }
                if let Some(barrier) = self.examine(record)?.filter(|_| !is_on(Bug::NoBarrier)) {
                    return Ok(Encoded::Barrier(barrier));
                }
                let mut tight = None;
                self.each_row(record, once_below, &mut |encoder, table, index, row| {
                    if *tight.get_or_insert_with(|| encoder.allowance.is_tight(table))
                        && let Some(reason) = encoder.exceeds(table, row)?
                    {
                        return encoder.set_aside(record, index, &reason);
                    }
                    if is_doubtful && let Some(reason) = encoder.refusal(record, table, row) {
                        return encoder.set_aside(record, index, &reason);
                    }
                    match buffer.add(table, row, &mut encoder.columns()) {
                        Ok(()) => Ok(()),
                        Err(reason) => encoder.set_aside(record, index, &reason),
                    }
                })?;
            }
            Kind::DeadLetter => self.set_letter_aside(record)?,
            _ => {}
        }
        Ok(Encoded::Taken)
    }

    /// Why a record's rows are set aside without being sent, if they are.
    fn condemnation(&mut self, record: &Record<'_>) -> Option<Arc<str>> {
        if self.condemned.is_empty() {
            return None;
        }
        let table = Rows::decode(record.body).ok()?.table;
        self.condemned.reason(record.table_hash, table, record.mark.pos, self.clock.since_boot())
    }

    /// Why a row is set aside without being sent, if it is: a column of it is known to refuse such a value.
    fn refusal(&mut self, record: &Record<'_>, table: &str, row: &RowRef<'_>) -> Option<Arc<str>> {
        let mut values = self.values(table, row);
        // One that it has only taken over is not to blame: it is stored without that.
        values.truncate(values.len().saturating_sub(usize::from(row.completed())));
        self.refused.reason(record.table_hash, &values, record.mark.pos, self.clock.since_boot())
    }

    /// What a row is made of.
    pub fn values(&mut self, table: &str, row: &RowRef<'_>) -> Vec<Fault> {
        let places = self.columns().places(table, row);
        places.into_iter().map(|(column, form)| Fault { column, form }).collect()
    }

    /// Takes the rows in one go where that is all there is to do: they are of shapes that go to their table as they are.
    fn encode_known(&mut self, record: &Record<'_>, buffer: &mut RowBuffer) -> bool {
        if self.letters.exceptions.touches(record.into()) {
            return false;
        }
        let Ok(rows) = RawRows::decode(record.body) else { return false };
        let shapes = self.known.shapes(record.table_hash, rows.table, self.schema.generation());
        let most = self.allowance.rules().columns;
        let columns = &mut Columns::new(&self.schema, &mut self.coming, most);
        shapes.is_some_and(|shapes| buffer.add_all(&shapes.table, rows, |symbols| shapes.hold(symbols), columns))
    }

    /// What the columns of the lane's tables hold.
    pub fn columns(&mut self) -> Columns<'_> {
        let most = self.allowance.rules().columns;
        Columns::new(&self.schema, &mut self.coming, most)
    }

    /// Makes sure that there is a verdict on each row's shape, unless a statement has to be run first.
    fn examine(&mut self, record: &Record<'_>) -> Result<Option<Barrier>, EncodeError> {
        let Ok(rows) = Rows::decode(record.body) else { return Ok(None) };
        let table = rows.table;
        let mut tight = self.allowance.is_tight(table);
        let mut last = None;
        for row in rows.flatten() {
            let shape = self.schema.shape(row.symbols().map(|(name, _)| name));
            // No symbol's column is made for a row that is going to be set aside.
            if last == Some(shape) || tight && self.exceeds(table, &row)?.is_some() {
                continue;
            }
            last = Some(shape);
            if let Some(verdict) = self.schema.verdict(table, shape) {
                if *verdict == Verdict::Send && !tight {
                    let (name, generation) = (self.schema.name(table), self.schema.generation());
                    self.known.learn(record.table_hash, name, generation, row.symbol_bytes());
                }
                continue;
            }
            let symbols: Vec<_> = row.symbols().map(|(name, _)| name).collect();
            let allow = (self.allow_narrow)(table);
            let examined = self.schema.examine(&*self.sql, table, &symbols, allow)?;
            if let Some(info) = self.schema.info(table) {
                let columns = info.columns.iter().filter(|column| !column.designated);
                self.allowance.learn(table, columns.map(|column| column.name.as_str()));
                tight = self.allowance.is_tight(table);
            }
            if let Examined::Needs(_) = examined {
                let symbols = symbols.into_iter().map(str::to_owned).collect();
                return Ok(Some(Barrier { table: table.to_owned(), symbols }));
            }
        }
        Ok(None)
    }

    /// Why a row must not be sent: its table would get more columns by it than it may. That is so of rows that were in the ring
    /// before the limits were, or are from looser ones.
    fn exceeds(&mut self, table: &str, row: &RowRef<'_>) -> Result<Option<String>, EncodeError> {
        let name = names::folded(table);
        if !self.tight.contains_key(&*name) {
            let mut columns = limits::Columns::default();
            if let Some(info) = self.schema.describe(&*self.sql, table)? {
                info.columns.iter().filter(|column| !column.designated).for_each(|column| columns.learn(&column.name));
            }
            if self.tight.len() >= MAX_TIGHT_TABLES {
                self.tight.clear();
            }
            self.tight.insert(name.clone().into_owned(), columns);
        }
        let Some(columns) = self.tight.get_mut(&*name) else { return Ok(None) };
        let rules = self.allowance.rules();
        let names = row.symbols().map(|(name, _)| name).chain(row.fields().map(|(name, _)| name));
        let Err(excess) = columns.admit_together(names, &rules) else { return Ok(None) };
        let (key, limit) = (Excess::Columns.key(), rules.columns);
        let columns = if excess == 1 { "column" } else { "columns" };
        Ok(Some(format!("[limits] {key} = {limit}: table {table:?} would get {excess} more {columns} than that")))
    }

    /// Calls `each` with every row that is to be sent; rows that are refused by their verdict go to quarantine.
    pub fn each_row(&mut self, record: &Record<'_>, once_below: Pos, each: EachRow<'_>) -> Result<(), EncodeError> {
        let id = Id::from(record);
        let touched = self.letters.exceptions.touches(id);
        let Ok(rows) = Rows::decode(record.body) else { return self.set_damaged_aside(record, 0) };
        let table = rows.table;
        let name = Text::from(self.schema.name(table));
        for (index, row) in rows.enumerate() {
            let index = index as u16;
            let Ok(row) = row else { return self.set_damaged_aside(record, index) };
            if touched && self.letters.exceptions.contains(id, index) {
                continue;
            }
            let shape = self.schema.shape(row.symbols().map(|(name, _)| name));
            match self.schema.verdict(table, shape) {
                Some(Verdict::SendOnce) if record.mark.pos < once_below => {}
                None | Some(Verdict::Send | Verdict::SendOnce) => each(self, &name, index, &row)?,
                Some(Verdict::Refuse(reason)) => {
                    let reason = Arc::clone(reason);
                    self.set_aside(record, index, &reason)?;
                }
            }
        }
        Ok(())
    }

    /// Forgets what is known of a table that has changed.
    pub fn renew(&mut self, hash: u32, table: &str, change: &Change, now: Option<&TableInfo>, sent: bool) {
        self.schema.renew(table, change, now, sent);
        self.coming.forget(table);
        self.tight.remove(&*names::folded(table));
        self.condemned.acquit(&HashSet::from([hash]));
        self.refused.forget(hash);
    }

    /// Makes a table fit. To be called only while nothing of it is in flight.
    pub fn prepare(&mut self, barrier: &Barrier) -> Result<(), EncodeError> {
        let symbols: Vec<_> = barrier.symbols.iter().map(String::as_str).collect();
        let allow = (self.allow_narrow)(&barrier.table);
        self.schema.prepare(&*self.sql, &barrier.table, &symbols, allow)?;
        Ok(())
    }

    /// Puts one row of a record into quarantine.
    pub fn set_aside(&mut self, record: &Record<'_>, index: u16, reason: &str) -> Result<(), EncodeError> {
        let Ok(mut rows) = Rows::decode(record.body) else { return Ok(()) };
        let table = rows.table;
        let Some(Ok(row)) = rows.nth(usize::from(index)) else { return Ok(()) };
        self.scratch.clear();
        self.scratch.push(table.len() as u8);
        self.scratch.extend_from_slice(table.as_bytes());
        self.scratch.extend_from_slice(row.bytes);
        let body = std::mem::take(&mut self.scratch);
        let put = self.put(record, index, &Aside { reason, origin: table, body: &body }, 1);
        self.scratch = body;
        put
    }

    /// Puts the rest of a record whose body does not read into quarantine.
    fn set_damaged_aside(&mut self, record: &Record<'_>, from: u16) -> Result<(), EncodeError> {
        let table = Rows::decode(record.body).map_or("(unknown)", |rows| rows.table);
        let rows = u32::from(record.rows.saturating_sub(from));
        let reason = "the record's body is malformed";
        self.put(record, from, &Aside { reason, origin: table, body: record.body }, rows)
    }

    /// Puts the message of a dead-letter record into quarantine.
    pub fn set_letter_aside(&mut self, record: &Record<'_>) -> Result<(), EncodeError> {
        if self.letters.set_aside(record)? {
            self.uncounted.push((record.seq, 1));
        }
        Ok(())
    }

    fn put(&mut self, record: &Record<'_>, row: u16, aside: &Aside<'_>, rows: u32) -> Result<(), EncodeError> {
        if self.letters.exceptions.contains(record.into(), row) {
            return Ok(());
        }
        let key = Key { ring_id: self.ring.id(), seq: record.seq, row };
        let time = self.clock.now().wall;
        let Aside { reason, origin, body } = *aside;
        let received = record.received.wall;
        let kind =
            self.letters.quarantine.push(&Entry { key, time, received, reason, origin, body, row_time: None })?;
        self.letters.exceptions.insert(record.into(), row);
        self.refused_rows.count(record.source, rows.into());
        if let Some(more) = self.notices.note(origin, kind, rows.into(), self.clock.since_boot()) {
            tracing::warn!(table = origin, reason, "a row of {origin} goes to quarantine: {reason}{more}");
        }
        match self.uncounted.last_mut() {
            Some((seq, count)) if *seq == record.seq => *count += rows,
            _ => self.uncounted.push((record.seq, rows)),
        }
        Ok(())
    }

    /// Makes what is set aside durable and has the ring count it; must come before the lane passes those records.
    pub fn count_set_aside(&mut self) -> Result<(), EncodeError> {
        if !self.uncounted.is_empty() {
            self.letters.quarantine.sync()?;
            for (seq, rows) in self.uncounted.drain(..) {
                self.ring.except(seq, rows);
            }
        }
        Ok(())
    }
}

/// What is set aside, and why; see [`Entry`].
struct Aside<'a> {
    reason: &'a str,
    origin: &'a str,
    body: &'a [u8],
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        entry::encode_rows,
        point::{Row, Timestamp},
    };

    fn body(symbols: &[(String, String)]) -> Vec<u8> {
        let symbols = symbols.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let mut out = Vec::new();
        encode_rows("t", &[Row { time: Some(Timestamp(1)), symbols, ..Row::default() }], &mut out).unwrap();
        out
    }

    proptest! {
        #[test]
        fn shapes_are_equal_when_their_names_are(
            a in prop::collection::vec(("[ab]{1,2}", "[ab]{0,3}"), 0..4),
            b in prop::collection::vec(("[ab]{1,2}", "[ab]{0,3}"), 0..4),
        ) {
            let (body_a, body_b) = (body(&a), body(&b));
            let row_a = Rows::decode(&body_a).unwrap().next().unwrap().unwrap();
            let row_b = Rows::decode(&body_b).unwrap().next().unwrap().unwrap();
            let mut known = KnownShapes::default();
            known.learn(1, "t", 5, row_a.symbol_bytes());
            let same = a.iter().map(|(name, _)| name).eq(b.iter().map(|(name, _)| name));
            prop_assert_eq!(known.shapes(1, b"t", 5).unwrap().hold(row_b.symbol_bytes()), same);
            prop_assert!(known.shapes(1, b"u", 5).is_none() && known.shapes(1, b"t", 6).is_none());
        }
    }
}
