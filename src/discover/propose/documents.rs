//! Sources for JSON documents. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::{
    super::{
        columns::{self, Known, Symbols},
        draft::{Draft, list, quoted, some, table},
        group::Level,
        layout,
        members::{Document, Layout, Rows, Step, column, is_outside},
        passing::UNNAMED,
        placeholders::{self, Named, named, one_of, sanitized},
        time::{Time, Zone, times},
        words,
    },
    Candidate, Subject, begin, beyond, is_field_name, levels, set_fields, set_nulls, set_tags, set_time, time_of,
};

/// Most layouts that are tried.
const MAX_LAYOUTS: usize = 5;
/// Most members that are named in a comment.
const MAX_NAMED: usize = 12;
/// Longest name of a member in a comment, in characters.
const NAME_CHARS: usize = 60;
/// Most members that a source ignores by their names.
const MAX_IGNORED: usize = 100;
/// Longest array that is read by the positions of its elements.
const MAX_POSITIONS: usize = 16;

/// How much of what was found is said in the source.
#[derive(Debug, Clone, Copy)]
struct With {
    types: bool,
    time: bool,
    symbols: bool,
}

/// What may be proposed for documents.
pub fn candidates(subject: &Subject<'_>) -> Vec<Candidate> {
    let documents = documents(subject);
    let mut candidates: Vec<Candidate> = positions(subject, &documents).into_iter().collect();
    candidates.extend(day_and_time(subject, &documents));
    let layouts = layout::candidates(&documents);
    let last = layouts.last().cloned();
    let tried = layouts.into_iter().take(MAX_LAYOUTS).chain(last);
    for layout in tried {
        for (types, time, symbols) in
            [(true, true, true), (false, true, true), (true, false, true), (false, false, true), (false, false, false)]
        {
            candidates.extend(candidate(subject, &documents, &layout, With { types, time, symbols }));
        }
    }
    if layout::has_double_names(&documents) {
        for candidate in &mut candidates {
            candidate.double_names = true;
        }
    }
    candidates
}

/// Documents of the topics, which are what most of their messages are.
fn documents<'a>(subject: &'a Subject<'_>) -> Vec<Document<'a>> {
    // Topics that differ in levels without a name are one.
    let mut series: BTreeMap<String, usize> = BTreeMap::new();
    let unnamed = |at: usize| matches!(subject.group.levels.get(at), Some(Level::Literal(text)) if text == UNNAMED);
    let of = |(topic, member): (usize, &'a super::Member<'_>)| {
        let levels = member.name.split('/').enumerate();
        let name: Vec<&str> = levels.map(|(at, level)| if unnamed(at) { UNNAMED } else { level }).collect();
        let topic = *series.entry(name.join("/")).or_insert(topic);
        let kept = member.topic.kept.iter().zip(&member.reads);
        kept.filter_map(move |(kept, read)| {
            let json = read.document.as_ref()?;
            Some(Document { topic, json, received: kept.received, is_live: !kept.retain })
        })
    };
    subject.topics.iter().enumerate().flat_map(of).collect()
}

/// The source for documents of one value each, whose topics name the field.
pub fn wrapped(subject: &Subject<'_>, value: &str, time: Option<&str>) -> Vec<Candidate> {
    let documents = documents(subject);
    let layout = Layout { steps: vec![Step::Name(value.to_owned())], ..Layout::default() };
    let rows = Rows::of(&documents, &layout);
    let path = time.map(|time| format!("$.{time}"));
    let named = named(&subject.group.levels, &BTreeMap::new(), &BTreeSet::new());
    let mut candidates = Vec::new();
    for (types, with_time) in [(true, true), (false, true), (false, false)] {
        let mut draft = begin(subject, &named);
        draft.set("rows", quoted(value), "");
        draft.set(
            "field",
            quoted(&format!("{{{}}}", named.names.last().map_or("metric", String::as_str))),
            "the topic names the field",
        );
        let time = times(&rows, subject.zone).into_iter().find(|time| with_time && Some(&time.path) == path.as_ref());
        if let Some(time) = time.as_ref().filter(|time| time.zone != Zone::Several) {
            set_time(&mut draft, time, None);
        }
        if types {
            let by_name = by_name(subject, &rows);
            let kinds =
                by_name.iter().filter_map(|(name, values)| Some((name.clone(), columns::kind(values, name, false)?)));
            set_fields(&mut draft, &kinds.collect());
        }
        candidates.push(Candidate { draft, time: time.map(|time| time.said), collides: false, ..Candidate::default() });
    }
    candidates
}

/// The values of rows by the topics' own names of fields.
fn by_name<'r>(subject: &Subject<'_>, rows: &'r Rows) -> BTreeMap<String, Vec<&'r Json>> {
    let mut by_name: BTreeMap<String, Vec<&Json>> = BTreeMap::new();
    let depth = subject.group.levels.len().saturating_sub(1);
    for (row, value) in rows.values("") {
        let topic = subject.topics.get(row.topic).map_or("", |topic| topic.name);
        let name = topic.splitn(depth + 1, '/').nth(depth).unwrap_or(topic).replace('/', "_");
        by_name.entry(name).or_default().push(value);
    }
    by_name
}

/// Documents that tell the day in one member, and the time of day in another.
fn day_and_time(subject: &Subject<'_>, documents: &[Document<'_>]) -> Option<Candidate> {
    let rows = Rows::of(documents, &Layout::default());
    if documents.iter().any(|document| !document.json.is_object()) || !times(&rows, subject.zone).is_empty() {
        return None;
    }
    let all = |path: &&String, is: fn(&str) -> bool| {
        let mut values = rows.values(path).peekable();
        let is_plain = is_field_name(path) && values.peek().is_some();
        is_plain && values.all(|(_, value)| value.as_str().is_some_and(is))
    };
    let day = rows.members.keys().find(|path| all(path, words::is_day))?;
    let clock = rows.members.keys().find(|path| all(path, words::is_time_of_day))?;
    let join = |document: &Document<'_>| {
        let mut members = document.json.as_object()?.clone();
        let (day, clock) = (members.remove(day)?, members.remove(clock)?);
        members.insert("datetime".into(), format!("{} {}", day.as_str()?, clock.as_str()?).into());
        Some(Json::Object(members))
    };
    let joined: Vec<Json> = documents.iter().map(join).collect::<Option<_>>()?;
    let made: Vec<Document<'_>> =
        documents.iter().zip(&joined).map(|(document, json)| Document { json, ..document.clone() }).collect();
    let mut candidate = candidate(subject, &made, &Layout::default(), With { types: true, time: true, symbols: true })?;
    candidate.time.as_ref()?;
    let program = format!(". + {{datetime: (.{day} + \" \" + .{clock})}} | del(.{day}, .{clock})");
    candidate.draft.keys.insert(0, ("jq", quoted(&program), "the day and the time of day are two members".into()));
    Some(candidate)
}

/// Short arrays whose positions say what their elements are.
fn positions(subject: &Subject<'_>, documents: &[Document<'_>]) -> Option<Candidate> {
    let lists: Option<Vec<&Vec<Json>>> = documents.iter().map(|document| document.json.as_array()).collect();
    let lists = lists.filter(|lists| !lists.is_empty())?;
    let length = lists.first()?.len();
    let is_single = |value: &Json| !value.is_array() && !value.is_object();
    let is_even = lists.iter().all(|list| list.len() == length && list.iter().all(is_single));
    if !is_even || !(2..=MAX_POSITIONS).contains(&length) {
        return None;
    }
    // The arrays' elements as they are once the program has named them.
    let name = |at: usize| format!("value{}", at + 1);
    let objects: Vec<Json> = lists
        .iter()
        .map(|list| list.iter().enumerate().map(|(at, value)| (name(at), value.clone())).collect())
        .collect();
    let made: Vec<Document<'_>> =
        documents.iter().zip(&objects).map(|(document, json)| Document { json, ..document.clone() }).collect();
    let rows = Rows::of(&made, &Layout::default());
    let (mut time, said) = time_of(&rows, subject.zone);
    let is_mixed = lists.iter().any(|list| list.iter().any(Json::is_string) && list.iter().any(Json::is_number));
    if time.is_none() && !is_mixed {
        return None;
    }
    let named = named(&subject.group.levels, &BTreeMap::new(), &BTreeSet::new());
    let mut draft = begin(subject, &named);
    let column =
        |at: usize| if time.as_ref().is_some_and(|time| time.path == name(at)) { "time".into() } else { name(at) };
    let members: Vec<String> = (0..length).map(|at| format!("{}: .[{at}]", column(at))).collect();
    draft.set(
        "jq",
        quoted(&format!("{{{}}}", members.join(", "))),
        "an array whose positions say what it holds: give them names",
    );
    if let Some(time) = &mut time {
        time.path = "time".into();
        set_time(&mut draft, time, None);
    }
    Some(Candidate { draft, time: said, collides: false, ..Candidate::default() })
}

fn candidate(subject: &Subject<'_>, documents: &[Document<'_>], layout: &Layout, with: With) -> Option<Candidate> {
    let rows = Rows::of(documents, layout);
    if rows.all.is_empty() {
        return (*layout == Layout::default()).then(|| bare(subject));
    }
    let levels = levels(subject);
    let flat = if layout.steps.is_empty() { None } else { Some(Rows::of(documents, &Layout::default())) };
    let by_level = columns::named_levels(flat.as_ref().unwrap_or(&rows), &levels);
    let inside: BTreeSet<String> = rows.members.keys().map(|path| column(path)).collect();
    let mut named = named(&subject.group.levels, &by_level, &inside);
    let is_bare = rows.members.contains_key("");
    let (mut time, mut said) = if with.time { time_of(&rows, subject.zone) } else { (None, None) };
    let step = time.as_ref().filter(|_| is_bare).map(|time| step(&rows, time));
    if step == Some(None) {
        // Samples that share a time would be one row.
        (time, said) = (None, None);
    }
    let is_varying = |level: &Level| matches!(level, Level::Varies(_) | Level::Fixed(_));
    let varying = subject.group.levels.iter().enumerate().filter(|(_, level)| is_varying(level));
    let varying = varying.map(|(at, _)| at).collect();
    let mut known =
        Known { levels, varying, has_keys: layout.has_keys(), is_zipped: !layout.zip.is_empty(), ..Known::default() };
    known.taken.extend(layout.pair.iter().flat_map(|(name, value)| [name.clone(), value.clone()]));
    let mut symbols = columns::symbols(&rows, &known, time.as_ref().map(|time| time.path.as_str()));
    if !with.symbols {
        symbols = Symbols { collides: symbols.collides, ..Symbols::default() };
    }
    // A unit or a quality beside a name and its value would part the row.
    symbols.paths.retain(|path| layout.pair.is_none() || is_outside(path));
    symbols
        .paths
        .retain(|path| !path.is_empty() && !named.names.iter().any(|name| name.eq_ignore_ascii_case(&column(path))));
    symbols.collides &= !is_bare;
    let mut draft = begin(subject, &named);
    describe(&mut draft, layout, is_bare);
    if let Some(time) = &time {
        set_time(&mut draft, time, step.flatten().as_deref());
    }
    name_positions(&mut draft, &rows, time.as_ref());
    if !symbols.paths.is_empty() {
        draft.set("symbols", list(&symbols.paths), "they say whose a reading is");
    }
    if layout.has_keys() {
        let key = key_name(layout, &named, &inside);
        let mut tags = std::mem::take(&mut named.tags);
        tags.push((key, "{key}".into()));
        set_key_tags(&mut draft, &tags);
    }
    if with.types {
        types(&mut draft, &rows, layout, &symbols, time.as_ref());
    }
    if symbols.collides && layout.steps.is_empty() && time.is_some() {
        let why = "nothing tells the rows of a message apart, so none may replace another";
        draft.set("same_time", quoted("keep"), why);
        symbols.collides = false;
    }
    around(&mut draft, &rows, layout, &symbols, time.as_ref());
    Some(Candidate { draft, time: said, collides: symbols.collides, ..Candidate::default() })
}

/// A source that says nothing but topic and table.
fn bare(subject: &Subject<'_>) -> Candidate {
    let named = named(&subject.group.levels, &BTreeMap::new(), &BTreeSet::new());
    Candidate { draft: begin(subject, &named), time: None, collides: false, ..Candidate::default() }
}

/// Where the rows stand.
fn describe(draft: &mut Draft, layout: &Layout, is_bare: bool) {
    if let Some(rows) = layout.rows() {
        draft.set("rows", quoted(&rows), "");
    }
    if !layout.zip.is_empty() {
        draft.set("zip", list(&layout.zip), "arrays side by side");
    }
    if let Some((name, value)) = &layout.pair {
        draft.set("name", quoted(name), "each element is one field: its name and its value");
        draft.set("value", quoted(value), "");
    }
    let last = layout.steps.iter().rev().find_map(|step| if let Step::Name(name) = step { Some(name) } else { None });
    if let Some(name) = last.filter(|name| is_bare && is_field_name(name)) {
        draft.set("field", quoted(name), "");
    }
}

/// Names for the elements of rows that are arrays.
fn name_positions(draft: &mut Draft, rows: &Rows, time: Option<&Time>) {
    let is_number = |path: &String| !path.is_empty() && path.bytes().all(|byte| byte.is_ascii_digit());
    let inside = || rows.members.keys().filter(|path| !is_outside(path));
    if inside().count() == 0 || !inside().all(is_number) {
        return;
    }
    let named = inside().filter(|path| time.is_none_or(|time| time.path != **path));
    let entries: Vec<(String, String)> =
        named.map(|path| (path.clone(), quoted(&format!("value{path}")))).take(MAX_POSITIONS).collect();
    if !entries.is_empty() {
        draft.set("rename", table(&entries), "elements by their position");
    }
}

/// What the names that `*` meets are called.
fn key_name(layout: &Layout, named: &Named, columns: &BTreeSet<String>) -> String {
    let at = layout.steps.iter().position(|step| *step == Step::Members).unwrap_or(0);
    let above = at.checked_sub(1).and_then(|at| layout.steps.get(at));
    let one = match above {
        Some(Step::Name(name)) => one_of(name),
        _ => None,
    };
    let mut taken: BTreeSet<String> =
        columns.iter().cloned().chain(named.names.iter().map(|name| name.to_lowercase())).collect();
    placeholders::unique(&one.map_or_else(|| "item".to_owned(), |one| sanitized(&one)), &mut taken)
}

fn set_key_tags(draft: &mut Draft, tags: &[(String, String)]) {
    set_tags(draft, &[], "");
    draft.keys.retain(|(key, ..)| *key != "tags");
    let entries: Vec<(String, String)> = tags.iter().map(|(name, value)| (name.clone(), quoted(value))).collect();
    draft.set("tags", table(&entries), "{key} is the member's name");
}

/// Types of fields, and words for no value.
fn types(draft: &mut Draft, rows: &Rows, layout: &Layout, symbols: &Symbols, time: Option<&Time>) {
    let mut kinds = BTreeMap::new();
    let mut nulls = BTreeSet::new();
    if let Some((name, value)) = &layout.pair {
        for (field, values) in by_pair(rows, name, value) {
            kinds.extend(columns::kind(&values, &field, false).map(|kind| (field.clone(), kind)));
            nulls.extend(columns::nulls(&values));
        }
    } else {
        for path in rows.members.keys().filter(|path| !path.is_empty() && !is_outside(path)) {
            let is_other = symbols.paths.contains(path)
                || symbols.repeats.contains(path)
                || time.is_some_and(|time| time.path == *path);
            if is_other {
                continue;
            }
            let values: Vec<&Json> = rows.values(path).map(|(_, value)| value).collect();
            let is_always = values.len() == rows.all.len();
            kinds.extend(columns::kind(&values, path, is_always).map(|kind| (path.clone(), kind)));
            nulls.extend(columns::nulls(&values));
        }
    }
    set_fields(draft, &kinds);
    set_nulls(draft, &nulls);
}

/// The values of a list of names and values, by name.
fn by_pair<'r>(rows: &'r Rows, name: &str, value: &str) -> BTreeMap<String, Vec<&'r Json>> {
    let seen = |path: &str| rows.members.get(path).map_or(&[][..], Vec::as_slice);
    let names: BTreeMap<usize, &str> =
        seen(name).iter().filter_map(|seen| Some((seen.row, seen.value.as_str()?))).collect();
    let mut by_name: BTreeMap<String, Vec<&Json>> = BTreeMap::new();
    for seen in seen(value) {
        if let Some(name) = names.get(&seen.row) {
            by_name.entry((*name).to_owned()).or_default().push(&seen.value);
        }
    }
    by_name
}

/// What stands around the rows, and what is left out.
fn around(draft: &mut Draft, rows: &Rows, layout: &Layout, symbols: &Symbols, time: Option<&Time>) {
    let is_used =
        |path: &str| symbols.paths.iter().any(|symbol| symbol == path) || time.is_some_and(|time| time.path == path);
    let inside: BTreeSet<String> =
        rows.members.keys().filter(|path| !is_outside(path)).map(|path| column(path)).collect();
    let is_beside = |path: &&String| is_outside(path) && !layout.steps.is_empty() && !is_used(path);
    let outside: Vec<&String> = rows.members.keys().filter(is_beside).collect();
    let mut only = Vec::new();
    for path in &outside {
        let is_measured = rows.values(path).any(|(_, value)| value.is_number()) && !rows.tells_time(path);
        let is_free = !inside.contains(&column(path)) && !words::is_identity(path);
        if is_measured && is_free && layout.pair.is_none() && !layout.has_keys() {
            only.push((*path).clone());
        }
    }
    let mut left: Vec<&str> =
        outside.iter().map(|path| path.as_str()).filter(|path| !only.iter().any(|own| own == path)).collect();
    if !only.is_empty() {
        only.insert(0, "*".into());
        draft.set("only", list(&only), "all of the row, and what stands beside the rows");
    }
    let mut ignore: Vec<String> = rows.strays.iter().filter(|path| !is_used(path)).cloned().collect();
    // A member of a placeholder's own name gives way to it by itself.
    let is_placeholder = |path: &str| draft.topics.iter().any(|topic| topic.contains(&format!("{{{}}}", column(path))));
    let repeats = symbols.repeats.iter().filter(|path| !is_outside(path) && !is_placeholder(path));
    ignore.extend(repeats.cloned());
    if !ignore.is_empty() {
        let more = beyond(ignore.len(), MAX_IGNORED);
        ignore.truncate(MAX_IGNORED);
        draft.set("ignore", list(&ignore), format!("it is said elsewhere already, or it is no row{more}"));
    }
    left.retain(|path| !ignore.iter().any(|own| own == path) && !symbols.repeats.iter().any(|own| own == path));
    if !left.is_empty() {
        draft.comments.push(format!("Left out beside the rows: {}.", some(&left, MAX_NAMED, NAME_CHARS)));
    }
    let constants: Vec<&str> = symbols.constants.iter().map(String::as_str).filter(|path| !is_used(path)).collect();
    if !constants.is_empty() && layout.steps.is_empty() {
        let what = format!(
            "Never changed while forebay listened: {}; leave out with `ignore` what says nothing.",
            some(&constants, MAX_NAMED, NAME_CHARS)
        );
        draft.comments.push(what);
    }
}

/// The time between two samples of a block, where the blocks that followed each other tell it.
fn step(rows: &Rows, time: &Time) -> Option<String> {
    let per_unit = match time.unit.as_deref() {
        Some("s") => 1e9,
        Some("ms") => 1e6,
        Some("us") => 1e3,
        Some("ns") => 1.0,
        _ => return None,
    };
    let mut blocks: BTreeMap<(usize, usize), (f64, usize)> = BTreeMap::new();
    for (row, value) in rows.values(&time.path) {
        let number = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
        let block = blocks.entry((row.topic, row.message)).or_insert((number * per_unit, 0));
        block.1 += 1;
    }
    let blocks: Vec<((usize, usize), (f64, usize))> = blocks.into_iter().collect();
    let mut steps = Vec::new();
    for pair in blocks.windows(2) {
        if let [((topic, _), (from, count)), ((other, _), (to, _))] = pair
            && topic == other
            && to > from
        {
            steps.push((to - from) / *count as f64);
        }
    }
    let first = steps.iter().copied().reduce(f64::min)?;
    // A block that was not heard makes a step look longer.
    let is_even = steps.iter().all(|step| (step / first - (step / first).round()).abs() < 0.05);
    let nanos = (first / 1e3).round() as u64;
    (is_even && nanos > 0)
        .then(|| if nanos.is_multiple_of(1_000) { format!("{}ms", nanos / 1_000) } else { format!("{nanos}us") })
}
