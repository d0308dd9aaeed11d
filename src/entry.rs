//! What a ring record says: rows of one table, a message that could not be decoded, or a cleared series.
//!
//! The bytes are described in docs/ring-format.md, section "Bodies". Integers are little-endian.

mod raw;

use thiserror::Error;

pub use raw::{RawRow, RawRows};

pub use crate::point::RowNotes;
use crate::{
    names,
    point::{MAX_FIELDS, MAX_NAME_BYTES, MAX_SYMBOL_BYTES, MAX_SYMBOLS, Row, Text, Timestamp, Value},
};

/// A boolean of a field that is not declared to be one; of formats before the third: any boolean.
const TYPE_FLAG: u8 = 1;
const TYPE_LONG: u8 = 2;
const TYPE_DOUBLE: u8 = 3;
const TYPE_TEXT: u8 = 4;
/// A boolean of a field that is declared to be one.
const TYPE_BOOL: u8 = 5;
const TYPE_WHOLE: u8 = 6;
const FLAG_DEVICE_TIME: u8 = 1;
/// The row's bits of [`RowNotes`] follow the first one.
const NOTES_SHIFT: u32 = 1;
/// The row took the place of several others: how many stands behind the number of fields.
const FLAG_REPLACED_SEVERAL: u8 = 0x10;
/// Of a field's type: the value was taken over from another row of the moment.
const COMPLETED: u8 = 0x80;

/// A body that does not read as what its record kind promises.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("record body is malformed at byte {at}: {what}")]
pub struct EntryError {
    /// Offset in the body.
    pub at: usize,
    /// What was expected there.
    pub what: &'static str,
}

/// A row that does not fit the format's limits.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum LimitError {
    /// A name is empty or longer than [`MAX_NAME_BYTES`].
    #[error("name {name:?} has {bytes} bytes; 1 to {MAX_NAME_BYTES} are allowed")]
    Name {
        /// The name, cut to 40 characters.
        name: String,
        /// Its length in bytes.
        bytes: usize,
    },
    /// A symbol value is longer than [`MAX_SYMBOL_BYTES`].
    #[error("symbol {name:?} has a value of {bytes} bytes; {MAX_SYMBOL_BYTES} are allowed")]
    Symbol {
        /// The symbol's name.
        name: String,
        /// The value's length in bytes.
        bytes: usize,
    },
    /// Too many symbols or fields in a row.
    #[error("a row has {count} {what}; {limit} are allowed")]
    Count {
        /// "symbols" or "fields".
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// Appends the body of a rows record: the table's name, then each row.
///
/// Rows must have their time set. On an error `out` is left with partial bytes, for the caller to truncate.
pub fn encode_rows(table: &str, rows: &[Row], out: &mut Vec<u8>) -> Result<(), LimitError> {
    put_name(table, out)?;
    for row in rows {
        encode_row(row, out)?;
    }
    Ok(())
}

/// Appends a row to a rows record's body; see [`encode_rows`].
pub fn encode_row(row: &Row, out: &mut Vec<u8>) -> Result<(), LimitError> {
    check_count("symbols", row.symbols.len(), MAX_SYMBOLS)?;
    check_count("fields", row.fields.len(), MAX_FIELDS)?;
    out.extend_from_slice(&row.time.unwrap_or_default().0.to_le_bytes());
    let several = row.notes.replaced > 1;
    let device_time = if row.device_time { FLAG_DEVICE_TIME } else { 0 };
    out.push(device_time | row.notes.bits() << NOTES_SHIFT | if several { FLAG_REPLACED_SEVERAL } else { 0 });
    out.push(row.symbols.len() as u8);
    out.extend_from_slice(&(row.fields.len() as u16).to_le_bytes());
    if several {
        out.extend_from_slice(&row.notes.replaced.to_le_bytes());
    }
    put_symbols(&row.symbols, out)?;
    let own = row.own_fields().len();
    for (at, (name, value)) in row.fields.iter().enumerate() {
        put_name(name, out)?;
        let origin = if at < own { 0 } else { COMPLETED };
        match value {
            Value::Bool(v) => out.extend_from_slice(&[TYPE_BOOL | origin, u8::from(*v)]),
            Value::Flag(v) => out.extend_from_slice(&[TYPE_FLAG | origin, u8::from(*v)]),
            Value::Whole(v) => put_typed(TYPE_WHOLE | origin, &v.to_le_bytes(), out),
            Value::Long(v) => put_typed(TYPE_LONG | origin, &v.to_le_bytes(), out),
            Value::Double(v) => put_typed(TYPE_DOUBLE | origin, &v.to_le_bytes(), out),
            Value::Text(v) => {
                put_typed(TYPE_TEXT | origin, &(v.len() as u32).to_le_bytes(), out);
                out.extend_from_slice(v.as_bytes());
            }
        }
    }
    Ok(())
}

/// Appends the body of a clear record: the series whose latest value is to be forgotten.
pub fn encode_clear(table: &str, symbols: &[(Text, Text)], out: &mut Vec<u8>) -> Result<(), LimitError> {
    put_name(table, out)?;
    check_count("symbols", symbols.len(), MAX_SYMBOLS)?;
    out.push(symbols.len() as u8);
    put_symbols(symbols, out)
}

/// Appends the body of a dead-letter record and says in which form it is. Reason and topic are cut to 65,535 bytes; the payload is kept
/// as it is given.
pub fn encode_dead_letter(letter: &DeadLetter<'_>, out: &mut Vec<u8>) -> LetterForm {
    if let Some(time) = letter.time {
        out.extend_from_slice(&time.0.to_le_bytes());
    }
    for text in [letter.reason, letter.topic] {
        let cut = text.floor_char_boundary(usize::from(u16::MAX));
        out.extend_from_slice(&(cut as u16).to_le_bytes());
        out.extend_from_slice(&text.as_bytes()[..cut]);
    }
    out.extend_from_slice(letter.payload);
    LetterForm { is_cut: letter.is_cut, has_time: letter.time.is_some() }
}

fn put_typed(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(bytes);
}

fn put_name(name: &str, out: &mut Vec<u8>) -> Result<(), LimitError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(LimitError::Name { name: name.chars().take(40).collect(), bytes: name.len() });
    }
    out.push(name.len() as u8);
    out.extend_from_slice(name.as_bytes());
    Ok(())
}

fn put_symbols(symbols: &[(Text, Text)], out: &mut Vec<u8>) -> Result<(), LimitError> {
    for (name, value) in symbols {
        put_name(name, out)?;
        if value.len() > MAX_SYMBOL_BYTES {
            return Err(LimitError::Symbol { name: name.to_string(), bytes: value.len() });
        }
        out.extend_from_slice(&(value.len() as u16).to_le_bytes());
        out.extend_from_slice(value.as_bytes());
    }
    Ok(())
}

fn check_count(what: &'static str, count: usize, limit: usize) -> Result<(), LimitError> {
    if count > limit { Err(LimitError::Count { what, count, limit }) } else { Ok(()) }
}

/// How the body of a dead letter is to be read; it stands in the record's extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LetterForm {
    /// Whether the payload lacks its end.
    pub is_cut: bool,
    /// Whether the body begins with the time that its message's rows were given.
    pub has_time: bool,
}

/// What could not be turned into rows of a message, kept with the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeadLetter<'a> {
    /// Why, in words for a person.
    pub reason: &'a str,
    /// The MQTT topic it came on.
    pub topic: &'a str,
    /// The payload as received, or its beginning.
    pub payload: &'a [u8],
    /// Whether the payload lacks its end.
    pub is_cut: bool,
    /// The time that the other rows of the message were given, so that what is decoded later joins them.
    pub time: Option<Timestamp>,
}

/// End of the reason by which formats 1 and 2 told a payload that was cut, having no flag for it.
const CUT_REASON: &str = "bytes are more than [mqtt] max_payload";

/// Whether the payload of a dead letter without a [`LetterForm`] was cut: its reason is all there is to tell.
pub fn was_cut_by_reason(reason: &str) -> bool {
    reason.ends_with(CUT_REASON)
}

impl<'a> DeadLetter<'a> {
    /// Reads a dead-letter body. `form` is none where the record has no extension.
    pub fn decode(body: &'a [u8], form: Option<LetterForm>) -> Result<Self, EntryError> {
        let mut cursor = Cursor::new(body);
        let time = match form {
            Some(LetterForm { has_time: true, .. }) => Some(Timestamp(i64::from_le_bytes(cursor.array("time")?))),
            _ => None,
        };
        let reason_len = cursor.u16("reason length")?;
        let reason = cursor.text(usize::from(reason_len), "reason")?;
        let topic_len = cursor.u16("topic length")?;
        let topic = cursor.text(usize::from(topic_len), "topic")?;
        let is_cut = form.map_or_else(|| was_cut_by_reason(reason), |form| form.is_cut);
        Ok(Self { reason, topic, payload: cursor.rest(), is_cut, time })
    }
}

/// A cleared series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clear<'a> {
    /// The table.
    pub table: &'a str,
    /// The series' symbols, sorted by name ([`names::cmp`]).
    pub symbols: Vec<(&'a str, &'a str)>,
}

impl<'a> Clear<'a> {
    /// Reads a clear body.
    pub fn decode(body: &'a [u8]) -> Result<Self, EntryError> {
        let mut cursor = Cursor::new(body);
        let table = cursor.name()?;
        let count = cursor.u8("symbol count")?;
        let mut symbols = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            symbols.push(cursor.symbol()?);
        }
        // They were sorted by their spelling once.
        symbols.sort_by(|a, b| names::cmp(a.0, b.0));
        Ok(Self { table, symbols })
    }
}

/// The rows of one record, read in place.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    /// The table all of them belong to.
    pub table: &'a str,
    cursor: Cursor<'a>,
}

impl<'a> Rows<'a> {
    /// Reads the head of a rows body.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, EntryError> {
        let mut cursor = Cursor::new(body);
        let table = cursor.name()?;
        Ok(Self { table, cursor })
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = Result<RowRef<'a>, EntryError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.cursor.is_empty() {
            return None;
        }
        let row = RowRef::read(&mut self.cursor);
        if row.is_err() {
            self.cursor = Cursor::new(&[]);
        }
        Some(row)
    }
}

/// One row, read in place.
#[derive(Debug, Clone)]
pub struct RowRef<'a> {
    /// Event time.
    pub time: Timestamp,
    /// Whether the time came from the device.
    pub device_time: bool,
    /// What is to be said of it.
    pub notes: RowNotes,
    symbol_count: u8,
    field_count: u16,
    symbols: Cursor<'a>,
    fields: Cursor<'a>,
    /// The row's own encoded bytes.
    pub bytes: &'a [u8],
}

/// A field's value, read in place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// true or false of a field that is declared to be a boolean.
    Bool(bool),
    /// true or false of any other field.
    Flag(bool),
    /// A whole number of a field whose type is not declared, and that a 64-bit float does not hold
    /// exactly.
    Whole(i64),
    /// A 64-bit signed integer.
    Long(i64),
    /// A 64-bit float.
    Double(f64),
    /// A string.
    Text(&'a str),
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Bool(v) => Self::Bool(v),
            ValueRef::Flag(v) => Self::Flag(v),
            ValueRef::Whole(v) => Self::Whole(v),
            ValueRef::Long(v) => Self::Long(v),
            ValueRef::Double(v) => Self::Double(v),
            ValueRef::Text(v) => Self::Text(v.into()),
        }
    }
}

/// What a row's flags say: whether its time came from the device, and its notes.
#[inline]
fn read_flags(flags: u8) -> (bool, RowNotes) {
    (flags & FLAG_DEVICE_TIME != 0, RowNotes::from_bits(flags >> NOTES_SHIFT))
}

impl<'a> RowRef<'a> {
    /// Reads a row from its own encoded bytes.
    pub fn of(bytes: &'a [u8]) -> Result<Self, EntryError> {
        Self::read(&mut Cursor::new(bytes))
    }

    #[inline]
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, EntryError> {
        let start = cursor.at;
        let time = Timestamp(i64::from_le_bytes(cursor.array("row time")?));
        let flags = cursor.u8("row flags")?;
        let (device_time, mut notes) = read_flags(flags);
        let symbol_count = cursor.u8("symbol count")?;
        let field_count = cursor.u16("field count")?;
        if flags & FLAG_REPLACED_SEVERAL != 0 {
            notes.replaced = cursor.u16("count of replaced rows")?;
        }
        let symbols = cursor.clone();
        for _ in 0..symbol_count {
            cursor.symbol()?;
        }
        let fields = cursor.clone();
        for _ in 0..field_count {
            cursor.field()?;
        }
        let bytes = &cursor.bytes[start..cursor.at];
        Ok(Self { time, device_time, notes, symbol_count, field_count, symbols, fields, bytes })
    }

    /// Symbol names and values, in the order of the record: that of [`names::cmp`], but in older
    /// records whose names have upper-case letters, which were sorted by their spelling.
    #[inline]
    pub fn symbols(&self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        let mut cursor = self.symbols.clone();
        (0..self.symbol_count).map_while(move |_| cursor.symbol().ok())
    }

    /// Field names and values, the row's own ones first.
    #[inline]
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, ValueRef<'a>)> + Clone + use<'a> {
        let mut cursor = self.fields.clone();
        (0..self.field_count).map_while(move |_| cursor.field().ok())
    }

    /// How many of the fields, the last ones, were taken over from other rows of the moment.
    pub fn completed(&self) -> u16 {
        let mut cursor = self.fields.clone();
        let is_completed = |_: &u16| cursor.origin().is_some_and(|origin| origin == COMPLETED);
        (0..self.field_count).filter(is_completed).count() as u16
    }

    /// The encoded symbols and fields' names, values left out, can be compared cheaply through this: the bytes of the symbols.
    pub fn symbol_bytes(&self) -> &'a [u8] {
        &self.symbols.bytes[self.symbols.at..self.fields.at]
    }

    /// An owned copy.
    pub fn to_row(&self) -> Row {
        let mut row = Row {
            time: Some(self.time),
            device_time: self.device_time,
            notes: self.notes,
            apart: false,
            table: 0,
            completed: self.completed(),
            symbols: self.symbols().map(|(n, v)| (n.into(), v.into())).collect(),
            fields: self.fields().map(|(n, v)| (n.into(), v.into())).collect(),
        };
        row.sort_symbols();
        row
    }
}

#[derive(Debug, Clone)]
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    #[inline]
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    #[inline]
    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], EntryError> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..len));
        let taken = taken.ok_or(EntryError { at: self.at, what })?;
        self.at += len;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], EntryError> {
        let at = self.at;
        self.take(N, what)?.try_into().map_err(|_| EntryError { at, what })
    }

    #[inline]
    fn u8(&mut self, what: &'static str) -> Result<u8, EntryError> {
        Ok(self.take(1, what)?[0])
    }

    #[inline]
    fn u16(&mut self, what: &'static str) -> Result<u16, EntryError> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    #[inline]
    fn text(&mut self, len: usize, what: &'static str) -> Result<&'a str, EntryError> {
        let at = self.at;
        std::str::from_utf8(self.take(len, what)?).map_err(|_| EntryError { at, what })
    }

    #[inline]
    fn name(&mut self) -> Result<&'a str, EntryError> {
        let len = self.u8("name length")?;
        self.text(usize::from(len), "name")
    }

    #[inline]
    fn symbol(&mut self) -> Result<(&'a str, &'a str), EntryError> {
        let name = self.name()?;
        let len = self.u16("symbol length")?;
        Ok((name, self.text(usize::from(len), "symbol value")?))
    }

    #[inline]
    fn field(&mut self) -> Result<(&'a str, ValueRef<'a>), EntryError> {
        let name = self.name()?;
        Ok((name, self.value()?))
    }

    /// Steps over a field; says whether it is the row's own (0) or completed from another.
    fn origin(&mut self) -> Option<u8> {
        self.name().ok()?;
        let origin = self.bytes.get(self.at).map(|kind| kind & COMPLETED);
        self.value().ok()?;
        origin
    }

    #[inline]
    fn value(&mut self) -> Result<ValueRef<'a>, EntryError> {
        let at = self.at;
        Ok(match self.u8("field type")? & !COMPLETED {
            TYPE_BOOL => ValueRef::Bool(self.u8("boolean")? != 0),
            TYPE_FLAG => ValueRef::Flag(self.u8("boolean")? != 0),
            TYPE_WHOLE => ValueRef::Whole(i64::from_le_bytes(self.array("whole number")?)),
            TYPE_LONG => ValueRef::Long(i64::from_le_bytes(self.array("integer")?)),
            TYPE_DOUBLE => ValueRef::Double(f64::from_le_bytes(self.array("float")?)),
            TYPE_TEXT => {
                let len = u32::from_le_bytes(self.array("string length")?);
                ValueRef::Text(self.text(len as usize, "string")?)
            }
            _ => return Err(EntryError { at, what: "a known field type" }),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            any::<bool>().prop_map(Value::Flag),
            any::<i64>().prop_map(Value::Whole),
            any::<i64>().prop_map(Value::Long),
            (-1e300..1e300f64).prop_map(Value::Double),
            ".{0,40}".prop_map(|s: String| Value::Text(s.into())),
        ]
    }

    pub(super) fn row() -> impl Strategy<Value = Row> {
        (
            any::<i64>(),
            any::<bool>(),
            proptest::collection::btree_map("[a-z]{1,20}", ".{0,30}", 0..5),
            proptest::collection::btree_map("[a-z]{1,20}", value(), 0..6),
            0u16..4,
            0u8..8,
        )
            .prop_map(|(time, device_time, symbols, fields, completed, notes)| Row {
                time: Some(Timestamp(time)),
                device_time,
                apart: false,
                table: 0,
                completed: completed.min(fields.len() as u16),
                notes: RowNotes::from_bits(notes),
                symbols: symbols.into_iter().map(|(n, v)| (n.into(), v.into())).collect(),
                fields: fields.into_iter().map(|(n, v)| (n.into(), v)).collect(),
            })
    }

    proptest! {
        #[test]
        fn rows_read_back_as_written(rows in proptest::collection::vec(row(), 1..5)) {
            let mut body = Vec::new();
            encode_rows("sensors", &rows, &mut body).unwrap();
            let read = Rows::decode(&body).unwrap();
            prop_assert_eq!(read.table, "sensors");
            let back: Vec<Row> = read.map(|r| r.unwrap().to_row()).collect();
            prop_assert_eq!(back, rows);
        }

        #[test]
        fn any_bytes_read_without_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(rows) = Rows::decode(&body) {
                rows.for_each(drop);
            }
            let _ = DeadLetter::decode(&body, None);
            let _ = DeadLetter::decode(&body, Some(LetterForm { is_cut: true, has_time: true }));
            let _ = Clear::decode(&body);
        }
    }

    #[test]
    fn names_at_and_over_the_limit() {
        let mut out = Vec::new();
        let row = |name: &str| Row { fields: vec![(name.into(), Value::Bool(true))], ..Row::default() };
        assert!(encode_rows("t", &[row(&"n".repeat(MAX_NAME_BYTES))], &mut out).is_ok());
        assert!(encode_rows("t", &[row(&"n".repeat(MAX_NAME_BYTES + 1))], &mut out).is_err());
        assert!(encode_rows("", &[row("n")], &mut out).is_err());
    }

    #[test]
    fn dead_letters_and_clears_read_back() {
        let plain = DeadLetter { reason: "not JSON", topic: "a/b", payload: b"\xff\x00", ..DeadLetter::default() };
        for letter in [plain, DeadLetter { is_cut: true, time: Some(Timestamp(-5)), ..plain }] {
            let mut body = Vec::new();
            let form = encode_dead_letter(&letter, &mut body);
            assert_eq!(DeadLetter::decode(&body, Some(form)).unwrap(), letter);
        }
        let older = DeadLetter { reason: "9 bytes are more than [mqtt] max_payload", ..plain };
        let mut body = Vec::new();
        encode_dead_letter(&older, &mut body);
        assert!(DeadLetter::decode(&body, None).unwrap().is_cut, "formats 1 and 2 told it by the reason");

        body.clear();
        encode_clear("sensors", &[("device".into(), "dev-1".into())], &mut body).unwrap();
        let clear = Clear::decode(&body).unwrap();
        assert_eq!((clear.table, clear.symbols), ("sensors", vec![("device", "dev-1")]));
    }
}
