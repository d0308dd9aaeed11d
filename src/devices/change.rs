//! Changes to a ready-made file that keep its comments: a few values are replaced where they stand
//! in the text.

use std::ops::Range;

use thiserror::Error;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::Family;

/// What to change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Topic patterns in place of the file's; none leaves those.
    pub topics: Vec<String>,
    /// The table's name.
    pub table: Option<String>,
    /// The zone of times that tell none.
    pub zone: Option<String>,
    /// The first source's name. That of `NAME-…` changes with it.
    pub name: Option<String>,
}

/// A change that a file does not allow.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ChangeError {
    /// It is meant for one source, and there are several.
    #[error(
        "the ready-made file {family} has several sources ({sources}), and --{option} cannot tell which one is meant; \
         add it without --{option} and edit the file"
    )]
    Several {
        /// The family.
        family: &'static str,
        /// The option.
        option: &'static str,
        /// Their names.
        sources: String,
    },
    /// There is no zone to change.
    #[error("the times of {0} have a zone, or it sends none: leave --zone out")]
    NoZone(&'static str),
    /// What the source leaves out is named by the topics that it had.
    #[error(
        "the ready-made file {0} leaves topics out by what they begin with, and the new ones begin with a placeholder or \
         with nothing in common; add it without --topic and edit `topic` and `exclude`"
    )]
    Exclude(&'static str),
    /// It has no form that can be changed.
    #[error("the ready-made file {0} cannot be changed: {1}")]
    Form(&'static str, String),
}

/// Pieces of the text and what stands in their place.
#[derive(Debug, Default)]
struct Edits(Vec<(Range<usize>, String)>);

/// A source in the text.
struct Section<'t> {
    name: &'t Spanned<toml::de::DeString<'t>>,
    keys: &'t DeTable<'t>,
}

impl Family {
    /// The file's text with these changes.
    pub fn changed(&self, changes: &Changes) -> Result<String, ChangeError> {
        let form = |what: &str| ChangeError::Form(self.name, what.to_owned());
        let parsed = DeTable::parse(self.text).map_err(|error| form(error.message()))?;
        let sections = sections(parsed.get_ref());
        let mut edits = Edits::default();
        if !changes.topics.is_empty() {
            self.set_topics(self.only(&sections, "topic")?, &changes.topics, &mut edits)?;
        }
        if let Some(table) = &changes.table {
            set_table(self.text, self.only(&sections, "table")?.keys, table, &mut edits)
                .ok_or_else(|| form("no topic"))?;
        }
        if let Some(zone) = &changes.zone {
            let zones: Vec<_> = sections.iter().filter_map(|section| zone_of(section.keys)).collect();
            if zones.is_empty() {
                return Err(ChangeError::NoZone(self.name));
            }
            for span in zones {
                edits.put(span, quoted(zone));
            }
        }
        if let Some(name) = &changes.name {
            for section in &sections {
                let own = section.name.get_ref().as_ref();
                let rest = own.strip_prefix(self.name).ok_or_else(|| form("a source has a name of its own"))?;
                edits.put(section.name.span(), format!("{name}{rest}"));
            }
        }
        Ok(edits.applied(self.text))
    }

    /// Whether its times tell no zone, so that a source of it has one.
    #[must_use]
    pub fn has_zone(&self) -> bool {
        let has_zone = |sections: &[Section<'_>]| sections.iter().any(|section| zone_of(section.keys).is_some());
        DeTable::parse(self.text).is_ok_and(|parsed| has_zone(&sections(parsed.get_ref())))
    }

    /// The one source there is.
    fn only<'s, 't>(&self, sections: &'s [Section<'t>], option: &'static str) -> Result<&'s Section<'t>, ChangeError> {
        match sections {
            [section] => Ok(section),
            several => {
                let names: Vec<&str> = several.iter().map(|section| section.name.get_ref().as_ref()).collect();
                Err(ChangeError::Several { family: self.name, option, sources: names.join(", ") })
            }
        }
    }

    /// Other topics; what is excluded begins as they do.
    fn set_topics(&self, section: &Section<'_>, topics: &[String], edits: &mut Edits) -> Result<(), ChangeError> {
        let topic = section.keys.get("topic").ok_or_else(|| ChangeError::Form(self.name, "no topic".to_owned()))?;
        let old = base(&texts(topic.get_ref()));
        let new = base(&topics.iter().map(String::as_str).collect::<Vec<_>>());
        let items: Vec<String> = topics.iter().map(|topic| quoted(topic)).collect();
        edits.put(
            topic.span(),
            if let [one] = items.as_slice() { one.clone() } else { format!("[{}]", items.join(", ")) },
        );
        let excluded = section.keys.get("exclude").and_then(|list| list.get_ref().as_array());
        for filter in excluded.into_iter().flatten() {
            let rest = filter.get_ref().as_str().and_then(|text| text.strip_prefix(&old));
            let Some(rest) = rest.filter(|_| !old.is_empty()) else { continue };
            if new.is_empty() {
                return Err(ChangeError::Exclude(self.name));
            }
            edits.put(filter.span(), quoted(&format!("{new}{rest}")));
        }
        Ok(())
    }
}

/// The levels that all patterns begin with, each with its slash, up to the first that is no plain
/// name.
fn base(patterns: &[&str]) -> String {
    let levels = |pattern: &str| {
        let plain =
            pattern.split_inclusive('/').take_while(|level| level.ends_with('/') && !level.contains(['{', '+']));
        plain.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut patterns = patterns.iter().map(|pattern| levels(pattern));
    let first = patterns.next().unwrap_or_default();
    let shared = patterns.fold(first.len(), |most, other| {
        first.iter().zip(&other).take(most).take_while(|(one, other)| one == other).count()
    });
    first.into_iter().take(shared).collect()
}

/// The sources of a file.
fn sections<'t>(parsed: &'t DeTable<'t>) -> Vec<Section<'t>> {
    let sources = parsed.get("source").and_then(|sources| sources.get_ref().as_table());
    let section = |(name, keys): (&'t Spanned<_>, &'t Spanned<DeValue<'t>>)| {
        let keys = keys.get_ref().as_table()?;
        Some(Section { name, keys })
    };
    sources.into_iter().flatten().filter_map(section).collect()
}

/// The texts of a value: itself, or its elements.
fn texts<'t>(value: &'t DeValue<'t>) -> Vec<&'t str> {
    match value {
        DeValue::Array(list) => list.iter().filter_map(|item| item.get_ref().as_str()).collect(),
        other => other.as_str().into_iter().collect(),
    }
}

/// Where a source's zone stands.
fn zone_of(keys: &DeTable<'_>) -> Option<Range<usize>> {
    let timestamp = keys.get("timestamp")?.get_ref().as_table()?;
    Some(timestamp.get("zone")?.span())
}

/// Replaces the table's name, or puts one on a line behind the topic.
fn set_table(text: &str, keys: &DeTable<'_>, table: &str, edits: &mut Edits) -> Option<()> {
    if let Some(old) = keys.get("table") {
        edits.put(old.span(), quoted(table));
        return Some(());
    }
    let topic = keys.get("topic")?.span();
    let end = text.get(topic.end..)?.find('\n').map_or(text.len(), |line| topic.end + line);
    edits.put(end..end, format!("\ntable = {}", quoted(table)));
    Some(())
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

impl Edits {
    fn put(&mut self, place: Range<usize>, text: String) {
        self.0.push((place, text));
    }

    fn applied(mut self, text: &str) -> String {
        self.0.sort_by_key(|(place, _)| place.start);
        let (mut changed, mut from) = (String::new(), 0);
        for (place, new) in self.0 {
            changed.push_str(text.get(from..place.start).unwrap_or_default());
            changed.push_str(&new);
            from = place.end;
        }
        changed.push_str(text.get(from..).unwrap_or_default());
        changed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::devices::{Signs, all};

    const TEXT: &str = r#"# Plug: a plug's power
[source.plug]  # its name
topic = [
    "tele/{device}/SENSOR", # by default
    "tele/{room}/{device}/SENSOR",
]  # topics
exclude = ["tele/+/test", "other/#"] # left out
table = "plug"  # its table
timestamp = { field = "Time", zone = "Europe/Berlin" }  # its own zone
"#;

    fn family(text: &'static str) -> Family {
        Family { name: "plug", text, signs: Signs { topics: &[], members: &[] } }
    }

    fn changed(text: &'static str, changes: &Changes) -> Result<String, ChangeError> {
        family(text).changed(changes)
    }

    fn topics(topics: &[&str]) -> Changes {
        Changes { topics: topics.iter().map(|&topic| topic.to_owned()).collect(), ..Changes::default() }
    }

    #[test]
    fn values_change_where_they_stand_and_comments_stay() {
        let changes = Changes {
            table: Some("power".into()),
            zone: Some("Asia/Tokyo".into()),
            name: Some("garage".into()),
            ..topics(&["home/tele/{device}/SENSOR"])
        };
        let wanted = r#"# Plug: a plug's power
[source.garage]  # its name
topic = "home/tele/{device}/SENSOR"  # topics
exclude = ["home/tele/+/test", "other/#"] # left out
table = "power"  # its table
timestamp = { field = "Time", zone = "Asia/Tokyo" }  # its own zone
"#;
        assert_eq!(changed(TEXT, &changes).expect("changed"), wanted);
        assert_eq!(changed(TEXT, &Changes::default()).expect("the same"), TEXT);
        let several = changed(TEXT, &topics(&["a/{x}", "a/b/{x}"])).expect("changed");
        assert!(several.contains("topic = [\"a/{x}\", \"a/b/{x}\"]  # topics\nexclude = [\"a/+/test\""), "{several}");
    }

    #[test]
    fn a_table_is_put_behind_the_topic_where_there_is_none() {
        let text = "[source.plug]\ntopic = \"t/#\"  # all\nformat = \"line\"";
        let changes = Changes { table: Some("a\"b".into()), ..Changes::default() };
        let wanted = "[source.plug]\ntopic = \"t/#\"  # all\ntable = 'a\"b'\nformat = \"line\"";
        assert_eq!(changed(text, &changes).expect("changed"), wanted);
        assert!(changed("[source.plug]\ntopic = \"t\"", &changes).expect("changed").ends_with("\ntable = 'a\"b'"));
    }

    #[test]
    fn what_cannot_be_changed_is_told() {
        let two = "[source.plug]\ntopic = \"a\"\ntable = \"a\"\n[source.plug-2]\ntopic = \"b\"\ntable = \"b\"\n";
        let told = |text, changes: &Changes| changed(text, changes).expect_err("an error").to_string();
        let text = told(two, &topics(&["c"]));
        assert!(text.contains("several sources (plug, plug-2)") && text.contains("--topic"), "{text}");
        assert!(told(two, &Changes { table: Some("c".into()), ..Changes::default() }).contains("--table"));
        assert!(told(two, &Changes { zone: Some("UTC".into()), ..Changes::default() }).contains("--zone"));
        assert!(told(TEXT, &topics(&["{house}/{device}"])).contains("edit `topic` and `exclude`"));
        let named = Changes { name: Some("x".into()), ..Changes::default() };
        let renamed = changed(two, &named).expect("changed");
        assert!(renamed.contains("[source.x]") && renamed.contains("[source.x-2]"), "{renamed}");
        assert!(told("[source.other]\ntopic = \"a\"", &named).contains("a name of its own"));
    }

    #[test]
    fn patterns_share_the_levels_that_are_plain_names() {
        for (patterns, shared) in [
            (&["a/b/{x}"][..], "a/b/"),
            (&["a/b/{x}", "a/c/{x}"], "a/"),
            (&["a/b"], "a/"),
            (&["a-{x}/b"], ""),
            (&["a/#"], "a/"),
            (&[], ""),
        ] {
            assert_eq!(base(patterns), shared, "{patterns:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_put_in_reads_back(table in "\\PC{0,20}", topic in "\\PC{1,20}", name in "[A-Za-z0-9_-]{1,20}") {
            for family in all() {
                let changes = Changes { table: Some(table.clone()), name: Some(name.clone()), ..topics(&[&topic]) };
                let Ok(text) = family.changed(&changes) else { continue };
                let parsed: toml::Table = toml::from_str(&text).expect(&text);
                let source = &parsed["source"][&name];
                prop_assert_eq!(source["table"].as_str(), Some(table.as_str()));
                prop_assert_eq!(source["topic"].as_str(), Some(topic.as_str()));
            }
        }
    }
}
