//! One message's rows on their way from the decoder to the ring. Pure but for the buffers it keeps.

use super::enter::{Encoded, TableRows};
use crate::{
    decode::{DecodeError, Decoded, Decoder, Fault, FaultKind, Faults, Payload},
    point::{Row, Text, Timestamp},
    ring::table_hash,
    settings::Retained,
};

/// Buffers beyond this many bytes are given back after a message.
const KEPT_BYTES: usize = 64 * 1024;
/// Rows beyond this many are given back after a message.
const KEPT_ROWS: usize = 256;

/// The rows of the message in hand, and their encoding.
#[derive(Debug, Default)]
pub(super) struct Workbench {
    /// The rows, and what was left out of them.
    pub of: Decoded,
    /// The rows by table, once they enter.
    pub tables: Vec<TableRows>,
    /// Their records.
    pub encoded: Encoded,
    /// The body of a record of another kind.
    pub body: Vec<u8>,
}

impl Workbench {
    /// Makes ready for the next message.
    pub fn clear(&mut self) {
        self.of.clear();
        self.of.rows.shrink_to(KEPT_ROWS);
        self.encoded.clear(KEPT_BYTES);
        self.body.clear();
        self.body.shrink_to(KEPT_BYTES);
    }

    /// Decodes a payload into rows with all their symbols, and takes note of what is left out.
    pub fn decode(&mut self, decoder: &mut Decoder, payload: &Payload<'_>) -> Result<(), String> {
        decoder.decode(payload, &mut self.of).map_err(|error| error.to_string())?;
        decoder.finish(&mut self.of.rows, payload.topic, &mut self.of.faults);
        Ok(())
    }

    /// Moves the rows into their tables, of which `table` is the topic's: rows of one table keep
    /// their order. What is said of rows by their number, in `faults`, follows them.
    pub fn part(&mut self, table: &Text, hash: u32, faults: &mut Faults) {
        let mut rows = std::mem::take(&mut self.of.rows);
        self.tables.truncate(1);
        if rows.iter().all(|row| row.table == 0) {
            let before = self.tables.pop().unwrap_or_default();
            self.tables.push(TableRows { table: table.clone(), table_hash: hash, rows });
            // Its room serves for the next message.
            self.of.rows = before.rows;
            self.of.rows.clear();
            return;
        }
        self.tables.clear();
        let mut numbers: Vec<usize> = (0..rows.len()).collect();
        numbers.sort_by_key(|number| rows[*number].table);
        faults.renumber(|row| numbers.iter().position(|number| *number == row).unwrap_or(row));
        rows.sort_by_key(|row| row.table);
        for row in rows {
            let name = Self::table_of(&self.of.tables, &row, table);
            match self.tables.last_mut() {
                Some(last) if last.table == *name => last.rows.push(row),
                _ => {
                    let table_hash = table_hash(name);
                    self.tables.push(TableRows { table: name.clone(), table_hash, rows: vec![row] });
                }
            }
        }
    }

    /// Takes the rows out that nobody knows the time of, as is done with a message that the broker
    /// had kept, and what is said of them.
    pub fn leave_out_retained(&mut self, retained: Retained) -> Vec<Row> {
        if retained == Retained::Store {
            return Vec::new();
        }
        let Decoded { rows, faults, .. } = &mut self.of;
        let mut number = 0;
        let is_untimed = |row: &mut Row| {
            let is_untimed = row.time.is_none();
            if is_untimed {
                faults.forget(number);
            } else {
                number += 1;
            }
            is_untimed
        };
        rows.extract_if(.., is_untimed).collect()
    }

    /// The table of a row, where `of_topic` is its topic's.
    pub fn table_of<'a>(tables: &'a [Text], row: &Row, of_topic: &'a Text) -> &'a Text {
        usize::from(row.table).checked_sub(1).and_then(|at| tables.get(at)).unwrap_or(of_topic)
    }

    /// Takes the times away that no clock can have told (before `max_past`), and leaves out rows of
    /// a time after `latest`, which says why.
    pub fn judge_times(&mut self, max_past: Timestamp, latest: Timestamp, now: Timestamp) {
        let (mut number, mut element) = (0, 0);
        let Decoded { rows, faults, .. } = &mut self.of;
        rows.retain_mut(|row| {
            element += 1;
            let Some(time) = row.time else {
                number += 1;
                return true;
            };
            if time > latest {
                let told = if time == Timestamp::MAX { "after the year 2262".to_owned() } else { time.to_string() };
                let reason = format!(
                    "its timestamp {told} is further ahead of the clock ({now}) than [latest] max_future; check the timestamp's unit and zone in the source"
                );
                let error = DecodeError { place: format!("reading {}", element - 1), reason };
                faults.left_out(number);
                faults.push(Fault { row: None, member: Text::default(), kind: FaultKind::Future, error });
                return false;
            }
            if time < max_past {
                (row.time, row.device_time, row.notes.untimed) = (None, false, true);
            }
            number += 1;
            true
        });
    }

    /// The place of the first row that lacks a member and tells no time, among the rows that tell
    /// none. The rows stand in their tables.
    pub fn first_faulty_untimed(&self, faults: &Faults) -> Option<usize> {
        let rows = || self.tables.iter().flat_map(|of| &of.rows);
        let is_untimed = |number: &usize| rows().nth(*number).is_some_and(|row| row.time.is_none());
        let number = faults.iter().filter_map(|fault| fault.row).filter(is_untimed).min()?;
        Some(rows().take(number).filter(|row| row.time.is_none()).count())
    }
}

/// Why a message, or a line, of so many bytes is not taken.
pub(super) fn too_large(bytes: usize, most: usize) -> String {
    format!("it has {bytes} bytes; [mqtt] max_payload allows {most}")
}

#[cfg(test)]
mod tests {
    use super::{super::routes::NoRoute, *};
    use crate::{flush::quarantine::advice::advice_for, point::Value};

    #[test]
    fn what_is_no_reading_comes_with_advice() {
        let mut bench = Workbench::default();
        bench.of.rows = vec![Row { time: Some(Timestamp(201)), ..Row::default() }];
        bench.judge_times(Timestamp(0), Timestamp(200), Timestamp(0));
        for (reason, words) in [
            (bench.of.faults.reason(), "[latest]"),
            (NoRoute::Unmatched.to_string(), "Add a [source.NAME]"),
            (too_large(9, 8), "Raise max_payload"),
        ] {
            assert!(advice_for(&reason).is_some_and(|advice| advice.contains(words)), "{reason}");
        }
    }

    #[test]
    fn the_limits_of_time_are_exact() {
        let row = |time: i64| Row { time: Some(Timestamp(time)), device_time: true, ..Row::default() };
        let mut bench = Workbench::default();
        bench.of.rows = vec![row(99), row(100), row(201), row(200)];
        bench.judge_times(Timestamp(100), Timestamp(200), Timestamp(0));
        let left: Vec<_> = bench.of.rows.iter().map(|row| (row.time, row.device_time, row.notes.untimed)).collect();
        let timed = |time| (Some(Timestamp(time)), true, false);
        assert_eq!(left, [(None, false, true), timed(100), timed(200)]);
        assert!(bench.of.faults.count() == 1 && bench.of.faults.reason().starts_with("at reading 2: its timestamp"));
    }

    #[test]
    fn a_letter_about_a_row_without_a_time_names_it_among_those() {
        let (timed, untimed) = (Row { time: Some(Timestamp(1)), ..Row::default() }, Row::default());
        let error = DecodeError { place: "$".into(), reason: "bad".into() };
        let fault = |row| Fault { row, member: "x".into(), kind: FaultKind::Type, error: error.clone() };
        let mut bench = Workbench::default();
        bench.of.rows = vec![untimed.clone(), timed, untimed];
        bench.part(&"t".into(), 0, &mut Faults::default());
        bench.of.faults.push(fault(None));
        assert_eq!(bench.first_faulty_untimed(&bench.of.faults), None);
        bench.of.faults.push(fault(Some(2)));
        assert_eq!(bench.first_faulty_untimed(&bench.of.faults), Some(1));
        bench.of.faults.clear();
        bench.of.faults.push(fault(Some(1)));
        assert_eq!(bench.first_faulty_untimed(&bench.of.faults), None, "the device told its time");
    }

    #[test]
    fn rows_of_several_tables_stand_by_table_and_what_is_said_of_them_follows() {
        let row = |table, value: f64| Row { table, fields: vec![("v".into(), Value::Double(value))], ..Row::default() };
        let mut bench = Workbench::default();
        bench.of.tables = vec!["a".into(), "b".into()];
        bench.of.rows = vec![row(2, 1.0), row(1, 2.0), row(0, 3.0), row(2, 4.0)];
        let error = DecodeError { place: "$".into(), reason: "bad".into() };
        let mut faults = Faults::default();
        faults.push(Fault { row: Some(1), member: "x".into(), kind: FaultKind::Type, error });
        bench.part(&"t".into(), 7, &mut faults);
        let tables: Vec<_> = bench.tables.iter().map(|of| (of.table.as_str(), of.rows.len())).collect();
        assert_eq!(tables, [("t", 1), ("a", 1), ("b", 2)]);
        assert_eq!(faults.iter().next().and_then(|fault| fault.row), Some(1));
        assert_eq!(bench.first_faulty_untimed(&faults), Some(1));
    }
}
