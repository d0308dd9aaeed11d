//! One message's rows on their way from the decoder to the ring. Pure but for the buffers it keeps.

use std::collections::HashMap;

use crate::{
    decode::{Decoder, Resolved},
    entry::{self, LimitError},
    point::{Row, Text, Timestamp, Value},
};

/// Buffers beyond this many bytes are given back after a message.
const KEPT_BYTES: usize = 64 * 1024;
/// Rows beyond this many are given back after a message.
const KEPT_ROWS: usize = 256;

/// The rows of the message in hand, and their encoding.
#[derive(Debug, Default)]
pub struct Workbench {
    /// The rows.
    pub rows: Vec<Row>,
    /// The record's body.
    pub body: Vec<u8>,
}

impl Workbench {
    /// Makes ready for the next message.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.body.clear();
        self.rows.shrink_to(KEPT_ROWS);
        self.body.shrink_to(KEPT_BYTES);
    }

    /// Decodes a payload into rows with all their symbols.
    pub fn decode(&mut self, decoder: &Decoder, resolved: &Resolved, payload: &[u8]) -> Result<(), String> {
        decoder.decode(payload, &mut self.rows).map_err(|error| error.to_string())?;
        decoder.finish(&mut self.rows, resolved).map_err(|error| error.to_string())
    }

    /// Why a device's timestamp lies further ahead of `now` than allowed, if one does.
    pub fn too_far_ahead(&self, now: Timestamp, max_future_ns: i64) -> Option<String> {
        let limit = now.0.saturating_add(max_future_ns);
        let (at, time) = self.rows.iter().enumerate().find_map(|(at, row)| {
            let time = row.time.filter(|time| time.0 > limit)?;
            Some((at, time))
        })?;
        Some(format!(
            "reading {at}: its timestamp {time} is further ahead of the clock ({now}) than [latest] max_future"
        ))
    }

    /// Makes each row that shares series and microsecond with earlier ones of this message the union of them, because
    /// QuestDB's dedup keeps the last row whole.
    pub fn unite(&mut self) {
        if self.rows.len() < 2 {
            return;
        }
        let mut seen: HashMap<(Vec<(Text, Text)>, i64), usize> = HashMap::with_capacity(self.rows.len());
        for at in 0..self.rows.len() {
            let (before, rest) = self.rows.split_at_mut(at);
            let row = &mut rest[0];
            let key = (row.symbols.clone(), row.time.unwrap_or_default().to_micros());
            if let Some(earlier) = seen.insert(key, at) {
                let missing: Vec<(Text, Value)> = before[earlier]
                    .fields
                    .iter()
                    .filter(|(name, _)| row.fields.iter().all(|(have, _)| have != name))
                    .cloned()
                    .collect();
                row.fields.extend(missing);
            }
        }
    }

    /// Encodes the rows as a record's body.
    pub fn encode(&mut self, table: &str) -> Result<(), LimitError> {
        self.body.clear();
        entry::encode_rows(table, &self.rows, &mut self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(device: &str, micros: i64, fields: &[(&str, f64)]) -> Row {
        Row {
            time: Some(Timestamp(micros * 1_000)),
            device_time: true,
            symbols: vec![("device".into(), device.into())],
            fields: fields.iter().map(|(name, value)| ((*name).into(), Value::Double(*value))).collect(),
        }
    }

    #[test]
    fn rows_of_one_series_and_time_become_their_union_the_later_value_winning() {
        let rows = vec![
            row("a", 1, &[("t", 1.0), ("h", 2.0)]),
            row("b", 1, &[("t", 9.0)]),
            row("a", 1, &[("t", 3.0)]),
            row("a", 2, &[("t", 4.0)]),
            row("a", 1, &[("p", 5.0)]),
        ];
        let mut bench = Workbench { rows, body: Vec::new() };
        bench.unite();
        assert_eq!(bench.rows[2], row("a", 1, &[("t", 3.0), ("h", 2.0)]));
        assert_eq!(bench.rows[3], row("a", 2, &[("t", 4.0)]));
        assert_eq!(bench.rows[4], row("a", 1, &[("p", 5.0), ("t", 3.0), ("h", 2.0)]));
    }

    #[test]
    fn the_limit_of_the_future_is_exact() {
        let bench = Workbench { rows: vec![row("a", 10, &[("t", 1.0)])], body: Vec::new() };
        assert_eq!(bench.too_far_ahead(Timestamp(0), 10_000), None);
        assert!(bench.too_far_ahead(Timestamp(0), 9_999).is_some());
    }
}
