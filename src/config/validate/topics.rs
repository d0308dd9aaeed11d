//! The topics of all sources together.

use std::collections::BTreeMap;

use super::Findings;
use crate::{
    decode::{
        Decoder,
        pattern::Pattern,
        topics::{covers, overlap},
    },
    ingest::filters,
    settings::Source,
};

/// A pattern of a source.
pub(super) struct Topic<'a> {
    /// The source's name.
    pub name: &'a str,
    /// The source.
    pub source: &'a Source,
    /// The pattern.
    pub pattern: Pattern,
}

impl Topic<'_> {
    fn key(&self) -> String {
        format!("source.{}.topic", self.name)
    }
}

/// Patterns that get no message, or fewer than they look like.
pub(super) fn check(topics: &[Topic<'_>], findings: &mut Findings) {
    let mut first: BTreeMap<(String, Option<&str>), &Topic<'_>> = BTreeMap::new();
    for topic in topics {
        let shape = (topic.pattern.shape(), topic.source.shared_group.as_deref());
        if let Some(other) = first.insert(shape, topic) {
            let what = if other.name == topic.name {
                format!("{:?} is there twice; remove one", topic.pattern.shape())
            } else {
                format!("source.{} takes the same topics; only one of the two gets a message", other.name)
            };
            findings.warn(topic.key(), what);
        } else if let Some(excluding) =
            topic.source.exclude.iter().find(|filter| covers(filter, &topic.pattern.filter()))
        {
            let what = format!("{excluding:?} excludes all that {:?} takes; remove one", topic.pattern.shape());
            findings.warn(format!("source.{}.exclude", topic.name), what);
        } else if let Some(covered) = topics.iter().find(|covered| topic.covers(covered)) {
            let what = if covered.name == topic.name {
                format!("{:?} takes all that {:?} does; remove one", topic.pattern.shape(), covered.pattern.shape())
            } else {
                format!(
                    "of the topics that it matches, source.{} takes those of {:?}, which is more specific",
                    covered.name,
                    covered.pattern.shape()
                )
            };
            findings.warn(topic.key(), what);
        }
    }
}

impl Topic<'_> {
    /// Whether another pattern takes some of the topics that this one matches, and nothing else. In
    /// one source that is of use where the two have other placeholders.
    fn covers(&self, other: &Self) -> bool {
        let is_of_use = self.name == other.name && !self.pattern.names().eq(other.pattern.names());
        let is_narrower = other.pattern.breadth() < self.pattern.breadth();
        is_narrower && !is_of_use && covers(&self.pattern.filter(), &other.pattern.filter())
            // A pattern in part of a level matches less than its filter.
            && !self.pattern.is_narrower_than_its_filter()
    }
}

/// Filters by which a message may come twice and nobody can tell.
pub(super) fn check_overlaps(sources: &BTreeMap<String, Source>, protocol: u8, findings: &mut Findings) {
    let filters = |(name, source): (&String, &Source)| {
        let decoder = Decoder::new(name, source).ok();
        let patterns = decoder.iter().flat_map(Decoder::patterns);
        patterns.map(|pattern| (name.clone(), pattern.filter())).collect::<Vec<_>>()
    };
    let (shared, unshared): (Vec<_>, Vec<_>) =
        sources.iter().flat_map(filters).partition(|(name, _)| sources[name].shared_group.is_some());
    for (name, filter) in &shared {
        if let Some((other, _)) = unshared.iter().find(|(_, other)| overlap(filter, other)) {
            let what = format!(
                "some topics match source.{other} as well, which is not shared: such a message comes to it and to a member of the \
                 group, and may be stored twice; share both in one group, or part their topics"
            );
            findings.warn(format!("source.{name}.shared_group"), what);
        }
    }
    if protocol != 4 {
        return;
    }
    let wanted = filters::wanted(sources).unwrap_or_default();
    let is_subscribed = |filter: &str| wanted.iter().any(|wanted| wanted.filter == filter);
    let subscribed: Vec<_> = unshared.iter().filter(|(_, filter)| is_subscribed(filter)).collect();
    for (at, (name, filter)) in subscribed.iter().enumerate() {
        let mut others = subscribed.iter().skip(at + 1);
        if let Some((other, _)) = others.find(|(_, other)| *other != *filter && overlap(filter, other)) {
            let what = format!(
                "some topics match source.{other} as well, and the filter of neither covers the other's with its QoS; some brokers send \
                 such a message once for each, and MQTT 3.1.1 has nothing to tell copies by: use mqtt.protocol = 5"
            );
            findings.warn(format!("source.{name}.topic"), what);
        }
    }
}
