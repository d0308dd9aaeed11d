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
mod check;
mod csv;
mod end;
mod faults;
mod fill;
mod json;
mod members;
mod plain;
mod repair;
mod row;
mod template;
mod time;
mod topic;
mod unpack;
mod value;

use std::fmt;

use thiserror::Error;

use crate::{
    names::same,
    point::{MAX_SYMBOL_BYTES, MAX_SYMBOLS, Row, Text},
    settings::{self, FieldType, OnBadMember, Retained, SameTime, Source, TimeUnit, TimeWord},
};

pub use self::{
    check::{ignored, names_column},
    faults::{Fault, FaultKind, Faults},
    repair::{repair as repaired_json, trim as trimmed},
    topic::Resolved,
};
use self::{
    csv::Csv,
    end::give_way,
    json::Json,
    line::format::LineProtocol,
    members::Members,
    names::{column_name, short},
    pattern::{Pattern, PatternError},
    plain::Plain,
    row::PerRow,
    table::TableError,
    topic::{Mistakes, Topic},
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

/// A message's payload, and what it goes with.
#[derive(Debug, Clone, Copy)]
pub struct Payload<'a> {
    /// What its topic says.
    pub topic: &'a Resolved,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// User properties (MQTT 5), in their order.
    pub properties: &'a [(Text, Text)],
}

impl<'a> Payload<'a> {
    /// One without properties.
    #[must_use]
    pub fn of(topic: &'a Resolved, bytes: &'a [u8]) -> Self {
        Self { topic, bytes, properties: &[] }
    }
}

/// What payloads have come to.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Rows, with the payload's own symbols, and without a time where it has none.
    pub rows: Vec<Row>,
    /// Tables that the rows' numbers stand for, from 1; 0 is the topic's.
    pub tables: Vec<Text>,
    /// What was left out.
    pub faults: Faults,
}

impl Decoded {
    /// Makes ready for the next message.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.tables.clear();
        self.faults.clear();
    }
}

/// A payload unpacked, where it begins as one that is packed does; none where it does not.
pub fn unpacked(payload: &[u8]) -> Option<Result<Vec<u8>, DecodeError>> {
    if !unpack::may_be_packed(payload) {
        return None;
    }
    match unpack::unpack(payload) {
        Ok(std::borrow::Cow::Borrowed(_)) => None,
        Ok(std::borrow::Cow::Owned(bytes)) => Some(Ok(bytes)),
        Err(error) => Some(Err(error)),
    }
}

/// How the payloads of a source are read. It keeps what it likes between messages, within bounds of
/// its own.
trait Format: fmt::Debug + Send {
    /// Adds the payload's rows to `out`, which has none before, and what was left out of them. A
    /// payload that says nothing gives neither.
    fn decode(&mut self, payload: &Payload<'_>, out: &mut Decoded) -> Result<(), DecodeError>;

    /// What the source says of members.
    fn members(&mut self) -> &mut Members;
}

/// The format of a source, and what is made of its topics. What is wrong goes to `mistakes`.
fn plan(source: &Source, mistakes: &mut Mistakes) -> Option<(Topic, Box<dyn Format>)> {
    let row_names = match source.format {
        _ if source.has_documents() => json::row_names(source),
        settings::Format::Line => vec!["measurement".into()],
        settings::Format::Json | settings::Format::Plain | settings::Format::Csv => Vec::new(),
    };
    let topic = Topic::of(source, &row_names, mistakes);
    let (topic, per_row) = topic.map_or((None, PerRow::default()), |(topic, per_row)| (Some(topic), per_row));
    let mut mistake = |(key, what)| mistakes.push((key, Problem::Name(what)));
    let format: Box<dyn Format> = match source.format {
        _ if source.has_documents() => Box::new(Json::of(source, per_row, mistakes)),
        settings::Format::Json | settings::Format::Plain => Box::new(Plain::of(source)),
        settings::Format::Line => Box::new(LineProtocol::of(source, per_row).map_err(&mut mistake).ok()?),
        settings::Format::Csv => Box::new(Csv::of(source).map_err(&mut mistake).ok()?),
    };
    Some((topic?, format))
}

/// What does not fit into a row, and why.
type Unfit = (FaultKind, String);

/// What a named member of a payload is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Time,
    Symbol,
    Field(FieldType),
}

/// The members whose treatment is configured, sorted by name; all others are fields of the type they are written in.
#[derive(Debug, Clone, Default)]
struct Roles(Vec<(Text, Role)>);

impl Roles {
    /// Whether readings are expected to tell their time.
    fn tell_time(&self) -> bool {
        self.0.iter().any(|(_, role)| *role == Role::Time)
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
#[derive(Debug)]
pub struct Decoder {
    name: Text,
    topic: Topic,
    format: Box<dyn Format>,
    unpacks: bool,
    /// User properties that become symbols, and their columns.
    properties: Vec<(Text, Text)>,
    on_bad_member: OnBadMember,
    retained: Retained,
    /// Set where rows of one time are kept apart; the unit of their times, where they have one.
    apart: Option<TimeWord>,
    named: Vec<Named>,
}

impl Decoder {
    /// A decoder for the source called `name`; the error is the first mistake in its settings.
    pub fn new(name: &str, source: &Source) -> Result<Self, DecoderError> {
        Self::check(name, source).map_err(|mut errors| errors.swap_remove(0))
    }

    /// The same, with every mistake. The list is never empty.
    pub fn check(name: &str, source: &Source) -> Result<Self, Vec<DecoderError>> {
        let mut mistakes = Mistakes::new();
        let source = &*check::without_top(source);
        let planned = plan(source, &mut mistakes);
        check::names(source, &mut mistakes);
        match planned {
            Some((topic, format)) if mistakes.is_empty() => Ok(Self::of(name, source, topic, format)),
            _ => Err(mistakes
                .into_iter()
                .map(|(key, problem)| DecoderError { source_name: name.to_owned(), key, problem })
                .collect()),
        }
    }

    fn of(name: &str, source: &Source, topic: Topic, mut format: Box<dyn Format>) -> Self {
        let property = |name: &String| (Text::from(name), column_name(name).map_or_else(|_| name.into(), Text::from));
        // Steps are as fine as they are meant.
        let unit = |time: &settings::TimestampField| match time.unit {
            _ if time.step.is_some() => TimeWord::Us,
            TimeUnit::Word(word) => word,
            TimeUnit::Form(_) => TimeWord::Auto,
        };
        Self {
            name: name.into(),
            topic,
            unpacks: source.compression == settings::Compression::Auto,
            properties: source.user_properties.iter().map(property).collect(),
            on_bad_member: source.on_bad_member,
            retained: source.retained,
            apart: (source.same_time == SameTime::Keep).then(|| source.timestamp.as_ref().map_or(TimeWord::Auto, unit)),
            named: named_members(format.members()),
            format,
        }
    }

    /// The source's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The topic patterns.
    #[must_use]
    pub fn patterns(&self) -> &[Pattern] {
        &self.topic.patterns
    }

    /// Whether user properties of messages become symbols.
    #[must_use]
    pub fn needs_properties(&self) -> bool {
        !self.properties.is_empty()
    }

    /// Whether messages of a topic are dropped.
    #[must_use]
    pub fn excludes(&self, topic: &str) -> bool {
        self.topic.excludes(topic)
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
        self.named.clone()
    }

    /// Puts the payload's readings into `out`, which is empty before. On an error it is empty again.
    pub fn decode(&mut self, payload: &Payload<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
        let result = self.decode_packed(payload, out);
        if result.is_err() {
            out.clear();
        }
        for (name, column) in &self.properties {
            let given = payload.properties.iter().find(|(known, _)| known == name);
            if let Some((_, value)) = given.filter(|(_, value)| !value.is_empty()) {
                add_property(&mut out.rows, column, value, &mut out.faults);
            }
        }
        result
    }

    fn decode_packed(&mut self, payload: &Payload<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
        if !self.unpacks || !unpack::may_be_packed(payload.bytes) {
            return self.format.decode(payload, out);
        }
        let unpacked = unpack::unpack(payload.bytes)?;
        self.format.decode(&Payload { bytes: &unpacked, ..*payload }, out)
    }

    /// Has what becomes of members be told.
    pub fn explain(&mut self) {
        self.format.members().explain();
    }

    /// What became of members since it was asked last, and by which keys.
    pub fn explained(&mut self) -> Vec<String> {
        self.format.members().explained()
    }

    /// Table and symbols of a topic; `None` when the topic is not this source's.
    #[must_use]
    pub fn resolve(&self, topic: &str) -> Option<Result<Resolved, DecodeError>> {
        let mut patterns: Vec<&Pattern> = self.topic.patterns.iter().collect();
        patterns.sort_by_cached_key(|pattern| pattern.breadth());
        patterns.into_iter().find_map(|pattern| self.topic.resolve(pattern, topic))
    }

    /// The same by one of its patterns.
    #[must_use]
    pub fn resolve_by(&self, pattern: usize, topic: &str) -> Option<Result<Resolved, DecodeError>> {
        self.topic.resolve(self.topic.patterns.get(pattern)?, topic)
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
            if row.symbols.len() > MAX_SYMBOLS {
                let reason =
                    format!("the reading has more than {MAX_SYMBOLS} symbols, those of topic and tags included");
                faults.left_out(number);
                let error = DecodeError::new(format!("reading {number}"), reason);
                faults.push(Fault { row: None, member: Text::default(), kind: FaultKind::Count, error });
                return false;
            }
            row.sort_symbols();
            if let Some(unit) = self.apart {
                apart::keep(row, unit);
            }
            number += 1;
            true
        });
    }
}

fn check_symbol(name: &str, value: &str) -> Result<(), String> {
    if value.len() > MAX_SYMBOL_BYTES {
        let got = value.len();
        return Err(format!("symbol {:?} has {got} bytes; {MAX_SYMBOL_BYTES} are allowed", short(name)));
    }
    Ok(())
}

/// The configured members by name. The time's role comes first where a name has two, which the
/// source's check refuses.
fn roles(source: &Source) -> Roles {
    let time = source.timestamp.iter().filter(|time| !time.field.is_empty());
    let time = time.map(|time| (Text::from(&time.field), Role::Time));
    let symbols = source.symbols.iter().map(|name| (Text::from(name), Role::Symbol));
    let fields = source.fields.iter().map(|(name, kind)| (Text::from(name), Role::Field(*kind)));
    let mut roles: Vec<_> = time.chain(symbols).chain(fields).collect();
    roles.sort_by(|a, b| crate::names::cmp(&a.0, &b.0));
    Roles(roles)
}

/// The time and the symbols that a source is configured for.
fn named_members(members: &Members) -> Vec<Named> {
    let named = |(member, role): &(Text, Role)| {
        let symbol = match role {
            Role::Time => None,
            Role::Symbol => Some(members.column(member)?),
            Role::Field(_) => return None,
        };
        Some(Named { member: member.clone(), symbol })
    };
    members.roles().0.iter().filter_map(named).collect()
}

/// Makes a user property a symbol of each row that has no member of that name.
fn add_property(rows: &mut [Row], column: &Text, value: &str, faults: &mut Faults) {
    for (number, row) in rows.iter_mut().enumerate() {
        let is_there = |name: &Text| same(name, column);
        if row.symbols.iter().any(|(name, _)| is_there(name)) || row.fields.iter().any(|(name, _)| is_there(name)) {
            continue;
        }
        match check_symbol(column, value) {
            Ok(()) => row.symbols.push((column.clone(), value::clean_text(value))),
            Err(reason) => {
                let error = DecodeError::new("user properties", reason);
                faults.member(number, column, FaultKind::Length, error);
            }
        }
    }
}

#[cfg(test)]
mod tests;
