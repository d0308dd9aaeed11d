//! What shows that a message is a family's. Patterns alone don't: anybody may publish to a topic
//! that matches one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::table;
use crate::{
    decode::{Decoder, pattern::Pattern},
    settings::{Format, Source},
};

/// A family's signs. One of them is enough.
#[derive(Debug, Clone, Copy)]
pub struct Signs {
    /// MQTT filters: only the family publishes to a topic that matches one. A filter with `{x}` is
    /// half a sign: it counts where that level was heard as `x` on a topic that the family's
    /// sources take, as in `{device}/status` beside `{device}/sensor/{sensor}/state`.
    pub topics: &'static [&'static str],
    /// Sets of paths (names and element numbers, joined with dots): a JSON document on a topic that
    /// the family's sources take, which has every member of a set.
    pub members: &'static [&'static [&'static str]],
}

/// A family's signs, ready to be looked for.
#[derive(Debug)]
pub struct Recogniser {
    /// Those that are a sign alone.
    topics: Vec<Pattern>,
    /// Those that are half a sign.
    halves: Vec<Pattern>,
    members: &'static [&'static [&'static str]],
    sources: Vec<Decoder>,
    /// The sources that take payloads of one value.
    plain: BTreeSet<String>,
}

/// A topic that was heard.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'t> {
    /// The topic.
    pub topic: &'t str,
    /// Whether its payloads are JSON objects or arrays.
    pub is_document: bool,
}

/// Levels of topics that a family's sources take: the name that a pattern gives, and the level.
type Levels<'t> = BTreeSet<(String, &'t str)>;

/// A family's topics that hold no readings, beside those that its sources exclude.
#[derive(Debug)]
pub struct Housekeeping<'t> {
    filters: Vec<Pattern>,
    levels: Levels<'t>,
}

impl Housekeeping<'_> {
    /// Whether a topic is one of them. Of a topic that a source takes this says nothing: ask the
    /// sources first.
    #[must_use]
    pub fn claims(&self, topic: &str) -> bool {
        self.filters.iter().any(|filter| is_of(filter, topic, &self.levels))
    }
}

/// Whether a filter matches a topic, with levels that are known by its names.
fn is_of(filter: &Pattern, topic: &str, levels: &Levels<'_>) -> bool {
    let is_known = |(name, level): (&str, &str)| levels.contains(&(name.to_owned(), level));
    filter.captures(topic).is_some_and(|captures| captures.iter().all(is_known))
}

impl Recogniser {
    /// One for the signs of these sources; the error says which part is none.
    pub fn new(sources: &BTreeMap<String, Source>, signs: &Signs) -> Result<Self, String> {
        let decoders = sources.iter().map(|(name, source)| Decoder::new(name, source));
        let decoders = decoders.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        let plain = sources.iter().filter(|(_, source)| source.format == Format::Plain);
        let plain = plain.map(|(name, _)| name.clone()).collect();
        let topics = signs.topics.iter().map(|filter| Pattern::parse(filter));
        let topics = topics.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        let (halves, topics) = topics.into_iter().partition(|filter| filter.names().next().is_some());
        Ok(Self { topics, halves, members: signs.members, sources: decoders, plain })
    }

    /// Whether the family's sources take a topic, by their patterns and what they exclude.
    #[must_use]
    pub fn takes(&self, topic: &str) -> bool {
        let matches = |source: &Decoder| source.patterns().iter().any(|pattern| pattern.captures(topic).is_some());
        self.sources.iter().any(|source| matches(source) && !source.excludes(topic))
    }

    /// Whether a topic alone is a sign.
    #[must_use]
    pub fn topic_shows(&self, topic: &str) -> bool {
        self.topics.iter().any(|filter| filter.captures(topic).is_some())
    }

    /// Whether a message is a sign: its topic, or its members on a topic that a source takes.
    #[must_use]
    pub fn shows(&self, topic: &str, document: Option<&Json>) -> bool {
        self.topic_shows(topic) || document.is_some_and(|document| self.members_show(document) && self.takes(topic))
    }

    /// Whether topics that were heard are a sign together: a half of one, and a topic of the same
    /// device that a source takes and can read.
    #[must_use]
    pub fn shows_together(&self, heard: &[Heard<'_>]) -> bool {
        if self.halves.is_empty() {
            return false;
        }
        let levels = self.levels(heard);
        heard.iter().any(|heard| self.halves.iter().any(|half| is_of(half, heard.topic, &levels)))
    }

    /// The topics without readings of the family of that name, beside topics that were heard.
    #[must_use]
    pub fn housekeeping<'t>(&self, family: &str, heard: &[Heard<'t>]) -> Housekeeping<'t> {
        let of_family = table::HOUSEKEEPING.iter().filter(|(name, _)| *name == family);
        let filters = of_family.flat_map(|(_, filters)| *filters);
        let filters = filters.filter_map(|filter| Pattern::parse(filter).ok()).collect();
        Housekeeping { filters, levels: self.levels(heard) }
    }

    /// The levels of the topics that a source takes, by the names that its patterns give them.
    fn levels<'t>(&self, heard: &[Heard<'t>]) -> Levels<'t> {
        let mut levels = Levels::new();
        for Heard { topic, is_document } in heard.iter().copied() {
            for source in self.sources.iter().filter(|source| !source.excludes(topic)) {
                if is_document && self.plain.contains(source.name()) {
                    continue;
                }
                let captures = source.patterns().iter().filter_map(|pattern| pattern.captures(topic));
                for captures in captures {
                    levels.extend(captures.iter().map(|(name, level)| (name.to_owned(), level)));
                }
            }
        }
        levels
    }

    fn members_show(&self, document: &Json) -> bool {
        self.members.iter().any(|set| !set.is_empty() && set.iter().all(|path| has(document, path)))
    }
}

/// Whether a document has a member, whatever it is.
fn has(document: &Json, path: &str) -> bool {
    path.split('.').try_fold(document, step).is_some()
}

fn step<'d>(at: &'d Json, name: &str) -> Option<&'d Json> {
    match at {
        Json::Array(elements) => elements.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SIGNS: Signs = Signs { topics: &["plant/+/alive"], members: &[&["head.id", "values.0.v"], &["odd"]] };

    fn recogniser() -> Recogniser {
        let text = "topic = \"plant/{line}\"\ntable = \"plant\"\nexclude = [\"plant/test\"]";
        let source = toml::from_str(text).expect("a source");
        Recogniser::new(&BTreeMap::from([("plant".to_owned(), source)]), &SIGNS).expect("signs")
    }

    #[test]
    fn a_topic_is_a_sign_by_itself() {
        let plant = recogniser();
        assert!(plant.shows("plant/7/alive", None) && plant.topic_shows("plant/7/alive"));
        assert!(!plant.topic_shows("plant/7") && !plant.topic_shows("plant/7/alive/x"));
    }

    #[test]
    fn members_are_a_sign_on_a_topic_that_a_source_takes() {
        let plant = recogniser();
        let all = json!({"head":{"id":null},"values":[{"v":1}]});
        assert!(plant.shows("plant/7", Some(&all)) && plant.shows("plant/7", Some(&json!({"odd":0}))));
        for topic in ["plant", "plant/7/8", "plant/test", "other/7"] {
            assert!(!plant.shows(topic, Some(&all)), "{topic}");
        }
        for part in [json!({"head":{"id":1},"values":[]}), json!({"values":[{"v":1}]}), json!([all]), json!(21.5)] {
            assert!(!plant.shows("plant/7", Some(&part)), "{part}");
        }
    }

    fn heard(topics: &[&'static str]) -> Vec<Heard<'static>> {
        topics.iter().map(|topic| Heard { topic, is_document: false }).collect()
    }

    #[test]
    fn half_a_sign_counts_beside_a_topic_of_the_same_device() {
        const HALVES: Signs = Signs { topics: &["{device}/status"], members: &[] };
        let text =
            "topic = \"{device}/sensor/{sensor}/state\"\ntable = \"t\"\nformat = \"plain\"\nexclude = [\"ha/#\"]";
        let source = toml::from_str(text).expect("a source");
        let nodes = Recogniser::new(&BTreeMap::from([("nodes".to_owned(), source)]), &HALVES).expect("signs");
        assert!(!nodes.shows("kitchen/status", None), "half a sign is none");
        let together = |topics: &[&'static str]| nodes.shows_together(&heard(topics));
        assert!(together(&["kitchen/status", "kitchen/sensor/co2/state", "hall/x"]));
        for topics in [
            &["kitchen/status"][..],
            &["kitchen/sensor/co2/state", "hall/sensor/co2/state"],
            &["hall/status", "kitchen/sensor/co2/state"],
            &["ha/status", "ha/sensor/co2/state"],
            &["kitchen/status", "kitchen/sensor/co2"],
        ] {
            assert!(!together(topics), "{topics:?}");
        }
        let document = Heard { topic: "kitchen/sensor/co2/state", is_document: true };
        assert!(!nodes.shows_together(&[heard(&["kitchen/status"]).remove(0), document]), "no plain value");
    }

    #[test]
    fn nodes_of_esphome_show_without_a_discovery() {
        let esphome = crate::devices::find("esphome").expect("a family").recogniser().expect("signs");
        for other in ["oven/status", "oven/debug"] {
            for state in ["oven/sensor/t/state", "oven/binary_sensor/door/state", "oven/switch/relay/state"] {
                assert!(esphome.shows_together(&heard(&[other, state])), "{other} {state}");
            }
        }
        assert!(!esphome.shows_together(&heard(&["homeassistant/status", "homeassistant/sensor/t/state"])));
    }

    #[test]
    fn housekeeping_is_a_familys_and_not_its_neighbours() {
        let claims = |family: &str, taken: &'static str, topic: &str| {
            let recogniser = crate::devices::find(family).expect("a family").recogniser().expect("signs");
            recogniser.housekeeping(family, &heard(&[taken])).claims(topic)
        };
        let plug = "tele/plug/SENSOR";
        for topic in
            ["tele/plug/STATE", "stat/plug/RESULT", "tele/other/LWT", "cmnd/plug/POWER", "tasmota/discovery/1/config"]
        {
            assert!(claims("tasmota", plug, topic), "{topic}");
        }
        assert!(!claims("tasmota", plug, "tele/plug/level"));
        assert!(claims("esphome", "oven/sensor/t/state", "oven/status"));
        assert!(claims("esphome", "oven/sensor/t/state", "esphome/discover/oven"));
        assert!(!claims("esphome", "oven/sensor/t/state", "plant/status"));
        for topic in ["em/online", "em/status/em:0", "em/rpc", "em/debug/log"] {
            assert!(claims("shelly", "em/events/rpc", topic) && !claims("shelly", "pm/events/rpc", topic), "{topic}");
        }
    }

    #[test]
    fn housekeeping_is_of_known_families_and_its_filters_are_some() {
        let names: Vec<&str> = table::HOUSEKEEPING.iter().map(|(name, _)| *name).collect();
        assert!(names.is_sorted_by(|one, next| one < next), "in the order of their names, each once");
        for (name, filters) in table::HOUSEKEEPING {
            let sources = crate::devices::find(name).expect(name).sources().expect(name);
            let decoders = sources.iter().map(|(name, source)| Decoder::new(name, source).expect("a source"));
            let patterns: Vec<Pattern> = decoders.flat_map(|source| source.patterns().to_vec()).collect();
            for filter in *filters {
                let filter = Pattern::parse(filter).unwrap_or_else(|error| panic!("{name}: {error}"));
                for level in filter.names() {
                    let is_kept = patterns.iter().any(|pattern| pattern.names().any(|kept| kept == level));
                    assert!(is_kept, "{name}: no source keeps {level}");
                }
            }
        }
    }

    #[test]
    fn a_filter_that_is_none_is_told() {
        let signs = Signs { topics: &["a/#/b"], members: &[] };
        assert!(Recogniser::new(&BTreeMap::new(), &signs).expect_err("no filter").contains("topic pattern"));
    }
}
