//! Rows of one message that share series and time become one row: QuestDB keeps one of them.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::{
    Latest,
    fields::position,
    key::{KeyRef, are_same, pairs},
};
use crate::{
    names,
    point::{MAX_FIELDS, Received, Row, Text, Timestamp, Value},
};

/// Rows of a message that could not all be kept, since they share series and time and differ in a
/// value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collisions {
    /// How many rows are gone.
    pub rows: u64,
    /// A field that tells the first two apart: a string, if there is one, which may be the symbol
    /// that is missing.
    pub field: Option<Text>,
}

impl Collisions {
    fn note(&mut self, mut differing: impl Iterator<Item = (Text, bool)>) {
        self.rows += 1;
        if self.rows > 1 {
            return;
        }
        let first = differing.next();
        let text =
            first.iter().find(|(_, is_text)| *is_text).cloned().or_else(|| differing.find(|(_, is_text)| *is_text));
        self.field = text.or(first).map(|(name, _)| name);
    }

    /// Adds those of another table.
    pub fn join(&mut self, other: Self) {
        let rows = self.rows + other.rows;
        if self.rows == 0 {
            *self = other;
        }
        self.rows = rows;
    }
}

impl Latest {
    /// [`Latest::prepare`] for all rows of a message that belong to one table, in their order.
    pub fn prepare_rows(&self, table: &str, rows: &mut Vec<Row>, received: Received) -> Collisions {
        if let [row] = rows.as_mut_slice()
            && !row.apart
        {
            self.prepare(table, row, received);
            return Collisions::default();
        }
        let collisions = self.time_rows(table, rows, received);
        self.complete_rows(table, rows, received);
        collisions
    }

    /// The first half of [`Latest::prepare_rows`]: each row gets its time, and rows of one series
    /// and microsecond become one.
    pub fn time_rows(&self, table: &str, rows: &mut Vec<Row>, received: Received) -> Collisions {
        for row in rows.iter_mut().filter(|row| row.time.is_none()) {
            self.make_ready(table, row, received, false);
        }
        self.keep_apart(table, rows);
        unite(rows, &self.hasher)
    }

    /// The second half: rows with a time are compared with what is known of their moments, and
    /// completed from it.
    pub fn complete_rows(&self, table: &str, rows: &mut [Row], received: Received) {
        for row in rows {
            self.make_ready(table, row, received, true);
        }
    }
}

/// Makes rows of one series and microsecond one row, which holds the later of two values of a
/// field.
fn unite(rows: &mut Vec<Row>, hasher: &impl BuildHasher) -> Collisions {
    let hash = |row: &Row| {
        let time = row.time.map_or(0, Timestamp::to_micros);
        KeyRef { table: "", symbols: pairs(&row.symbols) }.hash(hasher)
            ^ (time as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    };
    let same = |a: &Row, b: &Row| {
        a.time.map(Timestamp::to_micros) == b.time.map(Timestamp::to_micros) && are_same(&a.symbols, &b.symbols)
    };
    let mut collisions = Collisions::default();
    let mut of_moment: HashTable<(u64, usize)> = HashTable::with_capacity(rows.len());
    let mut kept = 0;
    for at in 0..rows.len() {
        let key = hash(&rows[at]);
        let (earlier, rest) = rows.split_at_mut(at);
        let row = &mut rest[0];
        if let Some((_, held)) = of_moment.find_mut(key, |(h, other)| *h == key && same(&earlier[*other], row)) {
            if join(&mut earlier[*held], row, &mut collisions) {
                continue;
            }
            // It has no room for the fields: the row replaces it in QuestDB.
            collisions.note(std::iter::empty());
            row.notes.replaced = row.notes.replaced.saturating_add(1);
            *held = kept;
        } else {
            of_moment.insert_unique(key, (key, kept), |(h, _)| *h);
        }
        rows.swap(kept, at);
        kept += 1;
    }
    rows.truncate(kept);
    collisions
}

/// Has a row take over the values of a later one of its moment. False, and nothing is changed,
/// where it would get too many fields.
fn join(row: &mut Row, later: &mut Row, collisions: &mut Collisions) -> bool {
    let place =
        |row: &Row, hint: usize, name: &Text| position(&row.fields, hint, |(known, _)| names::same(known, name));
    let places: Vec<Option<usize>> =
        later.fields.iter().enumerate().map(|(at, (name, _))| place(row, at, name)).collect();
    if row.fields.len() + places.iter().filter(|at| at.is_none()).count() > MAX_FIELDS {
        return false;
    }
    let differs = |(at, (name, value)): (&Option<usize>, &(Text, Value))| {
        let held = &row.fields[(*at)?].1;
        (held != value).then(|| (name.clone(), matches!(value, Value::Text(_))))
    };
    let mut differing = places.iter().zip(&later.fields).filter_map(differs).peekable();
    let collides = differing.peek().is_some();
    if collides {
        collisions.note(differing);
        row.notes.replaced = row.notes.replaced.saturating_add(1);
    }
    row.notes.join(later.notes);
    for (at, field) in places.into_iter().zip(later.fields.drain(..)) {
        match at {
            Some(at) => row.fields[at].1 = field.1,
            None => row.fields.push(field),
        }
    }
    true
}
