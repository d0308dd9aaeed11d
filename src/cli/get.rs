//! `forebay get`: latest values.

use clap::Args;
use jiff::Timestamp;

use super::{
    Exit, Failure, Global, block_on,
    out::{aligned, emit, span, tame},
    query::QueryArgs,
};
use crate::control::{
    api::{LatestAnswer, SeriesView},
    client::Client,
};

/// Arguments of `get`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  forebay get sensors device=dev-1
  forebay get sensors --field temperature
  forebay get --json | jq '.series[] | select(.stale)'

State says how far the last reading of a series has come: memory (appended, its sender not yet told), durable (on this \
machine's disk), stored (in QuestDB).

Exit codes: 0 done, 2 usage, 3 nothing matches, 4 the daemon is not reachable")]
pub struct GetArgs {
    #[command(flatten)]
    query: QueryArgs,
    /// Most series to list [default and most: 2000].
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

pub fn run(args: &GetArgs, global: &Global) -> Result<(), Failure> {
    let query = args.query.to_query(args.limit)?;
    let socket = global.socket_path()?;
    let mut answer: LatestAnswer = block_on(async {
        let mut client = Client::connect(&socket).await?;
        Ok(client.get_json(&format!("/v1/latest{query}")).await?)
    })?;
    for series in &mut answer.series {
        series.fields.retain(|name, _| args.query.wants(name));
        series.field_times.retain(|name, _| args.query.wants(name));
    }
    answer.series.retain(|series| !series.fields.is_empty());
    if answer.series.is_empty() {
        return Err(Failure::new(Exit::NotFound, "no series that matches has such a field"));
    }
    if global.json {
        let json = serde_json::to_string(&answer).map_err(|why| Failure::new(Exit::Failed, why))?;
        return emit(&(json + "\n"));
    }
    emit(&table(&answer))
}

fn table(answer: &LatestAnswer) -> String {
    let rows: Vec<[String; 6]> = answer.series.iter().flat_map(rows).collect();
    let mut text = aligned(["TABLE", "SERIES", "FIELD", "VALUE", "AGE", "STATE"], &[3, 4], &rows);
    if answer.truncated {
        text.push_str("… and more; narrow it down by table and symbols\n");
    }
    text
}

/// One row a field.
fn rows(series: &SeriesView) -> impl Iterator<Item = [String; 6]> {
    let mark = if series.stale { " (stale)" } else { "" };
    let state = format!("{:?}{mark}", series.state).to_lowercase();
    series.fields.iter().map(move |(name, value)| {
        [
            tame(&series.table),
            symbols(series),
            tame(name),
            shown(value),
            span(field_age_ms(series, name)),
            state.clone(),
        ]
    })
}

/// A field may be older than its series' newest value.
fn field_age_ms(series: &SeriesView, field: &str) -> f64 {
    let newest: Option<Timestamp> = series.time.parse().ok();
    let own: Option<Timestamp> = series.field_times.get(field).and_then(|time| time.parse().ok());
    let behind = newest.zip(own).map_or(0.0, |(newest, own)| newest.duration_since(own).as_secs_f64() * 1e3);
    series.age_ms as f64 + behind
}

/// The symbols in one cell.
pub(super) fn symbols(series: &SeriesView) -> String {
    let pairs = series.symbols.iter().map(|(name, value)| format!("{}={}", tame(name), tame(value)));
    pairs.collect::<Vec<_>>().join(" ")
}

/// A value in one cell.
pub(super) fn shown(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => format!("\"{}\"", tame(text)),
        serde_json::Value::Null => "NaN".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::State;

    #[test]
    fn each_field_has_its_own_age() {
        let series = SeriesView {
            table: "sensors".into(),
            symbols: [("device".to_owned(), "dev-1".to_owned())].into(),
            fields: [("hum".to_owned(), 40.into()), ("note".to_owned(), "a\nb".into())].into(),
            time: "2024-01-01T00:01:00Z".into(),
            field_times: [("hum".to_owned(), "2024-01-01T00:00:00Z".to_owned())].into(),
            received: "2024-01-01T00:01:00Z".into(),
            age_ms: 12,
            stale: true,
            state: State::Durable,
            source: "memory".into(),
            ..SeriesView::default()
        };
        let text = table(&LatestAnswer { series: vec![series], truncated: true, ..LatestAnswer::default() });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "TABLE    SERIES        FIELD   VALUE     AGE  STATE");
        assert_eq!(lines[1], "sensors  device=dev-1  hum        40  60.0 s  durable (stale)");
        assert_eq!(lines[2], "sensors  device=dev-1  note   \"a\\nb\"   12 ms  durable (stale)");
        assert!(lines[3].starts_with("… and more"));
    }
}
