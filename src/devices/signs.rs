//! What shows that a message is a family's. Patterns alone don't: anybody may publish to a topic that
//! matches one.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::{
    decode::{Decoder, pattern::Pattern},
    settings::Source,
};

/// A family's signs. One of them is enough.
#[derive(Debug, Clone, Copy)]
pub struct Signs {
    /// MQTT filters: only the family publishes to a topic that matches one.
    pub topics: &'static [&'static str],
    /// Sets of paths (names and element numbers, joined with dots): a JSON document on a topic that
    /// the family's sources take, which has every member of a set.
    pub members: &'static [&'static [&'static str]],
}

/// A family's signs, ready to be looked for.
#[derive(Debug)]
pub struct Recogniser {
    topics: Vec<Pattern>,
    members: &'static [&'static [&'static str]],
    sources: Vec<Decoder>,
}

impl Recogniser {
    /// One for the signs of these sources; the error says which part is none.
    pub fn new(sources: &BTreeMap<String, Source>, signs: &Signs) -> Result<Self, String> {
        let decoders = sources.iter().map(|(name, source)| Decoder::new(name, source));
        let sources = decoders.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        let topics = signs.topics.iter().map(|filter| Pattern::parse(filter));
        let topics = topics.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        Ok(Self { topics, members: signs.members, sources })
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

    #[test]
    fn a_filter_that_is_none_is_told() {
        let signs = Signs { topics: &["a/#/b"], members: &[] };
        assert!(Recogniser::new(&BTreeMap::new(), &signs).expect_err("no filter").contains("topic pattern"));
    }
}
