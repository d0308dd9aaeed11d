//! Times on the command line: "10m" is ten minutes ago, anything else is RFC 3339.

use crate::point::Timestamp;

/// Reads a time; `now` is what durations count back from. The error says how to write one.
pub fn parse(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        let ago = i64::try_from(ago.as_nanos()).map_err(|_| format!("{text:?} is longer ago than time goes back"))?;
        return Ok(Timestamp(now.0.saturating_sub(ago)));
    }
    let time: Result<jiff::Timestamp, _> = text.parse();
    let nanos = time.ok().and_then(|time| i64::try_from(time.as_nanosecond()).ok());
    nanos.map(Timestamp).ok_or_else(|| {
        format!("{text:?} is no time; write how long ago (10m, 2h, 3days) or RFC 3339 (2026-03-01T08:00:00Z)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_count_back_and_times_are_taken_as_they_are() {
        let now = Timestamp(1_000_000_000_000);
        assert_eq!(parse("10m", now), Ok(Timestamp(400_000_000_000)));
        assert_eq!(parse("1970-01-01T00:00:02Z", now), Ok(Timestamp(2_000_000_000)));
        assert_eq!(parse("1970-01-01T01:00:02.5+01:00", now), Ok(Timestamp(2_500_000_000)));
        for wrong in ["", "yesterday", "2026-03-01", "12", "10 parsecs"] {
            assert!(parse(wrong, now).is_err(), "{wrong}");
        }
    }
}
