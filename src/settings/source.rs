//! `[source.NAME]`.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{Scale, Topics, units::option_duration};

/// `[source.NAME]`: a subscription and how its payloads become rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Topic patterns, such as `sensors/{site}/{device}`.
    pub topic: Topics,
    /// Filters whose messages are acknowledged, counted and dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Payload format.
    #[serde(default)]
    pub format: Format,
    /// How payloads are packed.
    #[serde(default)]
    pub compression: Compression,
    /// Table name; may use the pattern's placeholders. The lines of line protocol name their own
    /// where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Subscription QoS: 0 or 1.
    #[serde(default = "one")]
    pub qos: u8,
    /// Share the subscription within this group (MQTT 5 shared subscriptions).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_group: Option<String>,
    /// Where the device's own timestamp stands; receive time is used when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<TimestampField>,
    /// Types of fields that are not to be guessed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, FieldType>,
    /// Payload members that become symbols.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<String>,
    /// Columns' names, by the paths of the members that become them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, String>,
    /// Patterns of paths: where there are any, only members that match one become fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// Patterns of paths whose members are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// What numbers are multiplied by, by the paths of their members.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scale: BTreeMap<String, Scale>,
    /// Texts that say nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub null_values: Vec<String>,
    /// Symbols that every row gets: constant, or made of the topic's placeholders.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Name of the field that a `plain` payload becomes, and a row that is a bare value; may use
    /// the pattern's placeholders.
    #[serde(default = "value_name")]
    pub field: String,
    /// Where in a document the rows stand, such as `values[]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<String>,
    /// The member of a row that names its field; with `value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The member of a row that is the value of the field that `name` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Arrays that stand side by side: element i of each makes row i.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zip: Vec<String>,
    /// A jq program that makes rows of a document first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jq: Option<String>,
    /// Names of a CSV row's cells, by their position; a header line when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// What stands between a CSV row's cells.
    #[serde(default = "comma")]
    pub delimiter: String,
    /// User properties of a message (MQTT 5) that become symbols.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user_properties: Vec<String>,
    /// What a member costs that does not fit.
    #[serde(default)]
    pub on_bad_member: OnBadMember,
    /// What becomes of retained messages without a time.
    #[serde(default)]
    pub retained: Retained,
    /// What becomes of rows of one series and microsecond with other values.
    #[serde(default)]
    pub same_time: SameTime,
    /// Without a message for so long the source is said to be silent; never when absent.
    #[serde(default, with = "option_duration", skip_serializing_if = "Option::is_none")]
    pub silent_after: Option<Duration>,
    /// Send rows to a table whose dedup keys lack some of the row's symbols, although QuestDB then
    /// collapses rows.
    #[serde(default)]
    pub allow_narrow_keys: bool,
}

impl Source {
    /// Whether its payloads are documents with members: JSON, and texts that a jq program takes.
    #[must_use]
    pub fn has_documents(&self) -> bool {
        self.format == Format::Json || self.format == Format::Plain && self.jq.is_some()
    }

    /// The table's template: line protocol names its own tables where none is set.
    #[must_use]
    pub fn table_template(&self) -> &str {
        let by_default = if self.format == Format::Line { "{measurement}" } else { "" };
        self.table.as_deref().unwrap_or(by_default)
    }
}

fn one() -> u8 {
    1
}

fn value_name() -> String {
    "value".into()
}

fn comma() -> String {
    ",".into()
}

/// Payload formats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A JSON object, or an array of objects.
    #[default]
    Json,
    /// The whole payload is one number, boolean or string.
    Plain,
    /// Influx line protocol.
    Line,
    /// Rows of cells.
    Csv,
}

/// How payloads are packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// As their first bytes tell.
    #[default]
    Auto,
    /// Not at all.
    None,
}

/// Field types that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldType {
    /// 64-bit float.
    Double,
    /// 64-bit signed integer.
    Long,
    /// true or false.
    Boolean,
    /// String.
    String,
}

/// Where a payload's timestamp stands and how it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimestampField {
    /// The member's path. Line protocol has a place of its own for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// Unit or notation.
    #[serde(default)]
    pub unit: TimeUnit,
    /// The time zone of text that tells none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// How much later each row is than the one before it, where they share one timestamp.
    #[serde(default, with = "option_duration", skip_serializing_if = "Option::is_none")]
    pub step: Option<Duration>,
}

/// Notation of a timestamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeUnit {
    /// One that has a name.
    Word(TimeWord),
    /// Text of this form, in the words of strftime.
    Form(String),
}

impl Default for TimeUnit {
    fn default() -> Self {
        Self::Word(TimeWord::Auto)
    }
}

impl Serialize for TimeUnit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Word(word) => word.serialize(serializer),
            Self::Form(form) => serializer.serialize_str(form),
        }
    }
}

impl<'de> Deserialize<'de> for TimeUnit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.contains('%') {
            return Ok(Self::Form(text));
        }
        let word = TimeWord::deserialize(serde::de::value::StrDeserializer::<D::Error>::new(&text));
        word.map(Self::Word).map_err(|_| {
            D::Error::custom(format!(
                "{text:?} is none of auto, s, ms, us, ns and rfc3339, and no form such as \"%Y-%m-%d %H:%M:%S\""
            ))
        })
    }
}

/// Notations that have a name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeWord {
    /// Told by the value: a number's unit by its size, text as of RFC 3339 and ISO 8601.
    #[default]
    Auto,
    /// Seconds since 1970, fractions allowed.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
    /// Text as of RFC 3339 and ISO 8601.
    Rfc3339,
}

/// What becomes of rows of one series and microsecond.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SameTime {
    /// The later one replaces the values of the one before.
    #[default]
    Replace,
    /// Each stays a row of its own, whose time moves by less than a millisecond.
    Keep,
}

/// What a member, or an element, costs that cannot become a part of its row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBadMember {
    /// Itself: it is set aside, and the rest of the message stored.
    #[default]
    Skip,
    /// The whole message, which is set aside.
    Message,
}

/// What becomes of a message that the broker had kept from before the subscription, and that tells
/// no time of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retained {
    /// It is counted and not stored: nobody knows of when it is.
    #[default]
    Ignore,
    /// It becomes the latest value, and is not stored.
    Latest,
    /// It is stored with the time of receipt.
    Store,
}
