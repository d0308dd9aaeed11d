//! Known families of devices, which come before anything that is worked out. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{civil::DateTime, tz::TimeZone};
use serde_json::Value as Json;

use super::{
    notes::{Kept, Notes, Topic},
    payload::Read,
    shape::reads,
    time::{Zone, zone},
    trial::{Owner, Trial, settings},
};
use crate::{
    devices::{Family, change::Changes, signs::Heard, zone_name},
    point::Timestamp,
    settings::{Settings, Source, TimeUnit, TimeWord},
};

/// A family that shows.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The family's name.
    pub name: &'static str,
    /// The text of the family's sources, with the zone that was found.
    pub text: String,
    /// The zone that was found, where the family's own text has another.
    pub zone: Option<String>,
    /// The settings of the family's sources.
    pub settings: Settings,
    /// Topics of the family that no source of it takes, and that hold no readings.
    pub housekeeping: BTreeSet<String>,
}

/// The families that show in what was heard, among topics that `is_free` lets pass.
pub fn shown(notes: &Notes, families: &[Family], machine: &TimeZone, is_free: &dyn Fn(&str) -> bool) -> Vec<Shown> {
    let of = |family: &Family| {
        let recogniser = family.recogniser().ok()?;
        let free: Vec<(&String, &Topic)> = notes.topics.iter().filter(|(name, _)| is_free(name)).collect();
        let taken: Vec<(&String, &Topic)> = free.iter().copied().filter(|(name, _)| recogniser.takes(name)).collect();
        let has_sign = |(name, topic): &(&String, &Topic)| {
            recogniser.topic_shows(name)
                || recogniser.takes(name) && {
                    let reads = reads(name, topic);
                    reads.iter().any(|read| recogniser.shows(name, read.document.as_ref()))
                }
        };
        let is_document = |(name, topic): &(&String, &Topic)| {
            let holds = |read: &Read| matches!(read.document, Some(Json::Object(_) | Json::Array(_)));
            recogniser.takes(name) && reads(name, topic).iter().any(holds)
        };
        if taken.is_empty() {
            return None;
        }
        let heard: Vec<Heard<'_>> = free.iter().map(|of| Heard { topic: of.0, is_document: is_document(of) }).collect();
        if !(free.iter().any(has_sign) || recogniser.shows_together(&heard)) {
            return None;
        }
        let house = recogniser.housekeeping(family.name, &heard);
        let is_house = |name: &&String| !recogniser.takes(name) && house.claims(name);
        let housekeeping = free.iter().map(|(name, _)| *name).filter(is_house).cloned().collect();
        let own = settings(family.text).ok()?;
        let zone = other_zone(&own, &taken, machine);
        let changes = Changes { zone: zone.clone(), ..Changes::default() };
        let (text, zone) = match family.changed(&changes) {
            Ok(text) if zone.is_some() => (text, zone),
            _ => (family.text.to_owned(), None),
        };
        let settings = settings(&text).unwrap_or(own);
        Some(Shown { name: family.name, text, zone, settings, housekeeping })
    };
    let mut shown: Vec<Shown> = families.iter().filter_map(of).collect();
    // Of two that have a source of one name the first stays.
    let mut names = BTreeSet::new();
    shown.retain(|family| family.settings.source.keys().all(|name| names.insert(name.clone())));
    shown
}

/// The member at a path: an exact name first, then from one object to the next.
fn find<'j>(node: &'j Json, path: &str) -> Option<&'j Json> {
    let step = |name: &str| match node {
        Json::Object(members) => members.get(name),
        Json::Array(list) => list.get(name.parse::<usize>().ok()?),
        _ => None,
    };
    if let Some(found) = step(path) {
        return Some(found);
    }
    let mut ends = path.match_indices('.');
    ends.find_map(|(at, _)| find(step(path.get(..at)?)?, path.get(at + 1..)?))
}

/// The zone by which a family's local times are off, where it is another than its text's.
fn other_zone(settings: &Settings, taken: &[(&String, &Topic)], machine: &TimeZone) -> Option<String> {
    let mut trial = Trial::new(settings, Timestamp::default())?;
    let mut locals: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for (name, topic) in taken {
        let Owner::Takes(owner) = trial.owner(name) else { continue };
        if let Some(source) = settings.source.get(&owner) {
            locals.entry(owner).or_default().extend(local_times(name, topic, source));
        }
    }
    for (owner, times) in locals {
        let own = settings.source.get(&owner).and_then(|source| source.timestamp.as_ref()?.zone.as_ref());
        let is_told = !times.is_empty();
        let found = match zone(times.into_iter(), machine) {
            Zone::Named(zone) => zone,
            Zone::None if own.is_some() && is_told => "UTC".to_owned(),
            // The machine's, as `forebay device add` has it, or UTC where that has no name.
            Zone::None | Zone::Unknown if own.is_some() => zone_name(machine).unwrap_or("UTC").to_owned(),
            Zone::None | Zone::Unknown | Zone::Several => continue,
        };
        if own.is_none_or(|own| !same_now(own, &found, taken)) {
            return Some(found);
        }
    }
    None
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
fn local_times(name: &str, topic: &Topic, source: &Source) -> Vec<(DateTime, Timestamp, bool)> {
    let Some(time) = source.timestamp.as_ref().filter(|time| time.unit == TimeUnit::Word(TimeWord::Auto)) else {
        return Vec::new();
    };
    let path = time.field.trim_start_matches("$.").trim_start_matches("^.");
    let local = |(kept, read): (&Kept, Read)| {
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
    use crate::{devices::Signs, discover::notes::Limits, mqtt::listener};

    const TASMO: Family = Family {
        name: "tasmo",
        text: "# Tasmo\n[source.tasmo]\ntopic = \"tele/{device}/SENSOR\"\ntable = \"tasmo\"\n\
               timestamp = { field = \"Time\", zone = \"Europe/Berlin\" }\n",
        signs: Signs { topics: &["tele/+/LWT"], members: &[&["Time", "ENERGY.Total"]] },
    };
    const NOW: Timestamp = Timestamp(1_772_366_400_000_000_000);

    fn notes(messages: &[(&str, &str)]) -> Notes {
        let mut notes = Notes::new(Limits::default());
        for (topic, payload) in messages {
            let payload = payload.as_bytes().to_vec();
            let (topic, payload_bytes) = ((*topic).to_owned(), payload.len());
            let heard = listener::Heard { topic, payload, payload_bytes, ..listener::Heard::default() };
            notes.note(&heard, NOW);
        }
        notes
    }

    fn all(notes: &Notes) -> Vec<Shown> {
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
        let old = of("2025-03-01T12:00:00").zone;
        assert_eq!(old.as_deref(), Some("UTC"), "an old time tells nothing: it is the machine's zone");
    }
}
