//! Device timestamps: whole or fractional counts of a unit since 1970, or RFC 3339 text.

use crate::{point::Timestamp, settings::TimeUnit};

use super::{names::short, value::Scalar};

/// The time a payload's timestamp member states.
///
/// Whole numbers and decimal text are converted exactly; digits below a nanosecond are cut off. Times before 1970 are
/// refused, as QuestDB's client refuses them. The error says what was expected.
pub fn parse(value: Scalar<'_>, unit: TimeUnit) -> Result<Timestamp, String> {
    let Some(nanos_per_unit) = nanos_per(unit) else {
        return match value {
            Scalar::Text(text) => rfc3339(text),
            other => Err(format!("timestamp must be RFC 3339 text, not {}", other.kind())),
        };
    };
    match value {
        Scalar::Int(count) => in_range(i128::from(count) * nanos_per_unit),
        Scalar::Big(count) => in_range(i128::from(count) * nanos_per_unit),
        // The shortest text that reads back as this double is what the device wrote, up to 17 digits.
        Scalar::Float(count) => decimal(&format!("{count}"), nanos_per_unit),
        Scalar::Text(text) => decimal(text.trim(), nanos_per_unit),
        Scalar::Bool(_) => Err("timestamp must be a number, not a boolean".into()),
    }
}

fn nanos_per(unit: TimeUnit) -> Option<i128> {
    match unit {
        TimeUnit::S => Some(1_000_000_000),
        TimeUnit::Ms => Some(1_000_000),
        TimeUnit::Us => Some(1_000),
        TimeUnit::Ns => Some(1),
        TimeUnit::Rfc3339 => None,
    }
}

fn in_range(nanos: i128) -> Result<Timestamp, String> {
    if nanos < 0 {
        return Err("timestamp lies before 1970; QuestDB takes none of those".into());
    }
    i64::try_from(nanos)
        .map(Timestamp)
        .map_err(|_| "timestamp lies after the year 2262; check the timestamp's unit in the source".into())
}

fn rfc3339(text: &str) -> Result<Timestamp, String> {
    match text.trim().parse::<jiff::Timestamp>() {
        Ok(time) => in_range(time.as_nanosecond()),
        Err(_) => Err(format!("{:?} is no RFC 3339 timestamp such as \"2026-01-31T12:00:00Z\"", short(text))),
    }
}

/// Reads `digits[.digits]`, with a sign, exactly.
fn decimal(text: &str, nanos_per_unit: i128) -> Result<Timestamp, String> {
    /// More whole digits than any time in range has; a bound on the arithmetic below.
    const MOST_DIGITS: usize = 20;
    let fault = || format!("{:?} is no timestamp; a decimal number is expected", short(text));
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
            (Scalar::Text("2023-11-14T22:13:20"), TimeUnit::Rfc3339),
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
