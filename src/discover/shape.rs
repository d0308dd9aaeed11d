//! What the messages of a topic look like, and which topics look alike. Pure.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
};

use serde_json::Value as Json;

use super::{
    notes::Topic,
    payload::{Kind, Read, read},
    words,
};

/// Most paths of a topic that are compared.
const MAX_PATHS: usize = 500;
/// Deepest nesting that is looked into.
const MAX_DEPTH: usize = 8;
/// Topics of a class that others are compared with.
const MAX_COMPARED: usize = 24;
/// Objects of one shape that stand beside each other before their names are no part of the shape.
pub const LEAST_ALIKE: usize = 3;

/// Which topics may stand in one table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// One value each.
    Plain,
    /// A document of one value each, the member of that name, and perhaps a time.
    Wrapped(String, Option<String>),
    /// Documents of that number of shape.
    Documents(usize),
    /// Line protocol.
    Line,
    /// Cells.
    Csv(char, usize),
}

impl Class {
    /// Whether each topic is one value.
    pub fn is_single(&self) -> bool {
        matches!(self, Self::Plain | Self::Wrapped(..))
    }
}

/// What a topic's messages look like.
#[derive(Debug, Clone)]
pub struct Shape {
    /// What most of them are.
    pub kind: Kind,
    /// How they are packed.
    pub packed: Option<&'static str>,
    /// The paths of their members.
    pub paths: BTreeSet<String>,
    /// What tells it from other shapes.
    telling: Vec<u64>,
    /// The one value of a document, and its time.
    pub wrapped: Option<(String, Option<String>)>,
    /// Cells of a line.
    pub cells: usize,
    /// The first message as text.
    pub sample: String,
}

/// The messages of a topic that are kept, and what each is.
pub fn reads(name: &str, topic: &Topic) -> Vec<Read> {
    topic.kept.iter().map(|kept| read(name, &kept.payload)).collect()
}

impl Shape {
    /// Of a topic whose messages are read; none where none is kept.
    pub fn of(reads: &[Read]) -> Option<Self> {
        let kind = leading(reads)?;
        let of_kind = || reads.iter().filter(|read| same_sort(&read.kind, &kind));
        let (mut paths, mut measured) = (BTreeSet::new(), BTreeSet::new());
        for read in of_kind() {
            if let Some(document) = &read.document {
                collect(document, "", 0, &mut paths, &mut measured);
            }
        }
        let documents: Vec<&Json> = of_kind().filter_map(|read| read.document.as_ref()).collect();
        let cells = |delimiter: char| of_kind().map(|read| cells(&read.text, delimiter)).max().unwrap_or(0);
        Some(Self {
            packed: of_kind().find_map(|read| read.packed),
            wrapped: if kind == Kind::Json { wrapped(&documents) } else { None },
            cells: if let Kind::Csv(delimiter) = kind { cells(delimiter) } else { 0 },
            sample: of_kind().next_back().map(|read| read.text.clone()).unwrap_or_default(),
            telling: telling(&measured, &paths),
            kind,
            paths,
        })
    }

    /// Whether it is a plain word or boolean, and no number.
    pub fn is_word(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Switch | Kind::Boolean)
    }

    fn is_like(&self, other: &Self) -> bool {
        let (one, two) = (&self.telling, &other.telling);
        let both = shared(one, two);
        let (small, all) = (one.len().min(two.len()), one.len() + two.len() - both);
        one == two || both > 0 && (both * 2 >= all || both == small || both >= 2 && both * 5 >= small * 4)
    }
}

/// What tells a shape from others: its paths without those that any device may have. Each is a
/// hash, and they are sorted, so that many shapes are compared in no time.
fn telling(measured: &BTreeSet<String>, paths: &BTreeSet<String>) -> Vec<u64> {
    let is_common = |path: &&String| words::is_identity(path) || words::is_link(path);
    let is_time = |path: &&String| words::time_rank(path).is_some();
    let values: Vec<&String> = measured.iter().filter(|path| !is_common(path)).collect();
    let others: Vec<&String> = paths.iter().filter(|path| !is_common(path) && !is_time(path)).collect();
    let found = [values, others].into_iter().find(|found| !found.is_empty());
    let hash = |path: &String| {
        let mut hasher = std::hash::DefaultHasher::new();
        path.hash(&mut hasher);
        hasher.finish()
    };
    let mut hashes: Vec<u64> = found.unwrap_or_else(|| paths.iter().collect()).into_iter().map(hash).collect();
    hashes.sort_unstable();
    hashes
}

/// How many numbers two sorted lists have in common.
fn shared(one: &[u64], other: &[u64]) -> usize {
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    let mut count = 0;
    while let (Some(a), Some(b)) = (one.peek(), other.peek()) {
        match a.cmp(b) {
            Ordering::Less => drop(one.next()),
            Ordering::Greater => drop(other.next()),
            Ordering::Equal => {
                count += 1;
                one.next();
                other.next();
            }
        }
    }
    count
}

fn cells(text: &str, delimiter: char) -> usize {
    text.lines().map(|line| line.matches(delimiter).count() + 1).max().unwrap_or(0)
}

/// What most messages are that say something.
fn leading(reads: &[Read]) -> Option<Kind> {
    let mut best: Option<(usize, &Kind)> = None;
    for read in reads {
        let alike = reads.iter().filter(|other| same_sort(&other.kind, &read.kind)).count();
        let weight = if read.kind == Kind::Empty { 0 } else { alike };
        if best.is_none_or(|(most, _)| weight > most) {
            best = Some((weight, &read.kind));
        }
    }
    best.map(|(_, kind)| kind.clone())
}

/// Whether two kinds are of one format.
pub fn same_sort(one: &Kind, other: &Kind) -> bool {
    one == other || one.is_plain() && other.is_plain()
}

/// The one member of documents that is a value, and the one that is a time, where they have no
/// others.
fn wrapped(documents: &[&Json]) -> Option<(String, Option<String>)> {
    let first = documents.first()?.as_object()?;
    let is_value = |name: &str| matches!(name.to_lowercase().as_str(), "value" | "val" | "v");
    let value = first.keys().find(|name| is_value(name))?;
    let mut time = None;
    for document in documents {
        for (name, member) in document.as_object()? {
            let is_single = !member.is_object() && member.as_array().is_none_or(Vec::is_empty);
            if name == value && is_single {
                continue;
            }
            if words::time_rank(name) != Some(0) || !is_single || time.as_ref().is_some_and(|known| known != name) {
                return None;
            }
            time = Some(name.clone());
        }
    }
    Some((value.clone(), time))
}

/// Whether the members of an object are objects that look alike, so that their names are no
/// columns.
pub fn is_keyed(node: &Json) -> bool {
    let Some(members) = node.as_object().filter(|members| members.len() >= LEAST_ALIKE) else { return false };
    let mut names: Vec<BTreeSet<&str>> = Vec::new();
    for member in members.values() {
        match member {
            Json::Object(inner) if !inner.is_empty() => names.push(inner.keys().map(String::as_str).collect()),
            _ => return false,
        }
    }
    let Some(first) = names.first() else { return false };
    names.iter().all(|own| own.intersection(first).count() * 2 >= own.union(first).count())
}

/// A name without the number at its end.
fn numberless(name: &str) -> String {
    let base = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if base.len() == name.len() || base.is_empty() { name.to_owned() } else { format!("{base}#") }
}

fn collect(node: &Json, path: &str, depth: usize, paths: &mut BTreeSet<String>, measured: &mut BTreeSet<String>) {
    if paths.len() >= MAX_PATHS || depth > MAX_DEPTH {
        return;
    }
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match node {
        Json::Object(members) if is_keyed(node) => {
            members.values().for_each(|member| collect(member, &below("*"), depth + 1, paths, measured));
        }
        Json::Object(members) => {
            members
                .iter()
                .for_each(|(name, member)| collect(member, &below(&numberless(name)), depth + 1, paths, measured));
        }
        Json::Array(list) => list.iter().for_each(|element| collect(element, &below("[]"), depth + 1, paths, measured)),
        value => {
            paths.insert(path.to_owned());
            if is_measured(path, value) {
                measured.insert(path.to_owned());
            }
        }
    }
}

/// Whether a value is a number or a boolean, and no time.
fn is_measured(path: &str, value: &Json) -> bool {
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
    let is_time = words::time_rank(path).is_some() && number.is_none_or(|number| number >= 9e8);
    !is_time && (value.is_number() || value.is_boolean() || value.as_str().is_some_and(words::is_numeric))
}

/// The class of each shape, in their order; none for what is no reading.
pub fn classes(shapes: &[Option<&Shape>]) -> Vec<Option<Class>> {
    let mut known: Vec<Vec<&Shape>> = Vec::new();
    let is_document = |shape: &&Shape| shape.kind == Kind::Json;
    let numbers: Vec<Option<usize>> =
        shapes.iter().map(|shape| shape.filter(is_document).map(|shape| number(shape, &mut known))).collect();
    // Where all documents of a class are one value each, their topics may say what is measured.
    let mut wrapped: BTreeMap<usize, Option<(String, Option<String>)>> = BTreeMap::new();
    for (shape, number) in shapes.iter().zip(&numbers) {
        if let (Some(shape), Some(number)) = (shape, number) {
            let of = wrapped.entry(*number).or_insert_with(|| shape.wrapped.clone());
            if *of != shape.wrapped {
                *of = None;
            }
        }
    }
    let class = |(shape, number): (Option<&Shape>, Option<usize>)| match (&shape?.kind, number) {
        (kind, _) if kind.is_plain() => Some(Class::Plain),
        (Kind::Line, _) => Some(Class::Line),
        (Kind::Csv(delimiter), _) => Some(Class::Csv(*delimiter, shape?.cells)),
        (Kind::Json, Some(number)) => Some(match wrapped.get(&number) {
            Some(Some((value, time))) => Class::Wrapped(value.clone(), time.clone()),
            _ => Class::Documents(number),
        }),
        _ => None,
    };
    shapes.iter().copied().zip(numbers).map(class).collect()
}

/// The number of the class whose shapes are like this one.
fn number<'a>(shape: &'a Shape, known: &mut Vec<Vec<&'a Shape>>) -> usize {
    let Some(at) = known.iter().position(|class| class.iter().any(|other| other.is_like(shape))) else {
        known.push(vec![shape]);
        return known.len() - 1;
    };
    if let Some(class) = known.get_mut(at).filter(|class| class.len() < MAX_COMPARED) {
        class.push(shape);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(payloads: &[&str]) -> Shape {
        let reads: Vec<Read> = payloads.iter().map(|payload| read("t", payload.as_bytes())).collect();
        Shape::of(&reads).expect("a shape")
    }

    fn all(payloads: &[&str]) -> Vec<Option<Class>> {
        let shapes: Vec<Shape> = payloads.iter().map(|payload| shape(&[payload])).collect();
        classes(&shapes.iter().map(Some).collect::<Vec<_>>())
    }

    #[test]
    fn documents_that_share_most_of_their_members_are_alike() {
        let told = all(&[
            r#"{"ts":1,"temperature":1,"humidity":2}"#,
            r#"{"ts":1,"temperature":1}"#,
            r#"{"ts":1,"power":1}"#,
            r#"{"s1":{"t":1},"s2":{"t":1},"s3":{"t":2}}"#,
            r#"{"a":{"t":1},"b":{"t":1},"c":{"t":2}}"#,
            "21.5",
            "ON",
            r#"{"value":1}"#,
        ]);
        let documents = |n| Some(Class::Documents(n));
        assert_eq!(told[..5], [documents(0), documents(0), documents(1), documents(2), documents(2)]);
        assert_eq!(told[5..], [Some(Class::Plain), Some(Class::Plain), Some(Class::Wrapped("value".into(), None))]);
    }

    #[test]
    fn the_leading_kind_is_that_of_most_messages() {
        assert_eq!(shape(&["", "21.5"]).kind, Kind::Number);
        assert_eq!(shape(&["{\"a\":1}", "{\"a\":2}", "error"]).kind, Kind::Json);
    }
}
