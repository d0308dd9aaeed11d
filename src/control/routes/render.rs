//! Series as JSON, CSV and plain text, in pieces, so that a long listing is never held as a whole. Pure.

use std::fmt::Write as _;

use super::accept::Form;
use crate::control::api::SeriesView;

/// First line of the CSV form.
pub const CSV_HEADER: &str = "table,symbols,field,value,time,received,age_ms,stale,state,source\r\n";

/// What comes before the first series.
pub fn begin(form: Form) -> Vec<u8> {
    match form {
        Form::Json => b"{\"series\":[".to_vec(),
        Form::Csv => CSV_HEADER.into(),
        Form::Text => Vec::new(),
    }
}

/// A few series; `first` when none came before.
pub fn some(form: Form, series: &[SeriesView], first: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, view) in series.iter().enumerate() {
        match form {
            Form::Json => {
                if at > 0 || !first {
                    out.push(b',');
                }
                // Strings and numbers: writing them to memory can't fail.
                let _ = serde_json::to_writer(&mut out, view);
            }
            Form::Csv => csv_lines(view, &mut out),
            Form::Text => text_lines(view, &mut out),
        }
    }
    out
}

/// What comes after the last one: whether there are more, where they begin, and the record everything up to which was seen.
pub fn end(form: Form, truncated: bool, next: Option<&str>, seq: u64) -> Vec<u8> {
    if form != Form::Json {
        return Vec::new();
    }
    let mut text = String::from("]");
    if truncated {
        text.push_str(",\"truncated\":true");
    }
    if let Some(next) = next {
        let _ = write!(text, ",\"next\":\"{next}\"");
    }
    let _ = write!(text, ",\"seq\":{seq}}}");
    text.into_bytes()
}

/// Symbols in one cell, as in line protocol: `device=dev-1,site=north`, commas, spaces, equals signs and backslashes escaped.
fn symbols(view: &SeriesView) -> String {
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
    let pairs: Vec<_> = view.symbols.iter().map(|(n, v)| format!("{}={}", escaped(n), escaped(v))).collect();
    pairs.join(",")
}

/// Cells of each field: name, value, time.
fn fields(view: &SeriesView) -> impl Iterator<Item = (&str, String, &str)> {
    view.fields.iter().map(|(name, value)| {
        let value = match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Null => "NaN".to_owned(),
            other => other.to_string(),
        };
        (name.as_str(), value, view.field_times.get(name).map_or(view.time.as_str(), String::as_str))
    })
}

/// A series in the CSV form, one line a field.
pub fn csv_lines(view: &SeriesView, out: &mut Vec<u8>) {
    let symbols = symbols(view);
    let (age, stale, state) = (view.age_ms.to_string(), view.stale.to_string(), view.state.word());
    let mut lines = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).has_headers(false).from_writer(out);
    for (field, value, time) in fields(view) {
        let cells = [&view.table, &symbols, field, &value, time, &view.received, &age, &stale, state, &view.source];
        // Writing to memory can't fail, and every line has as many cells.
        let _ = lines.write_record(cells);
    }
    let _ = lines.flush();
}

/// One line a field: table, symbols, field, value, time, state; tabs and line ends within them are escaped.
fn text_lines(view: &SeriesView, out: &mut Vec<u8>) {
    let tame = |text: &str| text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r");
    let symbols = symbols(view).replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r");
    let state = if view.stale { format!("{} (stale)", view.state.word()) } else { view.state.word().to_owned() };
    for (field, value, time) in fields(view) {
        let (table, field, value) = (tame(&view.table), tame(field), tame(&value));
        out.extend_from_slice(format!("{table}\t{symbols}\t{field}\t{value}\t{time}\t{state}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::State;

    fn view() -> SeriesView {
        SeriesView {
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
        }
    }

    fn whole(form: Form, parts: &[&[SeriesView]]) -> String {
        let mut out = begin(form);
        for (at, part) in parts.iter().enumerate() {
            out.extend(some(form, part, at == 0));
        }
        out.extend(end(form, true, Some("abc"), 9));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn pieces_make_one_document() {
        let json: serde_json::Value =
            serde_json::from_str(&whole(Form::Json, &[&[view(), view()], &[view()]])).unwrap();
        assert_eq!(json["series"].as_array().unwrap().len(), 3);
        assert_eq!((&json["truncated"], &json["next"], &json["seq"]), (&true.into(), &"abc".into(), &9.into()));
    }

    #[test]
    fn csv_has_a_header_and_quotes_what_needs_it() {
        let csv = whole(Form::Csv, &[&[view()]]);
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        assert_eq!(reader.headers().unwrap().len(), 10);
        let lines: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(&lines[0][1], "device=a\\,\\ b,site=n");
        assert_eq!((&lines[0][2], &lines[0][3], &lines[0][4]), ("bad", "NaN", "2024-01-01T00:00:00Z"));
        assert_eq!((&lines[1][3], &lines[1][8]), ("x\t\"y\"\n", "durable"));
    }

    #[test]
    fn text_has_one_line_a_field() {
        let text = whole(Form::Text, &[&[view()]]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines[1].split('\t').collect::<Vec<_>>(),
            ["sensors", "device=a\\,\\ b,site=n", "note", "x\\t\"y\"\\n", "2024-01-01T00:01:00Z", "durable (stale)"]
        );
    }
}
