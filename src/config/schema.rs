//! Which keys and choices there are, asked of serde itself, so that no second list can fall behind the settings.

use serde::{
    de::{DeserializeOwned, Deserializer, Error, Visitor, value::Error as PlainError},
    forward_to_deserialize_any,
};

use crate::settings::{
    Batch, ClockTrust, Compression, Control, Daemon, Durability, FieldType, Format, Latest, Limits, LinearScale, Log,
    LogTarget, Mqtt, MqttTls, OnFull, PartitionBy, Quarantine, Questdb, Ring, Settings, Source, Strategy, TimeWord,
    TimestampField,
};

/// What may stand at a place of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// A table with these keys.
    Keys(&'static [&'static str]),
    /// A table with keys of the user's choosing.
    AnyKeys,
    /// A value.
    Leaf,
}

/// What may stand at `path`, which is taken to be valid above its last step.
#[must_use]
pub fn node(path: &[&str]) -> Node {
    Node::Keys(match path {
        [] => names::<Settings>(),
        ["mqtt"] => names::<Mqtt>(),
        ["mqtt", "tls"] => names::<MqttTls>(),
        ["source" | "tags"] | ["source", _, "fields" | "rename" | "scale" | "tags"] => return Node::AnyKeys,
        ["source", _, "scale", _] => names::<LinearScale>(),
        ["source", _] => names::<Source>(),
        ["source", _, "timestamp"] => names::<TimestampField>(),
        ["ring"] => names::<Ring>(),
        ["quarantine"] => names::<Quarantine>(),
        ["latest"] => names::<Latest>(),
        ["limits"] => names::<Limits>(),
        ["questdb"] => names::<Questdb>(),
        ["batch"] => names::<Batch>(),
        ["control"] => names::<Control>(),
        ["daemon"] => names::<Daemon>(),
        ["log"] => names::<Log>(),
        _ => return Node::Leaf,
    })
}

/// The choices of a setting, by the name of its type in the settings.
#[must_use]
pub fn choices(type_name: &str) -> &'static [&'static str] {
    match type_name {
        "Format" => names::<Format>(),
        "FieldType" => names::<FieldType>(),
        "TimeWord" => names::<TimeWord>(),
        "Compression" => names::<Compression>(),
        "Durability" => names::<Durability>(),
        "OnFull" => names::<OnFull>(),
        "ClockTrust" => names::<ClockTrust>(),
        "PartitionBy" => names::<PartitionBy>(),
        "Strategy" => names::<Strategy>(),
        "LogTarget" => names::<LogTarget>(),
        _ => &[],
    }
}

/// Every key that is not of the user's choosing, as a path; `*` stands for a chosen one.
#[must_use]
pub fn all_keys() -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<Vec<&str>> = vec![vec![]];
    while let Some(path) = open.pop() {
        match node(&path) {
            Node::Keys(keys) => open.extend(keys.iter().map(|key| [path.as_slice(), &[*key]].concat())),
            Node::AnyKeys if path == ["source"] => open.push(vec!["source", "*"]),
            Node::AnyKeys | Node::Leaf => found.push(path.join(".")),
        }
    }
    found.sort();
    found
}

/// What to say of a key that does not exist at `path`.
#[must_use]
pub fn hint(path: &[&str], key: &str) -> String {
    let Node::Keys(known) = node(path) else { return String::new() };
    if matches!(key, "password" | "token" | "secret" | "pass") {
        return "; secrets come from files: set password_file or token_file".into();
    }
    let dotted = |key: &str| [path, &[key]].concat().join(".");
    if let Some(near) = nearest(key, known) {
        return format!("; did you mean {}?", dotted(near));
    }
    let suffix = format!(".{key}");
    if let Some(elsewhere) = all_keys().iter().find(|full| full.ends_with(&suffix)) {
        return format!("; did you mean {elsewhere}?");
    }
    format!("; known here: {}", known.join(", "))
}

/// The candidate that `word` is most likely a slip of.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let distance = |other: &str| strsim::damerau_levenshtein(&word, &other.replace('-', "_"));
    let near = candidates.iter().map(|other| (distance(other), *other)).min()?;
    let tolerated = (near.1.len() / 3).clamp(1, 3);
    (near.0 <= tolerated).then_some(near.1)
}

/// The names that a type's derived `Deserialize` asks for: a struct's fields or an enum's variants.
fn names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // The probe always answers with an error: it only listens.
    let _ = T::deserialize(Probe(&mut names));
    names
}

struct Probe<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = PlainError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, PlainError> {
        Err(PlainError::custom("a probe"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, PlainError> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, PlainError> {
        *self.0 = variants;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_known() {
        for section in names::<Settings>() {
            assert_ne!(node(&[section]), Node::Leaf, "{section}");
        }
        let keys = all_keys();
        for key in ["mqtt.url", "mqtt.tls.ca_file", "source.*.timestamp.unit", "source.*.fields", "log.target"] {
            assert!(keys.iter().any(|known| known == key), "{key}");
        }
        assert_eq!(choices("OnFull"), ["block", "drop-oldest", "drop-newest"]);
    }

    #[test]
    fn slips_are_recognised() {
        assert_eq!(hint(&["mqtt"], "protcol"), "; did you mean mqtt.protocol?");
        assert_eq!(hint(&["source", "a"], "tabel"), "; did you mean source.a.table?");
        assert_eq!(hint(&["log"], "max_linger"), "; did you mean batch.max_linger?");
        assert!(hint(&["mqtt"], "password").contains("password_file"));
        assert!(hint(&["log"], "zzz").contains("known here: level, target"));
        assert_eq!(nearest("drop_oldest", choices("OnFull")), Some("drop-oldest"));
    }
}
