//! Rows that were held back come in with their times (docs/ring-format.md, section "Rows held
//! back").

use super::{
    Ingest,
    enter::{Door, Encoded, Message, Refusal, TableRows},
};
use crate::{
    entry::{RowNotes, Rows},
    marks::Pos,
    point::{Received, Row, Timestamp},
    ring::{AppendError, Record},
};

/// When the rows of a held record came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Came {
    /// The time of the record's receipt.
    pub at: Timestamp,
    /// Whether that is a bound, and not known.
    pub is_bound: bool,
}

/// What became of the rows of a held record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// They are in the ring with their times; the position behind them.
    At(Pos),
    /// The ring has no room for them now.
    Full,
    /// The ring takes nothing any more, or they do not read.
    Failed(String),
}

impl Ingest {
    /// Puts the rows of a held record into the ring with their times, once.
    pub fn release(&self, record: &Record<'_>, came: Came, now: Received) -> Released {
        let mut of = match read(record, came) {
            Ok(of) => of,
            Err(error) => return Released::Failed(error),
        };
        let owner = self.allowance.owner(&of.table);
        let encoded = &mut Encoded::default();
        let tables = std::slice::from_mut(&mut of);
        let mut message = Message::of(Door::Release(record.seq), record.source, tables, owner, now, encoded);
        match self.enter(&mut message) {
            Ok(entered) => Released::At(entered.appended.end),
            Err(Refusal::Ring { error: AppendError::Full | AppendError::Halted(_), .. }) => Released::Full,
            Err(refusal) => Released::Failed(format!("{refusal:?}")),
        }
    }
}

fn read(record: &Record<'_>, came: Came) -> Result<TableRows, String> {
    let rows = Rows::decode(record.body).map_err(|error| error.to_string())?;
    let table = rows.table;
    let timed = rows.map(|row| row.map(|row| timed(row.to_row(), record.received.wall, came)));
    let rows = timed.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    Ok(TableRows { table: table.into(), table_hash: record.table_hash, rows })
}

/// A row with its time: as far behind its receipt as its provisional time was, which keeps readings
/// of one message apart. What its record had to say of it has been counted.
fn timed(row: Row, wall: Timestamp, came: Came) -> Row {
    let ahead_us = row.time.map_or(0, |time| time.to_micros() - wall.to_micros());
    let micros = came.at.to_micros().saturating_add(ahead_us.max(0));
    let notes = RowNotes { untimed: came.is_bound, ..RowNotes::default() };
    Row { time: Some(Timestamp(micros.saturating_mul(1_000))), device_time: false, notes, ..row }
}

#[cfg(test)]
mod tests {
    use super::{super::again::tests::ingest_since, *};
    use crate::{
        ingest::{Incoming, Intake, Offer},
        latest::Filter,
        marks::Seq,
        point::{Text, Value},
        ring::Kind,
    };

    const BOOT: Received = Received { wall: Timestamp(7_000_000_000), since_boot_ns: 7_000_000_000 };
    const NOW: Received = Received { wall: Timestamp(1_800_000_100_000_000_000), since_boot_ns: 100_000_000_000 };

    fn ingest() -> Ingest {
        ingest_since(crate::settings::Latest::default().max_past)
    }

    fn offer(ingest: &Ingest, payload: &str, received: Received) {
        let message = Incoming { topic: "t/a", payload: payload.as_bytes(), received, ..Incoming::default() };
        assert!(matches!(ingest.offer(message), Offer::Accepted(_)));
    }

    fn kinds(ingest: &Ingest) -> Vec<(Kind, u16)> {
        ingest.ring.stop_committing();
        let mut reader = ingest.ring.reader(ingest.ring.marks().tail);
        let mut kinds = Vec::new();
        while let Some(record) = reader.next().unwrap() {
            kinds.push((record.kind, record.rows));
        }
        kinds
    }

    fn newest(ingest: &Ingest) -> (Timestamp, Value) {
        let filter = Filter::new(Some("t"), Vec::<(Text, Text)>::new()).unwrap();
        let series = ingest.latest.list(&filter, 10).series.remove(0);
        let field = series.newest().unwrap().clone();
        (field.time, field.value)
    }

    #[test]
    fn while_the_clock_is_not_set_only_rows_timed_by_it_are_held() {
        let ingest = ingest();
        // A clock that is not set does not take it for the future.
        offer(&ingest, r#"[{"x":1},{"x":2,"ts":1700000000000000},{"x":3}]"#, BOOT);
        offer(&ingest, r#"{"x":4}"#, NOW);
        assert_eq!((ingest.ring.ledger().rows, ingest.ring.held_rows()), (4, 2));
        assert_eq!(kinds(&ingest), [(Kind::Rows, 1), (Kind::Held, 2), (Kind::Rows, 1)]);
    }

    #[test]
    fn released_rows_have_their_times_and_are_counted_once() {
        let ingest = ingest();
        offer(&ingest, r#"[{"x":1},{"x":2}]"#, BOOT);
        ingest.ring.stop_committing();
        let mut reader = ingest.ring.reader(ingest.ring.marks().tail);
        let record = reader.next().unwrap().unwrap();
        let at = Timestamp(1_800_000_007_000_000_000);
        assert!(ingest.trusts_clock(NOW));
        let Released::At(end) = ingest.release(&record, Came { at, is_bound: true }, NOW) else {
            panic!("it is not full")
        };
        assert_eq!(newest(&ingest), (Timestamp(at.0 + 1_000), Value::Double(2.0)));
        assert!(end > ingest.ring.marks().durable.pos);
        let ledger = ingest.ring.ledger();
        assert_eq!((ledger.rows, ledger.messages), (2, 1));
        assert!(ingest.ring.held().is_some(), "until that is durable");
        ingest.ring.released(Seq(1), 2, record.end);
        assert_eq!((ingest.ring.held(), ingest.ring.held_rows()), (None, 0));
    }
}
