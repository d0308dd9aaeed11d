//! Places in a document, as a source's keys name them: where rows stand (`*[].values`), and members
//! inside (`id`) and outside (`$.meta.id`, `^.ts`) a row. Pure.

use super::tree::Node;
use crate::{decode::names::short, point::Text, settings::Source};

/// Most steps to where rows stand.
const MAX_STEPS: usize = 32;

/// A step to where rows stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// To the member at the end of a way of names.
    Names(Vec<Text>),
    /// To each member.
    Members,
    /// To each element.
    Elements,
}

/// The steps of a `rows` key. The error says what is wrong with it.
pub(super) fn steps(rows: &str) -> Result<Vec<Step>, String> {
    let fault = |what: &str| {
        Err(format!(
            "{:?} {what}; write names, * and [], such as \"values[]\", \"*\" or \"Messages[].Payload\"",
            short(rows)
        ))
    };
    let mut steps = Vec::new();
    let path = rows.strip_prefix("$.").unwrap_or(rows);
    for (at, part) in path.split('.').enumerate() {
        let name = part.trim_end_matches("[]");
        match name {
            "" if at > 0 || part.is_empty() => return fault("has a step without a name"),
            "" => {}
            "*" => steps.push(Step::Members),
            "$" | "^" => return fault("begins outside of the document"),
            _ if name.contains(['[', ']', '*']) => return fault("has a step that is neither a name nor * nor []"),
            name => match steps.last_mut() {
                Some(Step::Names(names)) => names.push(name.into()),
                _ => steps.push(Step::Names(vec![name.into()])),
            },
        }
        steps.extend((0..(part.len() - name.len()) / 2).map(|_| Step::Elements));
    }
    if steps.len() > MAX_STEPS { fault("has more than 32 steps") } else { Ok(steps) }
}

/// Where a member is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    /// In the row.
    Row,
    /// From the document's top.
    Top,
    /// In the object that the row is in, or so many further out.
    Parent(usize),
}

/// A place of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// As it is written.
    pub path: Text,
    base: Base,
    names: Vec<Text>,
}

impl Place {
    pub fn of(path: &str) -> Self {
        let (base, inner) = if let Some(inner) = path.strip_prefix("$.") {
            (Base::Top, inner)
        } else {
            let inner = path.trim_start_matches("^.");
            match (path.len() - inner.len()) / 2 {
                0 => (Base::Row, path),
                n => (Base::Parent(n - 1), inner),
            }
        };
        Self { path: path.into(), base, names: inner.split('.').map(Text::from).collect() }
    }

    /// What stands there. `outer` are the objects that the row is in, from the document's top.
    pub fn find<'n, 'a>(&self, row: &'n Node<'a>, outer: &[&'n Node<'a>]) -> Option<&'n Node<'a>> {
        let base = match self.base {
            Base::Row => row,
            Base::Top => outer.first().copied().unwrap_or(row),
            Base::Parent(n) => outer.iter().rev().nth(n)?,
        };
        base.at(&self.names)
    }

    /// Whether it is in the row.
    pub fn is_inside(&self) -> bool {
        self.base == Base::Row
    }
}

/// Whether a source's rows are the document itself, or the elements of its array.
pub(in crate::decode) fn is_without_rows(source: &Source) -> bool {
    source.rows.is_none()
        && source.zip.is_empty()
        && source.name.is_none()
        && source.value.is_none()
        && source.timestamp.as_ref().is_none_or(|time| time.step.is_none())
}

/// What rows tell of themselves: `key`, and with more than one `*` `key1`, `key2` and so on.
pub(in crate::decode) fn row_names(source: &Source) -> Vec<Text> {
    let steps = source.rows.as_deref().and_then(|rows| steps(rows).ok()).unwrap_or_default();
    let stars = steps.iter().filter(|step| **step == Step::Members).count();
    if !source.has_documents() || stars == 0 {
        return Vec::new();
    }
    std::iter::once("key".into()).chain((1..=stars).map(|n| format!("key{n}").into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Step {
        Step::Names(names.iter().map(|name| Text::from(*name)).collect())
    }

    #[test]
    fn the_way_to_the_rows_is_names_stars_and_brackets() {
        for (rows, expected) in [
            ("values", vec![names(&["values"])]),
            ("values[]", vec![names(&["values"]), Step::Elements]),
            ("*[].values", vec![Step::Members, Step::Elements, names(&["values"])]),
            ("a.b.*", vec![names(&["a", "b"]), Step::Members]),
            ("[]", vec![Step::Elements]),
            ("$.a[][]", vec![names(&["a"]), Step::Elements, Step::Elements]),
        ] {
            assert_eq!(steps(rows), Ok(expected), "{rows}");
        }
        for rows in ["", "a..b", "a.", "a[0]", "a.b*", "a.[]", &"a[].".repeat(40)] {
            assert!(steps(rows).is_err_and(|why| why.contains("values[]")), "{rows}");
        }
    }

    #[test]
    fn members_are_found_in_and_outside_a_row() {
        let document: Node<'_> =
            serde_json::from_str(r#"{"a.b":1,"a":{"b":2,"c":{"d":3}},"l":[{"m":4}]}"#).expect("JSON");
        let (a, row) = (document.get("a").expect("a"), document.at(&["a", "c"]).expect("c"));
        let outer = [&document, a];
        let find = |path: &str| Place::of(path).find(row, &outer).cloned();
        assert_eq!(find("d"), Some(Node::Int(3)));
        assert_eq!(find("^.b"), Some(Node::Int(2)));
        assert_eq!(find("^.^.a.b"), Some(Node::Int(1)), "the exact name comes first");
        assert_eq!(find("$.a.c.d"), Some(Node::Int(3)));
        assert_eq!(find("$.l.0.m"), Some(Node::Int(4)));
        assert_eq!((find("^.^.^.a"), find("x")), (None, None));
    }
}
