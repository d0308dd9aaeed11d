//! What the messages of the pages come to: every one is a row, a stated non-reading, or set aside
//! for a reason that the page has too.

use std::{collections::BTreeSet, fs, path::PathBuf};

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
    findings(&noted(messages, Limits { kept: 64, ..Limits::default() }), RECEIVED.wall, families, &TimeZone::UTC)
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
        let findings = findings(&notes, RECEIVED.wall, &[], &TimeZone::UTC);
        let mut told: Vec<&String> = findings.rest.iter().flat_map(|left| &left.topics)
            .chain(findings.proposals.iter().flat_map(|proposal| &proposal.topics)).collect();
        told.sort();
        prop_assert_eq!(told, notes.topics.keys().collect::<Vec<_>>());
        let settings = settings(&findings);
        prop_assert!(settings.source.is_empty() || crate::config::validate::check(&settings).problems.is_empty());
        let _ = (in_words(&notes, &findings), as_json(&notes, &findings));
    }
}

/// Checks what a symbol of the proposals is: whatever varies and is a number is none.
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
