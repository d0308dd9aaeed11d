//! Rows of one message that share series and time.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::{
    Latest,
    key::{KeyRef, are_same, pairs},
};
use crate::{
    names,
    point::{MAX_FIELDS, Received, Row, Timestamp},
};

impl Latest {
    /// [`Latest::prepare`] for all rows of a message that belong to one table, in their order.
    ///
    /// A row of the same series and microsecond as an earlier one of the message is completed from it too, so that whichever
    /// QuestDB keeps holds the union.
    pub fn prepare_rows(&self, table: &str, rows: &mut [Row], received: Received) {
        if let [row] = rows {
            return self.prepare(table, row, received);
        }
        self.time_rows(table, rows, received);
        self.complete_rows(table, rows, received);
    }

    /// The first half of [`Latest::prepare_rows`]: each row gets its time, and is completed from earlier rows of the message.
    pub fn time_rows(&self, table: &str, rows: &mut [Row], received: Received) {
        for row in rows.iter_mut().filter(|row| row.time.is_none()) {
            self.make_ready(table, row, received, false);
        }
        unite(rows, &self.hasher);
    }

    /// The second half: rows with a time are completed from the values held. These come last, since a value of the message,
    /// in whichever row, is newer.
    pub fn complete_rows(&self, table: &str, rows: &mut [Row], received: Received) {
        for row in rows {
            self.make_ready(table, row, received, true);
        }
    }
}

/// Completes each row from the last earlier one of the same series and microsecond.
fn unite(rows: &mut [Row], hasher: &impl BuildHasher) {
    let hash = |row: &Row| {
        let time = row.time.map_or(0, Timestamp::to_micros);
        KeyRef { table: "", symbols: pairs(&row.symbols) }.hash(hasher)
            ^ (time as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    };
    let same = |a: &Row, b: &Row| {
        a.time.map(Timestamp::to_micros) == b.time.map(Timestamp::to_micros) && are_same(&a.symbols, &b.symbols)
    };
    let mut last: HashTable<(u64, usize)> = HashTable::with_capacity(rows.len());
    for at in 0..rows.len() {
        let key = hash(&rows[at]);
        let (earlier, rest) = rows.split_at_mut(at);
        let row = &mut rest[0];
        if let Some((_, before)) = last.find_mut(key, |(h, other)| *h == key && same(&earlier[*other], row)) {
            complete(row, &earlier[*before]);
            *before = at;
        } else {
            last.insert_unique(key, (key, at), |(h, _)| *h);
        }
    }
}

fn complete(row: &mut Row, earlier: &Row) {
    let own = row.fields.len();
    for (name, value) in &earlier.fields {
        let known = row.fields[..own].iter().any(|(have, _)| names::same(have, name));
        if !known && row.fields.len() < MAX_FIELDS {
            row.fields.push((name.clone(), value.clone()));
            row.completed += 1;
        }
    }
}
