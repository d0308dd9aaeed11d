//! The ready-made files, and the pages of their messages.

use std::{collections::BTreeSet, fs, path::PathBuf};

use super::*;
use crate::{
    config::validate,
    ingest::preview::pages::{Example, blocks, messages},
    settings::Settings,
};

/// The names of the files with an ending in a folder.
fn names(folder: &str, ending: &str) -> BTreeSet<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    entries.filter_map(|name| name.to_str()?.strip_suffix(ending).map(str::to_owned)).collect()
}

fn page(family: &Family) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/devices/{}.md", family.name));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn settings(families: &[Family]) -> Settings {
    let sources = families.iter().flat_map(|family| family.sources().expect("sources"));
    Settings { source: sources.collect(), ..Settings::default() }
}

/// What is wrong, or probably not meant.
fn findings(settings: &Settings) -> Vec<String> {
    let found = validate::check(settings);
    found.problems.iter().chain(&found.warnings).map(ToString::to_string).collect()
}

#[test]
fn each_file_is_in_the_table_and_has_a_page() {
    let listed: BTreeSet<String> = all().iter().map(|family| family.name.to_owned()).collect();
    assert_eq!(listed, names("conf/devices", ".toml"));
    assert_eq!(listed, names("tests/devices", ".md"));
    assert!(all().is_sorted_by(|one, next| one.name < next.name), "in the order of their names, each once");
}

#[test]
fn each_file_is_valid_by_itself_and_beside_all_others() {
    for family in all() {
        assert_eq!(findings(&settings(&[*family])), [""; 0], "{}", family.name);
    }
    let sources: usize = all().iter().map(|family| family.sources().expect("sources").len()).sum();
    let together = settings(all());
    assert_eq!(together.source.len(), sources, "a source's name is there twice");
    assert_eq!(findings(&together), [""; 0]);
}

#[test]
fn each_file_says_what_it_is_and_names_its_sources_after_itself() {
    for family in all() {
        let Family { name, text, .. } = family;
        assert!(text.starts_with("# ") && !family.title().is_empty() && !family.subject().is_empty(), "{name}");
        assert!(family.about().contains("http"), "{name} says where its format is documented");
        assert!(text.lines().all(|line| line.chars().count() <= 160), "{name} has a long line");
        let headers = text.lines().filter(|line| line.starts_with('['));
        assert!(headers.clone().all(|header| header.matches('.').count() == 1), "{name}: {headers:?} can be renamed");
        let sources = family.sources().expect("sources");
        assert!(sources.contains_key(*name), "{name} has a source of its name");
        let is_own = |source: &String| source == name || source.starts_with(&format!("{name}-"));
        assert!(sources.keys().all(is_own), "{name}: {:?}", sources.keys());
    }
}

#[test]
fn what_a_family_sends_becomes_what_its_page_says() {
    for family in all() {
        let page = page(family);
        let blocks = blocks(&page);
        let examples: Vec<_> = blocks.chunk_by(|_, (next, _)| *next != "messages").collect();
        let mut sent = 0;
        for example in examples {
            let example = Example::of(family.name, example);
            sent += example.messages.len();
            example.run(family.name, &settings(&[*family]), true);
            example.run(&format!("{} among all", family.name), &settings(all()), true);
        }
        assert!(sent >= 5, "{} has {sent} messages", family.name);
    }
}

#[test]
fn a_family_shows_in_its_own_messages_alone() {
    let recognisers: Vec<_> = all().iter().map(|family| (family.name, family.recogniser().expect("signs"))).collect();
    for family in all() {
        let page = page(family);
        let sent: Vec<_> = blocks(&page)
            .iter()
            .filter(|(word, _)| *word == "messages")
            .flat_map(|(_, block)| messages(block))
            .collect();
        for (name, recogniser) in &recognisers {
            let shown = sent
                .iter()
                .find(|(topic, payload)| recogniser.shows(topic, serde_json::from_slice(payload).ok().as_ref()));
            assert_eq!(shown.is_some(), *name == family.name, "{name} in the messages of {}: {shown:?}", family.name);
        }
    }
}

#[test]
fn a_devices_plain_reading_is_no_familys() {
    let plain = serde_json::json!({"temperature":21.5});
    for family in all() {
        let recogniser = family.recogniser().expect("signs");
        for source in family.sources().expect("sources").values() {
            for topic in source.topic.iter().map(made_up) {
                let shows = recogniser.shows(&topic, Some(&plain));
                assert!(!shows || recogniser.topic_shows(&topic), "{} shows on {topic}", family.name);
            }
        }
    }
}

/// A topic that a pattern matches.
fn made_up(pattern: &str) -> String {
    let mut topic = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        topic.push_str(before);
        topic.push('x');
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    (topic + rest).replace(['+', '#'], "x")
}

#[test]
fn the_nearest_name_is_found_where_one_is_near() {
    assert_eq!(nearest("zigbee2mqt"), Some("zigbee2mqtt"));
    assert_eq!(nearest("Tasmota"), Some("tasmota"));
    assert_eq!((nearest("qqq"), nearest("")), (None, None));
}
