//! What the messages of the pages come to: every one is a row, a stated non-reading, or set aside
//! for a reason that the page has too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::Duration,
};

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::{
    devices,
    ingest::{
        Incoming,
        preview::{
            Preview, Previewer,
            pages::{RECEIVED, blocks, messages},
        },
    },
    mqtt::listener::Heard,
    settings::Settings,
};

type Messages = Vec<(String, Vec<u8>)>;

/// The pages of a folder: name, text and messages.
fn pages(folder: &str) -> Vec<(String, String, Messages)> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut pages: Vec<_> = fs::read_dir(path)
        .expect("a folder")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let text = fs::read_to_string(&path).expect("a page");
            let of = blocks(&text).into_iter().filter(|(word, _)| *word == "messages");
            let messages = of.flat_map(|(_, block)| messages(block)).collect();
            (path.file_name().expect("a name").to_string_lossy().into_owned(), text, messages)
        })
        .collect();
    pages.sort();
    pages
}

fn heard(topic: &str, payload: &[u8]) -> Heard {
    Heard { topic: topic.into(), payload: payload.to_vec(), payload_bytes: payload.len(), ..Heard::default() }
}

fn noted(messages: &Messages, limits: Limits) -> Notes {
    let mut notes = Notes::new(limits);
    for (topic, payload) in messages {
        notes.note(&heard(topic, payload), RECEIVED.wall);
    }
    notes
}

fn found(messages: &Messages) -> Findings {
    found_with(messages, devices::all())
}

fn found_with(messages: &Messages, families: &[devices::Family]) -> Findings {
    findings(&noted(messages, Limits { kept: 64, ..Limits::default() }), families)
}

/// What is found where no source is there yet.
fn findings(notes: &Notes, families: &[devices::Family]) -> Findings {
    findings_beside(notes, RECEIVED.wall, families, &TimeZone::UTC, &BTreeMap::new())
}

fn settings(findings: &Findings) -> Settings {
    let text = if findings.proposals.is_empty() { String::new() } else { findings.text() };
    toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What the sources make of a message; none where nobody takes it.
fn preview(previewer: &mut Previewer, topic: &str, payload: &[u8]) -> Option<Preview> {
    previewer.preview(&Incoming { topic, payload, received: RECEIVED, ..Incoming::default() })
}

/// Whether every message is accounted for.
fn check(name: &str, sent: &Messages, findings: &Findings, may_be_aside: &[&str]) {
    let settings = settings(findings);
    let mut previewer = Previewer::new(&settings, None).expect(name);
    let rest: BTreeSet<&String> = findings.rest.iter().flat_map(|left| &left.topics).collect();
    let taken: Vec<&String> = findings.proposals.iter().flat_map(|proposal| &proposal.topics).collect();
    for (topic, payload) in sent {
        let places = taken.iter().filter(|own| **own == topic).count() + usize::from(rest.contains(topic));
        assert_eq!(places, 1, "{name}: {topic} is accounted for {places} times\n{}", findings.text());
        let told = preview(&mut previewer, topic, payload);
        let shown = || format!("{name}: {topic} {}\n{told:#?}\n{}", String::from_utf8_lossy(payload), findings.text());
        match &told {
            None => assert!(rest.contains(topic), "{}", shown()),
            Some(told) if told.is_dropped => assert!(rest.contains(topic), "{}", shown()),
            Some(told) => {
                assert!(!rest.contains(topic), "{}", shown());
                // What a ready-made source does not read is stated.
                let owner = findings.proposals.iter().find(|of| of.topics.contains(topic)).expect("an owner");
                let is_stated = |reason: &String| owner.fates.aside.iter().any(|(_, own)| own == reason);
                for reason in &told.set_aside {
                    let is_known = may_be_aside.iter().any(|part| reason.contains(part))
                        || owner.family.is_some() && told.set_aside.first().is_some_and(is_stated);
                    assert!(is_known, "{reason}\n{}", shown());
                }
                let is_told = !told.rows.is_empty() || !told.set_aside.is_empty() || told.is_empty() || told.clears;
                assert!(is_told, "{}", shown());
            }
        }
    }
}

/// What a page sets aside.
fn asides(page: &str) -> Vec<&str> {
    blocks(page).into_iter().filter(|(word, _)| *word == "aside").flat_map(|(_, block)| block.lines()).collect()
}

#[test]
fn the_messages_of_each_page_are_rows_or_stated_as_none() {
    let mut wrong = Vec::new();
    for (name, text, sent) in pages("tests/cases").into_iter().chain(pages("tests/devices")) {
        let findings = found(&sent);
        let asides = asides(&text);
        let checked = std::panic::catch_unwind(|| check(&name, &sent, &findings, &asides));
        if checked.is_err() {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_device_page_finds_its_family_and_one_busy_broker_all_of_them() {
    let mut all = Messages::new();
    let mut asides_of_all = String::new();
    for (name, text, sent) in pages("tests/devices") {
        let family = name.trim_end_matches(".md");
        if devices::find(family).is_none() {
            continue;
        }
        let findings = found(&sent);
        let has = findings.proposals.iter().any(|proposal| proposal.family == Some(family));
        assert!(has, "{name}: {:?}", findings.proposals.iter().map(|of| &of.name).collect::<Vec<_>>());
        all.extend(sent);
        asides_of_all.push_str(&text);
    }
    let findings = found(&all);
    let asides = asides(&asides_of_all);
    check("all", &all, &findings, &asides);
    let shown: BTreeSet<_> = findings.proposals.iter().filter_map(|proposal| proposal.family).collect();
    assert_eq!(shown.len(), devices::all().len(), "{shown:?}");
}

/// The proposals for messages: each family, or none where it was worked out, with its topics.
fn proposed(sent: &[(&str, &str)]) -> Vec<(Option<&'static str>, usize)> {
    let sent: Messages =
        sent.iter().map(|(topic, payload)| ((*topic).to_owned(), payload.as_bytes().to_vec())).collect();
    let findings = found(&sent);
    check("a family", &sent, &findings, &[]);
    findings.proposals.iter().map(|of| (of.family, of.topics.len())).collect()
}

#[test]
fn a_family_takes_its_devices_and_its_housekeeping_is_nobodys() {
    let node = [
        ("kitchen/sensor/co2/state", "412"),
        ("kitchen/sensor/temperature/state", "21.5"),
        ("kitchen/status", "online"),
        ("kitchen/debug", "[D][sensor:094]: sends state 412"),
    ];
    assert_eq!(proposed(&node), [(Some("esphome"), 2)]);
    let tasmota = [
        ("tele/plug/SENSOR", r#"{"Time":"2026-03-01T12:00:00","ENERGY":{"Total":1.5,"Power":3}}"#),
        ("tele/plug/STATE", r#"{"Time":"2026-03-01T12:00:00","Uptime":"0T01:00:00","POWER":"ON","Heap":25}"#),
        ("stat/plug/RESULT", r#"{"POWER":"ON"}"#),
        ("stat/plug/POWER", "ON"),
        ("tasmota/discovery/A0B1C2D3E4F5/config", r#"{"ip":"192.0.2.5","dn":"plug","ver":"13.1.0","lk":1}"#),
        (
            "tasmota/discovery/A0B1C2D3E4F5/sensors",
            r#"{"sn":{"Time":"2026-03-01T12:00:00","ENERGY":{"Total":1.5}},"ver":1}"#,
        ),
    ];
    assert_eq!(proposed(&tasmota), [(Some("tasmota"), 1)]);
    let shelly = [
        (
            "pm/events/rpc",
            r#"{"src":"pm","dst":"pm/events","method":"NotifyStatus","params":{"ts":1772366400.5,"switch:0":{"id":0,"apower":12.5}}}"#,
        ),
        ("pm/status/switch:0", r#"{"id":0,"apower":12.5,"voltage":230.1}"#),
        ("pm/status/sys", r#"{"uptime":3600,"ram_free":100000}"#),
        ("pm/online", "true"),
    ];
    assert_eq!(proposed(&shelly), [(Some("shelly"), 1)]);
}

/// What is found in messages that came live, ten seconds after each other.
fn found_live(sent: &[(&str, &str)]) -> (Notes, Findings) {
    let mut notes = Notes::new(Limits::default());
    for (at, (topic, payload)) in sent.iter().enumerate() {
        let received = crate::point::Timestamp(RECEIVED.wall.0 - 300_000_000_000 + at as i64 * 10_000_000_000);
        notes.note(&heard(topic, payload.as_bytes()), received);
    }
    let findings = findings(&notes, &[]);
    (notes, findings)
}

#[test]
fn a_time_that_stands_still_is_no_timestamp() {
    let sent = [
        ("plant/press", r#"{"time":"2026-03-01T12:00:00Z","force":1.5}"#),
        ("plant/press", r#"{"time":"2026-03-01T12:00:00Z","force":2.5}"#),
        ("plant/press", r#"{"time":"2026-03-01T12:00:00Z","force":3.5}"#),
    ];
    let (_, findings) = found_live(&sent);
    let of = &findings.proposals[0];
    assert!(!of.text.contains("timestamp =") && of.rows == 3, "{}", of.text);
    assert!(of.time.as_ref().is_some_and(|time| time.contains("tell the same time")), "{:?}", of.time);
    let (_, findings) = found_live(&sent[..1]);
    assert!(findings.text().contains("timestamp ="), "{}", findings.text());
}

#[test]
fn what_never_comes_again_is_no_symbol() {
    let (_, findings) = found_live(&[
        ("log/101/temperature", "21.5"),
        ("log/103/temperature", "21.6"),
        ("log/104/temperature", "21.7"),
        ("log/109/temperature", "21.8"),
    ]);
    assert_eq!(findings.proposals.iter().map(|of| of.patterns.concat()).collect::<Vec<_>>(), ["log/+/temperature"]);
    let (_, findings) = found_live(&[("d/x", r#"{"1772366400":{"t":1}}"#), ("d/x", r#"{"1772366410":{"t":2}}"#)]);
    assert!(findings.proposals.is_empty() && findings.rest[0].why.contains("times"), "{}", findings.text());
    let (_, findings) = found_live(&[
        ("d/x", r#"{"id":"k1","t":1}"#),
        ("d/x", r#"{"id":"k2","t":2}"#),
        ("d/x", r#"{"id":"k3","t":2}"#),
        ("d/x", r#"{"id":"k4","t":2}"#),
    ]);
    assert!(!findings.text().contains("symbols"), "{}", findings.text());
}

#[test]
fn text_numbers_of_any_name_get_their_type() {
    let (_, findings) = found_live(&[("d/x", r#"{"t":"21.5","h":"45.5"}"#), ("d/x", r#"{"t":"21.6","h":"45.6"}"#)]);
    assert!(findings.text().contains(r#"fields = { h = "double", t = "double" }"#), "{}", findings.text());
}

#[test]
fn topics_that_would_be_one_column_are_not_mixed() {
    let (_, findings) = found_live(&[
        ("house/hall/room-temperature", "21.5"),
        ("house/hall/room_temperature", "5.5"),
        ("house/hall/humidity", "45"),
    ]);
    let taken: usize = findings.proposals.iter().map(|of| of.topics.len()).sum();
    assert!(taken == 2 && findings.rest[0].why.contains("same series"), "{}\n{:?}", findings.text(), findings.rest);
}

#[test]
fn a_name_that_comes_twice_is_no_column() {
    let (_, findings) = found_live(&[(
        "gw/x",
        r#"{"values":[{"name":"temp","value":1.5},{"name":"temp","value":2.5},{"name":"hum","value":3.5}]}"#,
    )]);
    assert!(findings.proposals.is_empty() && findings.rest[0].why.contains("twice"), "{}", findings.text());
}

fn any_payload() -> impl Strategy<Value = Vec<u8>> {
    let json = prop::sample::select(vec![
        r#"{"ts":1772366400,"v":1.5,"id":"a"}"#,
        r#"{"v":{"a":{"t":1},"b":{"t":2},"c":{"t":3}}}"#,
        r#"[{"n":"x","v":1},{"n":"y","v":"on"}]"#,
        r#"{"time":[1,2,3],"v":[1,2,3]}"#,
        r#"{"value":null}"#,
        "21.5",
        "ON",
        "unavailable",
        "",
        "a b c d e",
        "cpu,h=a v=1",
        "1;2;3",
        "[1,2]",
        "{\"a\":",
    ])
    .prop_map(|text| text.as_bytes().to_vec());
    prop_oneof![4 => json, 1 => prop::collection::vec(any::<u8>(), 0..30)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_topic_is_accounted_for_once(
        sent in prop::collection::vec(("[ab{}]{1,2}(/[a-c$+\u{e9}]{0,2}){0,3}", any_payload()), 0..25),
    ) {
        let notes = noted(&sent, Limits::default());
        let findings = findings(&notes, &[]);
        let mut told: Vec<&String> = findings.rest.iter().flat_map(|left| &left.topics)
            .chain(findings.proposals.iter().flat_map(|proposal| &proposal.topics)).collect();
        told.sort();
        prop_assert_eq!(told, notes.topics.keys().collect::<Vec<_>>());
        let settings = settings(&findings);
        prop_assert!(settings.source.is_empty() || crate::config::validate::check(&settings).problems.is_empty());
        let _ = (in_words(&notes, &findings), as_json(&notes, &findings));
    }
}

/// A number that is measured is no symbol.
#[test]
fn no_symbol_is_a_measurement() {
    for (name, _, sent) in pages("tests/cases").into_iter().chain(pages("tests/devices")) {
        let findings = found_with(&sent, &[]);
        let mut previewer = Previewer::new(&settings(&findings), None).expect("sources");
        for (topic, payload) in &sent {
            for (_, row) in preview(&mut previewer, topic, payload).into_iter().flat_map(|told| told.rows) {
                for (symbol, value) in &row.symbols {
                    let is_measured = value.contains('.') && value.parse::<f64>().is_ok();
                    assert!(!is_measured, "{name}: {topic}: {symbol} = {value}");
                }
            }
        }
    }
}

/// What the page about `forebay discover` shows: its messages are these, by topic, in 30 seconds.
#[test]
fn the_example_of_the_page_is_what_comes_out() {
    let sent = [
        ("house/bath/humidity", &["45 %"][..]),
        ("house/bath/temperature", &["21,5 °C", "21,6 °C"]),
        ("house/kitchen/humidity", &["51 %"]),
        ("house/kitchen/light", &["ON", "OFF"]),
        ("house/kitchen/temperature", &["20.1 °C"]),
        ("house/hall/temperature", &["18,9 °C"]),
        (
            "gw/1/data",
            &[
                r#"{"gateway":"gw-1","timestamp":1772366400000,"devices":[{"address":1,"power":100,"energy":5.5},{"address":2,"power":80,"energy":7.1}]}"#,
                r#"{"gateway":"gw-1","timestamp":1772366415000,"devices":[{"address":1,"power":110,"energy":5.6},{"address":2,"power":70,"energy":7.2}]}"#,
            ],
        ),
        ("house/bath/status", &["online"]),
        ("house/kitchen/light/set", &["ON"]),
    ];
    let mut notes = Notes::new(Limits::default());
    for (topic, payloads) in sent {
        for payload in payloads {
            notes.note(&heard(topic, payload.as_bytes()), RECEIVED.wall);
        }
    }
    notes.listened = Some(Duration::from_secs(30));
    let told = in_words(&notes, &findings(&notes, devices::all()));
    let page = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/discover.md")).expect("a page");
    let example = page.split("## An example").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("an example");
    let shown: Vec<&str> = example.trim_matches('\n').lines().map(|line| line.trim_start_matches("    ")).collect();
    assert_eq!(told.lines().collect::<Vec<_>>(), shown, "\n{told}");
}
