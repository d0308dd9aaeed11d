//! What a payload is: a document, a plain value, line protocol, cells, text or binary. Pure.

use serde_json::Value as Json;

use super::{binary, words};
use crate::{
    decode::{self, Decoded, Decoder, Payload},
    settings::Source,
};

/// Most members and elements of a document that is looked into.
const MAX_NODES: usize = 20_000;
/// Most lines of a payload that are looked at.
const MAX_LINES: usize = 50;
/// Longest text that is taken for a reading, in characters.
const MAX_WORD_CHARS: usize = 64;

/// What a payload is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// It has no bytes, or none that say something.
    Empty,
    /// A JSON object or array.
    Json,
    /// It begins as a document does, and cannot be read as one.
    BrokenJson,
    /// A document with more members than are looked into.
    LargeJson,
    /// A bare number.
    Number,
    /// A number with a decimal comma, a unit or quotes.
    Measure,
    /// `true` or `false`.
    Boolean,
    /// `ON`, `off`, `yes`, `no`.
    Switch,
    /// A short text that is none of these: no number, boolean or switch.
    Word,
    /// Text of several words or lines.
    Text,
    /// Lines of line protocol.
    Line,
    /// Cells with this sign between them.
    Csv(char),
    /// No text; which kind.
    Binary(&'static str),
}

impl Kind {
    /// Whether it is one value.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Number | Self::Measure | Self::Boolean | Self::Switch | Self::Word)
    }

    /// What it is, in words.
    #[must_use]
    pub fn in_words(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Json => "json",
            Self::BrokenJson => "broken json",
            Self::LargeJson => "a large json document",
            Self::Number => "plain number",
            Self::Measure => "plain number with a comma, a unit or quotes",
            Self::Boolean | Self::Switch => "plain boolean",
            Self::Word => "plain text",
            Self::Text => "text",
            Self::Line => "line protocol",
            Self::Csv(_) => "csv",
            Self::Binary(kind) => kind,
        }
    }
}

/// A payload and what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// What it is, once it is unpacked.
    pub kind: Kind,
    /// How it is packed.
    pub packed: Option<&'static str>,
    /// The document, where it is one.
    pub document: Option<Json>,
    /// The text, where it is one.
    pub text: String,
}

/// Looks at a payload of a topic.
#[must_use]
pub fn read(topic: &str, payload: &[u8]) -> Read {
    let (packed, bytes) = match decode::unpacked(payload) {
        None => (None, payload.to_vec()),
        Some(Ok(bytes)) => (Some(packing(payload)), bytes),
        Some(Err(_)) => {
            let kind = Kind::Binary(binary::kind(topic, payload));
            return Read { kind, packed: None, document: None, text: String::new() };
        }
    };
    let core = decode::trimmed(&bytes);
    let first = core.first().copied();
    let looks_like_json = matches!(first, Some(b'{' | b'['));
    if looks_like_json && let Some(document) = document(core) {
        let kind = if nodes(&document, MAX_NODES) > MAX_NODES { Kind::LargeJson } else { Kind::Json };
        let document = (kind == Kind::Json).then_some(document);
        return Read { kind, packed, document, text: String::from_utf8_lossy(core).into_owned() };
    }
    let text = match std::str::from_utf8(core) {
        Ok(text) if !text.chars().any(|c| c.is_control() && !c.is_whitespace()) => text.to_owned(),
        _ => match latin(core) {
            Some(text) => text,
            None if looks_like_json => {
                return Read { kind: Kind::BrokenJson, packed, document: None, text: String::new() };
            }
            None => {
                let kind = Kind::Binary(binary::kind(topic, &bytes));
                return Read { kind, packed, document: None, text: String::new() };
            }
        },
    };
    let kind = if looks_like_json { Kind::BrokenJson } else { of_text(&text) };
    Read { kind, packed, document: None, text }
}

/// A short text with a degree sign or an umlaut of ISO 8859-1.
fn latin(bytes: &[u8]) -> Option<String> {
    let is_text = |byte: &u8| matches!(byte, 0x20..=0x7e | b'\n' | b'\r' | b'\t' | 0xa0..=0xff);
    let high = bytes.iter().filter(|byte| **byte >= 0xa0).count();
    let is_mostly_ascii = bytes.len() >= 3 && high * 4 <= bytes.len();
    (is_mostly_ascii && bytes.iter().all(is_text)).then(|| bytes.iter().map(|byte| char::from(*byte)).collect())
}

fn packing(payload: &[u8]) -> &'static str {
    match payload.first() {
        Some(0x1f) => "gzip",
        Some(0x28) => "zstd",
        _ => "zlib",
    }
}

/// The document of a payload, repaired where a strict parser refuses it.
fn document(core: &[u8]) -> Option<Json> {
    serde_json::from_slice(core).ok().or_else(|| serde_json::from_slice(&decode::repaired_json(core)?).ok())
}

/// Members and elements, but no more than tells that they are more than `most`.
fn nodes(document: &Json, most: usize) -> usize {
    let mut count = 0;
    let mut waiting = vec![document];
    while let Some(node) = waiting.pop() {
        count += 1;
        if count > most {
            break;
        }
        match node {
            Json::Array(list) => waiting.extend(list),
            Json::Object(members) => waiting.extend(members.values()),
            _ => {}
        }
    }
    count
}

fn of_text(text: &str) -> Kind {
    if text.is_empty() || text == "null" {
        return Kind::Empty;
    }
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).trim();
    if bare.is_empty() || words::is_nothing(bare) {
        return if text.is_empty() { Kind::Empty } else { Kind::Word };
    }
    match words::plain(bare) {
        Some(words::Plain::Number) if bare.len() == text.len() => return Kind::Number,
        Some(words::Plain::Number | words::Plain::Measure) => return Kind::Measure,
        Some(words::Plain::Boolean) if bare.len() == text.len() => return Kind::Boolean,
        Some(words::Plain::Boolean | words::Plain::Switch) => return Kind::Switch,
        None => {}
    }
    if text.contains('=') && is_line_protocol(text) {
        return Kind::Line;
    }
    if let Some(delimiter) = delimiter(text) {
        return Kind::Csv(delimiter);
    }
    let is_long = text.chars().count() > MAX_WORD_CHARS || text.split_whitespace().count() > 3;
    if is_long || text.lines().count() > 1 { Kind::Text } else { Kind::Word }
}

/// Whether every line is one of line protocol, but for comments.
fn is_line_protocol(text: &str) -> bool {
    let source: Result<Source, _> = toml::from_str("topic = \"t\"\nformat = \"line\"");
    let Some(mut decoder) = source.ok().and_then(|source| Decoder::new("trial", &source).ok()) else { return false };
    let Some(Ok(topic)) = decoder.resolve("t") else { return false };
    let mut decoded = Decoded::default();
    let read = decoder.decode(&Payload::of(&topic, text.as_bytes()), &mut decoded);
    read.is_ok() && decoded.faults.is_empty() && !decoded.rows.is_empty()
}

/// What stands between the cells of each line.
fn delimiter(text: &str) -> Option<char> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(MAX_LINES).collect();
    let is_between = |delimiter: char| {
        let counts: Vec<usize> = lines.iter().map(|line| line.matches(delimiter).count()).collect();
        let first = counts.first().copied().unwrap_or(0);
        let is_even = first > 0 && counts.iter().all(|count| *count == first);
        // Two cells of whole numbers may be a number with a decimal comma; two words a sentence.
        let least = if delimiter == ';' || delimiter == '\t' || lines.len() > 1 { 1 } else { 2 };
        let last = lines.last().copied().unwrap_or_default();
        let cells = || last.split(delimiter).map(str::trim);
        let told = cells().filter(|cell| cell.is_empty() || words::is_numeric(cell) || words::is_time_text(cell));
        is_even && first >= least && told.count() * 2 > cells().count()
    };
    [';', '\t', ',', '|'].into_iter().find(|delimiter| is_between(*delimiter))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn payloads_are_told_by_what_they_hold() {
        for (payload, expected) in [
            (&b""[..], Kind::Empty),
            (b" \n\0", Kind::Empty),
            (b"null", Kind::Empty),
            (b"{\"a\":1}", Kind::Json),
            (b"{\"a\":nan}", Kind::Json),
            (b"[1,2]", Kind::Json),
            (b"{\"a\":1", Kind::BrokenJson),
            (b"21.5", Kind::Number),
            (b"-3\r\n", Kind::Number),
            (b"21,5", Kind::Measure),
            (b"21.5 \xc2\xb0C", Kind::Measure),
            (b"21.5 \xb0C", Kind::Measure),
            (b"\"21.5\"", Kind::Measure),
            (b"45%", Kind::Measure),
            (b"true", Kind::Boolean),
            (b"OFF", Kind::Switch),
            (b"open", Kind::Word),
            (b"a line of some text", Kind::Text),
            (b"cpu,host=a usage=1.5 1740228800000000000", Kind::Line),
            (b"a=b", Kind::Word),
            (b"2026-03-01 12:00:00,21.5,40.2", Kind::Csv(',')),
            (b"21,5;40,2", Kind::Csv(';')),
            (b"temp,hum\n1,2\n3,4", Kind::Csv(',')),
            (b"\xff\xd8\xff\xe0", Kind::Binary("a JPEG picture")),
        ] {
            assert_eq!(read("t", payload).kind, expected, "{}", String::from_utf8_lossy(payload));
        }
    }

    #[test]
    fn what_is_packed_is_told_by_what_is_inside() {
        let zlib = b"\x78\x9c\xab\x56\xca\x49\x2d\x4b\xcd\x51\xb2\x32\x32\xd2\x33\xad\x05\x00\x22\xef\x04\x56";
        let read = read("t", zlib);
        assert_eq!((read.kind, read.packed), (Kind::Json, Some("zlib")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..60), text in "[-{}\\[\\]\",:;=0-9a-z \n]{0,40}") {
            let _ = (read("t", &bytes), read("t", text.as_bytes()));
        }
    }
}
