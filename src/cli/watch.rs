//! `forebay watch`: latest values as they change.

use clap::Args;

use super::{
    Exit, Failure, Global, block_on,
    get::{shown, symbols},
    out::{emit, tame},
    query::QueryArgs,
};
use crate::control::{
    api::SeriesView,
    client::{Client, ServerEvent},
};

/// Arguments of `watch`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Prints one line an update until interrupted. A reader too slow for the updates is told how many it missed, and then what holds \
now.

Exit codes: 0 done (--count reached, or output closed), 2 usage, 4 the daemon is not reachable or stopped")]
pub struct WatchArgs {
    #[command(flatten)]
    query: QueryArgs,
    /// End after so many updates [default: go on].
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u64>,
}

pub fn run(args: &WatchArgs, global: &Global) -> Result<(), Failure> {
    let path = format!("/v1/watch{}", args.query.to_query(None)?);
    let socket = global.socket_path()?;
    block_on(async {
        let mut events = Client::connect(&socket).await?.events(&path).await?;
        let mut left = args.count;
        while left != Some(0) {
            let Some(event) = events.next().await? else {
                return Err(Failure::new(Exit::Unreachable, "the daemon has stopped"));
            };
            let (line, is_update) = if global.json { raw(&event) } else { line(&event, &args.query) };
            emit(&line)?;
            left = left.map(|left| left - u64::from(is_update));
        }
        Ok(())
    })
}

/// The event's own document, and whether it is an update.
fn raw(event: &ServerEvent) -> (String, bool) {
    (format!("{}\n", event.data), event.event != "missed")
}

/// A line for people (empty when no wanted field is in it), and whether it is an update.
fn line(event: &ServerEvent, query: &QueryArgs) -> (String, bool) {
    if event.event == "missed" {
        let missed = serde_json::from_str::<serde_json::Value>(&event.data).unwrap_or_default();
        return (format!("… {} updates missed; this is what holds now\n", missed["missed"]), false);
    }
    if event.event == "cleared" {
        return (cleared(&event.data), true);
    }
    let Ok(series) = serde_json::from_str::<SeriesView>(&event.data) else { return (String::new(), false) };
    let wanted = series.fields.iter().filter(|(name, _)| query.wants(name));
    let fields: Vec<String> = wanted.map(|(name, value)| format!("{}={}", tame(name), shown(value))).collect();
    if fields.is_empty() {
        return (String::new(), false);
    }
    let stale = if series.stale { " (stale)" } else { "" };
    let state = format!("{:?}", series.state).to_lowercase();
    let (table, symbols, fields) = (tame(&series.table), symbols(&series), fields.join(" "));
    (format!("{}  {table}  {symbols}  {fields}  {state}{stale}\n", series.time), true)
}

/// A series that has no value any more.
fn cleared(data: &str) -> String {
    let key = serde_json::from_str::<serde_json::Value>(data).unwrap_or_default();
    let table = key["table"].as_str().unwrap_or_default();
    let symbols = key["symbols"].as_object().into_iter().flatten();
    let pairs = symbols.map(|(name, value)| format!("{}={}", tame(name), tame(value.as_str().unwrap_or_default())));
    format!("…  {}  {}  cleared\n", tame(table), pairs.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_and_gaps_are_one_line_each() {
        let event = |event: &str, data: &str| ServerEvent { event: event.into(), data: data.into() };
        let all = QueryArgs::default();
        let update = event(
            "",
            r#"{"table":"t","symbols":{"d":"1"},"fields":{"x":1.5},"time":"2024-01-01T00:00:00Z","received":"2024-01-01T00:00:00Z",
                "age_ms":1,"stale":false,"state":"memory","source":"memory"}"#,
        );
        assert_eq!(line(&update, &all), ("2024-01-01T00:00:00Z  t  d=1  x=1.5  memory\n".into(), true));
        let other = QueryArgs { fields: vec!["y".into()], ..QueryArgs::default() };
        assert_eq!(line(&update, &other), (String::new(), false));
        let gone = event("cleared", r#"{"table":"t","symbols":{"d":"1"}}"#);
        assert_eq!(line(&gone, &all), ("…  t  d=1  cleared\n".into(), true));
        let (text, update) = line(&event("missed", "{\"missed\":7}"), &all);
        assert!(text.contains("7 updates missed") && !update);
    }
}
