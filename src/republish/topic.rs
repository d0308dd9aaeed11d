//! Which topic a series' latest value is published to, and whether a subscription would bring it back. Pure.
//!
//! `forebay/latest/{table}/{device}`: `{table}` is the table, `{x}` the value of symbol `x`, and `{symbols...}`, last only, all symbols in
//! the order of their names, a level `name=value` each.

use std::fmt::Write as _;

use thiserror::Error;

use crate::{latest::Key, names, point::MAX_NAME_BYTES};

/// Longest topic (MQTT 5, section 1.5.4).
const MAX_TOPIC_BYTES: usize = 65_535;

/// A mistake in a template.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("level {level:?}: {what}")]
pub struct TemplateError {
    level: String,
    what: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Literal(String),
    Table,
    Symbol(String),
    Symbols,
}

/// A topic with places for a series' names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicTemplate(Vec<Level>);

impl TopicTemplate {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let levels: Vec<Level> = text.split('/').map(level).collect::<Result<_, _>>()?;
        let fail = |level: &str, what| Err(TemplateError { level: level.to_owned(), what });
        if text.is_empty() || text.len() > MAX_TOPIC_BYTES {
            return fail("", "a topic has 1 to 65535 bytes");
        }
        if text.starts_with('$') {
            return fail("$…", "topics that begin with $ are the broker's own");
        }
        if levels.iter().rev().skip(1).any(|level| *level == Level::Symbols) {
            return fail("{symbols...}", "it must be the last level");
        }
        if !levels.iter().any(|level| matches!(level, Level::Symbol(_) | Level::Symbols)) {
            return fail(
                text,
                "without {symbols...}, or a symbol as {device}, the series of a table would share a topic",
            );
        }
        Ok(Self(levels))
    }

    /// The topic of a series; none when it lacks a symbol that the template names, or the topic would be too long.
    pub fn render(&self, key: &Key) -> Option<String> {
        let mut topic = String::new();
        for (at, level) in self.0.iter().enumerate() {
            if at > 0 {
                topic.push('/');
            }
            match level {
                Level::Literal(text) => topic.push_str(text),
                Level::Table => put(&mut topic, &key.table),
                Level::Symbol(name) => {
                    let (_, value) = key.symbols.iter().find(|(have, _)| names::same(have, name))?;
                    put(&mut topic, value);
                }
                Level::Symbols => {
                    for (at, (name, value)) in key.symbols.iter().enumerate() {
                        if at > 0 {
                            topic.push('/');
                        }
                        put(&mut topic, name);
                        topic.push('=');
                        put(&mut topic, value);
                    }
                }
            }
        }
        (topic.len() <= MAX_TOPIC_BYTES).then_some(topic)
    }

    /// Whether a subscription to this filter may bring a message back that was published to some topic of the template.
    #[must_use]
    pub fn comes_back_by(&self, filter: &str) -> bool {
        let mut levels = self.0.iter();
        for wanted in filter.split('/') {
            if wanted == "#" {
                return true;
            }
            match levels.next() {
                // The rest may be any number of levels; and # covers the level above it (MQTT 5, 4.7.1.2).
                Some(Level::Symbols) => return true,
                Some(Level::Literal(text)) if wanted != "+" && wanted != text => return false,
                Some(_) => {}
                None => return false,
            }
        }
        levels.next().is_none()
    }
}

fn level(text: &str) -> Result<Level, TemplateError> {
    let fail = |what| Err(TemplateError { level: text.to_owned(), what });
    if text.contains(['+', '#', '\0']) {
        return fail("a topic to publish to has no +, # or NUL");
    }
    let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return if text.contains(['{', '}']) {
            fail("a placeholder is a whole level")
        } else {
            Ok(Level::Literal(text.into()))
        };
    };
    match name {
        "table" => Ok(Level::Table),
        "symbols..." => Ok(Level::Symbols),
        _ if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(['{', '}', '.']) => {
            fail("write {table}, {symbols...}, or a symbol's name in braces")
        }
        _ => Ok(Level::Symbol(name.into())),
    }
}

/// Percent-encodes what a level can't hold or what would make two values one.
fn put(topic: &mut String, text: &str) {
    for c in text.chars() {
        if matches!(c, '/' | '+' | '#' | '%') || c.is_control() {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                let _ = write!(topic, "%{byte:02X}");
            }
        } else {
            topic.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(symbols: &[(&str, &str)]) -> Key {
        Key { table: "sensors".into(), symbols: symbols.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect() }
    }

    #[test]
    fn topics_name_their_series() {
        let render =
            |template: &str, symbols: &[(&str, &str)]| TopicTemplate::parse(template).unwrap().render(&key(symbols));
        let both = [("device", "a/b"), ("site", "50%")];
        assert_eq!(render("f/{table}/{device}", &both).as_deref(), Some("f/sensors/a%2Fb"));
        assert_eq!(render("f/{symbols...}", &both).as_deref(), Some("f/device=a%2Fb/site=50%25"));
        assert_eq!(render("{device}/x", &both[1..]), None);
        assert_eq!(render("{symbols...}", &[("d", "x\n+")]).as_deref(), Some("d=x%0A%2B"));
        let long = "x".repeat(MAX_TOPIC_BYTES);
        assert_eq!(render("{device}/{symbols...}", &[("device", &long)]), None);
    }

    #[test]
    fn mistakes_are_told() {
        for bad in [
            "",
            "$SYS/{device}",
            "a/{symbols...}/b",
            "a/{table}",
            "a/+/{device}",
            "a/x{device}",
            "a/{}",
            "{a.b}",
            "#/{d}",
        ] {
            assert!(TopicTemplate::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_would_come_back_is_known() {
        let template = TopicTemplate::parse("forebay/latest/{table}/{device}").unwrap();
        for (filter, back) in [
            ("#", true),
            ("forebay/#", true),
            ("forebay/latest/sensors/dev-1", true),
            ("+/+/+/+", true),
            ("forebay/latest/+/+/#", true),
            ("sensors/+/+/+", false),
            ("forebay/latest/+", false),
            ("forebay/latest/+/+/+", false),
            ("forebay/+/+/+/+/#", false),
            ("sensors/#", false),
        ] {
            assert_eq!(template.comes_back_by(filter), back, "{filter}");
        }
        let rest = TopicTemplate::parse("f/{symbols...}").unwrap();
        for (filter, back) in
            [("f/+", true), ("f/+/+/+", true), ("f/device=a", true), ("f", false), ("g/+", false), ("f/#", true)]
        {
            assert_eq!(rest.comes_back_by(filter), back, "{filter}");
        }
    }
}
