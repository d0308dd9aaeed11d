//! Names of placeholders, sources and tables. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    group::Level,
    vocabulary::{ROOMS, SINGLE, SITES, STEMS},
    words,
};

/// Longest name of a source.
const MAX_NAME_CHARS: usize = 48;

/// A pattern with its names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// The pattern.
    pub pattern: String,
    /// The names of its placeholders.
    pub names: Vec<String>,
    /// Symbols of a pattern that takes one topic.
    pub tags: Vec<(String, String)>,
}

/// The pattern of levels. `members` are levels and the names of members that say the same,
/// `columns` are names that no placeholder may have.
#[must_use]
pub fn named(levels: &[Level], members: &BTreeMap<usize, String>, columns: &BTreeSet<String>) -> Named {
    let mut named = Named::default();
    let mut parts = Vec::new();
    let last_varying =
        levels.iter().rposition(|level| matches!(level, Level::Varies(_) | Level::Part(..) | Level::Fixed(_)));
    for (at, level) in levels.iter().enumerate() {
        let above = levels.get(..at).and_then(<[Level]>::last);
        let name = match level {
            Level::Literal(text) => {
                // Braces would be a placeholder's.
                parts.push(if text.contains(['{', '}']) { "+".to_owned() } else { text.clone() });
                continue;
            }
            Level::Metric(_) => "metric".to_owned(),
            Level::Rest => "path".to_owned(),
            Level::Varies(names) | Level::Part(_, names) => {
                let member =
                    members.get(&at).filter(|_| !matches!(level, Level::Part(..))).filter(|path| is_name(path));
                member.cloned().unwrap_or_else(|| of_level(names, above, last_varying == Some(at)))
            }
            Level::Fixed(text) => of_level(&BTreeSet::from([text.clone()]), above, last_varying == Some(at)),
        };
        let is_member = members.get(&at).is_some_and(|path| *path == name);
        let name = free(&name, &named, columns, is_member);
        match level {
            Level::Part(start, _) => parts.push(format!("{start}{{{name}}}")),
            Level::Rest => parts.push(format!("{{{name}...}}")),
            Level::Fixed(text) => {
                named.tags.push((name.clone(), text.clone()));
                parts.push(if text.contains(['{', '}']) { "+".to_owned() } else { text.clone() });
            }
            _ => parts.push(format!("{{{name}}}")),
        }
        named.names.push(name);
    }
    named.pattern = parts.join("/");
    named
}

fn is_name(name: &str) -> bool {
    let well_formed = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let begins = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    well_formed && begins && name.len() <= 64 && !name.eq_ignore_ascii_case("timestamp")
}

/// A name that neither another placeholder nor a column has.
fn free(name: &str, named: &Named, columns: &BTreeSet<String>, is_member: bool) -> String {
    let is_taken = |name: &str| {
        let lower = name.to_lowercase();
        named.names.iter().any(|known| known.eq_ignore_ascii_case(name)) || !is_member && columns.contains(&lower)
    };
    let topic = format!("topic_{name}");
    let numbered = (2..100).map(|number| format!("{name}{number}"));
    let mut all = [name.to_owned(), topic].into_iter().chain(numbered);
    all.find(|name| !is_taken(name)).unwrap_or_else(|| "level".to_owned())
}

/// What a level that differs is called.
fn of_level(names: &BTreeSet<String>, above: Option<&Level>, is_last: bool) -> String {
    let lower: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    let share = |is: &dyn Fn(&String) -> bool| lower.iter().filter(|name| is(name)).count() * 2 >= lower.len();
    if let Some(Level::Literal(above)) = above
        && let Some(one) = singular(above)
    {
        return one;
    }
    if share(&|name| words::parts(name).iter().any(|part| ROOMS.contains(&part.as_str()))) {
        return "room".into();
    }
    if share(&|name| SITES.contains(&name.as_str())) {
        return "site".into();
    }
    let stem = |name: &String| {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '-' | '_' | '.'));
        (stem.len() < name.len()).then(|| STEMS.iter().find(|(begin, _)| *begin == stem).map(|(_, of)| *of)).flatten()
    };
    if let Some(of) = lower.first().and_then(stem)
        && lower.iter().all(|name| stem(name) == Some(of))
    {
        return of.to_owned();
    }
    if is_last || share(&|name| words::is_serial(name)) { "device".into() } else { "group".into() }
}

/// `sensor` of `sensors`; a word for one thing stays.
fn singular(word: &str) -> Option<String> {
    let lower = word.to_lowercase();
    if !is_name(&lower) || lower.len() < 4 {
        return None;
    }
    if let Some(stem) = lower.strip_suffix("ies") {
        return Some(format!("{stem}y"));
    }
    let is_plural = lower.ends_with('s') && !lower.ends_with("ss") && !lower.ends_with("us") && !lower.ends_with("is");
    if let Some(stem) = lower.strip_suffix('s').filter(|_| is_plural) {
        let es = ["ches", "shes", "sses", "xes"].iter().any(|end| lower.ends_with(end));
        return Some(if es { stem.trim_end_matches('e').to_owned() } else { stem.to_owned() });
    }
    SINGLE.contains(&lower.as_str()).then_some(lower)
}

/// The name of a thing of several: `sensor` of `sensors`.
#[must_use]
pub fn one_of(word: &str) -> Option<String> {
    singular(word)
}

/// A name of a source and its table, from the levels that are the same in all topics.
#[must_use]
pub fn source_name(levels: &[Level]) -> String {
    let literals: Vec<String> = levels
        .iter()
        .filter_map(|level| match level {
            Level::Literal(text) => Some(sanitized(text)),
            Level::Part(start, _) => Some(sanitized(start)),
            _ => None,
        })
        .filter(|text| !text.is_empty())
        .collect();
    let mut picked: Vec<&str> = match literals.as_slice() {
        [first, .., before, last] if literals.len() > 3 => vec![first, before, last],
        all => all.iter().map(String::as_str).collect(),
    };
    picked.dedup();
    let name: String = picked.join("_").chars().take(MAX_NAME_CHARS).collect();
    if name.is_empty() { "readings".into() } else { name }
}

/// A text as a name: small letters, digits and `_`.
#[must_use]
pub fn sanitized(text: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let mut name = String::new();
    for c in text.chars().map(letter) {
        if c != '_' || !name.ends_with('_') {
            name.push(c);
        }
    }
    name.trim_matches('_').to_owned()
}

/// A name that is not among the taken ones, which it joins.
pub fn unique(name: &str, taken: &mut BTreeSet<String>) -> String {
    let numbered = (2..10_000).map(|number| format!("{name}_{number}"));
    let mut all = std::iter::once(name.to_owned()).chain(numbered);
    let name = all.find(|name| !taken.contains(name)).unwrap_or_else(|| name.to_owned());
    taken.insert(name.clone());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varies(names: &[&str]) -> Level {
        Level::Varies(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn literal(text: &str) -> Level {
        Level::Literal(text.to_owned())
    }

    fn pattern(levels: &[Level]) -> String {
        named(levels, &BTreeMap::new(), &BTreeSet::from(["room".to_owned()])).pattern
    }

    #[test]
    fn levels_are_named_by_their_neighbours_or_content() {
        assert_eq!(pattern(&[literal("sensors"), varies(&["a", "b"])]), "sensors/{sensor}");
        assert_eq!(
            pattern(&[literal("home"), varies(&["kitchen", "bath"]), literal("t")]),
            "home/{topic_room}/t",
            "a column has the name"
        );
        assert_eq!(
            pattern(&[literal("farm"), varies(&["barn1", "barn2"]), varies(&["17", "18"])]),
            "farm/{barn}/{device}"
        );
        assert_eq!(pattern(&[varies(&["x", "y"]), varies(&["v", "w"]), literal("{a}")]), "{group}/{device}/+");
        let part = Level::Part("pm-".into(), BTreeSet::from(["pm-1".into(), "pm-2".into()]));
        assert_eq!(pattern(&[literal("d"), part]), "d/pm-{device}");
        let metric = Level::Metric(BTreeSet::new());
        assert_eq!(pattern(&[literal("rooms"), varies(&["1", "2"]), metric]), "rooms/{topic_room}/{metric}");
    }

    #[test]
    fn names_are_made_of_what_stays() {
        assert_eq!(source_name(&[literal("Zigbee2MQTT"), varies(&["a"])]), "zigbee2mqtt");
        assert_eq!(source_name(&[literal("a"), literal("b c"), literal("d"), literal("e")]), "a_d_e");
        assert_eq!(source_name(&[varies(&["a"])]), "readings");
        let mut taken = BTreeSet::from(["a".to_owned()]);
        assert_eq!((unique("a", &mut taken), unique("a", &mut taken)), ("a_2".into(), "a_3".into()));
    }
}
