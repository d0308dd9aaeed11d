//! The daemon's documents as commands read them.

use serde_json::Value;

use super::out::{count, span, tame};
use crate::shown::is_harmful;

/// Longest sentence shown.
const MAX_SENTENCE_CHARS: usize = 2_000;

/// The status document, read leniently: the daemon may be of another version.
pub struct Document<'a>(pub &'a Value);

impl<'a> Document<'a> {
    /// The part at a JSON pointer (RFC 6901); null when there is none.
    pub fn at(&self, path: &str) -> Document<'a> {
        Document(self.0.pointer(path).unwrap_or(&Value::Null))
    }

    /// The members of an array; none when there is none.
    pub fn each(&self, path: &str) -> impl Iterator<Item = Document<'a>> {
        self.0.pointer(path).and_then(Value::as_array).into_iter().flatten().map(Document)
    }

    /// A number, else 0.
    pub fn number(&self, path: &str) -> f64 {
        self.at(path).0.as_f64().unwrap_or_default()
    }

    /// A number that is there.
    pub fn known(&self, path: &str) -> Option<f64> {
        self.at(path).0.as_f64()
    }

    /// A whole number, else 0.
    pub fn integer(&self, path: &str) -> u64 {
        self.at(path).0.as_u64().unwrap_or_default()
    }

    /// A whole number for people.
    pub fn count(&self, path: &str) -> String {
        count(self.integer(path))
    }

    /// Whether it says true.
    pub fn flag(&self, path: &str) -> bool {
        self.at(path).0.as_bool().unwrap_or_default()
    }

    /// A text, made harmless and cut.
    pub fn text(&self, path: &str) -> Option<String> {
        self.at(path).0.as_str().map(tame)
    }

    /// A sentence of the daemon's own: made harmless, and longer than a name may be.
    pub fn sentence(&self, path: &str) -> Option<String> {
        let text = self.at(path).0.as_str()?;
        Some(text.chars().filter(|c| !is_harmful(*c)).take(MAX_SENTENCE_CHARS).collect())
    }

    /// Median and 99th percentile of a latency in microseconds.
    pub fn latency(&self, path: &str) -> String {
        let millis = |quantile: &str| span(self.number(&format!("{path}/{quantile}")) / 1e3);
        format!("p50 {}, p99 {}", millis("p50"), millis("p99"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sentence_cannot_command_the_terminal() {
        let document = json!({ "a": "x\u{1b}[2J\n\u{202e}y", "b": "x".repeat(9_999), "c": 1 });
        let document = Document(&document);
        assert_eq!(document.sentence("/a").as_deref(), Some("x[2Jy"));
        assert_eq!(document.sentence("/b").unwrap().len(), MAX_SENTENCE_CHARS);
        assert_eq!(document.sentence("/c"), None);
    }
}
