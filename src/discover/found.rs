//! What was found: sources that are proposed, and topics that are not. Pure.

use super::trial::Fates;

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
    /// The names of its sections.
    pub sources: Vec<String>,
    /// Its patterns.
    pub patterns: Vec<String>,
    /// The sections.
    pub text: String,
    /// The family.
    pub family: Option<&'static str>,
    /// The zone that was found for a family's times.
    pub zone: Option<String>,
    /// The topics that it takes.
    pub topics: Vec<String>,
    /// Messages heard on them.
    pub messages: u64,
    /// Messages that the broker had kept.
    pub retained: u64,
    /// Live messages a second.
    pub rate: f64,
    /// What most payloads are.
    pub format: String,
    /// How they are packed.
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
    /// Why.
    pub why: String,
    /// Messages heard on them.
    pub messages: u64,
    /// A payload, cut to a line.
    pub sample: String,
}
