//! What was found: sources that are proposed, and topics that are not. Pure.

use super::{
    draft::cut,
    notes::{Notes, Topic},
    shape::{self, Shape},
    trial::Fates,
};

/// Longest sample in characters.
pub const MAX_SAMPLE_CHARS: usize = 160;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Sources that are proposed.
    pub proposals: Vec<Proposal>,
    /// Topics that no proposal takes, with the reason.
    pub rest: Vec<Left>,
    /// Messages on topics beyond the limits.
    pub beyond: u64,
    /// What `forebay check` warns of.
    pub warnings: Vec<String>,
}

impl Findings {
    /// All sections, as a file for `conf.d`.
    #[must_use]
    pub fn text(&self) -> String {
        self.proposals.iter().map(|proposal| proposal.text.trim_end()).collect::<Vec<_>>().join("\n\n") + "\n"
    }
}

/// A proposal: the sections of a family, or one that was worked out.
#[derive(Debug, Clone, Default)]
pub struct Proposal {
    /// The source's name, or the family's.
    pub name: String,
    /// The names of the sections.
    pub sources: Vec<String>,
    /// The patterns of the sections.
    pub patterns: Vec<String>,
    /// The text of the sections.
    pub text: String,
    /// The family.
    pub family: Option<&'static str>,
    /// The zone that was found for a family's times.
    pub zone: Option<String>,
    /// The topics that the sections take.
    pub topics: Vec<String>,
    /// Messages heard on the topics.
    pub messages: u64,
    /// Messages that the broker had kept.
    pub retained: u64,
    /// Live messages a second.
    pub rate: f64,
    /// What most payloads are.
    pub format: String,
    /// How the payloads are packed.
    pub packed: Option<&'static str>,
    /// The time member, in words.
    pub time: Option<String>,
    /// A payload, cut to a line.
    pub sample: String,
    /// What became of the messages that were kept.
    pub fates: Fates,
    /// Rows of the messages that were kept.
    pub rows: usize,
}

/// Topics that no proposal takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// The topics.
    pub topics: Vec<String>,
    /// Why no proposal takes the topics.
    pub why: String,
    /// Messages heard on them.
    pub messages: u64,
    /// A payload, cut to a line.
    pub sample: String,
}

/// A topic that was heard.
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a str,
    /// What was heard on it.
    pub topic: &'a Topic,
    /// What its messages look like.
    pub shape: Option<Shape>,
}

impl Left {
    /// Takes a topic.
    pub(super) fn take(&mut self, entry: &Entry<'_>) {
        self.topics.push(entry.name.to_owned());
        self.messages += entry.topic.messages;
        if self.sample.is_empty() {
            self.sample = sample(entry);
        }
    }
}

impl Proposal {
    /// Takes a topic.
    pub(super) fn take(&mut self, entry: &Entry<'_>, notes: &Notes) {
        self.topics.push(entry.name.to_owned());
        self.messages += entry.topic.messages;
        self.retained += entry.topic.retained;
        let seconds = notes.span().as_secs_f64();
        if seconds > 0.0 {
            self.rate += entry.topic.live_messages() as f64 / seconds;
        }
        if self.sample.is_empty() {
            let reads = shape::reads(entry.name, entry.topic);
            let shape = Shape::of(&reads);
            self.format = shape.as_ref().map_or(String::new(), |shape| shape.kind.in_words().to_owned());
            self.packed = shape.as_ref().and_then(|shape| shape.packed);
            self.sample = shape.map_or_else(|| sample(entry), |shape| cut(&shape.sample, MAX_SAMPLE_CHARS));
        }
    }
}

/// A payload of a topic, cut to a line.
fn sample(entry: &Entry<'_>) -> String {
    let last = entry.topic.kept.back();
    last.map_or(String::new(), |kept| {
        let start = kept.payload.get(..MAX_SAMPLE_CHARS * 4).unwrap_or(&kept.payload);
        cut(&String::from_utf8_lossy(start), MAX_SAMPLE_CHARS)
    })
}
