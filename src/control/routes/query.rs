//! What a request for latest values asks for: its parameters, read and checked. Pure.

use std::time::Duration;

use axum::{
    extract::Query,
    http::{StatusCode, Uri},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use utoipa::{IntoParams, ToSchema};

use super::{Parameters, problem};
use crate::{
    control::api::Problem,
    latest::{Filter, Key, Series},
    marks::{Seq, State},
    names,
    point::{MAX_FIELDS, Text, Timestamp},
    since::Since,
};

/// Prefix that makes a query parameter a symbol whatever its name, for symbols called `table` or `limit`.
const SYMBOL_PREFIX: &str = "symbol.";
/// Longest cursor, in bytes. The head of a request has 16 KiB.
pub const MAX_CURSOR_BYTES: usize = 8 << 10;
/// How long `min_state` waits unless `wait` says otherwise.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(5);
/// Longest that it waits.
pub const MAX_WAIT: Duration = Duration::from_secs(30);

/// Where values may come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Source {
    /// From memory, and from QuestDB when memory has nothing that matches.
    #[default]
    Any,
    /// From memory alone.
    Memory,
    /// QuestDB is asked in any case; what memory has of later times wins.
    Questdb,
}

/// A request, read. The comments of its members are what `/v1/openapi.json` says of the parameters, here and below.
#[derive(Debug, Clone, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// Which series.
    #[param(ignore)]
    pub filter: Filter,
    /// Which of their values.
    #[param(ignore)]
    pub values: Values,
    /// For a listing: which part of it, and where the values come from.
    #[param(ignore)]
    pub scope: Scope,
    /// Tells first what holds now.
    #[param(required = false)]
    pub snapshot: bool,
}

/// Which part of what matches is listed, and where the values come from.
#[derive(Debug, Clone, Default, PartialEq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Scope {
    /// Only series that a later record has changed: the `seq` of an earlier answer. With nothing new the list is empty.
    #[param(value_type = Option<i64>, minimum = 0)]
    pub since: Option<Seq>,
    /// Most series.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 2000)]
    pub limit: Option<usize>,
    /// Where to go on: the `next` of an earlier answer.
    #[param(value_type = Option<String>)]
    pub cursor: Option<Key>,
    /// `memory`: QuestDB is not asked. `questdb`: it is asked in any case (needs a table). `any`: when memory has nothing that matches.
    #[param(inline, required = false)]
    pub source: Source,
    /// Waits until the values found have come so far. `stored`: QuestDB shows them in queries.
    #[param(inline)]
    pub min_state: Option<State>,
    /// How long that may take, such as `500ms`; 5 s when absent, 30 s at most. After that: 504.
    #[param(value_type = Option<String>, example = "2s")]
    pub wait: Option<Duration>,
}

/// Which values of a series are wanted.
#[derive(Debug, Clone, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Values {
    /// Only these fields, parted by commas; may be given several times.
    #[param(rename = "field", value_type = Option<String>, example = "temperature")]
    fields: Vec<Text>,
    /// Only values whose event time is then or later: RFC 3339, or a span back from now such as `10m`.
    #[param(value_type = Option<String>, example = "10m")]
    after: Option<Timestamp>,
    /// Only values whose event time is earlier.
    #[param(value_type = Option<String>, example = "2026-03-01T12:00:00Z")]
    before: Option<Timestamp>,
    /// Only stale series, or only fresh ones.
    stale: Option<bool>,
}

impl Values {
    /// The series with the wanted values alone; none when there is none.
    pub fn of(&self, series: Series, now: Timestamp, stale_after: Duration) -> Option<Series> {
        let series = if self.fields.is_empty() && self.after.is_none() && self.before.is_none() {
            series
        } else {
            let named =
                |name: &Text| self.fields.is_empty() || self.fields.iter().any(|field| names::same(field, name));
            let timely = |time: Timestamp| {
                self.after.is_none_or(|after| time >= after) && self.before.is_none_or(|before| time < before)
            };
            let wanted = series.fields.iter().filter(|field| named(&field.name) && timely(field.time));
            let fields: Vec<_> = wanted.cloned().collect();
            Series { key: series.key, fields: fields.into() }
        };
        let newest = series.newest()?.time;
        let age = Duration::from_nanos(now.0.saturating_sub(newest.0).max(0) as u64);
        self.stale.is_none_or(|stale| stale == (age > stale_after)).then_some(series)
    }
}

/// A query's parameters as [`Query`] takes them out of it, in less time.
pub(super) fn parameters(uri: &Uri) -> Query<Vec<(String, String)>> {
    Query(form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect())
}

impl Asked {
    /// Reads parameters; a listing has at most `most` series. `now` is what spans of time count from.
    pub fn read(parameters: Parameters, most: usize, now: Timestamp) -> Result<Self, Problem> {
        let Query(parameters) = parameters.map_err(|why| bad(why.body_text()))?;
        let mut asked = Self::default();
        let (mut table, mut symbols, mut seen) = (None, Vec::new(), Vec::new());
        for (name, value) in parameters {
            if name == "table" {
                twice(&mut seen, "table")?;
                table = Some(value);
            } else if !asked.take(&name, &value, most, now, &mut seen)? {
                let symbol = name.strip_prefix(SYMBOL_PREFIX).map(str::to_owned);
                symbols.push((symbol.unwrap_or(name), value));
            }
        }
        asked.filter = Filter::new(table.as_deref(), symbols).map_err(|why| bad(why.to_string()))?;
        if asked.scope.wait.is_some() && asked.scope.min_state.is_none() {
            return Err(bad("wait=… is about min_state=…, which is not there"));
        }
        if asked.scope.source == Source::Questdb && asked.filter.table().is_none() {
            return Err(bad("source=questdb needs a table"));
        }
        Ok(asked)
    }

    /// The same for a listing.
    pub fn listing(self) -> Result<Self, Problem> {
        if self.snapshot { Err(bad("snapshot=… is about /v1/watch")) } else { Ok(self) }
    }

    /// The same for one who follows changes.
    pub fn following(self) -> Result<Self, Problem> {
        if self.scope != Scope::default() {
            return Err(bad("since, limit, cursor, source, min_state and wait are about /v1/latest"));
        }
        Ok(self)
    }

    /// Takes a parameter that is no symbol; false when it is one.
    fn take(
        &mut self,
        name: &str,
        value: &str,
        most: usize,
        now: Timestamp,
        seen: &mut Vec<&'static str>,
    ) -> Result<bool, Problem> {
        let time = || Since::parse(value).map(|since| Some(since.by_wall(now))).map_err(bad);
        match name {
            "field" => {
                let fields = &mut self.values.fields;
                fields.extend(value.split(',').map(Text::from));
                if fields.len() > MAX_FIELDS {
                    return Err(bad(format!("more than {MAX_FIELDS} fields are named")));
                }
                return Ok(true);
            }
            "limit" => {
                self.scope.limit = Some(number(name, value, 1, most as u64)? as usize);
                twice(seen, "limit")?;
            }
            "since" => {
                self.scope.since = Some(Seq(number(name, value, 0, i64::MAX as u64)?));
                twice(seen, "since")?;
            }
            "after" => {
                self.values.after = time()?;
                twice(seen, "after")?;
            }
            "before" => {
                self.values.before = time()?;
                twice(seen, "before")?;
            }
            "stale" => {
                self.values.stale = Some(choice(name, value, &[("true", true), ("false", false)])?);
                twice(seen, "stale")?;
            }
            "snapshot" => {
                self.snapshot = choice(name, value, &[("true", true), ("false", false)])?;
                twice(seen, "snapshot")?;
            }
            "source" => {
                let choices = [("any", Source::Any), ("memory", Source::Memory), ("questdb", Source::Questdb)];
                self.scope.source = choice(name, value, &choices)?;
                twice(seen, "source")?;
            }
            "min_state" => {
                let choices = [("memory", State::Memory), ("durable", State::Durable), ("stored", State::Stored)];
                self.scope.min_state = Some(choice(name, value, &choices)?);
                twice(seen, "min_state")?;
            }
            "wait" => {
                self.scope.wait = Some(wait(value)?);
                twice(seen, "wait")?;
            }
            "cursor" => {
                self.scope.cursor = Some(read_cursor(value).ok_or_else(|| bad("the cursor is none of forebay's"))?);
                twice(seen, "cursor")?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn twice(seen: &mut Vec<&'static str>, name: &'static str) -> Result<(), Problem> {
    if seen.contains(&name) {
        return Err(bad(format!("{name:?} is given twice")));
    }
    seen.push(name);
    Ok(())
}

fn number(name: &str, value: &str, least: u64, most: u64) -> Result<u64, Problem> {
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| bad(format!("{name}={value} is no number from {least} to {most}")))
}

fn choice<T: Copy>(name: &str, value: &str, choices: &[(&str, T)]) -> Result<T, Problem> {
    let chosen = choices.iter().find(|(word, _)| *word == value).map(|(_, chosen)| *chosen);
    chosen.ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        bad(format!("{name}={value} is none of {}", words.join(", ")))
    })
}

fn wait(value: &str) -> Result<Duration, Problem> {
    let wait = humantime::parse_duration(value).ok().filter(|wait| *wait <= MAX_WAIT);
    wait.ok_or_else(|| bad(format!("wait={value} is no duration up to {} s, such as 2s or 500ms", MAX_WAIT.as_secs())))
}

/// The place behind a series, for the next request; none for names so long that no request could hold it.
pub fn cursor(key: &Key) -> Option<String> {
    let names: Vec<(&str, &str)> = key.symbols.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let text = serde_json::to_vec(&(key.table.as_str(), names)).ok()?;
    Some(URL_SAFE_NO_PAD.encode(text)).filter(|cursor| cursor.len() <= MAX_CURSOR_BYTES)
}

fn read_cursor(text: &str) -> Option<Key> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (table, mut symbols): (Text, Vec<(Text, Text)>) = serde_json::from_slice(&bytes).ok()?;
    symbols.sort_unstable_by(|a, b| names::cmp(&a.0, &b.0));
    Some(Key { table, symbols: symbols.into() })
}

fn bad(detail: impl Into<String>) -> Problem {
    problem(
        StatusCode::BAD_REQUEST,
        detail,
        "write ?table=NAME&SYMBOL=VALUE&limit=N; a symbol called like a parameter as symbol.table=…; /v1/openapi.json has all parameters",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{latest::Field, point::Value};

    const NOW: Timestamp = Timestamp(100_000_000_000);

    fn read(terms: &[(&str, &str)]) -> Result<Asked, String> {
        let terms = terms.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Asked::read(Ok(Query(terms)), 2_000, NOW).map_err(|problem| problem.detail)
    }

    proptest! {
        #[test]
        fn parameters_are_those_that_the_extractor_takes(query in "([a-c=&+]|%[0-9A-F]{1,2}){0,24}") {
            let uri: Uri = format!("/?{query}").parse().unwrap();
            let Query(extracted) = Query::<Vec<(String, String)>>::try_from_uri(&uri).unwrap();
            prop_assert_eq!(parameters(&uri).0, extracted);
        }
    }

    fn series(fields: &[(&str, i64)]) -> Series {
        let field = |(name, seconds): &(&str, i64)| Field {
            name: (*name).into(),
            value: Value::Long(1),
            time: Timestamp(seconds * 1_000_000_000),
            received: NOW,
            seq: Seq(1),
        };
        let key = Arc::new(Key { table: "t".into(), symbols: Box::default() });
        Series { key, fields: Arc::new(fields.iter().map(field).collect()) }
    }

    #[test]
    fn parameters_are_told_from_symbols() {
        let asked = read(&[("table", "t"), ("device", "d"), ("symbol.limit", "3"), ("limit", "7"), ("since", "9")]);
        let asked = asked.unwrap();
        assert_eq!(asked.filter, Filter::new(Some("t"), [("device", "d"), ("limit", "3")]).unwrap());
        assert_eq!((asked.scope.limit, asked.scope.since), (Some(7), Some(Seq(9))));
        let asked = read(&[("min_state", "stored"), ("wait", "500ms")]).unwrap();
        assert_eq!((asked.scope.min_state, asked.scope.wait), (Some(State::Stored), Some(Duration::from_millis(500))));
    }

    #[test]
    fn what_is_no_request_is_refused_with_its_place() {
        for (terms, word) in [
            (&[("limit", "0")][..], "limit=0"),
            (&[("limit", "2001")], "2000"),
            (&[("since", "-1")], "since=-1"),
            (&[("after", "yesterday")], "yesterday"),
            (&[("stale", "maybe")], "true, false"),
            (&[("min_state", "gone")], "memory, durable, stored"),
            (&[("min_state", "durable"), ("wait", "31s")], "30 s"),
            (&[("wait", "1s")], "min_state"),
            (&[("source", "questdb")], "needs a table"),
            (&[("cursor", "!")], "cursor"),
            (&[("cursor", "e30")], "cursor"),
            (&[("table", "a"), ("table", "b")], "twice"),
            (&[("limit", "1"), ("limit", "2")], "twice"),
        ] {
            let error = read(terms).unwrap_err();
            assert!(error.contains(word), "{terms:?}: {error}");
        }
    }

    #[test]
    fn cursors_come_back() {
        let key = Key { table: "t".into(), symbols: [("device".into(), "a\"/ü".into())].into() };
        assert_eq!(read_cursor(&cursor(&key).unwrap()), Some(key));
        let long = Key { table: "t".into(), symbols: [("device".into(), "x".repeat(MAX_CURSOR_BYTES).into())].into() };
        assert_eq!(cursor(&long), None);
    }

    #[test]
    fn values_are_chosen_by_name_time_and_staleness() {
        let names = |asked: &[(&str, &str)]| {
            let values = read(asked).unwrap().values;
            let found = values.of(series(&[("x", 10), ("y", 95), ("z", 99)]), NOW, Duration::from_secs(3));
            found.map_or(String::new(), |s| s.fields.iter().map(|f| f.name.as_str()).collect())
        };
        assert_eq!(names(&[]), "xyz");
        assert_eq!(names(&[("field", "x,z"), ("field", "none")]), "xz");
        assert_eq!(names(&[("field", "none")]), "");
        assert_eq!(names(&[("after", "5s")]), "yz");
        assert_eq!(names(&[("before", "1970-01-01T00:01:35Z")]), "x");
        assert_eq!(names(&[("after", "90s"), ("before", "1s")]), "xy");
        assert_eq!(names(&[("stale", "true")]), "");
        assert_eq!(names(&[("stale", "true"), ("field", "y")]), "y");
        assert_eq!(names(&[("stale", "false")]), "xyz");
    }
}
