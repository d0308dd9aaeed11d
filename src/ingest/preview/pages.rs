//! Pages with examples: messages, and the rows that they become. Tests read them.

use serde_json::Value as Json;

use super::{Incoming, Previewer};
use crate::{
    point::{Received, Timestamp},
    settings::Settings,
};

/// When the messages of pages come in.
pub const RECEIVED: Received = Received { wall: Timestamp(1_772_366_400_000_000_000), since_boot_ns: 1 };

/// Blocks of a page, each with the word behind its fence.
pub fn blocks(page: &str) -> Vec<(&str, &str)> {
    let mut blocks = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once("\n```") {
        let (word, body) = after.split_once('\n').expect("a block");
        let (body, after) = body.split_once("```").expect("a block ends");
        blocks.push((word, body));
        rest = after;
    }
    blocks
}

/// The messages of a block: topic and payload. Two spaces at the beginning of a line continue the
/// payload, and `\xNN` is a byte.
pub fn messages(block: &str) -> Vec<(String, Vec<u8>)> {
    let mut lines: Vec<String> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("  "), lines.last_mut()) {
            (Some(more), Some(last)) => last.extend(["\n", more]),
            _ => lines.push(line.to_owned()),
        }
    }
    let split = |line: &String| {
        let (topic, payload) = line.split_once(' ').unwrap_or((line, ""));
        (topic.to_owned(), bytes(payload))
    };
    lines.iter().map(split).collect()
}

fn bytes(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => bytes.extend(std::iter::once(byte).chain(part[2..].bytes())),
            None => bytes.extend([b"\\x", part.as_bytes()].concat()),
        }
    }
    bytes
}

/// An example: messages, the rows that come of them, and what is set aside.
#[derive(Debug)]
pub struct Example<'p> {
    /// Topics and payloads.
    pub messages: Vec<(String, Vec<u8>)>,
    rows: &'p str,
    aside: &'p str,
}

impl<'p> Example<'p> {
    /// One of these blocks.
    pub fn of(name: &str, blocks: &[(&'p str, &'p str)]) -> Self {
        let [("messages", sent), ("rows", rows), rest @ ..] = blocks else { panic!("{name}: {blocks:?}") };
        let aside = match rest {
            [] => "",
            [("aside", aside)] => aside,
            other => panic!("{name}: {other:?}"),
        };
        Self { messages: messages(sent), rows, aside }
    }

    /// Whether these settings make of the messages what is said. A message that no source takes is
    /// a mistake of the page, unless that is what it is to show.
    pub fn run(&self, name: &str, settings: &Settings, may_be_untaken: bool) {
        let mut previewer = Previewer::new(settings, None).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (mut rows, mut reasons) = (Vec::new(), Vec::new());
        for (topic, payload) in &self.messages {
            let message = Incoming { topic, payload, received: RECEIVED, ..Incoming::default() };
            let Some(told) = previewer.preview(&message) else {
                assert!(may_be_untaken, "{name}: nobody takes {topic}");
                continue;
            };
            reasons.extend(told.set_aside.clone());
            rows.extend(told.as_json()["rows"].as_array().cloned().unwrap_or_default());
        }
        let wanted: Vec<Json> = self.rows.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        let shown = |rows: &[Json]| rows.iter().map(Json::to_string).collect::<Vec<_>>().join("\n");
        assert!(rows == wanted, "{name} gives\n{}\nand not\n{}\n{reasons:?}", shown(&rows), shown(&wanted));
        let parts: Vec<&str> = self.aside.lines().collect();
        let is_told = parts.len() == reasons.len() && parts.iter().zip(&reasons).all(|(part, of)| of.contains(part));
        assert!(is_told, "{name}: {reasons:#?} and not {parts:#?}");
    }
}
