//! Where the rows of documents may stand. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::{
    members::{Document, Layout, Rows, Step},
    shape, words,
};

/// Deepest place of rows.
const MAX_DEPTH: usize = 4;
/// Most places that are looked at.
const MAX_PLACES: usize = 64;
/// Most names that become columns by a list of names and values.
const MAX_NAMES: usize = 100;
/// Longest array of numbers whose elements become columns.
const MAX_COLUMNS: usize = 16;

/// The layouts to try, the most telling one first; the document as it stands comes last.
#[must_use]
pub fn candidates(documents: &[Document<'_>]) -> Vec<Layout> {
    let mut found = Places::default();
    for document in documents {
        match document.json {
            Json::Array(list) => found.array(list, &[Step::Elements], 0),
            json => found.object(json, &[], 0),
        }
    }
    let is_array = documents.iter().any(|document| document.json.is_array());
    let mut layouts: Vec<(u32, Layout)> = Vec::new();
    for (key, place) in found.0 {
        layouts.extend(place.layouts(&key, documents));
    }
    layouts.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    let mut layouts: Vec<Layout> = layouts.into_iter().map(|(_, layout)| layout).collect();
    if is_array && documents.iter().all(|document| holds_bare_values(document.json)) {
        layouts.insert(0, Layout { steps: vec![Step::Elements], ..Layout::default() });
    }
    layouts.push(Layout::default());
    layouts.dedup();
    layouts
}

/// Whether a document is an array of what has no names.
fn holds_bare_values(json: &Json) -> bool {
    json.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(|element| !element.is_object()))
}

/// Places of arrays of objects, of objects by key, and of arrays side by side.
#[derive(Default)]
struct Places(BTreeMap<String, Place>);

#[derive(Clone, Default)]
struct Place {
    steps: Vec<Step>,
    what: What,
    /// How many elements there are in a message at most.
    most: usize,
    /// The numbers of elements that there were.
    counts: BTreeSet<usize>,
    /// Names that were met.
    names: BTreeSet<String>,
    /// Documents in which it is.
    seen: usize,
    /// Arrays that stand side by side in all of them.
    side_by_side: Option<BTreeSet<String>>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum What {
    #[default]
    Elements,
    Members,
    Zip,
    Samples,
}

impl Places {
    fn place(&mut self, steps: &[Step], what: What, count: usize) -> Option<&mut Place> {
        let layout = Layout { steps: steps.to_vec(), ..Layout::default() };
        let key = format!("{}{}", layout.rows().unwrap_or_default(), if what == What::Zip { " zip" } else { "" });
        if self.0.len() >= MAX_PLACES && !self.0.contains_key(&key) {
            return None;
        }
        let place = self.0.entry(key).or_default();
        (place.steps, place.what) = (steps.to_vec(), what);
        place.most = place.most.max(count);
        place.counts.insert(count);
        place.seen += 1;
        Some(place)
    }

    fn array(&mut self, list: &[Json], steps: &[Step], depth: usize) {
        if !list.is_empty() && list.iter().all(Json::is_object) {
            // A document's own array needs no word.
            if steps != [Step::Elements] {
                self.place(steps, What::Elements, list.len());
            } else if let Some(place) = self.place(steps, What::Elements, list.len()) {
                place.names.insert(String::new());
            }
            for element in list {
                self.within(element, steps, depth + 1);
            }
        } else if list.len() > 1 && list.iter().all(Json::is_number) {
            self.place(steps, What::Samples, list.len());
        }
    }

    /// What is in each element.
    fn within(&mut self, element: &Json, steps: &[Step], depth: usize) {
        let Json::Object(members) = element else { return };
        for (name, member) in members {
            if depth > MAX_DEPTH || !is_a_step(name) {
                continue;
            }
            let is_list = member.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(Json::is_object));
            if let Some(list) = member.as_array().filter(|_| is_list) {
                self.array(list, &[steps, &[Step::Name(name.clone()), Step::Elements]].concat(), depth + 1);
            }
            if shape::is_keyed(member) {
                self.object(member, &[steps, &[Step::Name(name.clone())]].concat(), depth + 1);
            }
        }
    }

    fn object(&mut self, node: &Json, steps: &[Step], depth: usize) {
        let Json::Object(members) = node else { return };
        if depth > MAX_DEPTH {
            return;
        }
        self.side_by_side(node, steps);
        let objects: Vec<(&String, &Json)> = members.iter().filter(|(_, member)| member.is_object()).collect();
        let lists: Vec<(&String, &Vec<Json>)> =
            members.iter().filter_map(|(name, member)| Some((name, member.as_array()?))).collect();
        let inner: Json = objects.iter().map(|(name, member)| ((*name).clone(), (*member).clone())).collect();
        if shape::is_keyed(&inner) || objects.len() + lists.len() > 0 && self.are_keyed(&objects, steps) {
            let steps = [steps, &[Step::Members]].concat();
            if let Some(place) = self.place(&steps, What::Members, objects.len()) {
                place.names.extend(objects.iter().map(|(name, _)| (*name).clone()));
            }
        }
        let is_list_of_objects = |list: &Vec<Json>| !list.is_empty() && list.iter().all(Json::is_object);
        let named = lists.iter().filter(|(_, list)| is_list_of_objects(list)).count();
        let is_all_lists = lists.len() == members.len() && named > 0;
        if is_all_lists && (named > 1 || lists.iter().all(|(name, _)| is_a_key(name))) {
            let steps = [steps, &[Step::Members, Step::Elements]].concat();
            if let Some(place) = self.place(&steps, What::Elements, lists.iter().map(|(_, list)| list.len()).sum()) {
                place.names.extend(lists.iter().map(|(name, _)| (*name).clone()));
            }
            self.values_within(&lists, &steps);
        }
        for (name, list) in lists.iter().filter(|(name, _)| is_a_step(name)) {
            self.array(list, &[steps, &[Step::Name((*name).clone()), Step::Elements]].concat(), depth + 1);
        }
        for (name, member) in objects.iter().filter(|(name, _)| is_a_step(name)) {
            self.object(member, &[steps, &[Step::Name((*name).clone())]].concat(), depth + 1);
        }
    }

    /// Elements that are a time and an object with all else: the rows are in that object.
    fn values_within(&mut self, lists: &[(&String, &Vec<Json>)], steps: &[Step]) {
        let elements = || lists.iter().flat_map(|(_, list)| list.iter()).filter_map(Json::as_object);
        let Some(first) = elements().next() else { return };
        let Some((name, _)) = first.iter().find(|(_, member)| member.is_object()) else { return };
        let is_so = |element: &serde_json::Map<String, Json>| {
            element
                .iter()
                .all(|(own, member)| if own == name { member.is_object() } else { words::time_rank(own).is_some() })
        };
        if elements().all(is_so) && is_a_step(name) {
            let steps = [steps, &[Step::Name(name.clone())]].concat();
            let count = elements().count();
            if let Some(place) = self.place(&steps, What::Members, count) {
                place.names.extend(lists.iter().map(|(name, _)| (*name).clone()));
            }
        }
    }

    /// Whether one or two objects stand under names that look given, as `switch:0` does.
    fn are_keyed(&self, objects: &[(&String, &Json)], steps: &[Step]) -> bool {
        let steps = [steps, &[Step::Members]].concat();
        let layout = Layout { steps, ..Layout::default() };
        let is_known = self.0.contains_key(&layout.rows().unwrap_or_default());
        let names: Vec<BTreeSet<&String>> =
            objects.iter().filter_map(|(_, member)| Some(member.as_object()?.keys().collect())).collect();
        let is_own_name = |(name, member): &(&String, &Json)| {
            let of = |(key, value): (&String, &Json)| words::is_identity(key) && value.as_str() == Some(name.as_str());
            member.as_object().is_some_and(|members| members.iter().any(of))
        };
        if objects.len() > 1 && objects.iter().all(is_own_name) {
            return true;
        }
        let are_alike = names.windows(2).all(|pair| matches!(pair, [one, other] if one == other));
        !objects.is_empty() && are_alike && (is_known || objects.iter().all(|(name, _)| is_a_key(name)))
    }

    fn side_by_side(&mut self, node: &Json, steps: &[Step]) {
        let Json::Object(members) = node else { return };
        let is_flat =
            |list: &&Vec<Json>| list.len() > 1 && list.iter().all(|value| !value.is_array() && !value.is_object());
        let lists: Vec<(&String, &Vec<Json>)> =
            members.iter().filter_map(|(name, member)| Some((name, member.as_array().filter(is_flat)?))).collect();
        let mut by_length: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        for (name, list) in &lists {
            by_length.entry(list.len()).or_default().insert((*name).clone());
        }
        let Some((length, names)) = by_length.into_iter().max_by_key(|(_, names)| names.len()) else { return };
        if names.len() < 2 {
            return;
        }
        if let Some(place) = self.place(steps, What::Zip, length) {
            place.side_by_side = Some(match place.side_by_side.take() {
                None => names,
                Some(known) => known.intersection(&names).cloned().collect(),
            });
        }
    }
}

/// Whether a name can stand in `rows`.
fn is_a_step(name: &str) -> bool {
    !name.is_empty() && !name.contains(['.', '[', ']', '*']) && name != "$" && name != "^"
}

/// Whether the name of a member looks like one that was given to a thing.
fn is_a_key(name: &str) -> bool {
    let has_number = name.bytes().any(|byte| byte.is_ascii_digit());
    words::is_serial(name) || name.contains([':', ' ']) || has_number && !words::is_quantity(name) && name.len() > 3
}

impl Place {
    /// Layouts with rows here, each with how well it fits.
    fn layouts(&self, key: &str, documents: &[Document<'_>]) -> Vec<(u32, Layout)> {
        let plain = Layout { steps: self.steps.clone(), ..Layout::default() };
        let last = self.steps.iter().rev().find_map(|step| if let Step::Name(name) = step { Some(name) } else { None });
        if last.is_some_and(|name| words::is_receivers(name)) {
            return Vec::new();
        }
        match self.what {
            What::Zip => self.zip().into_iter().collect(),
            What::Samples => self.samples(plain).into_iter().collect(),
            // One name may as well be a part of a column's.
            What::Members if self.steps.last() == Some(&Step::Members) && self.names.len() < 2 => Vec::new(),
            What::Elements | What::Members => {
                let rows = Rows::of(documents, &plain);
                if !self.are_rows(&rows) {
                    return Vec::new();
                }
                let mut layouts = Vec::new();
                if let Some(pair) = pair(&rows).filter(|(name, _)| !is_double(&rows, name)) {
                    layouts.push((40 + self.most.min(9) as u32, Layout { pair: Some(pair), ..plain.clone() }));
                }
                // A document's own array of objects is read as it stands.
                if key != "[]" {
                    let depth = self.steps.len() as u32;
                    layouts.push((20 + self.most.min(9) as u32 + depth, plain));
                }
                layouts
            }
        }
    }

    /// Whether what stands here are readings, and what stands around them is not.
    fn are_rows(&self, rows: &Rows) -> bool {
        let is_number = |path: &String| {
            let mut numbers = rows.values(path).filter(|(_, value)| is_measured(value));
            numbers.next().is_some() && !rows.tells_time(path) && !words::is_link(path)
        };
        let is_reading = |path: &&String| is_number(path) && !words::is_identity(path);
        let inside = rows.members.keys().filter(|path| !super::members::is_outside(path)).filter(is_reading).count();
        let is_number_of = |path: &&String| {
            let last = path.rsplit('.').next().unwrap_or(path).to_lowercase();
            ["version", "seq", "count", "len", "length", "n", "id", "sequence", "sequencenumber"]
                .contains(&last.as_str())
        };
        let outside = rows.members.keys().filter(|path| super::members::is_outside(path));
        let outside = outside.filter(is_reading).filter(|path| !is_number_of(path)).count();
        let texts = || {
            rows.members.iter().any(|(path, seen)| {
                words::is_state(path)
                    && !words::is_identity(path)
                    && seen.iter().any(|seen| seen.value.is_string() || seen.value.is_boolean())
            })
        };
        (inside > 0 || texts()) && (outside == 0 || outside <= 2 && inside * self.most > outside)
    }

    fn zip(&self) -> Option<(u32, Layout)> {
        let names: Vec<String> = self.side_by_side.clone()?.into_iter().collect();
        let has_time = names.iter().any(|name| words::time_rank(name).is_some());
        let is_long = self.counts.len() > 1 || self.most > MAX_COLUMNS;
        let zip = Layout { steps: self.steps.clone(), zip: names.clone(), pair: None };
        (names.len() > 1 && (has_time || is_long)).then_some((60, zip))
    }

    fn samples(&self, plain: Layout) -> Option<(u32, Layout)> {
        let is_long = self.most > MAX_COLUMNS || self.counts.len() > 1 && self.most > 4;
        is_long.then_some((10, plain))
    }
}

fn is_measured(value: &Json) -> bool {
    value.is_number() || value.as_str().is_some_and(words::is_numeric)
}

/// The members of rows that are a name and a value, where they have no other readings.
fn pair(rows: &Rows) -> Option<(String, String)> {
    let inside: Vec<&String> = rows.members.keys().filter(|path| !super::members::is_outside(path)).collect();
    let is = |path: &&&String, names: &[&str]| names.contains(&path.to_lowercase().as_str());
    let value = inside.iter().find(|path| is(path, &["value", "v", "val", "reading", "wert"]))?;
    let names = [
        "id",
        "name",
        "n",
        "key",
        "tag",
        "parameter",
        "param",
        "variable",
        "var",
        "metric",
        "measurement",
        "field",
        "label",
        "type",
        "quantity",
        "property",
        "code",
        "kind",
        "signal",
        "tagname",
        "datapoint",
        "dp",
    ];
    let name = names.iter().find_map(|name| inside.iter().find(|path| path.eq_ignore_ascii_case(name)))?;
    let texts: BTreeSet<&str> = rows.values(name).filter_map(|(_, value)| value.as_str()).collect();
    let is_all_text = rows.values(name).all(|(_, value)| value.is_string());
    let beside = |path: &&&String| {
        let is_told = *path == name || *path == value || rows.tells_time(path);
        let words = ["q", "quality", "unit", "units", "u", "good", "status", "datatype", "type", "error", "bu"];
        !is_told && !words.contains(&path.to_lowercase().as_str())
    };
    let is_alone = !inside.iter().any(|path| beside(&path));
    let is_mixed = {
        let kinds: BTreeSet<u8> = rows.values(value).map(|(_, value)| kind(value)).filter(|kind| *kind > 0).collect();
        kinds.len() > 1
    };
    let quantities = texts.iter().filter(|text| words::is_quantity(text)).count();
    let is_names = is_mixed || quantities * 2 >= texts.len();
    let is_wide = texts.len() > 1 && texts.len() <= MAX_NAMES && texts.iter().all(|text| text.len() <= 120);
    (is_all_text && is_alone && is_names && is_wide).then(|| ((*name).clone(), (*value).clone()))
}

/// Whether a name comes twice in one message. Of two rows of one name each has to have its own
/// time.
fn is_double(rows: &Rows, name: &str) -> bool {
    let times: Vec<&String> =
        rows.members.keys().filter(|path| !super::members::is_outside(path) && rows.tells_time(path)).collect();
    let mut rows_of: BTreeMap<usize, String> = BTreeMap::new();
    for path in std::iter::once(name).chain(times.iter().map(|path| path.as_str())) {
        for seen in rows.members.get(path).into_iter().flatten() {
            let told = rows_of.entry(seen.row).or_default();
            told.extend([path, "=", &seen.value.to_string(), "\n"]);
        }
    }
    let mut met = BTreeSet::new();
    rows_of
        .into_iter()
        .any(|(row, told)| rows.all.get(row).is_some_and(|of| !met.insert((of.message, of.keys.clone(), told))))
}

/// Whether documents hold a list of names and values in which a name comes twice.
pub fn has_double_names(documents: &[Document<'_>]) -> bool {
    let mut found = Places::default();
    for document in documents {
        match document.json {
            Json::Array(list) => found.array(list, &[Step::Elements], 0),
            json => found.object(json, &[], 0),
        }
    }
    found.0.into_values().filter(|place| place.what == What::Elements).any(|place| {
        let rows = Rows::of(documents, &Layout { steps: place.steps, ..Layout::default() });
        pair(&rows).is_some_and(|(name, _)| is_double(&rows, &name))
    })
}

fn kind(value: &Json) -> u8 {
    match value {
        Json::Number(_) => 1,
        Json::Bool(_) => 2,
        Json::String(_) => 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::Timestamp;

    /// The `rows` keys of the candidates for a document, with what else they have.
    fn told(payloads: &[&str]) -> Vec<String> {
        let all: Vec<Json> = payloads.iter().map(|payload| serde_json::from_str(payload).expect("json")).collect();
        let documents: Vec<Document<'_>> =
            all.iter().map(|json| Document { topic: 0, json, received: Timestamp(0), is_live: true }).collect();
        let word = |layout: &Layout| {
            let zip = if layout.zip.is_empty() { String::new() } else { format!(" zip {}", layout.zip.join(" ")) };
            let pair = layout.pair.as_ref().map_or(String::new(), |(name, value)| format!(" {name}={value}"));
            format!("{}{zip}{pair}", layout.rows().unwrap_or_default())
        };
        candidates(&documents).iter().map(word).collect()
    }

    #[test]
    fn rows_are_looked_for_where_readings_repeat() {
        for (payload, expected) in [
            (r#"{"ts":1,"temp":2}"#, &[""][..]),
            (r#"{"ts":1772366400,"values":[{"id":"a","t":1},{"id":"b","t":2}]}"#, &["values[]", ""]),
            (r#"{"temp":1,"hum":2,"x":4,"gws":[{"id":"a","rssi":1}]}"#, &[""]),
            (r#"{"ts":1772366400,"s":{"a1":{"t":1},"a2":{"t":1},"a3":{"t":2}}}"#, &["s.*", ""]),
            (r#"{"Dev A":[{"ts":1772366400,"values":{"temp":1}}]}"#, &["*[].values", "*[]", "Dev A[]", ""]),
            (r#"{"time":[1,2],"t":[3,4]}"#, &[" zip t time", ""]),
            (r#"[{"n":"temp","v":1},{"n":"door","v":true}]"#, &["[] n=v", ""]),
            (r#"[{"id":"a","t":1},{"id":"b","t":2}]"#, &[""]),
            ("[1.5,2.5]", &["[]", ""]),
        ] {
            assert_eq!(told(&[payload]), expected, "{payload}");
        }
    }
}
