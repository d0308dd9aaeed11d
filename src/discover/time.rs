//! Which member tells the time of a row, and how it is written. Pure.

use std::time::Duration;

use jiff::{civil::DateTime, tz::TimeZone};
use serde_json::Value as Json;

use super::{
    members::{Rows, is_outside},
    words,
};
use crate::point::Timestamp;

/// A time this near to that of receipt tells the time of the reading.
const NEAR: Duration = Duration::from_hours(24);
/// How far a local time may be off its zone's offset, in seconds.
const MAX_OFF_S: i64 = 240;
/// Offsets of zones are whole quarters of an hour, in seconds.
const QUARTER_S: i64 = 900;
/// No zone is further from UTC, in seconds.
const MAX_OFFSET_S: i64 = 14 * 3_600;
/// The first second of 2001 and of 2100.
const YEARS_S: std::ops::Range<f64> = 978_307_200.0..4_102_444_800.0;

/// The zone of local times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Zone {
    /// They are UTC, or tell their own.
    None,
    /// It is this one.
    Named(String),
    /// No live message tells it.
    Unknown,
    /// Live messages tell several.
    Several,
}

/// The time of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Time {
    /// The member's path.
    pub path: String,
    /// How it is written, in the words of `timestamp.unit`; none for what `auto` tells.
    pub unit: Option<String>,
    /// The zone of the time.
    pub zone: Zone,
    /// What it is, in words.
    pub said: String,
}

/// What a value says of the time.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    /// A moment, as a number of that unit; empty for text.
    Moment(Timestamp, &'static str),
    /// A local time.
    Local(DateTime),
    /// A clock that was not set.
    Unset,
    /// Something else.
    Other,
}

/// What speaks against a member as the time: no name of one, none near now, the name's rank,
/// outside of the row, always the same, how deep it is.
type Order = (bool, bool, u8, bool, bool, usize);

/// The member of rows that tells their time, the likeliest first.
#[must_use]
pub fn times(rows: &Rows, zone: &TimeZone) -> Vec<Time> {
    let mut ranked: Vec<(Order, Time)> = rows.members.keys().filter_map(|path| candidate(rows, path, zone)).collect();
    ranked.sort_by(|(one, a), (other, b)| one.cmp(other).then_with(|| a.path.cmp(&b.path)));
    ranked.into_iter().map(|(_, time)| time).collect()
}

fn candidate(rows: &Rows, path: &str, zone: &TimeZone) -> Option<(Order, Time)> {
    let rank = words::time_rank(path);
    let values: Vec<_> = rows.values(path).collect();
    let is_candidate = |value: &Json| match value {
        Json::Number(_) => true,
        Json::String(text) => text.len() <= 64,
        _ => false,
    };
    let some: Vec<_> = values.iter().filter(|(_, value)| is_candidate(value)).collect();
    let form = form(&some.iter().map(|(row, value)| (row.received, *value)).collect::<Vec<_>>());
    let told: Vec<Told> = some.iter().map(|(_, value)| told(value, form)).collect();
    let count = |wanted: fn(&Told) -> bool| told.iter().filter(|told| wanted(told)).count();
    let good = count(|told| matches!(told, Told::Moment(..) | Told::Local(_)));
    let zeros = some.iter().filter(|(_, value)| is_zero(value)).count();
    let (other, unset) = (count(|told| *told == Told::Other), count(|told| *told == Told::Unset));
    let near = some.iter().zip(&told).filter(|((row, _), told)| row.is_live && is_near(told, row.received)).count();
    let live = some.iter().filter(|(row, _)| row.is_live).count();
    let is_constant = some.len() > 2
        && some.iter().all(|(_, value)| some.first().is_some_and(|(_, first)| value == first))
        && rows.messages > 2;
    let is_time = match rank {
        Some(_) => {
            good > 0 && other * 4 <= told.len()
                || good == 0 && unset == told.len() && zeros == told.len() && is_exactly_a_time(path)
        }
        None => good == told.len() && near == live && live > 0 && !is_constant,
    };
    if told.is_empty() || !is_time {
        return None;
    }
    let rank = rank.unwrap_or(3);
    let order = (rank == 3, near == 0, rank, is_outside(path), is_constant, path.matches('.').count());
    let units: Vec<&str> =
        told.iter().filter_map(|told| if let Told::Moment(_, unit) = told { Some(*unit) } else { None }).collect();
    let unit = match form {
        Some(form) => Some(form.to_owned()),
        // A clock that is not set yet counts from another time.
        None if told.contains(&Told::Unset) => None,
        None => units
            .first()
            .filter(|first| !first.is_empty() && units.iter().all(|unit| unit == *first))
            .map(|unit| (*unit).to_owned()),
    };
    let locals = some.iter().zip(&told).filter_map(|((row, _), told)| match told {
        Told::Local(local) => Some((*local, row.received, row.is_live)),
        _ => None,
    });
    let time_zone = self::zone(locals, zone);
    let has_locals = told.iter().any(|told| matches!(told, Told::Local(_)));
    let said = in_words(form, &units, &time_zone, has_locals);
    Some((order, Time { path: path.to_owned(), unit, zone: time_zone, said }))
}

/// Whether a value is what a clock says that was never set, and no count of anything.
fn is_zero(value: &Json) -> bool {
    value.as_f64() == Some(0.0)
        || value.as_str().is_some_and(|text| {
            text.parse::<f64>().is_ok_and(|number| number == 0.0) || text.len() != 1 && text.parse::<f64>().is_err()
        })
}

fn is_exactly_a_time(path: &str) -> bool {
    matches!(path.to_lowercase().as_str(), "ts" | "timestamp" | "time" | "$.ts" | "$.timestamp" | "$.time")
}

fn in_words(form: Option<&str>, units: &[&str], zone: &Zone, has_locals: bool) -> String {
    let how = match (form, units.first().copied()) {
        (Some(form), _) => format!("text of the form {form}"),
        (None, Some(first)) if units.iter().any(|unit| *unit != first) => "times of several units".into(),
        (None, None) if !has_locals => "a clock that was not set yet".into(),
        (None, None) if *zone == Zone::None => "text without a zone, which is UTC".into(),
        (None, Some("s")) => "seconds since 1970".into(),
        (None, Some("ms")) => "milliseconds since 1970".into(),
        (None, Some("us")) => "microseconds since 1970".into(),
        (None, Some("ns")) => "nanoseconds since 1970".into(),
        (None, Some(_)) => "text with its zone (RFC 3339)".into(),
        (None, None) => "text without a zone".into(),
    };
    match zone {
        Zone::None => how,
        Zone::Named(zone) => format!("{how}, local time of {zone}"),
        Zone::Unknown => format!("{how}; no live message told the zone, so UTC is taken"),
        Zone::Several => "that of receipt: the devices disagree about the zone".to_owned(),
    }
}

/// What a value says, by a form where there is one.
fn told(value: &Json, form: Option<&str>) -> Told {
    let text = match value {
        Json::String(text) => text.trim().to_owned(),
        Json::Number(number) => number.to_string(),
        _ => return Told::Other,
    };
    if let Some(form) = form {
        return words::of_form(form, &text).map_or(Told::Other, Told::Local);
    }
    if text.is_empty() {
        return Told::Unset;
    }
    if let Ok(number) = text.parse::<f64>() {
        return number_told(number);
    }
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return moment_told(moment);
    }
    // Some write a space before the zone, or slashes in the date.
    let joined = text.strip_suffix(" UTC").map(|time| format!("{time}Z"));
    if let Some(moment) = joined.and_then(|joined| joined.parse::<jiff::Timestamp>().ok()) {
        return moment_told(moment);
    }
    let slashed = if text.get(4..5) == Some("/") { text.replacen('/', "-", 2) } else { text };
    match slashed.parse::<DateTime>() {
        Ok(local) if local.year() >= 2001 && slashed.len() > 10 => Told::Local(local),
        Ok(local) if local.year() < 2001 => Told::Unset,
        _ => Told::Other,
    }
}

fn moment_told(moment: jiff::Timestamp) -> Told {
    if moment.as_second() < 978_307_200 {
        return Told::Unset;
    }
    i64::try_from(moment.as_nanosecond()).map_or(Told::Other, |nanos| Told::Moment(Timestamp(nanos), ""))
}

fn number_told(number: f64) -> Told {
    let (unit, per_second) = match number.abs() {
        n if n < 1e11 => ("s", 1.0),
        n if n < 1e14 => ("ms", 1e3),
        n if n < 1e17 => ("us", 1e6),
        _ => ("ns", 1e9),
    };
    let seconds = number / per_second;
    if YEARS_S.contains(&seconds) {
        return Told::Moment(Timestamp((seconds * 1e9) as i64), unit);
    }
    if (-1.0..978_307_200.0).contains(&seconds) { Told::Unset } else { Told::Other }
}

/// The seconds by which a local time, taken as UTC, is ahead.
fn ahead_s(local: DateTime, received: Timestamp) -> Option<i64> {
    let moment = TimeZone::UTC.to_timestamp(local).ok()?;
    Some(moment.as_second() - received.0.div_euclid(1_000_000_000))
}

fn is_near(told: &Told, received: Timestamp) -> bool {
    match told {
        Told::Moment(Timestamp(nanos), _) => u128::from(nanos.abs_diff(received.0)) <= NEAR.as_nanos(),
        Told::Local(local) => ahead_s(*local, received).is_some_and(|ahead| ahead.unsigned_abs() <= NEAR.as_secs()),
        Told::Unset | Told::Other => false,
    }
}

/// The form of texts that are no ISO 8601, where one reads them all. Of several the one that is
/// near the time of receipt.
fn form(values: &[(Timestamp, &Json)]) -> Option<&'static str> {
    let texts: Vec<(Timestamp, String)> = values
        .iter()
        .filter_map(|(received, value)| match value {
            Json::String(text) => Some((*received, text.trim().to_owned())),
            Json::Number(number) => Some((*received, number.to_string())),
            _ => None,
        })
        .filter(|(_, text)| !text.is_empty())
        .collect();
    let is_needed =
        |(_, text): &(Timestamp, String)| text.len() >= 8 && told(&Json::String(text.clone()), None) == Told::Other;
    if texts.is_empty() || !texts.iter().all(is_needed) {
        return None;
    }
    let reads = |form: &&&str| {
        let years = 2001..2100;
        texts.iter().all(|(_, text)| words::of_form(form, text).is_some_and(|time| years.contains(&time.year())))
    };
    let near = |form: &&str| {
        let is_near = |(received, text): &(Timestamp, String)| {
            words::of_form(form, text).is_some_and(|local| is_near(&Told::Local(local), *received))
        };
        !texts.iter().all(is_near)
    };
    let mut forms: Vec<&&str> = words::FORMS.iter().filter(reads).collect();
    forms.sort_by_key(|form| near(form));
    forms.first().map(|form| **form)
}

/// The zone of local times, by those that came live.
pub fn zone(locals: impl Iterator<Item = (DateTime, Timestamp, bool)>, machine: &TimeZone) -> Zone {
    let mut found: Option<i64> = None;
    let (mut is_local, mut at) = (false, Timestamp::default());
    for (local, received, is_live) in locals {
        is_local = true;
        let Some(ahead) = ahead_s(local, received).filter(|_| is_live) else { continue };
        let offset = (ahead as f64 / QUARTER_S as f64).round() as i64 * QUARTER_S;
        if (ahead - offset).abs() > MAX_OFF_S || offset.abs() > MAX_OFFSET_S {
            return Zone::Unknown;
        }
        if found.is_some_and(|known| known != offset) {
            return Zone::Several;
        }
        (found, at) = (Some(offset), received);
    }
    match found {
        None if is_local => Zone::Unknown,
        None | Some(0) => Zone::None,
        Some(offset) => Zone::Named(name(offset, at, machine).unwrap_or_else(|| written(offset))),
    }
}

/// The machine's own zone, where it has that offset at that time.
fn name(offset: i64, at: Timestamp, machine: &TimeZone) -> Option<String> {
    let name = machine.iana_name()?;
    let at = jiff::Timestamp::from_nanosecond(i128::from(at.0)).ok()?;
    (i64::from(machine.to_offset(at).seconds()) == offset).then(|| name.to_owned())
}

/// An offset as `timestamp.zone` has it.
fn written(offset: i64) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::discover::members::{Document, Layout};

    const NOW: Timestamp = Timestamp(1_772_366_400_000_000_000);

    fn times_of(documents: &[Json], zone: &TimeZone) -> Vec<Time> {
        let documents: Vec<_> =
            documents.iter().map(|json| Document { topic: 0, json, received: NOW, is_live: true }).collect();
        times(&Rows::of(&documents, &Layout::default()), zone)
    }

    fn first(value: impl Into<Json>) -> Option<(Option<String>, Zone)> {
        let value: Json = value.into();
        let documents = [json!({"ts": value, "v": 1})];
        times_of(&documents, &TimeZone::UTC).into_iter().next().map(|time| (time.unit, time.zone))
    }

    #[test]
    fn times_are_told_by_name_and_size() {
        let unit = |unit: &str| Some((Some(unit.to_owned()), Zone::None));
        assert_eq!(first(json!(1_740_000_000)), unit("s"));
        assert_eq!(first(json!(1_740_000_000.25)), unit("s"));
        assert_eq!(first(json!("1740000000")), unit("s"));
        assert_eq!(first(json!(1_740_000_000_250_i64)), unit("ms"));
        assert_eq!(first(json!(1_740_000_000_250_125_i64)), unit("us"));
        assert_eq!(first(json!(1_740_000_000_250_125_000_i64)), unit("ns"));
        assert_eq!(first(json!("2025-03-01T13:00:00+01:00")), Some((None, Zone::None)));
        assert_eq!(first(json!(0)), Some((None, Zone::None)));
        assert_eq!(first(json!("soon")), None);
        assert_eq!(first(json!("01.03.2026 12:00:10")), unit("%d.%m.%Y %H:%M:%S"));
        assert_eq!(first(json!("03/01/2026 12:00:10")), unit("%m/%d/%Y %H:%M:%S"), "near the time of receipt");
        assert_eq!(first(json!(20_260_301_120_000_i64)), unit("%Y%m%d%H%M%S"));
    }

    #[test]
    fn the_zone_of_a_local_time_is_that_by_which_it_is_off() {
        let named = |zone: &str| Some((None, Zone::Named(zone.to_owned())));
        assert_eq!(first(json!("2026-03-01T12:00:02")), Some((None, Zone::None)));
        assert_eq!(first(json!("2026-03-01T17:29:30")), named("+05:30"));
        assert_eq!(first(json!("2026-03-01 09:00:00")), named("-03:00"));
        assert_eq!(first(json!("2026-03-01 09:08:00")), Some((None, Zone::Unknown)));
        assert_eq!(first(json!("2025-01-01 09:00:00")), Some((None, Zone::Unknown)));
    }

    #[test]
    fn devices_that_disagree_about_the_zone_have_none() {
        let documents = [json!({"ts": "2026-03-01T14:00:00", "v": 1}), json!({"ts": "2026-03-01T07:00:00", "v": 1})];
        let told = times_of(&documents, &TimeZone::UTC).remove(0);
        assert_eq!(
            (told.zone, told.said.as_str()),
            (Zone::Several, "that of receipt: the devices disagree about the zone")
        );
    }

    #[test]
    fn a_number_without_a_name_is_a_time_where_it_is_near() {
        let documents = [json!({"a": 1_772_366_399, "v": 1}), json!({"a": 1_772_366_400, "v": 1})];
        assert_eq!(times_of(&documents, &TimeZone::UTC).first().map(|time| time.path.as_str()), Some("a"));
        let documents = [json!({"energy": 1_740_000_000, "uptime": 99})];
        assert_eq!(times_of(&documents, &TimeZone::UTC), []);
    }
}
