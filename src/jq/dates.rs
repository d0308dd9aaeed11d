//! Times as jq knows them: seconds since 1970, text, and arrays of a year, a month from zero, a
//! day, an hour, a minute, seconds, a weekday from Sunday and a day of the year from zero. All of
//! it is UTC.

use jaq_core::{
    Error, ValR,
    native::{bome, unary, v},
};
use jaq_json::Val;
use jaq_std::ValT as _;
use jiff::{
    Timestamp,
    civil::DateTime,
    fmt::strtime::{self, BrokenDownTime},
    tz::Offset,
};

use super::native::{Own, double, utf8};

/// The functions of times.
pub(super) fn functions() -> Vec<Own> {
    vec![
        ("fromdateiso8601", v(0), |cv| bome(from_iso8601(&cv.1))),
        ("todateiso8601", v(0), |cv| bome(timestamp(&cv.1).map(|at| at.to_string().into()))),
        ("gmtime", v(0), |cv| bome(timestamp(&cv.1).map(utc).map(parts))),
        ("mktime", v(0), |cv| bome(date_time(&cv.1).and_then(instant).map(seconds))),
        ("strptime", v(1), |cv| unary(cv, |value, format| parse(&value, &format))),
        ("strftime", v(1), |cv| unary(cv, |value, format| write(&value, &format))),
    ]
}

fn utc(at: Timestamp) -> DateTime {
    Offset::UTC.to_datetime(at)
}

fn instant(at: DateTime) -> Result<Timestamp, Error<Val>> {
    Offset::UTC.to_timestamp(at).map_err(Error::str)
}

/// Seconds since 1970 as a moment, to the microsecond.
fn timestamp(value: &Val) -> Result<Timestamp, Error<Val>> {
    match value.as_isize() {
        Some(seconds) => Timestamp::from_second(seconds as i64),
        None => Timestamp::from_microsecond((double(value)? * 1e6).round() as i64),
    }
    .map_err(Error::str)
}

/// A moment in seconds since 1970, whole if it is.
fn seconds(at: Timestamp) -> Val {
    match at.subsec_nanosecond() {
        0 => (at.as_second() as isize).into(),
        _ => (at.as_microsecond() as f64 / 1e6).into(),
    }
}

fn from_iso8601(value: &Val) -> ValR<Val> {
    utf8(value)?.parse().map(seconds).map_err(Error::str)
}

/// A date in parts.
fn parts(at: DateTime) -> Val {
    let whole = |number: i16| Val::from(isize::from(number));
    let second = match at.subsec_nanosecond() {
        0 => whole(at.second().into()),
        nanoseconds => (f64::from(at.second()) + f64::from(nanoseconds) / 1e9).into(),
    };
    let day = [whole(at.year()), whole(i16::from(at.month()) - 1), whole(at.day().into())];
    let time = [whole(at.hour().into()), whole(at.minute().into()), second];
    let rest = [whole(at.weekday().to_sunday_zero_offset().into()), whole(at.day_of_year() - 1)];
    day.into_iter().chain(time).chain(rest).collect()
}

/// A date from its parts.
fn date_time(value: &Val) -> Result<DateTime, Error<Val>> {
    let unfit = || Error::str(format_args!("cannot use {value} as a date in parts"));
    let Val::Arr(parts) = value else { return Err(unfit()) };
    let Some([year, month, day, hour, minute, second]) = parts.get(..6) else { return Err(unfit()) };
    let whole = |value: &Val| value.as_isize().and_then(|number| i16::try_from(number).ok()).ok_or_else(unfit);
    let small = |value: &Val| whole(value).and_then(|number| i8::try_from(number).map_err(|_| unfit()));
    let month = small(month)?.checked_add(1).ok_or_else(unfit)?;
    let second = double(second)?;
    // Both casts keep to the range of their types; the date refuses what is no second.
    let (whole_second, nanoseconds) = (second.floor() as i8, (second.rem_euclid(1.0) * 1e9) as i32);
    let date_time =
        DateTime::new(whole(year)?, month, small(day)?, small(hour)?, small(minute)?, whole_second, nanoseconds);
    date_time.map_err(Error::str)
}

/// Text read by a format. Where the text has an offset from UTC, the parts are those in UTC.
fn parse(value: &Val, format: &Val) -> ValR<Val> {
    let read = BrokenDownTime::parse(utf8(format)?, utf8(value)?).map_err(Error::str)?;
    let at = if read.offset().is_some() { read.to_timestamp().map(utc) } else { read.to_datetime() };
    at.map(parts).map_err(Error::str)
}

/// Seconds or parts written by a format.
fn write(value: &Val, format: &Val) -> ValR<Val> {
    let at = if matches!(value, Val::Arr(_)) { instant(date_time(value)?)? } else { timestamp(value)? };
    strtime::format(utf8(format)?, at).map(Val::from).map_err(Error::str)
}

#[cfg(test)]
mod tests {
    use crate::jq::program::{Program, tests::listed};

    fn run(program: &str, document: &str) -> Result<String, String> {
        let rows = Program::compile(program)?.run(document.as_bytes()).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(rows).expect("UTF-8"))
    }

    #[track_caller]
    fn gives(program: &str, document: &str, rows: &str) {
        assert_eq!(run(&listed(program), document).as_deref(), Ok(rows), "{program}");
    }

    #[test]
    fn dates_become_seconds_and_back() {
        gives("fromdateiso8601, fromdate", r#""2015-03-05T23:51:47Z""#, "[1425599507,1425599507]");
        gives("fromdate", r#""2015-03-06T00:51:47.25+01:00""#, "[1425599507.25]");
        gives("todate, gmtime", "1425599507", r#"["2015-03-05T23:51:47Z",[2015,2,5,23,51,47,4,63]]"#);
        gives("todate, (gmtime | mktime)", "1425599507.25", r#"["2015-03-05T23:51:47.25Z",1425599507.25]"#);
    }

    #[test]
    fn dates_are_read_and_written_by_a_format() {
        gives(r#"strptime("%d.%m.%Y %H:%M:%S") | mktime"#, r#""05.03.2015 23:51:47""#, "[1425599507]");
        gives(r#"strptime("%Y-%m-%dT%H:%M:%S%z") | mktime"#, r#""2015-03-06T01:51:47+0200""#, "[1425599507]");
        gives(r#"strptime("%Y-%m-%d")"#, r#""2015-03-05""#, "[[2015,2,5,0,0,0,4,63]]");
        gives(r#"strftime("%Y/%j %H"), (gmtime | strftime("%A"))"#, "1425599507", r#"["2015/064 23","Thursday"]"#);
    }

    #[test]
    fn what_is_no_date_is_an_error() {
        for (program, document) in [
            ("fromdate", "\"yesterday\""),
            ("mktime", "[2015,12,5,0,0,0]"),
            ("mktime", "[2015,127,5,0,0,0]"),
            ("mktime", "[2015,1,5,0,0,1e9]"),
            ("mktime", "[2015]"),
            ("mktime", "1"),
            ("todate", "1e300"),
            ("strptime(\"%Y\")", "\"20\""),
            ("strftime(1)", "0"),
        ] {
            assert!(run(program, document).is_err_and(|why| why.contains("failed: ")), "{program} {document}");
        }
    }
}
