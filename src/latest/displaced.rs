//! Which values have been replaced at their moments, so that a message delivered again is not
//! counted again: where readings 0 and 1 of one moment come, and both once more, the second 0 would
//! seem to replace the 1. It is known to have been replaced, and so to have come before. Pure.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, Hasher},
};

use super::past::{Past, value_ref, write_past, write_value};
use crate::{
    moment::name_number,
    point::{Text, Value},
};

/// Most that are remembered, about 300 KB; the oldest make room.
const MAX_MARKS: usize = 10_000;
/// Tells marks of rows from marks of values.
const ROW: i64 = -1;

/// The marks of what was replaced.
#[derive(Debug, Default)]
pub(super) struct Displaced {
    marks: HashSet<u64, foldhash::fast::FixedState>,
    order: VecDeque<u64>,
}

impl Displaced {
    pub fn note(&mut self, mark: u64) {
        if !self.marks.insert(mark) {
            return;
        }
        self.order.push_back(mark);
        if self.order.len() > MAX_MARKS
            && let Some(oldest) = self.order.pop_front()
        {
            self.marks.remove(&oldest);
        }
    }

    pub fn holds(&self, mark: u64) -> bool {
        self.marks.contains(&mark)
    }
}

/// The mark of a value of a series' field (its number within the series) and moment.
pub(super) fn of_value(series: u64, micros: i64, field: u16, value: Past<'_>) -> u64 {
    let mut bytes = Vec::with_capacity(16);
    write_past(&mut bytes, field, &value);
    let mut hasher = hasher(series, micros, 0);
    hasher.write(&bytes);
    hasher.finish()
}

/// The mark of a row that replaced others of its own message, by what it says itself.
pub(super) fn of_row(series: u64, micros: i64, own: &[(Text, Value)]) -> u64 {
    let mut hasher = hasher(series, micros, ROW);
    let mut bytes = Vec::with_capacity(64);
    for (name, value) in own {
        hasher.write_u64(name_number(name));
        bytes.clear();
        write_value(&mut bytes, 0, &value_ref(value));
        hasher.write(&bytes);
    }
    hasher.finish()
}

fn hasher(series: u64, micros: i64, kind: i64) -> impl Hasher {
    let mut hasher = foldhash::quality::FixedState::with_seed(series).build_hasher();
    hasher.write_i64(micros);
    hasher.write_i64(kind);
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room() {
        let mut displaced = Displaced::default();
        for mark in 0..=MAX_MARKS as u64 {
            displaced.note(mark);
            displaced.note(mark);
        }
        assert_eq!((displaced.marks.len(), displaced.order.len()), (MAX_MARKS, MAX_MARKS));
        assert!(!displaced.holds(0) && displaced.holds(1) && displaced.holds(MAX_MARKS as u64));
    }

    use crate::{
        latest::Latest,
        marks::Seq,
        point::{Received, Row, Timestamp},
        settings,
    };

    fn row(value: i64) -> Row {
        Row { time: Some(Timestamp(1_000)), fields: vec![("v".into(), Value::Long(value))], ..Row::default() }
    }

    /// Brings a message in; how many rows are counted as replaced.
    fn enter(latest: &Latest, values: &[i64]) -> u16 {
        let mut rows: Vec<Row> = values.iter().copied().map(row).collect();
        latest.prepare_rows("t", &mut rows, Received::default());
        for row in &rows {
            latest.update("t", row, Seq(1), Received::default());
        }
        rows.iter().map(|row| row.notes.replaced).sum()
    }

    #[test]
    fn messages_delivered_again_are_not_counted_again_also_where_they_contradict_each_other() {
        let latest = Latest::new(&settings::Latest::default());
        let messages: [(&[i64], u16); 5] = [(&[7, 0], 1), (&[0], 0), (&[1], 1), (&[2, 3, 4], 3), (&[5], 1)];
        for (values, replaced) in messages {
            assert_eq!(enter(&latest, values), replaced, "{values:?}");
        }
        for (values, _) in messages {
            assert_eq!(enter(&latest, values), 0, "{values:?} again");
        }
        assert_eq!(enter(&latest, &[6]), 1, "another value is another loss");
    }

    #[test]
    fn a_message_that_was_prepared_and_refused_is_counted_when_it_enters() {
        let latest = Latest::new(&settings::Latest::default());
        enter(&latest, &[0]);
        let mut refused = row(1);
        latest.prepare("t", &mut refused, Received::default());
        assert_eq!((refused.notes.replaced, enter(&latest, &[1])), (1, 1));
    }

    #[test]
    fn the_ring_tells_what_was_replaced() {
        let latest = Latest::new(&settings::Latest::default());
        let mut body = Vec::new();
        crate::entry::encode_rows("t", &[row(0), row(1)], &mut body).unwrap();
        for row in crate::entry::Rows::decode(&body).unwrap() {
            latest.restore("t", &row.unwrap(), Seq(1), Received::default());
        }
        assert_eq!((enter(&latest, &[0]), enter(&latest, &[1]), enter(&latest, &[2])), (0, 0, 1));
    }
}
