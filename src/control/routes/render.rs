//! Series as JSON, CSV and plain text, in pieces, so that a long listing is never held as a whole. Pure.

use std::io::Write as _;

use super::accept::Form;
use crate::{
    control::api::SeriesView,
    latest::{Field, view::View},
    marks::State,
    point::Value,
    shown::harmless,
};

/// First line of the CSV form.
pub const CSV_HEADER: &str = "table,symbols,field,value,time,received,age_ms,stale,state,source\r\n";

/// What stands for a number that there is no writing for.
const NO_NUMBER: &str = "NaN";

/// What comes before the first series.
pub fn begin(form: Form, out: &mut Vec<u8>) {
    match form {
        Form::Json => out.extend_from_slice(b"{\"series\":["),
        Form::Csv => out.extend_from_slice(CSV_HEADER.as_bytes()),
        Form::Text => {}
    }
}

/// A few series; `first` when none came before.
pub fn some<'a>(form: Form, series: impl Iterator<Item = View<'a>>, first: bool, out: &mut Vec<u8>) {
    for (at, view) in series.enumerate() {
        match form {
            Form::Json => {
                if at > 0 || !first {
                    out.push(b',');
                }
                // Strings and numbers: writing them to memory can't fail.
                let _ = serde_json::to_writer(&mut *out, &view);
            }
            Form::Csv => csv_lines(&view, out),
            Form::Text => text_lines(&view, out),
        }
    }
}

/// What comes after the last one: whether there are more, where they begin, and the record everything up to which was seen.
pub fn end(form: Form, truncated: bool, next: Option<&str>, seq: u64, out: &mut Vec<u8>) {
    if form != Form::Json {
        return;
    }
    out.push(b']');
    if truncated {
        out.extend_from_slice(b",\"truncated\":true");
    }
    // Writing to memory can't fail.
    if let Some(next) = next {
        let _ = write!(out, ",\"next\":\"{next}\"");
    }
    let _ = write!(out, ",\"seq\":{seq}}}");
}

/// A series as its lines show it.
pub struct Cells<'a> {
    table: &'a str,
    symbols: String,
    received: String,
    age_ms: u64,
    stale: bool,
    state: State,
    source: &'a str,
    /// Name, value and time of each field.
    fields: Vec<(&'a str, String, String)>,
}

impl<'a> From<&View<'a>> for Cells<'a> {
    fn from(view: &View<'a>) -> Self {
        let field = |field: &&'a Field| {
            let value = match &field.value {
                Value::Text(text) => text.to_string(),
                Value::Double(number) if !number.is_finite() => NO_NUMBER.to_owned(),
                other => serde_json::to_string(other).unwrap_or_default(),
            };
            (field.name.as_str(), value, field.time.to_string())
        };
        Self {
            table: view.table,
            symbols: symbols(view.symbols.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
            received: view.received.map_or_else(String::new, |time| time.0.to_string()),
            age_ms: view.age_ms,
            stale: view.stale,
            state: view.state,
            source: view.source,
            fields: view.fields.iter().map(field).collect(),
        }
    }
}

impl<'a> From<&'a SeriesView> for Cells<'a> {
    fn from(view: &'a SeriesView) -> Self {
        let field = |(name, value): (&'a String, &serde_json::Value)| {
            let value = match value {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Null => NO_NUMBER.to_owned(),
                other => other.to_string(),
            };
            (name.as_str(), value, view.field_times.get(name).unwrap_or(&view.time).clone())
        };
        Self {
            table: &view.table,
            symbols: symbols(view.symbols.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
            received: view.received.clone(),
            age_ms: view.age_ms,
            stale: view.stale,
            state: view.state,
            source: &view.source,
            fields: view.fields.iter().map(field).collect(),
        }
    }
}

/// Symbols in one cell, as in line protocol: `device=dev-1,site=north`, commas, spaces, equals signs and backslashes escaped.
fn symbols<'a>(symbols: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let escaped = |text: &str| {
        let mut out = String::new();
        for c in text.chars() {
            if matches!(c, ',' | ' ' | '=' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
        out
    };
    symbols.map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect::<Vec<_>>().join(",")
}

/// A series in the CSV form, one line a field.
pub fn csv_lines<'a>(series: impl Into<Cells<'a>>, out: &mut Vec<u8>) {
    let Cells { table, symbols, received, age_ms, stale, state, source, fields } = series.into();
    let (age, stale) = (age_ms.to_string(), stale.to_string());
    let mut lines = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).has_headers(false).from_writer(out);
    for (field, value, time) in fields {
        let cells = [table, &symbols, field, &value, &time, &received, &age, &stale, state.word(), source];
        // Writing to memory can't fail, and every line has as many cells.
        let _ = lines.write_record(cells);
    }
    let _ = lines.flush();
}

/// One line a field: table, symbols, field, value, time, state; what is not to be shown as it is, tabs and line ends among it, is escaped.
fn text_lines(view: &View<'_>, out: &mut Vec<u8>) {
    let Cells { table, symbols, stale, state, fields, .. } = view.into();
    let tame = |text: &str| harmless(&text.replace('\\', "\\\\")).into_owned();
    let symbols = harmless(&symbols);
    let state = if stale { format!("{} (stale)", state.word()) } else { state.word().to_owned() };
    for (field, value, time) in fields {
        let (table, field, value) = (tame(table), tame(field), tame(&value));
        out.extend_from_slice(format!("{table}\t{symbols}\t{field}\t{value}\t{time}\t{state}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        latest::{Key, Series},
        marks::Seq,
        point::Timestamp,
    };

    /// Of one minute into 2024, but for a value of the minute before.
    fn series() -> Series {
        let minute = |n: i64| Timestamp((1_704_067_200 + n * 60) * 1_000_000_000);
        let field = |name: &str, value, time| Field {
            name: name.into(),
            value,
            time,
            received: Timestamp(minute(1).0 + 1_000_000_000),
            seq: Seq(7),
        };
        let key = Key {
            table: "sensors".into(),
            symbols: [("device".into(), "a, b".into()), ("site".into(), "n".into())].into(),
        };
        let note = field("note", Value::Text("x\t\"y\"\n".into()), minute(1));
        Series { key: key.into(), fields: vec![note, field("bad", Value::Double(f64::NAN), minute(0))].into() }
    }

    fn view(series: &Series) -> View<'_> {
        let now = Timestamp(series.newest().unwrap().time.0 + 12_000_000);
        View::new(series, State::Durable, now, Duration::ZERO)
    }

    /// Parts of so many series.
    fn whole(form: Form, parts: &[usize]) -> String {
        let series = series();
        let mut out = Vec::new();
        begin(form, &mut out);
        for (at, part) in parts.iter().enumerate() {
            some(form, (0..*part).map(|_| view(&series)), at == 0, &mut out);
        }
        end(form, true, Some("abc"), 9, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn clients_read_what_is_written() {
        let series = series();
        let read: SeriesView = serde_json::from_slice(&serde_json::to_vec(&view(&series)).unwrap()).unwrap();
        let expected = SeriesView {
            table: "sensors".into(),
            symbols: [("device".to_owned(), "a, b".to_owned()), ("site".to_owned(), "n".to_owned())].into(),
            fields: [("bad".to_owned(), serde_json::Value::Null), ("note".to_owned(), "x\t\"y\"\n".into())].into(),
            time: "2024-01-01T00:01:00Z".into(),
            field_times: [("bad".to_owned(), "2024-01-01T00:00:00Z".to_owned())].into(),
            received: "2024-01-01T00:01:01Z".into(),
            age_ms: 12,
            stale: true,
            state: State::Durable,
            source: "memory".into(),
            seq: 7,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn pieces_make_one_document() {
        let json: serde_json::Value = serde_json::from_str(&whole(Form::Json, &[2, 1])).unwrap();
        assert_eq!(json["series"].as_array().unwrap().len(), 3);
        assert_eq!((&json["truncated"], &json["next"], &json["seq"]), (&true.into(), &"abc".into(), &9.into()));
    }

    #[test]
    fn csv_has_a_header_and_quotes_what_needs_it() {
        let csv = whole(Form::Csv, &[1]);
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        assert_eq!(reader.headers().unwrap().len(), 10);
        let lines: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(&lines[0][1], "device=a\\,\\ b,site=n");
        assert_eq!((&lines[0][2], &lines[0][3], &lines[0][4]), ("bad", "NaN", "2024-01-01T00:00:00Z"));
        assert_eq!((&lines[1][3], &lines[1][8]), ("x\t\"y\"\n", "durable"));
    }

    #[test]
    fn csv_is_the_same_of_what_clients_have_read() {
        let series = series();
        let read: SeriesView = serde_json::from_slice(&serde_json::to_vec(&view(&series)).unwrap()).unwrap();
        let (mut written, mut reread) = (Vec::new(), Vec::new());
        csv_lines(&view(&series), &mut written);
        csv_lines(&read, &mut reread);
        assert_eq!(String::from_utf8(written).unwrap(), String::from_utf8(reread).unwrap());
    }

    #[test]
    fn text_has_one_line_a_field() {
        let text = whole(Form::Text, &[1]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines[1].split('\t').collect::<Vec<_>>(),
            ["sensors", "device=a\\,\\ b,site=n", "note", "x\\t\"y\"\\n", "2024-01-01T00:01:00Z", "durable (stale)"]
        );
    }
}
