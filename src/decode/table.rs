//! Table names with placeholders: `sensors` or `plant_{site}`.

use thiserror::Error;

use super::{
    names::{table_fault, table_name},
    template::{Part, Template, TemplateError},
};
use crate::{names, point::Text};

/// A mistake in a table name or its placeholders.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TableError {
    /// A brace without its partner, or an empty placeholder.
    #[error("table {0}")]
    Syntax(#[from] TemplateError),
    /// The name, or a rendered one, is not a table name.
    #[error("{0}")]
    Name(String),
    /// A placeholder that the topic pattern does not have.
    #[error("table uses {{{0}}}, which the topic pattern does not have; add it there or remove it here")]
    Unknown(String),
}

/// A table name, perhaps with placeholders of the topic pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableTemplate(Template);

impl TableTemplate {
    /// Reads a template. What can be known without a topic is checked: syntax, and the characters between placeholders.
    pub fn parse(template: &str) -> Result<Self, TableError> {
        let parsed = Template::parse(template)?;
        match table_fault(&parsed.fill(|_| Some("x")).unwrap_or_default()) {
            Some(fault) => Err(TableError::Name(fault)),
            None => Ok(Self(parsed)),
        }
    }

    /// Bytes of the name that stand in the template.
    #[must_use]
    pub fn said(&self) -> usize {
        let literal = |part: &Part| if let Part::Literal(text) = part { text.len() } else { 0 };
        self.0.parts().iter().map(literal).sum()
    }

    /// The placeholders used.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.names()
    }

    /// The table's name with its placeholders' values. What QuestDB would refuse in it is changed.
    pub fn render<'a>(&'a self, value: impl Fn(&str) -> Option<&'a str>) -> Result<Text, TableError> {
        let name = self.0.fill(value).map_err(|name| TableError::Unknown(name.to_owned()))?;
        table_name(&name).map(Text::from).map_err(TableError::Name)
    }

    /// Whether some topic could render this table, in whatever spelling; placeholders stand for any
    /// characters.
    pub fn could_render(&self, table: &str) -> bool {
        let table = &*names::folded(table);
        let mut rest = table;
        let mut anywhere = false;
        for part in self.0.parts() {
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
            || matches!(self.0.parts(), [_, .., Part::Literal(text)] if table.ends_with(&*names::folded(text)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::pattern::Pattern, *};

    fn render(template: &str, pattern: &str, topic: &str) -> Result<Text, TableError> {
        let pattern = Pattern::parse(pattern).expect("pattern");
        let captures = pattern.captures(topic).expect("match");
        TableTemplate::parse(template)?.render(|name| captures.get(name))
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
                && let Ok(name) = template.render(|name| captures.get(name))
            {
                prop_assert_eq!(table_fault(&name), None);
            }
        }
    }
}
