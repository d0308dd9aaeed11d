//! The rows of documents, and their members with all their values. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::words;
use crate::point::Timestamp;

/// Most members of rows that are looked at.
const MAX_MEMBERS: usize = 500;
/// Most values of a member that are looked at.
const MAX_VALUES: usize = 500;
/// Most rows that are looked at.
const MAX_ROWS: usize = 5_000;
/// Deepest nesting that is looked into.
const MAX_DEPTH: usize = 12;

/// A step to where rows stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To a member.
    Name(String),
    /// To each member.
    Members,
    /// To each element.
    Elements,
}

/// Where rows stand in documents, and of what they are made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// The way to the rows; the document itself where there is no step.
    pub steps: Vec<Step>,
    /// Arrays that stand side by side in a row.
    pub zip: Vec<String>,
    /// The member that names a field, and the one that is its value.
    pub pair: Option<(String, String)>,
}

impl Layout {
    /// The `rows` key.
    #[must_use]
    pub fn rows(&self) -> Option<String> {
        let mut rows = String::new();
        for step in &self.steps {
            let dot = if rows.is_empty() { "" } else { "." };
            match step {
                Step::Name(name) => rows.extend([dot, name]),
                Step::Members => rows.extend([dot, "*"]),
                Step::Elements => rows.push_str("[]"),
            }
        }
        (!rows.is_empty()).then_some(rows)
    }

    /// Whether names of members are met on the way.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.steps.contains(&Step::Members)
    }
}

/// A document and whose it is.
#[derive(Debug, Clone)]
pub struct Document<'a> {
    /// The place of its topic in the group.
    pub topic: usize,
    /// What it is.
    pub json: &'a Json,
    /// When it came.
    pub received: Timestamp,
    /// Whether it came while it was listened, and the broker had not kept it.
    pub is_live: bool,
}

/// A value of a member.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The number of its row.
    pub row: usize,
    /// What it is.
    pub value: Json,
}

/// A row.
#[derive(Debug, Clone)]
pub struct RowOf {
    /// The place of its topic in the group.
    pub topic: usize,
    /// The number of its message.
    pub message: usize,
    /// When it came.
    pub received: Timestamp,
    /// Whether it came live.
    pub is_live: bool,
    /// The names that `*` met.
    pub keys: Vec<String>,
}

/// Rows of documents.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// The rows.
    pub all: Vec<RowOf>,
    /// Members, by their paths as keys name them: those outside of the row begin with `$.` or `^.`.
    pub members: BTreeMap<String, Vec<Seen>>,
    /// Single values beside the objects that `*` goes through, as `ignore` names them.
    pub strays: BTreeSet<String>,
    /// Whether there are more members than are looked at.
    pub is_cut: bool,
    /// Messages.
    pub messages: usize,
}

/// Whether a path is outside of its row.
#[must_use]
pub fn is_outside(path: &str) -> bool {
    path.starts_with("$.") || path.starts_with("^.")
}

/// The column of a path, as far as it matters whether two meet.
#[must_use]
pub fn column(path: &str) -> String {
    path.trim_start_matches("$.").trim_start_matches("^.").replace(['.', '-', ':', '/'], "_").to_lowercase()
}

impl Rows {
    /// The rows of documents by a layout.
    #[must_use]
    pub fn of(documents: &[Document<'_>], layout: &Layout) -> Self {
        let mut rows = Self { messages: documents.len(), ..Self::default() };
        for (message, document) in documents.iter().enumerate() {
            let mut walk = Walk { rows: &mut rows, document, message, layout, outer: Vec::new(), keys: Vec::new() };
            match document.json {
                Json::Array(list) if layout.steps.first() != Some(&Step::Elements) => {
                    for element in list {
                        walk.go(element, &layout.steps);
                    }
                }
                top => walk.go(top, &layout.steps),
            }
        }
        rows
    }

    /// The values of a member with their rows.
    pub fn values<'a>(&'a self, path: &str) -> impl Iterator<Item = (&'a RowOf, &'a Json)> {
        let seen = self.members.get(path).map_or(&[][..], Vec::as_slice);
        seen.iter().filter_map(|seen| Some((self.all.get(seen.row)?, &seen.value)))
    }

    /// Whether a member is named like a time, and has one.
    #[must_use]
    pub fn tells_time(&self, path: &str) -> bool {
        let is_time = |value: &Json| match value {
            Json::Number(number) => number.as_f64().is_some_and(|number| number >= 9e8),
            Json::String(text) => words::is_time_text(text) || text.parse::<f64>().is_ok_and(|number| number >= 9e8),
            _ => false,
        };
        words::time_rank(path).is_some() && self.values(path).any(|(_, value)| is_time(value))
    }

    /// The most rows that a message has.
    #[must_use]
    pub fn most_in_a_message(&self) -> usize {
        self.all.chunk_by(|one, other| one.message == other.message).map(<[_]>::len).max().unwrap_or(0)
    }

    fn add(&mut self, path: String, row: usize, value: &Json) {
        let is_full = self.members.len() >= MAX_MEMBERS && !self.members.contains_key(&path);
        if is_full || path.len() > 1_000 {
            self.is_cut = true;
            return;
        }
        let seen = self.members.entry(path).or_default();
        if seen.len() < MAX_VALUES {
            seen.push(Seen { row, value: value.clone() });
        }
    }
}

/// Goes to the rows of a document.
struct Walk<'r, 'd> {
    rows: &'r mut Rows,
    document: &'d Document<'d>,
    message: usize,
    layout: &'d Layout,
    outer: Vec<&'d Json>,
    keys: Vec<String>,
}

impl<'d> Walk<'_, 'd> {
    fn go(&mut self, node: &'d Json, steps: &[Step]) {
        let Some((step, rest)) = steps.split_first() else { return self.arrive(node) };
        match (step, node) {
            (Step::Name(name), Json::Object(members)) => {
                self.outer.push(node);
                if let Some(member) = members.get(name) {
                    self.go(member, rest);
                }
                self.outer.pop();
            }
            (Step::Members, Json::Object(members)) => {
                self.outer.push(node);
                for (name, member) in members {
                    if !member.is_object() && !member.is_array() {
                        let start = if self.outer.len() == 1 { "$." } else { "^." };
                        self.rows.strays.insert(format!("{start}{name}"));
                        continue;
                    }
                    self.keys.push(name.clone());
                    self.go(member, rest);
                    self.keys.pop();
                }
                self.outer.pop();
            }
            (Step::Elements, Json::Array(list)) => list.iter().for_each(|element| self.go(element, rest)),
            _ => {}
        }
    }

    fn arrive(&mut self, node: &'d Json) {
        let length = self.layout.zip.iter().filter_map(|name| node.get(name)?.as_array()).map(Vec::len).min();
        for index in 0..length.unwrap_or(1) {
            if self.rows.all.len() >= MAX_ROWS {
                self.rows.is_cut = true;
                return;
            }
            let row = self.rows.all.len();
            self.rows.all.push(RowOf {
                topic: self.document.topic,
                message: self.message,
                received: self.document.received,
                is_live: self.document.is_live,
                keys: self.keys.clone(),
            });
            self.members(node, index, row);
            self.outside(row);
        }
    }

    fn members(&mut self, node: &Json, index: usize, row: usize) {
        let mut found = Vec::new();
        match node {
            Json::Object(members) => {
                for (name, member) in members {
                    let zipped = member.as_array().filter(|_| self.layout.zip.contains(name));
                    match zipped {
                        Some(list) => found.extend(list.get(index).map(|value| (name.clone(), value))),
                        None => flatten(member, name, 0, &mut found),
                    }
                }
            }
            node => flatten(node, "", 0, &mut found),
        }
        for (path, value) in found {
            self.rows.add(path, row, value);
        }
    }

    /// Single values of the objects that the row is in.
    fn outside(&mut self, row: usize) {
        for (at, object) in self.outer.iter().enumerate() {
            let start = if at == 0 { "$.".to_owned() } else { "^.".repeat(self.outer.len() - at) };
            for (name, member) in object.as_object().into_iter().flatten() {
                if self.outer.get(at + 1).is_some_and(|next| std::ptr::eq(*next, member)) {
                    continue;
                }
                let mut found = Vec::new();
                match member {
                    Json::Array(_) => {}
                    // What is beside the way may be rows of its own kind.
                    Json::Object(_) if self.layout.has_keys() || self.is_on_the_way(at, name) => {}
                    member => flatten(member, name, MAX_DEPTH - 2, &mut found),
                }
                for (path, value) in found {
                    self.rows.add(format!("{start}{path}"), row, value);
                }
            }
        }
    }

    fn is_on_the_way(&self, at: usize, name: &str) -> bool {
        let mut names = self.layout.steps.iter().filter(|step| **step != Step::Elements);
        names.nth(at).is_some_and(|step| matches!(step, Step::Name(own) if own == name))
    }
}

/// The single values of a node, by their paths.
fn flatten<'a>(node: &'a Json, path: &str, depth: usize, found: &mut Vec<(String, &'a Json)>) {
    if depth > MAX_DEPTH || found.len() > MAX_MEMBERS {
        return;
    }
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match node {
        Json::Object(members) => {
            members.iter().for_each(|(name, member)| flatten(member, &below(name), depth + 1, found));
        }
        Json::Array(list) => {
            let elements = list.iter().enumerate();
            elements.for_each(|(at, element)| flatten(element, &below(&at.to_string()), depth + 1, found));
        }
        value => found.push((path.to_owned(), value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(json: &Json, layout: &Layout) -> Rows {
        Rows::of(&[Document { topic: 0, json, received: Timestamp(0), is_live: true }], layout)
    }

    fn name(name: &str) -> Step {
        Step::Name(name.into())
    }

    #[test]
    fn rows_have_their_members_and_those_around_them() {
        let json = serde_json::json!({"ts":1,"m":{"l":"x"},"d":{"a":[{"id":"p","v":{"t":1}},{"id":"q","v":{"t":2}}]}});
        let layout = Layout { steps: vec![name("d"), name("a"), Step::Elements], ..Layout::default() };
        let rows = rows(&json, &layout);
        assert_eq!((layout.rows().as_deref(), rows.all.len(), rows.most_in_a_message()), (Some("d.a[]"), 2, 2));
        assert_eq!(rows.members.keys().collect::<Vec<_>>(), ["$.m.l", "$.ts", "id", "v.t"]);
    }

    #[test]
    fn names_that_are_met_and_values_beside_them_are_told() {
        let json = serde_json::json!({"n":1,"p":{"t":1,"s:0":{"v":1},"s:1":{"v":2}}});
        let rows = rows(&json, &Layout { steps: vec![name("p"), Step::Members], ..Layout::default() });
        assert_eq!(rows.all.iter().map(|row| row.keys.join("/")).collect::<Vec<_>>(), ["s:0", "s:1"]);
        assert_eq!(rows.strays.iter().collect::<Vec<_>>(), ["^.t"]);
        assert_eq!(rows.members.keys().collect::<Vec<_>>(), ["$.n", "^.t", "v"]);
    }

    #[test]
    fn arrays_side_by_side_are_rows() {
        let json = serde_json::json!({"time":[1,2],"v":[3,4],"u":"C"});
        let rows = rows(&json, &Layout { zip: vec!["time".into(), "v".into()], ..Layout::default() });
        assert_eq!(rows.members["v"].iter().map(|seen| seen.value.clone()).collect::<Vec<_>>(), [3, 4]);
    }
}
