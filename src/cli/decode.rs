//! `forebay decode`: what would a message become?

use std::{fmt::Write, io::Read};

use clap::Args;

use super::{
    Exit, Failure, Global,
    out::{emit, tame},
};
use crate::{
    clock::{Clock, SystemClock},
    config,
    ingest::preview::{Preview, preview},
    point::{Row, Value},
};

/// Arguments of `forebay decode`.
#[derive(Debug, Clone, Args)]
pub struct DecodeArgs {
    /// Go by this source alone [default: the one that takes the topic].
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// The message's topic.
    #[arg(long)]
    pub topic: String,
    /// The message's payload, or - for standard input.
    #[arg(long, value_name = "TEXT", default_value = "-", allow_hyphen_values = true)]
    pub payload: String,
}

/// Prints what a message would become by the configuration, without broker, ring and database. The
/// clock is taken to be right, the message not to be a retained one; `[limits]` are not asked.
///
/// Exit codes: 0 rows, or a message that says nothing; 1 something would be set aside; 2 wrong
/// usage or configuration; 3 no source takes the topic.
pub fn run(args: &DecodeArgs, global: &Global) -> Result<(), Failure> {
    let settings = config::load(global.config_file()).map_err(|error| Failure::new(Exit::Usage, error))?.settings;
    if let Some(name) = args.source.as_ref().filter(|name| !settings.source.contains_key(*name)) {
        return Err(Failure::new(Exit::Usage, format!("there is no [source.{name}] in the configuration")));
    }
    let payload = match args.payload.as_str() {
        "-" => standard_input(settings.mqtt.max_payload.0)?,
        text => text.as_bytes().to_vec(),
    };
    let told = preview(&settings, args.source.as_deref(), &args.topic, &payload, SystemClock.now());
    let told = told.map_err(|error| Failure::new(Exit::Usage, error))?;
    let Some(told) = told else {
        let topic = &args.topic;
        let what = match &args.source {
            Some(name) => format!("source.{name} does not take topic {topic:?}"),
            None => format!("no source takes topic {topic:?}"),
        };
        return Err(Failure::new(Exit::NotFound, what));
    };
    if global.json {
        emit(&format!("{}\n", told.as_json()))?;
    } else {
        emit(&in_words(&told))?;
    }
    if told.set_aside.is_empty() { Ok(()) } else { Err(Failure::silent(Exit::Failed)) }
}

/// Standard input, but no more than tells that it is too large.
fn standard_input(most: u64) -> Result<Vec<u8>, Failure> {
    let mut payload = Vec::new();
    let read = std::io::stdin().take(most + 1).read_to_end(&mut payload);
    read.map_err(|error| Failure::new(Exit::Failed, format!("standard input: {error}")))?;
    Ok(payload)
}

fn in_words(told: &Preview) -> String {
    // Writing into memory does not fail.
    let mut text = format!("source: {}\n", told.source);
    for row in &told.rows {
        text.push_str(&row_in_words(&told.table, row));
    }
    for reason in &told.set_aside {
        let _ = writeln!(text, "set aside: {}", tame(reason));
    }
    if told.clears {
        text.push_str("clears: the series has no latest value any more\n");
    }
    if told.is_empty() {
        text.push_str("empty: it has no value, and is counted and not stored\n");
    }
    text
}

fn row_in_words(table: &str, row: &Row) -> String {
    // Writing into memory does not fail.
    let mut text = format!("row: table {}\n", tame(table));
    let time = row.time.map_or_else(|| "that of receipt".to_owned(), |time| time.to_string());
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
