//! Topic patterns: which topics a source takes, and which of their levels become symbols.
//!
//! `sensors/{site}/{device}`: `{x}` is exactly one level, kept as symbol `x`; `{x...}`, last only, is
//! one or more levels, kept as one symbol with its slashes; `+` and `#` match as in MQTT (MQTT 5
//! section 4.7.1) without keeping anything. A placeholder may be a part of its level, as in
//! `shelly-{id}`: it takes as little as possible, and at least one character. Every other level
//! matches itself. A pattern that starts with a wildcard takes no topic that starts with `$`
//! (section
//! 4.7.2).

use thiserror::Error;

use super::names::{TIME_COLUMN, duplicate, short};
use crate::{
    names,
    point::{MAX_NAME_BYTES, Text},
};

/// Longest topic filter in bytes (MQTT 5 section 1.5.4).
const MAX_FILTER_BYTES: usize = 65_535;

/// A mistake in a pattern.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("topic pattern, position {position}: {what}; {remedy}")]
pub struct PatternError {
    /// Byte position of the faulty level, from 0.
    pub position: usize,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// One level of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    /// Matches itself.
    Literal(Text),
    /// Text and placeholders, as in `shelly-{id}`.
    Parts(Vec<Part>),
    /// `{name}`.
    Keep(Text),
    /// `+`.
    Skip,
    /// `{name...}`.
    KeepRest(Text),
    /// `#`.
    SkipRest,
}

/// A piece of a level.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Matches itself.
    Literal(Text),
    /// `{name}`.
    Keep(Text),
}

/// A parsed topic pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    levels: Vec<Level>,
}

/// What a topic's levels say: the pattern's names, in the pattern's order, with their values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captures<'p, 't>(Vec<(&'p str, &'t str)>);

impl<'p, 't> Captures<'p, 't> {
    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'t str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'p str, &'t str)> + '_ {
        self.0.iter().copied()
    }
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        check_whole(pattern)?;
        let mut levels = Vec::new();
        let mut position = 0;
        for text in pattern.split('/') {
            if let Some(Level::KeepRest(_) | Level::SkipRest) = levels.last() {
                let what = "a level follows one that takes the rest".to_owned();
                let remedy = "put \"#\" or \"{name...}\" last";
                return Err(PatternError { position, what, remedy });
            }
            let level = parse_level(text)
                .and_then(|level| check_unique(level, &levels))
                .map_err(|(what, remedy)| PatternError { position, what, remedy })?;
            levels.push(level);
            position += text.len() + 1;
        }
        Ok(Self { levels })
    }

    /// The MQTT topic filter to subscribe with. `{x...}` becomes `#`, which also matches the level above it (MQTT 5
    /// section 4.7.1.2): [`captures`](Self::captures) tells such topics apart.
    #[must_use]
    pub fn filter(&self) -> String {
        let levels: Vec<&str> = self
            .levels
            .iter()
            .map(|level| match level {
                Level::Literal(text) => text.as_str(),
                Level::Parts(_) | Level::Keep(_) | Level::Skip => "+",
                Level::KeepRest(_) | Level::SkipRest => "#",
            })
            .collect();
        levels.join("/")
    }

    /// The pattern without its names: what it matches.
    #[must_use]
    pub fn shape(&self) -> String {
        let part = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Keep(_) => "{}".into(),
        };
        let level = |level: &Level| match level {
            Level::Literal(text) => text.to_string(),
            Level::Parts(parts) => parts.iter().map(part).collect(),
            Level::Keep(_) | Level::Skip => "+".to_owned(),
            Level::KeepRest(_) | Level::SkipRest => "#".to_owned(),
        };
        self.levels.iter().map(level).collect::<Vec<_>>().join("/")
    }

    /// What tells the most specific of several patterns that match a topic: the least. Level by
    /// level, one that matches itself comes before one that matches in part, that before one that
    /// matches any, and that before one that takes the rest.
    #[must_use]
    pub fn breadth(&self) -> Vec<u8> {
        let breadth = |level: &Level| match level {
            Level::Literal(_) => 0,
            Level::Parts(_) => 1,
            Level::Keep(_) | Level::Skip => 2,
            Level::KeepRest(_) | Level::SkipRest => 3,
        };
        self.levels.iter().map(breadth).collect()
    }

    /// The names the pattern keeps, in its order.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.levels.iter().flat_map(Level::names)
    }

    /// Whether the filter brings topics that the pattern does not match.
    #[must_use]
    pub fn is_narrower_than_its_filter(&self) -> bool {
        self.levels.iter().any(|level| matches!(level, Level::Parts(_) | Level::KeepRest(_)))
    }

    /// Whether the filter begins with a wildcard, which takes no topic that begins with `$`.
    fn begins_with_wildcard(&self) -> bool {
        !matches!(self.levels.first(), Some(Level::Literal(_)))
    }

    /// The values of the kept levels, when the topic matches.
    #[must_use]
    pub fn captures<'p, 't>(&'p self, topic: &'t str) -> Option<Captures<'p, 't>> {
        if topic.starts_with('$') && self.begins_with_wildcard() {
            return None;
        }
        let mut kept = Vec::new();
        // `None` once the topic has no further level; an empty level is a level.
        let mut rest = Some(topic);
        for level in &self.levels {
            match level {
                Level::SkipRest => return Some(Captures(kept)),
                Level::KeepRest(name) => {
                    kept.push((name.as_str(), rest?));
                    return Some(Captures(kept));
                }
                Level::Literal(_) | Level::Parts(_) | Level::Keep(_) | Level::Skip => {
                    let (this, next) = match rest?.split_once('/') {
                        Some((this, next)) => (this, Some(next)),
                        None => (rest?, None),
                    };
                    match level {
                        Level::Literal(text) if text != this => return None,
                        Level::Parts(parts) => keep_parts(parts, this, &mut kept)?,
                        Level::Keep(name) => kept.push((name.as_str(), this)),
                        _ => {}
                    }
                    rest = next;
                }
            }
        }
        rest.is_none().then_some(Captures(kept))
    }
}

/// A level's mistake: what is wrong, and the remedy.
type Fault = (String, &'static str);

fn check_whole(pattern: &str) -> Result<(), PatternError> {
    let fault = |position, what: &str, remedy| Err(PatternError { position, what: what.into(), remedy });
    if pattern.is_empty() {
        return fault(0, "it is empty", "write one such as \"sensors/{site}/{device}\"");
    }
    if pattern.len() > MAX_FILTER_BYTES {
        return fault(MAX_FILTER_BYTES, "it is longer than MQTT allows", "use at most 65,535 bytes");
    }
    if pattern.starts_with("$share/") {
        return fault(0, "a shared subscription is not written into the topic", "set shared_group on the source");
    }
    if let Some(position) = pattern.find(char::is_control) {
        return fault(position, "control characters are not allowed", "remove it");
    }
    Ok(())
}

fn parse_level(text: &str) -> Result<Level, Fault> {
    match text {
        "+" => return Ok(Level::Skip),
        "#" => return Ok(Level::SkipRest),
        _ => {}
    }
    let whole = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    if let Some(inner) = whole.filter(|inner| !inner.contains(['{', '}'])) {
        return match inner.strip_suffix("...") {
            Some(name) => Ok(Level::KeepRest(parse_name(name)?)),
            None => Ok(Level::Keep(parse_name(inner)?)),
        };
    }
    if text.contains(['+', '#']) {
        let what = format!("level {:?} mixes a wildcard with other text", short(text));
        return Err((what, "a wildcard takes a whole level, as in \"a/+/c\""));
    }
    if text.contains(['{', '}']) { parse_parts(text) } else { Ok(Level::Literal(text.into())) }
}

fn parse_parts(text: &str) -> Result<Level, Fault> {
    const REMEDY: &str = "write placeholders as in \"shelly-{kind}-{id}\"";
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        let (literal, after) = rest.split_at(open);
        let Some((name, behind)) = after.strip_prefix('{').and_then(|after| after.split_once('}')) else {
            return Err((format!("level {:?} has a brace without its partner", short(text)), REMEDY));
        };
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        } else if !parts.is_empty() {
            let what = format!("level {:?} has two placeholders with nothing between", short(text));
            return Err((what, "put text between them: nobody knows where one ends"));
        }
        if name.ends_with("...") {
            let what = format!("level {:?} mixes \"{{name...}}\" with other text", short(text));
            return Err((what, "it takes whole levels, as in \"a/{b...}\""));
        }
        parts.push(Part::Keep(parse_name(name)?));
        rest = behind;
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.into()));
    }
    Ok(Level::Parts(parts))
}

impl Level {
    /// The names it keeps.
    fn names(&self) -> impl Iterator<Item = &str> + Clone {
        let whole = match self {
            Self::Keep(name) | Self::KeepRest(name) => Some(name.as_str()),
            _ => None,
        };
        let parts = if let Self::Parts(parts) = self { parts.as_slice() } else { &[] };
        let in_parts = parts.iter().filter_map(|part| match part {
            Part::Keep(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        });
        whole.into_iter().chain(in_parts)
    }
}

/// Matches a level in part. Each placeholder takes what stands before the next place where the text
/// behind it is found; the last text stands at the end.
fn keep_parts<'p, 't>(parts: &'p [Part], level: &'t str, kept: &mut Vec<(&'p str, &'t str)>) -> Option<()> {
    let mut rest = level;
    let mut parts = parts.iter().peekable();
    while let Some(part) = parts.next() {
        let name = match part {
            Part::Literal(text) => {
                rest = rest.strip_prefix(text.as_str())?;
                continue;
            }
            Part::Keep(name) => name,
        };
        let first = rest.chars().next()?.len_utf8();
        let end = match parts.peek() {
            Some(Part::Literal(text)) => {
                let is_last = parts.clone().count() == 1;
                let at_end = || rest.strip_suffix(text.as_str()).map(str::len).filter(|end| *end >= first);
                if is_last { at_end()? } else { first + rest[first..].find(text.as_str())? }
            }
            _ => rest.len(),
        };
        kept.push((name, &rest[..end]));
        rest = &rest[end..];
    }
    rest.is_empty().then_some(())
}

fn parse_name(name: &str) -> Result<Text, Fault> {
    const REMEDY: &str = "use letters, digits and _, not starting with a digit, at most 127 bytes";
    let well_formed = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !well_formed || name.as_bytes()[0].is_ascii_digit() {
        return Err((format!("{:?} is no placeholder name", short(name)), REMEDY));
    }
    if names::same(name, TIME_COLUMN) {
        return Err((format!("{name:?} is the name of the time column"), "choose another name"));
    }
    Ok(name.into())
}

fn check_unique(level: Level, before: &[Level]) -> Result<Level, Fault> {
    let all: Vec<&str> = before.iter().chain([&level]).flat_map(Level::names).collect();
    match duplicate(all.iter().copied()) {
        Some(name) => {
            let what = format!("placeholder {name:?} occurs twice");
            Err((what, "give each its own name (case does not count)"))
        }
        None => Ok(level),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn captures(pattern: &str, topic: &str) -> Option<Vec<(String, String)>> {
        let pattern = Pattern::parse(pattern).expect("pattern");
        pattern.captures(topic).map(|c| c.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect())
    }

    #[expect(clippy::unnecessary_wraps, reason = "compared with what captures returns")]
    fn some(of: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(of.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn placeholders_keep_their_levels() {
        let pattern = "sensors/{site}/{device}";
        assert_eq!(captures(pattern, "sensors/north/d1"), some(&[("site", "north"), ("device", "d1")]));
        for other in ["sensors/north", "sensors/north/d1/x", "Sensors/north/d1", "sensors/north/d1/", "x/north/d1"] {
            assert_eq!(captures(pattern, other), None, "{other}");
        }
        assert_eq!(captures("a/{x...}", "a/b/c"), some(&[("x", "b/c")]));
        assert_eq!(captures("a/{x...}", "a"), None, "the rest is one level or more");
        assert_eq!(captures("a/#", "a"), some(&[]), "# takes the level above as well");
        assert_eq!(captures("+/{x}", "a/b"), some(&[("x", "b")]));
        assert_eq!(captures("a/{x}", "a/"), some(&[("x", "")]), "an empty level is a level");
    }

    #[test]
    fn a_part_of_a_level_takes_as_little_as_possible_and_at_least_one_character() {
        let pattern = "shelly-{kind}-{id}/status/{part}";
        assert_eq!(
            captures(pattern, "shelly-1pm-a-b/status/x"),
            some(&[("kind", "1pm"), ("id", "a-b"), ("part", "x")])
        );
        assert_eq!(captures(pattern, "shelly---a/status/x"), some(&[("kind", "-"), ("id", "a"), ("part", "x")]));
        for other in ["shelly--a/status/x", "shelly-1pm-/status/x", "shelly-1pm/status/x", "Shelly-1-2/status/x"] {
            assert_eq!(captures(pattern, other), None, "{other}");
        }
        assert_eq!(captures("{a}x", "xx"), some(&[("a", "x")]));
        assert_eq!(captures("{a}.{b}.json", "a.json.b.json"), some(&[("a", "a"), ("b", "json.b")]));
        assert_eq!(captures("ä{a}ö", "äüö"), some(&[("a", "ü")]));
        assert_eq!(captures("{a}-x", "$SYS-x"), None, "it begins with a wildcard");
        assert_eq!(Pattern::parse("a/b{x}c").expect("pattern").filter(), "a/+");
    }

    #[test]
    fn leading_wildcards_take_no_dollar_topics() {
        for pattern in ["#", "+/#", "{x...}", "{x}/b"] {
            assert_eq!(captures(pattern, "$SYS/b"), None, "{pattern}");
        }
        assert_eq!(captures("$SYS/{x}", "$SYS/b"), some(&[("x", "b")]));
    }

    #[test]
    fn filters_are_mqtt_filters() {
        let filter = |pattern: &str| Pattern::parse(pattern).expect("pattern").filter();
        assert_eq!(filter("sensors/{site}/+/{rest...}"), "sensors/+/+/#");
        assert_eq!(filter("{all...}"), "#");
        assert_eq!(filter("/a//b"), "/a//b");
    }

    #[test]
    fn the_most_specific_pattern_is_told_level_by_level() {
        let breadth = |pattern: &str| Pattern::parse(pattern).expect("pattern").breadth();
        let ordered = ["a", "a/b/c", "a/b/b{x}", "a/b/{x}", "a/b/#", "a/{x}", "a/{x}/c", "a/{x...}", "{x}/b", "#"];
        for pair in ordered.windows(2) {
            assert!(breadth(pair[0]) < breadth(pair[1]), "{pair:?}");
        }
        assert_eq!(breadth("a/{x}"), breadth("a/+"));
    }

    #[test]
    fn mistakes_are_named_with_their_position() {
        for (pattern, position, part) in [
            ("", 0, "empty"),
            ("a/{b}{c}", 2, "nothing between"),
            ("a/{b", 2, "without its partner"),
            ("a/b}", 2, "without its partner"),
            ("a/{b-{c}", 2, "no placeholder name"),
            ("a/x{b...}", 2, "whole levels"),
            ("a/{b}-{B}", 2, "twice"),
            ("a/b+", 2, "mixes a wildcard"),
            ("a/#/b", 4, "follows"),
            ("{x...}/b", 7, "follows"),
            ("{x}/{X}", 4, "twice"),
            ("a/{}", 2, "no placeholder name"),
            ("a/{b-c}", 2, "no placeholder name"),
            ("a/{1b}", 2, "no placeholder name"),
            ("a/{Timestamp}", 2, "time column"),
            ("$share/g/a", 0, "shared"),
            ("a/b\u{0}", 3, "control"),
        ] {
            let error = Pattern::parse(pattern).expect_err(pattern);
            assert_eq!(error.position, position, "{pattern}: {error}");
            assert!(error.to_string().contains(part), "{pattern}: {error}");
        }
    }

    /// Matching by the specification's words, over levels split beforehand.
    fn reference(pattern: &[&str], topic: &[&str]) -> bool {
        match (pattern, topic) {
            (["#"], _) | ([], []) => true,
            ([rest], [_, ..]) if rest.ends_with("...}") => true,
            ([first, pattern @ ..], [level, topic @ ..]) => {
                (*first == "+" || first.starts_with('{') && !first.ends_with("...}") || first == level)
                    && reference(pattern, topic)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matches_as_the_reference_does(
            mut pattern in prop::collection::vec(prop::sample::select(vec!["a", "b", "", "+", "$S", "{x}"]), 1..5),
            last in prop::sample::select(vec!["#", "{r...}", "c", ""]),
            topic in prop::collection::vec(prop::sample::select(vec!["a", "b", "", "c", "$S"]), 1..6),
        ) {
            pattern.push(last);
            let names: Vec<String> = pattern.iter().enumerate()
                .map(|(i, level)| if *level == "{x}" { format!("{{x{i}}}") } else { (*level).to_owned() }).collect();
            let parsed = Pattern::parse(&names.join("/")).expect("valid pattern");
            let topic_text = topic.join("/");
            let dollar = topic_text.starts_with('$') && (pattern[0] == "+" || pattern[0].starts_with('{'));
            let expected = reference(&pattern, &topic) && !dollar;
            prop_assert_eq!(parsed.captures(&topic_text).is_some(), expected);
        }

        #[test]
        fn parsing_and_matching_never_panic(pattern in "\\PC{0,30}|[a{}./+#$]{0,12}", topic in "\\PC{0,30}|[a/$]{0,9}") {
            if let Ok(parsed) = Pattern::parse(&pattern) {
                let _ = parsed.captures(&topic);
                let braces = parsed.filter().contains(['{', '}']);
                prop_assert!(!braces);
            }
        }
    }
}
