//! Rows that stay rows of their own beside others of their series and microsecond: each moves on
//! until no other row has its microsecond, or the one that has it says the same.

use hashbrown::HashTable;

use super::{
    Latest,
    key::{KeyRef, are_same, pairs},
};
use crate::point::{Row, Timestamp};

/// A row moves on at most so many microseconds. Beyond, it meets the row that is there: with a
/// device whose clock stands still, each row would else look at all before it.
const MAX_MOVES: i64 = 1_000;

impl Latest {
    /// Moves the rows of a message that are to stay apart, and takes out those that the message
    /// says twice.
    pub(super) fn keep_apart(&self, table: &str, rows: &mut Vec<Row>) {
        if !rows.iter().any(|row| row.apart) {
            return;
        }
        let mut of_moment: HashTable<(u64, usize)> = HashTable::with_capacity(rows.len());
        let mut kept = 0;
        for at in 0..rows.len() {
            let (earlier, rest) = rows.split_at_mut(at);
            let row = &mut rest[0];
            if row.apart && row.time.is_some() {
                let placed = self.move_on(table, row, |series, micros, row| {
                    let key = moment(series, micros);
                    let is_of = |other: &Row| {
                        other.time.map(Timestamp::to_micros) == Some(micros) && are_same(&other.symbols, &row.symbols)
                    };
                    let found = of_moment.find(key, |(known, other)| *known == key && is_of(&earlier[*other]));
                    found.map(|(_, other)| earlier[*other].fields == row.fields)
                });
                let Some(key) = placed else { continue };
                of_moment.insert_unique(key, (key, kept), |(known, _)| *known);
            }
            rows.swap(kept, at);
            kept += 1;
        }
        rows.truncate(kept);
    }

    /// Gives a row the first microsecond that it may have; returns the number of its moment.
    /// `in_message` tells whether an earlier row of its message has one, and whether that row says
    /// the same: then the row is none of its own, and has no moment.
    fn move_on(&self, table: &str, row: &mut Row, in_message: impl Fn(u64, i64, &Row) -> Option<bool>) -> Option<u64> {
        let key = KeyRef { table, symbols: pairs(&row.symbols) };
        let series = key.hash(&self.hasher);
        let mut shard = self.shard(series);
        let found = shard.find(series, &key);
        let slot = found.and_then(|at| shard.get_mut(at));
        let first = row.time?.to_micros();
        let mut micros = first;
        while micros < first.saturating_add(MAX_MOVES) {
            match in_message(series, micros, row) {
                Some(true) => return None,
                None if !slot.as_ref().is_some_and(|slot| slot.is_taken(micros, row)) => break,
                Some(false) | None => micros += 1,
            }
        }
        if micros > first {
            row.time = Some(Timestamp(micros.saturating_mul(1_000)));
        }
        Some(moment(series, micros))
    }
}

fn moment(series: u64, micros: i64) -> u64 {
    series ^ (micros as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        marks::Seq,
        point::{Received, Value},
        settings,
    };

    const TIME: i64 = 1_000;

    fn map() -> Latest {
        Latest::new(&settings::Latest::default())
    }

    fn row(micros: i64, value: i64) -> Row {
        Row {
            time: Some(Timestamp(micros * 1_000)),
            device_time: true,
            apart: true,
            fields: vec![("v".into(), Value::Long(value))],
            ..Row::default()
        }
    }

    /// Brings a message of rows with these values in; their times.
    fn enter(latest: &Latest, values: &[i64]) -> Vec<i64> {
        let mut rows: Vec<Row> = values.iter().map(|value| row(TIME, *value)).collect();
        let collisions = latest.prepare_rows("t", &mut rows, Received::default());
        assert_eq!(collisions.rows, 0);
        for row in &rows {
            latest.update("t", row, Seq(1), Received::default());
        }
        assert!(rows.iter().all(|row| row.notes.is_empty() && row.completed == 0), "{rows:?}");
        rows.iter().map(|row| row.time.map_or(0, Timestamp::to_micros)).collect()
    }

    #[test]
    fn rows_of_one_time_move_on_and_meet_themselves_again() {
        let latest = map();
        assert_eq!(enter(&latest, &[7, 0, 7, 3]), [TIME, TIME + 1, TIME + 2], "the message says 7 twice");
        assert_eq!(enter(&latest, &[4]), [TIME + 3]);
        assert_eq!(enter(&latest, &[7, 0, 7, 3]), [TIME, TIME + 1, TIME + 2], "delivered again");
        assert_eq!(enter(&latest, &[4]), [TIME + 3]);
        assert_eq!(enter(&latest, &[5, 0]), [TIME + 4, TIME + 1]);
    }

    #[test]
    fn a_row_moves_on_so_far_and_no_further() {
        let latest = map();
        for value in 0..=MAX_MOVES {
            assert_eq!(enter(&latest, &[value]), [TIME + value]);
        }
        let mut rows = vec![row(TIME, -1)];
        latest.prepare_rows("t", &mut rows, Received::default());
        assert_eq!((rows[0].time, rows[0].notes.replaced), (Some(Timestamp((TIME + MAX_MOVES) * 1_000)), 1));
    }

    #[test]
    fn other_rows_are_left_as_they_are() {
        let latest = map();
        let mut rows = vec![Row { apart: false, ..row(TIME, 1) }, row(TIME, 2), Row { time: None, ..row(TIME, 3) }];
        let received = Received { wall: Timestamp(9_000), since_boot_ns: 0 };
        latest.keep_apart("t", &mut rows);
        assert_eq!(rows.len(), 3);
        latest.prepare_rows("t", &mut rows, received);
        let times: Vec<_> = rows.iter().map(|row| row.time.map(Timestamp::to_micros)).collect();
        assert_eq!(times, [Some(TIME), Some(9)], "those of other settings become one");
    }
}
