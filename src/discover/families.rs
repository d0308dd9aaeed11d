//! Known families of devices, which come before anything that is worked out. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{civil::DateTime, tz::TimeZone};
use serde_json::Value as Json;

use super::{
    notes::{Notes, Topic},
    shape::reads,
    time::{Zone, zone},
    trial::{Owner, Trial, settings},
};
use crate::{
    decode::pattern::Pattern,
    settings::{Settings, Source, TimeUnit, TimeWord},
};

/// A family that is known.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its ready-made sources.
    pub text: &'a str,
    /// Filters of topics that nobody else has.
    pub topics: &'a [&'a str],
    /// Paths of members that nobody else has together.
    pub members: &'a [&'a [&'a str]],
}

/// A family that shows.
#[derive(Debug, Clone)]
pub struct Shown<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its sources, with the zone that was found.
    pub text: String,
    /// That zone, where it is another than the text's.
    pub zone: Option<String>,
    /// Its sources.
    pub settings: Settings,
}

/// The families that show in what was heard, among topics that `is_free` lets pass.
pub fn shown<'a>(
    notes: &Notes,
    families: &[Known<'a>],
    machine: &TimeZone,
    is_free: &dyn Fn(&str) -> bool,
) -> Vec<Shown<'a>> {
    let of = |family: &Known<'a>| {
        let own = settings(family.text).ok()?;
        let mut trial = Trial::new(&own)?;
        let mut takes = |topic: &str| matches!(trial.owner(topic), Owner::Takes(_));
        let taken: Vec<(&String, &Topic)> =
            notes.topics.iter().filter(|(name, _)| is_free(name) && takes(name)).collect();
        if taken.is_empty() || !shows(family, notes, &taken, is_free) {
            return None;
        }
        let (text, zone) = in_zone(family.text, &own, &taken, machine);
        let settings = settings(&text).unwrap_or(own);
        Some(Shown { name: family.name, text, zone, settings })
    };
    let mut shown: Vec<Shown<'a>> = families.iter().filter_map(of).collect();
    // Of two that have a source of one name the first stays.
    let mut names = BTreeSet::new();
    shown.retain(|family| family.settings.source.keys().all(|name| names.insert(name.clone())));
    shown
}

fn shows(family: &Known<'_>, notes: &Notes, taken: &[(&String, &Topic)], is_free: &dyn Fn(&str) -> bool) -> bool {
    let filters: Vec<Pattern> = family.topics.iter().filter_map(|filter| Pattern::parse(filter).ok()).collect();
    let matches = |name: &String| is_free(name) && filters.iter().any(|filter| filter.captures(name).is_some());
    notes.topics.keys().any(matches) || taken.iter().any(|(name, topic)| has_members(name, topic, family.members))
}

/// Whether a message has all members of one of the sets.
fn has_members(name: &str, topic: &Topic, sets: &[&[&str]]) -> bool {
    let has = |document: &Json| {
        let elements = document.as_array().map_or(std::slice::from_ref(document), Vec::as_slice);
        let has_all = |element: &Json| sets.iter().any(|set| !set.is_empty() && set.iter().all(|path| find(element, path).is_some()));
        elements.iter().any(has_all)
    };
    !sets.is_empty() && reads(name, topic).iter().filter_map(|read| read.document.as_ref()).any(has)
}

/// The member at a path: an exact name first, then from one object to the next.
fn find<'j>(node: &'j Json, path: &str) -> Option<&'j Json> {
    let step = |node: &'j Json, name: &str| match node {
        Json::Object(members) => members.get(name),
        Json::Array(list) => list.get(name.parse::<usize>().ok()?),
        _ => None,
    };
    if let Some(found) = step(node, path) {
        return Some(found);
    }
    let mut ends = path.match_indices('.');
    ends.find_map(|(at, _)| find(step(node, path.get(..at)?)?, path.get(at + 1..)?))
}

/// A family's text with the zone by which its local times are off, and that zone where it is
/// another.
fn in_zone(text: &str, settings: &Settings, taken: &[(&String, &Topic)], machine: &TimeZone) -> (String, Option<String>) {
    let Some(mut trial) = Trial::new(settings) else { return (text.to_owned(), None) };
    let mut locals: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for (name, topic) in taken {
        let Owner::Takes(owner) = trial.owner(name) else { continue };
        if let Some(source) = settings.source.get(&owner) {
            locals.entry(owner).or_default().extend(local_times(name, topic, source));
        }
    }
    let mut text = text.to_owned();
    let mut adapted = None;
    for (owner, times) in locals {
        let Some(time) = settings.source.get(&owner).and_then(|source| source.timestamp.as_ref()) else { continue };
        let found = match zone(times.into_iter(), machine) {
            Zone::Named(zone) => zone,
            Zone::None if time.zone.as_deref().is_some_and(|zone| zone != "UTC") => "UTC".to_owned(),
            Zone::None | Zone::Unknown => continue,
        };
        if time.zone.as_ref().is_some_and(|own| same_now(own, &found, taken)) {
            continue;
        }
        let changed = match &time.zone {
            Some(own) => text.replace(&format!("zone = \"{own}\""), &format!("zone = \"{found}\"")),
            None => {
                let field = format!("field = \"{}\"", time.field);
                text.replace(&field, &format!("{field}, zone = \"{found}\""))
            }
        };
        if super::trial::settings(&changed).is_ok() && changed != text {
            (text, adapted) = (changed, Some(found));
        }
    }
    (text, adapted)
}

/// Whether two zones have the same offset when the last message came.
fn same_now(own: &str, found: &str, taken: &[(&String, &Topic)]) -> bool {
    let parse = |zone: &str| jiff::fmt::temporal::DateTimeParser::new().parse_time_zone(zone).ok();
    let last = taken.iter().filter_map(|(_, topic)| topic.live).map(|(_, last)| last).max().unwrap_or_default();
    let Ok(at) = jiff::Timestamp::from_nanosecond(i128::from(last.0)) else { return false };
    match (parse(own), parse(found)) {
        (Some(own), Some(found)) => own.to_offset(at) == found.to_offset(at),
        _ => own == found,
    }
}

/// Local times of a source's messages.
fn local_times(name: &str, topic: &Topic, source: &Source) -> Vec<(DateTime, crate::point::Timestamp, bool)> {
    let Some(time) = source.timestamp.as_ref().filter(|time| time.unit == TimeUnit::Word(TimeWord::Auto)) else {
        return Vec::new();
    };
    let path = time.field.trim_start_matches("$.").trim_start_matches("^.");
    let local = |(kept, read): (&super::notes::Kept, super::payload::Read)| {
        let text = find(read.document.as_ref()?, path)?.as_str()?.to_owned();
        let is_zoned = text.parse::<jiff::Timestamp>().is_ok();
        let local = text.parse::<DateTime>().ok().filter(|_| !is_zoned)?;
        Some((local, kept.received, !kept.retain))
    };
    topic.kept.iter().zip(reads(name, topic)).filter_map(local).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{discover::notes::Limits, mqtt::listener::Heard, point::Timestamp};

    const TASMO: Known<'static> = Known {
        name: "tasmo",
        text: "# Tasmo\n[source.tasmo]\ntopic = \"tele/{device}/SENSOR\"\ntable = \"tasmo\"\ntimestamp = { field = \"Time\", zone = \"Europe/Berlin\" }\n",
        topics: &["tele/+/LWT"],
        members: &[&["Time", "ENERGY.Total"]],
    };
    const NOW: Timestamp = Timestamp(1_772_366_400_000_000_000);

    fn notes(messages: &[(&str, &str)]) -> Notes {
        let mut notes = Notes::new(Limits::default());
        for (topic, payload) in messages {
            let payload = payload.as_bytes().to_vec();
            notes.note(&Heard { topic: (*topic).into(), payload_bytes: payload.len(), payload, ..Heard::default() }, NOW);
        }
        notes
    }

    fn all(notes: &Notes) -> Vec<Shown<'static>> {
        shown(notes, &[TASMO], &TimeZone::UTC, &|_| true)
    }

    #[test]
    fn a_family_shows_by_a_topic_or_by_members_and_not_by_a_pattern_alone() {
        let plain = ("tele/a/SENSOR", r#"{"temperature":21.5}"#);
        assert!(all(&notes(&[plain])).is_empty());
        assert_eq!(all(&notes(&[plain, ("tele/a/LWT", "Online")])).len(), 1);
        assert_eq!(all(&notes(&[("tele/a/SENSOR", r#"{"Time":"x","ENERGY":{"Total":1}}"#)])).len(), 1);
        assert!(all(&notes(&[("tele/a/LWT", "Online")])).is_empty(), "its sources take nothing");
    }

    #[test]
    fn the_zone_is_the_one_that_is_found() {
        let of = |time: &str| {
            let message = format!(r#"{{"Time":"{time}","ENERGY":{{"Total":1}}}}"#);
            all(&notes(&[("tele/a/SENSOR", &message)])).remove(0)
        };
        let berlin = of("2026-03-01T13:00:00");
        assert_eq!((berlin.zone.as_deref(), berlin.text.as_str()), (None, TASMO.text));
        let other = of("2026-03-01T17:30:00");
        assert!(other.zone.as_deref() == Some("+05:30") && other.text.contains("zone = \"+05:30\""), "{}", other.text);
        assert_eq!(of("2026-03-01T12:00:00").zone.as_deref(), Some("UTC"));
        assert_eq!(of("2025-03-01T12:00:00").zone, None, "an old time tells nothing");
    }
}
