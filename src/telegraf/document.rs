//! A Telegraf configuration as a tree of values, each with its line; sections in the order of the
//! file.

use std::borrow::Cow;

use thiserror::Error;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::environment::{self, Variables};
use crate::observe::log::clip;

/// Largest file, in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// Why a file is no Telegraf configuration.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{file}:{line}: {what}")]
pub struct DocumentError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub what: String,
}

/// A value and its line.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The line, from 1.
    pub line: usize,
    /// The value.
    pub value: Value,
}

/// A value of TOML.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text, with its variables replaced.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// true or false.
    Bool(bool),
    /// An array, of tables too.
    List(Vec<Item>),
    /// A table.
    Table(Entries),
}

/// Keys and values in the order of the file.
pub type Entries = Vec<(String, Item)>;

/// Reads the text of a file.
///
/// The names of variables that stand in it and have no value go to `missing`.
pub fn read(
    file: &str,
    text: &str,
    variables: Variables<'_>,
    missing: &mut Vec<(usize, String)>,
) -> Result<Entries, DocumentError> {
    let error = |line, what: String| DocumentError { file: file.to_owned(), line, what };
    if text.len() > MAX_FILE_BYTES {
        let what = format!("the file has {} bytes; {MAX_FILE_BYTES} are allowed", text.len());
        return Err(error(1, what));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match entries(text, variables, missing) {
        Ok(entries) => Ok(entries),
        // Telegraf also replaces variables that stand outside of text, as in `qos = $QOS`.
        Err(first) => entries(&environment::replace(text, variables, &mut |_| {}), variables, missing)
            .map_err(|_| error(first.0, format!("this is no TOML: {}", clip(&first.1)))),
    }
}

fn entries(
    text: &str,
    variables: Variables<'_>,
    missing: &mut Vec<(usize, String)>,
) -> Result<Entries, (usize, String)> {
    let lines = Lines::new(text);
    let parsed = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| lines.of(span.start));
        (line, error.message().to_owned())
    })?;
    Ok(table(parsed.into_inner(), &mut Reading { lines, variables, missing }))
}

/// Where the lines of a text end, in its order: a file may have very many values.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line of a byte, from 1.
    fn of(&self, offset: usize) -> usize {
        self.0.partition_point(|end| *end < offset) + 1
    }
}

struct Reading<'a> {
    lines: Lines,
    variables: Variables<'a>,
    missing: &'a mut Vec<(usize, String)>,
}

fn table(table: DeTable<'_>, reading: &mut Reading<'_>) -> Entries {
    let mut pairs: Vec<(Spanned<Cow<'_, str>>, Spanned<DeValue<'_>>)> = table.into_iter().collect();
    pairs.sort_by_key(|(key, _)| key.span().start);
    pairs
        .into_iter()
        .map(|(key, value)| {
            let line = reading.lines.of(key.span().start);
            let name = key.into_inner().into_owned();
            let item = item(value, reading);
            (name, Item { line, ..item })
        })
        .collect()
}

fn item(value: Spanned<DeValue<'_>>, reading: &mut Reading<'_>) -> Item {
    let line = reading.lines.of(value.span().start);
    let value = match value.into_inner() {
        DeValue::String(text) => {
            let missing = &mut *reading.missing;
            Value::Text(environment::replace(&text, reading.variables, &mut |name| {
                missing.push((line, name.to_owned()));
            }))
        }
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            parsed.map_or_else(|_| Value::Text(number.as_str().to_owned()), Value::Int)
        }
        DeValue::Float(number) => {
            let parsed = number.as_str().parse();
            parsed.map_or_else(|_| Value::Text(number.as_str().to_owned()), Value::Float)
        }
        DeValue::Boolean(is_true) => Value::Bool(is_true),
        DeValue::Datetime(time) => Value::Text(time.to_string()),
        DeValue::Array(list) => Value::List(list.into_iter().map(|value| item(value, reading)).collect()),
        DeValue::Table(entries) => Value::Table(table(entries, reading)),
    };
    Item { line, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Entries, DocumentError> {
        read("t.conf", text, &|name| (name == "SITE").then(|| "north".to_owned()), &mut Vec::new())
    }

    #[test]
    fn sections_keep_their_order_and_their_lines() {
        let text =
            "[agent]\n  interval = \"1s\"\n[[inputs.z]]\n  b = 1\n  a = [\"x\",\n    2]\n[[inputs.a]]\n[[inputs.z]]\n";
        let entries = read_text(text).expect("a document");
        assert_eq!(
            entries.iter().map(|(name, item)| (name.as_str(), item.line)).collect::<Vec<_>>(),
            [("agent", 1), ("inputs", 3)]
        );
        let Value::Table(inputs) = &entries[1].1.value else { panic!("{entries:?}") };
        assert_eq!(inputs[0].0, "z");
        let Value::List(list) = &inputs[0].1.value else { panic!("{inputs:?}") };
        assert_eq!(list.len(), 2);
        let Value::Table(first) = &list[0].value else { panic!("{list:?}") };
        assert_eq!(
            first.iter().map(|(name, item)| (name.as_str(), item.line)).collect::<Vec<_>>(),
            [("b", 4), ("a", 5)]
        );
    }

    #[test]
    fn a_mistake_has_its_line() {
        let error = read_text("[agent]\nx = = 1\n").expect_err("no TOML");
        assert_eq!((error.line, error.file.as_str()), (2, "t.conf"));
        let error = read_text(&"#".repeat(MAX_FILE_BYTES + 1)).expect_err("too large");
        assert!(error.what.contains("are allowed"), "{error}");
    }

    #[test]
    fn variables_are_replaced_inside_and_outside_of_text() {
        let entries = read_text("a = \"${SITE}/x\"\n").expect("a document");
        assert_eq!(entries[0].1.value, Value::Text("north/x".into()));
        let entries = read("t", "a = $N\n", &|_| Some("7".into()), &mut Vec::new()).expect("a document");
        assert_eq!(entries[0].1.value, Value::Int(7));
        let mut missing = Vec::new();
        read("t", "\na = \"${PLANT}\"\n", &|_| None, &mut missing).expect("a document");
        assert_eq!(missing, [(2, "PLANT".to_owned())]);
    }
}
