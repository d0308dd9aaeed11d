//! From a topic and a payload to rows: pure, without clock or I/O.
//!
//! A source's topic pattern gives the table and some symbols ([`Decoder::resolve`]), its payload the rest
//! ([`Decoder::decode`]); [`Decoder::finish`] puts both together. Placeholders used in the table's name are kept as
//! symbols as well, so that one query over several tables still tells their series apart.
//!
//! QuestDB's column names ignore case, so two names that differ only in case are taken as the same name, which a row may
//! not carry twice. Names that QuestDB would refuse are changed.
//!
//! Part is better than nothing: a member that cannot become a part of its row is left out and told
//! ([`Faults`]).

pub mod line;
pub mod names;
pub mod pattern;
pub mod table;
pub mod topics;

mod apart;
mod faults;
mod fill;
mod json;
mod members;
mod plain;
mod repair;
mod template;
mod time;
mod value;

use thiserror::Error;

use crate::{
    names::same,
    point::{MAX_SYMBOL_BYTES, MAX_SYMBOLS, Row, Text, Value},
    settings::{FieldType, Format, OnBadMember, Retained, SameTime, Scale, Source, TimeUnit},
};

pub use self::{
    faults::{Fault, FaultKind, Faults},
    repair::repair as repaired_json,
};
use self::{
    members::Members,
    names::{column_fault, column_name, duplicate, short},
    pattern::{Captures, Pattern, PatternError},
    plain::PlainField,
    table::{TableError, TableTemplate},
    template::Template,
};

/// A source's settings that cannot work.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("source.{source_name}.{key}: {problem}")]
pub struct DecoderError {
    /// The source.
    pub source_name: String,
    /// The key at fault.
    pub key: &'static str,
    /// What is wrong, and what to do.
    pub problem: Problem,
}

/// What is wrong with a key of a source.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The topic pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// The table's name.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A name of a symbol or field.
    #[error("{0}")]
    Name(String),
}

/// A message that gives no rows: where in it, and why.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("at {place}: {reason}")]
pub struct DecodeError {
    /// A path such as `$[3].temp.x`, `payload`, or `topic`.
    pub place: String,
    /// What is wrong there.
    pub reason: String,
}

impl DecodeError {
    fn new(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { place: place.into(), reason: reason.into() }
    }
}

/// What a topic says of its rows; the same for every message on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The table.
    pub table: Text,
    /// The topic's symbols, sorted by name.
    pub symbols: Vec<(Text, Text)>,
}

/// What a named member of a payload is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Time(TimeUnit),
    Symbol,
    Field(FieldType),
}

/// The members whose treatment is configured, sorted by name; all others are fields of the type they are written in.
#[derive(Debug, Clone, Default)]
struct Roles(Vec<(Text, Role)>);

impl Roles {
    /// Whether readings are expected to tell their time.
    fn tell_time(&self) -> bool {
        self.0.iter().any(|(_, role)| matches!(role, Role::Time(_)))
    }
}

/// A member that a source's configuration names.
#[derive(Debug, Clone)]
pub struct Named {
    /// Its name.
    pub member: Text,
    /// The column that it becomes, where it is a symbol; a timestamp otherwise.
    pub symbol: Option<Text>,
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = if self.symbol.is_some() { "symbols" } else { "timestamp.field" };
        write!(f, "{key} {:?}", &*self.member)
    }
}

/// Decodes one source's messages.
#[derive(Debug, Clone)]
pub struct Decoder {
    name: Text,
    pattern: Pattern,
    table: TableTemplate,
    format: Format,
    members: Members,
    /// Symbols of every row, made of the topic.
    tags: Vec<(Text, Template)>,
    /// The field of a plain payload.
    field: PlainField,
    on_bad_member: OnBadMember,
    retained: Retained,
    /// Set where rows of one time are kept apart; the unit of their times, where they have one.
    apart: Option<TimeUnit>,
}

impl Decoder {
    /// A decoder for the source called `name`; the error is the first mistake in its settings.
    pub fn new(name: &str, source: &Source) -> Result<Self, DecoderError> {
        Self::check(name, source).map_err(|mut errors| errors.swap_remove(0))
    }

    /// The same, with every mistake. The list is never empty.
    pub fn check(name: &str, source: &Source) -> Result<Self, Vec<DecoderError>> {
        let mut faults: Vec<(&'static str, Problem)> = Vec::new();
        let pattern = Pattern::parse(&source.topic).map_err(|error| faults.push(("topic", error.into()))).ok();
        let table = TableTemplate::parse(&source.table).map_err(|error| faults.push(("table", error.into()))).ok();
        if let (Some(pattern), Some(table)) = (&pattern, &table) {
            let unknown = table.names().filter(|used| pattern.names().all(|name| name != *used));
            faults.extend(unknown.map(|used| ("table", TableError::Unknown(used.to_owned()).into())));
        }
        let named = pattern.as_ref().map(|p| p.names().collect::<Vec<_>>()).unwrap_or_default();
        let tags = tags(source, &named, &mut faults);
        faults.extend(name_faults(source, &named).into_iter().map(|(key, what)| (key, Problem::Name(what))));
        match (pattern, table) {
            (Some(pattern), Some(table)) if faults.is_empty() => Ok(Self {
                name: name.into(),
                pattern,
                table,
                format: source.format,
                members: Members::of(source),
                tags,
                field: PlainField::of(source),
                on_bad_member: source.on_bad_member,
                retained: source.retained,
                apart: (source.same_time == SameTime::Keep)
                    .then(|| source.timestamp.as_ref().map_or(TimeUnit::Auto, |time| time.unit)),
            }),
            _ => Err(faults
                .into_iter()
                .map(|(key, problem)| DecoderError { source_name: name.to_owned(), key, problem })
                .collect()),
        }
    }

    /// The source's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The topic pattern.
    #[must_use]
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// What a member costs that does not fit.
    #[must_use]
    pub fn on_bad_member(&self) -> OnBadMember {
        self.on_bad_member
    }

    /// What becomes of retained messages without a time.
    #[must_use]
    pub fn retained(&self) -> Retained {
        self.retained
    }

    /// The members that have to be in its readings, or something is amiss: the timestamp and the
    /// symbols.
    #[must_use]
    pub fn named_members(&self) -> Vec<Named> {
        let named = |(member, role): &(Text, Role)| {
            let symbol = match role {
                Role::Time(_) => None,
                Role::Symbol => Some(self.members.column(member)?),
                Role::Field(_) => return None,
            };
            Some(Named { member: member.clone(), symbol })
        };
        self.members.roles().0.iter().filter_map(named).collect()
    }

    /// Appends the payload's readings to `rows`, with the payload's own symbols only, and without a
    /// time where the payload has none; and to `faults` what was left out. A payload that says
    /// nothing gives neither. On an error both are as they were before.
    pub fn decode(&mut self, payload: &[u8], rows: &mut Vec<Row>, faults: &mut Faults) -> Result<(), DecodeError> {
        let before = rows.len();
        let result = match self.format {
            Format::Json => json::decode(payload, &mut self.members, rows, faults),
            Format::Plain => plain::decode(payload, &mut self.members, &self.field).map(|row| rows.extend(row)),
        };
        if result.is_err() {
            rows.truncate(before);
            faults.clear();
        }
        result
    }

    /// Table and symbols of a topic; `None` when the topic is not this source's.
    #[must_use]
    pub fn resolve(&self, topic: &str) -> Option<Result<Resolved, DecodeError>> {
        let captures = self.pattern.captures(topic)?;
        Some(self.resolve_captures(&captures).map_err(|reason| DecodeError::new("topic", reason)))
    }

    fn resolve_captures(&self, captures: &Captures<'_, '_>) -> Result<Resolved, String> {
        let mut symbols = Vec::new();
        for (name, value) in captures.iter() {
            if value.is_empty() {
                return Err(format!("the level for {{{name}}} is empty"));
            }
            check_symbol(name, value)?;
            symbols.push((name.into(), value::clean_text(value)));
        }
        for (name, template) in &self.tags {
            let value = template.fill(|name| captures.get(name)).unwrap_or_default();
            check_symbol(name, &value)?;
            if !value.is_empty() {
                symbols.push((name.clone(), value::clean_text(&value)));
            }
        }
        symbols.sort_unstable_by(|a: &(Text, Text), b: &(Text, Text)| crate::names::cmp(&a.0, &b.0));
        let table = self.table.render(captures).map_err(|error| error.to_string())?;
        Ok(Resolved { table, symbols })
    }

    /// Adds the topic's symbols to rows of [`decode`](Self::decode) and puts each row's symbols in
    /// order. A member of the payload that has the name of one gives way to it: nothing is lost
    /// where both say the same, and else it is a fault.
    pub fn finish(&self, rows: &mut Vec<Row>, resolved: &Resolved, faults: &mut Faults) {
        let mut number = 0;
        rows.retain_mut(|row| {
            let named = row.symbols.iter().map(|(name, _)| name).chain(row.fields.iter().map(|(name, _)| name));
            let mut named = named.filter(|name| resolved.symbols.iter().any(|(topic, _)| same(topic, name)));
            if named.next().is_some() {
                give_way(row, number, resolved, faults);
                if row.fields.is_empty() {
                    faults.left_out(number);
                    return false;
                }
            }
            row.symbols.reserve_exact(resolved.symbols.len());
            row.symbols.extend_from_slice(&resolved.symbols);
            row.sort_symbols();
            if let Some(unit) = self.apart {
                apart::keep(row, unit);
            }
            number += 1;
            true
        });
    }
}

/// Takes members out of a row that have the name of a symbol of the topic.
fn give_way(row: &mut Row, number: usize, resolved: &Resolved, faults: &mut Faults) {
    let of_topic = |name: &str| resolved.symbols.iter().find(|(topic, _)| same(topic, name)).map(|(_, value)| value);
    let mut left_out = |name: &str| {
        let reason = format!(
            "the topic says otherwise of {:?}; rename the placeholder or the tag of that name to keep both",
            short(name)
        );
        faults.member(number, name, FaultKind::Twice, DecodeError::new(format!("reading {number}"), reason));
    };
    row.symbols.retain(|(name, value)| match of_topic(name) {
        Some(topic) => {
            if topic != value {
                left_out(name);
            }
            false
        }
        None => true,
    });
    row.fields.retain(|(name, value)| match of_topic(name) {
        Some(topic) => {
            if text(value) != *topic {
                left_out(name);
            }
            false
        }
        None => true,
    });
}

/// Of symbols and fields that share a name the first stays; another one that says the same is no
/// loss, and of others `second` is told the name, and why it is left out.
fn drop_seconds(row: &mut Row, mut second: impl FnMut(&str, String)) {
    let mut second =
        |name: &str| second(name, format!("{:?} appears twice (after flattening; case does not count)", short(name)));
    let mut symbols: Vec<(Text, Text)> = Vec::with_capacity(row.symbols.len());
    for (name, value) in std::mem::take(&mut row.symbols) {
        match symbols.iter().find(|(first, _)| same(first, &name)) {
            Some((_, first)) if *first == value => {}
            Some(_) => second(&name),
            None => symbols.push((name, value)),
        }
    }
    let mut fields: Vec<(Text, Value)> = Vec::with_capacity(row.fields.len());
    for (name, value) in std::mem::take(&mut row.fields) {
        let is_symbol = symbols.iter().any(|(first, _)| same(first, &name));
        match fields.iter().find(|(first, _)| same(first, &name)) {
            Some((_, first)) if *first == value => {}
            None if !is_symbol => fields.push((name, value)),
            _ => second(&name),
        }
    }
    (row.symbols, row.fields) = (symbols, fields);
}

/// A value as the symbol it would be.
fn text(value: &Value) -> Text {
    match value {
        Value::Bool(value) | Value::Flag(value) => value::Scalar::Bool(*value),
        Value::Long(value) | Value::Whole(value) => value::Scalar::Int(*value),
        Value::Double(value) => value::Scalar::Float(*value),
        Value::Text(value) => value::Scalar::Text(value),
    }
    .to_text()
}

fn check_symbol(name: &str, value: &str) -> Result<(), String> {
    if value.len() > MAX_SYMBOL_BYTES {
        let got = value.len();
        return Err(format!("symbol {:?} has {got} bytes; {MAX_SYMBOL_BYTES} are allowed", short(name)));
    }
    Ok(())
}

/// The configured members by name. The time's role comes first where a name has two, which `name_faults` refuses.
fn roles(source: &Source) -> Roles {
    let time = source.timestamp.iter().map(|time| (Text::from(&time.field), Role::Time(time.unit)));
    let symbols = source.symbols.iter().map(|name| (Text::from(name), Role::Symbol));
    let fields = source.fields.iter().map(|(name, kind)| (Text::from(name), Role::Field(*kind)));
    let mut roles: Vec<_> = time.chain(symbols).chain(fields).collect();
    roles.sort_by(|a, b| crate::names::cmp(&a.0, &b.0));
    Roles(roles)
}

/// The first of these members that the source's `ignore` leaves out.
pub fn ignored<'a>(source: &Source, mut paths: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let members = Members::of(source);
    paths.find(|path| members.ignores(path))
}

/// The templates of a source's tags; what is wrong with them goes to `faults`.
fn tags(source: &Source, placeholders: &[&str], faults: &mut Vec<(&'static str, Problem)>) -> Vec<(Text, Template)> {
    let mut tags = Vec::new();
    for (name, template) in &source.tags {
        let mut fault = |what: String| faults.push(("tags", Problem::Name(format!("{name}: {what}"))));
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
        if let Some(unknown) = parsed.names().find(|used| !placeholders.contains(used)) {
            fault(format!(
                "it uses {{{unknown}}}, which the topic pattern does not have; add it there or remove it here"
            ));
        }
        tags.push((name.into(), parsed));
    }
    tags
}

/// Every mistake in the names a source configures: the key, and what is wrong.
fn name_faults(source: &Source, placeholders: &[&str]) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    let too_long = |name: &String| column_name(name).err();
    faults.extend(source.symbols.iter().filter_map(too_long).map(|fault| ("symbols", fault)));
    faults.extend(source.fields.keys().filter_map(too_long).map(|fault| ("fields", fault)));
    faults.extend(source.rename.values().filter_map(|name| column_fault(name)).map(|fault| ("rename", fault)));
    let is_finite = |(_, scale): &(&String, &Scale)| {
        let (factor, offset) = scale.parts();
        factor.is_finite() && factor != 0.0 && offset.is_finite()
    };
    let no_scale = source.scale.iter().filter(|scale| !is_finite(scale));
    faults
        .extend(no_scale.map(|(path, _)| {
            ("scale", format!("{path:?}: factor must be a number other than 0, and offset a number"))
        }));
    if source.format == Format::Plain {
        faults.extend(column_name(&source.field).err().map(|fault| ("field", fault)));
        if placeholders.iter().any(|name| same(name, &source.field)) {
            faults.push(("field", format!("{:?} is a placeholder of the topic as well; rename one", source.field)));
        }
        faults.extend(plain_faults(source));
    }
    if source.timestamp.as_ref().is_some_and(|time| time.field.is_empty()) {
        faults.push(("timestamp.field", "it is empty; name the payload's member that holds the time".into()));
    }
    let columns = columns_of(source);
    let names = placeholders.iter().copied().chain(columns.iter().map(Text::as_str));
    let time = source.timestamp.iter().map(|time| time.field.as_str());
    if let Some(name) = duplicate(names.clone().chain(time)) {
        let what = format!("{name:?} is used twice among placeholders, tags, symbols, fields, rename and timestamp");
        faults.push(("symbols", what));
    }
    let count = placeholders.len() + source.tags.len() + source.symbols.len();
    if count > MAX_SYMBOLS {
        faults
            .push(("symbols", format!("there are {count}, placeholders and tags included; {MAX_SYMBOLS} are allowed")));
    }
    faults
}

/// The columns that a source names, placeholders of its topic apart.
fn columns_of(source: &Source) -> Vec<Text> {
    let members = Members::of(source);
    let plain = (source.format == Format::Plain && !source.fields.contains_key(&source.field)).then_some(&source.field);
    let named = source.symbols.iter().chain(source.fields.keys()).chain(plain);
    let columns = named.clone().map(|name| members.column(name).unwrap_or_default());
    let is_named = |path: &String| named.clone().any(|name| name == path || *name == path.replace('.', "_"));
    let renamed = source.rename.iter().filter(|(path, _)| !is_named(path)).map(|(_, column)| column.into());
    columns.chain(renamed).chain(source.tags.keys().map(Text::from)).collect()
}

/// Whether a source has a column of that name that its configuration tells: a tag of all sources
/// then is none of its own.
#[must_use]
pub fn names_column(source: &Source, name: &str) -> bool {
    let pattern = Pattern::parse(&source.topic).ok();
    let is_placeholder = pattern.is_some_and(|pattern| pattern.names().any(|placeholder| same(placeholder, name)));
    let is_time = source.timestamp.as_ref().is_some_and(|time| same(&time.field, name));
    is_placeholder || is_time || columns_of(source).iter().any(|column| same(column, name))
}

/// Keys that mean nothing for a payload without members.
fn plain_faults(source: &Source) -> impl Iterator<Item = (&'static str, String)> {
    let remedy = "a plain payload has no members; remove it, or use format = \"json\"";
    let stray = source.fields.keys().filter(|name| **name != source.field);
    let stray =
        stray.map(|name| ("fields", format!("{name:?} is not the source's field {:?}; remove it", source.field)));
    let others = [
        ("symbols", !source.symbols.is_empty()),
        ("timestamp", source.timestamp.is_some()),
        ("only", !source.only.is_empty()),
        ("ignore", !source.ignore.is_empty()),
    ];
    let others = others.into_iter().filter(|(_, set)| *set).map(move |(key, _)| (key, remedy.to_owned()));
    stray.chain(others).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests;
