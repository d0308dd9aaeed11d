//! What has been set aside comes in anew: dead letters decoded by the present configuration, and rows as they are.
//!
//! A row that is put back must not take the place of one that was recorded after it. Whoever puts rows back names their moments first
//! ([`Ingest::watch`]); every row that comes in from then on is looked up among them, under the same lock as its append, so nothing
//! slips in between the question whether something newer exists and the append that depends on the answer.

use std::collections::HashMap;

use super::{
    Ingest, Work,
    enter::{Door, Encoded, Message, Refusal, TableRows},
    write::LETTER_TOPIC,
};
use crate::{
    decode::{Faults, Payload},
    latest::Standing,
    marks::{Marks, Pos, Seq},
    point::{Received, Row, Text, Timestamp},
    ring::{AppendError, table_hash},
    sync::lock,
    tally::SourceId,
};

/// A message that was set aside.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// Its record's number.
    pub seq: Seq,
    /// When it was received.
    pub received: Timestamp,
    /// Its topic.
    pub topic: &'a str,
    /// Its payload.
    pub payload: &'a [u8],
    /// Whether its payload lacks its end.
    pub is_cut: bool,
    /// If it is about a part of a message: the time of receipt that the row which lacks the part was
    /// given.
    pub row_time: Option<Timestamp>,
}

/// The rows of a dead letter that decodes by now, by table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Again {
    /// Tables and their rows, each with its time; never none where it decodes.
    pub tables: Vec<(Text, Vec<Row>)>,
}

impl Again {
    /// Rows of one table.
    #[must_use]
    pub fn of(table: Text, rows: Vec<Row>) -> Self {
        Self { tables: vec![(table, rows)] }
    }

    /// The rows with their tables.
    pub fn rows(&self) -> impl Iterator<Item = (&Text, &Row)> {
        self.tables.iter().flat_map(|(table, rows)| rows.iter().map(move |row| (table, row)))
    }
}

/// What became of rows that were to be put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entered {
    /// They are in the ring, but for those a newer row is known of.
    Appended {
        /// The position behind them.
        end: Pos,
        /// How many have entered.
        rows: usize,
    },
    /// A newer row is known of each.
    Superseded,
    /// The ring has no room for them.
    Full,
    /// They cannot be a record.
    Unfit(String),
    /// The ring takes nothing any more.
    Failed(String),
}

impl Ingest {
    /// Decodes a message that was set aside, as its source is configured now. Readings without a time get one shortly before the message's
    /// receipt. The error says why it is still no reading.
    pub fn decode_again(&self, letter: &Letter<'_>, now: Received) -> Result<Again, String> {
        let Letter { topic, payload, is_cut, .. } = *letter;
        if is_cut {
            return Err("its payload was too long to be kept whole; the rest is gone".to_owned());
        }
        if payload.is_empty() {
            return Err("an empty payload clears a series; by now that would forget newer values".to_owned());
        }
        if topic == LETTER_TOPIC {
            return Err("it came by POST /write; send its lines there again, mended".to_owned());
        }
        let mut work = lock(&self.work);
        let Work { routes, bench, .. } = &mut *work;
        bench.clear();
        let route = routes.find(topic).map_err(|why| why.to_string())?;
        if routes.decoder(&route).needs_properties() {
            return Err(
                "its source makes symbols of user properties, which are not kept with a message that is set aside"
                    .into(),
            );
        }
        bench.decode(routes.decoder_mut(&route), &Payload::of(&route.resolved, payload))?;
        bench.judge_times(self.max_past, self.latest_time(now), now.wall);
        if !bench.of.faults.is_empty() {
            // What is good of it is stored already, or will be with the rest.
            return Err(bench.of.faults.reason());
        }
        if bench.of.rows.is_empty() {
            return Err("it holds no reading".to_owned());
        }
        if letter.received < self.max_past && bench.of.rows.iter().any(|row| row.time.is_none()) {
            return Err(
                "it came while the clock was not set ([latest] max_past), and has no time of its own".to_owned()
            );
        }
        bench.part(&route.resolved.table, route.table_hash, &mut Faults::default());
        let tables = std::mem::take(&mut bench.tables).into_iter();
        let tables: Vec<TableRows> = tables.collect();
        let untimed = tables.iter().flat_map(|of| &of.rows).filter(|row| row.time.is_none()).count();
        let tables = tables.into_iter().map(|of| self.timed_again(of, letter, untimed == 1, now)).collect();
        Ok(Again { tables })
    }

    /// Rows of a letter with the times that they had, or get now; `is_alone` where it has one row
    /// without a time.
    fn timed_again(&self, of: TableRows, letter: &Letter<'_>, is_alone: bool, now: Received) -> (Text, Vec<Row>) {
        let TableRows { table, mut rows, .. } = of;
        if let Some(row_time) = letter.row_time {
            self.time_as_before(&table, &mut rows, letter.received, row_time, is_alone);
        }
        time_by_receipt(&mut rows, letter.received, letter.seq);
        // What was good of a message came in with it.
        let is_here = |row: &Row| self.latest.holds(&table, row);
        if !rows.iter().all(is_here) {
            rows.retain(|row| !is_here(row));
        }
        self.latest.prepare_rows(&table, &mut rows, now);
        (table, rows)
    }

    /// Gives rows without a time the times that they were given when the rest of their message was
    /// stored, as far as these can be told. `row_time` is that of one of them.
    fn time_as_before(&self, table: &str, rows: &mut [Row], received: Timestamp, row_time: Timestamp, is_alone: bool) {
        let mut next: HashMap<Vec<(Text, Text)>, i64> = HashMap::new();
        for row in rows.iter_mut().filter(|row| row.time.is_none()) {
            // Readings of one series and message follow each other by a microsecond.
            let micros = next.entry(row.symbols.clone()).or_insert(received.to_micros());
            let in_turn = Timestamp(micros.saturating_mul(1_000));
            *micros += 1;
            let mut row_at = row.clone();
            let meets_itself = |time: &Timestamp| {
                row_at.time = Some(*time);
                self.latest.standing(table, &row_at) == Standing::Agrees
            };
            let time = [in_turn, row_time].into_iter().find(meets_itself).or(is_alone.then_some(row_time));
            (row.time, row.device_time) = (time, false);
        }
    }

    /// What is known of a row's moment, beside the row.
    pub fn standing(&self, table: &str, row: &Row) -> Standing {
        self.latest.standing(table, row)
    }

    /// Watches moments from now on. There is one watch at a time; a second one ends the first.
    pub fn watch(&self, moments: impl Iterator<Item = u64>) -> Watch<'_> {
        let watched = moments.map(|moment| (moment, false)).collect();
        let mut state = self.gate.lock();
        state.watched = Some(watched);
        Watch { ingest: self, marks: self.ring.marks() }
    }
}

/// Spacing of the times that readings of one series in one message get, and how far before the receipt the last of them lies at most.
const RECEIPT_SLOTS_US: i64 = 1_000;

/// Gives rows without a time one shortly before their receipt: within a millisecond, and each row of a series a millisecond before the
/// next.
///
/// The microseconds from the receipt on belong to readings that came with the message and were accepted. Which one before it is taken
/// depends on the record's number, so that messages that came together keep their order and do not meet, and one that is put back
/// twice meets itself.
fn time_by_receipt(rows: &mut [Row], received: Timestamp, seq: Seq) {
    let slot = (seq.0 % RECEIPT_SLOTS_US as u64) as i64;
    let mut next: HashMap<Vec<(Text, Text)>, i64> = HashMap::new();
    for row in rows.iter_mut().rev().filter(|row| row.time.is_none()) {
        let micros = next.entry(row.symbols.clone()).or_insert(received.to_micros() - RECEIPT_SLOTS_US + slot);
        row.time = Some(Timestamp(micros.saturating_mul(1_000)));
        row.device_time = false;
        *micros -= RECEIPT_SLOTS_US;
    }
}

/// Moments being watched; the watch ends when this is dropped.
pub struct Watch<'a> {
    ingest: &'a Ingest,
    marks: Marks,
}

impl Watch<'_> {
    /// The ring's watermarks when the watch began: whatever is appended later is noticed.
    pub fn marks(&self) -> Marks {
        self.marks
    }

    /// Takes note that a newer row of the moment is known.
    pub fn note(&self, moment: u64) {
        self.ingest.gate.lock().note(moment);
    }

    /// Whether a newer row of the moment is known; of a moment that is not watched, it may be.
    pub fn is_superseded(&self, moment: u64) -> bool {
        self.ingest.gate.lock().is_superseded(moment)
    }

    /// Puts rows of one table into the ring together, but for those a newer row is known of.
    pub fn enter(&self, table: &str, rows: &[Row], received: Received) -> Entered {
        let mut of = TableRows { table: table.into(), table_hash: table_hash(table), rows: rows.to_vec() };
        let encoded = &mut Encoded::default();
        let tables = std::slice::from_mut(&mut of);
        let mut message =
            Message::of(Door::Again, SourceId::NONE, tables, self.ingest.allowance.owner(table), received, encoded);
        match self.ingest.enter(&mut message) {
            Ok(entered) => Entered::Appended { end: entered.appended.end, rows: of.rows.len() },
            Err(Refusal::Superseded) => Entered::Superseded,
            Err(Refusal::Limited(why)) => Entered::Unfit(why),
            Err(Refusal::Unfit(error)) => Entered::Unfit(error.to_string()),
            Err(Refusal::Ring { error: AppendError::Full, .. }) => Entered::Full,
            Err(Refusal::Ring { error: error @ AppendError::TooLarge { .. }, .. }) => Entered::Unfit(error.to_string()),
            Err(Refusal::Ring { error: error @ (AppendError::Poisoned(_) | AppendError::Halted(_)), .. }) => {
                Entered::Failed(error.to_string())
            }
            Err(refusal @ (Refusal::Closed | Refusal::TooLarge { .. })) => Entered::Failed(format!("{refusal:?}")),
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.ingest.gate.lock().watched = None;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        clock::{ClockTrust, SharedClock, SystemClock},
        ingest::{Incoming, Intake, Offer},
        latest::Latest,
        moment::of_row,
        observe::heartbeat::Heartbeats,
        point::Value,
        ring::{RecoveryReport, Ring, media::MemoryMedia},
        settings::{Latest as LatestSettings, Settings, Source},
    };

    /// A way in to a ring of 1 MiB in memory, without a committer, with one source into table `t`.
    pub(in crate::ingest) fn ingest() -> Ingest {
        // The tests' times are short.
        ingest_since(Timestamp(0))
    }

    /// The same with that `[latest] max_past`.
    pub(in crate::ingest) fn ingest_since(max_past: Timestamp) -> Ingest {
        let media = MemoryMedia::with(vec![0; 1 << 20]);
        crate::ring::format(&media, 1).unwrap();
        let clock: SharedClock = Arc::new(SystemClock);
        let heartbeat = Heartbeats::new(Arc::clone(&clock)).register("committer");
        let (window, report) = (Duration::from_mins(1), RecoveryReport::default());
        let mut settings = Settings::default();
        settings.latest.max_past = max_past;
        let opened = Ring::from_media(
            Box::new(media),
            &settings.ring,
            window,
            clock,
            heartbeat,
            report,
            &mut |_| {},
            &mut |_| {},
        );
        let source: Source =
            toml::from_str("topic = \"t/{d}\"\ntable = \"t\"\ntimestamp = { field = \"ts\", unit = \"us\" }").unwrap();
        settings.source.insert("t".into(), source);
        let latest = Arc::new(Latest::new(&LatestSettings::default()));
        Ingest::new(&settings, opened.unwrap().ring, latest, ClockTrust::always()).unwrap()
    }

    fn row(micros: i64) -> Row {
        Row {
            time: Some(Timestamp(micros * 1_000)),
            device_time: true,
            symbols: vec![("d".into(), "a".into())],
            fields: vec![("x".into(), crate::point::Value::Long(micros))],
            ..Row::default()
        }
    }

    #[test]
    fn a_row_that_comes_in_while_an_older_one_is_put_back_stops_it() {
        let ingest = ingest();
        let offer = |payload: &str| {
            let message = Incoming {
                topic: "t/a",
                payload: payload.as_bytes(),
                received: Received::default(),
                ..Incoming::default()
            };
            assert!(matches!(ingest.offer(message), Offer::Accepted(_)));
        };
        let rows = [row(1), row(2), row(3)];
        offer(r#"{"ts":1,"x":5}"#);
        let watch = ingest.watch(rows.iter().map(|row| of_row("t", row)));
        assert!(matches!(watch.enter("t", &rows[..1], Received::default()), Entered::Appended { rows: 1, .. }));
        offer(r#"{"ts":2,"x":5}"#);
        watch.note(of_row("t", &rows[2]));
        assert_eq!(watch.enter("t", &rows[1..], Received::default()), Entered::Superseded);
        assert!(matches!(watch.enter("t", &rows, Received::default()), Entered::Appended { rows: 1, .. }));
        assert_eq!(watch.enter("t", &[row(4)], Received::default()), Entered::Superseded, "it is not watched");
        drop(watch);
        assert_eq!(ingest.ring.ledger().rows, 4);
    }

    #[test]
    fn a_part_that_is_decoded_later_gets_the_time_of_the_rest() {
        let ingest = ingest();
        let received = Timestamp(5_000_000);
        let stored = |micros: i64, x: i64| {
            let mut row = Row {
                time: Some(Timestamp(micros * 1_000)),
                fields: vec![("x".into(), Value::Double(x as f64))],
                ..row(0)
            };
            row.symbols = vec![("d".into(), "a".into())];
            ingest.latest.update("t", &row, Seq(1), Received { wall: received, since_boot_ns: 0 });
        };
        let letter = |payload| Letter {
            seq: Seq(1),
            received,
            topic: "t/a",
            payload,
            is_cut: false,
            row_time: Some(Timestamp(5_003_000)),
        };
        let times = |payload| {
            let again = ingest.decode_again(&letter(payload), Received::default()).unwrap();
            again.rows().map(|(_, row)| row.time.map_or(0, |time| time.0)).collect::<Vec<_>>()
        };
        assert_eq!(times(br#"{"x":1,"y":2}"#), [5_003_000], "of one row the time is known");
        assert_eq!(
            times(br#"[{"x":1,"y":2},{"x":2,"y":2}]"#),
            [3_001_000, 4_001_000],
            "of several, where the map knows them"
        );
        stored(5_000, 1);
        stored(5_001, 2);
        assert_eq!(times(br#"[{"x":1,"y":2},{"x":2,"y":2}]"#), [5_000_000, 5_001_000]);
        stored(5_003, 3);
        assert_eq!(times(br#"[{"x":3,"y":2},{"x":2,"y":2}]"#), [5_003_000, 5_001_000]);
    }

    #[test]
    fn letters_whose_payload_is_not_whole_or_means_nothing_stay() {
        let ingest = ingest();
        let letter =
            Letter { seq: Seq(1), received: Timestamp(0), topic: "t/a", payload: b"", is_cut: false, row_time: None };
        let again = |letter: &Letter<'_>| ingest.decode_again(letter, Received::default());
        assert!(again(&letter).unwrap_err().contains("empty payload"));
        assert!(again(&Letter { payload: b"[]", ..letter }).is_err());
        assert!(again(&Letter { topic: "u/a", payload: b"{\"x\":1}", ..letter }).unwrap_err().contains("no [source]"));
        let cut = Letter { payload: b"{\"x\":1}", is_cut: true, ..letter };
        assert!(again(&cut).unwrap_err().contains("too long to be kept whole"));
        let good = again(&Letter { payload: b"{\"x\":1,\"ts\":7}", ..letter }).unwrap();
        let (table, row) = good.rows().next().expect("a row");
        assert_eq!((table.as_str(), row.time), ("t", Some(Timestamp(7_000))));
        let ahead = Received { wall: Timestamp(1_800_000_000_000_000_000), since_boot_ns: 0 };
        let ingest = ingest_since(crate::settings::Latest::default().max_past);
        let again = |letter: &Letter<'_>| ingest.decode_again(letter, Received::default());
        let future = Letter { payload: br#"{"x":1,"ts":9000000000000000}"#, ..letter };
        assert!(again(&future).is_ok(), "a clock that is not set judges nothing");
        let untimed = Letter { payload: br#"{"x":1}"#, ..letter };
        assert!(again(&untimed).unwrap_err().contains("the clock was not set"));
        assert!(ingest.decode_again(&future, ahead).unwrap_err().contains("max_future"));
    }

    #[test]
    fn readings_without_a_time_get_one_of_their_own_shortly_before_their_receipt() {
        let row = |device: &str| Row { symbols: vec![("device".into(), device.into())], ..Row::default() };
        let timed = Row { time: Some(Timestamp(7)), device_time: true, ..row("a") };
        let times = |seq: u64| {
            let mut rows = [row("a"), row("b"), timed.clone(), row("a")];
            time_by_receipt(&mut rows, Timestamp(5_000_999), Seq(seq));
            assert_eq!(rows.each_ref().map(|row| row.device_time), [false, false, true, false]);
            rows.each_ref().map(|row| row.time.unwrap().0)
        };
        assert_eq!(times(3), [3_003_000, 4_003_000, 7, 4_003_000]);
        assert_eq!(times(4)[1], 4_004_000, "the next message's come after it");
        assert_eq!(times(999)[1], 4_999_000, "and before their receipt");
    }
}
