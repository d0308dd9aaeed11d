//! Levels of topics, and names of members, that never come again: times, counters, ids made for one
//! message. They are no symbols and no columns. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::{notes::Topic, words};
use crate::point::Timestamp;

/// A number this near to the time of receipt is a time, in seconds.
const NEAR_S: f64 = 86_400.0;
/// More numbers than these that only grow are a counter.
const FEW: usize = 3;
/// Names of one length after which a hexadecimal number is made for one message.
const LONG_HEX: usize = 17;
/// Deepest nesting that is looked into.
const MAX_DEPTH: usize = 8;
/// Names that come within this time of each other, one by one from the first, are those of things.
const ROUND_NS: i64 = 5_000_000_000;

/// The level of a pattern that has no name.
pub const UNNAMED: &str = "+";

/// Whether a name is a time: a number near that of receipt, or a date and time in text.
#[must_use]
pub fn is_time(name: &str, received: Timestamp) -> bool {
    if words::is_time_text(name) || words::is_day(name) {
        return true;
    }
    let Some(number) = name.parse::<f64>().ok().filter(|number| *number >= 1e9) else { return false };
    let now = received.0 as f64 / 1e9;
    [1.0, 1e3, 1e6, 1e9].iter().any(|per_second| (number / per_second - now).abs() <= NEAR_S)
}

/// Whether a name looks as if it was made for one thing or message, and never by hand.
fn is_made(name: &str) -> bool {
    let is_hex = name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_hex && name.bytes().filter(u8::is_ascii_hexdigit).count() >= LONG_HEX
}

/// A name and when it was heard first, and in how many messages.
struct Met {
    first: Timestamp,
    messages: u64,
}

/// The levels of topics, with [`UNNAMED`] in the place of those that never come again.
#[must_use]
pub fn levels<'a>(topics: &[(&'a str, &'a Topic)]) -> Vec<Vec<&'a str>> {
    let mut all: Vec<Vec<&str>> = Vec::with_capacity(topics.len());
    for (name, topic) in topics {
        let last = topic.kept.back().map(|kept| kept.received);
        let level = |level: &'a str| if last.is_some_and(|last| is_time(level, last)) { UNNAMED } else { level };
        all.push(name.split('/').map(level).collect());
    }
    let deepest = all.iter().map(Vec::len).max().unwrap_or(0);
    for depth in 0..deepest {
        let mut alike: BTreeMap<(Vec<&str>, Vec<&str>), Vec<usize>> = BTreeMap::new();
        for (at, levels) in all.iter().enumerate().filter(|(_, levels)| levels.len() > depth) {
            let (above, below) = levels.split_at(depth);
            let below = below.get(1..).unwrap_or_default();
            alike.entry((above.to_vec(), below.to_vec())).or_default().push(at);
        }
        for places in alike.into_values().filter(|places| places.len() > 1) {
            let mut met: BTreeMap<&str, Met> = BTreeMap::new();
            for at in &places {
                let (Some(levels), Some((_, topic))) = (all.get(*at), topics.get(*at)) else { continue };
                let Some((level, first)) = levels.get(depth).zip(topic.live.map(|(first, _)| first)) else { continue };
                met.insert(level, Met { first, messages: topic.live_messages() });
            }
            if met.len() == places.len() && never_come_again(&met) {
                for at in places {
                    if let Some(level) = all.get_mut(at).and_then(|levels| levels.get_mut(depth)) {
                        *level = UNNAMED;
                    }
                }
            }
        }
    }
    all
}

/// Whether names that were heard live never come again: each was there in one message, and they are
/// made for one, or numbers that only grow.
fn never_come_again(met: &BTreeMap<&str, Met>) -> bool {
    if met.len() < 2 || met.values().any(|met| met.messages != 1) {
        return false;
    }
    if met.keys().all(|name| is_made(name)) {
        return true;
    }
    let mut numbers: Vec<(Timestamp, u64)> = Vec::new();
    for (name, met) in met {
        let Ok(number) = name.parse::<u64>() else { return false };
        numbers.push((met.first, number));
    }
    numbers.sort_unstable();
    let only_grow = numbers.windows(2).all(|pair| matches!(pair, [(at, one), (then, next)] if at < then && one < next));
    // A gateway that asks its sensors one by one numbers them from the first one.
    let first = numbers.first().map_or(0, |(_, first)| *first);
    let is_round = numbers.iter().enumerate().all(|(at, (_, n))| n.checked_sub(first) == Some(at as u64))
        && numbers.first().is_some_and(|(_, first)| *first < 2)
        && numbers
            .first()
            .zip(numbers.last())
            .is_some_and(|((from, _), (to, _))| to.0.saturating_sub(from.0) < ROUND_NS);
    numbers.len() > FEW && only_grow && !is_round
}

/// Why documents whose members are named by times, or by what never comes again, are not proposed.
#[must_use]
pub fn reason<'j>(documents: impl Iterator<Item = (&'j Json, Timestamp)>) -> Option<String> {
    let mut names: BTreeMap<String, Vec<BTreeSet<&str>>> = BTreeMap::new();
    for (document, received) in documents {
        if has_times(document, received, 0) {
            return Some(
                "its members are named by times: no key of a source makes that the time of a row (jq can)".into(),
            );
        }
        collect(document, "", 0, &mut names);
    }
    let is_passing = |sets: &Vec<BTreeSet<&str>>| {
        let all: BTreeSet<&str> = sets.iter().flatten().copied().collect();
        let is_new = sets.iter().map(BTreeSet::len).sum::<usize>() == all.len();
        let is_number = |name: &&str| name.bytes().all(|byte| byte.is_ascii_digit());
        sets.len() > 1
            && all.len() > FEW
            && is_new
            && (all.iter().all(|name| is_made(name)) || all.iter().all(is_number))
    };
    let is_any = names.values().any(is_passing);
    is_any.then(|| "its members have names that never come again, so they are neither columns nor symbols".into())
}

fn has_times(node: &Json, received: Timestamp, depth: usize) -> bool {
    match node {
        _ if depth > MAX_DEPTH => false,
        Json::Object(members) => {
            !members.is_empty() && members.keys().all(|name| is_time(name, received))
                || members.values().any(|member| has_times(member, received, depth + 1))
        }
        Json::Array(list) => list.iter().any(|element| has_times(element, received, depth + 1)),
        _ => false,
    }
}

/// The names of the members of each object, by its path, message by message.
fn collect<'j>(node: &'j Json, path: &str, depth: usize, names: &mut BTreeMap<String, Vec<BTreeSet<&'j str>>>) {
    let Json::Object(members) = node else { return };
    if depth > MAX_DEPTH || names.len() > 500 {
        return;
    }
    names.entry(path.to_owned()).or_default().push(members.keys().map(String::as_str).collect());
    members.iter().for_each(|(name, member)| collect(member, &format!("{path}.{name}"), depth + 1, names));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp(1_772_366_400_000_000_000);

    #[test]
    fn times_are_told() {
        for name in ["1772366400", "1772366400123", "1772366400123456789", "2026-03-01", "2026-03-01T12:00:00Z"] {
            assert!(is_time(name, NOW), "{name}");
        }
        for name in ["17", "1000000001", "a1772366400", "0x00158d0001"] {
            assert!(!is_time(name, NOW), "{name}");
        }
    }

    fn shapes(topics: &[&str]) -> Vec<String> {
        let topic = |at: usize| {
            let at = Timestamp(NOW.0 + at as i64 * 10_000_000_000);
            Topic { messages: 1, live: Some((at, at)), ..Topic::default() }
        };
        let all: Vec<(&str, Topic)> = topics.iter().enumerate().map(|(at, name)| (*name, topic(at))).collect();
        let told = levels(&all.iter().map(|(name, topic)| (*name, topic)).collect::<Vec<_>>());
        told.iter().map(|levels| levels.join("/")).collect()
    }

    #[test]
    fn levels_that_never_come_again_have_no_name() {
        assert_eq!(shapes(&["e/101/t", "e/102/t", "e/103/t", "e/105/t"]), ["e/+/t"; 4]);
        assert_eq!(shapes(&["e/105/t", "e/102/t", "e/103/t", "e/101/t"])[0], "e/105/t");
        assert_eq!(shapes(&["e/101/t", "e/102/t"])[0], "e/101/t");
        let ids = ["e/6f1c2d3e-0000-4000-8000-00000000000a/t", "e/9a1c2d3e-0000-4000-8000-00000000000b/t"];
        assert_eq!(shapes(&ids), ["e/+/t"; 2]);
    }

    #[test]
    fn names_of_members_that_are_times_or_never_come_again_are_told() {
        let why = |all: &[Json]| reason(all.iter().map(|json| (json, NOW)));
        assert!(why(&[json!({"1772366400": 21.5})]).is_some_and(|why| why.contains("times")));
        assert!(
            why(&[json!({"d": {"101": {"t": 1}, "102": {"t": 1}}}), json!({"d": {"103": {"t": 1}, "104": {"t": 1}}})])
                .is_some()
        );
        assert_eq!(why(&[json!({"d": {"101": {"t": 1}}}), json!({"d": {"101": {"t": 2}}})]), None);
    }
}
