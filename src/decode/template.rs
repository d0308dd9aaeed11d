//! Text with placeholders of a topic: `plant_{site}`.

use thiserror::Error;

use super::names::short;
use crate::point::{MAX_SYMBOL_BYTES, Text};

/// A brace without its partner, or an empty placeholder.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{template:?}, position {position}: {what}; write placeholders as {{name}}")]
pub struct TemplateError {
    /// The template.
    pub template: String,
    /// Byte position, from 0.
    pub position: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// It stands for itself.
    Literal(Text),
    /// A placeholder's value stands there.
    Name(Text),
}

/// Text, perhaps with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

impl Template {
    /// Reads a template.
    pub fn parse(template: &str) -> Result<Self, TemplateError> {
        let fault = |position, what| TemplateError { template: short(template), position, what };
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
        Ok(Self(parts))
    }

    /// Its pieces.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The placeholders used.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// The text with its placeholders' values; the error is a placeholder that has none. What is
    /// longer than any name or symbol may end early.
    pub fn fill<'a>(&'a self, value: impl Fn(&str) -> Option<&'a str>) -> Result<Text, &'a str> {
        let mut text = Text::default();
        for part in &self.0 {
            text.push_str(match part {
                Part::Literal(literal) => literal,
                Part::Name(placeholder) => value(placeholder).ok_or(placeholder.as_str())?,
            });
            if text.len() > MAX_SYMBOL_BYTES {
                break;
            }
        }
        Ok(text)
    }
}
