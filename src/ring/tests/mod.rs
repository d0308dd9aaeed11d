//! The ring's cases one by one. `crash` runs it against a model at random.

mod apart;

use std::{sync::Arc, time::Duration};

use fastrand::Rng;

use super::{
    Ring,
    append::{AppendError, Part},
    layout::{DATA_START, Kind, MIN_CAPACITY, SECTOR_BYTES},
    log::Log,
    marks::{Mark, Seq},
    media::{Media, MemoryMedia},
    open::{Opened, RecoveryReport, Resumed, format, recover_log},
    reader::{ReadError, Reader},
    settle::Settlement,
};
use crate::{
    clock::{SharedClock, SimulatedClock},
    observe::heartbeat::Heartbeats,
    point::Received,
    settings::{Durability, OnFull, Ring as Settings},
    tally::Tally,
};

mod held;
mod rescue;
mod state;
mod versions;

const FILE_BYTES: u64 = DATA_START + MIN_CAPACITY;

/// Bodies and rows by number: index 0 is record 1.
type Bodies = Vec<Option<(Vec<u8>, u16)>>;

/// One life of a ring: between an opening and a power cut.
struct Life {
    media: Arc<MemoryMedia>,
    log: Arc<Log>,
    settlement: Settlement,
    bodies: Bodies,
    acked: Seq,
    found: Vec<(Seq, Vec<u8>)>,
    report: RecoveryReport,
}

fn clock() -> SharedClock {
    Arc::new(SimulatedClock::default())
}

fn empty() -> Vec<u8> {
    let media = MemoryMedia::with(vec![0; FILE_BYTES as usize]);
    format(&media, 77).unwrap();
    media.after_power_cut(|| true)
}

impl Life {
    fn begin(image: Vec<u8>, bodies: Bodies, acked: Seq) -> Self {
        let media = Arc::new(MemoryMedia::with(image));
        let mut found = Vec::new();
        let mut report = RecoveryReport::default();
        let mut visit = |record: &super::Record<'_>| found.push((record.seq, record.body.to_vec()));
        let Resumed { log, outcome, safe, .. } =
            recover_log(Box::new(Arc::clone(&media)), &clock(), &mut report, &mut visit, &mut |_| {}).unwrap();
        let settlement = Settlement::new(Arc::clone(&log), outcome, safe, Duration::ZERO);
        Self { media, log, settlement, bodies, acked, found, report }
    }

    fn append(&mut self, rng: &mut Rng) -> bool {
        let parts: Vec<(Vec<u8>, u16)> = (0..rng.usize(1..4))
            .map(|_| ((0..rng.usize(0..900)).map(|_| rng.u8(..)).collect(), rng.u16(0..5)))
            .collect();
        let records: Vec<Part<'_>> = parts
            .iter()
            .map(|(body, rows)| Part { kind: Kind::Rows, table_hash: 1, rows: *rows, body, ..Part::default() })
            .collect();
        match self.log.append(&records, Received::default(), Tally::default()) {
            Ok(appended) => {
                self.bodies.truncate(appended.first.0 as usize - 1);
                self.bodies.extend(parts.into_iter().map(Some));
                assert_eq!(appended.last.0 as usize, self.bodies.len());
                true
            }
            Err(AppendError::Full) => false,
            Err(other) => panic!("{other}"),
        }
    }

    fn commit(&mut self) {
        if let Some(sealed) = self.log.seal().unwrap() {
            self.log.sync(&sealed).unwrap();
            self.log.publish(&sealed);
            self.acked = Seq(sealed.to.seq.0 - 1);
        }
    }

    fn free_some(&mut self) {
        let safe = self.settlement.publish(Duration::ZERO);
        let target = self.log.index().target(self.log.appended().pos, safe.pos);
        if let Some(to) = target.filter(|to| to.pos > self.log.tail().pos) {
            self.log.move_tail(to).unwrap();
        }
    }

    /// Everything acknowledged is there, in order, byte for byte; nothing is invented; the ledger balances.
    fn check_recovery(&self, context: &str) {
        let numbers: Vec<Seq> = self.found.iter().map(|(seq, _)| *seq).collect();
        let tail = self.log.tail().seq;
        let head = self.log.appended().seq;
        assert_eq!(
            numbers,
            (tail.0..head.0).map(Seq).collect::<Vec<_>>(),
            "{context}: an unbroken run from tail to head"
        );
        assert!(head > self.acked, "{context}: acknowledged up to {}, found up to {head}", self.acked);
        for (seq, body) in &self.found {
            let (expected, _) = self.bodies[seq.0 as usize - 1].as_ref().unwrap();
            assert!(body == expected, "{context}: record {seq} differs");
        }
        let rows: u64 = self.bodies[..head.0 as usize - 1].iter().flatten().map(|(_, rows)| u64::from(*rows)).sum();
        assert_eq!(self.log.intake().rows, rows, "{context}: rows in the ledger");
        assert_eq!(self.report.lost_rows, 0, "{context}: nothing is lost");
        let (outcome, safe) = self.log.outcome();
        assert!(safe <= outcome.settled && outcome.settled <= self.log.durable(), "{context}");
    }
}

#[test]
fn damage_in_the_middle_is_a_gap_and_the_rest_is_kept() {
    let mut rng = Rng::with_seed(5);
    let mut life = Life::begin(empty(), Vec::new(), Seq(0));
    for _ in 0..40 {
        assert!(life.append(&mut rng));
        life.commit();
    }
    let mut image = life.media.after_power_cut(|| false);
    let at = (DATA_START + life.log.durable().pos.0 / 2 / SECTOR_BYTES * SECTOR_BYTES) as usize;
    image[at..at + 1024].fill(0xAA);
    let head = life.log.appended().seq;
    let rows = life.log.intake().rows;
    let bodies = std::mem::take(&mut life.bodies);
    let damaged = Life::begin(image, bodies, Seq(0));
    assert_eq!(damaged.report.gaps.len(), 1, "{:?}", damaged.report);
    let (first, last) = (damaged.report.gaps[0].first, damaged.report.gaps[0].last);
    let missing: Vec<Seq> =
        (1..head.0).map(Seq).filter(|seq| !damaged.found.iter().any(|(found, _)| found == seq)).collect();
    assert_eq!(missing, (first.0..=last.0).map(Seq).collect::<Vec<_>>());
    let lost: u64 = missing.iter().map(|seq| u64::from(damaged.bodies[seq.0 as usize - 1].as_ref().unwrap().1)).sum();
    assert_eq!((damaged.log.intake().rows, damaged.report.lost_rows), (rows, lost));
    assert_eq!(damaged.log.outcome().0.dropped, lost, "what is lost is in the ledger");
    let mut reader = Reader::new(Arc::clone(&damaged.log), Mark { pos: super::Pos(0), seq: Seq(1) });
    let mut read = 0;
    while reader.next().unwrap().is_some() {
        read += 1;
    }
    assert_eq!(read, damaged.found.len(), "readers step over the gap");
}

#[test]
fn a_reader_left_behind_by_the_tail_is_told_where_to_go_on() {
    let mut rng = Rng::with_seed(9);
    let mut life = Life::begin(empty(), Vec::new(), Seq(0));
    let mut reader = Reader::new(Arc::clone(&life.log), life.log.tail());
    while life.log.tail().pos.0 == 0 {
        if !life.append(&mut rng) {
            life.settlement.drop_upto(life.log.durable(), Duration::ZERO).unwrap();
            life.free_some();
        }
        life.commit();
    }
    match reader.next() {
        Err(ReadError::Overtaken { to }) => assert_eq!(to, life.log.tail()),
        other => panic!("{other:?}"),
    }
    assert!(life.log.outcome().0.dropped > 0);
}

#[test]
fn a_message_larger_than_an_eighth_is_refused() {
    let life = Life::begin(empty(), Vec::new(), Seq(0));
    let limit = (MIN_CAPACITY / 8) as usize - super::layout::RECORD_HEADER_BYTES - super::layout::EXTENSION_BYTES;
    let try_append = |bytes: usize| {
        let body = vec![0; bytes];
        life.log.append(
            &[Part { kind: Kind::DeadLetter, table_hash: 0, rows: 0, body: &body, ..Part::default() }],
            Received::default(),
            Tally::default(),
        )
    };
    assert!(try_append(limit).is_ok());
    assert!(matches!(try_append(limit + 1), Err(AppendError::TooLarge { .. })));
}

/// A ring with its committer.
fn open_ring(media: &Arc<MemoryMedia>, durability: Durability) -> Ring {
    let settings = Settings { durability, on_full: OnFull::DropNewest, ..Settings::default() };
    let heartbeat = Heartbeats::new(clock()).register("committer");
    let (media, report) = (Box::new(Arc::clone(media)), RecoveryReport::default());
    Ring::from_media(media, &settings, Duration::ZERO, clock(), heartbeat, report, &mut |_| {}, &mut |_| {})
        .unwrap()
        .ring
}

#[test]
fn a_refused_message_may_be_acknowledged_once_no_power_cut_can_uncount_it() {
    const ROWS: u64 = 3;
    let media = Arc::new(MemoryMedia::with(empty()));
    let ring = open_ring(&media, Durability::Commit);
    let mut ackable = ring.ackable();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for wanted in 1..=20 {
        // Every other count travels in a commit, the rest in headers.
        if wanted % 2 == 0 {
            let part = Part { kind: Kind::Rows, table_hash: 1, rows: 1, body: &[1; 50], ..Part::default() };
            ring.append(&[part], Received::default()).unwrap();
        }
        let number = ring.count_refused("t", ROWS);
        assert_eq!(number, wanted);
        let counted = ackable.wait_for(|ackable| ackable.refused >= number);
        let counted = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), counted).await });
        assert!(counted.is_ok_and(|counted| counted.is_ok()), "{number} is never acknowledged");
        let survivor = Life::begin(media.after_power_cut(|| false), Vec::new(), Seq(0));
        let intake = survivor.log.intake();
        assert_eq!((intake.refused_messages, intake.refused_rows), (number, number * ROWS));
    }
    ring.close().unwrap();
}

#[test]
fn a_stop_counts_what_was_refused_and_only_commit_mode_waits_for_it() {
    for durability in [Durability::Interval, Durability::Memory] {
        let media = Arc::new(MemoryMedia::with(empty()));
        let ring = open_ring(&media, durability);
        assert_eq!([ring.count_refused("t", 1), ring.count_refused("t", 1)], [0, 0], "nothing to wait for");
        ring.close().unwrap();
        let survivor = Life::begin(media.after_power_cut(|| false), Vec::new(), Seq(0));
        assert_eq!(survivor.log.intake().refused_messages, 2);
    }
}

#[test]
fn a_failed_sync_is_an_error_and_nothing_becomes_durable() {
    let mut rng = Rng::with_seed(1);
    let mut life = Life::begin(empty(), Vec::new(), Seq(0));
    assert!(life.append(&mut rng));
    let before = life.log.durable();
    life.media.fail_syncs();
    let sealed = life.log.seal().unwrap().unwrap();
    assert!(life.log.sync(&sealed).is_err());
    assert_eq!(life.log.durable(), before);
    assert!(Media::len(&life.media) > 0);
}

#[test]
fn rows_given_up_while_under_way_are_counted_by_what_became_of_their_request() {
    for (first_arrives, second_leaves) in [(true, true), (true, false), (false, false)] {
        let mut rng = Rng::with_seed(3);
        let mut life = Life::begin(empty(), Vec::new(), Seq(0));
        let mut marks = vec![life.log.durable()];
        let mut rows = Vec::new();
        for _ in 0..2 {
            let before = life.log.intake().rows;
            assert!(life.append(&mut rng));
            life.commit();
            rows.push(life.log.intake().rows - before);
            marks.push(life.log.durable());
        }
        life.settlement.lane_sends(0, marks[0], marks[1]).unwrap();
        life.settlement.lane_sends(0, marks[1], marks[2]).unwrap();
        life.settlement.drop_upto(marks[2], Duration::ZERO).unwrap();
        assert_eq!(life.log.outcome().0.dropped, rows[0] + rows[1]);
        if first_arrives {
            life.settlement.lane_done(0, marks[1], Duration::ZERO).unwrap();
        }
        if !second_leaves {
            life.settlement.lane_takes_back(0, marks[1]);
        }
        if !first_arrives {
            life.settlement.lane_failed(0);
            let again = life.settlement.lane_sends(0, marks[0], marks[1]);
            assert_eq!(again, Err(marks[2]), "what is given up is not sent again");
        }
        life.settlement.lane_done(0, marks[2], Duration::ZERO).unwrap();
        let stored = if first_arrives { rows[0] } else { 0 } + if second_leaves { rows[1] } else { 0 };
        let outcome = life.log.outcome().0;
        assert_eq!((outcome.stored, outcome.dropped), (stored, rows[0] + rows[1] - stored));
    }
}

#[test]
fn nobody_is_told_stored_of_what_was_given_up_or_set_aside() {
    let mut rng = Rng::with_seed(4);
    let mut life = Life::begin(empty(), Vec::new(), Seq(0));
    let mut ends = Vec::new();
    for _ in 0..3 {
        assert!(life.append(&mut rng));
        life.commit();
        ends.push(life.log.durable());
    }
    life.settlement.drop_upto(ends[0], Duration::ZERO).unwrap();
    life.settlement.except(ends[0].seq, 1);
    life.settlement.lane_done(0, ends[1], Duration::ZERO).unwrap();
    let state = |at: Seq| life.settlement.state_of(at);
    assert_eq!(state(Seq(1)), super::State::Memory, "given up");
    assert_eq!(state(ends[0].seq), super::State::Refused, "in quarantine");
    assert_eq!(state(ends[1].seq), super::State::Durable, "not settled yet");
    life.settlement.lane_done(0, ends[2], Duration::ZERO).unwrap();
    assert_eq!(life.settlement.state_of(ends[1].seq), super::State::Stored);
}

#[test]
fn intact_records_of_an_earlier_life_do_not_pass_as_new() {
    // Each record fills one sector, and both lives cut their commits alike: the number and place of the leftover fit.
    let append = |life: &Life, content: u8| {
        let body =
            [content; SECTOR_BYTES as usize - super::layout::RECORD_HEADER_BYTES - super::layout::EXTENSION_BYTES];
        let part = Part { kind: Kind::Rows, table_hash: 1, rows: 1, body: &body, ..Part::default() };
        life.log.append(&[part], Received::default(), Tally::default()).unwrap();
    };
    let first = Life::begin(empty(), Vec::new(), Seq(0));
    (0..5).for_each(|_| append(&first, 1));
    assert!(first.log.seal().unwrap().is_some());
    append(&first, 1);
    // Of five records, their commit and the sixth record, the power cut leaves the sixth alone.
    let mut sector = 0;
    let image = first.media.after_power_cut(|| {
        sector += 1;
        sector == 7
    });
    assert_eq!(sector, 7);
    let mut second = Life::begin(image, Vec::new(), Seq(0));
    assert!(second.found.is_empty());
    (0..5).for_each(|_| append(&second, 2));
    second.commit();
    let third = Life::begin(second.media.after_power_cut(|| false), Vec::new(), Seq(0));
    let found: Vec<(u64, u8)> = third.found.iter().map(|(seq, body)| (seq.0, body[0])).collect();
    assert_eq!(found, (1..=5).map(|seq| (seq, 2)).collect::<Vec<_>>());
}

/// A ring with 40 records, each in a commit of its own, closed or not; its image, and the records' bodies.
/// A sync that lied: what an earlier life had left there shows again, and some of it fits the numbers asked for.
#[test]
fn what_a_header_says_is_durable_has_no_later_numbers_before_it() {
    let record = |life: &Life, bytes: usize| {
        let body = vec![7; bytes - super::layout::RECORD_HEADER_BYTES - super::layout::EXTENSION_BYTES];
        let part = Part { kind: Kind::Rows, table_hash: 1, rows: 1, body: &body, ..Part::default() };
        life.log.append(&[part], Received::default(), Tally::default()).unwrap();
    };
    let mut first = Life::begin(empty(), Vec::new(), Seq(0));
    record(&first, 100);
    first.commit();
    (0..60).for_each(|_| record(&first, 128));
    // Of what was not synced, the first sector is missing.
    let mut stored = 0;
    let image = first.media.after_power_cut(|| {
        stored += 1;
        stored > 1
    });

    let mut second = Life::begin(image, Vec::new(), Seq(1));
    assert_eq!(second.log.appended().seq, Seq(2));
    let from = (DATA_START + second.log.appended().pos.0) as usize;
    let before = second.media.after_power_cut(|| true);
    (0..30).for_each(|_| record(&second, 208));
    second.commit();
    second.log.write_header(|_| {}).unwrap();
    let durable = second.log.durable();
    let mut image = second.media.after_power_cut(|| true);
    image[from..].copy_from_slice(&before[from..]);

    let third = Life::begin(image, Vec::new(), Seq(1));
    assert_eq!(third.log.appended(), durable);
    let found: Vec<u64> = third.found.iter().map(|(seq, _)| seq.0).collect();
    let lost: Vec<u64> = third.report.gaps.iter().flat_map(|gap| gap.first.0..=gap.last.0).collect();
    let mut all = [&found[..], &lost].concat();
    all.sort_unstable();
    assert_eq!(all, (1..durable.seq.0).collect::<Vec<_>>(), "each is read or reported, once: {:?}", third.report);
}

fn forty_records(close: bool) -> (Vec<u8>, Bodies) {
    let mut rng = Rng::with_seed(11);
    let mut life = Life::begin(empty(), Vec::new(), Seq(0));
    while life.bodies.len() < 40 {
        assert!(life.append(&mut rng));
        life.commit();
    }
    if close {
        life.log.write_header(|header| header.clean = true).unwrap();
    }
    (life.media.after_power_cut(|| true), std::mem::take(&mut life.bodies))
}

#[test]
fn a_header_lost_from_both_slots_is_made_again_from_the_commits() {
    for close in [true, false] {
        let (mut image, bodies) = forty_records(close);
        let whole = Life::begin(image.clone(), bodies.clone(), Seq(0));
        image[..DATA_START as usize].fill(0x5A);
        let life = Life::begin(image, bodies, Seq(0));
        assert_eq!(life.report.header, super::HeaderSource::Commits);
        assert_eq!((life.found.len(), life.report.lost_rows), (whole.found.len(), 0));
        assert_eq!((life.log.intake().rows, life.log.ring_id()), (whole.log.intake().rows, 77));
        life.check_recovery("without headers");
    }
}

#[test]
fn a_slot_lost_costs_nothing_even_where_the_other_tells_of_an_older_tail() {
    let mut rng = Rng::with_seed(12);
    let mut life = Life::begin(empty(), Vec::new(), Seq(0));
    while life.log.tail().pos.0 < MIN_CAPACITY / 2 {
        if !life.append(&mut rng) {
            life.settlement.lane_done(0, life.log.durable(), Duration::ZERO).unwrap();
            life.free_some();
        }
        life.commit();
    }
    let image = life.media.after_power_cut(|| true);
    let (head, bodies) = (life.log.durable().seq, std::mem::take(&mut life.bodies));
    for slot in [0, super::layout::SLOT_BYTES as usize] {
        let mut damaged = image.clone();
        damaged[slot + 100] ^= 1;
        let life = Life::begin(damaged, bodies.clone(), Seq(head.0 - 1));
        assert_eq!((life.report.header, life.log.appended().seq), (super::HeaderSource::OneSlot, head));
        life.check_recovery("with one slot");
    }
}

#[test]
fn what_a_damaged_stretch_held_is_told_as_far_as_it_can_be() {
    let table = |name: &str, rows: u16| {
        let row = crate::point::Row { time: Some(crate::point::Timestamp(1)), ..Default::default() };
        let mut body = Vec::new();
        crate::entry::encode_rows(name, &vec![row; usize::from(rows)], &mut body).unwrap();
        body
    };
    let life = Life::begin(empty(), Vec::new(), Seq(0));
    let mut places = Vec::new();
    for (number, name) in ["one", "two", "one", "one", "two"].into_iter().enumerate() {
        let body = table(name, number as u16 + 1);
        let part = Part {
            kind: Kind::Rows,
            table_hash: super::table_hash(name),
            rows: number as u16 + 1,
            body: &body,
            ..Part::default()
        };
        places.push(life.log.appended());
        life.log.append(&[part], Received::default(), Tally::default()).unwrap();
        life.log.commit(true).unwrap();
    }
    let mut image = life.media.after_power_cut(|| true);
    // A byte of the second record's body, and one of the fourth's header.
    image[(DATA_START + places[1].pos.0) as usize + 60] ^= 1;
    image[(DATA_START + places[3].pos.0) as usize + 20] = 99;
    let life = Life::begin(image, Vec::new(), Seq(0));
    let [second, fourth] = &life.report.gaps[..] else { panic!("{:?}", life.report) };
    assert_eq!((second.first, second.last, second.from), (Seq(2), Seq(2), places[1].pos));
    assert!(second.bytes > 0 && second.bytes < SECTOR_BYTES, "the commit behind it is intact: {second:?}");
    assert_eq!((&second.tables[..], second.unknown), (&["two".to_owned()][..], 0));
    assert_eq!((fourth.first, &fourth.tables[..], fourth.unknown), (Seq(4), &[][..], 1));
    assert_eq!(life.report.lost_rows, 2 + 4);
}

#[test]
fn another_size_in_the_configuration_is_refused_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let open = |size: u64| {
        let path = directory.path().join("ring");
        let settings = crate::settings::Ring { path, size: crate::settings::Bytes(size), ..Default::default() };
        let heartbeat = crate::observe::heartbeat::Heartbeats::new(clock()).register("test");
        super::Ring::open(&settings, Duration::ZERO, clock(), heartbeat, &mut |_| {}, &mut |_| {}).unwrap()
    };
    let closed = |size: u64| {
        let Opened { ring, report } = open(size);
        ring.close().unwrap();
        (report.created, report.other_size, ring.status().size_bytes)
    };
    assert_eq!(closed(1 << 20), (true, None, 1 << 20));
    for size in [1 << 19, 1 << 21] {
        assert_eq!(closed(size), (false, Some(1 << 20), 1 << 20));
    }
    assert_eq!(open(1 << 20).report.other_size, None);
}
