//! What may be proposed for a group of topics, the most telling source first. Pure.

mod cells;
mod documents;
mod others;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde_json::Value as Json;

use super::{
    draft::{Draft, list, quoted, table},
    group::{Group, Level},
    members::Rows,
    notes::Topic,
    passing,
    payload::Read,
    placeholders::Named,
    shape::Class,
    time::{Time, Zone, times},
};
use crate::point::Timestamp;

/// Most entries of a table or a list that are written.
const MAX_ENTRIES: usize = 100;

/// A topic of a group.
#[derive(Debug)]
pub struct Member<'a> {
    /// The topic's name.
    pub name: &'a str,
    /// What was heard on the topic.
    pub topic: &'a Topic,
    /// The topic's messages that are kept, and what each is.
    pub reads: Vec<Read>,
}

/// A group and what was heard of it.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The group.
    pub group: &'a Group,
    /// The group's topics.
    pub topics: Vec<Member<'a>>,
    /// The name of the source to be.
    pub name: &'a str,
    /// The machine's zone.
    pub zone: &'a TimeZone,
}

impl Subject<'_> {
    /// The documents and when each came.
    pub fn documents(&self) -> impl Iterator<Item = (&Json, Timestamp)> {
        self.topics.iter().flat_map(|member| {
            let kept = member.topic.kept.iter().zip(&member.reads);
            kept.filter_map(|(kept, read)| Some((read.document.as_ref()?, kept.received)))
        })
    }
}

/// A source that may be proposed.
#[derive(Debug, Clone, Default)]
pub struct Candidate {
    /// The source.
    pub draft: Draft,
    /// The time member, in words.
    pub time: Option<String>,
    /// Whether rows of one message are known to have the same symbols and time.
    pub collides: bool,
    /// Whether a name comes twice in one message, in a list of names and values.
    pub double_names: bool,
}

impl Candidate {
    /// Whether symbols tell the values of a list of names and values apart.
    #[must_use]
    pub fn names_are_told(&self) -> bool {
        !self.collides && self.draft.get("symbols").is_some() && self.draft.get("same_time").is_none()
    }
}

/// What may be proposed, the most telling first. The list is never empty.
#[must_use]
pub fn candidates(subject: &Subject<'_>) -> Vec<Candidate> {
    match &subject.group.class {
        Class::Plain => others::plain(subject),
        Class::Wrapped(value, time) if subject.group.has_metric() => {
            documents::wrapped(subject, value, time.as_deref())
        }
        Class::Wrapped(..) | Class::Documents(_) => documents::candidates(subject),
        Class::Line => others::line(subject),
        Class::Csv(delimiter, cells) => cells::csv(subject, *delimiter, *cells),
    }
}

/// A draft with pattern, table and tags.
fn begin(subject: &Subject<'_>, named: &Named) -> Draft {
    let mut draft = Draft {
        name: subject.name.to_owned(),
        topics: vec![named.pattern.clone()],
        table: Some(subject.name.to_owned()),
        ..Draft::default()
    };
    if named.pattern.split('/').any(|level| level == passing::UNNAMED) {
        let why = "A level that is a time, or never comes again, is no symbol: + leaves it without a name.";
        draft.comments.push(why.to_owned());
    }
    if !named.tags.is_empty() {
        set_tags(&mut draft, &named.tags, "other topics of this pattern hold something else");
    }
    draft
}

fn set_tags(draft: &mut Draft, tags: &[(String, String)], why: &str) {
    let entries: Vec<(String, String)> =
        tags.iter().map(|(name, value)| (name.clone(), quoted(&value.replace(['{', '}'], "")))).collect();
    draft.keys.retain(|(key, ..)| *key != "tags");
    draft.set("tags", table(&entries), why);
}

fn set_fields(draft: &mut Draft, kinds: &BTreeMap<String, (&'static str, &'static str)>) {
    if kinds.is_empty() {
        return;
    }
    let entries: Vec<(String, String)> =
        kinds.iter().take(MAX_ENTRIES).map(|(path, (kind, _))| (path.clone(), quoted(kind))).collect();
    let mut whys: Vec<&str> = kinds.values().map(|(_, why)| *why).collect();
    whys.sort_unstable();
    whys.dedup();
    draft.set("fields", table(&entries), whys.join("; ") + &beyond(kinds.len(), MAX_ENTRIES));
}

/// How many entries a key has no room for, in words.
fn beyond(count: usize, most: usize) -> String {
    match count.saturating_sub(most) {
        0 => String::new(),
        more => format!("; and {more} more, which are not written here"),
    }
}

/// The time of rows, and what is said of it: no member's, where devices disagree about the zone.
fn time_of(rows: &Rows, zone: &TimeZone) -> (Option<Time>, Option<String>) {
    let time = times(rows, zone).into_iter().next();
    let said = time.as_ref().map(|time| time.said.clone());
    (time.filter(|time| time.zone != Zone::Several), said)
}

fn set_time(draft: &mut Draft, time: &Time, step: Option<&str>) {
    let mut entries = vec![("field".to_owned(), quoted(&time.path))];
    entries.extend(time.unit.as_ref().map(|unit| ("unit".to_owned(), quoted(unit))));
    if let Zone::Named(zone) = &time.zone {
        entries.push(("zone".to_owned(), quoted(zone)));
    }
    entries.extend(step.map(|step| ("step".to_owned(), quoted(step))));
    let fixed = if matches!(&time.zone, Zone::Named(zone) if zone.starts_with(['+', '-'])) {
        "; if the device changes to summer time, write the zone's name, such as \"Europe/Berlin\""
    } else {
        ""
    };
    draft.set("timestamp", table(&entries), format!("{}{fixed}", time.said));
}

fn set_nulls(draft: &mut Draft, nulls: &std::collections::BTreeSet<String>) {
    if !nulls.is_empty() {
        let written: Vec<&String> = nulls.iter().take(MAX_ENTRIES).collect();
        draft.set("null_values", list(&written), format!("words for no value{}", beyond(nulls.len(), MAX_ENTRIES)));
    }
}

/// Levels of the topics.
fn levels<'a>(subject: &Subject<'a>) -> Vec<Vec<&'a str>> {
    subject.topics.iter().map(|topic| topic.name.split('/').collect()).collect()
}

/// The last level, where it is the same in all topics and can name a field.
fn last_name(group: &Group) -> Option<&str> {
    match group.levels.last() {
        Some(Level::Literal(text)) if is_field_name(text) => Some(text),
        _ => None,
    }
}

fn is_field_name(text: &str) -> bool {
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    begins && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn entries_that_have_no_room_are_counted() {
        let mut draft = Draft::default();
        let names = (0..MAX_ENTRIES + 7).map(|number| format!("n{number:03}"));
        set_fields(&mut draft, &names.clone().map(|name| (name, ("double", "text"))).collect());
        set_nulls(&mut draft, &names.collect::<BTreeSet<_>>());
        let text = draft.text();
        assert_eq!(text.matches("; and 7 more, which are not written here").count(), 2, "{text}");
        assert!(text.contains("n099") && !text.contains("n100"), "{text}");
    }
}
