//! A lane against a small stand-in for QuestDB, step by step.

mod database;
mod follow;
mod requeue;
mod spellings;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use self::database::Database;
use super::{
    answer::Trouble,
    breaker::Gate,
    encode::EncodeError,
    lane::Lane,
    quarantine::{DEAD_LETTER, Held, Key, Quarantine},
    replay::ReplayLane,
    *,
};
use crate::{
    clock::SystemClock,
    entry::{DeadLetter, encode_dead_letter, encode_rows},
    marks::{Pos, Seq},
    point::{Received, Row, Timestamp, Value},
    ring::{Kind, Part, RecoveryReport, media::MemoryMedia, table_hash},
    settings::{Durability, Ring as RingSettings},
};

const DEADLINE: Duration = Duration::from_secs(20);

struct Bench {
    lane: Lane,
    ring: Ring,
    quarantine: Arc<Quarantine>,
    database: Database,
    sql: Sql,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::start();
        let clock: SharedClock = Arc::new(SystemClock);
        let heartbeats = Heartbeats::new(Arc::clone(&clock));
        let ring = ring(&clock, &heartbeats);
        ring.set_lanes(1);
        let questdb = settings::Questdb { conf: database.conf.clone(), ..settings::Questdb::default() };
        let quarantine = settings::Quarantine { path: directory.path().join("q"), ..settings::Quarantine::default() };
        let batch = settings::Batch { max_lanes: 1, ..settings::Batch::default() };
        let allow_narrow: AllowNarrow = Arc::new(|_| false);
        let context = FlushContext {
            ring: ring.clone(),
            questdb,
            batch,
            quarantine,
            allow_narrow,
            allowance: Arc::default(),
            refused_rows: Arc::default(),
            clock,
            heartbeats,
            seed: 1,
        };
        let connection = Arc::new(Connection::new(&context.questdb, Secrets::read(&context.questdb).unwrap()).unwrap());
        let sql = Sql::new(Arc::clone(&connection)).unwrap();
        let quarantine = Arc::new(Quarantine::open(&context.quarantine).unwrap().0);
        let asked: Arc<dyn Ask> = Arc::new(sql.clone());
        let encoder = encoder(&context, &asked, &letters(&context, &Arc::default(), &quarantine));
        let vigil = Box::new(vigil::Connected::to(connection.address().to_owned()));
        let shared = Arc::new(Shared::new(1, context.batch.clone(), Arc::clone(&context.clock), vigil));
        let timeout = connection.request_timeout;
        let sender = Sender::start(0, connection).unwrap();
        let mut lane = lane(&context, 0, encoder, &shared, timeout, Box::new(sender), Box::new(RealWait));
        lane.breaker = Breaker::default();
        // So that the first buffer speaks the stand-in's version of the protocol.
        lane.link.connect().unwrap();
        Self { lane, ring, quarantine, database, sql, _directory: directory }
    }

    /// As after a start that found these entries in quarantine.
    fn found_in_quarantine(&mut self, held: &[Held]) {
        let exceptions = recovered(&self.ring, held);
        let (quarantine, clock) = (Arc::clone(&self.quarantine), Arc::clone(&self.lane.encoder.clock));
        let letters = Letters::new(self.ring.id(), exceptions, quarantine, clock);
        self.lane.encoder.letters = Arc::new(letters);
    }

    fn append(&self, part: Part<'_>) -> Pos {
        let end = self.ring.append(&[part], Received::default()).unwrap().end;
        let deadline = Instant::now() + DEADLINE;
        while self.ring.marks().durable.pos < end && Instant::now() < deadline {
            self.ring.wait_durable(self.ring.marks().durable.pos, Duration::from_millis(100));
        }
        end
    }

    /// One row with that number.
    fn row(&self, number: i64, symbol: &str) -> Pos {
        self.row_of("t", number, symbol)
    }

    fn row_of(&self, table: &str, number: i64, symbol: &str) -> Pos {
        let row = Row {
            time: Some(Timestamp(number * 1_000)),
            device_time: true,
            symbols: vec![(symbol.into(), "d".into())],
            fields: vec![("x".into(), Value::Long(number))],
            ..Row::default()
        };
        let mut body = Vec::new();
        encode_rows(table, &[row], &mut body).unwrap();
        self.append(Part { kind: Kind::Rows, table_hash: table_hash(table), rows: 1, body: &body, ..Part::default() })
    }

    fn dead_letter(&self) -> Pos {
        let mut body = Vec::new();
        encode_dead_letter(&DeadLetter { reason: "r", topic: "t", payload: b"p", ..DeadLetter::default() }, &mut body);
        // Of no table, and no rows.
        let part = Part { kind: Kind::DeadLetter, table_hash: 0, rows: 0, body: &body, ..Part::default() };
        self.append(part)
    }

    /// A round for a batch of at most so many rows.
    fn cycle(&mut self, rows: usize) -> Result<(), Trouble> {
        self.lane.cycle(Some(rows))
    }

    /// Rounds until everything before `end` is settled.
    fn settle(&mut self, end: Pos) {
        let deadline = Instant::now() + DEADLINE;
        while self.ring.marks().settled.pos < end {
            assert!(Instant::now() < deadline, "{:?}", self.ring.marks());
            self.cycle(1).unwrap();
            self.lane.receive().unwrap();
        }
    }

    /// Rounds until the cursor is at the end and nothing is in flight.
    fn run_out(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        let is_out = |lane: &Lane| lane.reader.mark().pos >= lane.durable() && lane.flight.is_empty();
        while !is_out(&self.lane) || self.lane.rewind_is_due() {
            assert!(Instant::now() < deadline, "{:?}", self.lane.reader.mark());
            self.cycle(1).unwrap();
            self.lane.receive().unwrap();
        }
    }

    /// Asks for a replay from a place on.
    fn replay(&self, from: Mark, tables: &[&str]) {
        let hashes = tables.iter().map(|table| table_hash(table));
        let course = if tables.is_empty() { Course::all(from.pos) } else { Course::only(hashes) };
        self.lane.shared.replays().ask(from, &course, &[ReplayLane::default()]);
    }

    /// How many times each of these rows was sent.
    fn sent<const N: usize>(&self, numbers: [i64; N]) -> [usize; N] {
        numbers.map(|number| self.stored(number))
    }

    fn stored(&self, number: i64) -> usize {
        let field = format!(" x={number}i ");
        self.database.seen().writes.iter().filter(|body| body.contains(&field)).count()
    }
}

fn ring(clock: &SharedClock, heartbeats: &Heartbeats) -> Ring {
    let media = MemoryMedia::with(vec![0; 8 << 20]);
    crate::ring::format(&media, 1).unwrap();
    opened(Arc::new(media), Duration::from_mins(1), clock, heartbeats)
}

fn opened(media: Arc<MemoryMedia>, resend_window: Duration, clock: &SharedClock, heartbeats: &Heartbeats) -> Ring {
    let settings =
        RingSettings { durability: Durability::Memory, interval: Duration::from_millis(1), ..RingSettings::default() };
    let heartbeat = heartbeats.register("committer");
    let report = RecoveryReport::default();
    let opened = Ring::from_media(
        Box::new(media),
        &settings,
        resend_window,
        Arc::clone(clock),
        heartbeat,
        report,
        &mut |_| {},
        &mut |_| {},
    );
    opened.unwrap().ring
}

#[test]
fn at_a_start_each_lane_finds_its_first_record_and_none_lets_go_of_the_others() {
    let clock: SharedClock = Arc::new(SystemClock);
    let heartbeats = Heartbeats::new(Arc::clone(&clock));
    let media = Arc::new(MemoryMedia::with(vec![0; 8 << 20]));
    crate::ring::format(&*media, 1).unwrap();
    let lanes = crate::lanes::Lanes::new(2);
    let table = |lane| ["a", "b", "c", "d", "e"].into_iter().find(|t| lanes.of(table_hash(t)) == lane).unwrap();
    let ring = opened(Arc::clone(&media), Duration::ZERO, &clock, &heartbeats);
    begin_lanes(&ring, 2);
    let begin = ring.marks().safe;
    // The second lane has something from the beginning on that may have to be sent again, the first
    // one has not.
    for lane in [1, 0, 1] {
        let (table, mut body) = (table(lane), Vec::new());
        let row = Row { time: Some(Timestamp(1)), fields: vec![("v".into(), Value::Long(1))], ..Row::default() };
        encode_rows(table, &[row], &mut body).unwrap();
        let part = Part { kind: Kind::Rows, table_hash: table_hash(table), rows: 1, body: &body, ..Part::default() };
        ring.append(&[part], clock.now()).unwrap();
    }
    let end = ring.marks().appended;
    assert!(ring.wait_durable(Pos(end.pos.0 - 1), DEADLINE));
    (0..2).for_each(|lane| ring.lane_done(lane, end));
    ring.lane_holds(0, None);
    ring.close().unwrap();

    let ring = opened(media, Duration::ZERO, &clock, &heartbeats);
    let marks = ring.marks();
    assert_eq!((marks.safe, marks.settled.seq), (begin, end.seq));
    begin_lanes(&ring, 2);
    let first = [0, 1].map(|lane| ring.first_of_lane(lanes, lane));
    assert_eq!(first.map(|mark| mark.seq.0 - begin.seq.0), [1, 0]);
    ring.lane_holds(0, Some(first[0]));
    assert_eq!(ring.marks().safe, begin, "the second lane is not there yet");
    ring.lane_holds(1, None);
    assert_eq!(ring.marks().safe, first[0], "with a window of nothing");
}

#[test]
fn a_quarantine_that_cannot_be_written_loses_neither_batch() {
    let mut bench = Bench::new();
    bench.row(1, "device");
    bench.cycle(1).unwrap();
    assert!(!bench.lane.flight.is_empty());
    bench.dead_letter();
    let end = bench.row(2, "device");
    let file = bench.quarantine.fill_disk();
    // The first batch is stored and cannot be settled, since a dead letter of the second one is to be counted.
    let trouble = bench.cycle(2).unwrap_err();
    assert!(matches!(trouble, Trouble::Encode(EncodeError::Quarantine(_))), "{trouble:?}");
    assert!(bench.lane.reader.mark().pos <= bench.ring.marks().settled.pos);
    bench.quarantine.free_disk(file);
    bench.settle(end);
    assert!(bench.stored(1) > 0 && bench.stored(2) == 1);
    let ledger = bench.ring.ledger();
    assert_eq!((ledger.stored, ledger.quarantined, bench.quarantine.status().entries), (2, 0, 1));
}

#[test]
fn a_refused_row_that_cannot_be_set_aside_is_tried_again() {
    let mut bench = Bench::new();
    bench.database.seen().refuse = Some(" x=1i ");
    bench.row(1, "device");
    let end = bench.row(2, "device");
    let file = bench.quarantine.fill_disk();
    bench.cycle(2).unwrap();
    assert!(bench.lane.receive().is_err());
    assert_eq!(bench.lane.reader.mark(), bench.ring.marks().settled);
    bench.quarantine.free_disk(file);
    bench.settle(end);
    let ledger = bench.ring.ledger();
    assert_eq!((ledger.stored, ledger.quarantined, bench.quarantine.status().entries), (1, 1, 1));
}

#[test]
fn what_went_of_a_refused_batch_does_not_go_with_the_next_one() {
    let mut bench = Bench::new();
    bench.database.seen().refuse = Some(" x=1i ");
    bench.row(1, "device");
    bench.row(2, "device");
    bench.cycle(2).unwrap();
    bench.lane.receive().unwrap();
    let refused = bench.stored(2);
    let end = bench.row(3, "device");
    bench.settle(end);
    assert_eq!((bench.stored(2), bench.stored(3)), (refused, 1));
}

#[test]
fn a_rewind_that_is_due_does_not_wait_for_the_backlog_to_end() {
    let mut bench = Bench::new();
    for number in 1..=20 {
        bench.row(number, "device");
    }
    while bench.stored(3) == 0 || bench.lane.flight.is_empty() {
        bench.cycle(1).unwrap();
    }
    assert_eq!(bench.stored(1), 1);
    let safe = bench.ring.marks().safe;
    let mut late = Late::default();
    late.miss(safe, safe, Course::all(safe.pos));
    late.answered(bench.lane.now(), Duration::ZERO);
    bench.lane.late = late;
    for _ in 0..4 {
        bench.cycle(1).unwrap();
    }
    assert_eq!(bench.stored(1), 2);
    bench.lane.shared.ask_rewind(bench.ring.marks().safe, || {});
    for _ in 0..4 {
        bench.cycle(1).unwrap();
    }
    assert_eq!(bench.stored(1), 3);
}

#[test]
fn a_table_that_cannot_be_changed_is_tried_with_a_growing_backoff() {
    let mut bench = Bench::new();
    bench.database.seen().refuse_changes = true;
    let end = bench.row(1, "site");
    bench.cycle(1).unwrap();
    for failures in 1..4 {
        // The probe may take two rounds: one up to the table, one to change it.
        let trouble = (0..2).find_map(|_| bench.lane.probe().err()).unwrap();
        bench.lane.fail(trouble);
        assert_eq!(bench.lane.breaker.failures(), failures);
        let later = bench.lane.encoder.clock.since_boot() + Duration::from_mins(1);
        assert_eq!(bench.lane.breaker.gate(later), Gate::Probe);
    }
    assert_eq!((bench.ring.marks().settled.seq, bench.quarantine.status().entries), (Seq(1), 0));
    bench.database.seen().refuse_changes = false;
    bench.settle(end);
    assert_eq!(bench.stored(1), 1);
}

#[test]
fn a_number_given_to_another_record_does_not_hide_its_rows() {
    let mut bench = Bench::new();
    let key = Key { ring_id: bench.ring.id(), seq: Seq(1), row: 0 };
    bench.found_in_quarantine(&[Held { key, received: Timestamp(-5) }]);
    let end = bench.row(1, "device");
    bench.settle(end);
    let ledger = bench.ring.ledger();
    assert_eq!((bench.stored(1), ledger.stored, ledger.quarantined), (1, 1, 0));
}

#[test]
fn a_row_found_in_quarantine_is_not_sent_and_counted_once() {
    let mut bench = Bench::new();
    let ring_id = bench.ring.id();
    let key = |seq, row| Key { ring_id, seq: Seq(seq), row };
    let held = [key(1, 0), key(2, DEAD_LETTER)].map(|key| Held { key, received: Received::default().wall });
    bench.found_in_quarantine(&held);
    bench.row(1, "device");
    let end = bench.dead_letter();
    bench.settle(end);
    let ledger = bench.ring.ledger();
    assert_eq!((bench.stored(1), ledger.stored, ledger.quarantined), (0, 0, 1));
    assert_eq!(bench.quarantine.status().entries, 0);
}

#[test]
fn a_message_that_is_no_reading_is_set_aside_ahead_of_a_row_that_waits_and_only_once() {
    let mut bench = Bench::new();
    bench.row(1, "device");
    bench.dead_letter();
    bench.row(2, "device");
    let end = bench.dead_letter();
    for _ in 0..2 {
        bench.lane.set_letters_aside(Duration::from_mins(1));
        let ledger = bench.ring.ledger();
        assert_eq!((bench.quarantine.status().entries, ledger.dead_letters, ledger.stored), (2, 2, 0));
    }
    bench.settle(end);
    let ledger = bench.ring.ledger();
    assert_eq!((bench.quarantine.status().entries, ledger.dead_letters, ledger.stored), (2, 2, 2));
}

#[test]
fn a_replay_of_one_table_leaves_out_the_others_up_to_where_the_lane_was() {
    let mut bench = Bench::new();
    let start = bench.ring.marks().tail;
    bench.row_of("t", 1, "device");
    bench.row_of("u", 2, "device");
    bench.dead_letter();
    bench.run_out();
    let ledger = bench.ring.ledger();
    bench.row_of("u", 3, "device");
    bench.replay(start, &["t"]);
    bench.run_out();
    assert_eq!(bench.sent([1, 2, 3]), [2, 1, 1]);
    assert_eq!((bench.ring.ledger().stored, bench.quarantine.status().entries), (ledger.stored + 1, 1));
    let [first, second] =
        ["t", "u"].map(|table| bench.database.seen().writes.iter().rposition(|body| body.starts_with(table)));
    assert!(first < second, "what is new comes behind what goes again");
}

#[test]
fn a_rewind_for_another_reason_is_whole_while_one_table_is_replayed() {
    let mut bench = Bench::new();
    let start = bench.ring.marks().tail;
    for number in 1..=4 {
        bench.row_of("t", 10 * number, "device");
        bench.row_of("u", 10 * number + 1, "device");
    }
    bench.run_out();
    bench.replay(start, &["t"]);
    // The first row of the replay is under way when the connection is found to be lost; from the third on anything may be.
    bench.cycle(1).unwrap();
    let safe = {
        let mut reader = bench.ring.reader(start);
        for _ in 0..4 {
            reader.next().unwrap().unwrap();
        }
        reader.mark()
    };
    bench.lane.receive().unwrap();
    bench.lane.rewind_to(safe);
    bench.run_out();
    assert_eq!(bench.sent([10, 20, 30, 40]), [2; 4]);
    assert_eq!(bench.sent([11, 21, 31, 41]), [1, 1, 2, 2]);
}

#[test]
fn a_restart_of_the_server_begins_a_replay_anew_until_its_rows_are_safe() {
    let mut bench = Bench::new();
    let start = bench.ring.marks().tail;
    bench.row(1, "device");
    bench.row(2, "device");
    bench.run_out();
    let end = bench.ring.marks().durable;
    bench.replay(start, &[]);
    bench.run_out();
    assert_eq!(bench.sent([1, 2]), [2; 2]);
    bench.lane.shared.ask_rewind(end, || {});
    bench.row(3, "device");
    bench.run_out();
    assert_eq!(bench.sent([1, 2, 3]), [3, 3, 1]);
    let later = bench.lane.encoder.clock.since_boot() + bench.lane.resend_window;
    bench.lane.shared.confirm_kept(later);
    bench.row(4, "device");
    bench.run_out();
    bench.lane.shared.ask_rewind(end, || {});
    bench.row(5, "device");
    bench.run_out();
    assert_eq!(bench.sent([1, 2, 4]), [3, 3, 2]);
}

#[test]
fn a_restart_that_another_lane_has_found_comes_before_the_new_server_s_word() {
    let mut bench = Bench::new();
    let start = bench.ring.marks().tail;
    bench.row(1, "device");
    bench.run_out();
    let end = bench.ring.marks().durable;
    bench.replay(start, &[]);
    bench.run_out();
    assert_eq!(bench.sent([1]), [2]);
    // Before this lane has its turn again, the other one has asked for the rewind, and then the
    // new server.
    bench.lane.shared.ask_rewind(end, || {});
    bench.lane.shared.confirm_kept(bench.lane.encoder.clock.since_boot() + bench.lane.resend_window);
    bench.run_out();
    assert_eq!(bench.sent([1]), [3], "the crash may have taken what was replayed");
}

#[test]
fn replays_asked_for_without_end_do_not_keep_new_rows_back() {
    let mut bench = Bench::new();
    let start = bench.ring.marks().tail;
    bench.row(0, "device");
    bench.run_out();
    for number in 1..=10 {
        bench.row(number, "device");
        bench.replay(start, &[]);
        for _ in 0..4 {
            bench.replay(start, &[]);
            bench.cycle(1).unwrap();
            bench.lane.receive().unwrap();
        }
    }
    assert!(bench.stored(5) > 0, "{:?}", bench.sent([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));
}

#[test]
fn a_request_without_an_answer_goes_once_more_when_the_database_has_answered_for_a_while() {
    let mut bench = Bench::new();
    bench.lane.grace = Duration::from_hours(1);
    bench.row(1, "device");
    bench.row(2, "device");
    bench.cycle(1).unwrap();
    let span = bench.lane.flight[0].span;
    bench.lane.note_unanswered(span, &crate::questdb::WriteError::Timeout("late".into()));
    assert!(!bench.lane.late.is_due(bench.lane.now() + 3 * bench.lane.grace), "nothing has been answered since");
    bench.lane.grace = Duration::ZERO;
    bench.lane.receive().unwrap();
    bench.run_out();
    assert_eq!((bench.sent([1, 2]), bench.lane.late.from()), ([2, 1], None));
    bench.lane.note_unanswered(span, &crate::questdb::WriteError::Overloaded("504".into()));
    bench.row(3, "device");
    bench.run_out();
    assert_eq!((bench.sent([1, 2, 3]), bench.lane.late.from()), ([3, 2, 2], None));
    bench.lane.note_unanswered(span, &crate::questdb::WriteError::BadRow { line: 1, message: "bad".into() });
    assert!(bench.lane.late.from().is_none(), "what was refused is not executed");
}
