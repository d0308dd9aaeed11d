//! From a topic to its source, table and symbols, remembered by topic; and the counts by source.

use std::{sync::Arc, time::Duration};

use hashbrown::HashMap;

use super::{SourceStatus, seen::Seen};
use crate::{
    decode::{Decoder, Resolved, pattern::Pattern},
    limits::Owner,
    point::Row,
    point::{Received, Text},
    ring::table_hash,
    tally::SourceId,
};

/// Topics remembered; when there are more, remembering starts over.
const MAX_TOPICS: usize = 10_000;
/// Longer topics are worked out each time.
const MAX_TOPIC_BYTES: usize = 256;
/// Sources that a reload took away whose counts are kept.
const MAX_RETIRED: usize = 10_000;
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
    /// Whom the source's tables count for.
    pub owner: Owner,
    /// Table and the topic's symbols.
    pub resolved: Arc<Resolved>,
    /// Hash of the table's name.
    pub table_hash: u32,
}

/// The sources and the topics seen.
pub struct Routes {
    /// In the order of names.
    sources: Vec<Served>,
    /// Places of the sources and their patterns, the most specific pattern first.
    order: Vec<(usize, usize)>,
    /// The filters that bring more than their patterns match, and the places of their sources.
    wider: Vec<(Pattern, usize)>,
    unrouted: Counts,
    by_topic: HashMap<Text, Route, foldhash::quality::RandomState>,
    /// The counts of sources that a reload took away, in case one brings them back.
    retired: HashMap<String, Counts, foldhash::quality::RandomState>,
}

/// A source in force.
struct Served {
    decoder: Decoder,
    /// Its number in the ring.
    id: SourceId,
    /// Whom its tables count for.
    owner: Owner,
    counts: Counts,
    seen: Seen,
    /// Since when it is as it is, as time since boot.
    since: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    messages: u64,
    rows: u64,
    dead_letters: u64,
    bad_members: u64,
    last: Option<Received>,
}

/// A source to be put in force.
pub struct Prepared {
    /// What decodes its messages.
    pub decoder: Decoder,
    /// Its number in the ring.
    pub id: SourceId,
    /// Whom its tables count for.
    pub owner: Owner,
    /// Whether it is what it was before: then what it has learned stays.
    pub is_unchanged: bool,
}

impl Prepared {
    /// One that nothing is counted for.
    pub fn uncounted(decoder: Decoder) -> Self {
        Self { decoder, id: SourceId::NONE, owner: Owner::default(), is_unchanged: false }
    }
}

impl Routes {
    /// Routes to these sources, in the order of names; where patterns overlap, the most specific
    /// takes a message, and of those that are alike the first in the order of names.
    pub fn new(sources: impl IntoIterator<Item = Prepared>) -> Self {
        let mut routes = Self {
            sources: Vec::new(),
            order: Vec::new(),
            wider: Vec::new(),
            unrouted: Counts::default(),
            by_topic: HashMap::default(),
            retired: HashMap::default(),
        };
        routes.replace(sources, Duration::ZERO);
        routes
    }

    /// Puts other sources in force, at a time since boot. Counts of a source go on under its name.
    pub fn replace(&mut self, sources: impl IntoIterator<Item = Prepared>, now: Duration) {
        let before = std::mem::take(&mut self.sources).into_iter();
        let mut before: HashMap<String, Served> =
            before.map(|served| (served.decoder.name().to_owned(), served)).collect();
        let serve = |Prepared { decoder, id, owner, is_unchanged }: Prepared| {
            let counts = self.retired.remove(decoder.name());
            match before.remove(decoder.name()) {
                Some(served) if is_unchanged => Served { id, owner, ..served },
                served => {
                    let counts = served.map(|served| served.counts).or(counts).unwrap_or_default();
                    Served { id, owner, counts, seen: Seen::new(&decoder), since: now, decoder }
                }
            }
        };
        self.sources = sources.into_iter().map(serve).collect();
        for (name, served) in before {
            if self.retired.len() < MAX_RETIRED {
                self.retired.insert(name, served.counts);
            }
        }
        self.by_topic.clear();
        self.arrange();
    }

    /// Puts the patterns in their order.
    fn arrange(&mut self) {
        let patterns =
            |at: usize| self.sources[at].decoder.patterns().iter().enumerate().map(move |(n, of)| (at, n, of));
        let mut order: Vec<(usize, usize, &Pattern)> = (0..self.sources.len()).flat_map(patterns).collect();
        order.sort_by_cached_key(|(.., pattern)| pattern.breadth());
        let wider = order.iter().filter(|(.., pattern)| pattern.is_narrower_than_its_filter());
        let wider = wider.filter_map(|(at, _, pattern)| Some((Pattern::parse(&pattern.filter()).ok()?, *at)));
        let wider = wider.collect();
        self.order = order.iter().map(|(at, n, _)| (*at, *n)).collect();
        self.wider = wider;
    }

    /// The route of a topic, or why it has none.
    pub fn find(&mut self, topic: &str) -> Result<Route, NoRoute> {
        if let Some(route) = self.by_topic.get(topic) {
            return Ok(route.clone());
        }
        let takes = |(at, n): &(usize, usize)| Some((*at, self.sources[*at].decoder.resolve_by(*n, topic)?));
        let mut takers = self.order.iter().filter_map(takes);
        let mut first = None;
        let found = takers.find(|(source, _)| {
            first.get_or_insert(*source);
            !self.sources[*source].decoder.excludes(topic)
        });
        let Some((source, resolved)) = found else {
            let wider = || self.wider.iter().find(|(filter, _)| filter.captures(topic).is_some()).map(|(_, at)| *at);
            return Err(first.or_else(wider).map_or(NoRoute::Unmatched, NoRoute::Dropped));
        };
        let resolved = resolved.map_err(|error| NoRoute::Unusable { at: source, reason: error.to_string() })?;
        let route = Route {
            source,
            id: self.sources[source].id,
            owner: self.sources[source].owner,
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
        self.sources[source].decoder.name()
    }

    /// The number of a source in the ring, by its place.
    pub fn id(&self, source: usize) -> SourceId {
        self.sources[source].id
    }

    /// Counts a message that the source leaves out.
    pub fn count_dropped(&mut self, source: usize, received: Received) {
        let counts = &mut self.sources[source].counts;
        counts.messages += 1;
        counts.last = Some(received);
    }

    /// The decoder of a route's source.
    pub fn decoder(&self, route: &Route) -> &Decoder {
        &self.sources[route.source].decoder
    }

    /// The same, to decode with.
    pub fn decoder_mut(&mut self, route: &Route) -> &mut Decoder {
        &mut self.sources[route.source].decoder
    }

    /// Looks at the rows of a message without faults.
    pub fn look(&mut self, route: &Route, rows: &[Row]) {
        self.sources[route.source].seen.look(rows);
    }

    /// Counts a dead letter about a part of a message that was taken in.
    pub fn count_letter(&mut self, route: &Route) {
        self.sources[route.source].counts.dead_letters += 1;
    }

    /// Counts members that were left out of a message; true when it is to be logged.
    pub fn count_bad_members(&mut self, route: &Route, members: u64) -> bool {
        let counted = &mut self.sources[route.source].counts.bad_members;
        let before = *counted;
        *counted += members;
        before < LOGGED_LETTERS || before.leading_zeros() != counted.leading_zeros()
    }

    /// Counts a message that was taken in.
    pub fn count(&mut self, route: &Route, received: Received, rows: u64) {
        let counts = &mut self.sources[route.source].counts;
        counts.messages += 1;
        counts.rows += rows;
        counts.last = Some(received);
    }

    /// Counts a dead letter; true when it is to be logged.
    pub fn count_dead_letter(&mut self, route: Option<&Route>, received: Received) -> bool {
        let counts = route.map_or(&mut self.unrouted, |route| &mut self.sources[route.source].counts);
        counts.messages += 1;
        counts.dead_letters += 1;
        counts.last = Some(received);
        counts.dead_letters <= LOGGED_LETTERS || counts.dead_letters.is_power_of_two()
    }

    /// The counts by source at a time since boot; messages that match none come last, under [`NO_SOURCE`].
    pub fn status(&self, now: Duration) -> Vec<SourceStatus> {
        let filters = |d: &Decoder| d.patterns().iter().map(Pattern::filter).collect::<Vec<_>>().join(", ");
        let named = self.sources.iter().map(|served| {
            let source = SourceStatus {
                name: served.decoder.name().to_owned(),
                topic: filters(&served.decoder),
                never_seen: served.seen.missing(),
                id: served.id,
                in_force_for: now.saturating_sub(served.since),
                ..SourceStatus::default()
            };
            (source, &served.counts)
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
        named.chain(unrouted).map(status).collect()
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
        let mut routes = Routes::new(topics.iter().enumerate().map(decoder).map(Prepared::uncounted));
        for (topic, expected) in [("root", 0), ("root/a/x", 1), ("root/b/x", 2), ("root/b/y", 2), ("root/a/x/y", 0)] {
            assert_eq!(routes.find(topic).expect("a route").source, expected, "{topic}");
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
        let mut routes = Routes::new(all.iter().map(decoder).map(Prepared::uncounted));
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
            assert_eq!(routes.find(topic).map(|route| route.source), expected, "{topic}");
        }
    }
}
