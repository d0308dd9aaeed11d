//! Line protocol, as clients of `InfluxDB` and QuestDB write it: `table,symbol=value field=1.5,other=2i 1700000000000000000`.
//!
//! Sources: `InfluxDB` v2, "Line protocol"; QuestDB documentation, "`InfluxDB` Line Protocol" (protocol version 1, the one that is text).
//! [`crate::lines`] writes what is read here. Pure.
//!
//! - A backslash takes the meaning off a comma, an equals sign, a space, a quote, a line break or a backslash after it; before
//!   anything else it is itself.
//! - A string's quotes may enclose line breaks. Lines are counted as they stand, from 1.
//! - Names that QuestDB would refuse are changed. A member that cannot be one of its row's is left out and told; a line that does not
//!   follow the grammar is an error.
//! - A symbol without a value is absent, and so is a field that is NaN or infinite. A row may do without fields when it has a symbol, as QuestDB has it.
//! - Whole numbers carry `i`, or `u`, which must fit 64 signed bits. `123t` (microseconds) and `123n` (nanoseconds), QuestDB's times as
//!   values, become whole numbers of microseconds; as a row's own time they outrank the request's precision.

pub(super) mod format;
mod scan;
#[cfg(test)]
mod tests;
mod value;

use std::borrow::Cow;

use thiserror::Error;
use utoipa::ToSchema;

use self::scan::Scanner;
use super::{
    DecodeError, FaultKind, Faults, check_symbol,
    end::keep_first,
    names::{column_name, short, table_name},
    time::unit_of,
    value::clean_text,
};
use crate::point::{MAX_FIELDS, MAX_SYMBOLS, Row, Text, Timestamp, Value};

/// The unit of rows' times where they carry none of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ToSchema)]
pub enum Precision {
    /// Nanoseconds, unless the request says otherwise.
    #[default]
    #[schema(rename = "ns")]
    Nanoseconds,
    /// Microseconds.
    #[schema(rename = "us")]
    Microseconds,
    /// Milliseconds.
    #[schema(rename = "ms")]
    Milliseconds,
    /// Seconds.
    #[schema(rename = "s")]
    Seconds,
    /// Minutes.
    #[schema(rename = "m")]
    Minutes,
    /// Hours.
    #[schema(rename = "h")]
    Hours,
}

impl Precision {
    /// The unit named as in the `precision` parameter of either generation of the `InfluxDB` API; none for another word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "" | "n" | "ns" => Self::Nanoseconds,
            "u" | "us" | "µ" | "µs" => Self::Microseconds,
            "ms" => Self::Milliseconds,
            "s" => Self::Seconds,
            "m" => Self::Minutes,
            "h" => Self::Hours,
            _ => return None,
        })
    }

    /// Nanoseconds in one.
    #[must_use]
    pub fn nanos(self) -> i64 {
        match self {
            Self::Nanoseconds => 1,
            Self::Microseconds => 1_000,
            Self::Milliseconds => 1_000_000,
            Self::Seconds => 1_000_000_000,
            Self::Minutes => 60 * 1_000_000_000,
            Self::Hours => 3_600 * 1_000_000_000,
        }
    }
}

/// What is wrong with a line.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("error in line {line}, column {column}: {reason}")]
pub struct LineError {
    /// The line, from 1.
    pub line: u64,
    /// The byte in it, from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: String,
}

/// A line's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Line<'a> {
    /// The line it begins on, from 1.
    pub number: u64,
    /// The table.
    pub table: Cow<'a, str>,
    /// The row; without a time where the line has none, and without anything where nothing is left
    /// of it.
    pub row: Row,
    /// What was left out of it.
    pub faults: Faults,
}

/// Text that is no UTF-8: the error names the line.
pub fn utf8(bytes: &[u8]) -> Result<&str, LineError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        let line = good.split(|byte| *byte == b'\n').count() as u64;
        let column = good.len() - good.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1) + 1;
        let reason = "this is not UTF-8 (binary values, of QuestDB's protocol versions 2 and 3, are not taken: set protocol_version=1)";
        LineError { line, column, reason: reason.into() }
    })
}

/// The unit of rows' times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// This one.
    Of(Precision),
    /// Each time tells its own by its size.
    Told,
}

impl Unit {
    /// Nanoseconds in one, of a time of that count.
    fn nanos(self, count: i64) -> i64 {
        match self {
            Self::Of(precision) => precision.nanos(),
            Self::Told => unit_of(count as f64) as i64,
        }
    }
}

/// Reads line after line.
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    scan: Scanner<'a>,
    /// Where the row in hand begins.
    row: Scanner<'a>,
    unit: Unit,
    ended: bool,
}

impl<'a> Lines<'a> {
    /// The lines of a text, with the unit of their times.
    #[must_use]
    pub fn new(text: &'a str, precision: Precision) -> Self {
        Self::in_unit(text, Unit::Of(precision))
    }

    fn in_unit(text: &'a str, unit: Unit) -> Self {
        Self { scan: Scanner::new(text), row: Scanner::new(text), unit, ended: false }
    }

    /// Goes on behind the first line of the row that was none.
    fn skip_line(&mut self) {
        self.scan = self.row.clone();
        self.scan.skip_line();
        self.ended = false;
    }

    /// Where the row in hand begins.
    fn row_position(&self) -> usize {
        self.row.position()
    }

    /// How many bytes have been read.
    #[must_use]
    pub fn position(&self) -> usize {
        self.scan.position()
    }

    fn line(&mut self) -> Result<Option<Line<'a>>, LineError> {
        if !self.scan.next_line() {
            return Ok(None);
        }
        self.row = self.scan.clone();
        let number = self.scan.row_line();
        let mut faults = Faults::default();
        let table = match self.scan.name(b", ") {
            Cow::Borrowed(name) => table_name(name),
            Cow::Owned(name) => table_name(&name).map(|clean| Cow::Owned(clean.into_owned())),
        };
        let mut row = Row { symbols: self.symbols(number, &mut faults)?, ..Row::default() };
        self.scan.skip_spaces();
        let mut has_fields = false;
        if !self.scan.at_time() {
            (row.fields, has_fields) = self.fields(number, &mut faults)?;
        }
        row.time = self.time()?;
        row.device_time = row.time.is_some();
        if !has_fields && row.symbols.is_empty() && faults.is_empty() {
            return Err(self.scan.line_fault("there is no field; write table,symbol=value field=value"));
        }
        keep_first(&mut row, 0, || place(number), &mut faults);
        if has_fields && row.fields.is_empty() {
            row.symbols.clear();
        }
        row.sort_symbols();
        let table = table.unwrap_or_else(|reason| {
            faults.member(0, "", FaultKind::Name, at_line(number, reason));
            (row.symbols, row.fields) = (Vec::new(), Vec::new());
            Cow::Borrowed("_")
        });
        Ok(Some(Line { number, table, row, faults }))
    }

    fn symbols(&mut self, line: u64, faults: &mut Faults) -> Result<Vec<(Text, Text)>, LineError> {
        let mut symbols = Vec::new();
        while self.scan.take(b',') {
            let name = self.scan.name(b",= ");
            if !self.scan.take(b'=') {
                return Err(self.scan.fault(format!("symbol {:?} has no \"=\"", short(&name))));
            }
            let value = self.scan.name(b",= ");
            if self.scan.peek() == Some(b'=') {
                return Err(self
                    .scan
                    .fault(format!("the value of symbol {:?} holds \"=\"; write it as \"\\=\"", short(&name))));
            }
            if value.is_empty() {
                continue;
            }
            let taken = column_name(&name).map_err(|reason| (FaultKind::Name, reason)).and_then(|column| {
                check_symbol(&column, &value).map_err(|reason| (FaultKind::Length, reason))?;
                if symbols.len() == MAX_SYMBOLS {
                    return Err((FaultKind::Count, format!("there are more than {MAX_SYMBOLS} symbols")));
                }
                Ok((Text::from(column), clean_text(&value)))
            });
            match taken {
                Ok(symbol) => symbols.push(symbol),
                Err((kind, reason)) => faults.member(0, &name, kind, at_line(line, reason)),
            }
        }
        Ok(symbols)
    }

    /// The fields that say something, and whether there were any at all.
    #[allow(clippy::type_complexity, reason = "a row's fields, as they are called everywhere")]
    fn fields(&mut self, line: u64, faults: &mut Faults) -> Result<(Vec<(Text, Value)>, bool), LineError> {
        let mut fields = Vec::new();
        if self.scan.at_end_of_line() {
            return Ok((fields, false));
        }
        loop {
            let name = self.scan.name(b",= ");
            if !self.scan.take(b'=') {
                return Err(self.scan.fault(format!("field {:?} has no \"=\"", short(&name))));
            }
            let value = value::read(&mut self.scan, &name)?;
            match (column_name(&name), value) {
                (_, None) => {}
                (Err(reason), _) => faults.member(0, &name, FaultKind::Name, at_line(line, reason)),
                (Ok(_), _) if fields.len() == MAX_FIELDS => {
                    let reason = format!("there are more than {MAX_FIELDS} fields");
                    faults.member(0, &name, FaultKind::Count, at_line(line, reason));
                }
                (Ok(column), Some(value)) => fields.push((Text::from(column), value)),
            }
            if !self.scan.take(b',') {
                break;
            }
        }
        fields.shrink_to_fit();
        Ok((fields, true))
    }

    /// The time, where there is one, and the end of the line.
    fn time(&mut self) -> Result<Option<Timestamp>, LineError> {
        self.scan.skip_spaces();
        if self.scan.at_end_of_line() {
            return Ok(None);
        }
        let text = self.scan.word();
        let (digits, unit) = match text.as_bytes().last() {
            Some(b't') => (&text[..text.len() - 1], Unit::Of(Precision::Microseconds)),
            Some(b'n') => (&text[..text.len() - 1], Unit::Of(Precision::Nanoseconds)),
            _ => (text, self.unit),
        };
        let count: i64 = digits.parse().map_err(|_| {
            let shown = short(text);
            self.scan.fault(format!(
                "{shown:?} is no time; a whole number is expected after the fields, or a comma before more of them"
            ))
        })?;
        if count < 0 {
            return Err(self.scan.fault("the time lies before 1970; QuestDB takes none of those"));
        }
        let nanos = count.checked_mul(unit.nanos(count)).ok_or_else(|| {
            self.scan.fault(format!("time {} lies after the year 2262; check the request's precision", short(text)))
        })?;
        self.scan.skip_spaces();
        if !self.scan.at_end_of_line() {
            return Err(self.scan.fault("the line goes on after its time"));
        }
        Ok(Some(Timestamp(nanos)))
    }
}

fn place(line: u64) -> String {
    format!("line {line}")
}

fn at_line(line: u64, reason: String) -> DecodeError {
    DecodeError { place: place(line), reason }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<Line<'a>, LineError>;

    /// The next line's row. An error is the last item: what comes after a mistake can't be told from it.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let line = self.line();
        self.ended = !matches!(line, Ok(Some(_)));
        line.transpose()
    }
}
