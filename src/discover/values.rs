//! The values of a member, as far as they may name something. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value as Json;

use super::{
    members::{RowOf, Rows},
    words,
};
use crate::point::Timestamp;

/// Longest text that names something, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// Messages of a topic after which what never changed is taken to stay.
pub const MANY: usize = 3;

/// The values of a member that may be a symbol.
pub struct Values<'r> {
    /// Each value with its row.
    pub of: Vec<(&'r RowOf, String)>,
    /// Whether they are texts, and no numbers.
    pub is_text: bool,
}

impl<'r> Values<'r> {
    /// Of the member at a path; none where it cannot be a name.
    pub fn of(rows: &'r Rows, path: &str) -> Option<Self> {
        let mut of = Vec::new();
        let (mut texts, mut numbers) = (0, 0);
        for (row, value) in rows.values(path) {
            match value {
                Json::String(text) if text.is_empty() => {}
                Json::String(text) => {
                    texts += 1;
                    of.push((row, text.clone()));
                }
                Json::Number(number) if number.is_i64() || number.is_u64() => {
                    numbers += 1;
                    of.push((row, number.to_string()));
                }
                Json::Null => {}
                _ => return None,
            }
        }
        let is_name = |text: &String| text.len() <= MAX_NAME_BYTES && !text.contains('\n') && !words::is_nothing(text);
        let is_sound = !of.is_empty() && (texts == 0 || numbers == 0) && of.iter().all(|(_, text)| is_name(text));
        // A measurement or a state in text is no name, whatever its member is called.
        let is_value = |text: &String| {
            let is_fraction = words::is_numeric(text) && !text.bytes().all(|byte| byte.is_ascii_digit());
            is_fraction || words::is_time_text(text)
        };
        let is_state = || of.iter().all(|(_, text)| words::is_state_value(text));
        if !is_sound || texts > 0 && (of.iter().any(|(_, text)| is_value(text)) || is_state()) {
            return None;
        }
        let is_count = |text: &String| text.len() < 8 && !text.starts_with('0') && words::is_numeric(text);
        let is_text = texts > 0 && !of.iter().all(|(_, text)| is_count(text));
        Some(Self { of, is_text })
    }

    /// The distinct values.
    pub fn distinct(&self) -> BTreeSet<&str> {
        self.of.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// The distinct values of each topic.
    pub fn by_topic(&self) -> BTreeMap<usize, BTreeSet<&str>> {
        let mut topics: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
        for (row, text) in &self.of {
            topics.entry(row.topic).or_default().insert(text);
        }
        topics
    }

    /// Messages of the topic that has the fewest.
    pub fn fewest_messages(&self) -> usize {
        let mut messages: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (row, _) in &self.of {
            messages.entry(row.topic).or_default().insert(row.message);
        }
        messages.values().map(BTreeSet::len).min().unwrap_or(0)
    }

    /// Whether values come again in other messages of their topic.
    pub fn comes_again(&self) -> bool {
        let mut messages: BTreeMap<(usize, &str), BTreeSet<usize>> = BTreeMap::new();
        for (row, text) in &self.of {
            messages.entry((row.topic, text)).or_default().insert(row.message);
        }
        let again = messages.values().filter(|messages| messages.len() > 1).count();
        again * 2 >= messages.len()
    }

    /// Whether no value of a topic comes again in another of its messages, after a few.
    pub fn never_comes_again(&self) -> bool {
        let mut messages: BTreeMap<usize, BTreeMap<&str, BTreeSet<usize>>> = BTreeMap::new();
        for (row, text) in &self.of {
            messages.entry(row.topic).or_default().entry(text).or_default().insert(row.message);
        }
        messages.values().any(|values| {
            let heard: BTreeSet<&usize> = values.values().flatten().collect();
            heard.len() > 1 && values.len() > MANY && values.values().all(|messages| messages.len() == 1)
        })
    }

    /// Whether the whole numbers of a topic only grow, or count on and begin again: 0, 1, 2, 0, 1.
    pub fn counts(&self) -> bool {
        let mut topics: BTreeMap<usize, Vec<(Timestamp, u64)>> = BTreeMap::new();
        for (row, text) in &self.of {
            let Ok(number) = text.parse::<u64>() else { return false };
            topics.entry(row.topic).or_default().push((row.received, number));
        }
        topics.values_mut().any(|numbers| {
            numbers.sort_by_key(|(at, _)| *at);
            let distinct: BTreeSet<u64> = numbers.iter().map(|(_, number)| *number).collect();
            let least = distinct.first().copied().unwrap_or(0);
            let only_grow = distinct.len() > MANY && numbers.is_sorted_by_key(|(_, number)| *number);
            let goes_on = |pair: &[(Timestamp, u64)]| {
                matches!(pair, [(_, one), (_, next)] if *next == one.saturating_add(1) || *next == least && one > next)
            };
            only_grow || least < 2 && distinct.len() > 2 && numbers.windows(2).all(goes_on)
        })
    }

    /// Whether no two rows of a message have the same.
    pub fn tells_rows_apart(&self) -> bool {
        let mut seen = HashSet::new();
        self.of.iter().all(|(row, text)| seen.insert((row.message, text)))
    }

    /// Messages that have a value.
    pub fn messages(&self) -> usize {
        self.of.iter().map(|(row, _)| row.message).collect::<BTreeSet<_>>().len()
    }

    /// Whether every value is a number or a time in text.
    pub fn is_reading(&self) -> bool {
        self.of.iter().any(|(_, text)| words::plain(text).is_some() || words::is_time_text(text))
    }

    /// Whether each value looks as if it was made for one message.
    pub fn is_unique_by_make(&self) -> bool {
        self.of.iter().all(|(_, text)| text.len() == 36 && text.matches('-').count() == 4)
    }

    /// The level of the topics that says the same.
    pub fn level(&self, levels: &[Vec<&str>]) -> Option<usize> {
        let most = levels.iter().map(Vec::len).max().unwrap_or(0);
        let says = |at: usize| {
            self.of
                .iter()
                .all(|(row, text)| levels.get(row.topic).and_then(|levels| levels.get(at)) == Some(&text.as_str()))
        };
        (0..most).find(|at| says(*at))
    }
}
