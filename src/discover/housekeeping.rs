//! Topics that hold no readings: commands, availability, discovery, the housekeeping of bridges,
//! pictures, logs. Pure.

use serde_json::Value as Json;

use super::{
    notes::Topic,
    payload::{Kind, Read},
    words,
};

/// A retained document of so many bytes is a description and no reading.
const LARGE_BYTES: usize = 6 << 10;

/// Why a topic has no source of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It holds no readings: a source that would take it leaves it out.
    Never(String),
    /// What came so far is no reading, and what comes later may be one.
    NotYet(String),
}

impl Reason {
    fn never(why: impl Into<String>) -> Self {
        Self::Never(why.into())
    }

    fn not_yet(why: impl Into<String>) -> Self {
        Self::NotYet(why.into())
    }

    /// The reason in words.
    #[must_use]
    pub fn in_words(&self) -> &str {
        let (Self::Never(why) | Self::NotYet(why)) = self;
        why
    }
}

/// Why a topic holds no readings.
#[must_use]
pub fn reason(name: &str, topic: &Topic, reads: &[Read]) -> Option<Reason> {
    let levels: Vec<String> = name.split('/').map(str::to_lowercase).collect();
    if name.chars().any(char::is_control) {
        return Some(Reason::never("its topic has control characters"));
    }
    let by_topic = by_topic(&levels, reads);
    if topic.kept.is_empty() {
        let why = match (topic.oversized, topic.faulty) {
            (0, 0) => "no room was left to keep its messages: listen with --filter to fewer topics",
            (0, _) => "its packets are broken",
            _ => "its messages are larger than 64 KiB",
        };
        return Some(if by_topic.is_some() { Reason::never(why) } else { Reason::not_yet(why) });
    }
    by_topic.map(Reason::never).or_else(|| by_payloads(&levels, topic, reads))
}

fn by_topic(levels: &[String], reads: &[Read]) -> Option<&'static str> {
    let last = levels.last().map_or("", String::as_str);
    let first = levels.first().map_or("", String::as_str);
    let has = |words: &[&str]| levels.iter().any(|level| words.contains(&level.as_str()));
    let is_small = || reads.iter().all(|read| read.kind != Kind::Json || read.text.len() < 2_000);
    if is_discovery(levels, reads) {
        return Some("discovery for Home Assistant: a description, no reading");
    }
    let commands = ["set", "get", "cmd", "command", "commands", "cmnd", "request", "setpoint_cmd"];
    let before = levels.iter().rev().nth(1).map_or("", String::as_str);
    if levels.len() > 1 && commands.contains(&last) || first == "cmnd" || before == "set" && is_small() {
        return Some("a command to a device, no reading");
    }
    if has(&["bridge"]) && levels.len() > 2 && levels.get(1).is_some_and(|level| level == "bridge") {
        return Some("housekeeping of a bridge");
    }
    if levels.len() > 1 && ["log", "logs", "logging", "debug", "console", "syslog"].contains(&last) {
        return Some("a log");
    }
    let is_attribute = |level: &String| level.starts_with('$') && level.len() > 1;
    if levels.iter().skip(1).any(is_attribute) {
        return Some("an attribute that describes a device");
    }
    None
}

fn is_discovery(levels: &[String], reads: &[Read]) -> bool {
    let is_config = levels.last().is_some_and(|last| last == "config") && levels.len() >= 3;
    let keys = ["unique_id", "uniq_id", "state_topic", "stat_t", "~", "cmps", "components", "automation_type"];
    let describes = |read: &Read| match &read.document {
        Some(Json::Object(members)) => keys.iter().any(|key| members.contains_key(*key)),
        _ => read.kind == Kind::Empty,
    };
    is_config
        && !reads.is_empty()
        && reads.iter().all(describes)
        && (levels.first().is_some_and(|first| first == "homeassistant")
            || reads.iter().any(|read| read.kind == Kind::Json))
}

fn by_payloads(levels: &[String], topic: &Topic, reads: &[Read]) -> Option<Reason> {
    let said: Vec<&Read> = reads.iter().filter(|read| read.kind != Kind::Empty).collect();
    if said.is_empty() {
        return Some(Reason::not_yet("its messages are empty"));
    }
    if said.iter().all(|read| is_availability(levels, read)) {
        return Some(Reason::never("availability of a device (online or offline), no reading"));
    }
    let is_kept = topic.retained > 0 && topic.live_messages() <= 1;
    let is_large = |read: &&Read| read.text.len() > LARGE_BYTES || read.kind == Kind::LargeJson;
    let describes = |read: &&Read| {
        let text = &read.text;
        (text.contains("\"friendly_name\"") || text.contains("\"definition\"") || text.contains("\"$schema\""))
            && text.len() > 300
    };
    if is_kept && said.iter().any(is_large) || said.iter().all(describes) {
        return Some(Reason::never("a large document that the broker keeps: a description, no reading"));
    }
    let all = |is: fn(&Kind) -> bool| said.iter().all(|read| is(&read.kind));
    if all(|kind| *kind == Kind::LargeJson) {
        return Some(Reason::never("its documents have more than 20,000 members"));
    }
    if all(|kind| *kind == Kind::Text) {
        return Some(Reason::never("free text, no reading"));
    }
    if all(|kind| *kind == Kind::BrokenJson) {
        return Some(Reason::not_yet("JSON that is broken"));
    }
    if let Some(Kind::Binary(kind)) =
        said.first().map(|read| &read.kind).filter(|_| all(|kind| matches!(kind, Kind::Binary(_))))
    {
        return Some(Reason::never(format!("binary payloads: {kind}")));
    }
    if all(|kind| matches!(kind, Kind::Text | Kind::BrokenJson | Kind::Binary(_) | Kind::LargeJson)) {
        return Some(Reason::never("payloads of kinds that no source reads"));
    }
    if said.iter().all(|read| describes_a_device(read)) {
        return Some(Reason::not_yet("it describes a device, and holds no reading"));
    }
    if said.iter().all(|read| read.kind == Kind::Word && words::is_nothing(&read.text)) {
        return Some(Reason::not_yet("it only said that it has no value"));
    }
    None
}

/// Whether a document has nothing but texts that are names, versions and addresses.
fn describes_a_device(read: &Read) -> bool {
    let told =
        ["model", "manufacturer", "vendor", "brand", "hardware", "software", "url", "mac", "gateway", "description"];
    let is_told = |name: &String| {
        let has_word = words::parts(name).iter().any(|part| told.contains(&part.as_str()));
        words::is_identity(name) || words::is_version(name) || has_word
    };
    let is_so = |(name, value): (&String, &Json)| is_told(name) && (value.is_string() || value.is_null());
    match &read.document {
        Some(Json::Object(members)) => members.len() > 1 && members.iter().all(is_so),
        _ => false,
    }
}

/// Whether a message says that a device is there or not.
fn is_availability(levels: &[String], read: &Read) -> bool {
    let clear = ["online", "offline", "connected", "disconnected"];
    let vague = ["alive", "dead", "up", "down", "lost", "ready", "true", "false", "0", "1", "2"];
    let of_a_client = ["lwt", "availability", "will", "online", "connected", "alive", "connection"];
    let is_said = |text: &str| {
        let text = text.trim().trim_matches('"').to_lowercase();
        let last = levels.last().map_or("", String::as_str);
        clear.contains(&text.as_str())
            || vague.contains(&text.as_str()) && of_a_client.contains(&last) && levels.len() > 1
    };
    match &read.document {
        None => is_said(&read.text),
        Some(Json::Object(members)) if members.len() == 1 => {
            let keys = ["state", "status", "availability", "online"];
            members
                .iter()
                .all(|(key, value)| keys.contains(&key.to_lowercase().as_str()) && value.as_str().is_some_and(is_said))
        }
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        discover::{
            notes::{Limits, Notes},
            shape::reads,
        },
        mqtt::listener::Heard,
        point::Timestamp,
    };

    fn reason_of(name: &str, payload: &str, retain: bool) -> Option<Reason> {
        let mut notes = Notes::new(Limits::default());
        let payload = payload.as_bytes().to_vec();
        let heard = Heard { topic: name.into(), payload_bytes: payload.len(), payload, retain, ..Heard::default() };
        notes.note(&heard, Timestamp(0));
        let topic = &notes.topics[name];
        reason(name, topic, &reads(name, topic))
    }

    fn told(name: &str, payload: &str, retain: bool) -> Option<String> {
        reason_of(name, payload, retain).map(|reason| reason.in_words().to_owned())
    }

    #[test]
    fn what_may_send_readings_later_is_told_from_what_never_does() {
        let large = "1".repeat(70_000);
        for (name, payload) in [
            ("x/y", ""),
            ("x/y", "{\"a\":"),
            ("x/y", "unavailable"),
            ("x/y", r#"{"model":"m1","manufacturer":"a"}"#),
            ("x/y", &large),
        ] {
            assert!(matches!(reason_of(name, payload, false), Some(Reason::NotYet(_))), "{name}: {payload:.40}");
        }
        for (name, payload) in [
            ("x/set", "1"),
            ("x/set", ""),
            ("x/set", &large),
            ("x/log", "unavailable"),
            ("x/y", "a line of some text"),
            ("x/availability", "online"),
            ("x/y", "\u{1}\u{0}\u{ff}"),
        ] {
            assert!(matches!(reason_of(name, payload, false), Some(Reason::Never(_))), "{name}: {payload:.40}");
        }
    }

    #[test]
    fn what_is_no_reading_is_told_with_its_reason() {
        for (name, payload, part) in [
            ("zigbee2mqtt/lamp/set", r#"{"state":"ON"}"#, "command"),
            ("cmnd/plug/POWER", "ON", "command"),
            ("tele/plug/LWT", "Online", "availability"),
            ("zigbee2mqtt/lamp/availability", r#"{"state":"offline"}"#, "availability"),
            ("a/connected", "1", "availability"),
            ("homeassistant/sensor/x/t/config", r#"{"unique_id":"x","stat_t":"y"}"#, "discovery"),
            ("homeassistant/sensor/x/config", "", "discovery"),
            ("zigbee2mqtt/bridge/info", "{}", "bridge"),
            ("plant/l1/log", "x", "log"),
            ("plant/l1/notes", "a line of some text", "free text"),
            ("homie/dev/$name", "Device", "attribute"),
            ("cam/front", "\u{1}\u{0}\u{ff}", "binary"),
            ("x/y", "{\"a\":", "broken"),
            ("x/y", "unavailable", "no value"),
            ("x/\u{1b}", "1", "control"),
        ] {
            let reason = told(name, payload, false);
            assert!(reason.as_ref().is_some_and(|reason| reason.contains(part)), "{name}: {reason:?}");
        }
        let large = format!("[{}]", vec![r#"{"name":"a","v":1}"#; 500].join(","));
        assert!(told("x/list", &large, true).is_some_and(|reason| reason.contains("large document")));
        for (name, payload) in [("a/state", "ON"), ("a/b", "1"), ("a/config", r#"{"t":1}"#), ("a/value", "{\"t\":1}")] {
            assert_eq!(told(name, payload, false), None, "{name}");
        }
    }
}
