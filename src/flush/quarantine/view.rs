//! Entries as the interface and the commands show them.

use std::{io, ops::ControlFlow, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

use super::{
    format::Entry,
    id::Id,
    select::{Kind, Selection},
    snapshot::{Cursor, Snapshot, Summary},
};
use crate::{
    entry::{DeadLetter, RowRef, Rows},
    lines::{Origin, dead_letter_object, line_protocol, put_bytes, row_object},
};

/// Most entries a page lists.
pub const MAX_PAGE_ENTRIES: usize = 1_000;
/// A page of whole entries ends once their bodies have so many bytes.
const MAX_PAGE_BYTES: usize = 4 << 20;

/// How much of an entry is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Form {
    /// All but what it holds.
    #[default]
    Brief,
    /// All.
    Whole,
    /// Its row as a line of line protocol, under `line`; a dead letter, and a row without a field, has none.
    Line,
}

/// Which entries come first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Order {
    /// The newest.
    #[default]
    Newest,
    /// The oldest.
    Oldest,
}

macro_rules! words {
    ($type:ty, $what:literal, $($word:literal => $value:expr),+) => {
        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($value),)+
                    _ => Err(format!(concat!($what, "={:?}: there is ", $($word, " ",)+), text).trim_end().to_owned()),
                }
            }
        }
    };
}

words!(Form, "form", "brief" => Form::Brief, "whole" => Form::Whole, "line" => Form::Line);
words!(Order, "order", "newest" => Order::Newest, "oldest" => Order::Oldest);

/// What a page is to hold.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// Which entries.
    pub selection: Selection,
    /// In which order.
    pub order: Order,
    /// How much of each.
    pub form: Form,
    /// At most how many; none for [`MAX_PAGE_ENTRIES`].
    pub limit: Option<usize>,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
    /// Whether the counts are wanted as well.
    pub summary: bool,
}

/// A page of entries.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = QuarantinePage)]
pub struct Page {
    /// The entries, each with `id`, `kind`, `set_aside`, `received`, `table` or `topic`, `reason`, `bytes`, and what `form` adds.
    #[schema(value_type = Vec<BTreeMap<String, Json>>)]
    pub entries: Vec<Map<String, Json>>,
    /// Where the next page begins; none when this is the last.
    pub cursor: Option<String>,
    /// How many entries meant come after this page; known for the newest first.
    #[serde(default)]
    pub more: Option<u64>,
    /// Whether entries between the page before and this one have been pushed out by newer ones.
    #[serde(default)]
    pub moved_on: bool,
    /// Counts of all entries meant, where they were asked for.
    #[serde(default)]
    pub summary: Option<Summary>,
}

/// Reads a page.
pub fn page(snapshot: &Snapshot, ask: &Ask) -> io::Result<Page> {
    let limit = ask.limit.unwrap_or(MAX_PAGE_ENTRIES).clamp(1, MAX_PAGE_ENTRIES);
    let mut page = match ask.order {
        Order::Newest => newest(snapshot, ask, limit)?,
        Order::Oldest => oldest(snapshot, ask, limit)?,
    };
    if ask.summary {
        page.summary = Some(snapshot.summary(&ask.selection)?);
    }
    Ok(page)
}

fn newest(snapshot: &Snapshot, ask: &Ask, limit: usize) -> io::Result<Page> {
    let found = snapshot.newest(&ask.selection, ask.cursor, limit)?;
    let (mut entries, mut bytes, mut shown) = (Vec::new(), 0, 0);
    for place in &found.places {
        shown += 1;
        if let Some(owned) = snapshot.load(*place)? {
            bytes += owned.entry().body.len();
            entries.push(show(&owned.entry(), ask.form));
        }
        if ask.form != Form::Brief && bytes >= MAX_PAGE_BYTES {
            break;
        }
    }
    let more = found.more + (found.places.len() - shown) as u64;
    let last = found.places[..shown].last().filter(|_| more > 0);
    let cursor = last.map(ToString::to_string);
    Ok(Page { entries, cursor, more: Some(more), moved_on: found.moved_on, summary: None })
}

fn oldest(snapshot: &Snapshot, ask: &Ask, limit: usize) -> io::Result<Page> {
    let mut page = Page::default();
    let (mut bytes, mut behind) = (0, None);
    page.moved_on = snapshot.oldest(&ask.selection, ask.cursor, &mut |next, entry| {
        if page.entries.len() >= limit || (ask.form != Form::Brief && bytes >= MAX_PAGE_BYTES) {
            page.cursor = behind.map(|place: Cursor| place.to_string());
            return ControlFlow::Break(());
        }
        bytes += entry.body.len();
        page.entries.push(show(entry, ask.form));
        behind = Some(next);
        ControlFlow::Continue(())
    })?;
    Ok(page)
}

/// An entry as an object: always `id`, `kind`, `set_aside`, `received`, `table` or `topic`, `reason`, and `bytes` (of what it holds).
pub fn show(entry: &Entry<'_>, form: Form) -> Map<String, Json> {
    let kind = Kind::from(entry);
    let origin = Origin { seq: entry.key.seq.0, received: entry.received };
    let mut object = match (form, kind) {
        (Form::Whole, Kind::Row) => row_of(entry, |row| row_object(origin, entry.key.row, entry.origin, row))
            .unwrap_or_else(|| {
                let mut object = Map::new();
                put_bytes(&mut object, "unreadable", entry.body);
                object
            }),
        (Form::Whole, Kind::DeadLetter) => {
            let letter = DeadLetter {
                reason: entry.reason,
                topic: entry.origin,
                payload: entry.body,
                is_cut: entry.is_cut(),
                time: None,
            };
            dead_letter_object(origin, &letter)
        }
        (Form::Brief | Form::Line, _) => Map::new(),
    };
    object.insert("id".into(), Id::from(entry).to_string().into());
    object.insert("kind".into(), kind.word().into());
    object.insert("set_aside".into(), entry.time.to_string().into());
    object.insert("received".into(), entry.received.to_string().into());
    let origin = if kind == Kind::Row { "table" } else { "topic" };
    object.insert(origin.into(), entry.origin.into());
    object.insert("reason".into(), entry.reason.into());
    object.insert("bytes".into(), entry.body.len().into());
    if form == Form::Whole {
        object.insert("seq".into(), entry.key.seq.0.into());
        object.insert("ring".into(), format!("{:016x}", entry.key.ring_id).into());
    }
    if form == Form::Line {
        object.insert("line".into(), line(entry).map_or(Json::Null, Json::from));
    }
    object
}

/// The row that an entry holds; none when it is a dead letter, or does not read.
pub fn row_of<T>(entry: &Entry<'_>, each: impl FnOnce(&RowRef<'_>) -> T) -> Option<T> {
    if Kind::from(entry) == Kind::DeadLetter {
        return None;
    }
    let mut rows = Rows::decode(entry.body).ok()?;
    let row = rows.next()?.ok()?;
    // More than one row is what is left of a record whose body does not read.
    rows.next().is_none().then(|| each(&row))
}

fn line(entry: &Entry<'_>) -> Option<String> {
    row_of(entry, |row| {
        let mut text = String::new();
        line_protocol(entry.origin, row, &mut text).then_some(text)
    })
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        entry::encode_rows,
        flush::quarantine::{DEAD_LETTER, Key},
        marks::Seq,
        point::{Row, Timestamp, Value},
    };

    fn entry<'a>(row: u16, origin: &'a str, body: &'a [u8]) -> Entry<'a> {
        let key = Key { ring_id: 9, seq: Seq(7), row };
        Entry {
            key,
            time: Timestamp(2_000_000_000),
            received: Timestamp(1_000_000_000),
            reason: "no",
            origin,
            body,
            row_time: None,
        }
    }

    #[test]
    fn a_row_is_shown_in_every_form() {
        let row = Row {
            time: Some(Timestamp(5_000)),
            symbols: vec![("device".into(), "d".into())],
            fields: vec![("x".into(), Value::Long(3))],
            ..Row::default()
        };
        let mut body = Vec::new();
        encode_rows("t", &[row], &mut body).unwrap();
        let whole = show(&entry(2, "t", &body), Form::Whole);
        assert_eq!(
            (whole["kind"].as_str(), whole["seq"].as_u64(), whole["row"].as_u64()),
            (Some("row"), Some(7), Some(2))
        );
        assert_eq!((&whole["fields"]["x"], &whole["symbols"]["device"]), (&3.into(), &"d".into()));
        assert_eq!((whole["table"].as_str(), whole["set_aside"].as_str()), (Some("t"), Some("1970-01-01T00:00:02Z")));
        assert_eq!(show(&entry(2, "t", &body), Form::Line)["line"], "t,device=d x=3i 5000\n");
        let brief = show(&entry(2, "t", &body), Form::Brief);
        assert!(brief.get("fields").is_none() && brief["id"] == whole["id"]);
    }

    #[test]
    fn letters_and_what_does_not_read_have_no_line() {
        let letter = entry(DEAD_LETTER, "a/b", b"\xff");
        assert_eq!(show(&letter, Form::Whole)["payload_base64"], "/w==");
        assert!(show(&letter, Form::Line)["line"].is_null());
        let broken = entry(0, "t", b"\x01t\x00");
        assert!(show(&broken, Form::Line)["line"].is_null());
        assert!(show(&broken, Form::Whole)["unreadable"].is_string());
    }

    #[test]
    fn words_that_are_none_are_told_the_ones_there_are() {
        assert_eq!("whole".parse(), Ok(Form::Whole));
        assert_eq!("all".parse::<Form>(), Err("form=\"all\": there is brief whole line".to_owned()));
    }
}
