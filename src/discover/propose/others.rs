//! Sources for plain values and line protocol. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::{
    super::{
        columns,
        draft::quoted,
        group::Level,
        payload::{Kind, Read},
        placeholders::named,
    },
    Candidate, Subject, begin, last_name, set_fields, set_nulls,
};

/// A plain value as a document would hold it.
fn as_json(read: &Read) -> Option<Json> {
    match read.kind {
        Kind::Number => read.text.trim().parse::<f64>().ok().map(Json::from),
        Kind::Boolean => Some(Json::Bool(read.text.trim().eq_ignore_ascii_case("true"))),
        _ if read.kind.is_plain() => Some(Json::from(read.text.trim().trim_matches('"'))),
        _ => None,
    }
}

/// The sources for plain values.
pub fn plain(subject: &Subject<'_>) -> Vec<Candidate> {
    let group = subject.group;
    let named = named(&group.levels, &BTreeMap::new(), &BTreeSet::new());
    let is_named = group.has_metric();
    let field = if is_named {
        format!("{{{}}}", named.names.last().map_or("metric", String::as_str))
    } else {
        let last = last_name(group).filter(|last| !named.names.iter().any(|name| name.eq_ignore_ascii_case(last)));
        let tags = |last: &&str| !named.tags.iter().any(|(name, _)| name.eq_ignore_ascii_case(last));
        last.filter(tags).filter(|last| *last != "timestamp").unwrap_or("value").to_owned()
    };
    let depth = group.levels.len().saturating_sub(1);
    let mut values: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    for member in &subject.topics {
        let name = if is_named {
            member.name.splitn(depth + 1, '/').nth(depth).unwrap_or(member.name).replace('/', "_")
        } else {
            field.clone()
        };
        values.entry(name).or_default().extend(member.reads.iter().filter_map(as_json));
    }
    let mut kinds = BTreeMap::new();
    let mut nulls = BTreeSet::new();
    for (name, values) in &values {
        let values: Vec<&Json> = values.iter().collect();
        kinds.extend(columns::kind(&values, "", !is_named).map(|kind| (name.clone(), kind)));
        nulls.extend(columns::nulls(&values));
    }
    let with = |types: bool, has_nulls: bool| {
        let mut draft = begin(subject, &named);
        draft.set("format", quoted("plain"), "");
        if field != "value" {
            let why = if is_named { "the topic names the field" } else { "" };
            draft.set("field", quoted(&field), why);
        }
        if types {
            set_fields(&mut draft, &kinds);
        }
        if has_nulls {
            set_nulls(&mut draft, &nulls);
        }
        Candidate { draft, time: None, collides: false, ..Candidate::default() }
    };
    vec![with(true, true), with(false, true), with(false, false)]
}

/// The sources for line protocol.
pub fn line(subject: &Subject<'_>) -> Vec<Candidate> {
    let has_tags =
        subject.topics.iter().flat_map(|member| &member.reads).filter(|read| read.kind == Kind::Line).all(|read| {
            let lines = read.text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
            lines.into_iter().all(|line| line.split(' ').next().is_some_and(|series| series.contains(',')))
        });
    let kept = named(&subject.group.levels, &BTreeMap::new(), &BTreeSet::new());
    let candidate = |pattern: String, why: &str| {
        let mut draft = begin(subject, &kept);
        draft.topics = vec![pattern];
        draft.table = None;
        draft.set("format", quoted("line"), why);
        Candidate { draft, time: Some("that of each line".into()), collides: false, ..Candidate::default() }
    };
    let plain: Vec<String> = subject
        .group
        .levels
        .iter()
        .zip(kept.pattern.split('/'))
        .map(|(level, named)| match level {
            Level::Varies(_) | Level::Metric(_) => "+".to_owned(),
            _ => named.to_owned(),
        })
        .collect();
    let tagged = candidate(plain.join("/"), "each line names its table, and its tags say whose it is");
    let named = candidate(kept.pattern.clone(), "each line names its table");
    if has_tags { vec![tagged, named] } else { vec![named, tagged] }
}
