//! JSON that a strict parser refuses although most of it is plain: numbers that are none (`NaN`) or
//! too large, raw control characters, bytes that are not UTF-8; and whole numbers that a parser would
//! round. Only looked at once the parser has refused a document, or has rounded a number. Pure.

use std::{borrow::Cow, fmt::Write};

/// Stands in a string where it is broken. Unicode gives it no meaning, and no character is lost by
/// it.
pub(super) const BROKEN: char = '\u{ffff}';

/// The bytes around a document that say nothing: a byte order mark, NULs and white space.
pub fn trim(payload: &[u8]) -> &[u8] {
    let payload = payload.strip_prefix(b"\xef\xbb\xbf").unwrap_or(payload);
    let is_filling = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
    let start = payload.iter().position(|byte| !is_filling(byte)).unwrap_or(payload.len());
    let end = payload.iter().rposition(|byte| !is_filling(byte)).map_or(start, |at| at + 1);
    &payload[start..end]
}

/// The text of a payload, with [`BROKEN`] where it is not UTF-8.
pub(super) fn readable(payload: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(payload).map_or_else(|_| broken_utf8(payload).into(), Cow::Borrowed)
}

/// The document as a strict parser takes it; none where there is nothing to repair.
pub fn repair(payload: &[u8]) -> Option<Vec<u8>> {
    let text = match std::str::from_utf8(payload) {
        Ok(text) => text.to_owned(),
        Err(_) => broken_utf8(payload),
    };
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            rest = string(rest, &mut out);
            continue;
        }
        let end = rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len()).max(first.len_utf8());
        let (word, after) = rest.split_at(end);
        if is_no_number(word) {
            out.push_str("null");
        } else if is_beyond_64_bits(word) {
            // As text every digit stays.
            out.extend(["\"", word, "\""]);
        } else if is_too_large(word) {
            out.push('"');
            out.push(BROKEN);
            out.extend([word, "\""]);
        } else {
            out.push_str(word);
        }
        rest = after;
    }
    (out.as_bytes() != payload).then(|| out.into_bytes())
}

fn broken_utf8(payload: &[u8]) -> String {
    let mut text = String::with_capacity(payload.len());
    for chunk in payload.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(BROKEN);
        }
    }
    text
}

/// Whether a character is part of a word: of a name, or of a number.
fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '+' | '-')
}

/// Whether a word is one for what is no number.
fn is_no_number(word: &str) -> bool {
    const WORDS: [&str; 3] = ["nan", "infinity", "inf"];
    let signless = word.strip_prefix(['-', '+']).unwrap_or(word);
    WORDS.iter().any(|known| signless.eq_ignore_ascii_case(known))
}

/// Whether it is a whole number that neither a signed nor an unsigned one of 64 bits holds.
fn is_beyond_64_bits(word: &str) -> bool {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let is_whole = digits.len() > 18 && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_whole && word.parse::<i64>().is_err() && word.parse::<u64>().is_err()
}

/// Whether it is a number beyond what a double holds.
fn is_too_large(word: &str) -> bool {
    let has_digits = word.contains(|c: char| c.is_ascii_digit());
    has_digits && word.parse().is_ok_and(|number: f64| number.is_infinite())
}

/// Copies a string from its opening quote to its closing one; returns what comes after it.
fn string<'t>(text: &'t str, out: &mut String) -> &'t str {
    out.push('"');
    let mut rest = &text[1..];
    while let Some(c) = rest.chars().next() {
        match c {
            '"' => {
                out.push('"');
                return &rest[1..];
            }
            '\\' => rest = escape(rest, out),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
                rest = &rest[1..];
            }
            c => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    rest
}

/// Copies an escape, or marks where it is none.
fn escape<'t>(text: &'t str, out: &mut String) -> &'t str {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
    };
    let length = match text.as_bytes().get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
        Some(b'u') => match (unit(0), unit(6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff) | None, _) => 0,
            (Some(_), _) => 6,
        },
        _ => 0,
    };
    if length > 0 {
        out.push_str(&text[..length]);
        return &text[length..];
    }
    out.push(BROKEN);
    let lone_unit = if unit(0).is_some() { 6 } else { 1 };
    &text[lone_unit..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn repaired(payload: &[u8]) -> Option<String> {
        repair(payload).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn what_is_no_number_is_null_outside_strings() {
        for (payload, expected) in [
            (r#"{"a":NaN}"#, Some(r#"{"a":null}"#)),
            ("[nan, -Infinity,+inf]", Some("[null, null,null]")),
            (r#"{"NaN":"a NaN \"NaN"}"#, None),
            ("{\"a\":1}", None),
            ("nanny", None),
            ("_NaN", None),
            ("[18446744073709551615,-9223372036854775808,1e30,0.1]", None),
            (
                "[18446744073709551616,-9223372036854775809]",
                Some("[\"18446744073709551616\",\"-9223372036854775809\"]"),
            ),
            ("[1e999,-12e5,1e-999]", Some("[\"\u{ffff}1e999\",-12e5,1e-999]")),
        ] {
            assert_eq!(repaired(payload.as_bytes()).as_deref(), expected, "{payload}");
        }
    }

    #[test]
    fn broken_strings_are_marked_where_they_break() {
        for (payload, expected) in [
            (&b"{\"a\":\"\xb0C\"}"[..], "{\"a\":\"\u{ffff}C\"}"),
            (b"{\"a\":\"x\ty\0\"}", "{\"a\":\"x\\u0009y\\u0000\"}"),
            (br#"{"a":"\2"}"#, "{\"a\":\"\u{ffff}2\"}"),
            (br#"{"a":"\ud800x"}"#, "{\"a\":\"\u{ffff}x\"}"),
            (br#"{"a":"\ud83d\ude00","b":nan}"#, r#"{"a":"\ud83d\ude00","b":null}"#),
        ] {
            assert_eq!(repaired(payload).as_deref(), Some(expected));
        }
    }

    #[test]
    fn bytes_around_a_document_say_nothing() {
        assert_eq!(trim(b"\xef\xbb\xbf \0{\"a\":1}\0 \n\0"), b"{\"a\":1}");
        assert_eq!(trim(b"\0\0 "), b"");
    }

    proptest! {
        #[test]
        fn any_bytes_are_handled_and_good_json_is_left_alone(bytes in prop::collection::vec(any::<u8>(), 0..60), text in "\\PC{0,40}") {
            let _ = repair(trim(&bytes));
            let good = serde_json::json!({ &text: [&text, 1.5, null, true] }).to_string();
            prop_assert_eq!(repair(good.as_bytes()), None);
        }

        #[test]
        fn what_was_repaired_needs_no_repair(text in "[-+naNIfity\"\\\\ u0d8,:{}\\x00\\x09]{0,40}") {
            if let Some(once) = repair(text.as_bytes()) {
                prop_assert_eq!(repair(&once), None);
            }
        }
    }
}
