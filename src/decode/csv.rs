//! Payloads that are rows of cells: `2026-03-01 12:00:00,21.5,40.2`. Pure.

use std::fmt;

use csv_core::ReadRecordResult;

use super::{
    DecodeError, Decoded, FaultKind, Format, Payload,
    faults::Fault,
    fill::put,
    members::Members,
    names::{column_name, duplicate, short},
    plain::classify,
    repair::trim,
    value::Scalar,
};
use crate::{
    point::{MAX_FIELDS, Row, Text},
    settings::Source,
};

/// Rows of cells of one source.
#[derive(Debug)]
pub(super) struct Csv {
    members: Members,
    /// Names by position; a payload's first line when there are none.
    columns: Vec<Text>,
    delimiter: u8,
    cells: Cells,
}

impl Csv {
    /// By a source's settings. The error says what is wrong: the key, and why.
    pub fn of(source: &Source) -> Result<Self, (&'static str, String)> {
        let delimiter = match source.delimiter.as_str() {
            "\\t" => b'\t',
            one if one.len() == 1 && one.is_ascii() && !matches!(one, "\"" | "\n" | "\r") => one.as_bytes()[0],
            other => {
                let what = format!("{other:?} is none; write one character, such as \",\", \";\" or \"\\t\"");
                return Err(("delimiter", what));
            }
        };
        if source.columns.len() > MAX_FIELDS {
            return Err(("columns", format!("there are {}; {MAX_FIELDS} are allowed", source.columns.len())));
        }
        let columns: Vec<Text> = source.columns.iter().map(|name| name.trim().into()).collect();
        let names = columns.iter().filter(|name| !name.is_empty());
        let named = names.filter_map(|name| column_name(name).ok()).collect::<Vec<_>>();
        if let Some(name) = duplicate(named.iter().map(|name| &**name)) {
            return Err((
                "columns",
                format!("{name:?} is there twice; give each its own name, or \"\" to leave a column out"),
            ));
        }
        Ok(Self { members: Members::of(source), columns, delimiter, cells: Cells::of(delimiter) })
    }

    /// The row of the cells in hand.
    fn row(&mut self, columns: &[Text], line: u64, out: &mut Decoded) -> Result<(), DecodeError> {
        let mut row = Row::default();
        let (number, count) = (out.rows.len(), self.cells.count());
        let fault = |reason: String| DecodeError::new(format!("line {line}"), reason);
        for (at, column) in columns.iter().enumerate().take(count).filter(|(_, column)| !column.is_empty()) {
            let put = match std::str::from_utf8(self.cells.get(at)) {
                Ok(cell) => {
                    let value = if self.members.takes_text(column) { None } else { classify(cell.trim()) };
                    put(&mut row, &mut self.members, column, value.unwrap_or(Scalar::Text(cell)))
                }
                Err(_) => Err((FaultKind::Text, "it is not UTF-8".to_owned())),
            };
            if let Err((kind, reason)) = put {
                let error = DecodeError::new(format!("line {line}, column {}", short(column)), reason);
                out.faults.member(number, column, kind, error);
            }
        }
        let has_value = !row.fields.is_empty();
        if count > columns.len() || count < columns.len() && !has_value {
            let columns = columns.len();
            let stored = if has_value { format!("; the first {columns} are stored") } else { String::new() };
            let reason =
                format!("it has {count} cells, and {columns} columns are named{stored}; look at columns and delimiter");
            let row = has_value.then_some(number);
            out.faults.push(Fault { row, member: "columns".into(), kind: FaultKind::Count, error: fault(reason) });
        }
        let tells_time = self.members.roles().tell_time();
        out.end(row, || format!("line {line}"), tells_time).map_err(fault)
    }

    /// The names that the cells in hand are. One that is empty is `_`, as everywhere.
    fn header(&self) -> Result<Vec<Text>, &'static str> {
        let cells = (0..self.cells.count().min(MAX_FIELDS)).map(|at| self.cells.get(at));
        let name = |cell: &[u8]| match std::str::from_utf8(cell) {
            Ok(name) if name.trim().is_empty() => Ok("_".into()),
            Ok(name) => Ok(name.trim().into()),
            Err(_) => Err("the names of its columns are not UTF-8"),
        };
        cells.map(name).collect()
    }

    /// Whether the cells in hand name the columns: where none are configured, and where they say the
    /// same.
    fn is_header(&self, columns: &[Text]) -> bool {
        let is_same = |(at, column): (usize, &Text)| self.cells.get(at) == column.as_bytes();
        columns.is_empty() || columns.len() == self.cells.count() && columns.iter().enumerate().all(is_same)
    }
}

impl Format for Csv {
    fn decode(&mut self, payload: &Payload<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
        let mut columns = std::mem::take(&mut self.columns);
        let is_configured = !columns.is_empty();
        let (mut read, mut lines, mut is_first) = (Ok(()), 0, true);
        for (line, record) in Records::of(trim(payload.bytes), self.delimiter) {
            let Some(record) = record else {
                let error = DecodeError::new(format!("line {line}"), "a quote in it is not closed");
                if is_first && !is_configured {
                    return Err(error);
                }
                is_first = false;
                out.faults.push(Fault { row: None, member: Text::default(), kind: FaultKind::Text, error });
                continue;
            };
            if record.trim_ascii().is_empty() {
                continue;
            }
            lines += 1;
            self.cells.read(record);
            if std::mem::take(&mut is_first) && self.is_header(&columns) {
                if !is_configured {
                    columns = self.header().map_err(|what| DecodeError::new(format!("line {line}"), what))?;
                }
                continue;
            }
            read = self.row(&columns, line, out);
            if read.is_err() {
                break;
            }
        }
        if is_configured {
            self.columns = columns;
        } else if lines == 1 && read.is_ok() && out.faults.is_empty() {
            let reason = "its only line was taken for the names of its columns; set columns in the source";
            return Err(DecodeError::new("line 1", reason));
        }
        read
    }

    fn members(&mut self) -> &mut Members {
        &mut self.members
    }
}

/// The records of a payload, each with the number of its first line. One whose quotes do not close is
/// none, and the next begins on the line behind it.
struct Records<'a> {
    rest: &'a [u8],
    line: u64,
    delimiter: u8,
}

impl<'a> Records<'a> {
    fn of(payload: &'a [u8], delimiter: u8) -> Self {
        Self { rest: payload, line: 1, delimiter }
    }

    /// Where the record ends that begins here; none where a quote stays open. A quote opens a cell at
    /// its beginning alone, as in RFC 4180.
    fn end(&self) -> Option<usize> {
        let (mut is_start, mut is_open) = (true, false);
        for (at, byte) in self.rest.iter().enumerate() {
            match *byte {
                b'"' if is_open || is_start => is_open = !is_open,
                b'\n' | b'\r' if !is_open => return Some(at),
                _ => {}
            }
            // Two quotes in a quoted cell are one: the second opens it again.
            is_start = !is_open && (*byte == self.delimiter || *byte == b'"');
        }
        (!is_open).then_some(self.rest.len())
    }

    /// Goes behind the line break at a place.
    fn pass(&mut self, end: usize) {
        let breaks = match &self.rest[end..] {
            [b'\r', b'\n', ..] => 2,
            [_, ..] => 1,
            [] => 0,
        };
        let passed = &self.rest[..end];
        self.line += passed.split(|byte| *byte == b'\n').count() as u64;
        self.rest = &self.rest[end + breaks..];
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (u64, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest) = (self.line, self.rest);
        let end = self.end();
        let first_line = || rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        self.pass(end.unwrap_or_else(first_line));
        Some((line, end.map(|end| &rest[..end])))
    }
}

/// The cells of a record.
struct Cells {
    reader: csv_core::Reader,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    has_quotes: bool,
}

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells").finish_non_exhaustive()
    }
}

impl Cells {
    fn of(delimiter: u8) -> Self {
        let reader = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        Self { reader, bytes: Vec::new(), ends: Vec::new(), has_quotes: false }
    }

    /// Takes a record apart.
    fn read(&mut self, record: &[u8]) {
        self.reader.reset();
        self.has_quotes = record.contains(&b'"');
        // Cells have no more bytes than their record, and there is one more of them than delimiters.
        self.bytes.resize(record.len(), 0);
        self.ends.resize(record.len() + 1, 0);
        let (mut input, mut written, mut ended) = (record, 0, 0);
        loop {
            let (result, read, wrote, ends) =
                self.reader.read_record(input, &mut self.bytes[written..], &mut self.ends[ended..]);
            (input, written, ended) = (&input[read..], written + wrote, ended + ends);
            // An empty input says that the record is at its end.
            if !matches!(result, ReadRecordResult::InputEmpty) {
                break;
            }
        }
        self.ends.truncate(ended);
    }

    fn count(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        let cell = &self.bytes[start..self.ends[at]];
        // The space in quotes is a part of the text.
        if self.has_quotes { cell } else { cell.trim_ascii() }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Decoder, *};
    use crate::point::Value;

    fn decoded(source: &str, payload: &str) -> Decoded {
        let text = format!("topic = \"t\"\ntable = \"t\"\nformat = \"csv\"\n{source}");
        let mut decoder = Decoder::new("s", &toml::from_str(&text).expect("a source")).expect("a decoder");
        let topic = decoder.resolve("t").expect("match").expect("valid");
        let mut out = Decoded::default();
        decoder.decode(&Payload::of(&topic, payload.as_bytes()), &mut out).expect("rows");
        out
    }

    fn fields(out: &Decoded) -> Vec<String> {
        let field = |(name, value): &(Text, Value)| match value {
            Value::Double(value) => format!("{name}={value}"),
            Value::Text(value) => format!("{name}={value:?}"),
            other => format!("{name}={other:?}"),
        };
        out.rows.iter().map(|row| row.fields.iter().map(field).collect::<Vec<_>>().join(",")).collect()
    }

    #[test]
    fn cells_are_named_by_their_position_or_by_a_header() {
        let named = "columns = [\"time\", \"t\", \"\", \"u\"]\ntimestamp = { field = \"time\" }";
        let out = decoded(named, "2026-03-01 12:00:00,21.5,40.2,3.61\r\n1772366401,22,,\n");
        assert_eq!(fields(&out), ["t=21.5,u=3.61", "t=22"]);
        let times: Vec<_> = out.rows.iter().map(|row| row.time.map(|time| time.0 / 1_000_000_000)).collect();
        assert_eq!(times, [Some(1_772_366_400), Some(1_772_366_401)]);
        let out = decoded("delimiter = \";\"", "t;\"a:b\"\n21,5;x\n1;\"y \"\"z\"\"\"\n");
        assert_eq!(fields(&out), ["t=\"21,5\",a_b=\"x\"", "t=1,a_b=\"y \\\"z\\\"\""]);
        let out = decoded("columns = [\"a\", \"b\"]", "a,b\n1,2");
        assert_eq!(fields(&out), ["a=1,b=2"], "a line that says what the configuration says is no row");
    }

    #[test]
    fn symbols_and_texts_stay_as_they_are_written() {
        let source = "columns = [\"id\", \"code\", \"v\", \"day\"]\nsymbols = [\"id\"]\nfields = { code = \"string\", v = \"double\" }\n\
            timestamp = { field = \"day\", unit = \"%d%m%Y\" }";
        let out = decoded(source, "007,0042,\"21,5 C\",01032026");
        assert_eq!(fields(&out), ["code=\"0042\",v=21.5"]);
        assert_eq!(out.rows[0].symbols, [("id".into(), "007".into())]);
        assert_eq!(out.rows[0].time.map(|time| time.0 / 1_000_000_000), Some(1_772_323_200));
    }

    #[test]
    fn cells_too_many_or_too_few_are_told() {
        let source = "columns = [\"time\", \"t\"]\ntimestamp = { field = \"time\" }";
        for (payload, rows) in [("1772366400,1,2", 1), ("21.5;40.2", 0), ("1772366400,1\n21.5;2", 1)] {
            let out = decoded(source, payload);
            assert_eq!((out.rows.len(), out.faults.count()), (rows, 1), "{payload}");
            assert!(out.faults.reason().contains("2 columns are named"));
        }
        let out = decoded("columns = [\"a\", \"b\"]\nfields = { b = \"long\" }", "1,x\n2,3\n4");
        assert_eq!((out.rows.len(), out.faults.reason().as_str().starts_with("at line 1, column b: ")), (3, true));
    }

    #[test]
    fn what_is_broken_costs_itself() {
        let out = decoded("columns = [\"t\", \"u\"]", "1,\"x\n2,y\n3,z");
        assert_eq!(fields(&out), ["t=2,u=\"y\"", "t=3,u=\"z\""]);
        assert!(out.faults.count() == 1 && out.faults.reason() == "at line 1: a quote in it is not closed");
        let out = decoded("columns = [\"t\", \"u\"]", "5\" pipe,1\n6\" pipe,2\r3,\"a\"\"b\r\nc\"\r4,d");
        assert!(out.faults.is_empty(), "{}", out.faults.reason());
        assert_eq!(out.rows.len(), 4, "{:?}", fields(&out));
        assert_eq!(fields(&out)[2..], ["t=3,u=\"a\\\"b\\r\\nc\"", "t=4,u=\"d\""]);
        let text = "topic = \"t\"\ntable = \"t\"\nformat = \"csv\"\ncolumns = [\"t\", \"u\"]";
        let mut decoder = Decoder::new("s", &toml::from_str(text).expect("a source")).expect("a decoder");
        let topic = decoder.resolve("t").expect("match").expect("valid");
        let mut out = Decoded::default();
        decoder.decode(&Payload::of(&topic, b"1,\xb0C\n2,x"), &mut out).expect("rows");
        assert_eq!(fields(&out), ["t=1", "t=2,u=\"x\""]);
        assert_eq!(out.faults.reason(), "at line 1, column u: it is not UTF-8");
    }

    #[test]
    fn delimiters_and_names_that_are_none_are_refused() {
        for (source, key) in [
            ("delimiter = \";;\"", "delimiter"),
            ("delimiter = \"\"", "delimiter"),
            ("columns = [\"a\", \"A\"]", "columns"),
        ] {
            let text = format!("topic = \"t\"\ntable = \"t\"\nformat = \"csv\"\n{source}");
            let errors = Decoder::check("s", &toml::from_str(&text).expect("a source")).expect_err(source);
            assert_eq!(errors[0].key, key, "{errors:?}");
        }
        assert_eq!(fields(&decoded("delimiter = \"\\t\"\ncolumns = [\"a\", \"b\"]", "1\t2")), ["a=1,b=2"]);
    }
}
