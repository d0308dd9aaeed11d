//! What the reader of an imported configuration must know beside the sources themselves.

use std::collections::HashSet;

use serde::Serialize;

/// Most remarks that a fragment has as comments, and most that are listed.
pub const MAX_REMARKS: usize = 1_000;

/// How much a remark weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// forebay has nothing that does the same.
    NoCounterpart,
    /// forebay does it in another way, or other rows come of it.
    Changed,
    /// Good to know.
    Note,
}

impl Kind {
    /// The word in front of a remark.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NoCounterpart => "no counterpart",
            Self::Changed => "changed",
            Self::Note => "note",
        }
    }
}

/// A place in a Telegraf configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The option, such as `inputs.mqtt_consumer[0].qos`.
    #[serde(rename = "where")]
    pub path: String,
}

/// A remark and the place of what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Remark {
    /// What it is about.
    #[serde(flatten)]
    pub place: Place,
    /// What the reader must know.
    pub what: String,
    /// How much it weighs.
    pub kind: Kind,
    /// The key of the printed source that it stands before; the source's head where it is empty.
    #[serde(skip)]
    pub key: &'static str,
}

impl Remark {
    /// A remark for the head of a source.
    pub fn new(kind: Kind, place: Place, what: impl Into<String>) -> Self {
        Self { place, what: what.into(), kind, key: "" }
    }

    /// The remark, standing before a key of its source.
    #[must_use]
    pub fn at(self, key: &'static str) -> Self {
        Self { key, ..self }
    }
}

/// Leaves each remark once, in the order of the first ones.
pub fn without_twins(remarks: &mut Vec<Remark>) {
    let mut seen = HashSet::new();
    let is_new: Vec<bool> = remarks.iter().map(|remark| seen.insert(remark)).collect();
    let mut is_new = is_new.into_iter();
    remarks.retain(|_| is_new.next().unwrap_or(true));
}

/// Leaves at most so many remarks, those that weigh most and stand first. How many went.
pub fn weightiest(remarks: &mut Vec<Remark>, most: usize) -> usize {
    let more = remarks.len().saturating_sub(most);
    if more > 0 {
        let mut kinds: Vec<Kind> = remarks.iter().map(|remark| remark.kind).collect();
        kinds.sort_unstable();
        let lightest = kinds.get(most).copied().unwrap_or(Kind::Note);
        let mut room = most - kinds.iter().filter(|kind| **kind < lightest).count();
        remarks.retain(|remark| {
            let stays = remark.kind < lightest || remark.kind == lightest && room > 0;
            room -= usize::from(stays && remark.kind == lightest);
            stays
        });
    }
    more
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remark(kind: Kind, line: usize) -> Remark {
        Remark::new(kind, Place { file: "f".into(), line, path: "p".into() }, "w")
    }

    fn lines(remarks: &[Remark]) -> Vec<usize> {
        remarks.iter().map(|remark| remark.place.line).collect()
    }

    #[test]
    fn each_remark_stays_once_and_very_many_are_no_trouble() {
        let all = [7, 3, 7, 9, 3].map(|line| remark(Kind::Note, line));
        let mut few = all.to_vec();
        without_twins(&mut few);
        assert_eq!(lines(&few), [7, 3, 9]);
        let mut many: Vec<Remark> = (0..100_000).map(|line| remark(Kind::Note, line / 2)).collect();
        without_twins(&mut many);
        assert_eq!(many.len(), 50_000);
    }

    #[test]
    fn beyond_the_limit_the_lightest_go_and_are_counted() {
        use Kind::{Changed, NoCounterpart, Note};
        let all: Vec<Remark> = [Note, Changed, Note, NoCounterpart, Changed, NoCounterpart]
            .into_iter()
            .enumerate()
            .map(|(line, kind)| remark(kind, line))
            .collect();
        for (most, expected) in
            [(6, vec![0, 1, 2, 3, 4, 5]), (5, vec![0, 1, 3, 4, 5]), (3, vec![1, 3, 5]), (1, vec![3]), (0, vec![])]
        {
            let mut left = all.clone();
            assert_eq!((weightiest(&mut left, most), lines(&left)), (6 - most, expected));
        }
    }
}
