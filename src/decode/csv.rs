//! Payloads that are rows of cells: `2026-03-01 12:00:00,21.5,40.2`. Pure.

use ::csv::{ReaderBuilder, StringRecord, Trim};

use super::{
    DecodeError, Decoded, FaultKind, Format, Payload, drop_seconds,
    faults::Fault,
    fill::put,
    members::Members,
    names::{duplicate, short},
    plain::classify,
    repair::trim,
    value::Scalar,
};
use crate::{
    point::{MAX_FIELDS, MAX_ROWS_PER_MESSAGE, Row, Text},
    settings::Source,
};

/// Rows of cells of one source.
#[derive(Debug)]
pub(super) struct Csv {
    members: Members,
    /// Names by position; a payload's first line when there are none.
    columns: Vec<Text>,
    delimiter: u8,
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
        let named = columns.iter().filter(|name| !name.is_empty()).map(Text::as_str).collect::<Vec<_>>();
        if let Some(name) = duplicate(named.iter().copied()) {
            return Err((
                "columns",
                format!("{name:?} is there twice; give each its own name, or \"\" to leave a column out"),
            ));
        }
        Ok(Self { members: Members::of(source), columns, delimiter })
    }

    /// One row; `number` is its line, from 1.
    fn row(&mut self, cells: &StringRecord, columns: &[Text], line: u64, out: &mut Decoded) -> Result<(), DecodeError> {
        let mut row = Row::default();
        let number = out.rows.len();
        let fault = |reason: String| DecodeError::new(format!("line {line}"), reason);
        for (column, cell) in columns.iter().zip(cells).filter(|(column, _)| !column.is_empty()) {
            let value = if self.members.takes_text(column) { None } else { classify(cell) };
            let value = value.unwrap_or(Scalar::Text(cell));
            if let Err((kind, reason)) = put(&mut row, &mut self.members, column, value) {
                let error = DecodeError::new(format!("line {line}, column {}", short(column)), reason);
                out.faults.member(number, column, kind, error);
            }
        }
        let names = row.symbols.iter().map(|(name, _)| name.as_str());
        if duplicate(names.chain(row.fields.iter().map(|(name, _)| name.as_str()))).is_some() {
            drop_seconds(&mut row, |name, reason| out.faults.member(number, name, FaultKind::Twice, fault(reason)));
        }
        let has_value = !row.fields.is_empty();
        let is_short = !has_value && cells.len() < columns.len();
        if cells.len() > columns.len() || is_short {
            let reason = format!(
                "it has {} cells, and {} columns are named; look at columns and delimiter",
                cells.len(),
                columns.len()
            );
            let row = has_value.then_some(number);
            out.faults.push(Fault { row, member: "columns".into(), kind: FaultKind::Count, error: fault(reason) });
        }
        if !has_value {
            out.faults.left_out(number);
            return Ok(());
        }
        if number == MAX_ROWS_PER_MESSAGE {
            return Err(fault(format!("more than {MAX_ROWS_PER_MESSAGE} rows in one message")));
        }
        row.notes.untimed = row.time.is_none() && self.members.roles().tell_time();
        out.rows.push(row);
        Ok(())
    }
}

impl Format for Csv {
    fn decode(&mut self, payload: &Payload<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
        let text = std::str::from_utf8(trim(payload.bytes));
        let text = text.map_err(|error| DecodeError::new("payload", format!("not UTF-8 ({error})")))?;
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .delimiter(self.delimiter)
            .from_reader(text.as_bytes());
        let mut columns = std::mem::take(&mut self.columns);
        let is_configured = !columns.is_empty();
        let (mut cells, mut is_first) = (StringRecord::new(), true);
        let read = loop {
            match reader.read_record(&mut cells) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(DecodeError::new("payload", format!("no CSV: {error}"))),
            }
            let line = cells.position().map_or(1, ::csv::Position::line);
            if std::mem::take(&mut is_first) && is_header(&cells, &columns) {
                if !is_configured {
                    columns = cells.iter().take(MAX_FIELDS).map(Text::from).collect();
                }
                continue;
            }
            if let Err(error) = self.row(&cells, &columns, line, out) {
                break Err(error);
            }
        };
        if is_configured {
            self.columns = columns;
        }
        read
    }

    fn members(&mut self) -> &mut Members {
        &mut self.members
    }
}

/// Whether the first line names the columns: where none are configured, and where it says the same.
fn is_header(cells: &StringRecord, columns: &[Text]) -> bool {
    columns.is_empty() || cells.iter().eq(columns.iter().map(Text::as_str))
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
        assert!(decoded("", "a,b\n").rows.is_empty());
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
            assert!(out.faults.reason().contains("2 columns are named; look at columns and delimiter"));
        }
        let out = decoded("columns = [\"a\", \"b\"]\nfields = { b = \"long\" }", "1,x\n2,3\n4");
        assert_eq!((out.rows.len(), out.faults.reason().as_str().starts_with("at line 1, column b: ")), (3, true));
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
