//! Device timestamps: whole or fractional counts of a unit since 1970, or text as of RFC 3339 and
//! ISO 8601, or of a form that the source tells.

use jiff::{
    fmt::{strtime, temporal::DateTimeParser},
    tz::TimeZone,
};

use crate::{
    point::Timestamp,
    settings::{TimeUnit, TimeWord, TimestampField},
};

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

/// How a source's timestamps are read.
#[derive(Debug, Clone)]
pub struct TimeReader {
    notation: Notation,
    /// The zone of text that tells none.
    zone: TimeZone,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Notation {
    /// A number by its size, or text.
    Auto,
    /// A count of so many nanoseconds each.
    Count(i128),
    /// Text as of RFC 3339 and ISO 8601.
    Iso,
    /// Text of a form in the words of strftime.
    Form(String),
}

impl Default for TimeReader {
    fn default() -> Self {
        Self { notation: Notation::Auto, zone: TimeZone::UTC }
    }
}

impl TimeReader {
    /// By a source's setting. The error is the key at fault, and what is wrong.
    pub fn of(field: &TimestampField) -> Result<Self, (&'static str, String)> {
        let notation = match &field.unit {
            TimeUnit::Word(word) => Notation::of(*word),
            TimeUnit::Form(form) => {
                check_form(form).map_err(|what| ("timestamp.unit", what))?;
                Notation::Form(form.clone())
            }
        };
        let zone = field.zone.as_deref().map_or(Ok(TimeZone::UTC), zone);
        Ok(Self { notation, zone: zone.map_err(|what| ("timestamp.zone", what))? })
    }

    /// The time that a timestamp member states.
    ///
    /// Whole numbers and decimal text are converted exactly; digits below a nanosecond are cut off.
    /// The error says what was expected.
    pub fn read(&self, value: Scalar<'_>) -> Result<Timestamp, TimeFault> {
        let nanos_per_unit = match &self.notation {
            Notation::Count(nanos) => *nanos,
            Notation::Auto => match magnitude(value) {
                Some(nanos) => nanos,
                None => return self.text(value, Self::iso8601),
            },
            Notation::Iso => return self.text(value, Self::iso8601),
            Notation::Form(form) => {
                let number = value.to_text();
                let text = if let Scalar::Bool(_) = value { value } else { Scalar::Text(&number) };
                return self.text(text, |reader, text| reader.of_form(form, text));
            }
        };
        match value {
            Scalar::Int(count) => in_range(i128::from(count) * nanos_per_unit),
            Scalar::Big(count) => in_range(i128::from(count) * nanos_per_unit),
            // The shortest text that reads back as this double is what the device wrote, up to 17
            // digits.
            Scalar::Float(count) => decimal(&format!("{count}"), nanos_per_unit),
            Scalar::Text(text) => decimal(text.trim(), nanos_per_unit),
            Scalar::Bool(_) => Err(unusable("timestamp must be a number, not a boolean")),
        }
    }

    fn text(
        &self,
        value: Scalar<'_>,
        read: impl Fn(&Self, &str) -> Result<Timestamp, TimeFault>,
    ) -> Result<Timestamp, TimeFault> {
        match value {
            Scalar::Text(text) => read(self, text),
            other => {
                Err(unusable(format!("timestamp must be text such as \"2026-01-31T12:00:00Z\", not {}", other.kind())))
            }
        }
    }

    fn of_form(&self, form: &str, text: &str) -> Result<Timestamp, TimeFault> {
        let fault = || unusable(format!("{:?} is no timestamp of the form {form:?}", short(text)));
        let parts = strtime::parse(form, text.trim()).map_err(|_| fault())?;
        // A zone that the text tells outranks the source's.
        let zoned = parts.to_timestamp().ok();
        let time = zoned.or_else(|| self.zone.to_timestamp(parts.to_datetime().ok()?).ok());
        in_range(time.ok_or_else(fault)?.as_nanosecond())
    }

    fn iso8601(&self, text: &str) -> Result<Timestamp, TimeFault> {
        let trimmed = text.trim();
        // Some write a space before the zone.
        let joined = trimmed.strip_suffix(" UTC").map(|time| format!("{time}Z")).or_else(|| {
            let (time, zone) = trimmed.rsplit_once(' ')?;
            zone.starts_with(['+', '-', 'Z']).then(|| format!("{time}{zone}"))
        });
        let text = joined.as_deref().unwrap_or(trimmed);
        match self.strictly(text).or_else(|| self.loosely(text)) {
            Some(nanos) => in_range(nanos),
            None => Err(unusable(format!("{:?} is no timestamp such as \"2026-01-31T12:00:00Z\"", short(text)))),
        }
    }
}

impl TimeReader {
    /// Nanoseconds since 1970.
    fn strictly(&self, text: &str) -> Option<i128> {
        let zoned = text.parse::<jiff::Timestamp>().ok();
        let time = zoned.or_else(|| {
            let local: jiff::civil::DateTime = text.parse().ok()?;
            self.zone.to_timestamp(local).ok()
        });
        time.map(jiff::Timestamp::as_nanosecond)
    }

    /// The same of forms that are off the common path: slashes between the parts of a date, 24:00 for
    /// the end of a day, more than nine digits of a second.
    fn loosely(&self, text: &str) -> Option<i128> {
        let mut text = text.to_owned();
        if let Some(date) = text.get(..10).filter(|date| date.matches('/').count() == 2) {
            let date = date.replace('/', "-");
            text.replace_range(..10, &date);
        }
        if let Some(digits) = text.find(['.', ',']).map(|point| point + 1) {
            let count = text[digits..].bytes().take_while(u8::is_ascii_digit).count();
            text.replace_range(digits + count.min(9)..digits + count, "");
        }
        if let Some(midnight) = as_midnight(&text) {
            return self.strictly(&midnight).map(|nanos| nanos + DAY_S * NANOS_PER_S);
        }
        self.strictly(&text)
    }
}

/// A time of 24:00, the end of a day, as 00:00 of that day.
fn as_midnight(text: &str) -> Option<String> {
    let (date, time) = text.split_at_checked(10)?;
    let after = time.get(1..)?.strip_prefix("24:00")?;
    let zone = after.find(['Z', 'z', '+', '-']).unwrap_or(after.len());
    let is_zero = after[..zone].chars().all(|c| matches!(c, ':' | '.' | ',' | '0'));
    is_zero.then(|| format!("{date}T00:00{after}"))
}

impl Notation {
    fn of(word: TimeWord) -> Self {
        match word {
            TimeWord::Auto => Self::Auto,
            TimeWord::Rfc3339 => Self::Iso,
            TimeWord::S => Self::Count(NANOS_PER_S),
            TimeWord::Ms => Self::Count(1_000_000),
            TimeWord::Us => Self::Count(1_000),
            TimeWord::Ns => Self::Count(1),
        }
    }
}

const NANOS_PER_S: i128 = 1_000_000_000;
const DAY_S: i128 = 24 * 3_600;

/// The zone of a name such as `Europe/Berlin`, or an offset such as `+01:00`.
fn zone(name: &str) -> Result<TimeZone, String> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    PARSER.parse_time_zone(name).map_err(|_| {
        format!(
            "there is no time zone {:?} on this machine; write one such as \"Europe/Berlin\" (the names come with \
             the package tzdata), or an offset such as \"+01:00\"",
            short(name)
        )
    })
}

/// Why a form gives no times: what it writes of a day has to tell the day.
fn check_form(form: &str) -> Result<(), String> {
    let what =
        |why: &str| format!("{form:?} is no form of a timestamp: {why}; write one such as \"%Y-%m-%d %H:%M:%S\"");
    // A day on which year, month, day and each part of the time are other numbers.
    let day = jiff::Timestamp::from_second(1_795_990_547).map_err(|error| what(&error.to_string()))?;
    let day = jiff::ZonedDateTime::new(day, TimeZone::UTC);
    let text = strtime::format(form, &day).map_err(|error| what(&error.to_string()))?;
    let parts = strtime::parse(form, &text).map_err(|error| what(&error.to_string()))?;
    let is_time = parts.to_timestamp().is_ok() || parts.to_datetime().is_ok();
    if is_time { Ok(()) } else { Err(what("it does not tell the whole date and the hour")) }
}

/// Nanoseconds of the unit of a number, told by its size: seconds of the years up to 5138,
/// milliseconds from 1973 on, and so forth. None where it is no number.
fn magnitude(value: Scalar<'_>) -> Option<i128> {
    let count = match value {
        Scalar::Int(count) => count as f64,
        Scalar::Big(count) => count as f64,
        Scalar::Float(count) => count,
        Scalar::Text(text) => text.trim().parse().ok()?,
        Scalar::Bool(_) => return None,
    };
    Some(unit_of(count))
}

/// Nanoseconds of the unit that a count since 1970 is of, by its size.
pub(super) fn unit_of(count: f64) -> i128 {
    match count.abs() {
        count if count < 1e11 => NANOS_PER_S,
        count if count < 1e14 => 1_000_000,
        count if count < 1e17 => 1_000,
        _ => 1,
    }
}

fn in_range(nanos: i128) -> Result<Timestamp, TimeFault> {
    if nanos < 0 {
        return Err(unusable("timestamp lies before 1970; QuestDB takes none of those"));
    }
    i64::try_from(nanos).map(Timestamp).map_err(|_| {
        TimeFault::TooLate("timestamp lies after the year 2262; check the timestamp's unit in the source".into())
    })
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

    fn parse(value: Scalar<'_>, unit: TimeWord) -> Result<Timestamp, TimeFault> {
        reader(TimeUnit::Word(unit), None).expect("a reader").read(value)
    }

    fn reader(unit: TimeUnit, zone: Option<&str>) -> Result<TimeReader, (&'static str, String)> {
        TimeReader::of(&TimestampField { unit, zone: zone.map(str::to_owned), ..TimestampField::default() })
    }

    fn of_form(form: &str, zone: Option<&str>, text: &str) -> Option<String> {
        let reader = reader(TimeUnit::Form(form.into()), zone).expect("a reader");
        reader.read(Scalar::Text(text)).ok().map(|time| time.to_string())
    }

    #[test]
    fn forms_and_zones_are_the_sources() {
        let berlin = Some("Europe/Berlin");
        for (form, zone, text, expected) in [
            ("%Y-%m-%d %H:%M:%S", None, "2026-03-01 12:00:00", Some("2026-03-01T12:00:00Z")),
            ("%Y-%m-%d %H:%M:%S", berlin, "2026-07-01 12:00:00", Some("2026-07-01T10:00:00Z")),
            ("%d.%m.%y %H:%M", Some("+01:00"), " 01.03.26 13:00 ", Some("2026-03-01T12:00:00Z")),
            ("%Y%m%d%H%M%S", None, "20260301120000", Some("2026-03-01T12:00:00Z")),
            ("%a, %d %b %Y %H:%M:%S GMT", None, "Fri, 18 Mar 2022 13:55:21 GMT", Some("2022-03-18T13:55:21Z")),
            ("%Y-%m-%dT%H:%M:%S%z", berlin, "2026-03-01T12:00:00+0200", Some("2026-03-01T10:00:00Z")),
            ("%Y-%m-%d %H:%M:%S%.f", None, "2026-03-01 12:00:00.25", Some("2026-03-01T12:00:00.25Z")),
            ("%Y-%m-%d", None, "2026-03-01", Some("2026-03-01T00:00:00Z")),
            ("%Y-%m-%d %H:%M:%S", None, "2026-03-01", None),
            ("%Y-%m-%d %H:%M:%S", None, "2026-13-01 12:00:00", None),
        ] {
            assert_eq!(of_form(form, zone, text).as_deref(), expected, "{form} {text}");
        }
        let iso = reader(TimeUnit::default(), berlin).expect("a reader");
        let read = |text| iso.read(Scalar::Text(text)).expect("a time").to_string();
        assert_eq!(read("2026-05-22T02:01:29"), "2026-05-22T00:01:29Z");
        assert_eq!(read("2026-10-25 02:30:00"), "2026-10-25T00:30:00Z", "of two such hours the first");
        assert_eq!(read("2026-05-22T02:01:29Z"), "2026-05-22T02:01:29Z");
        assert_eq!(read("1780000000"), "2026-05-28T20:26:40Z");
    }

    #[test]
    fn forms_and_zones_that_are_none_are_refused() {
        for form in ["%H:%M:%S", "%Q", "%Y-%m", "%", "%d.%m. %H:%M"] {
            let error = reader(TimeUnit::Form(form.into()), None).expect_err(form);
            assert!(error.0 == "timestamp.unit" && error.1.contains("%Y-%m-%d"), "{error:?}");
        }
        for zone in ["Europe/Berlim", "", "+99:00", "CEST"] {
            let error = reader(TimeUnit::default(), Some(zone)).expect_err(zone);
            assert!(error.0 == "timestamp.zone" && error.1.contains("tzdata"), "{error:?}");
        }
    }

    #[test]
    fn each_unit_counts_from_1970() {
        let ns = |value, unit| parse(value, unit).expect("time").0;
        assert_eq!(ns(Scalar::Int(1_700_000_000), TimeWord::S), 1_700_000_000_000_000_000);
        assert_eq!(ns(Scalar::Int(1_700_000_000_123), TimeWord::Ms), 1_700_000_000_123_000_000);
        assert_eq!(ns(Scalar::Int(1_700_000_000_123_456), TimeWord::Us), 1_700_000_000_123_456_000);
        assert_eq!(ns(Scalar::Int(i64::MAX), TimeWord::Ns), i64::MAX);
        assert_eq!(ns(Scalar::Float(1_700_000_000.123_456), TimeWord::S), 1_700_000_000_123_456_000);
        assert_eq!(ns(Scalar::Text("1700000000.123456789"), TimeWord::S), 1_700_000_000_123_456_789);
        assert_eq!(ns(Scalar::Text(" 7 "), TimeWord::Us), 7_000);
        assert_eq!(ns(Scalar::Text("2023-11-14T22:13:20.5+00:00"), TimeWord::Rfc3339), 1_700_000_000_500_000_000);
        assert_eq!(ns(Scalar::Int(0), TimeWord::S), 0);
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
            "2026/03/01 12:00:00",
            "2026-03-01T12:00:00.0000000001234Z",
        ] {
            for unit in [TimeWord::Auto, TimeWord::Rfc3339] {
                assert_eq!(parse(Scalar::Text(text), unit), Ok(Timestamp(noon)), "{text}");
            }
        }
    }

    #[test]
    fn the_end_of_a_day_is_the_beginning_of_the_next() {
        let read = |text| parse(Scalar::Text(text), TimeWord::Auto).map(|time| time.to_string());
        assert_eq!(read("2026-02-28T24:00:00Z"), Ok("2026-03-01T00:00:00Z".into()));
        assert_eq!(read("2026-02-28 24:00"), Ok("2026-03-01T00:00:00Z".into()));
        assert!(
            read("2026-02-28T24:00:01Z").is_err()
                && read("2026-02-28T24").is_err()
                && read("2026-02-28é24:00").is_err()
        );
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
            assert_eq!(parse(value, TimeWord::Auto), Ok(Timestamp(noon)), "{value:?}");
        }
        assert!(matches!(parse(Scalar::Int(i64::MAX), TimeWord::S), Err(TimeFault::TooLate(_))));
        assert!(matches!(parse(Scalar::Bool(true), TimeWord::Auto), Err(TimeFault::Unusable(_))));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for (value, unit) in [
            (Scalar::Int(-1), TimeWord::S),
            (Scalar::Int(i64::MAX), TimeWord::S),
            (Scalar::Big(u64::MAX), TimeWord::Ns),
            (Scalar::Float(1e300), TimeWord::Ns),
            (Scalar::Float(-0.5), TimeWord::S),
            (Scalar::Text(""), TimeWord::S),
            (Scalar::Text("."), TimeWord::S),
            (Scalar::Text("1."), TimeWord::S),
            (Scalar::Text("1e9"), TimeWord::S),
            (Scalar::Text("now"), TimeWord::Ms),
            (Scalar::Text("1700000000"), TimeWord::Rfc3339),
            (Scalar::Text("2023-11-14T25:13:20"), TimeWord::Rfc3339),
            (Scalar::Text("1969-12-31T23:59:59Z"), TimeWord::Rfc3339),
            (Scalar::Int(1), TimeWord::Rfc3339),
            (Scalar::Bool(true), TimeWord::S),
        ] {
            assert!(parse(value, unit).is_err(), "{value:?} {unit:?}");
        }
    }

    proptest! {
        #[test]
        fn text_and_integers_agree(count in 0..=i64::MAX, zeros in 0..5usize) {
            for unit in [TimeWord::S, TimeWord::Ms, TimeWord::Us, TimeWord::Ns] {
                let text = format!("{}{count}.000", "0".repeat(zeros));
                prop_assert_eq!(parse(Scalar::Text(&text), unit).ok(), parse(Scalar::Int(count), unit).ok());
            }
        }

        #[test]
        fn nanoseconds_survive_as_fractions(nanos in 0..=i64::MAX) {
            let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
            prop_assert_eq!(parse(Scalar::Text(&text), TimeWord::S), Ok(Timestamp(nanos)));
        }

        #[test]
        fn times_print_and_read_back(nanos in 0..=i64::MAX) {
            let text = Timestamp(nanos).to_string();
            prop_assert_eq!(parse(Scalar::Text(&text), TimeWord::Rfc3339), Ok(Timestamp(nanos)));
        }

        #[test]
        fn any_text_and_double_is_handled(text in "\\PC{0,40}|[-+.0-9]{0,60}", double in any::<f64>()) {
            for unit in [TimeWord::S, TimeWord::Ns, TimeWord::Rfc3339] {
                let _ = parse(Scalar::Text(&text), unit);
                let _ = parse(Scalar::Float(double), unit);
            }
        }
    }
}
