//! Table names with placeholders: `sensors` or `plant_{site}`.

use thiserror::Error;

use super::{
    names::{short, table_fault, table_name},
    pattern::Captures,
};
use crate::{
    names,
    point::{MAX_NAME_BYTES, Text},
};

/// A mistake in a table name or its placeholders.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TableError {
    /// A brace without its partner, or an empty placeholder.
    #[error("table {template:?}, position {position}: {what}; write placeholders as {{name}}")]
    Syntax {
        /// The template.
        template: String,
        /// Byte position, from 0.
        position: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The name, or a rendered one, is not a table name.
    #[error("{0}")]
    Name(String),
    /// A placeholder that the topic pattern does not have.
    #[error("table uses {{{0}}}, which the topic pattern does not have; add it there or remove it here")]
    Unknown(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Text),
    Name(Text),
}

/// A table name, perhaps with placeholders of the topic pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableTemplate {
    parts: Vec<Part>,
}

impl TableTemplate {
    /// Reads a template. What can be known without a topic is checked: syntax, and the characters between placeholders.
    pub fn parse(template: &str) -> Result<Self, TableError> {
        let fault = |position, what| TableError::Syntax { template: short(template), position, what };
        let mut parts = Vec::new();
        let mut rest = template;
        while !rest.is_empty() {
            let position = template.len() - rest.len();
            if let Some(inner) = rest.strip_prefix('{') {
                let end = inner.find('}').ok_or_else(|| fault(position, "\"{\" is not closed"))?;
                let name = &inner[..end];
                if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                    return Err(fault(position, "this is no placeholder name"));
                }
                parts.push(Part::Name(name.into()));
                rest = &inner[end + 1..];
            } else {
                let end = rest.find(['{', '}']).unwrap_or(rest.len());
                if rest[end..].starts_with('}') {
                    return Err(fault(position + end, "\"}\" has no \"{\""));
                }
                parts.push(Part::Literal(rest[..end].into()));
                rest = &rest[end..];
            }
        }
        let parsed = Self { parts };
        match table_fault(&parsed.fill(|_| Some("x")).unwrap_or_default()) {
            Some(fault) => Err(TableError::Name(fault)),
            None => Ok(parsed),
        }
    }

    /// The placeholders used.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// The table a topic's rows go to. What QuestDB would refuse in its name is changed.
    pub fn render(&self, captures: &Captures<'_, '_>) -> Result<Text, TableError> {
        let name = self.fill(|name| captures.get(name)).map_err(|name| TableError::Unknown(name.to_owned()))?;
        table_name(&name).map(Text::from).map_err(TableError::Name)
    }

    /// Whether some topic could render this table, in whatever spelling; placeholders stand for any
    /// characters.
    pub fn could_render(&self, table: &str) -> bool {
        let table = &*names::folded(table);
        let mut rest = table;
        let mut anywhere = false;
        for part in &self.parts {
            match part {
                Part::Name(_) => anywhere = true,
                Part::Literal(text) => {
                    let text = &*names::folded(text);
                    let found = if anywhere { rest.find(text) } else { rest.starts_with(text).then_some(0) };
                    let Some(at) = found else { return false };
                    rest = &rest[at + text.len()..];
                    anywhere = false;
                }
            }
        }
        // The last literal may stand again at the end, behind its first place.
        rest.is_empty()
            || anywhere
            || matches!(self.parts.last(), Some(Part::Literal(text)) if self.parts.len() > 1 && table.ends_with(&*names::folded(text)))
    }

    fn fill<'a>(&'a self, value: impl Fn(&str) -> Option<&'a str>) -> Result<Text, &'a str> {
        let mut name = Text::default();
        for part in &self.parts {
            name.push_str(match part {
                Part::Literal(text) => text,
                Part::Name(placeholder) => value(placeholder).ok_or(placeholder.as_str())?,
            });
            if name.len() > MAX_NAME_BYTES {
                break; // Too long already; the check of the name says so.
            }
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::pattern::Pattern, *};

    fn render(template: &str, pattern: &str, topic: &str) -> Result<Text, TableError> {
        let pattern = Pattern::parse(pattern).expect("pattern");
        TableTemplate::parse(template)?.render(&pattern.captures(topic).expect("match"))
    }

    #[test]
    fn placeholders_are_filled_in() {
        assert_eq!(render("sensors", "a/{x}", "a/b").expect("name"), "sensors");
        assert_eq!(render("p_{x}_{y}", "{x}/{y}", "a/b").expect("name"), "p_a_b");
        assert_eq!(render("{x}", "{x}/+", "north-1/b").expect("name"), "north-1");
    }

    #[test]
    fn names_questdb_refuses_are_changed_unless_they_are_too_long() {
        for (template, topic, table) in
            [("{x}", "a/b", "a_b"), ("t_{x}", "switch:0", "t_switch_0"), ("{x}", "..x", "_.x")]
        {
            assert_eq!(render(template, "{x...}", topic).expect("name"), table);
        }
        assert!(matches!(render("{x}", "{x...}", &"n".repeat(128)), Err(TableError::Name(_))));
        assert!(matches!(render("{y}", "{x}", "a"), Err(TableError::Unknown(_))));
    }

    #[test]
    fn mistakes_in_templates_are_found_without_a_topic() {
        for bad in ["", "a{", "a}b", "{}", "{x...}", "a/b", "{a-b}"] {
            assert!(TableTemplate::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn rendered_names_are_always_valid(template in "[a-z{}x.]{0,12}|t_\\{x\\}", topic in "\\PC{0,140}") {
            let pattern = Pattern::parse("{x...}").expect("pattern");
            if let (Ok(template), Some(captures)) = (TableTemplate::parse(&template), pattern.captures(&topic))
                && let Ok(name) = template.render(&captures)
            {
                prop_assert_eq!(table_fault(&name), None);
            }
        }
    }
}
