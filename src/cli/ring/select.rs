//! Which records and rows are wanted, and what is said of damage on the way.

use super::{Exit, Failure, now, remark};
use crate::{
    cli::out,
    entry::{Clear, Rows},
    point::Timestamp,
    ring::{
        Kind, Record,
        inspect::{Seen, Stretch},
    },
    since::Since,
};

/// Damaged stretches told one by one.
const MAX_TOLD: u64 = 20;

/// A stretch of time: `since` included, `until` not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    since: Timestamp,
    until: Timestamp,
}

impl Span {
    /// Reads both ends; one that is absent is open.
    pub fn parse(since: Option<&str>, until: Option<&str>) -> Result<Self, Failure> {
        let now = now();
        let end = |name: &str, text: Option<&str>, open: i64| match text {
            Some(text) => match Since::parse(text) {
                Ok(since) => Ok(since.by_wall(now)),
                Err(why) => Err(Failure::new(Exit::Usage, format!("{name}: {why}"))),
            },
            None => Ok(Timestamp(open)),
        };
        let (since, until) = (end("--since", since, i64::MIN)?, end("--until", until, i64::MAX)?);
        if since >= until {
            let what = format!("--since ({since}) is not before --until ({until})");
            return Err(Failure::new(Exit::Usage, what));
        }
        Ok(Self { since, until })
    }

    /// Whether a time lies in it.
    pub fn has(&self, time: Timestamp) -> bool {
        time >= self.since && (time < self.until || self.until.0 == i64::MAX)
    }
}

/// The table a record belongs to, as its body says; none for dead letters, and where it cannot be read.
pub fn table_of<'a>(record: &Record<'a>) -> Option<&'a str> {
    match record.kind {
        Kind::Rows | Kind::Held => Rows::decode(record.body).ok().map(|rows| rows.table),
        Kind::Clear => Clear::decode(record.body).ok().map(|clear| clear.table),
        Kind::DeadLetter | Kind::Pad | Kind::Commit | Kind::State => None,
    }
}

/// Damage met on the way.
#[derive(Debug, Default)]
pub struct Met {
    stretches: u64,
    records: u64,
    overtaken: u64,
}

impl Met {
    /// Takes note of what is no record, and says so on standard error.
    pub fn note(&mut self, seen: &Seen<'_>) {
        match seen {
            Seen::Damaged(stretch) => {
                self.stretches += 1;
                self.records += stretch.records();
                if self.stretches <= MAX_TOLD {
                    remark(&format!("damage: {}", describe(stretch)));
                }
            }
            Seen::Overtaken { from, to } => {
                self.overtaken += to.seq.0.saturating_sub(from.seq.0);
            }
            Seen::Data(..) | Seen::Frame { .. } => {}
        }
    }

    /// Sums it up. Damage is a failure: not all could be read.
    pub fn conclude(&self) -> Result<(), Failure> {
        if self.overtaken > 0 {
            let records = out::plural(self.overtaken, "record");
            remark(&format!("the running daemon gave up {records} before they could be read"));
        }
        if self.stretches == 0 {
            return Ok(());
        }
        let stretches = if self.stretches == 1 { "stretch" } else { "stretches" };
        let (damaged, records) = (out::count(self.stretches), out::plural(self.records, "record"));
        let what = format!(
            "{damaged} damaged {stretches}, {records} lost; forebay ring verify tells more, forebay ring export gets out all that is \
             intact"
        );
        Err(Failure::new(Exit::Failed, what))
    }
}

fn describe(stretch: &Stretch) -> String {
    let (first, records) = (stretch.from.seq.0, stretch.records());
    let what = match records {
        0 => "no record is lost".to_owned(),
        1 => format!("record {first} is lost"),
        _ => format!("records {first} to {} are lost", first + records - 1),
    };
    format!("{what} ({} at position {})", out::plural(stretch.bytes(), "byte"), stretch.from.pos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_their_start_and_not_their_end() {
        let span = Span::parse(Some("1970-01-01T00:00:01Z"), Some("1970-01-01T00:00:02Z")).unwrap();
        assert!(span.has(Timestamp(1_000_000_000)) && !span.has(Timestamp(2_000_000_000)));
        assert!(!span.has(Timestamp(999_999_999)));
        let open = Span::parse(None, None).unwrap();
        assert!(open.has(Timestamp(i64::MIN)) && open.has(Timestamp(i64::MAX)));
        assert_eq!(Span::parse(Some("1m"), Some("2m")).unwrap_err().exit, Exit::Usage);
        assert_eq!(Span::parse(Some("soon"), None).unwrap_err().exit, Exit::Usage);
    }
}
