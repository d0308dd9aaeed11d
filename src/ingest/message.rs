//! One message's rows on their way from the decoder to the ring. Pure but for the buffers it keeps.

use crate::{
    decode::{Decoder, Resolved},
    entry::{self, LimitError},
    point::{Row, Timestamp},
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

    /// Encodes the rows as a record's body.
    pub fn encode(&mut self, table: &str) -> Result<(), LimitError> {
        self.body.clear();
        entry::encode_rows(table, &self.rows, &mut self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_the_future_is_exact() {
        let row = Row { time: Some(Timestamp(10_000)), ..Row::default() };
        let bench = Workbench { rows: vec![row], body: Vec::new() };
        assert_eq!(bench.too_far_ahead(Timestamp(0), 10_000), None);
        assert!(bench.too_far_ahead(Timestamp(0), 9_999).is_some());
    }
}
