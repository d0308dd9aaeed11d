//! What a message would become, in words.

use std::fmt::Write;

use crate::{
    cli::out::{plural, tame},
    ingest::preview::Preview,
    point::{Row, Value},
    settings::Retained,
    shown::harmless,
};

/// Source, rows, what is set aside, and what else becomes of a message.
pub fn of(told: &Preview) -> String {
    // Writing into memory does not fail.
    let mut text = format!("source: {}\n", told.source);
    for (table, row) in &told.rows {
        text.push_str(&row_in_words("row", table, row, &by_receipt(told, row)));
    }
    for (table, row) in &told.left_out {
        text.push_str(&row_in_words("not stored", table, row, "unknown"));
    }
    if let Some(retained) = told.retained {
        text.push_str(&retained_in_words(retained, told));
    }
    for reason in &told.set_aside {
        let _ = writeln!(text, "set aside: {}", harmless(reason));
    }
    if told.clears {
        text.push_str("clears: the series has no latest value any more\n");
    }
    if told.is_dropped {
        text.push_str("dropped: its source's exclude, or its pattern, leaves it out; it is counted as unmatched\n");
    }
    for line in &told.explained {
        let _ = writeln!(text, "explain: {}", harmless(line));
    }
    if told.is_empty() {
        text.push_str("empty: it has no value, and is counted and not stored\n");
    }
    text
}

/// Why a row has no time of its own.
fn by_receipt(told: &Preview, row: &Row) -> String {
    match &told.time_member {
        Some(member) if row.notes.untimed => format!("that of receipt: {member} gives none that can be used"),
        _ => "that of receipt".to_owned(),
    }
}

/// What the source makes of rows without a time in a message that the broker had kept; nothing
/// where it has none.
fn retained_in_words(retained: Retained, told: &Preview) -> String {
    let untimed = match retained {
        Retained::Store => told.rows.iter().filter(|(_, row)| row.time.is_none()).count(),
        Retained::Ignore | Retained::Latest => told.left_out.len(),
    };
    let rows = plural(untimed as u64, "row");
    match retained {
        _ if untimed == 0 => String::new(),
        Retained::Ignore => format!("retained: {rows} without a time ignored (retained = \"ignore\")\n"),
        Retained::Latest => {
            format!("retained: {rows} without a time only for the latest value (retained = \"latest\")\n")
        }
        Retained::Store => {
            format!("retained: {rows} without a time stored with that of receipt (retained = \"store\")\n")
        }
    }
}

fn row_in_words(what: &str, table: &str, row: &Row, no_time: &str) -> String {
    // Writing into memory does not fail.
    let mut text = format!("{what}: table {}\n", tame(table));
    let time = row.time.map_or_else(|| no_time.to_owned(), |time| time.to_string());
    let _ = writeln!(text, "  time     {time}");
    for (name, value) in &row.symbols {
        let _ = writeln!(text, "  symbol   {} = {}", tame(name), tame(value));
    }
    for (name, value) in &row.fields {
        let (kind, value) = match value {
            Value::Bool(value) => ("boolean", value.to_string()),
            Value::Flag(value) => ("long", u8::from(*value).to_string()),
            Value::Long(value) | Value::Whole(value) => ("long", value.to_string()),
            Value::Double(value) => ("double", value.to_string()),
            Value::Text(value) => ("string", format!("{value:?}")),
        };
        let _ = writeln!(text, "  {kind:<8} {} = {}", tame(name), tame(&value));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_retained_message_that_are_not_stored_are_told_apart() {
        let tabled = |rows: Vec<Row>| rows.into_iter().map(|row| ("t".into(), row)).collect();
        let preview = |retained, rows, left_out| Preview {
            source: "s".into(),
            rows: tabled(rows),
            retained: Some(retained),
            left_out: tabled(left_out),
            ..Preview::default()
        };
        let text = of(&preview(Retained::Ignore, Vec::new(), vec![Row::default()]));
        assert!(text.contains("not stored: table t\n") && text.contains("1 row without a time ignored"), "{text}");
        assert!(!text.contains("row: table") && !text.contains("empty:"), "{text}");
        let text = of(&preview(Retained::Latest, Vec::new(), vec![Row::default(), Row::default()]));
        assert!(text.contains("2 rows without a time only for the latest value"), "{text}");
        let text = of(&preview(Retained::Store, vec![Row::default()], Vec::new()));
        assert!(text.contains("row: table t\n") && text.contains("1 row without a time stored"), "{text}");
    }
}
