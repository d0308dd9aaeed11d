//! What a source's keys say together: names that are used twice, keys that mean nothing for its
//! format. Pure.

use std::borrow::Cow;

use super::{
    Problem,
    json::is_without_rows,
    members::{Members, is_outside},
    names::{column_fault, column_name, duplicate},
    pattern::Pattern,
    time::TimeReader,
    topic::Mistakes,
};
use crate::{
    names::same,
    point::{MAX_SYMBOLS, Text},
    settings::{Format, Scale, Source},
};

/// The first of these members that the source leaves out.
pub fn ignored<'a>(source: &Source, mut paths: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let members = Members::of(source);
    paths.find(|path| !is_outside(path) && members.leaves_out(path))
}

/// Whether a source has a column of that name that its configuration tells: a tag of all sources
/// then is none of its own.
#[must_use]
pub fn names_column(source: &Source, name: &str) -> bool {
    let is_time = source.timestamp.as_ref().is_some_and(|time| same(&time.field, name));
    let is_placeholder = placeholders(source).iter().any(|placeholder| same(placeholder, name));
    is_placeholder || is_time || columns(source).iter().any(|column| same(column, name))
}

/// The source as it is where its rows stand at the document's top: `$.x` is `x` then.
pub(super) fn without_top(source: &Source) -> Cow<'_, Source> {
    let inside = |path: &String| path.strip_prefix("$.").unwrap_or(path).to_owned();
    let lists = [&source.symbols, &source.only, &source.ignore].into_iter().flatten();
    let tables = source.fields.keys().chain(source.rename.keys()).chain(source.scale.keys());
    let mut paths = lists.chain(tables).chain(source.timestamp.iter().map(|time| &time.field));
    let is_at_top = !source.has_documents() || is_without_rows(source);
    if !is_at_top || !paths.any(|path| path.starts_with("$.")) {
        return Cow::Borrowed(source);
    }
    let mut source = source.clone();
    for list in [&mut source.symbols, &mut source.only, &mut source.ignore] {
        for path in list {
            *path = inside(path);
        }
    }
    source.fields = source.fields.iter().map(|(path, kind)| (inside(path), *kind)).collect();
    source.rename = source.rename.iter().map(|(path, column)| (inside(path), column.clone())).collect();
    source.scale = source.scale.iter().map(|(path, scale)| (inside(path), *scale)).collect();
    if let Some(time) = &mut source.timestamp {
        time.field = inside(&time.field);
    }
    Cow::Owned(source)
}

/// The placeholders of a source's patterns, each once. One that names the field is none.
fn placeholders(source: &Source) -> Vec<Text> {
    let patterns: Vec<Pattern> = source.topic.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
    let mut names: Vec<Text> = Vec::new();
    for name in patterns.iter().flat_map(Pattern::names) {
        let is_field = source.field.contains(&format!("{{{name}}}"));
        if !is_field && !names.iter().any(|known| known == name) {
            names.push(name.into());
        }
    }
    names
}

/// Adds every mistake in the names that a source configures.
pub(super) fn names(source: &Source, mistakes: &mut Mistakes) {
    let mut fault = |key: &'static str, what: String| mistakes.push((key, Problem::Name(what)));
    for (key, names) in [
        ("symbols", source.symbols.iter().collect::<Vec<_>>()),
        ("fields", source.fields.keys().collect()),
        ("user_properties", source.user_properties.iter().collect()),
        ("columns", source.columns.iter().collect()),
    ] {
        names.iter().filter_map(|name| column_name(name).err()).for_each(|what| fault(key, what));
    }
    source.rename.values().filter_map(|name| column_fault(name)).for_each(|what| fault("rename", what));
    for (path, scale) in &source.scale {
        if !is_finite(*scale) {
            fault("scale", format!("{path:?}: factor must be a number other than 0, and offset a number"));
        }
    }
    if let Some(Err((key, what))) = source.timestamp.as_ref().map(TimeReader::of) {
        fault(key, what);
    }
    let faults = time_faults(source).into_iter().chain(without_meaning(source)).chain(twice(source));
    for (key, what) in faults {
        fault(key, what);
    }
}

fn is_finite(scale: Scale) -> bool {
    let (factor, offset) = scale.parts();
    factor.is_finite() && factor != 0.0 && offset.is_finite()
}

fn time_faults(source: &Source) -> Option<(&'static str, String)> {
    let time = source.timestamp.as_ref()?;
    let has_place = source.has_documents() || source.format == Format::Csv;
    if has_place && time.field.is_empty() {
        return Some(("timestamp.field", "it is empty; name the payload's member that holds the time".into()));
    }
    if source.format == Format::Line && !time.field.is_empty() {
        let what = "a line has a place of its own for its time; leave field out, and say its unit";
        return Some(("timestamp.field", what.into()));
    }
    let step = time.step?;
    if step.is_zero() {
        return Some(("timestamp.step", "it is 0; remove it, or say how much later each row is".into()));
    }
    if source.rows.as_ref().is_some_and(|rows| rows.contains('*') && !rows.contains("[]")) {
        let what = "it counts the elements of an array, and rows leads to members; write [] where the array is";
        return Some(("timestamp.step", what.into()));
    }
    let has_rows = source.has_documents() && (source.rows.is_some() || !source.zip.is_empty());
    (!has_rows).then(|| ("timestamp.step", "it counts the rows of one document; say with rows where they stand".into()))
}

/// Keys that mean nothing for the source's format.
fn without_meaning(source: &Source) -> Vec<(&'static str, String)> {
    // With a program each text is a document.
    if source.format == Format::Plain && source.has_documents() {
        return without_meaning(&Source { format: Format::Json, ..source.clone() });
    }
    let (format, word) = match source.format {
        Format::Json => (Format::Json, "json"),
        Format::Plain => (Format::Plain, "plain"),
        Format::Line => (Format::Line, "line"),
        Format::Csv => (Format::Csv, "csv"),
    };
    let is_plain = format == Format::Plain;
    let keys = [
        ("rows", source.rows.is_some(), format != Format::Json),
        ("name", source.name.is_some(), format != Format::Json),
        ("value", source.value.is_some(), format != Format::Json),
        ("zip", !source.zip.is_empty(), format != Format::Json),
        ("columns", !source.columns.is_empty(), format != Format::Csv),
        ("delimiter", source.delimiter != ",", format != Format::Csv),
        ("symbols", !source.symbols.is_empty(), is_plain),
        ("timestamp", source.timestamp.is_some(), is_plain),
        ("only", !source.only.is_empty(), is_plain),
        ("ignore", !source.ignore.is_empty(), is_plain),
    ];
    let mut faults: Vec<_> = keys
        .into_iter()
        .filter(|(_, is_set, is_stray)| *is_set && *is_stray)
        .map(|(key, ..)| (key, format!("it means nothing with format = {word:?}; remove it, or choose another format")))
        .collect();
    if source.jq.is_some() && !source.has_documents() {
        faults.push(("jq", "it takes JSON documents, and texts with format = \"plain\"".into()));
    }
    let named = [("name", &source.name), ("value", &source.value)];
    for (key, path) in named {
        if path.as_ref().is_some_and(|path| path.contains('{') && (key == "value" || path != "{key}")) {
            let what = "of placeholders only name = \"{key}\" is taken; with rows = \"value\" and field = \"{x}\" a topic names the field";
            faults.push((key, what.into()));
        }
    }
    if source.name.as_deref() == Some("{key}") && !source.rows.as_ref().is_some_and(|rows| rows.contains('*')) {
        faults.push(("name", "{key} is what * has met, and rows has none".into()));
    }
    let is_placeholder = |column: &&String| {
        let is_renamed = source.rename.contains_key(*column) || column.is_empty();
        !is_renamed && placeholders(source).iter().any(|name| same(name, column))
    };
    if let Some(column) = source.columns.iter().find(is_placeholder) {
        faults.push(("columns", format!("{column:?} is a placeholder of the topic as well; rename one")));
    }
    if let Some(column) = source.rename.values().find(|column| column.contains(['{', '}'])) {
        faults.push(("rename", format!("{column:?} is a name as it stands: placeholders mean nothing here")));
    }
    let has_placeholder = source.field.contains('{');
    if is_plain && !has_placeholder {
        let stray = source.fields.keys().filter(|name| **name != source.field);
        faults.extend(
            stray.map(|name| ("fields", format!("{name:?} is not the source's field {:?}; remove it", source.field))),
        );
        if placeholders(source).iter().any(|name| same(name, &source.field)) {
            faults.push(("field", format!("{:?} is a placeholder of the topic as well; rename one", source.field)));
        }
    }
    if is_without_rows(source) || format != Format::Json {
        let lists = [("symbols", &source.symbols), ("only", &source.only), ("ignore", &source.ignore)];
        let parent = lists.iter().find(|(_, list)| list.iter().any(|path| path.starts_with("^.")));
        let is_time = source.timestamp.as_ref().is_some_and(|time| time.field.starts_with("^."));
        if let Some(key) = parent.map(|(key, _)| *key).or(is_time.then_some("timestamp.field")) {
            let what = "\"^.\" begins at a row's parent; say with rows where rows stand, or begin with \"$.\"";
            faults.push((key, what.into()));
        }
    }
    faults
}

/// Names that are used twice, and symbols beyond what a row may have.
fn twice(source: &Source) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    let placeholders = placeholders(source);
    let columns = columns(source);
    let names = placeholders.iter().chain(&columns).map(Text::as_str);
    let time = source.timestamp.iter().map(|time| time.field.as_str());
    let all: Vec<&str> = names.chain(time).filter(|name| !name.is_empty()).collect();
    if let Some(name) = duplicate(all.iter().copied()) {
        let what = format!("{name:?} is used twice among placeholders, tags, symbols, fields, rename and timestamp");
        faults.push((key_of(source, name), what));
    }
    let count = placeholders.len() + source.tags.len() + source.symbols.len() + source.user_properties.len();
    if count > MAX_SYMBOLS {
        let what = format!("there are {count}, placeholders and tags included; {MAX_SYMBOLS} are allowed");
        faults.push(("symbols", what));
    }
    faults
}

/// The key that names a column so, the last one first: that is the one to change.
fn key_of(source: &Source, name: &str) -> &'static str {
    let has = |mut names: Box<dyn Iterator<Item = &String> + '_>| names.any(|own| same(own, name));
    let keys: [(&str, Box<dyn Iterator<Item = &String> + '_>); 5] = [
        ("user_properties", Box::new(source.user_properties.iter())),
        ("rename", Box::new(source.rename.values())),
        ("tags", Box::new(source.tags.keys())),
        ("symbols", Box::new(source.symbols.iter())),
        ("fields", Box::new(source.fields.keys())),
    ];
    keys.into_iter().find_map(|(key, names)| has(names).then_some(key)).unwrap_or("topic")
}

/// The columns that a source names, placeholders of its topic apart.
fn columns(source: &Source) -> Vec<Text> {
    let members = Members::of(source);
    let is_plain = source.format == Format::Plain && source.jq.is_none() && !source.field.contains('{');
    let plain = (is_plain && !source.fields.contains_key(&source.field)).then_some(&source.field);
    let named = source.symbols.iter().chain(source.fields.keys()).chain(plain);
    let columns = named.clone().map(|name| members.column(name).unwrap_or_default());
    let is_named = |path: &String| named.clone().any(|name| name == path || *name == path.replace('.', "_"));
    let renamed = source.rename.iter().filter(|(path, _)| !is_named(path)).map(|(_, column)| column.into());
    let properties = source.user_properties.iter().filter_map(|name| column_name(name).ok()).map(Text::from);
    columns.chain(renamed).chain(source.tags.keys().map(Text::from)).chain(properties).collect()
}
