//! One message's rows on their way from the decoder to the ring. Pure but for the buffers it keeps.

use std::time::Duration;

use super::enter::{Encoded, TableRows};
use crate::{
    decode::{Decoder, Resolved},
    point::Timestamp,
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
        self.encoded.clear(KEPT_BYTES);
        self.body.clear();
        self.body.shrink_to(KEPT_BYTES);
    }

    /// Decodes a payload into rows with all their symbols.
    pub fn decode(&mut self, decoder: &Decoder, resolved: &Resolved, payload: &[u8]) -> Result<(), String> {
        decoder.decode(payload, &mut self.of.rows).map_err(|error| error.to_string())?;
        decoder.finish(&mut self.of.rows, resolved).map_err(|error| error.to_string())
    }

    /// Why a device's timestamp lies further ahead of `now` than allowed, if one does.
    pub fn too_far_ahead(&self, now: Timestamp, max_future: Duration) -> Option<String> {
        let limit = now + max_future;
        let (at, time) = self.of.rows.iter().enumerate().find_map(|(at, row)| {
            let time = row.time.filter(|time| *time > limit)?;
            Some((at, time))
        })?;
        Some(format!(
            "reading {at}: its timestamp {time} is further ahead of the clock ({now}) than [latest] max_future"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::Row;

    #[test]
    fn the_limit_of_the_future_is_exact() {
        let row = Row { time: Some(Timestamp(10_000)), ..Row::default() };
        let mut bench = Workbench::default();
        bench.of.rows.push(row);
        assert_eq!(bench.too_far_ahead(Timestamp(0), Duration::from_nanos(10_000)), None);
        assert!(bench.too_far_ahead(Timestamp(0), Duration::from_nanos(9_999)).is_some());
    }
}
