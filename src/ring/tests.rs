//! The ring against a plain model, through power cuts and several lives.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;

use super::{
    layout::{DATA_START, Kind, MIN_CAPACITY, SECTOR_BYTES},
    log::{AppendError, Log, Part},
    marks::{Mark, Seq},
    media::{Media, MemoryMedia},
    open::{RecoveryReport, format, recover_log},
    reader::{ReadError, Reader},
    settle::Settlement,
};
use crate::{
    clock::{SharedClock, SimulatedClock},
    point::Received,
};

const FILE_BYTES: u64 = DATA_START + MIN_CAPACITY;

/// One life of a ring: between an opening and a power cut.
struct Life {
    media: Arc<MemoryMedia>,
    log: Arc<Log>,
    settlement: Settlement,
    /// Bodies by number: index 0 is record 1.
    bodies: Vec<Option<(Vec<u8>, u16)>>,
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
    fn begin(image: Vec<u8>, bodies: Vec<Option<(Vec<u8>, u16)>>, acked: Seq) -> Self {
        let media = Arc::new(MemoryMedia::with(image));
        let mut found = Vec::new();
        let mut report = RecoveryReport::default();
        let mut visit = |record: &super::Record<'_>| found.push((record.seq, record.body.to_vec()));
        let (log, outcome, safe) =
            recover_log(Box::new(Arc::clone(&media)), &clock(), &mut report, &mut visit, &mut |_| {}).unwrap();
        let settlement = Settlement::new(Arc::clone(&log), outcome, safe, Duration::ZERO);
        Self { media, log, settlement, bodies, acked, found, report }
    }

    fn append(&mut self, rng: &mut Rng) -> bool {
        let parts: Vec<(Vec<u8>, u16)> = (0..rng.usize(1..4))
            .map(|_| ((0..rng.usize(0..900)).map(|_| rng.u8(..)).collect(), rng.u16(0..5)))
            .collect();
        let records: Vec<Part<'_>> =
            parts.iter().map(|(body, rows)| Part { kind: Kind::Rows, table_hash: 1, rows: *rows, body }).collect();
        match self.log.append(&records, Received::default()) {
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

    fn settle_some(&mut self, rng: &mut Rng) {
        let mut reader = Reader::new(Arc::clone(&self.log), self.settlement.settled());
        for _ in 0..rng.usize(0..60) {
            if reader.next().unwrap().is_none() {
                break;
            }
        }
        self.settlement.lane_done(0, reader.mark(), Duration::ZERO).unwrap();
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
fn what_was_acknowledged_survives_power_cuts_in_many_lives() {
    for seed in 0..150 {
        let mut rng = Rng::with_seed(seed);
        let mut life = Life::begin(empty(), Vec::new(), Seq(0));
        for number in 0..8 {
            for _ in 0..rng.usize(0..400) {
                match rng.u8(0..10) {
                    0..=5 => {
                        if !life.append(&mut rng) {
                            life.free_some();
                        }
                    }
                    6 | 7 => life.commit(),
                    8 => life.settle_some(&mut rng),
                    _ => life.free_some(),
                }
            }
            if rng.bool()
                && let Some(sealed) = life.log.seal().unwrap()
            {
                // The power goes while this commit is being synced.
                assert!(sealed.to.pos > sealed.from);
            }
            let likelihood = rng.u8(0..=100);
            let image = life.media.after_power_cut(|| rng.u8(0..100) < likelihood);
            let (mut bodies, acked) = (std::mem::take(&mut life.bodies), life.acked);
            life = Life::begin(image, Vec::new(), acked);
            bodies.truncate(life.log.appended().seq.0 as usize - 1);
            life.bodies = bodies;
            life.check_recovery(&format!("seed {seed}, life {number}"));
            life.acked = Seq(life.log.appended().seq.0 - 1);
        }
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
    let limit = (MIN_CAPACITY / 8) as usize - super::layout::RECORD_HEADER_BYTES;
    let try_append = |bytes: usize| {
        let body = vec![0; bytes];
        life.log.append(&[Part { kind: Kind::DeadLetter, table_hash: 0, rows: 0, body: &body }], Received::default())
    };
    assert!(try_append(limit).is_ok());
    assert!(matches!(try_append(limit + 1), Err(AppendError::TooLarge { .. })));
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
fn rows_given_up_while_under_way_are_counted_by_what_became_of_them() {
    for arrives in [true, false] {
        let mut rng = Rng::with_seed(3);
        let mut life = Life::begin(empty(), Vec::new(), Seq(0));
        let start = life.log.durable();
        assert!(life.append(&mut rng) && life.append(&mut rng));
        life.commit();
        let (end, rows) = (life.log.durable(), life.log.intake().rows);
        life.settlement.lane_sends(0, start, end).unwrap();
        life.settlement.drop_upto(end, Duration::ZERO).unwrap();
        assert_eq!(life.log.outcome().0.dropped, rows);
        if arrives {
            life.settlement.lane_done(0, end, Duration::ZERO).unwrap();
        } else {
            life.settlement.lane_failed(0);
            assert_eq!(life.settlement.lane_sends(0, start, end), Err(end), "what is given up is not sent again");
            life.settlement.lane_done(0, end, Duration::ZERO).unwrap();
        }
        let outcome = life.log.outcome().0;
        assert_eq!((outcome.stored, outcome.dropped), if arrives { (rows, 0) } else { (0, rows) });
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
    assert_eq!(state(ends[0].seq), super::State::Durable, "in quarantine");
    assert_eq!(state(ends[1].seq), super::State::Durable, "not settled yet");
    life.settlement.lane_done(0, ends[2], Duration::ZERO).unwrap();
    assert_eq!(life.settlement.state_of(ends[1].seq), super::State::Stored);
}

#[test]
fn intact_records_of_an_earlier_life_do_not_pass_as_new() {
    // Each record fills one sector, and both lives cut their commits alike: the number and place of the leftover fit.
    let append = |life: &Life, content: u8| {
        let body = [content; SECTOR_BYTES as usize - super::layout::RECORD_HEADER_BYTES];
        let part = Part { kind: Kind::Rows, table_hash: 1, rows: 1, body: &body };
        life.log.append(&[part], Received::default()).unwrap();
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
