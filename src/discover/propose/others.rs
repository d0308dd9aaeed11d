//! Sources for plain values, line protocol and cells. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::{
    super::{
        columns,
        draft::{list, quoted},
        group::Level,
        members::{Document, Layout, Rows},
        payload::{Kind, Read},
        placeholders::{named, sanitized},
        time::{Time, times},
        words,
    },
    Candidate, Subject, begin, last_name, set_fields, set_nulls, set_time,
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
        Candidate { draft, time: None, collides: false }
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
        Candidate { draft, time: Some("that of each line".into()), collides: false }
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

/// The sources for cells.
pub fn csv(subject: &Subject<'_>, delimiter: char, cells: usize) -> Vec<Candidate> {
    let named = named(&subject.group.levels, &BTreeMap::new(), &BTreeSet::new());
    let cell = |text: &str| text.trim().trim_matches('"').to_owned();
    let lines: Vec<(usize, usize, Vec<String>)> = subject
        .topics
        .iter()
        .enumerate()
        .flat_map(|(topic, member)| member.reads.iter().enumerate().map(move |(at, read)| (topic, at, read)))
        .filter(|(.., read)| matches!(read.kind, Kind::Csv(_)))
        .flat_map(|(topic, at, read)| {
            let lines = read.text.lines().filter(|line| !line.trim().is_empty());
            lines.map(move |line| (topic, at, line.split(delimiter).map(cell).collect()))
        })
        .collect();
    let is_text = |cell: &String| !cell.is_empty() && !words::is_numeric(cell) && !words::is_time_text(cell);
    let is_head = |cells: &[String]| cells.iter().all(is_text);
    let begin_with_head = lines.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1));
    let has_head =
        begin_with_head.clone().all(|of| of.len() > 1 && of.first().is_some_and(|(.., cells)| is_head(cells)));
    let head: Vec<String> = lines.first().map(|(.., cells)| cells.clone()).filter(|_| has_head).unwrap_or_default();
    let values: Vec<&(usize, usize, Vec<String>)> = lines.iter().filter(|(.., cells)| !is_head(cells)).collect();
    let names: Vec<String> = if has_head { head } else { column_names(&values, cells) };
    let objects: Vec<Json> = values
        .iter()
        .map(|(.., cells)| {
            names.iter().zip(cells).map(|(name, cell)| (name.clone(), Json::from(cell.as_str()))).collect()
        })
        .collect();
    let received = |topic: usize, at: usize| subject.topics.get(topic)?.topic.kept.get(at);
    let documents: Vec<Document<'_>> = values
        .iter()
        .zip(&objects)
        .filter_map(|((topic, at, _), json)| {
            let kept = received(*topic, *at)?;
            Some(Document { topic: *topic, json, received: kept.received, is_live: !kept.retain })
        })
        .collect();
    let rows = Rows::of(&documents, &Layout::default());
    let time: Option<Time> = times(&rows, subject.zone).into_iter().next();
    let kinds: BTreeMap<String, (&'static str, &'static str)> = rows
        .members
        .keys()
        .filter(|path| time.as_ref().is_none_or(|time| time.path != **path))
        .filter_map(|path| {
            let values: Vec<&Json> = rows.values(path).map(|(_, value)| value).collect();
            let needs =
                |value: &&&Json| value.as_str().is_some_and(|text| words::plain(text) == Some(words::Plain::Measure));
            let is_needed = values.iter().any(|value| needs(&value));
            is_needed.then(|| columns::kind(&values, path, true)).flatten().map(|kind| (path.clone(), kind))
        })
        .collect();
    let with = |types: bool, with_time: bool| {
        let mut draft = begin(subject, &named);
        draft.set("format", quoted("csv"), "");
        if delimiter != ',' {
            draft.set("delimiter", quoted(&delimiter.to_string()), "");
        }
        if !has_head {
            draft.set(
                "columns",
                list(&names),
                "no line names the cells: give them their names here, \"\" leaves one out",
            );
        }
        if let Some(time) = time.as_ref().filter(|_| with_time) {
            set_time(&mut draft, time, None);
        }
        if types {
            set_fields(&mut draft, &kinds);
        }
        Candidate { draft, time: time.as_ref().filter(|_| with_time).map(|time| time.said.clone()), collides: false }
    };
    vec![with(true, true), with(false, true), with(false, false)]
}

/// Names for cells that have none.
fn column_names(lines: &[&(usize, usize, Vec<String>)], cells: usize) -> Vec<String> {
    let mut has_time = false;
    let mut names = Vec::with_capacity(cells);
    for at in 0..cells {
        let own: Vec<&String> =
            lines.iter().filter_map(|(.., cells)| cells.get(at)).filter(|cell| !cell.is_empty()).collect();
        let is_epoch = |cell: &&String| cell.parse::<f64>().is_ok_and(|number| number >= 1e9) && cell.len() >= 10;
        let is_time = !own.is_empty()
            && (own.iter().all(|cell| words::is_time_text(cell)) || at == 0 && own.iter().all(is_epoch));
        let is_number = own.iter().all(|cell| words::is_numeric(cell));
        names.push(if is_time && !has_time {
            has_time = true;
            "time".to_owned()
        } else {
            sanitized(&format!("{}{}", if is_number { "value" } else { "text" }, at + 1))
        });
    }
    names
}
