//! Device timestamps: whole or fractional counts of a unit since 1970, or text as of RFC 3339 and
//! ISO 8601.

use crate::{point::Timestamp, settings::TimeUnit};

use super::{names::short, value::Scalar};

/// Why a member gives no time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFault {
    /// It cannot be read, or lies before 1970: the time of receipt has to do.
    Unusable(String),
    /// It lies after the year 2262.
    TooLate(String),
}

fn unusable(reason: impl Into<String>) -> TimeFault {
    TimeFault::Unusable(reason.into())
}

/// The time a payload's timestamp member states.
///
/// Whole numbers and decimal text are converted exactly; digits below a nanosecond are cut off.
/// Text without a zone is UTC. The error says what was expected.
pub fn parse(value: Scalar<'_>, unit: TimeUnit) -> Result<Timestamp, TimeFault> {
    let Some(nanos_per_unit) = nanos_per(unit).or_else(|| magnitude(value, unit)) else {
        return match value {
            Scalar::Text(text) => iso8601(text),
            other => {
                Err(unusable(format!("timestamp must be text such as \"2026-01-31T12:00:00Z\", not {}", other.kind())))
            }
        };
    };
    match value {
        Scalar::Int(count) => in_range(i128::from(count) * nanos_per_unit),
        Scalar::Big(count) => in_range(i128::from(count) * nanos_per_unit),
        // The shortest text that reads back as this double is what the device wrote, up to 17 digits.
        Scalar::Float(count) => decimal(&format!("{count}"), nanos_per_unit),
        Scalar::Text(text) => decimal(text.trim(), nanos_per_unit),
        Scalar::Bool(_) => Err(unusable("timestamp must be a number, not a boolean")),
    }
}

fn nanos_per(unit: TimeUnit) -> Option<i128> {
    match unit {
        TimeUnit::S => Some(1_000_000_000),
        TimeUnit::Ms => Some(1_000_000),
        TimeUnit::Us => Some(1_000),
        TimeUnit::Ns => Some(1),
        TimeUnit::Auto | TimeUnit::Rfc3339 => None,
    }
}

/// The unit of a number, told by its size: seconds of the years up to 5138, milliseconds from 1973
/// on, and so forth. None where it is no number, or the unit is not to be told so.
fn magnitude(value: Scalar<'_>, unit: TimeUnit) -> Option<i128> {
    if unit != TimeUnit::Auto {
        return None;
    }
    let count = match value {
        Scalar::Int(count) => count as f64,
        Scalar::Big(count) => count as f64,
        Scalar::Float(count) => count,
        Scalar::Text(text) => text.trim().parse().ok()?,
        Scalar::Bool(_) => return None,
    };
    let unit = match count.abs() {
        count if count < 1e11 => TimeUnit::S,
        count if count < 1e14 => TimeUnit::Ms,
        count if count < 1e17 => TimeUnit::Us,
        _ => TimeUnit::Ns,
    };
    nanos_per(unit)
}

fn in_range(nanos: i128) -> Result<Timestamp, TimeFault> {
    if nanos < 0 {
        return Err(unusable("timestamp lies before 1970; QuestDB takes none of those"));
    }
    i64::try_from(nanos).map(Timestamp).map_err(|_| {
        TimeFault::TooLate("timestamp lies after the year 2262; check the timestamp's unit in the source".into())
    })
}

fn iso8601(text: &str) -> Result<Timestamp, TimeFault> {
    let trimmed = text.trim();
    // Some write a space before the zone.
    let joined = trimmed.strip_suffix(" UTC").map(|time| format!("{time}Z")).or_else(|| {
        let (time, zone) = trimmed.rsplit_once(' ')?;
        zone.starts_with(['+', '-', 'Z']).then(|| format!("{time}{zone}"))
    });
    let text = joined.as_deref().unwrap_or(trimmed);
    let zoned = text.parse::<jiff::Timestamp>().ok();
    let time = zoned.or_else(|| {
        let local: jiff::civil::DateTime = text.parse().ok()?;
        jiff::tz::TimeZone::UTC.to_timestamp(local).ok()
    });
    match time {
        Some(time) => in_range(time.as_nanosecond()),
        None => Err(unusable(format!("{:?} is no timestamp such as \"2026-01-31T12:00:00Z\"", short(text)))),
    }
}

/// Reads `digits[.digits]`, with a sign, exactly.
fn decimal(text: &str, nanos_per_unit: i128) -> Result<Timestamp, TimeFault> {
    /// More whole digits than any time in range has; a bound on the arithmetic below.
    const MOST_DIGITS: usize = 20;
    let fault = || unusable(format!("{:?} is no timestamp; a decimal number is expected", short(text)));
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || digits.ends_with('.') {
        return Err(fault());
    }
    let whole = whole.trim_start_matches('0');
    if whole.len() > MOST_DIGITS {
        return in_range(if negative { -1 } else { i128::MAX });
    }
    let mut nanos = whole.bytes().fold(0, |n: i128, b| n * 10 + i128::from(b - b'0')) * nanos_per_unit;
    let mut weight = nanos_per_unit;
    for digit in fraction.bytes() {
        weight /= 10;
        nanos += i128::from(digit - b'0') * weight;
        if weight == 0 {
            break;
        }
    }
    in_range(if negative { -nanos } else { nanos })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_unit_counts_from_1970() {
        let ns = |value, unit| parse(value, unit).expect("time").0;
        assert_eq!(ns(Scalar::Int(1_700_000_000), TimeUnit::S), 1_700_000_000_000_000_000);
        assert_eq!(ns(Scalar::Int(1_700_000_000_123), TimeUnit::Ms), 1_700_000_000_123_000_000);
        assert_eq!(ns(Scalar::Int(1_700_000_000_123_456), TimeUnit::Us), 1_700_000_000_123_456_000);
        assert_eq!(ns(Scalar::Int(i64::MAX), TimeUnit::Ns), i64::MAX);
        assert_eq!(ns(Scalar::Float(1_700_000_000.123_456), TimeUnit::S), 1_700_000_000_123_456_000);
        assert_eq!(ns(Scalar::Text("1700000000.123456789"), TimeUnit::S), 1_700_000_000_123_456_789);
        assert_eq!(ns(Scalar::Text(" 7 "), TimeUnit::Us), 7_000);
        assert_eq!(ns(Scalar::Text("2023-11-14T22:13:20.5+00:00"), TimeUnit::Rfc3339), 1_700_000_000_500_000_000);
        assert_eq!(ns(Scalar::Int(0), TimeUnit::S), 0);
    }

    #[test]
    fn the_usual_forms_of_text_are_read() {
        let noon = 1_772_366_400_000_000_000;
        for text in [
            "2026-03-01T13:00:00+0100",
            "2026-03-01T13:00:00+01:00",
            "20260301T120000Z",
            "2026-03-01 12:00:00Z",
            "2026-03-01 12:00:00 UTC",
            "2026-03-01 13:00:00 +0100",
            "2026-03-01T12:00:00",
            "2026-03-01T12:00Z",
            "2026-03-01 12:00:00.000",
        ] {
            for unit in [TimeUnit::Auto, TimeUnit::Rfc3339] {
                assert_eq!(parse(Scalar::Text(text), unit), Ok(Timestamp(noon)), "{text}");
            }
        }
    }

    #[test]
    fn the_size_of_a_number_tells_its_unit() {
        let noon = 1_772_366_400_000_000_000;
        for value in [
            Scalar::Int(1_772_366_400),
            Scalar::Int(1_772_366_400_000),
            Scalar::Int(1_772_366_400_000_000),
            Scalar::Int(noon),
            Scalar::Float(1_772_366_400.0),
            Scalar::Text("1772366400000"),
            Scalar::Text("1772366400000.0"),
        ] {
            assert_eq!(parse(value, TimeUnit::Auto), Ok(Timestamp(noon)), "{value:?}");
        }
        assert!(matches!(parse(Scalar::Int(i64::MAX), TimeUnit::S), Err(TimeFault::TooLate(_))));
        assert!(matches!(parse(Scalar::Bool(true), TimeUnit::Auto), Err(TimeFault::Unusable(_))));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for (value, unit) in [
            (Scalar::Int(-1), TimeUnit::S),
            (Scalar::Int(i64::MAX), TimeUnit::S),
            (Scalar::Big(u64::MAX), TimeUnit::Ns),
            (Scalar::Float(1e300), TimeUnit::Ns),
            (Scalar::Float(-0.5), TimeUnit::S),
            (Scalar::Text(""), TimeUnit::S),
            (Scalar::Text("."), TimeUnit::S),
            (Scalar::Text("1."), TimeUnit::S),
            (Scalar::Text("1e9"), TimeUnit::S),
            (Scalar::Text("now"), TimeUnit::Ms),
            (Scalar::Text("1700000000"), TimeUnit::Rfc3339),
            (Scalar::Text("2023-11-14T25:13:20"), TimeUnit::Rfc3339),
            (Scalar::Text("1969-12-31T23:59:59Z"), TimeUnit::Rfc3339),
            (Scalar::Int(1), TimeUnit::Rfc3339),
            (Scalar::Bool(true), TimeUnit::S),
        ] {
            assert!(parse(value, unit).is_err(), "{value:?} {unit:?}");
        }
    }

    proptest! {
        #[test]
        fn text_and_integers_agree(count in 0..=i64::MAX, zeros in 0..5usize) {
            for unit in [TimeUnit::S, TimeUnit::Ms, TimeUnit::Us, TimeUnit::Ns] {
                let text = format!("{}{count}.000", "0".repeat(zeros));
                prop_assert_eq!(parse(Scalar::Text(&text), unit).ok(), parse(Scalar::Int(count), unit).ok());
            }
        }

        #[test]
        fn nanoseconds_survive_as_fractions(nanos in 0..=i64::MAX) {
            let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
            prop_assert_eq!(parse(Scalar::Text(&text), TimeUnit::S), Ok(Timestamp(nanos)));
        }

        #[test]
        fn times_print_and_read_back(nanos in 0..=i64::MAX) {
            let text = Timestamp(nanos).to_string();
            prop_assert_eq!(parse(Scalar::Text(&text), TimeUnit::Rfc3339), Ok(Timestamp(nanos)));
        }

        #[test]
        fn any_text_and_double_is_handled(text in "\\PC{0,40}|[-+.0-9]{0,60}", double in any::<f64>()) {
            for unit in [TimeUnit::S, TimeUnit::Ns, TimeUnit::Rfc3339] {
                let _ = parse(Scalar::Text(&text), unit);
                let _ = parse(Scalar::Float(double), unit);
            }
        }
    }
}
