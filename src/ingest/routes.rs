//! From a topic to its source, table and symbols, remembered by topic; and the counts by source.

use std::{sync::Arc, time::Duration};

use hashbrown::HashMap;

use super::{SourceStatus, seen::Seen};
use crate::{
    decode::{Decoder, Resolved, pattern::Pattern},
    point::Row,
    point::{Received, Text},
    ring::table_hash,
    tally::SourceId,
};

/// Topics remembered; when there are more, remembering starts over.
const MAX_TOPICS: usize = 10_000;
/// Longer topics are worked out each time.
const MAX_TOPIC_BYTES: usize = 256;
/// A source's dead letters are logged one by one up to this number, then one in so many.
const LOGGED_LETTERS: u64 = 10;

/// What stands for a source where messages match none.
pub const NO_SOURCE: &str = "(none)";

/// Why a topic has no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// No source has a pattern that matches it.
    #[error("no [source] has a topic pattern that matches it")]
    Unmatched,
    /// The source of that number leaves it out, though its filters bring it.
    #[error("its source leaves it out")]
    Dropped(usize),
    /// A source's pattern matches it, and what it says cannot be used.
    #[error("{reason}")]
    Unusable {
        /// The source's place.
        at: usize,
        /// Why.
        reason: String,
    },
}

/// Where the messages of a topic belong.
#[derive(Debug, Clone)]
pub struct Route {
    source: usize,
    /// The source's number in the ring.
    pub id: SourceId,
    /// Table and the topic's symbols.
    pub resolved: Arc<Resolved>,
    /// Hash of the table's name.
    pub table_hash: u32,
}

impl Route {
    /// The source's place in the order of names.
    pub fn source_number(&self) -> usize {
        self.source
    }
}

/// The sources and the topics seen.
pub struct Routes {
    decoders: Vec<Decoder>,
    /// Places of the decoders and their patterns, the most specific pattern first.
    order: Vec<(usize, usize)>,
    /// The filters that bring more than their patterns match, and the places of their decoders.
    wider: Vec<(Pattern, usize)>,
    ids: Vec<SourceId>,
    counts: Vec<Counts>,
    unrouted: Counts,
    seen: Vec<Seen>,
    by_topic: HashMap<Text, Route, foldhash::quality::RandomState>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    messages: u64,
    rows: u64,
    dead_letters: u64,
    bad_members: u64,
    last: Option<Received>,
}

impl Routes {
    /// Routes to these decoders; where patterns overlap, the most specific takes a message, and of those that are alike the first
    /// in the order of names.
    pub fn new(decoders: Vec<Decoder>, ids: Vec<SourceId>) -> Self {
        let counts = vec![Counts::default(); decoders.len()];
        let patterns = |at: usize| decoders[at].patterns().iter().enumerate().map(move |(n, of)| (at, n, of));
        let mut order: Vec<(usize, usize, &Pattern)> = (0..decoders.len()).flat_map(patterns).collect();
        order.sort_by_cached_key(|(.., pattern)| pattern.breadth());
        let wider = order.iter().filter(|(.., pattern)| pattern.is_narrower_than_its_filter());
        let wider = wider.filter_map(|(at, _, pattern)| Some((Pattern::parse(&pattern.filter()).ok()?, *at)));
        let wider = wider.collect();
        let order = order.iter().map(|(at, n, _)| (*at, *n)).collect();
        let seen = decoders.iter().map(Seen::new).collect();
        Self { decoders, order, wider, ids, counts, seen, unrouted: Counts::default(), by_topic: HashMap::default() }
    }

    /// The route of a topic, or why it has none.
    pub fn find(&mut self, topic: &str) -> Result<Route, NoRoute> {
        if let Some(route) = self.by_topic.get(topic) {
            return Ok(route.clone());
        }
        let takes = |(at, n): &(usize, usize)| Some((*at, self.decoders[*at].resolve_by(*n, topic)?));
        let mut takers = self.order.iter().filter_map(takes);
        let mut first = None;
        let found = takers.find(|(source, _)| {
            first.get_or_insert(*source);
            !self.decoders[*source].excludes(topic)
        });
        let Some((source, resolved)) = found else {
            let wider = || self.wider.iter().find(|(filter, _)| filter.captures(topic).is_some()).map(|(_, at)| *at);
            return Err(first.or_else(wider).map_or(NoRoute::Unmatched, NoRoute::Dropped));
        };
        let resolved = resolved.map_err(|error| NoRoute::Unusable { at: source, reason: error.to_string() })?;
        let route = Route {
            source,
            id: self.ids[source],
            table_hash: table_hash(&resolved.table),
            resolved: Arc::new(resolved),
        };
        if topic.len() <= MAX_TOPIC_BYTES {
            if self.by_topic.len() >= MAX_TOPICS {
                self.by_topic.clear();
            }
            self.by_topic.insert(topic.into(), route.clone());
        }
        Ok(route)
    }

    /// The name of a source, by its place.
    pub fn name(&self, source: usize) -> &str {
        self.decoders[source].name()
    }

    /// The number of a source in the ring, by its place.
    pub fn id(&self, source: usize) -> SourceId {
        self.ids[source]
    }

    /// Counts a message that the source leaves out.
    pub fn count_dropped(&mut self, source: usize, received: Received) {
        let counts = &mut self.counts[source];
        counts.messages += 1;
        counts.last = Some(received);
    }

    /// The decoder of a route's source.
    pub fn decoder(&self, route: &Route) -> &Decoder {
        &self.decoders[route.source]
    }

    /// The same, to decode with.
    pub fn decoder_mut(&mut self, route: &Route) -> &mut Decoder {
        &mut self.decoders[route.source]
    }

    /// Looks at the rows of a message without faults.
    pub fn look(&mut self, route: &Route, rows: &[Row]) {
        self.seen[route.source].look(rows);
    }

    /// Counts a dead letter about a part of a message that was taken in.
    pub fn count_letter(&mut self, route: &Route) {
        self.counts[route.source].dead_letters += 1;
    }

    /// Counts members that were left out of a message; true when it is to be logged.
    pub fn count_bad_members(&mut self, route: &Route, members: u64) -> bool {
        let counted = &mut self.counts[route.source].bad_members;
        let before = *counted;
        *counted += members;
        before < LOGGED_LETTERS || before.leading_zeros() != counted.leading_zeros()
    }

    /// Counts a message that was taken in.
    pub fn count(&mut self, route: &Route, received: Received, rows: u64) {
        let counts = &mut self.counts[route.source];
        counts.messages += 1;
        counts.rows += rows;
        counts.last = Some(received);
    }

    /// Counts a dead letter; true when it is to be logged.
    pub fn count_dead_letter(&mut self, route: Option<&Route>, received: Received) -> bool {
        let counts = route.map_or(&mut self.unrouted, |route| &mut self.counts[route.source]);
        counts.messages += 1;
        counts.dead_letters += 1;
        counts.last = Some(received);
        counts.dead_letters <= LOGGED_LETTERS || counts.dead_letters.is_power_of_two()
    }

    /// The counts by source at a time since boot; messages that match none come last, under [`NO_SOURCE`].
    pub fn status(&self, now: Duration) -> Vec<SourceStatus> {
        let seen = self.seen.iter().map(Seen::missing).zip(&self.ids);
        let filters = |d: &Decoder| d.patterns().iter().map(Pattern::filter).collect::<Vec<_>>().join(", ");
        let named = self.decoders.iter().map(|d| (d.name().to_owned(), filters(d))).zip(seen);
        let named = named.map(|((name, topic), (never_seen, id))| SourceStatus {
            name,
            topic,
            never_seen,
            id: *id,
            ..SourceStatus::default()
        });
        let unrouted = SourceStatus { name: NO_SOURCE.to_owned(), ..SourceStatus::default() };
        let unrouted = (self.unrouted.messages > 0).then_some((unrouted, &self.unrouted));
        let status = |(source, counts): (SourceStatus, &Counts)| SourceStatus {
            messages: counts.messages,
            rows: counts.rows,
            dead_letters: counts.dead_letters,
            bad_members: counts.bad_members,
            last_received: counts.last.map(|received| received.wall.to_string()),
            last_received_age_s: counts
                .last
                .map(|received| now.saturating_sub(Duration::from_nanos(received.since_boot_ns)).as_secs_f64()),
            ..source
        };
        named.zip(&self.counts).chain(unrouted).map(status).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Source;

    #[test]
    fn the_most_specific_source_takes_a_topic_whatever_its_name() {
        let topics = ["root/#", "root/{a}/x", "root/b/{c}", "root/{d}/x"];
        let decoder = |(at, topic): (usize, &&str)| {
            let source: Source = toml::from_str(&format!("topic = {topic:?}\ntable = \"t\"")).expect("a source");
            Decoder::new(&format!("s{at}"), &source).expect("a decoder")
        };
        let decoders: Vec<Decoder> = topics.iter().enumerate().map(decoder).collect();
        let ids = vec![SourceId::NONE; decoders.len()];
        let mut routes = Routes::new(decoders, ids);
        for (topic, expected) in [("root", 0), ("root/a/x", 1), ("root/b/x", 2), ("root/b/y", 2), ("root/a/x/y", 0)] {
            assert_eq!(routes.find(topic).expect("a route").source_number(), expected, "{topic}");
        }
        assert_eq!(routes.find("other").expect_err("none"), NoRoute::Unmatched);
    }

    #[test]
    fn what_is_excluded_or_comes_by_a_filter_that_is_wider_is_dropped() {
        let all = [
            (
                "zigbee",
                r#"topic = ["zigbee2mqtt/{device}", "zigbee2mqtt/{device}/{part}"]"#,
                r#"["zigbee2mqtt/bridge/#"]"#,
            ),
            ("shelly", r#"topic = "shelly-{id}/status""#, "[]"),
            ("bridge", r#"topic = "zigbee2mqtt/bridge/state""#, "[]"),
        ];
        let decoder = |(name, topic, exclude): &(&str, &str, &str)| {
            let text = format!("{topic}\nexclude = {exclude}\ntable = \"t\"");
            Decoder::new(name, &toml::from_str::<Source>(&text).expect("a source")).expect("a decoder")
        };
        let decoders: Vec<Decoder> = all.iter().map(decoder).collect();
        let mut routes = Routes::new(decoders, vec![SourceId::NONE; 3]);
        for (topic, expected) in [
            ("zigbee2mqtt/lamp", Ok(0)),
            ("zigbee2mqtt/lamp/availability", Ok(0)),
            ("zigbee2mqtt/bridge/devices", Err(NoRoute::Dropped(0))),
            ("zigbee2mqtt/bridge", Err(NoRoute::Dropped(0))),
            ("zigbee2mqtt/bridge/state", Ok(2)),
            ("shelly-1pm/status", Ok(1)),
            ("other/status", Err(NoRoute::Dropped(1))),
            ("other/x", Err(NoRoute::Unmatched)),
        ] {
            assert_eq!(routes.find(topic).map(|route| route.source_number()), expected, "{topic}");
        }
    }
}
