//! A source as it is proposed, and its text. Pure.

use std::fmt::Write;

use crate::shown::{harmless, is_harmful};

/// Longest comment in characters.
const MAX_COMMENT_CHARS: usize = 800;
/// Where a line of comment ends.
const LINE_CHARS: usize = 98;

/// A source that is proposed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// The source's name.
    pub name: String,
    /// What the source's comment says.
    pub comments: Vec<String>,
    /// The source's patterns of topics.
    pub topics: Vec<String>,
    /// Filters of topics that the source leaves out.
    pub exclude: Vec<String>,
    /// The source's table.
    pub table: Option<String>,
    /// The source's other keys: name, value and why.
    pub keys: Vec<(&'static str, String, String)>,
}

impl Draft {
    /// Adds a key.
    pub fn set(&mut self, name: &'static str, value: String, why: impl Into<String>) {
        self.keys.push((name, value, why.into()));
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.keys.iter().find(|(key, ..)| *key == name).map(|(_, value, _)| value.as_str())
    }

    /// Takes a key away.
    pub fn unset(&mut self, name: &str) {
        self.keys.retain(|(key, ..)| *key != name);
    }

    /// The section.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for comment in &self.comments {
            text.push_str(&comment_lines(comment));
        }
        // Writing into memory does not fail.
        let _ = writeln!(text, "[source.{}]", self.name);
        let topics = match self.topics.as_slice() {
            [one] => quoted(one),
            several => list(several),
        };
        let mut line = |key: &str, value: &str, why: &str| {
            if !why.is_empty() {
                text.push_str(&comment_lines(why));
            }
            let _ = writeln!(text, "{key} = {value}");
        };
        line("topic", &topics, "");
        if !self.exclude.is_empty() {
            line("exclude", &list(&self.exclude), "");
        }
        if let Some((_, format, why)) = self.keys.iter().find(|(key, ..)| *key == "format") {
            line("format", format, why);
        }
        if let Some(table) = &self.table {
            line("table", &quoted(table), "");
        }
        for (key, value, why) in self.keys.iter().filter(|(key, ..)| *key != "format") {
            line(key, value, why);
        }
        text
    }
}

/// A text as TOML has it.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if is_harmful(c) => drop(write!(quoted, "\\U{:08X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A list of texts.
#[must_use]
pub fn list<T: AsRef<str>>(texts: &[T]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quoted(text.as_ref())).collect();
    let line = format!("[{}]", quoted.join(", "));
    if line.chars().count() <= LINE_CHARS { line } else { format!("[\n    {},\n]", quoted.join(",\n    ")) }
}

/// A table on a line, of names and values that are written already.
#[must_use]
pub fn table(entries: &[(String, String)]) -> String {
    let entries: Vec<String> = entries.iter().map(|(name, value)| format!("{} = {value}", key(name))).collect();
    format!("{{ {} }}", entries.join(", "))
}

fn key(name: &str) -> String {
    let is_bare =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if is_bare { name.to_owned() } else { quoted(name) }
}

/// Lines of comment, wrapped, without characters that a terminal would obey.
#[must_use]
pub fn comment_lines(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from("#");
    let (text, end) = match text.char_indices().nth(MAX_COMMENT_CHARS) {
        Some((at, _)) => (text.get(..at).unwrap_or(text), Some("…")),
        None => (text, None),
    };
    for word in text.split_whitespace().chain(end).map(harmless) {
        if line.len() > 1 && line.chars().count() + 1 + word.chars().count() > LINE_CHARS {
            lines.push_str(&line);
            lines.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(&word);
    }
    lines.push_str(&line);
    lines.push('\n');
    lines
}

/// A text cut to so many characters, on one line.
#[must_use]
pub fn cut(text: &str, chars: usize) -> String {
    let mut cut: String = harmless(text.trim()).chars().take(chars).collect();
    if cut.chars().count() < text.trim().chars().count() {
        cut.push('…');
    }
    cut
}

/// The first texts, each cut to so many characters, and how many more there are.
#[must_use]
pub fn some<T: AsRef<str>>(texts: &[T], most: usize, chars: usize) -> String {
    let named: Vec<String> = texts.iter().take(most).map(|text| cut(text.as_ref(), chars)).collect();
    let more = texts.len().saturating_sub(most);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_draft_is_a_section() {
        let mut draft = Draft {
            name: "a".into(),
            comments: vec!["one\ntwo".into()],
            topics: vec!["a/{x}".into()],
            exclude: vec!["a/b".into()],
            table: Some("t".into()),
            ..Draft::default()
        };
        draft.set("timestamp", table(&[("field".into(), quoted("a \"b\""))]), "a time");
        draft.set("format", quoted("plain"), "");
        let expected = "# one two\n[source.a]\ntopic = \"a/{x}\"\nexclude = [\"a/b\"]\nformat = \"plain\"\n\
                        table = \"t\"\n# a time\ntimestamp = { field = \"a \\\"b\\\"\" }\n";
        assert_eq!(draft.text(), expected);
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(some(&["a", "b"], 2, 9), "a, b");
        assert_eq!(some(&["abc", "b", "c", "d"], 2, 2), "ab…, b and 2 more");
        assert_eq!(comment_lines("a \u{1b}[2J\u{2028}b"), "# a \\u{1b}[2J b\n");
        let whole = "a ".repeat(MAX_COMMENT_CHARS / 2);
        assert!(!comment_lines(&whole).contains('…') && comment_lines(&format!("{whole}b")).ends_with(" …\n"));
    }

    proptest! {
        #[test]
        fn any_text_survives(name in any::<String>(), value in any::<String>(), comment in any::<String>()) {
            let text = format!("{}x = {}\n", comment_lines(&comment), table(&[(name.clone(), list(std::slice::from_ref(&value)))]));
            let read: toml::Table = toml::from_str(&text).expect(&text);
            prop_assert_eq!(read["x"][&name][0].as_str(), Some(value.as_str()));
        }
    }
}
