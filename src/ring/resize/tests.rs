//! A ring of another size holds what the old one held, as far as it fits.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;

use super::{copy, keep, *};
use crate::{
    clock::SimulatedClock,
    entry::{LetterForm, encode_rows},
    observe::heartbeat::Heartbeats,
    point::{Received, Row, RowNotes, Timestamp},
    ring::{
        AppendError, Kind, Part, Record, StateKind,
        layout::{MIN_CAPACITY, SECTOR_BYTES},
        ledger::Ledger,
        media::MemoryMedia,
        open::format,
        still::Still,
    },
    settings::{OnFull, Ring as Settings},
    tally::{Counter, Counts, SourceCounts, Tally},
};

const CAPACITIES: [u64; 4] = [MIN_CAPACITY, 2 * MIN_CAPACITY, 4 * MIN_CAPACITY, 7 * MIN_CAPACITY + 4096];

fn clock() -> SharedClock {
    Arc::new(SimulatedClock::default())
}

fn empty(capacity: u64) -> Arc<MemoryMedia> {
    let media = MemoryMedia::with(vec![0; (DATA_START + capacity) as usize]);
    format(&media, 4711).unwrap();
    Arc::new(media)
}

/// One record as a reader sees it, its place apart.
type Seen = (u64, Kind, bool, u32, u16, i64, u16, Option<u64>, Option<[u8; 16]>, Vec<u8>);

/// What a start finds.
struct Found {
    log: Arc<Log>,
    records: Vec<Seen>,
    report: RecoveryReport,
    held_rows: u64,
}

impl Found {
    fn of(media: &Arc<MemoryMedia>) -> Self {
        let mut records = Vec::new();
        let mut visit = |record: &Record<'_>| {
            let Record { seq, kind, last, table_hash, rows, received, source, released, boot, body, .. } = *record;
            let released = released.map(|seq| seq.0);
            records.push((
                seq.0,
                kind,
                last,
                table_hash,
                rows,
                received.wall.0,
                source.0,
                released,
                boot,
                body.to_vec(),
            ));
        };
        let mut report = RecoveryReport::default();
        let recovered = recover_log(Box::new(Arc::clone(media)), &clock(), &mut report, &mut visit, &mut |_| {});
        let log = recovered.unwrap().log;
        let held_rows = log.with_held(crate::ring::held::Held::rows);
        Self { log, records, report, held_rows }
    }

    fn ledger(&self) -> Ledger {
        Ledger::of(&self.log.intake(), &self.log.outcome().0)
    }

    fn counts(&self) -> Vec<SourceCounts> {
        self.log.with_states(crate::ring::States::source_counts)
    }

    fn filters(&self) -> Vec<Vec<u8>> {
        self.log.with_states(|states| states.all(StateKind::FILTER).map(|(key, _)| key.to_vec()).collect())
    }

    fn gaps(&self) -> Vec<(Seq, Seq)> {
        self.report.gaps.iter().map(|gap| (gap.first, gap.last)).collect()
    }
}

/// A ring that has been used: messages of several records, dead letters, notes, rows held back and
/// released, state, some of it settled.
fn used(rng: &mut Rng, capacity: u64) -> Arc<MemoryMedia> {
    let media = empty(capacity);
    let settings = Settings { on_full: OnFull::DropNewest, ..Settings::default() };
    let heartbeat = Heartbeats::new(clock()).register("committer");
    let mut still = Still::open(Box::new(Arc::clone(&media)), &settings, Duration::ZERO, clock(), heartbeat).unwrap();
    let ring = still.ring.clone();
    let sources = ring.register_sources(&["plant", "farm"]);
    ring.set_state(StateKind::FILTER, b"plant/#", Some(&[1])).unwrap();
    ring.set_state(StateKind::FILTER, b"gone/#", Some(&[1])).unwrap();
    ring.set_state(StateKind::FILTER, b"gone/#", None).unwrap();
    let mut held = std::collections::VecDeque::new();
    for number in 0..rng.i64(1..600) {
        let bodies: Vec<Vec<u8>> = (0..rng.usize(1..4)).map(|_| body(rng)).collect();
        let mut parts: Vec<Part<'_>> = bodies.iter().map(|body| part(body, sources[rng.usize(..2)])).collect();
        let mut front = Vec::new();
        match rng.u8(..20) {
            0 => {
                let (counts, letter) = (Counter::Empty.bit(), LetterForm { is_cut: true, has_time: false });
                parts = vec![Part { kind: Kind::DeadLetter, rows: 0, table_hash: 0, counts, letter, ..parts[0] }];
            }
            1 => {
                front.extend_from_slice(&[7; 16]);
                front.extend_from_slice(&bodies[0]);
                parts = vec![Part { kind: Kind::Held, body: &front, ..parts[0] }];
            }
            2 => {
                if let Some(seq) = held.pop_front() {
                    let seq: Seq = seq;
                    front.extend_from_slice(&seq.0.to_le_bytes());
                    front.extend_from_slice(&bodies[0]);
                    parts = vec![Part { releases: true, body: &front, ..parts[0] }];
                }
            }
            _ => {}
        }
        let received = Received { wall: Timestamp(number), since_boot_ns: number as u64 };
        let counts = if parts[0].has_notes { Counts::one(Counter::Untimed) } else { Counts::default() };
        let tally = Tally { source: parts[0].source, counts };
        let (is_held, releases) = (parts[0].kind == Kind::Held, parts[0].releases);
        match ring.append_counting(&parts, received, tally) {
            Ok(appended) if is_held => held.push_back(appended.first),
            Ok(_) if releases => {
                still.commit().unwrap();
                let (done, rows) = (Seq(u64::from_le_bytes(front[..8].try_into().unwrap())), parts[0].rows);
                ring.released(done, rows.into(), ring.held().map_or(ring.marks().durable, |(from, _)| from));
            }
            Ok(_) => {}
            Err(AppendError::Full) => drop(ring.count_refused("t", 1)),
            Err(other) => panic!("{other}"),
        }
        if rng.u8(..10) == 0 {
            let _ = ring.note(Tally { source: sources[0], counts: Counts::one(Counter::Unmatched) });
        }
        if rng.u8(..4) == 0 {
            still.commit().unwrap();
            if rng.bool() {
                ring.lane_done(0, ring.marks().durable);
                ring.confirm_kept(Duration::ZERO);
                still.commit().unwrap();
            }
        }
    }
    still.commit().unwrap();
    ring.close().unwrap();
    media
}

fn part(body: &[u8], source: crate::tally::SourceId) -> Part<'_> {
    let has_notes = crate::entry::Rows::decode(body).is_ok_and(|rows| rows.flatten().any(|row| !row.notes.is_empty()));
    Part {
        kind: Kind::Rows,
        table_hash: crate::ring::table_hash("t"),
        rows: 1,
        body,
        source,
        has_notes,
        ..Part::default()
    }
}

/// The body of a record with one row.
fn body(rng: &mut Rng) -> Vec<u8> {
    let mut body = Vec::new();
    let notes = RowNotes { untimed: rng.u8(..4) == 0, ..RowNotes::default() };
    let text = "x".repeat(rng.usize(..2_000));
    let fields = vec![("text".into(), crate::point::Value::Text(text.into()))];
    let row = Row { time: Some(Timestamp(1)), notes, fields, ..Row::default() };
    encode_rows("t", &[row], &mut body).unwrap();
    body
}

/// The same in a ring of another capacity, whose copy is checked.
fn resized(log: &Arc<Log>, capacity: u64) -> Result<Arc<MemoryMedia>, ResizeError> {
    let geometry = Geometry { capacity };
    let kept = keep::choose(log, geometry, &mut |_| Ok(())).unwrap()?;
    let media = Arc::new(MemoryMedia::with(vec![0; (DATA_START + capacity) as usize]));
    let new = copy::copy(log, kept, Box::new(Arc::clone(&media)), &clock(), &mut |_| Ok(())).unwrap();
    copy::check(&new, &*media, &mut |_| Ok(())).unwrap();
    // All of it is durable.
    Ok(Arc::new(MemoryMedia::with(media.after_power_cut(|| false))))
}

fn holds_the_same(old: &Found, new: &Found, context: &str) {
    let first = new.records.first().map_or(u64::MAX, |record| record.0);
    let expected: Vec<&Seen> = old.records.iter().filter(|record| record.0 >= first).collect();
    assert!(expected.into_iter().eq(&new.records), "{context}: records");
    let (safe, tail) = (old.log.outcome().1.seq, new.log.tail().seq);
    assert!(tail <= safe, "{context}: all that may be sent again is there: {tail} {safe}");
    assert_eq!(old.ledger(), new.ledger(), "{context}: the ledger");
    assert_eq!(old.counts(), new.counts(), "{context}: counts of sources");
    assert_eq!(old.filters(), new.filters(), "{context}: state");
    assert_eq!(old.held_rows, new.held_rows, "{context}: rows held back");
    assert_eq!(old.report.pending_rows, new.report.pending_rows, "{context}: rows that wait");
    assert_eq!(old.log.outcome().0.settled.seq.max(tail), new.log.outcome().0.settled.seq, "{context}: settled");
    assert_eq!(safe, new.log.outcome().1.seq, "{context}: safe");
    assert_eq!(old.log.appended().seq, new.log.appended().seq, "{context}: the next number");
    assert_eq!(old.log.ring_id(), new.log.ring_id(), "{context}: the id");
    assert!(new.report.clean && new.report.lost_rows == 0, "{context}: {:?}", new.report);
    let gaps: Vec<(Seq, Seq)> = old.gaps().into_iter().filter(|(from, _)| *from >= tail).collect();
    assert_eq!(gaps, new.gaps(), "{context}: gaps");
}

#[test]
fn a_ring_of_another_size_holds_the_same() {
    let (mut kept, mut given_up, mut refused) = (0, 0, 0);
    for seed in 0..60 {
        let mut rng = Rng::with_seed(seed);
        let capacity = CAPACITIES[rng.usize(..3)];
        let media = used(&mut rng, capacity);
        let old = Found::of(&media);
        let mut log = Arc::clone(&old.log);
        // There and back again.
        for turn in 0..3 {
            let capacity = CAPACITIES[rng.usize(..4)];
            let context = format!("seed {seed}, turn {turn}, to {capacity}");
            match resized(&log, capacity) {
                Ok(media) => {
                    let new = Found::of(&media);
                    holds_the_same(&old, &new, &context);
                    let all = new.records.len() == old.records.len();
                    (kept, given_up) = (kept + u64::from(all), given_up + u64::from(!all));
                    log = new.log;
                }
                Err(ResizeError::TooSmall { size, kept, least }) => {
                    assert!(kept.0 > size.0 / 2 && least > kept, "{context}: {size} {kept} {least}");
                    refused += 1;
                }
                Err(other) => panic!("{context}: {other}"),
            }
        }
    }
    assert!(kept > 20 && given_up > 20 && refused > 3, "all cases are met: {kept} {given_up} {refused}");
}

/// The numbers that are lost, stretches that follow each other taken together.
fn missing(found: &Found) -> Vec<(u64, u64)> {
    let mut missing: Vec<(u64, u64)> = Vec::new();
    for (first, last) in found.gaps().into_iter().map(|(first, last)| (first.0, last.0)).filter(|(a, b)| a <= b) {
        match missing.last_mut() {
            Some(before) if before.1 + 1 == first => before.1 = last,
            _ => missing.push((first, last)),
        }
    }
    missing
}

#[test]
fn what_was_lost_to_damage_is_a_gap_in_the_new_ring_too() {
    let mut met = 0;
    for seed in 100..130 {
        let mut rng = Rng::with_seed(seed);
        let media = used(&mut rng, MIN_CAPACITY);
        let mut image = media.after_power_cut(|| true);
        for _ in 0..rng.usize(1..4) {
            let sectors = MIN_CAPACITY / SECTOR_BYTES;
            let at = (DATA_START + rng.u64(..sectors - 2) * SECTOR_BYTES) as usize;
            image[at..at + 1_024].fill(0xAA);
        }
        let old = Found::of(&Arc::new(MemoryMedia::with(image)));
        if old.report.gaps.is_empty() {
            continue;
        }
        met += 1;
        let new = Found::of(&resized(&old.log, 4 * MIN_CAPACITY).unwrap());
        assert_eq!(missing(&old), missing(&new), "seed {seed}");
        assert_eq!(old.ledger(), new.ledger(), "seed {seed}");
        assert_eq!(old.records, new.records, "seed {seed}");
    }
    assert!(met > 8, "{met} rings with a gap");
}

#[test]
fn a_damaged_header_of_the_new_ring_costs_nothing() {
    let mut rng = Rng::with_seed(7);
    let old = Found::of(&used(&mut rng, 2 * MIN_CAPACITY));
    assert!(old.log.outcome().0.stored > 0, "some of it is settled");
    let media = resized(&old.log, 4 * MIN_CAPACITY).unwrap();
    for slots in [vec![0], vec![4096], vec![0, 4096]] {
        let mut image = media.after_power_cut(|| false);
        for at in slots {
            image[at..at + 512].fill(0xAA);
        }
        let new = Found::of(&Arc::new(MemoryMedia::with(image)));
        assert_eq!(old.records, new.records);
        assert_eq!((old.ledger(), old.counts()), (new.ledger(), new.counts()));
    }
}

#[test]
fn a_file_of_an_earlier_version_can_be_resized() {
    for data in [
        include_bytes!("../../../tests/data/ring-format-1.bin").as_slice(),
        include_bytes!("../../../tests/data/ring-format-2.bin"),
        include_bytes!("../../../tests/data/ring-format-3.bin"),
        include_bytes!("../../../tests/data/ring-format-4.bin"),
    ] {
        let mut image = data.to_vec();
        image.resize(1 << 20, 0);
        let old = Found::of(&Arc::new(MemoryMedia::with(image)));
        let new = Found::of(&resized(&old.log, 2 << 20).unwrap());
        assert_eq!(old.records, new.records);
        assert_eq!((old.ledger(), old.counts()), (new.ledger(), new.counts()));
        assert!(!new.records.is_empty());
    }
}

#[test]
fn a_record_that_the_new_ring_cannot_hold_refuses_it() {
    let media = empty(16 * MIN_CAPACITY);
    let heartbeat = Heartbeats::new(clock()).register("committer");
    let mut still =
        Still::open(Box::new(Arc::clone(&media)), &Settings::default(), Duration::ZERO, clock(), heartbeat).unwrap();
    let large = vec![1; MIN_CAPACITY as usize / 4];
    let part = |body| Part { kind: Kind::Rows, table_hash: 1, rows: 1, body, ..Part::default() };
    still.ring.append(&[part(&large)], Received::default()).unwrap();
    still.commit().unwrap();
    let found = Found::of(&Arc::new(MemoryMedia::with(media.after_power_cut(|| true))));
    match resized(&found.log, MIN_CAPACITY) {
        Err(ResizeError::LargeRecord { seq, least, .. }) => {
            assert_eq!(seq, Seq(1));
            assert!(resized(&found.log, least.0).is_ok(), "{least} is enough");
        }
        other => panic!("{:?}", other.map(drop)),
    }
    // Stored, it is history, which may go.
    still.ring.lane_done(0, still.ring.marks().durable);
    still.ring.confirm_kept(Duration::ZERO);
    still.ring.append(&[part(&[2; 100])], Received::default()).unwrap();
    still.commit().unwrap();
    still.ring.close().unwrap();
    let found = Found::of(&Arc::new(MemoryMedia::with(media.after_power_cut(|| true))));
    let new = Found::of(&resized(&found.log, MIN_CAPACITY).unwrap());
    assert_eq!((new.records.len(), new.records[0].0), (1, 2));
    assert_eq!(new.ledger(), found.ledger());
}

#[test]
fn a_file_changes_its_size_in_place_and_what_a_killed_change_left_goes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ring");
    let settings = Settings { path: path.clone(), size: Bytes::mib(1), ..Settings::default() };
    let open = || {
        let heartbeat = Heartbeats::new(clock()).register("test");
        Ring::open(&settings, Duration::ZERO, clock(), heartbeat, &mut |_| {}, &mut |_| {}).unwrap()
    };
    assert!(matches!(resize(&path, 2 << 20, &clock(), &mut |_| Ok(())), Err(ResizeError::NoRing(_))));
    let opened = open();
    let body = vec![1; 1_000];
    for _ in 0..100 {
        let part = Part { kind: Kind::Rows, table_hash: 1, rows: 3, body: &body, ..Part::default() };
        opened.ring.append(&[part], Received::default()).unwrap();
    }
    let locked = resize(&path, 2 << 20, &clock(), &mut |_| Ok(()));
    assert!(matches!(locked, Err(ResizeError::Open(OpenError::File(FileError::Locked(_))))), "{locked:?}");
    opened.ring.close().unwrap();
    drop(opened);
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let done = resize(&path, 3 << 20, &clock(), &mut |_| Ok(())).unwrap();
    assert_eq!((done.from_bytes, done.to_bytes, done.records, done.given_up), (1 << 20, 3 << 20, 100, 0));
    let found = std::fs::metadata(&path).unwrap();
    assert_eq!(found.len(), 3 << 20);
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o777, 0o600);
    let small = resize(&path, 1 << 18, &clock(), &mut |_| Ok(()));
    assert!(matches!(small, Err(ResizeError::Open(OpenError::Size(_)))), "{small:?}");
    let again = resize(&path, 3 << 20, &clock(), &mut |_| Ok(())).unwrap();
    assert_eq!((again.from_bytes, again.to_bytes, again.given_up), (3 << 20, 3 << 20, 0));

    // One that is told to end leaves the ring as it is.
    let told = resize(&path, 20 << 20, &clock(), &mut |_| Err(io::ErrorKind::Interrupted.into()));
    assert!(matches!(told, Err(ResizeError::File(_) | ResizeError::Copy { .. })), "{told:?}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);

    // A link in the place of the new file is not followed.
    let victim = directory.path().join("victim");
    std::fs::write(&victim, b"mine").unwrap();
    std::os::unix::fs::symlink(&victim, directory.path().join("ring.new")).unwrap();
    let linked = resize(&path, 5 << 20, &clock(), &mut |_| Ok(()));
    assert!(matches!(linked, Err(ResizeError::File(_))), "{linked:?}");
    assert_eq!(std::fs::read(&victim).unwrap(), b"mine");
    std::fs::remove_file(directory.path().join("ring.new")).unwrap();
    std::fs::remove_file(&victim).unwrap();

    // As a change leaves it that is killed before its file is whole.
    std::fs::write(directory.path().join("ring.new"), vec![0; 1 << 20]).unwrap();
    let opened = open();
    assert_eq!((opened.report.records, opened.report.pending_rows), (100, 300));
    assert!(opened.report.other_size.is_some() && opened.report.clean);
    opened.ring.close().unwrap();
    drop(opened);
    let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["ring"]);
    std::fs::write(&path, b"no ring").unwrap();
    assert!(matches!(resize(&path, 2 << 20, &clock(), &mut |_| Ok(())), Err(ResizeError::NotARing(_))));
    assert_eq!(std::fs::read(&path).unwrap(), b"no ring");
}
