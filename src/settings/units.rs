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
        let text = scalar(deserializer)?;
        humantime::parse_duration(&text)
            .map_err(|why| D::Error::custom(format!("{text:?} is no duration ({why}); write one like \"250ms\"")))
    }
}

/// The same for a duration that may be absent.
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

/// Moments written "2000-01-01" or "2000-01-01T00:00:00Z".
pub mod moment {
    use super::{Deserializer, Error, Serializer, scalar};
    use crate::point::Timestamp;

    /// Writes the moment as of RFC 3339.
    pub fn serialize<S: Serializer>(value: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    /// Reads a date, or a date and time; UTC unless it tells its zone.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = scalar(deserializer)?;
        let local = || jiff::tz::TimeZone::UTC.to_timestamp(text.parse::<jiff::civil::DateTime>().ok()?).ok();
        let time = text.parse::<jiff::Timestamp>().ok().or_else(local);
        let nanos = time.and_then(|time| i64::try_from(time.as_nanosecond()).ok());
        nanos.map(Timestamp).ok_or_else(|| {
            D::Error::custom(format!("{text:?} is no moment; write one like \"2000-01-01\" or \"2000-01-01T00:00:00Z\""))
        })
    }
}

/// Reads a string or a number as text, so that `size = 4096` and an environment variable's text both work.
fn scalar<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
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
