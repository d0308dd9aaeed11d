//! Which entries are meant (pure).

use std::collections::HashSet;

use utoipa::{IntoParams, ToSchema};

use super::{format::Entry, id::Id};
use crate::{names, point::Timestamp};

/// Most entries that can be named one by one in a request.
pub const MAX_IDS: usize = 400;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "kebab-case")]
pub enum Kind {
    /// A row that could not be stored.
    Row,
    /// A message that could not be decoded.
    DeadLetter,
}

impl Kind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Row => "row",
            Self::DeadLetter => "dead-letter",
        }
    }
}

impl From<&Entry<'_>> for Kind {
    fn from(entry: &Entry<'_>) -> Self {
        if entry.key.is_letter() { Self::DeadLetter } else { Self::Row }
    }
}

/// Which entries: those that meet every condition given, or, where ids are given, those named that do.
#[derive(Debug, Clone, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Selection {
    /// Entries named one by one, each a parameter of its own; at most 400.
    #[param(rename = "id", value_type = Vec<String>, required = false, example = json!(["1234-0-9f86d081"]))]
    pub ids: HashSet<Id>,
    /// Rows only, or dead letters only.
    #[param(inline)]
    pub kind: Option<Kind>,
    /// Rows of this table, in whatever spelling.
    pub table: Option<String>,
    /// Dead letters whose topic begins like this.
    pub topic: Option<String>,
    /// Entries whose reason contains this, whatever the case.
    pub reason: Option<String>,
    /// Entries set aside at this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
}

impl Selection {
    /// Sets a condition by its name, as in a query: `id`, `kind`, `table`, `topic`, `reason`, `since` (RFC 3339). False when there is
    /// no condition of that name; the error says what is wrong with the value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let once = |given: bool| if given { Err(format!("{name:?} is given twice")) } else { Ok(()) };
        match name {
            "id" => {
                self.ids.insert(value.parse().map_err(|why: super::IdError| why.to_string())?);
                if self.ids.len() > MAX_IDS {
                    return Err(format!("more than {MAX_IDS} ids; name fewer at a time"));
                }
            }
            "kind" => {
                once(self.kind.is_some())?;
                self.kind = match value {
                    "row" => Some(Kind::Row),
                    "dead-letter" => Some(Kind::DeadLetter),
                    _ => return Err(format!("kind={value:?}: kinds are row and dead-letter")),
                };
            }
            "table" => {
                once(self.table.is_some())?;
                self.table = Some(value.to_owned());
            }
            "topic" => {
                once(self.topic.is_some())?;
                self.topic = Some(value.to_owned());
            }
            "reason" => {
                once(self.reason.is_some())?;
                self.reason = Some(value.to_lowercase());
            }
            "since" => {
                once(self.since.is_some())?;
                let time: jiff::Timestamp = value
                    .parse()
                    .map_err(|_| format!("since={value:?} is no time; write one like 2026-01-31T12:00:00Z"))?;
                self.since = Some(Timestamp(i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)));
            }
            _ => return Ok(false),
        }
        if self.table.is_some() && (self.topic.is_some() || self.kind == Some(Kind::DeadLetter)) {
            return Err("a table is a row's, a topic a dead letter's; no entry has both".to_owned());
        }
        if self.topic.is_some() && self.kind == Some(Kind::Row) {
            return Err("a topic is a dead letter's, no row's".to_owned());
        }
        Ok(true)
    }

    /// Whether there is no condition: every entry is meant.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an entry is meant.
    pub fn matches(&self, entry: &Entry<'_>) -> bool {
        let kind = Kind::from(entry);
        let of = |wanted: Kind| kind == wanted;
        self.kind.is_none_or(|wanted| kind == wanted)
            && self.table.as_ref().is_none_or(|table| of(Kind::Row) && names::same(entry.origin, table))
            && self.topic.as_ref().is_none_or(|topic| of(Kind::DeadLetter) && entry.origin.starts_with(topic.as_str()))
            && self.since.is_none_or(|since| entry.time >= since)
            && self.reason.as_ref().is_none_or(|reason| {
                contains(entry.reason, reason) || contains(&super::group::kind_of(entry.reason), reason)
            })
            && (self.ids.is_empty() || self.ids.contains(&Id::from(entry)))
    }
}

fn contains(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(part)
}

#[cfg(test)]
mod tests {
    use super::{super::format::DEAD_LETTER, *};
    use crate::{flush::quarantine::Key, marks::Seq};

    fn entry(row: u16, reason: &'static str, origin: &'static str) -> Entry<'static> {
        let key = Key { ring_id: 1, seq: Seq(7), row };
        let time = Timestamp(1_000_000_000);
        Entry { key, time, received: time, reason, origin, body: b"", row_time: None }
    }

    fn selection(terms: &[(&str, &str)]) -> Result<Selection, String> {
        let mut selection = Selection::default();
        for (name, value) in terms {
            assert!(selection.set(name, value)?, "{name} is a condition");
        }
        Ok(selection)
    }

    #[test]
    fn every_condition_counts() {
        let (row, letter) = (entry(0, "Cast error", "sensors"), entry(DEAD_LETTER, "not JSON", "plant/a"));
        let id = Id::from(&row).to_string();
        for (terms, meant) in [
            (&[][..], (true, true)),
            (&[("kind", "row")], (true, false)),
            (&[("kind", "dead-letter")], (false, true)),
            (&[("table", "sensors")], (true, false)),
            (&[("table", "Sensors")], (true, false)),
            (&[("table", "sens")], (false, false)),
            (&[("topic", "plant/")], (false, true)),
            (&[("topic", "sensors")], (false, false)),
            (&[("reason", "CAST")], (true, false)),
            (&[("since", "1970-01-01T00:00:01Z")], (true, true)),
            (&[("since", "1970-01-01T00:00:01.000000001Z")], (false, false)),
            (&[("id", id.as_str())], (true, false)),
            (&[("id", id.as_str()), ("reason", "JSON")], (false, false)),
        ] {
            let selection = selection(terms).unwrap();
            assert_eq!((selection.matches(&row), selection.matches(&letter)), meant, "{terms:?}");
            assert_eq!(selection.is_all(), terms.is_empty());
        }
    }

    #[test]
    fn what_can_mean_nothing_is_refused() {
        for terms in [
            &[("kind", "clear")][..],
            &[("since", "yesterday")],
            &[("id", "7")],
            &[("table", "a"), ("table", "b")],
            &[("table", "a"), ("topic", "b")],
            &[("topic", "a"), ("kind", "row")],
        ] {
            assert!(selection(terms).is_err(), "{terms:?}");
        }
        assert_eq!(Selection::default().set("tabel", "a"), Ok(false));
        let mut selection = Selection::default();
        for seq in 0..MAX_IDS {
            selection.set("id", &format!("{seq}-0-00000000")).unwrap();
        }
        assert!(selection.set("id", "9999-0-00000000").is_err());
    }
}
