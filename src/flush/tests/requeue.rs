//! Entries on their way back into the ring.

use super::{
    super::{
        Outflow,
        exceptions::Id,
        quarantine::{self, Entry, Selection},
    },
    *,
};
use crate::{
    clock::ClockTrust,
    ingest::Ingest,
    latest::Latest,
    requeue::{Ask, Report, Requeue, RequeueError},
    settings::Settings,
};

impl Bench {
    fn requeue(&self) -> Requeue {
        let settings = Settings::default();
        let latest = Arc::new(Latest::new(&settings.latest));
        let ingest = Ingest::new(&settings, self.ring.clone(), latest, ClockTrust::always()).unwrap();
        let out = Outflow {
            ring: self.ring.clone(),
            quarantine: Arc::clone(&self.quarantine),
            exceptions: Arc::clone(&self.lane.encoder.letters.exceptions),
            sql: self.sql.clone(),
            clock: Arc::clone(&self.lane.encoder.clock),
            shared: Arc::clone(&self.lane.shared),
        };
        Requeue::new(out, &Arc::new(ingest))
    }

    /// Sets aside what [`Bench::row`] with that number is, as record `seq`; the name of the entry.
    fn aside(&self, seq: u64, number: i64) -> quarantine::Id {
        let row = Row {
            time: Some(Timestamp(number * 1_000)),
            symbols: vec![("device".into(), "d".into())],
            fields: vec![("x".into(), Value::Long(number))],
            device_time: true,
            ..Row::default()
        };
        let mut body = Vec::new();
        encode_rows("t", &[row], &mut body).unwrap();
        let key = Key { ring_id: self.ring.id(), seq: Seq(seq), row: 0 };
        let received = Received::default().wall;
        let entry = Entry { key, time: received, received, reason: "r", origin: "t", body: &body, row_time: None };
        self.quarantine.add(&[entry]).unwrap();
        quarantine::Id::from(&entry)
    }

    fn except(&self, seq: u64) {
        self.lane.encoder.letters.exceptions.insert(Id { seq: Seq(seq), received: Received::default().wall }, 0);
    }
}

fn one(requeue: &Requeue, id: quarantine::Id) -> Report {
    let selection = Selection { ids: [id].into(), ..Selection::default() };
    requeue.run(&Ask { selection, ..Ask::default() }).unwrap()
}

#[test]
fn an_entry_leaves_once_its_row_is_durable_and_not_before() {
    let bench = Bench::new();
    bench.aside(1, 1);
    let requeue = bench.requeue();
    // From here on the ring takes what comes and nothing becomes durable.
    bench.ring.stop_committing();
    let before = bench.ring.marks().appended;
    let run = thread::spawn(move || requeue.run(&Ask::default()));
    let deadline = Instant::now() + DEADLINE;
    while bench.ring.marks().appended == before {
        assert!(Instant::now() < deadline, "the row never enters");
        thread::yield_now();
    }
    bench.ring.poison("a sync failed");
    let outcome = run.join().unwrap();
    assert!(matches!(outcome, Err(RequeueError::Ring(_))), "{outcome:?}");
    assert_eq!(bench.quarantine.status().entries, 1);

    let bench = Bench::new();
    bench.aside(1, 1);
    let report = bench.requeue().run(&Ask::default()).unwrap();
    assert_eq!((report.requeued, report.rows, bench.quarantine.status().entries), (1, 1, 0), "{report:?}");
    assert_eq!(bench.ring.ledger().rows, 1);
}

#[test]
fn a_newer_row_counts_unless_it_is_in_quarantine_itself() {
    for (is_aside, wanted) in [(true, (1, 0)), (false, (0, 1))] {
        let bench = Bench::new();
        bench.row(7, "device");
        bench.row(7, "device");
        bench.except(1);
        let older = bench.aside(1, 7);
        if is_aside {
            bench.except(2);
            bench.aside(2, 7);
        }
        let report = one(&bench.requeue(), older);
        assert_eq!((report.requeued, report.superseded), wanted, "{report:?}");
    }
}

#[test]
fn of_entries_of_one_moment_the_newest_enters_and_the_others_stay() {
    let bench = Bench::new();
    for seq in 1..=3 {
        bench.aside(seq, 7);
    }
    let report = bench.requeue().run(&Ask::default()).unwrap();
    assert_eq!((report.requeued, report.superseded, report.rows), (1, 2, 1), "{report:?}");
    let left = bench.quarantine.snapshot().unwrap().newest(&Selection::default(), None, 9).unwrap();
    assert_eq!(left.places.len(), 2);
    // Put back again they meet the one that has entered.
    let report = bench.requeue().run(&Ask { drop_superseded: true, ..Ask::default() }).unwrap();
    assert_eq!((report.requeued, report.superseded_dropped), (0, 2), "{report:?}");
    assert_eq!(bench.quarantine.status().entries, 0);
}

#[test]
fn without_an_answer_nothing_is_put_back_and_nothing_is_dropped_for_a_newer_entry_that_did_not_enter() {
    let bench = Bench::new();
    bench.aside(1, 7);
    bench.aside(2, 7);
    bench.database.seen().silent = true;
    let report = bench.requeue().run(&Ask { drop_superseded: true, ..Ask::default() }).unwrap();
    assert!(report.stopped.is_some() && report.requeued == 0, "{report:?}");
    assert_eq!((report.superseded_dropped, bench.quarantine.status().entries), (0, 2), "{report:?}");
    assert_eq!(bench.ring.ledger().rows, 0);
}

#[test]
fn one_requeue_works_at_a_time() {
    let bench = Bench::new();
    let requeue = bench.requeue();
    let alone = requeue.busy.lock().unwrap();
    assert!(matches!(requeue.run(&Ask::default()), Err(RequeueError::Busy)));
    drop(alone);
    assert!(requeue.run(&Ask::default()).is_ok());
}
