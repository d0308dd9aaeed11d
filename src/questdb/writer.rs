//! Rows as QuestDB's line protocol, encoded by questdb-rs.

use std::collections::HashMap;

use questdb::{
    Error,
    ingress::{Buffer, ColumnName, ProtocolVersion, TableName, TimestampMicros},
};

use super::{
    columns::Columns,
    cut,
    fit::{self, Form, Holds, Place},
};
use crate::{
    entry::{RawRows, RowRef, ValueRef},
    moment::name_number,
    point::MAX_NAME_BYTES,
};

/// A version of the protocol: what a server speaks, and what a buffer is written in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dialect(pub(super) ProtocolVersion);

impl Default for Dialect {
    /// The newest.
    fn default() -> Self {
        Self(ProtocolVersion::V3)
    }
}

/// Memory of an empty buffer at most.
const FIRST_BYTES: usize = 64 << 10;

/// Rows encoded for one request.
///
/// Its memory doubles as it fills, from a first size that is its room halved so often: so with as many bytes in it as it has room
/// for, it takes no more memory than that.
#[derive(Debug)]
pub struct RowBuffer {
    inner: Buffer,
    version: ProtocolVersion,
    names: KnownNames,
    room: usize,
}

/// Columns of the rows before, found valid: rows that follow each other mostly have the same.
/// Bounded by a row's limits, and in tables.
#[derive(Debug, Default)]
struct KnownNames {
    table: String,
    columns: Vec<KnownColumn>,
    /// Those of other tables.
    others: HashMap<String, Vec<KnownColumn>, foldhash::fast::RandomState>,
    /// Of what the columns hold.
    generation: u64,
}

/// Tables whose columns are known to a buffer; forgotten beyond.
const MAX_KNOWN_TABLES: usize = 256;

#[derive(Debug)]
struct KnownColumn {
    name: String,
    /// What it holds; none of a symbol, which holds text.
    holds: Option<Holds>,
}

/// Why a row is not in a buffer.
enum RowError {
    /// The protocol cannot carry it.
    Protocol(Error),
    /// A value has no column.
    Column(String),
}

impl From<Error> for RowError {
    fn from(error: Error) -> Self {
        Self::Protocol(error)
    }
}

impl KnownNames {
    fn at(&mut self, generation: u64) {
        if self.generation != generation {
            self.columns.clear();
            self.others.clear();
            self.generation = generation;
        }
    }

    fn table<'n>(&mut self, name: &'n str) -> Result<TableName<'n>, Error> {
        if self.table != name {
            TableName::new(name)?;
            if self.others.len() >= MAX_KNOWN_TABLES {
                self.others.clear();
            }
            let columns = self.others.remove(name).unwrap_or_default();
            let other = std::mem::replace(&mut self.table, name.to_owned());
            self.others.insert(other, std::mem::replace(&mut self.columns, columns));
        }
        Ok(TableName::new_unchecked(name))
    }

    /// A symbol's column by its place in the row; one that is known needs no look. None for what is
    /// no name.
    fn symbol(&mut self, place: usize, name: &[u8]) -> Option<ColumnName<'_>> {
        if self.columns.get(place).is_none_or(|known| known.name.as_bytes() != name) {
            self.learn(place, std::str::from_utf8(name).ok()?, None).ok()?;
        }
        self.columns.get(place).map(|known| ColumnName::new_unchecked(&known.name))
    }

    /// What a field's column holds, by its place in the row.
    fn holds(&mut self, place: usize, name: &[u8]) -> Option<Holds> {
        self.columns.get(place).filter(|known| known.name.as_bytes() == name)?.holds
    }

    fn learn(&mut self, place: usize, name: &str, holds: Option<Holds>) -> Result<(), Error> {
        ColumnName::new(name)?;
        match self.columns.get_mut(place) {
            Some(known) => {
                name.clone_into(&mut known.name);
                known.holds = holds;
            }
            None => self.columns.push(KnownColumn { name: name.to_owned(), holds }),
        }
        Ok(())
    }
}

impl Default for RowBuffer {
    /// A buffer that speaks the newest version.
    fn default() -> Self {
        Self::new(ProtocolVersion::V3, FIRST_BYTES)
    }
}

impl RowBuffer {
    fn new(version: ProtocolVersion, room: usize) -> Self {
        let mut inner = Buffer::with_max_name_len(version, MAX_NAME_BYTES);
        // Doubled so often, the first size is the room again (and less than 1 KiB more where the room is no multiple of that).
        inner.reserve(room.div_ceil(room.div_ceil(FIRST_BYTES).next_power_of_two()));
        Self { inner, version, names: KnownNames::default(), room }
    }

    /// An empty one in that dialect, for so many bytes of rows.
    pub fn speaking(dialect: Dialect, room: usize) -> Self {
        Self::new(dialect.0, room)
    }

    /// What it is written in.
    pub fn dialect(&self) -> Dialect {
        Dialect(self.version)
    }

    /// Bytes of rows that it is made for.
    pub fn room(&self) -> usize {
        self.room
    }

    /// The same, empty, for so many bytes of rows.
    #[must_use]
    pub fn with_room(self, room: usize) -> Self {
        if self.room == room { self } else { Self::new(self.version, room) }
    }

    /// Appends a row; each value goes to a column that holds it. A row the protocol cannot carry,
    /// or a value that has no column, is undone; the error is its reason.
    pub fn add(&mut self, table: &str, row: &RowRef<'_>, columns: &mut Columns<'_>) -> Result<(), String> {
        let added = self.inner.set_marker().map_err(RowError::from);
        let reason = match added.and_then(|()| write_row(&mut self.inner, &mut self.names, table, row, columns)) {
            Ok(()) => return Ok(()),
            Err(RowError::Protocol(error)) => cut(error.msg()).to_owned(),
            Err(RowError::Column(reason)) => reason,
        };
        match self.inner.rewind_to_marker() {
            Ok(()) => Err(reason),
            Err(worse) => {
                self.inner.clear();
                Err(format!("{reason}; {}", cut(worse.msg())))
            }
        }
    }

    /// Appends the rows that belong together, all or none: none when one of them does not read, has
    /// symbols that are not `wanted` (told by their encoded bytes), has a value that its column
    /// cannot hold, or cannot be carried by the protocol. `table` is the name in `rows`.
    pub fn add_all(
        &mut self,
        table: &str,
        rows: RawRows<'_>,
        wanted: impl Fn(&[u8]) -> bool,
        columns: &mut Columns<'_>,
    ) -> bool {
        if self.inner.set_marker().is_err() {
            return false;
        }
        let taken = write_rows(&mut self.inner, &mut self.names, table, rows, wanted, columns).is_some();
        if !taken && self.inner.rewind_to_marker().is_err() {
            self.inner.clear();
        }
        taken
    }

    /// Rows in it.
    pub fn rows(&self) -> usize {
        self.inner.row_count()
    }

    /// Bytes in it.
    pub fn bytes(&self) -> usize {
        self.inner.len()
    }

    /// The request's body; an error where a row in it is half written.
    pub(super) fn body(&self) -> Result<&[u8], String> {
        self.inner.check_can_flush().map_err(|error| cut(error.msg()).to_owned())?;
        Ok(self.inner.as_bytes())
    }

    /// Bytes allocated for it.
    pub fn capacity(&self) -> usize {
        self.inner.capacity()
    }

    /// Whether it holds no row.
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// Drops the rows and keeps the memory, unless more than `keep_bytes` of it are allocated.
    pub fn clear(&mut self, keep_bytes: usize) {
        if self.inner.capacity() > keep_bytes {
            *self = Self::new(self.version, self.room);
        } else {
            self.inner.clear();
        }
    }
}

/// Writes rows as they are read; none when one of them is not to be written.
fn write_rows(
    buffer: &mut Buffer,
    names: &mut KnownNames,
    table: &str,
    mut rows: RawRows<'_>,
    wanted: impl Fn(&[u8]) -> bool,
    columns: &mut Columns<'_>,
) -> Option<()> {
    names.at(columns.generation());
    let named = names.table(table).ok()?;
    while let Some(row) = rows.row().ok()? {
        if !wanted(row.symbol_bytes) {
            return None;
        }
        buffer.table(named).ok()?;
        let mut at = 0;
        for (name, value) in row.symbols() {
            buffer.symbol(names.symbol(at, name)?, std::str::from_utf8(value).ok()?).ok()?;
            at += 1;
        }
        for _ in 0..row.fields {
            let (name, value) = rows.field().ok()?;
            let place = match names.holds(at, name) {
                Some(holds) => fit::place(Some(holds), value),
                None => learned(names, at, table, std::str::from_utf8(name).ok()?, value, columns).ok()?,
            };
            if place.sibling.is_some() {
                return None;
            }
            write_form(buffer, ColumnName::new_unchecked(&names.columns.get(at)?.name), place.form).ok()?;
            at += 1;
        }
        buffer.at(TimestampMicros::new(row.time.to_micros())).ok()?;
    }
    Some(())
}

/// Finds out where a value goes, and learns what its column holds. A column that is not there yet
/// is made by it.
fn learned<'v>(
    names: &mut KnownNames,
    at: usize,
    table: &str,
    name: &str,
    value: ValueRef<'v>,
    columns: &mut Columns<'_>,
) -> Result<Place<'v>, Error> {
    let held = columns.holds(table, name);
    let place = fit::place(held, value);
    let holds = match (held, place.sibling) {
        (None, None) => {
            columns.makes(table, name, place.form.makes());
            Some(place.form.makes())
        }
        _ => held,
    };
    names.learn(at, name, holds)?;
    Ok(place)
}

fn write_form(buffer: &mut Buffer, name: ColumnName<'_>, form: Form<'_>) -> Result<(), Error> {
    match form {
        Form::Boolean(v) => buffer.column_bool(name, v)?,
        Form::Whole(v) => buffer.column_i64(name, v)?,
        Form::Double(v) => buffer.column_f64(name, v)?,
        Form::Text(v) => buffer.column_str(name, v)?,
    };
    Ok(())
}

#[cfg(test)]
impl RowBuffer {
    /// An empty buffer that speaks the version that is all text.
    pub fn text() -> Self {
        Self::new(ProtocolVersion::V1, usize::MAX)
    }

    /// Whether it speaks that version.
    pub fn is_text(&self) -> bool {
        self.version == ProtocolVersion::V1
    }

    /// What is in it.
    pub fn as_text(&self) -> &str {
        std::str::from_utf8(self.inner.as_bytes()).unwrap()
    }
}

fn write_row(
    buffer: &mut Buffer,
    names: &mut KnownNames,
    table: &str,
    row: &RowRef<'_>,
    columns: &mut Columns<'_>,
) -> Result<(), RowError> {
    names.at(columns.generation());
    buffer.table(names.table(table)?)?;
    let mut at = 0;
    for (name, value) in row.symbols() {
        let column = names.symbol(at, name.as_bytes());
        let column = column.ok_or_else(|| RowError::Column(format!("{:?} is no column name", cut(name))))?;
        buffer.symbol(column, value)?;
        at += 1;
    }
    for (name, value) in row.fields() {
        let place = match names.holds(at, name.as_bytes()) {
            Some(holds) => fit::place(Some(holds), value),
            None => learned(names, at, table, name, value, columns)?,
        };
        match place.sibling {
            None => write_form(buffer, ColumnName::new_unchecked(name), place.form)?,
            Some(sibling) => {
                let beside = columns.sibling(table, name, sibling).map_err(RowError::Column)?;
                if row.fields().any(|(other, _)| name_number(other) == name_number(&beside)) {
                    let reason = format!("{name:?} cannot hold its value, and the row has a {beside:?} of its own");
                    return Err(RowError::Column(reason));
                }
                write_form(buffer, ColumnName::new(&beside)?, place.form)?;
            }
        }
        at += 1;
    }
    Ok(buffer.at(TimestampMicros::new(row.time.to_micros()))?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{
        super::{columns::Coming, schema::Schema},
        *,
    };
    use crate::{
        clock::SystemClock,
        entry::{Rows, encode_rows},
        point::{Row, Timestamp, Value},
    };

    fn body(table: &str, fields: &[(&str, Value)], micros: i64) -> Vec<u8> {
        let fields = fields.iter().map(|(n, v)| ((*n).into(), v.clone())).collect();
        let row = Row {
            time: Some(Timestamp(micros * 1_000)),
            device_time: true,
            symbols: vec![("device".into(), "d 1".into())],
            fields,
            ..Row::default()
        };
        let mut out = Vec::new();
        encode_rows(table, &[row], &mut out).unwrap();
        out
    }

    /// The columns of tables that nobody has described.
    fn with_columns<T>(coming: &mut Coming, work: impl FnOnce(&mut Columns<'_>) -> T) -> T {
        let schema = Schema::new(None, Arc::new(SystemClock));
        work(&mut Columns::new(&schema, coming, 300))
    }

    fn add(buffer: &mut RowBuffer, body: &[u8]) -> Result<(), String> {
        add_to(buffer, body, &mut Coming::default())
    }

    fn add_to(buffer: &mut RowBuffer, body: &[u8], coming: &mut Coming) -> Result<(), String> {
        let mut rows = Rows::decode(body).unwrap();
        let table = rows.table;
        with_columns(coming, |columns| buffer.add(table, &rows.next().unwrap().unwrap(), columns))
    }

    fn add_all(buffer: &mut RowBuffer, table: &str, body: &[u8], wanted: bool, coming: &mut Coming) -> bool {
        let rows = RawRows::decode(body).unwrap();
        with_columns(coming, |columns| buffer.add_all(table, rows, |_| wanted, columns))
    }

    #[test]
    fn values_that_their_column_cannot_hold_go_beside_it_whichever_comes_first() {
        let values = [
            Value::Text("unavailable".into()),
            Value::Double(41.5),
            Value::Flag(true),
            Value::Whole(9_007_199_254_740_993),
            Value::Text("unknown".into()),
        ];
        let (mut buffer, mut coming) = (RowBuffer::text(), Coming::default());
        for value in values {
            let body = body("t", &[("v", value)], 5);
            if !add_all(&mut buffer, "t", &body, true, &mut coming) {
                add_to(&mut buffer, &body, &mut coming).unwrap();
            }
        }
        let expected =
            ["v=\"unavailable\"", "v_double=41.5", "v_boolean=1i", "v_long=9007199254740993i", "v=\"unknown\""];
        let lines: Vec<&str> = buffer.as_text().lines().map(|line| line.split(' ').nth(2).unwrap()).collect();
        assert_eq!(lines, expected);
        let own = body("t", &[("v", Value::Double(1.0)), ("v_double", Value::Double(2.0))], 6);
        assert!(add_to(&mut buffer, &own, &mut coming).unwrap_err().contains("of its own"));
    }

    #[test]
    fn a_refused_row_leaves_no_trace() {
        let mut buffer = RowBuffer::new(ProtocolVersion::V1, 1_000);
        add(&mut buffer, &body("t", &[("x", Value::Long(1)), ("ok", Value::Bool(true))], 5)).unwrap();
        let before = buffer.inner.as_bytes().to_vec();
        assert_eq!(before, b"t,device=d\\ 1 x=1i,ok=t 5000\n");
        for bad in [
            body("a/b", &[("x", Value::Long(1))], 5),
            body("t", &[("x/y", Value::Long(1))], 5),
            body("t", &[("x", Value::Long(1))], -5),
        ] {
            assert!(add(&mut buffer, &bad).is_err());
            assert_eq!((buffer.inner.as_bytes(), buffer.rows()), (&before[..], 1));
        }
        add(&mut buffer, &body("t", &[("y", Value::Double(1.5))], 6)).unwrap();
        assert_eq!(buffer.rows(), 2);
    }

    #[test]
    fn memory_grows_to_the_room_and_not_beyond() {
        let row = body("t", &[("x", Value::Long(1))], 5);
        for room in [1_000, 64 << 10, (64 << 10) + 1, 983_040, 3_080_192, 12_345_678] {
            let mut buffer = RowBuffer::new(ProtocolVersion::V3, room);
            assert!(buffer.capacity() <= FIRST_BYTES, "{room}: {}", buffer.capacity());
            while buffer.bytes() + 2 * row.len() <= room {
                add(&mut buffer, &row).unwrap();
            }
            assert!(buffer.bytes() > room - 100, "{room}: {}", buffer.bytes());
            assert!(buffer.capacity() <= room.next_multiple_of(1 << 10), "{room}: {}", buffer.capacity());
            buffer.clear(usize::MAX);
            assert!(buffer.capacity() > room / 2, "the memory is kept");
            assert_eq!(buffer.with_room(room + 1).room(), room + 1);
        }
    }

    #[test]
    fn rows_are_added_all_or_none() {
        let mut buffer = RowBuffer::new(ProtocolVersion::V1, 1_000);
        add(&mut buffer, &body("t", &[("x", Value::Long(1))], 5)).unwrap();
        let before = buffer.inner.as_bytes().to_vec();
        let [good, bad] = [body("t", &[("x", Value::Long(2))], 6), body("t", &[("x/y", Value::Long(2))], 6)];
        let coming = &mut Coming::default();
        let mut take = |table: &str, body: &[u8]| add_all(&mut buffer, table, body, true, coming);
        let both = [&good[..], &bad[2..]].concat();
        assert!(!take("t", &both) && !take("t", &good[..good.len() - 1]));
        assert_eq!((buffer.inner.as_bytes(), buffer.rows()), (&before[..], 1));
        assert!(!add_all(&mut buffer, "t", &good, false, coming));
        assert_eq!((buffer.inner.as_bytes(), buffer.rows()), (&before[..], 1));
        let twice = [&good[..], &good[2..]].concat();
        assert!(add_all(&mut buffer, "t", &twice, true, coming));
        // A name is looked at again wherever it differs from the row's before.
        let mut take = |table: &str, body: &[u8]| add_all(&mut buffer, table, body, true, coming);
        assert!(!take("t", &both) && !take("a/b", &good));
        assert_eq!(buffer.rows(), 3);
    }
}
