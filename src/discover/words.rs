//! Words by which devices name things, and texts that are values. Pure.

use jiff::{civil::DateTime, fmt::strtime};

use super::vocabulary::{FIRST_TIMES, IDENTITIES, QUANTITIES, STATES};

/// What a plain text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// A number as programs write it.
    Number,
    /// A number with a decimal comma or a unit.
    Measure,
    /// `true` or `false`.
    Boolean,
    /// `ON`, `off`, `yes`, `no`.
    Switch,
}

/// What a text is, where it is a number or a boolean.
#[must_use]
pub fn plain(text: &str) -> Option<Plain> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
        return Some(Plain::Boolean);
    }
    if ["on", "off", "yes", "no"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Some(Plain::Switch);
    }
    let begins = text.bytes().next()?;
    if !(begins.is_ascii_digit() || matches!(begins, b'-' | b'+' | b'.')) {
        return None;
    }
    if text.parse::<f64>().is_ok_and(f64::is_finite) {
        return Some(Plain::Number);
    }
    is_measure(text).then_some(Plain::Measure)
}

/// A number with one comma or point, and perhaps a short unit behind it.
fn is_measure(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ',' | '+' | '-')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let is_number = number.replace(',', ".").parse::<f64>().is_ok();
    let unit = unit.trim();
    let is_unit = unit.chars().count() <= 8 && !unit.contains(|c: char| c.is_ascii_digit() || ",.;:-=".contains(c));
    // "5 lights are on" is a sentence.
    is_number && is_unit && unit.split_whitespace().count() <= 1
}

/// Whether a text is a number, also with a comma or a unit.
#[must_use]
pub fn is_numeric(text: &str) -> bool {
    matches!(plain(text), Some(Plain::Number | Plain::Measure))
}

/// Texts that say that there is no value, besides those that never are one.
const NOTHING: [&str; 8] = ["unavailable", "unknown", "none", "n/a", "undefined", "undef", "nil", "-"];

/// Whether a text says that there is no value.
#[must_use]
pub fn is_nothing(text: &str) -> bool {
    NOTHING.iter().any(|word| text.trim().eq_ignore_ascii_case(word))
}

/// Forms of times that are no ISO 8601, in the words of strftime.
pub const FORMS: [&str; 18] = [
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%y %H:%M:%S",
    "%d.%m.%y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%d-%m-%Y %H:%M:%S",
    "%m/%d/%Y %I:%M:%S %p",
    "%Y.%m.%d %H:%M:%S",
    "%Y-%m-%d-%H-%M-%S",
    "%Y%m%d%H%M%S",
    "%y%m%d%H%M%S",
    "%Y%m%d %H%M%S",
    "%a, %d %b %Y %H:%M:%S GMT",
    "%a %b %d %H:%M:%S %Y",
    "%d %b %Y %H:%M:%S",
];

/// The local time that a text of a form tells.
#[must_use]
pub fn of_form(form: &str, text: &str) -> Option<DateTime> {
    strtime::parse(form, text.trim()).ok()?.to_datetime().ok()
}

/// Whether a text tells a date and a time.
#[must_use]
pub fn is_time_text(text: &str) -> bool {
    let text = text.trim();
    let looks_so = text.len() >= 12 && text.bytes().filter(u8::is_ascii_digit).count() >= 8;
    let is_iso = || text.parse::<jiff::Timestamp>().is_ok() || text.parse::<DateTime>().is_ok();
    looks_so && (is_iso() || FORMS.iter().any(|form| of_form(form, text).is_some()))
}

/// Whether a text is a day, in one of the usual forms.
#[must_use]
pub fn is_day(text: &str) -> bool {
    let forms = ["%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d"];
    text.len() == 10 && forms.iter().any(|form| strtime::parse(form, text).is_ok_and(|parts| parts.to_date().is_ok()))
}

/// Whether a text is a time of day.
#[must_use]
pub fn is_time_of_day(text: &str) -> bool {
    let forms = ["%H:%M:%S", "%H:%M"];
    forms.iter().any(|form| strtime::parse(form, text).is_ok_and(|parts| parts.to_time().is_ok()))
}

/// The words of a name: `soilMoisture_2` is soil, moisture, 2.
pub fn parts(name: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut before = ' ';
    for c in name.chars() {
        let begins = !before.is_alphanumeric()
            || before.is_lowercase() && c.is_uppercase()
            || before.is_ascii_digit() != c.is_ascii_digit();
        if c.is_alphanumeric() {
            match parts.last_mut() {
                Some(last) if !begins => last.extend(c.to_lowercase()),
                _ => parts.push(c.to_lowercase().collect()),
            }
        }
        before = c;
    }
    parts
}

/// Whether a name has a word for what is measured.
#[must_use]
pub fn is_quantity(name: &str) -> bool {
    parts(name).iter().any(|part| QUANTITIES.contains(&part.as_str()))
        || QUANTITIES.contains(&name.to_lowercase().as_str())
}

/// Whether a name says which thing it is.
#[must_use]
pub fn is_identity(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let lower = last.to_lowercase();
    let parts = parts(last);
    let says = |word: &String| IDENTITIES.contains(&word.as_str());
    let counts = ["message", "msg", "packet", "frame", "event", "transaction", "request", "sequence", "seq"];
    let is_of_a_message = parts.iter().any(|part| counts.contains(&part.as_str()));
    let is_type_of_a_thing =
        ["sensortype", "devicetype", "metertype", "measurementtype"].contains(&lower.replace('_', "").as_str());
    is_type_of_a_thing
        || !is_of_a_message && !lower.contains("zone_") && (says(&lower) || parts.last().is_some_and(says))
        || matches!(lower.as_str(), "n" | "deveui" | "dev_eui" | "tagname" | "nodeid" | "sensorname" | "devname")
}

/// Whether a name is that of a version or of an address in the network, which change without
/// another device.
#[must_use]
pub fn is_version(path: &str) -> bool {
    let told = ["version", "firmware", "fw", "sw", "hw", "ip", "ssid", "bssid", "ver", "build", "url"];
    parts(path.rsplit('.').next().unwrap_or(path)).iter().any(|part| told.contains(&part.as_str()))
}

/// Whether a text is a state that many things have.
#[must_use]
pub fn is_state_value(text: &str) -> bool {
    const STATES: &[&str] = &[
        "open", "opened", "closed", "close", "ok", "fail", "failed", "error", "on", "off", "low", "high", "normal",
        "active", "inactive", "idle", "run", "running", "stop", "stopped", "dry", "wet", "detected", "clear", "true",
        "false", "yes", "no", "good", "bad", "full", "empty", "auto", "manual", "up", "down", "online", "offline",
    ];
    STATES.iter().any(|state| text.trim().eq_ignore_ascii_case(state))
}

/// Whether a name says that what it has is a state, which changes.
#[must_use]
pub fn is_state(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    parts(last).iter().any(|part| STATES.contains(&part.as_str()))
}

/// Names of times, the likelier ones first.
#[must_use]
pub fn time_rank(path: &str) -> Option<u8> {
    let last = path.rsplit('.').next().unwrap_or(path);
    let lower = last.to_lowercase();
    let lower = lower.trim_start_matches(['_', '@', '$']);
    if FIRST_TIMES.contains(&lower) {
        return Some(0);
    }
    let parts = parts(last);
    let has = |word: &str| parts.iter().any(|part| part == word);
    let is_other = [
        "up",
        "on",
        "off",
        "run",
        "start",
        "end",
        "begin",
        "boot",
        "total",
        "remaining",
        "duration",
        "since",
        "next",
        "cycle",
        "response",
        "expires",
        "valid",
        "until",
    ];
    if is_other.iter().any(|word| has(word)) || lower.contains("uptime") || lower.contains("runtime") {
        return None;
    }
    if matches!(
        lower,
        "date"
            | "last_seen"
            | "lastseen"
            | "last_update"
            | "received_at"
            | "receivedat"
            | "created_at"
            | "createdat"
            | "updated_at"
            | "last_updated"
            | "timestamp_ms"
            | "observed_at"
            | "published_at"
    ) {
        return Some(1);
    }
    (["ts", "timestamp", "time", "datetime", "epoch", "date", "zeit"].iter().any(|word| has(word))
        || lower.ends_with("timestamp")
        || lower.ends_with("time"))
    .then_some(2)
}

/// Whether a member is about the radio link or the sender's own housekeeping.
#[must_use]
pub fn is_link(name: &str) -> bool {
    let parts = parts(name.rsplit('.').next().unwrap_or(name));
    parts.iter().any(|part| {
        matches!(part.as_str(), "rssi" | "snr" | "lsnr" | "lqi" | "linkquality" | "battery" | "batt" | "seq" | "fcnt")
    })
}

/// Names of lists that say who received a message.
#[must_use]
pub fn is_receivers(name: &str) -> bool {
    matches!(name.to_lowercase().as_str(), "rxinfo" | "rx_metadata" | "gateways" | "gws" | "hotspots" | "rxmetadata")
}

/// Whether a level or a value looks like a number that was given to a device: digits, a serial
/// number, an address.
#[must_use]
pub fn is_serial(text: &str) -> bool {
    let hex = text.chars().filter(|c| !matches!(c, ':' | '-')).count() >= 6
        && text.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '-' | 'x' | '!'))
        && text.bytes().any(|byte| byte.is_ascii_digit());
    hex || !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told() {
        for (text, expected) in [
            ("21.5", Some(Plain::Number)),
            ("1e3", Some(Plain::Number)),
            ("21,5", Some(Plain::Measure)),
            ("21.5 °C", Some(Plain::Measure)),
            ("-0,25 bar", Some(Plain::Measure)),
            ("2026-03-01", None),
            ("1,2,3", None),
            ("5 lights are on", None),
            ("12:30", None),
            ("On", Some(Plain::Switch)),
            ("FALSE", Some(Plain::Boolean)),
            ("inf", None),
            ("open", None),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
    }

    #[test]
    fn names_are_told() {
        assert_eq!(parts("soilMoisture_2"), ["soil", "moisture", "2"]);
        assert!(is_quantity("co2") && is_quantity("soilMoisture1") && is_quantity("Temp") && !is_quantity("press"));
        for name in ["id", "sensor_id", "DS18B20.Id", "deviceName", "meta.room", "addr", "MAC"] {
            assert!(is_identity(name), "{name}");
        }
        for name in ["temperature", "msg_id", "value", "valid", "message.id2"] {
            assert!(!is_identity(name), "{name}");
        }
        assert!(is_serial("0x00158d0001") && is_serial("17") && !is_serial("kitchen") && !is_serial("face"));
        assert_eq!(time_rank("params.ts"), Some(0));
        assert_eq!(time_rank("lastUpdateTime"), Some(2));
        for name in ["uptime", "TotalStartTime", "runtime", "temperature", "timeout"] {
            assert_eq!(time_rank(name), None, "{name}");
        }
    }

    #[test]
    fn texts_that_tell_a_time_are_known() {
        for text in ["2026-03-01T12:00:00Z", "2026-03-01 12:00:00", "01.07.2025 14:00", "20260301120000"] {
            assert!(is_time_text(text), "{text}");
        }
        assert!(!is_time_text("21.5") && !is_time_text("a text with 12345678 digits"));
    }
}
