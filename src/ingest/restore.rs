//! At the start, what the ring holds is taken back into memory: the latest values, and the columns
//! that the limits count.
//!
//! One thread reads the file and sorts the rows by series; others take them in, each those of its
//! own series, so that the rows of a series keep their order. That is most of a start's work where
//! the ring is full.

use std::{
    hash::BuildHasher,
    num::NonZero,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, Scope},
};

use crate::{
    entry::{Clear, RawRows},
    latest::{Latest, Restorer},
    limits::Allowance,
    marks::Seq,
    names,
    point::Received,
    ring::{Kind, Record},
};

/// Most threads that take rows in, however many processors there are.
const MAX_THREADS: usize = 4;
/// A batch goes to its thread when it has so many bytes.
const BATCH_BYTES: usize = 128 << 10;
/// Batches that may wait for a thread; whoever reads the file waits then.
const MAX_WAITING: usize = 4;

/// Where rows are taken in.
#[derive(Clone, Copy)]
pub struct Memory<'a> {
    /// The latest values.
    pub latest: &'a Latest,
    /// The columns that the limits count.
    pub allowance: &'a Allowance,
}

/// Shows `read` what takes in the records of the ring, in their order; when it has ended, all of
/// them are in memory. Readers of the latest values see them after [`Latest::restored`].
pub fn restore<T>(memory: Memory<'_>, read: impl FnOnce(&mut dyn FnMut(&Record<'_>)) -> T) -> T {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    restore_with(memory, processors.min(MAX_THREADS), |take| {
        read(&mut |record| {
            let Record { kind, rows, seq, received, body, .. } = *record;
            take(Taken { kind, rows, seq, received }, body);
        })
    })
}

/// What is taken in of a record, beside its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Taken {
    kind: Kind,
    rows: u16,
    seq: Seq,
    received: Received,
}

/// The same with so many threads beside the one that reads; that one takes the rows in itself where
/// they would only take turns with it, and where none can be started.
fn restore_with<T>(memory: Memory<'_>, threads: usize, read: impl FnOnce(&mut dyn FnMut(Taken, &[u8])) -> T) -> T {
    let mut last = Seq::default();
    let result = thread::scope(|scope| {
        let workers = (0..threads).filter(|_| threads > 1).map_while(|number| Worker::start(scope, memory, number));
        let mut sorter = Sorter { workers: workers.collect(), hasher: foldhash::fast::FixedState::default() };
        let mut restorer = Restorer::new(memory.latest);
        let result = read(&mut |taken, body| {
            last = taken.seq;
            if sorter.workers.is_empty() {
                memory.take(&mut restorer, taken, body);
            } else {
                sorter.take(taken, body);
            }
        });
        sorter.workers.into_iter().for_each(|mut worker| worker.send());
        result
    });
    memory.latest.saw(last);
    result
}

impl Memory<'_> {
    fn take_all(self, batches: &Receiver<Batch>) {
        let mut restorer = Restorer::new(self.latest);
        for batch in batches {
            let mut start = 0;
            for (taken, end) in batch.parts {
                self.take(&mut restorer, taken, &batch.bytes[start..end]);
                start = end;
            }
        }
    }

    /// Takes in a record, or those of its rows that are in `body`, as it was when it came in.
    fn take(self, restorer: &mut Restorer<'_>, taken: Taken, body: &[u8]) {
        let Taken { kind, seq, received, .. } = taken;
        match kind {
            Kind::Rows | Kind::Held => {
                restorer.take(body, seq, received, |table, row| self.allowance.restore(table, row));
            }
            Kind::Clear => {
                if let Ok(clear) = Clear::decode(body) {
                    self.latest.clear(clear.table, &clear.symbols, seq, received);
                }
            }
            Kind::DeadLetter | Kind::Pad | Kind::Commit | Kind::State => {}
        }
    }
}

/// Parts of records for one thread, one behind the other, each with where it ends in `bytes`. A
/// part is a body that has only rows of the thread's series.
#[derive(Default)]
struct Batch {
    parts: Vec<(Taken, usize)>,
    bytes: Vec<u8>,
}

/// The way to one thread.
struct Worker {
    batch: Batch,
    sender: SyncSender<Batch>,
}

impl Worker {
    /// Starts a thread; none where the system has no room for one.
    fn start<'scope>(scope: &'scope Scope<'scope, '_>, memory: Memory<'scope>, number: usize) -> Option<Self> {
        let (sender, batches) = sync_channel(MAX_WAITING);
        let thread = thread::Builder::new().name(format!("restore-{number}"));
        let started = thread.spawn_scoped(scope, move || memory.take_all(&batches));
        started.is_ok().then(|| Self { batch: Batch::default(), sender })
    }

    /// Puts a part into the batch.
    fn begin(&mut self, taken: Taken, bytes: &[u8]) {
        if self.batch.bytes.len() >= BATCH_BYTES {
            self.send();
        }
        let Batch { parts, bytes: all } = &mut self.batch;
        if all.is_empty() {
            all.reserve(BATCH_BYTES + BATCH_BYTES / 8);
        }
        all.extend_from_slice(bytes);
        parts.push((taken, all.len()));
    }

    /// Puts a row behind the record's rows that are in the batch, or behind the head of a body.
    #[inline]
    fn row(&mut self, taken: Taken, head: &[u8], row: &[u8]) {
        let is_full = self.batch.bytes.len() >= BATCH_BYTES;
        if is_full || self.batch.parts.last().is_none_or(|(last, _)| last.seq != taken.seq) {
            self.begin(taken, head);
        }
        let Batch { parts, bytes } = &mut self.batch;
        bytes.extend_from_slice(row);
        if let Some((_, end)) = parts.last_mut() {
            *end = bytes.len();
        }
    }

    fn send(&mut self) {
        // The thread ends only after this end of the channel, unless it panics; then the scope does
        // too.
        let _ = self.sender.send(std::mem::take(&mut self.batch));
    }
}

/// Sorts records' rows by series.
struct Sorter {
    workers: Vec<Worker>,
    hasher: foldhash::fast::FixedState,
}

impl Sorter {
    fn take(&mut self, taken: Taken, body: &[u8]) {
        match taken.kind {
            Kind::Rows | Kind::Held => self.rows(taken, body),
            Kind::Clear => {
                let Ok(clear) = Clear::decode(body) else { return };
                let values = clear.symbols.iter().map(|(_, value)| value.as_bytes());
                let worker = self.worker_of(self.number(clear.table), values);
                self.workers[worker].begin(taken, body);
            }
            Kind::DeadLetter | Kind::Pad | Kind::Commit | Kind::State => {}
        }
    }

    fn rows(&mut self, taken: Taken, body: &[u8]) {
        let Ok(mut rows) = RawRows::decode(body) else { return };
        let Ok(table) = std::str::from_utf8(rows.table) else { return };
        let (head, number) = (&body[..rows.at()], self.number(table));
        loop {
            let start = rows.at();
            let Ok(Some(row)) = rows.row() else { return };
            let worker = self.worker_of(number, row.symbols().map(|(_, value)| value));
            if taken.rows == 1 {
                // It is the whole body.
                return self.workers[worker].begin(taken, body);
            }
            if rows.pass_fields(&row).is_err() {
                return;
            }
            self.workers[worker].row(taken, head, &body[start..rows.at()]);
        }
    }

    /// A table's number, the same for all spellings of its name.
    fn number(&self, table: &str) -> u64 {
        names::with_folded(table, |folded| self.hasher.hash_one(folded))
    }

    /// The worker of a series. Symbols count by their values, whose spelling is theirs alone, and
    /// in any order, as older records have them in another.
    #[inline]
    fn worker_of<'a>(&self, table: u64, values: impl Iterator<Item = &'a [u8]>) -> usize {
        let sum = values.fold(table, |sum, value| sum.wrapping_add(self.hasher.hash_one(value)));
        (sum >> 32) as usize % self.workers.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        entry::{Rows, encode_clear, encode_rows},
        latest::Filter,
        point::{Row, RowNotes, Timestamp, Value},
        settings,
    };

    /// A record as it stands in the ring.
    #[derive(Debug, Clone)]
    struct Held {
        kind: Kind,
        table: &'static str,
        rows: Vec<Row>,
    }

    fn row() -> impl Strategy<Value = Row> {
        let symbol = |names: [&'static str; 2]| {
            let value = prop::sample::select(vec!["1", "2", "3"]);
            prop::option::weighted(0.8, (prop::sample::select(names.to_vec()), value))
        };
        // Names in upper case stand first in older records.
        let symbols = (symbol(["a", "A"]), symbol(["b", "B"])).prop_map(|(a, b)| {
            let mut symbols: Vec<_> = a.into_iter().chain(b).collect();
            symbols.sort_unstable();
            symbols
        });
        let fields = prop::collection::btree_map(prop::sample::select(vec!["x", "y", "z"]), 0..9i64, 1..4);
        // Long ones, so that there is more than one batch.
        let note = prop::sample::select(vec![0, 0, 40_000usize]);
        let notes = prop::sample::select(vec![0, 0, 0, 1, 2, 4]).prop_map(RowNotes::from_bits);
        let moment = (0..6i64, any::<bool>(), notes);
        (symbols, fields, note, moment).prop_map(|(symbols, fields, note, (time, device_time, notes))| {
            let mut row = Row { time: Some(Timestamp(time * 1_000)), device_time, notes, ..Row::default() };
            row.symbols = symbols.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
            row.fields = fields.into_iter().map(|(name, value)| (name.into(), Value::Long(value))).collect();
            if note > 0 {
                row.fields.push(("note".into(), Value::Text("n".repeat(note).into())));
            }
            row
        })
    }

    fn held() -> impl Strategy<Value = Held> {
        let kind = prop::sample::select(vec![Kind::Rows, Kind::Rows, Kind::Rows, Kind::Held, Kind::Clear]);
        let table = prop::sample::select(vec!["t", "T", "u"]);
        let rows = prop::collection::vec(row(), 1..5);
        (kind, table, rows).prop_map(|(kind, table, rows)| Held { kind, table, rows })
    }

    fn body(held: &Held) -> Vec<u8> {
        let mut body = Vec::new();
        if held.kind == Kind::Clear {
            encode_clear(held.table, &held.rows[0].symbols, &mut body).unwrap();
        } else {
            encode_rows(held.table, &held.rows, &mut body).unwrap();
        }
        body
    }

    fn received(at: usize) -> (Seq, Received) {
        (Seq(at as u64 + 1), Received { wall: Timestamp(at as i64), since_boot_ns: at as u64 })
    }

    fn restored(records: &[Held], threads: usize) -> Latest {
        let latest = Latest::new(&settings::Latest::default());
        let memory = Memory { latest: &latest, allowance: &Allowance::default() };
        restore_with(memory, threads, |take| {
            for (at, held) in records.iter().enumerate() {
                let (seq, received) = received(at);
                let rows = if held.kind == Kind::Clear { 0 } else { held.rows.len() as u16 };
                take(Taken { kind: held.kind, rows, seq, received }, &body(held));
            }
        });
        latest.restored();
        latest
    }

    /// One row after the other, each read as a whole.
    fn restored_plainly(records: &[Held]) -> (Latest, u64, u64) {
        let latest = Latest::new(&settings::Latest::default());
        let (mut updates, mut late) = (0, 0);
        for (at, held) in records.iter().enumerate() {
            let ((seq, received), body) = (received(at), body(held));
            if held.kind == Kind::Clear {
                let clear = Clear::decode(&body).unwrap();
                latest.clear(clear.table, &clear.symbols, seq, received);
                continue;
            }
            for row in Rows::decode(&body).unwrap() {
                let counter = if latest.restore(held.table, &row.unwrap(), seq, received).changed {
                    &mut updates
                } else {
                    &mut late
                };
                *counter += 1;
            }
        }
        latest.restored();
        (latest, updates, late)
    }

    /// All that readers see of it, and how each row stands to what it remembers.
    fn seen(latest: &Latest, records: &[Held]) -> Vec<String> {
        let series = latest.list(&Filter::default(), 1_000).series;
        let series = series.iter().map(|series| format!("{series:?}"));
        let standing = |held: &Held| held.rows.iter().map(|row| latest.standing(held.table, row)).collect::<Vec<_>>();
        let bytes = (latest.status().bytes, latest.status().history_bytes);
        series.chain(records.iter().map(|held| format!("{:?}", standing(held)))).chain([format!("{bytes:?}")]).collect()
    }

    proptest! {
        #[test]
        fn all_ways_take_in_the_same(records in prop::collection::vec(held(), 0..60), threads in 1..=MAX_THREADS) {
            let (plain, updates, late) = restored_plainly(&records);
            let latest = restored(&records, threads);
            prop_assert_eq!(seen(&latest, &records), seen(&plain, &records));
            let status = latest.status();
            prop_assert_eq!((status.updates, status.late, status.seq), (updates, late, Seq(records.len() as u64)));
        }
    }

    proptest! {
        #[test]
        fn the_last_series_stay_where_not_all_have_room(
            devices in prop::collection::vec(0..40u8, 1..300), threads in 1..=MAX_THREADS, max_series in 1..12usize,
        ) {
            let latest = Latest::new(&settings::Latest { max_series, ..settings::Latest::default() });
            let memory = Memory { latest: &latest, allowance: &Allowance::default() };
            restore_with(memory, threads, |take| {
                for (at, device) in devices.iter().enumerate() {
                    let (seq, received) = received(at);
                    // Some are long, so that there is more than one batch.
                    let note = "n".repeat(if at % 7 == 0 { 30_000 } else { 1 });
                    let row = Row {
                        time: Some(received.wall),
                        symbols: vec![("device".into(), device.to_string().into())],
                        fields: vec![("note".into(), Value::Text(note.into()))],
                        ..Row::default()
                    };
                    let held = Held { kind: Kind::Rows, table: "t", rows: vec![row] };
                    take(Taken { kind: held.kind, rows: 1, seq, received }, &body(&held));
                }
            });
            latest.restored();
            let series = latest.list(&Filter::default(), 1_000).series;
            let mut held: Vec<u8> = series.iter().map(|series| series.key.symbols[0].1.parse().unwrap()).collect();
            held.sort_unstable();
            let mut last: Vec<u8> = Vec::new();
            for device in devices.iter().rev() {
                if last.len() < max_series && !last.contains(device) {
                    last.push(*device);
                }
            }
            last.sort_unstable();
            prop_assert_eq!(held, last);
        }
    }

    #[test]
    fn the_newest_series_stays_even_where_it_has_no_room() {
        let large = |device: &str| Row {
            symbols: vec![("device".into(), device.into())],
            fields: vec![("note".into(), Value::Text("n".repeat(30_000).into()))],
            ..Row::default()
        };
        for threads in 1..=MAX_THREADS {
            let max_bytes = settings::Bytes(1_000);
            let latest = Latest::new(&settings::Latest { max_bytes, ..settings::Latest::default() });
            let memory = Memory { latest: &latest, allowance: &Allowance::default() };
            restore_with(memory, threads, |take| {
                for (at, device) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
                    let (seq, received) = received(at);
                    let held = Held { kind: Kind::Rows, table: "t", rows: vec![large(device)] };
                    take(Taken { kind: held.kind, rows: 1, seq, received }, &body(&held));
                }
            });
            latest.restored();
            let series = latest.list(&Filter::default(), 10).series;
            let devices: Vec<&str> = series.iter().map(|series| series.key.symbols[0].1.as_str()).collect();
            assert_eq!(devices, ["e"], "{threads} threads");
        }
    }

    #[test]
    fn what_does_not_read_costs_itself_alone() {
        let good =
            Held { kind: Kind::Rows, table: "t", rows: vec![Row { time: Some(Timestamp(0)), ..Row::default() }] };
        for threads in [1, 2] {
            let latest = Latest::new(&settings::Latest::default());
            let memory = Memory { latest: &latest, allowance: &Allowance::default() };
            restore_with(memory, threads, |take| {
                for (seq, kind) in [Kind::Rows, Kind::Held, Kind::Clear, Kind::DeadLetter].into_iter().enumerate() {
                    let taken = Taken { kind, rows: 2, seq: Seq(seq as u64), received: Received::default() };
                    for body in [&b""[..], b"\x01", b"\x02\xff\xff\x00", b"\x01t\x01\x02\x03"] {
                        take(taken, body);
                    }
                }
                take(Taken { kind: good.kind, rows: 1, seq: Seq(9), received: Received::default() }, &body(&good));
            });
            assert_eq!((latest.status().updates + latest.status().late, latest.seen()), (1, Seq(9)), "{threads}");
        }
    }
}
