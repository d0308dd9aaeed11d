//! `forebay get`: latest values.

use std::fmt::Write as _;

use clap::Args;
use jiff::Timestamp;

use super::{
    Exit, Failure, Global, block_on,
    out::{Columns, emit, span, tame, to_seconds},
    query::{QueryArgs, escape},
};
use crate::control::{
    api::{LatestAnswer, SeriesView},
    client::Client,
    render,
};

/// Series asked for at a time: as many as are held in memory.
const PAGE: usize = 500;

/// Arguments of `get`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  forebay get sensors device=dev-1
  forebay get --table sensors --field temperature
  forebay get --json | jq '.series[] | select(.stale)'
  forebay get --csv > latest.csv

All that matches is listed, in pages: what changes meanwhile may be in it.

Time is the event time of the value (UTC, to the second; --json and --csv tell all of it), age how long ago that is. Whole numbers \
are shown without .0.

State says how far the last reading of a series has come: memory (appended, its sender not yet told), durable (on this \
machine's disk), refused (QuestDB does not take it: see forebay quarantine), stored (in QuestDB).

Exit codes: 0 done, 2 usage, 3 nothing matches, 4 the daemon is not reachable")]
pub struct GetArgs {
    #[command(flatten)]
    query: QueryArgs,
    /// Most series to list; all when absent.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Print CSV, one line a field: as `/v1/latest` answers it (docs/api.md).
    #[arg(long)]
    csv: bool,
}

pub fn run(args: &GetArgs, global: &Global) -> Result<(), Failure> {
    let form = match (global.json, args.csv) {
        (true, true) => return Err(Failure::new(Exit::Usage, "--json and --csv: one of them")),
        (true, false) => Form::Json,
        (false, true) => Form::Csv,
        (false, false) => Form::Table(Columns::new(HEAD, RIGHT)),
    };
    let first = request(args, args.limit.unwrap_or(PAGE), None)?;
    let socket = global.socket_path()?;
    block_on(async {
        let mut client = Client::connect(&socket).await?;
        list(args, first, Output { form, seq: None }, async |target| Ok(client.get_json(&target).await?), emit).await
    })
}

/// The target of a request for at most so many series.
fn request(args: &GetArgs, most: usize, cursor: Option<&str>) -> Result<String, Failure> {
    let mut target = format!("/v1/latest{}", args.query.to_query(Some(most.min(PAGE)))?);
    for field in &args.query.fields {
        let _ = write!(target, "&field={}", escape(field));
    }
    if let Some(cursor) = cursor {
        let _ = write!(target, "&cursor={}", escape(cursor));
    }
    Ok(target)
}

/// Asks for one page after the other, each written before the next is asked for, until all is listed or the limit reached.
async fn list(
    args: &GetArgs,
    first: String,
    mut output: Output,
    mut ask: impl AsyncFnMut(String) -> Result<LatestAnswer, Failure>,
    mut emit: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (mut target, mut left) = (first, args.limit.unwrap_or(usize::MAX));
    loop {
        let mut page = ask(target).await?;
        left = left.saturating_sub(page.series.len());
        for series in &mut page.series {
            series.fields.retain(|name, _| args.query.wants(name));
            series.field_times.retain(|name, _| args.query.wants(name));
        }
        page.series.retain(|series| !series.fields.is_empty());
        if !page.series.is_empty() {
            emit(&output.page(&page)?)?;
        }
        match page.next.as_deref().filter(|_| left > 0) {
            Some(next) => target = request(args, left, Some(next))?,
            None if output.seq.is_some() => return emit(&output.end(page.truncated, page.next.as_deref())?),
            None => return Err(Failure::new(Exit::NotFound, "no series that matches has such a field")),
        }
    }
}

enum Form {
    Table(Columns<'static, 7>),
    Json,
    Csv,
}

/// What is written, in parts.
struct Output {
    form: Form,
    /// Of the first page: what changes while the others are asked for is news to whoever asks for what came since. None before it.
    seq: Option<u64>,
}

impl Output {
    fn page(&mut self, page: &LatestAnswer) -> Result<String, Failure> {
        let is_first = self.seq.is_none();
        self.seq.get_or_insert(page.seq);
        Ok(match &mut self.form {
            Form::Table(columns) => columns.rows(&page.series.iter().flat_map(rows).collect::<Vec<_>>()),
            Form::Json => {
                let series = page.series.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
                let series = series.map_err(|why| Failure::new(Exit::Failed, why))?.join(",");
                format!("{}{series}", if is_first { "{\"series\":[" } else { "," })
            }
            Form::Csv => {
                let mut text = if is_first { render::CSV_HEADER.as_bytes().to_vec() } else { Vec::new() };
                page.series.iter().for_each(|series| render::csv_lines(series, &mut text));
                String::from_utf8_lossy(&text).into_owned()
            }
        })
    }

    /// What comes after the last page, which may not be the last there is.
    fn end(&self, truncated: bool, next: Option<&str>) -> Result<String, Failure> {
        let text = match &self.form {
            Form::Table(_) if truncated => "… and more; --limit N, or narrow it down by table and symbols\n".to_owned(),
            Form::Table(_) | Form::Csv => String::new(),
            Form::Json => {
                let next = next.map(str::to_owned);
                let rest =
                    LatestAnswer { truncated, next, seq: self.seq.unwrap_or_default(), ..LatestAnswer::default() };
                let rest = serde_json::to_string(&rest).map_err(|why| Failure::new(Exit::Failed, why))?;
                // The list is written already.
                rest.replacen("{\"series\":[", "", 1) + "\n"
            }
        };
        Ok(text)
    }
}

const HEAD: [&str; 7] = ["TABLE", "SERIES", "FIELD", "VALUE", "TIME", "AGE", "STATE"];
/// Columns of figures: values and ages.
const RIGHT: &[usize] = &[3, 5];

/// One row a field.
fn rows(series: &SeriesView) -> impl Iterator<Item = [String; 7]> {
    let mark = if series.stale { " (stale)" } else { "" };
    let state = format!("{:?}{mark}", series.state).to_lowercase();
    series.fields.iter().map(move |(name, value)| {
        [
            tame(&series.table),
            symbols(series),
            tame(name),
            shown(value),
            to_seconds(field_time(series, name)),
            span(field_age_ms(series, name)),
            state.clone(),
        ]
    })
}

/// When a field's value was measured: it may be older than its series' newest value.
fn field_time<'s>(series: &'s SeriesView, field: &str) -> &'s str {
    series.field_times.get(field).unwrap_or(&series.time)
}

fn field_age_ms(series: &SeriesView, field: &str) -> f64 {
    let newest: Option<Timestamp> = series.time.parse().ok();
    let own: Option<Timestamp> = field_time(series, field).parse().ok();
    let behind = newest.zip(own).map_or(0.0, |(newest, own)| newest.duration_since(own).as_secs_f64() * 1e3);
    series.age_ms as f64 + behind
}

/// The symbols in one cell.
pub(super) fn symbols(series: &SeriesView) -> String {
    let pairs = series.symbols.iter().map(|(name, value)| format!("{}={}", tame(name), tame(value)));
    pairs.collect::<Vec<_>>().join(" ")
}

/// A value in one cell. A whole number has no `.0`, whatever the type of its column.
pub(super) fn shown(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => format!("\"{}\"", tame(text)),
        serde_json::Value::Null => "NaN".into(),
        other => {
            let text = other.to_string();
            text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
        }
    }
}

#[cfg(test)]
mod tests;
