//! Times as Telegraf's options write them: words such as `unix_ms`, and layouts of Go's reference
//! time (`2006-01-02 15:04:05`). Pure.

/// How forebay reads such a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// `timestamp.unit`.
    pub unit: String,
    /// What is otherwise than with Telegraf.
    pub what: Option<&'static str>,
}

/// Why there is no such form.
pub type Fault = &'static str;

const NO_YEAR: Fault = "the layout tells no year, and forebay needs the whole date; the time of receipt is taken";
const ZONE_NAME: Fault =
    "a form with a zone's abbreviation (MST) is not read; the time of receipt is taken. A jq program can take it off";
const LOCAL_COUNT: Fault = "forebay knows no count of local seconds (timestamp_tz); the time of receipt is taken";

/// By an option such as `json_time_format`.
pub fn of(format: &str) -> Result<Layout, Fault> {
    let word = |unit: &str| Ok(Layout { unit: unit.to_owned(), what: None });
    match format.to_ascii_lowercase().as_str() {
        "unix" => word("s"),
        "unix_ms" => word("ms"),
        "unix_us" => word("us"),
        "unix_ns" => word("ns"),
        "rfc3339" | "rfc3339nano" => word("rfc3339"),
        "ansic" => of_go("Mon Jan _2 15:04:05 2006"),
        "rubydate" => of_go("Mon Jan 02 15:04:05 -0700 2006"),
        "rfc822z" => of_go("02 Jan 06 15:04 -0700"),
        "rfc1123z" => of_go("Mon, 02 Jan 2006 15:04:05 -0700"),
        "rfc1123" => of_go("Mon, 02 Jan 2006 15:04:05 MST"),
        "rfc822" | "rfc850" | "unixdate" => Err(ZONE_NAME),
        "stamp" | "stampmilli" | "stampmicro" | "stampnano" => Err(NO_YEAR),
        other if other.starts_with("timestamp_tz") => Err(LOCAL_COUNT),
        _ => of_go(format),
    }
}

/// Go's chunks, the longer ones first, and the words of strftime for them. What Go writes without a
/// leading zero is read with and without one.
const CHUNKS: [(&str, &str); 34] = [
    ("January", "%B"),
    ("Monday", "%A"),
    ("Jan", "%b"),
    ("Mon", "%a"),
    ("MST", "%Z"),
    ("2006", "%Y"),
    ("__2", "%j"),
    ("002", "%j"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("_2006", "_%Y"),
    ("_2", "%e"),
    ("PM", "%p"),
    ("pm", "%P"),
    ("-07:00:00", "%::z"),
    ("-070000", "%z"),
    ("-07:00", "%:z"),
    ("-0700", "%z"),
    ("-07", "%z"),
    ("Z07:00:00", "%:z"),
    ("Z070000", "%z"),
    ("Z07:00", "%:z"),
    ("Z0700", "%z"),
    ("Z07", "%z"),
    ("1", "%m"),
    ("2", "%d"),
    ("3", "%I"),
    ("4", "%M"),
    ("5", "%S"),
];

fn of_go(layout: &str) -> Result<Layout, Fault> {
    if is_iso(layout) {
        return Ok(Layout { unit: "rfc3339".into(), what: None });
    }
    let mut form = String::with_capacity(layout.len() + 16);
    let mut rest = layout;
    let mut has_year = false;
    let mut what = None;
    while let Some(c) = rest.chars().next() {
        if let Some(digits) = fraction(rest) {
            // Seconds take their fraction with them.
            if !form.ends_with("%S%.f") {
                return Err("a fraction that does not follow the seconds is not read; the time of receipt is taken");
            }
            rest = rest.get(digits..).unwrap_or_default();
            continue;
        }
        let found = CHUNKS.iter().filter(|(chunk, _)| rest.starts_with(chunk)).max_by_key(|(chunk, _)| chunk.len());
        let Some((chunk, word)) = found else {
            form.push(c);
            if c == '%' {
                form.push('%');
            }
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            continue;
        };
        rest = rest.get(chunk.len()..).unwrap_or_default();
        match *word {
            // The one zone that nearly all devices mean by it.
            "%Z" => {
                form.push_str("GMT");
                what = Some("the text GMT is read where Telegraf takes any zone's abbreviation (MST)");
            }
            "%S" if has_digit_behind(rest) => form.push_str("%S"),
            "%S" => form.push_str("%S%.f"),
            word => form.push_str(word),
        }
        if chunk.starts_with('Z') {
            what = Some("the zone is read as an offset such as +01:00 alone, not as Z");
        }
        has_year |= matches!(*word, "%Y" | "_%Y" | "%y");
    }
    if !has_year {
        return Err(NO_YEAR);
    }
    Ok(Layout { unit: form, what })
}

/// Whether it is a form that forebay reads by itself: a date and a time with a zone.
fn is_iso(layout: &str) -> bool {
    let Some(rest) = layout.strip_prefix("2006-01-02") else { return false };
    let Some(rest) = rest.strip_prefix(['T', ' ']).and_then(|rest| rest.strip_prefix("15:04:05")) else { return false };
    let rest = rest.get(fraction(rest).unwrap_or(0)..).unwrap_or_default();
    matches!(rest.strip_prefix(' ').unwrap_or(rest), "Z07:00" | "Z0700" | "-07:00" | "-0700")
}

/// Bytes of a fraction such as `.000` or `,999`.
fn fraction(text: &str) -> Option<usize> {
    let digits = text.strip_prefix(['.', ','])?;
    let count = digits.bytes().take_while(|byte| matches!(byte, b'0' | b'9')).count();
    let all_same = digits.bytes().take(count).all(|byte| Some(byte) == digits.bytes().next());
    let ends = !digits.as_bytes().get(count).is_some_and(u8::is_ascii_digit);
    (count > 0 && all_same && ends).then_some(count + 1)
}

/// Whether digits follow at once, as in `20060102150405`: a fraction could not be told apart.
fn has_digit_behind(rest: &str) -> bool {
    rest.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn layouts_become_forms() {
        for (layout, unit) in [
            ("unix", "s"),
            ("unix_ms", "ms"),
            ("unix_us", "us"),
            ("unix_ns", "ns"),
            ("RFC3339", "rfc3339"),
            ("2006-01-02T15:04:05Z07:00", "rfc3339"),
            ("2006-01-02T15:04:05.000Z07:00", "rfc3339"),
            ("2006-01-02 15:04:05 -0700", "rfc3339"),
            ("2006-01-02 15:04:05", "%Y-%m-%d %H:%M:%S%.f"),
            ("2006-01-02T15:04:05.000", "%Y-%m-%dT%H:%M:%S%.f"),
            ("2006-01-02T15:04:05Z", "%Y-%m-%dT%H:%M:%S%.fZ"),
            ("02.01.2006 15:04", "%d.%m.%Y %H:%M"),
            ("1/2/06 3:04:05 PM", "%m/%d/%y %I:%M:%S%.f %p"),
            ("20060102150405", "%Y%m%d%H%M%S%.f"),
            ("ANSIC", "%a %b %e %H:%M:%S%.f %Y"),
            ("RFC1123Z", "%a, %d %b %Y %H:%M:%S%.f %z"),
            ("100%: Mon Jan _2 15:04:05 2006", "%m00%%: %a %b %e %H:%M:%S%.f %Y"),
        ] {
            assert_eq!(of(layout).map(|layout| layout.unit), Ok(unit.to_owned()), "{layout}");
        }
        assert!(of("Mon, 02 Jan 2006 15:04:05 MST").expect("a form").what.is_some());
    }

    #[test]
    fn what_tells_no_whole_date_has_no_form() {
        for layout in ["15:04:05", "Stamp", "Jan _2 15:04:05", "timestamp_tz_ms", "UnixDate", "RFC850"] {
            assert!(of(layout).is_err(), "{layout}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_layouts_never_panic(layout in any::<String>()) {
            let _ = of(&layout);
        }
    }
}
