//! Sources as the text of a fragment, with what is said of them at its place. Pure.

use std::collections::{BTreeMap, HashSet};

use super::{
    draft::{Draft, Format, Time},
    finish::Finished,
    inline::inline,
    remark::Remark,
};
use crate::shown::harmless;

/// Widest line of a comment.
const WIDTH: usize = 110;

/// A section of a source. `is_sound` is whether it may stand; otherwise it is a comment.
pub fn section(name: &str, source: &Finished, is_sound: bool) -> String {
    let draft = &source.draft;
    let mut text = String::new();
    text.push_str(&said(draft, ""));
    let mut lines = format!("[source.{name}]\n");
    for (key, value) in keys(source) {
        let comments = said(draft, key);
        lines.push_str(&comments);
        for (_, line) in draft.suggestions.iter().filter(|(of, _)| *of == key) {
            lines.extend(["#", &harmless(line), "\n"]);
        }
        if let Some(value) = value {
            lines.extend([key, " = ", &value, "\n"]);
        }
    }
    if is_sound {
        text.push_str(&lines);
    } else {
        text.extend(
            lines.lines().map(|line| if line.starts_with('#') { format!("{line}\n") } else { format!("#{line}\n") }),
        );
    }
    text
}

/// What is said before a key.
fn said(draft: &Draft, key: &str) -> String {
    draft.remarks.iter().filter(|remark| remark.key == key).map(comment).collect()
}

/// A remark as a comment.
pub fn comment(remark: &Remark) -> String {
    let name = option_name(&remark.place.path);
    let text = format!("{}: {} (line {}): {}", remark.kind.word(), name, remark.place.line, remark.what);
    wrapped(&text)
}

/// The name of an option without the plugin's: `qos` for `inputs.mqtt_consumer[0].qos`.
fn option_name(path: &str) -> &str {
    path.split_once("].").map_or(path, |(_, rest)| rest)
}

/// A text as lines of a comment.
pub fn wrapped(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in harmless(text).split_whitespace() {
        let is_full = lines.last().is_some_and(|line| line.len() + word.len() >= WIDTH && line.len() > 4);
        if is_full {
            lines.push("#  ".into());
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

/// Every key in the order of the page about sources, with its value where it has one.
fn keys(source: &Finished) -> Vec<(&'static str, Option<String>)> {
    let draft = &source.draft;
    let text = |text: &str| toml::Value::from(text).to_string();
    let texts = |list: &[String]| (!list.is_empty()).then(|| toml::Value::from(list.to_vec()).to_string());
    let topic = match source.patterns.as_slice() {
        [one] => text(one),
        several => toml::Value::from(several.to_vec()).to_string(),
    };
    let only: Vec<String> = unique(draft.only.iter().map(|only| only.pattern.clone()));
    let kinds: BTreeMap<String, String> =
        draft.fields.iter().map(|(path, kind)| (path.clone(), (*kind).to_owned())).collect();
    let table = |table: &BTreeMap<String, String>| (!table.is_empty()).then(|| inline(table));
    let is_of_lines = draft.format == Format::Line && draft.table == "{measurement}";
    vec![
        ("topic", Some(topic)),
        ("qos", draft.qos.map(|qos| qos.to_string())),
        ("shared_group", source.shared.as_deref().map(text)),
        ("format", (draft.format != Format::Json).then(|| text(draft.format.word()))),
        ("delimiter", draft.delimiter.as_deref().map(text)),
        ("columns", texts(&draft.columns)),
        ("table", (!is_of_lines).then(|| text(&draft.table))),
        ("tags", table(&draft.tags)),
        ("jq", draft.jq.as_deref().map(text)),
        ("rows", draft.rows.as_deref().map(text)),
        ("name", draft.named.as_ref().map(|(name, _)| text(name))),
        ("value", draft.named.as_ref().map(|(_, value)| text(value))),
        ("field", draft.field.as_deref().map(text)),
        ("timestamp", draft.time.as_ref().map(time)),
        ("symbols", texts(&unique(draft.symbols.iter().cloned()))),
        ("fields", table(&kinds)),
        ("rename", table(&draft.rename)),
        ("scale", (!draft.scale.is_empty()).then(|| scale(&draft.scale))),
        ("null_values", texts(&draft.null_values)),
        ("only", texts(&only)),
        ("ignore", texts(&draft.ignore)),
    ]
}

fn unique(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = HashSet::new();
    names.filter(|name| seen.insert(name.clone())).collect()
}

fn time(time: &Time) -> String {
    let mut table = toml::Table::new();
    for (key, value) in [("field", Some(&time.field)), ("unit", Some(&time.unit)), ("zone", time.zone.as_ref())] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            table.insert(key.into(), toml::Value::from(value.clone()));
        }
    }
    toml::Value::Table(table).to_string()
}

fn scale(scale: &BTreeMap<String, (f64, f64)>) -> String {
    let pairs = scale.iter().map(|(path, (factor, offset))| {
        let value = if *offset == 0.0 {
            toml::Value::from(*factor)
        } else {
            let pair = [("factor".to_owned(), (*factor).into()), ("offset".to_owned(), (*offset).into())];
            toml::Value::Table(pair.into_iter().collect())
        };
        (path.clone(), value)
    });
    toml::Value::Table(pairs.collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_wrapped_and_harmless() {
        let text = wrapped(&"word ".repeat(60));
        assert!(text.lines().all(|line| line.starts_with('#') && line.len() <= WIDTH) && text.lines().count() > 2);
        assert_eq!(wrapped("a\nb\u{1b}[2J"), "# a\\nb\\u{1b}[2J\n");
    }
}
