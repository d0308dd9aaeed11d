//! The quarantine as it is at one moment, read page by page.
//!
//! Handles are held, not names, so nothing here is disturbed when the files change their places meanwhile.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    fs::File,
    io,
    ops::ControlFlow,
    os::unix::fs::MetadataExt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    advice::by_reason,
    format::{Entry, Key},
    id::Id,
    scan::{self, FIRST_ENTRY_AT, Item},
    select::{Kind, Selection},
};
use crate::{names, point::Timestamp};

/// Reasons, and tables and topics, told apart in a summary; the rest is counted together.
const MAX_COUNTED: usize = 1_000;
/// Under which the rest is counted.
const OTHERS: &str = "(others)";

/// Where an entry begins. Places only grow, and one never means another entry later on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Number of its file.
    pub file: u32,
    /// Offset in it.
    pub at: u64,
}

/// A place where a listing goes on.
pub type Cursor = Place;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.file, self.at)
    }
}

/// A text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no cursor; take it from the answer before, or leave it out")]
pub struct PlaceError(String);

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let read = || {
            let (file, at) = text.split_once('-')?;
            Some(Self { file: file.parse().ok()?, at: at.parse().ok().filter(|at| *at >= FIRST_ENTRY_AT)? })
        };
        read().ok_or_else(|| PlaceError(text.chars().take(40).collect()))
    }
}

/// An entry of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    key: Key,
    time: Timestamp,
    received: Timestamp,
    reason: String,
    origin: String,
    body: Vec<u8>,
    row_time: Option<Timestamp>,
}

impl Owned {
    fn of(entry: &Entry<'_>) -> Self {
        Self {
            key: entry.key,
            time: entry.time,
            received: entry.received,
            reason: entry.reason.to_owned(),
            origin: entry.origin.to_owned(),
            body: entry.body.to_vec(),
            row_time: entry.row_time,
        }
    }

    /// The entry.
    pub fn entry(&self) -> Entry<'_> {
        Entry {
            key: self.key,
            time: self.time,
            received: self.received,
            reason: &self.reason,
            origin: &self.origin,
            body: &self.body,
            row_time: self.row_time,
        }
    }
}

#[derive(Debug)]
struct Part {
    number: u32,
    file: File,
    end: u64,
}

/// The files as they are at one moment, oldest first.
#[derive(Debug, Default)]
pub struct Snapshot {
    parts: Vec<Part>,
}

/// The newest of the entries meant.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Newest {
    /// Their places, the newest first.
    pub places: Vec<Place>,
    /// How many more are meant that are older.
    pub more: u64,
    /// Whether the place asked about has been pushed out, with all that was before it.
    pub moved_on: bool,
}

/// Counts of the entries meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = QuarantineSummary)]
pub struct Summary {
    /// Entries.
    pub entries: u64,
    /// Rows among them.
    pub rows: u64,
    /// Dead letters among them.
    pub dead_letters: u64,
    /// Bytes they take in the files.
    pub entry_bytes: u64,
    /// By reason, the most frequent first.
    pub reasons: Vec<(String, u64)>,
    /// What to do about those of the reasons about which something is known, by reason.
    #[serde(default)]
    pub advice: BTreeMap<String, String>,
    /// Rows by table, the most frequent first.
    pub tables: Vec<(String, u64)>,
    /// Dead letters by topic, the most frequent first.
    pub topics: Vec<(String, u64)>,
    /// Bytes of the files, those of entries taken out included: they are free once their file is full and goes.
    pub bytes: u64,
    /// Bytes that do not read.
    pub damaged_bytes: u64,
    /// Size the files may have together; none when it is not known.
    #[serde(default)]
    pub size_bytes: Option<u64>,
    /// Entries pushed out by newer ones since the daemon's start; none without a daemon.
    #[serde(default)]
    pub pushed_out: Option<u64>,
}

impl Snapshot {
    /// Adds a file that reads up to `end`; files come in the order of their numbers.
    pub(super) fn add(&mut self, number: u32, file: File, end: u64) {
        self.parts.push(Part { number, file, end });
    }

    /// Number of a file by another handle on it.
    pub(super) fn number_of(&self, file: &File) -> io::Result<Option<u32>> {
        let wanted = file.metadata()?;
        for part in &self.parts {
            let own = part.file.metadata()?;
            if (own.dev(), own.ino()) == (wanted.dev(), wanted.ino()) {
                return Ok(Some(part.number));
            }
        }
        Ok(None)
    }

    fn is_pushed_out(&self, place: Place) -> bool {
        self.parts.first().is_none_or(|part| place.file < part.number)
    }

    /// Calls `each` with what lies from one place up to another, in order.
    fn walk(
        &self,
        from: Option<Place>,
        to: Option<Place>,
        each: &mut dyn FnMut(Place, Item<'_>) -> ControlFlow<()>,
    ) -> io::Result<()> {
        for part in &self.parts {
            let number = part.number;
            let start = from.filter(|from| from.file == number).map_or(FIRST_ENTRY_AT, |from| from.at);
            let end = to.filter(|to| to.file == number).map_or(part.end, |to| to.at.min(part.end));
            if from.is_some_and(|from| number < from.file) || to.is_some_and(|to| to.file < number) {
                continue;
            }
            let mut over = false;
            scan::scan(&part.file, start, end, &mut |item| {
                let at = match item {
                    Item::Entry(found) => found.at,
                    Item::Damage { at, .. } => at,
                };
                let flow = each(Place { file: number, at }, item);
                over = flow.is_break();
                flow
            })?;
            if over {
                break;
            }
        }
        Ok(())
    }

    /// Calls `each` with every entry, oldest first, also with those that have been taken out.
    pub fn each(&self, each: &mut dyn FnMut(&Entry<'_>)) -> io::Result<()> {
        self.walk(None, None, &mut |_, item| {
            if let Item::Entry(found) = item {
                each(&found.entry);
            }
            ControlFlow::Continue(())
        })
    }

    /// The newest entries meant that lie before a place, at most `limit`.
    pub fn newest(&self, selection: &Selection, before: Option<Cursor>, limit: usize) -> io::Result<Newest> {
        let mut places = VecDeque::new();
        let mut matched = 0;
        self.walk(None, before, &mut |place, item| {
            if let Item::Entry(found) = item
                && !found.taken_out
                && selection.matches(&found.entry)
            {
                matched += 1;
                places.push_back(place);
                if places.len() > limit {
                    places.pop_front();
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(Newest {
            more: matched - places.len() as u64,
            places: places.into_iter().rev().collect(),
            moved_on: before.is_some_and(|before| self.is_pushed_out(before)),
        })
    }

    /// Calls `each` with every entry meant from a place on, the oldest first, and with the place behind it, until it breaks. True when
    /// that place has been pushed out, so that entries may be missing before the first.
    pub fn oldest(
        &self,
        selection: &Selection,
        from: Option<Cursor>,
        each: &mut dyn FnMut(Place, &Entry<'_>) -> ControlFlow<()>,
    ) -> io::Result<bool> {
        self.walk(from, None, &mut |place, item| match item {
            Item::Entry(found) if !found.taken_out && selection.matches(&found.entry) => {
                each(Place { at: place.at + found.bytes, ..place }, &found.entry)
            }
            _ => ControlFlow::Continue(()),
        })?;
        Ok(from.is_some_and(|from| self.is_pushed_out(from)))
    }

    /// The entry at a place; none when it has been taken out.
    pub fn load(&self, place: Place) -> io::Result<Option<Owned>> {
        let Some(part) = self.parts.iter().find(|part| part.number == place.file) else { return Ok(None) };
        let found = scan::entry_at(&part.file, place.at, |found| (!found.taken_out).then(|| Owned::of(&found.entry)))?;
        Ok(found.flatten())
    }

    /// The entry of that name; the newest, should there be several.
    pub fn find(&self, id: Id) -> io::Result<Option<Owned>> {
        let selection = Selection { ids: [id].into(), ..Selection::default() };
        match self.newest(&selection, None, 1)?.places.first() {
            Some(place) => self.load(*place),
            None => Ok(None),
        }
    }

    /// Counts the entries meant.
    pub fn summary(&self, selection: &Selection) -> io::Result<Summary> {
        let mut summary = Summary { bytes: self.parts.iter().map(|part| part.end).sum(), ..Summary::default() };
        let (mut reasons, mut tables, mut topics) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut spellings = HashMap::new();
        self.walk(None, None, &mut |_, item| {
            match item {
                Item::Entry(found) if !found.taken_out && selection.matches(&found.entry) => {
                    summary.entries += 1;
                    summary.entry_bytes += found.bytes;
                    count(&mut reasons, &super::reason_of(&found.entry));
                    match Kind::from(&found.entry) {
                        Kind::Row => count(&mut tables, spelling(&mut spellings, found.entry.origin)),
                        Kind::DeadLetter => count(&mut topics, found.entry.origin),
                    }
                }
                Item::Entry(_) => {}
                Item::Damage { bytes, .. } => summary.damaged_bytes += bytes,
            }
            ControlFlow::Continue(())
        })?;
        summary.rows = tables.values().sum();
        summary.dead_letters = topics.values().sum();
        [summary.reasons, summary.tables, summary.topics] = [reasons, tables, topics].map(sorted);
        summary.advice = by_reason(&summary.reasons).into_iter().map(|(of, advice)| (of, advice.to_owned())).collect();
        Ok(summary)
    }
}

/// A table's name as it was first met, of those that are told apart.
fn spelling<'a>(spellings: &'a mut HashMap<String, String>, name: &'a str) -> &'a str {
    let folded = names::folded(name);
    if spellings.len() >= MAX_COUNTED && !spellings.contains_key(&*folded) {
        return name;
    }
    spellings.entry(folded.into_owned()).or_insert_with(|| name.to_owned())
}

fn count(counts: &mut HashMap<String, u64>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count += 1;
    } else {
        let name = if counts.len() < MAX_COUNTED { name } else { OTHERS };
        *counts.entry(name.to_owned()).or_default() += 1;
    }
}

fn sorted(counts: HashMap<String, u64>) -> Vec<(String, u64)> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts
}
