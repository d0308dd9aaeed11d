//! What a message would become: the steps of a message from the broker that is not a retained one,
//! without broker, ring and database, up to where it would enter (`[limits]` and what is held of
//! its moment come then).

use serde_json::{Map, Value as Json, json};

use super::message::{Workbench, too_large};
use crate::{
    decode::{Decoder, DecoderError},
    point::{Received, Row, Text, Value},
    settings::{OnBadMember, Settings},
};

/// A message and what it would become.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// The source that takes it.
    pub source: String,
    /// Its table; empty where the topic gives none.
    pub table: Text,
    /// Its rows; one without a time gets that of receipt.
    pub rows: Vec<Row>,
    /// What would be set aside, and why.
    pub set_aside: Vec<String>,
    /// Whether it only says that its series has no value any more, as a message without a payload
    /// does.
    pub clears: bool,
}

impl Preview {
    /// Whether it is counted, and nothing else: it has no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.set_aside.is_empty() && !self.clears
    }

    /// As an object: `source`, `rows` with `table`, `symbols`, `fields` and `time`, `set_aside`
    /// with `reason`, `empty`, `clears`.
    #[must_use]
    pub fn as_json(&self) -> Json {
        json!({
            "source": self.source,
            "rows": self.rows.iter().map(|row| row_as_json(&self.table, row)).collect::<Vec<_>>(),
            "set_aside": self.set_aside.iter().map(|reason| json!({ "reason": reason })).collect::<Vec<_>>(),
            "empty": self.is_empty(),
            "clears": self.clears,
        })
    }
}

/// A row as an object. A boolean that is not declared one is the number it is stored as.
fn row_as_json(table: &str, row: &Row) -> Json {
    let symbols: Map<_, _> =
        row.symbols.iter().map(|(name, value)| (name.to_string(), json!(value.as_str()))).collect();
    let fields: Map<_, _> = row.fields.iter().map(|(name, value)| (name.to_string(), value_as_json(value))).collect();
    json!({ "table": table, "symbols": symbols, "fields": fields, "time": row.time.map(|time| time.to_string()) })
}

fn value_as_json(value: &Value) -> Json {
    match value {
        Value::Bool(value) => json!(value),
        Value::Flag(value) => json!(u8::from(*value)),
        Value::Long(value) | Value::Whole(value) => json!(value),
        Value::Double(value) => json!(value),
        Value::Text(value) => json!(value.as_str()),
    }
}

/// What a message received now would become by the sources, or by the one that is named; none where
/// none takes its topic.
pub fn preview(
    settings: &Settings,
    only: Option<&str>,
    topic: &str,
    payload: &[u8],
    received: Received,
) -> Result<Option<Preview>, DecoderError> {
    let sources = settings.source.iter().filter(|(name, _)| only.is_none_or(|only| only == *name));
    let mut decoders = sources.map(|(name, source)| Decoder::new(name, source)).collect::<Result<Vec<_>, _>>()?;
    // As messages are routed: the most specific pattern first, and the names' order where they are
    // alike.
    decoders.sort_by_cached_key(|decoder| decoder.pattern().breadth());
    let found = decoders.iter_mut().find_map(|decoder| Some((decoder.resolve(topic)?, decoder)));
    let Some((resolved, decoder)) = found else { return Ok(None) };
    let mut preview = Preview {
        source: decoder.name().to_owned(),
        table: Text::default(),
        rows: Vec::new(),
        set_aside: Vec::new(),
        clears: false,
    };
    let resolved = match resolved {
        Ok(resolved) => resolved,
        Err(error) => return Ok(Some(Preview { set_aside: vec![error.to_string()], ..preview })),
    };
    preview.table.clone_from(&resolved.table);
    let most = usize::try_from(settings.mqtt.max_payload.0).unwrap_or(usize::MAX);
    let mut bench = Workbench::default();
    if payload.len() > most {
        preview.set_aside.push(too_large(payload.len(), most));
    } else if payload.is_empty() {
        preview.clears = true;
    } else if let Err(reason) = bench.decode(decoder, &resolved, payload) {
        preview.set_aside.push(reason);
    } else {
        // As with a clock that is trusted.
        let latest = received.wall + settings.latest.max_future;
        bench.judge_times(settings.latest.max_past, latest, received.wall);
        preview.set_aside.extend(bench.faults.iter().map(|fault| fault.error.to_string()));
        let described = preview.set_aside.len() as u64;
        if bench.faults.count() > described {
            preview.set_aside.push(format!("and {} more", bench.faults.count() - described));
        }
        if bench.faults.is_empty() || decoder.on_bad_member() == OnBadMember::Skip {
            preview.rows = std::mem::take(&mut bench.of.rows);
        }
    }
    Ok(Some(preview))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::Timestamp;

    fn settings(sources: &str) -> Settings {
        toml::from_str(sources).expect("settings")
    }

    fn of(sources: &str, only: Option<&str>, topic: &str, payload: &str) -> Option<Json> {
        let received = Received { wall: Timestamp(1_772_366_400_000_000_000), since_boot_ns: 1 };
        let preview = preview(&settings(sources), only, topic, payload.as_bytes(), received).expect("sound sources");
        preview.map(|preview| preview.as_json())
    }

    const SOURCES: &str = r#"
        [source.all]
        topic = "a/#"
        table = "all"
        [source.some]
        topic = "a/{x}"
        table = "some"
        timestamp = { field = "ts" }
        fields = { n = "long" }
        [source.strict]
        topic = "s/{x}"
        table = "strict"
        fields = { n = "long" }
        on_bad_member = "message"
    "#;

    #[test]
    fn a_message_becomes_rows_of_the_source_that_takes_it() {
        let told = of(SOURCES, None, "a/1", r#"{"ts":1772366400,"v":1.5,"on":true,"n":"x"}"#).expect("a source");
        let row = json!({ "table": "some", "symbols": { "x": "1" }, "fields": { "v": 1.5, "on": 1 }, "time": "2026-03-01T12:00:00Z" });
        assert_eq!((&told["source"], &told["rows"], &told["empty"]), (&json!("some"), &json!([row]), &json!(false)));
        assert!(told["set_aside"][0]["reason"].as_str().is_some_and(|reason| reason.starts_with("at $.n: ")), "{told}");
        assert_eq!(of(SOURCES, Some("all"), "a/1", r#"{"v":1}"#).expect("a source")["source"], "all");
        assert_eq!(of(SOURCES, None, "b", "{}"), None);
        assert_eq!(of(SOURCES, Some("strict"), "a/1", "{}"), None);
    }

    #[test]
    fn what_is_no_row_is_told() {
        for (topic, payload, key) in
            [("a/1", "{", "set_aside"), ("a/1", "{}", "empty"), ("a/1", "", "clears"), ("a/", "{}", "set_aside")]
        {
            let told = of(SOURCES, Some("some"), topic, payload).expect("a source");
            assert_eq!(told["rows"], json!([]), "{payload}");
            for other in ["set_aside", "empty", "clears"] {
                let is_set = told[other] != json!([]) && told[other] != json!(false);
                assert_eq!(is_set, other == key, "{topic} {payload}: {told}");
            }
        }
        let whole = of(SOURCES, None, "s/1", r#"{"n":"x","v":1}"#).expect("a source");
        assert!(whole["rows"] == json!([]) && whole["set_aside"].as_array().is_some_and(|list| list.len() == 1));
        let late = of(SOURCES, None, "a/1", r#"{"ts":1882366400,"v":1}"#).expect("a source");
        assert!(
            late["rows"] == json!([])
                && late["set_aside"][0]["reason"].as_str().is_some_and(|r| r.contains("max_future"))
        );
    }

    /// Blocks of a page, each with the word behind its fence.
    fn blocks(page: &str) -> Vec<(&str, &str)> {
        let mut blocks = Vec::new();
        let mut rest = page;
        while let Some((_, after)) = rest.split_once("\n```") {
            let (word, body) = after.split_once('\n').expect("a block");
            let (body, after) = body.split_once("```").expect("a block ends");
            blocks.push((word, body));
            rest = after;
        }
        blocks
    }

    #[test]
    fn the_examples_of_the_page_about_sources_are_true() {
        let blocks = blocks(include_str!("../../docs/sources.md"));
        let examples: Vec<_> = blocks.chunks(3).collect();
        assert!(examples.len() >= 8, "{}", examples.len());
        for example in examples {
            let [("toml", source), ("messages", messages), ("rows", wanted)] = example else { panic!("{example:?}") };
            let sources = format!("[source.example]\n{source}");
            let messages = messages.lines().map(|line| line.split_once(' ').expect("topic and payload"));
            let told: Vec<Json> =
                messages.map(|(topic, payload)| of(&sources, None, topic, payload).expect("it is taken")).collect();
            assert!(told.iter().all(|told| told["set_aside"] == json!([])), "{told:?}");
            let rows: Vec<Json> = told.iter().flat_map(|told| told["rows"].as_array().expect("rows").clone()).collect();
            let wanted: Vec<Json> = wanted.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
            assert_eq!(rows, wanted, "{source}");
        }
    }
}
