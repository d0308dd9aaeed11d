//! Durations and sizes as people write them: "250ms", "256MiB".

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A size in bytes, written "64KiB", "256MiB" or as a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    /// So many KiB.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// So many MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = scalar(deserializer)?;
        match bytesize::ByteSize::from_str(&text) {
            Ok(size) => Ok(Self(size.as_u64())),
            Err(why) => Err(D::Error::custom(format!("{text:?} is no size ({why}); write one like \"256MiB\""))),
        }
    }
}

/// Durations written "250ms", "30s", "7days".
pub mod duration {
    use std::time::Duration;

    use super::{Deserializer, Error, Serializer, scalar};

    /// Writes the duration as a person would.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }

    /// Reads a duration with its unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        parse(&scalar(deserializer)?).map_err(D::Error::custom)
    }

    /// The same of a text.
    pub(in crate::settings) fn parse(text: &str) -> Result<Duration, String> {
        humantime::parse_duration(text)
            .map_err(|why| format!("{text:?} is no duration ({why}); write one like \"250ms\""))
    }
}

/// Times written "2000-01-01" or "2000-01-01T00:00:00Z".
pub mod time {
    use super::{Deserializer, Error, Serializer, scalar};
    use crate::point::Timestamp;

    /// Writes the time as RFC 3339.
    pub fn serialize<S: Serializer>(value: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    /// Reads an RFC 3339 time, or a day, which stands for its beginning in UTC.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = scalar(deserializer)?;
        let is_day = text.len() == "2000-01-01".len();
        let time = if is_day { format!("{text}T00:00:00Z").parse() } else { text.parse::<jiff::Timestamp>() };
        let time = time.map_err(|why| {
            D::Error::custom(format!("{text:?} is no time ({why}); write one like \"2000-01-01T00:00:00Z\""))
        })?;
        let nanos = i64::try_from(time.as_nanosecond());
        nanos.map(Timestamp).map_err(|_| D::Error::custom(format!("{text:?} is outside 1677 to 2262")))
    }
}

/// Durations that may be absent.
pub mod option_duration {
    use std::time::Duration;

    use super::{Deserializer, Serializer, duration};

    /// Writes the duration as a person would.
    pub fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => duration::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a duration with its unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        duration::deserialize(deserializer).map(Some)
    }
}

/// Reads a string or a number as text, so that `size = 4096` and an environment variable's text both work.
pub(super) fn scalar<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Visitor;
    impl serde::de::Visitor<'_> for Visitor {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("text such as \"250ms\" or \"256MiB\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
            Ok(number.to_string())
        }
    }
    deserializer.deserialize_any(Visitor)
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::time;
    use crate::point::Timestamp;

    #[derive(Debug, Serialize, Deserialize)]
    struct At {
        #[serde(with = "time")]
        at: Timestamp,
    }

    #[test]
    fn a_time_is_a_day_or_a_moment() {
        let read = |text: &str| toml::from_str::<At>(&format!("at = {text:?}")).map(|read| read.at);
        let day = Timestamp(946_684_800_000_000_000);
        assert_eq!(read("2000-01-01").unwrap(), day);
        assert_eq!(read("2000-01-01T00:00:00.000000001Z").unwrap(), Timestamp(day.0 + 1));
        assert_eq!(toml::to_string(&At { at: day }).unwrap(), "at = \"2000-01-01T00:00:00Z\"\n");
        for wrong in ["2000-01-32", "yesterday", "2000-01-01T00:00:00", "1500-01-01"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
