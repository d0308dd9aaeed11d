//! `same_time = "keep"`: rows of one series and time stay apart, because the time of each moves by
//! an amount that its content gives. So a message that is delivered again meets itself, also where
//! nobody remembers the first one. Pure.

use crate::{
    point::{Row, Text, Timestamp, Value},
    settings::TimeWord,
};

/// A time moves by less than this: devices that tell finer times are not told to be wrong.
const SPREAD_US: u32 = 1_000;
const NANOS_PER_MILLISECOND: i64 = 1_000_000;

/// Has the row stay a row of its own. A time that its device told in milliseconds or coarser moves
/// within its millisecond. One that is told finer stays, and moves on only where another row has
/// it, which the map of latest values sees to.
pub(super) fn keep(row: &mut Row, unit: TimeWord) {
    let Some(Timestamp(nanos)) = row.time else { return };
    row.apart = true;
    let is_finer = matches!(unit, TimeWord::Us | TimeWord::Ns) || nanos.rem_euclid(NANOS_PER_MILLISECOND) != 0;
    if !is_finer {
        let shift_us = content(row) % SPREAD_US;
        row.time = Some(Timestamp(nanos.saturating_add(i64::from(shift_us) * 1_000)));
    }
}

/// A number of what the row says, the same in every version of forebay.
fn content(row: &Row) -> u32 {
    let text = |sum: u32, text: &Text| crc32c::crc32c_append(crc32c::crc32c_append(sum, text.as_bytes()), b"\0");
    let sum = row.symbols.iter().fold(0, |sum, (name, value)| text(text(sum, name), value));
    row.fields.iter().fold(sum, |sum, (name, value)| {
        let sum = text(sum, name);
        match value {
            Value::Bool(value) | Value::Flag(value) => crc32c::crc32c_append(sum, &[u8::from(*value)]),
            Value::Long(value) | Value::Whole(value) => crc32c::crc32c_append(sum, &value.to_le_bytes()),
            Value::Double(value) => crc32c::crc32c_append(sum, &value.to_bits().to_le_bytes()),
            Value::Text(value) => text(sum, value),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SECOND: i64 = 1_700_000_000_000_000_000;

    fn kept(time: i64, unit: TimeWord, value: i64) -> i64 {
        let fields = vec![("v".into(), Value::Long(value))];
        let mut row = Row { time: Some(Timestamp(time)), device_time: true, fields, ..Row::default() };
        keep(&mut row, unit);
        assert!(row.apart);
        row.time.expect("a time").0
    }

    #[test]
    fn times_move_within_their_millisecond_by_what_the_row_says() {
        let times: BTreeSet<i64> = (0..20).map(|value| kept(SECOND, TimeWord::Auto, value)).collect();
        assert!(times.len() > 15, "{times:?}");
        assert!(times.iter().all(|time| (SECOND..SECOND + NANOS_PER_MILLISECOND).contains(time)));
        assert_eq!(kept(SECOND, TimeWord::S, 7), kept(SECOND, TimeWord::S, 7), "it meets itself");
        assert_eq!(kept(SECOND, TimeWord::S, 7) - SECOND, 964_000, "in every version");
    }

    #[test]
    fn finer_times_stay_and_so_do_rows_without_one() {
        assert_eq!(kept(SECOND + 1_000, TimeWord::Auto, 7), SECOND + 1_000);
        assert_eq!(kept(SECOND, TimeWord::Us, 7), SECOND);
        assert_eq!(kept(SECOND, TimeWord::Ns, 7), SECOND);
        let mut row = Row::default();
        keep(&mut row, TimeWord::Auto);
        assert_eq!(row, Row::default(), "the times of receipt of a series never meet");
        let mut last = Row { time: Some(Timestamp(i64::MAX)), ..Row::default() };
        keep(&mut last, TimeWord::Auto);
        assert_eq!(last.time, Some(Timestamp(i64::MAX)));
    }
}
