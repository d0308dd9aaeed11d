//! `[source.NAME]`.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Findings,
    topics::{self, Topic},
};
use crate::{
    decode::{self, Decoder},
    names,
    point::MAX_SYMBOL_BYTES,
    settings::{Format, SameTime, Source},
};

/// Longest name of a source in bytes.
const MAX_NAME_BYTES: usize = 64;
/// Most sources.
const MAX_SOURCES: usize = 1_000;

pub(super) fn check(sources: &BTreeMap<String, Source>, protocol: u8, findings: &mut Findings) {
    if sources.is_empty() {
        findings.problem(
            "source",
            "there is none; add [source.NAME] with topic = \"sensors/{site}/{device}\" and table = \"sensors\"",
        );
    }
    if sources.len() > MAX_SOURCES {
        findings.problem("source", format!("there are {}; {MAX_SOURCES} are allowed", sources.len()));
        return;
    }
    let mut all_valid = true;
    let mut topics: Vec<Topic<'_>> = Vec::new();
    let mut tables: BTreeMap<String, (&str, &str)> = BTreeMap::new();
    for (name, source) in sources {
        check_one(name, source, protocol, findings);
        let own = source.table_template();
        let (first, table) = *tables.entry(names::folded(own).into_owned()).or_insert((name.as_str(), own));
        if table != own {
            let what = format!("to QuestDB it is the same table as source.{first}'s {table:?}; write it in one way");
            findings.warn(format!("source.{name}.table"), what);
        }
        let decoder = Decoder::check(name, source);
        all_valid &= decoder.is_ok();
        match decoder {
            Ok(decoder) => {
                let patterns = decoder.patterns().iter().cloned();
                topics.extend(patterns.map(|pattern| Topic { name, source, pattern }));
            }
            Err(errors) => {
                for error in errors {
                    findings.problem(format!("source.{name}.{}", error.key), error.problem.to_string());
                }
            }
        }
    }
    if all_valid {
        topics::check(&topics, findings);
        topics::check_overlaps(sources, protocol, findings);
    }
}

/// `[tags]`.
pub(super) fn check_tags(tags: &BTreeMap<String, String>, findings: &mut Findings) {
    for (name, value) in tags {
        if let Some(fault) = tag_fault(name, value) {
            findings.problem(format!("tags.{name}"), fault);
        }
    }
}

/// Why a tag of every source is none.
pub fn tag_fault(name: &str, value: &str) -> Option<String> {
    if let Some(fault) = decode::names::column_fault(name) {
        return Some(fault);
    }
    if value.is_empty() || value.len() > MAX_SYMBOL_BYTES {
        return Some(format!("a tag has 1 to {MAX_SYMBOL_BYTES} bytes"));
    }
    let what = "placeholders are a source's: write it as constant text here, or set tags in the source";
    value.contains(['{', '}']).then(|| what.to_owned())
}

/// Most patterns, names and texts of a kind that a source has.
const MAX_ENTRIES: usize = 1_000;
/// Longest path, pattern or text in bytes.
const MAX_ENTRY_BYTES: usize = 1_024;

/// What is said of members.
fn check_shape(name: &str, source: &Source, findings: &mut Findings) {
    let lists: [(&str, Vec<&String>); 11] = [
        ("topic", source.topic.0.iter().collect()),
        ("exclude", source.exclude.iter().collect()),
        ("fields", source.fields.keys().collect()),
        ("symbols", source.symbols.iter().collect()),
        ("user_properties", source.user_properties.iter().collect()),
        ("rename", source.rename.keys().collect()),
        ("only", source.only.iter().collect()),
        ("ignore", source.ignore.iter().collect()),
        ("scale", source.scale.keys().collect()),
        ("null_values", source.null_values.iter().collect()),
        ("tags", source.tags.values().collect()),
    ];
    for (key, entries) in &lists {
        let key = format!("source.{name}.{key}");
        if entries.len() > MAX_ENTRIES {
            findings.problem(&key, format!("there are {}; {MAX_ENTRIES} are allowed", entries.len()));
        }
        if entries.iter().any(|entry| entry.len() > MAX_ENTRY_BYTES) {
            findings.problem(&key, format!("an entry has more than {MAX_ENTRY_BYTES} bytes; shorten it"));
        }
    }
    if lists.iter().any(|(_, entries)| entries.len() > MAX_ENTRIES) {
        return;
    }
    let members: [(&str, Vec<&String>); 3] = [
        ("rename", source.rename.keys().collect()),
        ("scale", source.scale.keys().collect()),
        ("fields", source.fields.keys().collect()),
    ];
    for (key, paths) in members {
        if let Some(path) = paths.iter().find(|path| path.contains('*')) {
            let what = format!("{path:?} is taken for the name of one member: only `only` and `ignore` take patterns");
            findings.warn(format!("source.{name}.{key}"), what);
        }
        if let Some(path) = decode::ignored(source, paths.into_iter()) {
            let what = format!("{path:?} is left out by ignore, or not among only; put it right here or there");
            findings.warn(format!("source.{name}.{key}"), what);
        }
    }
}

fn check_same_time(name: &str, source: &Source, findings: &mut Findings) {
    let what = if source.timestamp.is_none() {
        "without a timestamp it does nothing: times of receipt of a series never meet; set source timestamp or remove it"
    } else {
        "the time of each row moves by less than a millisecond; a message that another daemon takes as well may get \
         another time there, and be stored twice"
    };
    findings.warn(format!("source.{name}.same_time"), what);
}

/// Why a source cannot have this name.
#[must_use]
pub fn name_fault(name: &str) -> Option<String> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let is_fine = !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.bytes().all(valid);
    (!is_fine).then(|| format!("a source's name has letters, digits, _ and -, at most {MAX_NAME_BYTES}"))
}

fn check_one(name: &str, source: &Source, protocol: u8, findings: &mut Findings) {
    if let Some(fault) = name_fault(name) {
        findings.problem(format!("source.{name}"), fault);
    }
    if source.same_time == SameTime::Keep {
        check_same_time(name, source, findings);
    }
    if let Some(silent_after) = source.silent_after {
        let key = format!("source.{name}.silent_after");
        findings.span(&key, silent_after, Duration::from_secs(10), Duration::from_hours(366 * 24));
    }
    check_shape(name, source, findings);
    if source.qos > 1 {
        let what = "forebay subscribes at QoS 0 or 1; write qos = 1: deduplication makes it exactly once";
        findings.problem(format!("source.{name}.qos"), what);
    }
    if let Some(group) = &source.shared_group {
        let key = format!("source.{name}.shared_group");
        if group.is_empty() || group.contains(['/', '+', '#']) || group.chars().any(char::is_control) {
            findings.problem(&key, "a group's name is not empty and has no /, + or #");
        }
        if protocol == 4 {
            findings.warn(&key, "shared subscriptions are a part of MQTT 5; not every broker knows them in 3.1.1");
        }
    }
    let has_bare_values = source.format == Format::Plain || source.rows.is_some();
    if !has_bare_values && source.field != "value" {
        let what = "it names the field of a bare value: with format = \"plain\", or where rows leads to values";
        findings.warn(format!("source.{name}.field"), what);
    }
}
