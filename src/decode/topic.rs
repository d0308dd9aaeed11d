//! What a topic says of its messages: whether a source takes them, their table, symbols and field.

use super::{
    DecodeError, Problem, check_symbol,
    names::{column_fault, column_name},
    pattern::{Captures, Pattern},
    row::PerRow,
    table::{TableError, TableTemplate},
    template::Template,
    value::clean_text,
};
use crate::{
    point::Text,
    settings::{Format, Source},
};

/// What a topic says of its rows; the same for every message on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The table; empty where each row tells its own.
    pub table: Text,
    /// The topic's symbols, sorted by name.
    pub symbols: Vec<(Text, Text)>,
    /// The name of the field that a bare value becomes.
    pub field: Text,
    /// All placeholders with their values.
    pub(super) given: Vec<(Text, Text)>,
}

impl Resolved {
    /// The value of a placeholder.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        self.given.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A source's patterns, and what is made of their placeholders.
#[derive(Debug, Clone)]
pub(super) struct Topic {
    pub patterns: Vec<Pattern>,
    excluded: Vec<Pattern>,
    /// None where each row tells its own.
    table: Option<TableTemplate>,
    tags: Vec<(Text, Template)>,
    field: Template,
}

/// Mistakes of a source: the key, and what is wrong.
pub(super) type Mistakes = Vec<(&'static str, Problem)>;

impl Topic {
    /// By a source's settings, and what its rows tell of themselves. What is wrong goes to
    /// `mistakes`; none where nothing can be made of it.
    pub fn of(source: &Source, row_names: &[Text], mistakes: &mut Mistakes) -> Option<(Self, PerRow)> {
        let before = mistakes.len();
        let patterns = patterns("topic", source.topic.iter(), mistakes);
        if source.topic.0.is_empty() {
            mistakes.push(("topic", Problem::Name("the list is empty; name at least one pattern".into())));
        }
        let excluded = patterns_of_filters(source, mistakes);
        let table = table(source, &patterns, row_names, mistakes);
        let tags = tags(source, &patterns, row_names, mistakes);
        let field = field(source, &patterns, mistakes);
        let (table, field) = (table?, field?);
        if mistakes.len() > before {
            return None;
        }
        let is_given = |name: &str| patterns.iter().any(|pattern| pattern.names().any(|given| given == name));
        let is_of_row = |name: &str| row_names.iter().any(|of_row| of_row == name) && !is_given(name);
        let (row_table, topic_table) = match table {
            table if source.table.is_none() || table.names().any(is_of_row) => (Some(table), None),
            table => (None, Some(table)),
        };
        let (row_tags, topic_tags) =
            tags.into_iter().partition(|(_, tag): &(Text, Template)| tag.names().any(is_of_row));
        let is_kept = source.format == Format::Line && row_table.is_none();
        let keeps = is_kept.then(|| Text::from("measurement"));
        let per_row = PerRow { table: row_table, tags: row_tags, keeps };
        Some((Self { patterns, excluded, table: topic_table, tags: topic_tags, field }, per_row))
    }

    /// Whether its messages are dropped.
    pub fn excludes(&self, topic: &str) -> bool {
        self.excluded.iter().any(|pattern| pattern.captures(topic).is_some())
    }

    /// What a topic says that one of the patterns matches; `None` when it does not.
    pub fn resolve(&self, pattern: &Pattern, topic: &str) -> Option<Result<Resolved, DecodeError>> {
        let captures = pattern.captures(topic)?;
        Some(self.resolve_captures(&captures).map_err(|reason| DecodeError::new("topic", reason)))
    }

    fn resolve_captures(&self, captures: &Captures<'_, '_>) -> Result<Resolved, String> {
        let mut symbols = Vec::new();
        for (name, value) in captures.iter() {
            if value.is_empty() {
                return Err(format!("the level for {{{name}}} is empty"));
            }
            if self.field.names().any(|used| used == name) {
                continue;
            }
            check_symbol(name, value)?;
            symbols.push((name.into(), clean_text(value)));
        }
        for (name, template) in &self.tags {
            // A placeholder that this pattern does not have.
            let Ok(value) = template.fill(|name| captures.get(name)) else { continue };
            check_symbol(name, &value)?;
            if !value.is_empty() {
                symbols.push((name.clone(), clean_text(&value)));
            }
        }
        symbols.sort_unstable_by(|a: &(Text, Text), b: &(Text, Text)| crate::names::cmp(&a.0, &b.0));
        let table = self.table.as_ref().map(|table| table.render(|name| captures.get(name)));
        let table = table.transpose().map_err(|error| error.to_string())?.unwrap_or_default();
        let field = self.field.fill(|name| captures.get(name)).unwrap_or_default();
        let given = captures.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Ok(Resolved { table, symbols, field, given })
    }
}

fn patterns<'a>(key: &'static str, texts: impl Iterator<Item = &'a str>, mistakes: &mut Mistakes) -> Vec<Pattern> {
    let mut patterns: Vec<Pattern> = Vec::new();
    for text in texts {
        match Pattern::parse(text) {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => mistakes.push((key, error.into())),
        }
    }
    patterns
}

fn patterns_of_filters(source: &Source, mistakes: &mut Mistakes) -> Vec<Pattern> {
    let excluded = patterns("exclude", source.exclude.iter().map(String::as_str), mistakes);
    if let Some(name) = excluded.iter().find_map(|pattern| pattern.names().next()) {
        let what = format!("{{{name}}} keeps nothing here; write + for one level and # for the rest");
        mistakes.push(("exclude", Problem::Name(what)));
    }
    excluded
}

/// The table's template. Each of its placeholders has to be in every pattern, or told by each row.
fn table(source: &Source, patterns: &[Pattern], row_names: &[Text], mistakes: &mut Mistakes) -> Option<TableTemplate> {
    let text = match (&source.table, source.format) {
        (Some(text), _) => text.as_str(),
        (None, Format::Line) => "{measurement}",
        (None, _) => {
            let what = "this key is required and has no default; set it";
            mistakes.push(("table", Problem::Name(what.to_owned())));
            return None;
        }
    };
    let template = TableTemplate::parse(text).map_err(|error| mistakes.push(("table", error.into()))).ok()?;
    let is_known = |used: &str| {
        row_names.iter().any(|name| name == used)
            || patterns.iter().all(|pattern| pattern.names().any(|name| name == used))
    };
    for used in template.names().filter(|used| !is_known(used)) {
        mistakes.push(("table", TableError::Unknown(used.to_owned()).into()));
    }
    Some(template)
}

/// The templates of a source's tags.
fn tags(source: &Source, patterns: &[Pattern], row_names: &[Text], mistakes: &mut Mistakes) -> Vec<(Text, Template)> {
    let mut tags = Vec::new();
    for (name, template) in &source.tags {
        let mut fault = |what: String| mistakes.push(("tags", Problem::Name(format!("{name}: {what}"))));
        let parsed = match (column_fault(name), Template::parse(template)) {
            (Some(what), _) => {
                fault(what);
                continue;
            }
            (None, Err(error)) => {
                fault(error.to_string());
                continue;
            }
            (None, Ok(parsed)) => parsed,
        };
        if let Some(unknown) = unknown(&parsed, patterns, row_names) {
            fault(format!(
                "it uses {{{unknown}}}, which the topic pattern does not have; add it there or remove it here"
            ));
        }
        tags.push((name.into(), parsed));
    }
    tags
}

/// A placeholder that no pattern has and no row tells.
fn unknown(template: &Template, patterns: &[Pattern], row_names: &[Text]) -> Option<String> {
    let is_known = |used: &str| {
        row_names.iter().any(|name| name == used)
            || patterns.iter().any(|pattern| pattern.names().any(|name| name == used))
    };
    template.names().find(|used| !is_known(used)).map(str::to_owned)
}

/// The name of the field that a bare value becomes.
fn field(source: &Source, patterns: &[Pattern], mistakes: &mut Mistakes) -> Option<Template> {
    let mut fault = |what: String| mistakes.push(("field", Problem::Name(what)));
    let template = Template::parse(&source.field).map_err(|error| fault(error.to_string())).ok()?;
    for used in template.names() {
        if !patterns.iter().all(|pattern| pattern.names().any(|name| name == used)) {
            fault(format!("it uses {{{used}}}, which not every topic pattern has; add it there or remove it here"));
        }
    }
    if template.names().next().is_none()
        && let Err(what) = column_name(&source.field)
    {
        fault(what);
    }
    Some(template)
}
