//! Text from outside, fit to be shown: names and payloads come from whoever may publish.
//!
//! A terminal obeys control characters. Format characters (Unicode's category Cf) are not seen, or turn the order of others round, so that
//! a line reads as another one. Both are shown as what they are.

use std::{borrow::Cow, fmt::Write};

/// Format characters (Unicode 17, category Cf), and the separators of lines and paragraphs.
const FORMAT: [(u32, u32); 22] = [
    (0xAD, 0xAD),
    (0x600, 0x605),
    (0x61C, 0x61C),
    (0x6DD, 0x6DD),
    (0x70F, 0x70F),
    (0x890, 0x891),
    (0x8E2, 0x8E2),
    (0x180E, 0x180E),
    (0x200B, 0x200F),
    (0x2028, 0x202E),
    (0x2060, 0x206F),
    (0xFEFF, 0xFEFF),
    (0xFFF9, 0xFFFB),
    (0x110BD, 0x110BD),
    (0x110CD, 0x110CD),
    (0x13430, 0x1343F),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0001, 0xE0001),
    (0xE0020, 0xE007F),
    (0xE0002, 0xE001F),
    (0xE0080, 0xE0FFF),
];

/// Whether a character is not to be shown as it is: a control character, or one that is not seen or moves others.
#[must_use]
pub fn is_harmful(c: char) -> bool {
    // Most text is ASCII.
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    let code = c as u32;
    c.is_control() || FORMAT.iter().any(|(first, last)| (*first..=*last).contains(&code))
}

/// The text on one line: harmful characters, line ends among them, as `\n` or `\u{202e}`.
#[must_use]
pub fn harmless(text: &str) -> Cow<'_, str> {
    escaped(text, is_harmful)
}

/// The same for text of several lines.
#[must_use]
pub fn harmless_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_harmful(c))
}

fn escaped(text: &str, harmful: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&harmful) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if harmful(c) {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    Cow::Owned(clean)
}

/// Output of several lines (JSON, CSV, line protocol) for a terminal: harmful characters as `\u202e`, which within JSON's strings
/// means the same. Line ends and tabs stay.
#[must_use]
pub fn for_terminal(text: &str) -> Cow<'_, str> {
    let is_kept = |c: char| matches!(c, '\n' | '\t');
    if !text.contains(|c| is_harmful(c) && !is_kept(c)) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let ends_a_line = c == '\r' && chars.peek() == Some(&'\n');
        if is_harmful(c) && !is_kept(c) && !ends_a_line {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing into memory does not fail.
                let _ = write!(clean, "\\u{unit:04x}");
            }
        } else {
            clean.push(c);
        }
    }
    Cow::Owned(clean)
}

/// A count with its thousands apart.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `2 rows`.
pub fn plural(number: u64, one: &str) -> String {
    let many = match one.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if one.ends_with("sh") => format!("{one}es"),
        None => format!("{one}s"),
    };
    format!("{} {}", count(number), if number == 1 { one } else { &many })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_obeys_or_nobody_sees_is_harmful() {
        for c in "\0\u{7}\n\r\u{1b}\u{7f}\u{9b}\u{ad}\u{61c}\u{200b}\u{200f}\u{2028}\u{202e}\u{2066}\u{feff}\u{e0041}"
            .chars()
        {
            assert!(is_harmful(c), "{c:?}");
        }
        for c in "a ~é漢ü°€\u{300}\u{fffd}🌡".chars() {
            assert!(!is_harmful(c), "{c:?}");
        }
    }

    #[test]
    fn lines_stay_lines_where_there_may_be_several() {
        assert!(matches!(harmless("a/b°"), Cow::Borrowed(_)));
        assert_eq!(harmless("a\nb\u{1b}\u{202e}"), "a\\nb\\u{1b}\\u{202e}");
        assert_eq!(harmless_lines("a\nb\u{202e}"), "a\nb\\u{202e}");
        assert_eq!(for_terminal("a,b\r\nc\td\n\re\u{9b}"), "a,b\r\nc\td\n\\u000de\\u009b");
    }

    #[test]
    fn json_says_the_same_at_a_terminal() {
        let value = serde_json::json!({ "na\u{202e}me": "x\u{e0041}\u{7f}\u{85}y\\u" });
        let shown = for_terminal(&value.to_string()).into_owned();
        assert!(shown.is_ascii(), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    proptest! {
        #[test]
        fn nothing_harmful_is_left(text in any::<String>()) {
            prop_assert!(!harmless(&text).contains(is_harmful));
            prop_assert!(!harmless_lines(&text).contains(|c| c != '\n' && is_harmful(c)));
            let shown = for_terminal(&text);
            prop_assert!(!shown.replace("\r\n", "").contains(|c| !matches!(c, '\n' | '\t') && is_harmful(c)));
        }
    }
}
