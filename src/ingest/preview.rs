//! What a message would become: the steps of a message from the broker that is not a retained one,
//! without broker, ring and database, up to where it would enter (`[limits]` and what is held of
//! its moment come then).

#[cfg(test)]
pub mod pages;

use serde_json::{Map, Value as Json, json};

use super::{
    Incoming,
    message::{Workbench, too_large},
    routes::{NoRoute, Prepared, Route, Routes},
};
use crate::{
    decode::{Decoder, DecoderError, FaultKind, Payload},
    point::{Row, Text, Value},
    settings::{Latest, OnBadMember, Retained, Settings},
};

/// A message and what it would become.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Preview {
    /// The source that takes it.
    pub source: String,
    /// Its rows and their tables; one without a time gets that of receipt.
    pub rows: Vec<(Text, Row)>,
    /// What would be set aside, and why.
    pub set_aside: Vec<String>,
    /// Whether that is for nothing but a time too far ahead of the clock.
    pub is_ahead: bool,
    /// Whether it only says that its series has no value any more, as a message without a payload
    /// does.
    pub clears: bool,
    /// Whether its source leaves it out, though its filters bring it.
    pub is_dropped: bool,
    /// What its source makes of rows without a time in a message that the broker had kept; there
    /// where it is such a message.
    pub retained: Option<Retained>,
    /// Rows without a time that are not stored for that reason, and their tables.
    pub left_out: Vec<(Text, Row)>,
    /// The member that is to tell the time of a row, where there is one.
    pub time_member: Option<String>,
    /// What each key did to it, where that was asked for.
    pub explained: Vec<String>,
}

impl Preview {
    /// Whether it is counted, and nothing else: it has no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.left_out.is_empty()
            && self.set_aside.is_empty()
            && !self.clears
            && !self.is_dropped
    }

    /// As an object: `source`, `rows` with `table`, `symbols`, `fields` and `time`, `set_aside`
    /// with `reason`, `empty`, `clears`, and `dropped` where it is; of a message that the broker
    /// had kept also `retained` and `left_out`, which are rows.
    #[must_use]
    pub fn as_json(&self) -> Json {
        let rows = |rows: &[(Text, Row)]| rows.iter().map(|(table, row)| row_as_json(table, row)).collect::<Vec<_>>();
        let mut json = json!({
            "source": self.source,
            "rows": rows(&self.rows),
            "set_aside": self.set_aside.iter().map(|reason| json!({ "reason": reason })).collect::<Vec<_>>(),
            "empty": self.is_empty(),
            "clears": self.clears,
        });
        if self.is_dropped {
            json["dropped"] = json!(true);
        }
        if let Some(retained) = self.retained {
            json["retained"] = json!(retained);
            json["left_out"] = json!(rows(&self.left_out));
        }
        if !self.explained.is_empty() {
            json["explained"] = json!(self.explained);
        }
        json
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

/// Tells of one message after another what it would become by the sources, or by the one that is
/// named. Its decoders remember what they have seen, as the daemon's do.
pub struct Previewer {
    routes: Routes,
    bench: Workbench,
    max_payload: usize,
    latest: Latest,
    explains: bool,
}

impl Previewer {
    /// One for the sources of these settings, or for one of them.
    pub fn new(settings: &Settings, only: Option<&str>) -> Result<Self, DecoderError> {
        let sources = settings.source.iter().filter(|(name, _)| only.is_none_or(|only| only == *name));
        let decoders = sources.map(|(name, source)| Decoder::new(name, source)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            routes: Routes::new(decoders.into_iter().map(Prepared::uncounted)),
            bench: Workbench::default(),
            max_payload: usize::try_from(settings.mqtt.max_payload.0).unwrap_or(usize::MAX),
            latest: settings.latest.clone(),
            explains: false,
        })
    }

    /// The same, telling of each member what becomes of it, and by which keys.
    #[must_use]
    pub fn explaining(self) -> Self {
        Self { explains: true, ..self }
    }

    /// What a message becomes; none where no source takes its topic.
    pub fn preview(&mut self, message: &Incoming<'_>) -> Option<Preview> {
        let route = match self.routes.find(message.topic) {
            Ok(route) => route,
            Err(why) => return self.without_route(why),
        };
        let mut preview = self.begin(&route);
        if message.payload.len() > self.max_payload {
            preview.set_aside.push(too_large(message.payload.len(), self.max_payload));
        } else if message.payload.is_empty() {
            preview.clears = !route.resolved.table.is_empty();
        } else {
            self.decode(&route, message, &mut preview);
        }
        Some(preview)
    }

    fn decode(&mut self, route: &Route, message: &Incoming<'_>, preview: &mut Preview) {
        let Self { routes, bench, explains, latest, .. } = self;
        bench.clear();
        let decoder = routes.decoder_mut(route);
        if *explains {
            decoder.explain();
        }
        let payload = Payload { topic: &route.resolved, bytes: message.payload, properties: message.user_properties };
        let decoded = bench.decode(decoder, &payload);
        preview.explained = decoder.explained();
        if let Err(reason) = decoded {
            preview.set_aside.push(reason);
            return;
        }
        // As with a clock that is trusted.
        let received = message.received;
        bench.judge_times(latest.max_past, received.wall + latest.max_future, received.wall);
        let of_topic = &route.resolved.table;
        let tabled = |tables: &[Text], row| (Workbench::table_of(tables, &row, of_topic).clone(), row);
        if message.retain {
            preview.retained = Some(decoder.retained());
            let left_out = bench.leave_out_retained(decoder.retained());
            preview.left_out = left_out.into_iter().map(|row| tabled(&bench.of.tables, row)).collect();
        }
        let faults = &bench.of.faults;
        preview.set_aside.extend(faults.iter().map(|fault| fault.error.to_string()));
        preview.is_ahead = !faults.is_empty() && faults.iter().all(|fault| fault.kind == FaultKind::Future);
        let described = preview.set_aside.len() as u64;
        if faults.count() > described {
            preview.set_aside.push(format!("and {} more", faults.count() - described));
        }
        if faults.is_empty() || decoder.on_bad_member() == OnBadMember::Skip {
            let rows = std::mem::take(&mut bench.of.rows).into_iter();
            preview.rows = rows.map(|row| tabled(&bench.of.tables, row)).collect();
        }
    }

    /// What a message becomes whose payload has so many bytes, more than were kept of it.
    pub fn oversized(&mut self, topic: &str, bytes: usize) -> Option<Preview> {
        let reason = too_large(bytes, self.max_payload);
        self.unreadable(topic, reason)
    }

    /// What a message becomes whose packet is broken.
    pub fn unreadable(&mut self, topic: &str, reason: String) -> Option<Preview> {
        match self.routes.find(topic) {
            Ok(route) => Some(Preview { set_aside: vec![reason], ..self.begin(&route) }),
            // The daemon keeps it as well.
            Err(why) => {
                self.without_route(why).map(|told| Preview { set_aside: vec![reason], is_dropped: false, ..told })
            }
        }
    }

    /// What a message becomes that has no route.
    fn without_route(&self, why: NoRoute) -> Option<Preview> {
        let source = |at| self.routes.name(at).to_owned();
        match why {
            NoRoute::Unmatched => None,
            NoRoute::Dropped(at) => Some(Preview { source: source(at), is_dropped: true, ..Preview::default() }),
            NoRoute::Unusable { at, reason } => {
                Some(Preview { source: source(at), set_aside: vec![reason], ..Preview::default() })
            }
        }
    }

    fn begin(&self, route: &Route) -> Preview {
        let decoder = self.routes.decoder(route);
        let time = decoder.named_members().into_iter().find(|named| named.symbol.is_none());
        let time_member = time.map(|named| named.to_string());
        Preview { source: decoder.name().to_owned(), time_member, ..Preview::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        pages::{Example, RECEIVED},
        *,
    };

    fn settings(sources: &str) -> Settings {
        toml::from_str(sources).expect("settings")
    }

    fn incoming<'a>(topic: &'a str, payload: &'a str) -> Incoming<'a> {
        Incoming { topic, payload: payload.as_bytes(), received: RECEIVED, ..Incoming::default() }
    }

    fn of(sources: &str, only: Option<&str>, topic: &str, payload: &str) -> Option<Json> {
        let mut previewer = Previewer::new(&settings(sources), only).expect("sound sources");
        previewer.preview(&incoming(topic, payload)).map(|preview| preview.as_json())
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

    #[test]
    fn of_a_retained_message_it_is_told_what_becomes_of_rows_without_a_time() {
        for (policy, stored, left_out) in [("ignore", 1, 1), ("latest", 1, 1), ("store", 2, 0)] {
            let sources = format!(
                "[source.a]\ntopic = \"a\"\ntable = \"a\"\ntimestamp = {{ field = \"ts\" }}\nretained = \"{policy}\""
            );
            let mut previewer = Previewer::new(&settings(&sources), None).expect("sound sources");
            let mut told = |payload: &str, retained| {
                let message = Incoming { retain: retained, ..incoming("a", payload) };
                previewer.preview(&message).expect("a source").as_json()
            };
            let both = r#"[{"v":1},{"ts":1772366400,"v":2}]"#;
            let kept = told(both, true);
            let count = |key: &str| kept[key].as_array().map(Vec::len);
            assert_eq!((count("rows"), count("left_out")), (Some(stored), Some(left_out)), "{kept}");
            assert_eq!((&kept["retained"], &kept["empty"]), (&json!(policy), &json!(false)));
            let alone = told(r#"{"v":1}"#, true);
            assert_eq!(alone["empty"], false, "{alone}");
            let live = told(both, false);
            assert!(live.get("retained").is_none() && live["rows"].as_array().is_some_and(|rows| rows.len() == 2));
        }
    }

    #[test]
    fn one_message_leaves_nothing_for_the_next() {
        let mut previewer = Previewer::new(&settings(SOURCES), None).expect("sound sources");
        let mut told = |payload: &str| previewer.preview(&incoming("s/1", payload)).expect("a source");
        assert_eq!((told(r#"{"n":"x","v":1}"#).set_aside.len(), told(r#"{"v":2}"#).rows.len()), (1, 1));
        assert!(told(r#"{"v":3}"#).set_aside.is_empty() && told("{}").is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_set_aside_by_the_source_that_takes_it() {
        let mut previewer = Previewer::new(&settings(SOURCES), None).expect("sound sources");
        let told = previewer.oversized("s/1", 9_999_999).expect("a source");
        assert!(told.set_aside[0].starts_with("it has 9999999 bytes") && told.source == "strict", "{told:?}");
        assert_eq!(previewer.unreadable("s/1", "cut".into()).expect("a source").set_aside, ["cut"]);
        assert_eq!(previewer.unreadable("b", "cut".into()), None);
    }

    /// Runs the examples of a page, each with its source.
    fn run_page(name: &str, page: &str) -> usize {
        let blocks = pages::blocks(page);
        let examples: Vec<_> = blocks.chunk_by(|_, (next, _)| *next != "toml").collect();
        for example in &examples {
            let [("toml", source), rest @ ..] = example else { panic!("{name}: {example:?}") };
            let settings = settings(&format!("[source.example]\n{source}"));
            Example::of(name, rest).run(&format!("{name}: {source}"), &settings, false);
        }
        examples.len()
    }

    #[test]
    fn the_examples_of_the_pages_about_sources_are_true() {
        assert!(run_page("docs/sources.md", include_str!("../../docs/sources.md")) >= 18);
        assert!(run_page("docs/devices.md", include_str!("../../docs/devices.md")) >= 4);
    }

    #[test]
    fn what_devices_in_the_field_send_becomes_what_was_wanted() {
        let mut cases = 0;
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases")).expect("cases") {
            let path = entry.expect("an entry").path();
            let page = std::fs::read_to_string(&path).expect("a case");
            assert!(run_page(&path.display().to_string(), &page) > 0, "{}", path.display());
            cases += 1;
        }
        assert!(cases >= 20, "{cases}");
    }
}
