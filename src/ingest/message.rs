//! One message's rows on their way from the decoder to the ring. Pure but for the buffers it keeps.

use super::enter::{Encoded, TableRows};
use crate::{
    decode::{DecodeError, Decoder, Fault, FaultKind, Faults, Resolved},
    point::{Text, Timestamp},
};

/// Buffers beyond this many bytes are given back after a message.
const KEPT_BYTES: usize = 64 * 1024;
/// Rows beyond this many are given back after a message.
const KEPT_ROWS: usize = 256;

/// The rows of the message in hand, and their encoding.
#[derive(Debug, Default)]
pub(super) struct Workbench {
    /// The rows, and their table once they enter.
    pub of: TableRows,
    /// What was left out of them.
    pub faults: Faults,
    /// Their records.
    pub encoded: Encoded,
    /// The body of a record of another kind.
    pub body: Vec<u8>,
}

impl Workbench {
    /// Makes ready for the next message.
    pub fn clear(&mut self) {
        self.of.rows.clear();
        self.of.rows.shrink_to(KEPT_ROWS);
        self.faults.clear();
        self.encoded.clear(KEPT_BYTES);
        self.body.clear();
        self.body.shrink_to(KEPT_BYTES);
    }

    /// Decodes a payload into rows with all their symbols, and takes note of what is left out.
    pub fn decode(&mut self, decoder: &mut Decoder, resolved: &Resolved, payload: &[u8]) -> Result<(), String> {
        decoder.decode(payload, &mut self.of.rows, &mut self.faults).map_err(|error| error.to_string())?;
        decoder.finish(&mut self.of.rows, resolved, &mut self.faults);
        Ok(())
    }

    /// Takes the times away that no clock can have told (before `max_past`), and leaves out rows of
    /// a time after `latest`, which says why.
    pub fn judge_times(&mut self, max_past: Timestamp, latest: Timestamp, now: Timestamp) {
        let (mut number, mut element) = (0, 0);
        let faults = &mut self.faults;
        self.of.rows.retain_mut(|row| {
            element += 1;
            let Some(time) = row.time else {
                number += 1;
                return true;
            };
            if time > latest {
                let reason = format!(
                    "its timestamp {time} is further ahead of the clock ({now}) than [latest] max_future; check the timestamp's unit in the source"
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

    /// The place of the first row that lacks a member among the rows that tell no time, if it is
    /// one of those.
    pub fn first_faulty_untimed(&self, faults: &Faults) -> Option<usize> {
        let row = faults.iter().find_map(|fault| fault.row)?;
        self.of.rows.get(row).filter(|row| row.time.is_none())?;
        Some(self.of.rows[..row].iter().filter(|row| row.time.is_none()).count())
    }
}

/// Why a message, or a line, of so many bytes is not taken.
pub(super) fn too_large(bytes: usize, most: usize) -> String {
    format!("it has {bytes} bytes; [mqtt] max_payload allows {most}")
}

#[cfg(test)]
mod tests {
    use super::{super::routes::NoRoute, *};
    use crate::{flush::quarantine::advice::advice_for, point::Row};

    #[test]
    fn what_is_no_reading_comes_with_advice() {
        let mut bench = Workbench::default();
        bench.of.rows = vec![Row { time: Some(Timestamp(201)), ..Row::default() }];
        bench.judge_times(Timestamp(0), Timestamp(200), Timestamp(0));
        for (reason, words) in [
            (bench.faults.reason(), "[latest]"),
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
        assert!(bench.faults.count() == 1 && bench.faults.reason().starts_with("at reading 2: its timestamp"));
    }

    #[test]
    fn a_letter_about_a_row_without_a_time_names_it_among_those() {
        let (timed, untimed) = (Row { time: Some(Timestamp(1)), ..Row::default() }, Row::default());
        let error = DecodeError { place: "$".into(), reason: "bad".into() };
        let fault = |row| Fault { row, member: "x".into(), kind: FaultKind::Type, error: error.clone() };
        let mut bench = Workbench::default();
        bench.of.rows = vec![untimed.clone(), timed, untimed];
        bench.faults.push(fault(None));
        assert_eq!(bench.first_faulty_untimed(&bench.faults), None);
        bench.faults.push(fault(Some(2)));
        assert_eq!(bench.first_faulty_untimed(&bench.faults), Some(1));
        bench.faults.clear();
        bench.faults.push(fault(Some(1)));
        assert_eq!(bench.first_faulty_untimed(&bench.faults), None, "the device told its time");
    }
}
