//! Rows that are held back until their time is known.

use super::*;
use crate::{marks::State, ring::still::Still};

const ROWS: u16 = 3;

pub(super) fn open(media: &Arc<MemoryMedia>, on_full: OnFull) -> Still {
    let settings = Settings { on_full, ..Settings::default() };
    let heartbeat = Heartbeats::new(clock()).register("committer");
    Still::open(Box::new(Arc::clone(media)), &settings, Duration::ZERO, clock(), heartbeat).unwrap()
}

fn append(ring: &Ring, kind: Kind, front: &[u8]) -> Result<super::super::Appended, AppendError> {
    let body = [front, &[1; 1_000]].concat();
    let releases = kind == Kind::Rows && !front.is_empty();
    ring.append(
        &[Part { kind, table_hash: 1, rows: ROWS, body: &body, releases, ..Part::default() }],
        Received::default(),
    )
}

/// Commits, and says that the lane has stored all of it.
fn store(still: &mut Still) {
    still.commit().unwrap();
    let durable = still.ring.marks().durable;
    still.ring.lane_done(0, durable);
    still.ring.confirm_kept(Duration::ZERO);
    still.commit().unwrap();
}

#[test]
fn others_go_on_until_the_room_for_a_release_is_needed() {
    for on_full in [OnFull::Block, OnFull::DropNewest, OnFull::DropOldest] {
        let media = Arc::new(MemoryMedia::with(empty()));
        let mut still = open(&media, on_full);
        let ring = still.ring.clone();
        append(&ring, Kind::Rows, &[]).unwrap();
        let held = append(&ring, Kind::Held, &[7; 16]).unwrap();
        let from = ring.held().unwrap().0;
        let mut appended = 0;
        while append(&ring, Kind::Rows, &[]).is_ok() {
            store(&mut still);
            appended += 1;
        }
        store(&mut still);
        let head = ring.marks().appended.pos.0 - from.pos.0;
        assert!(head <= MIN_CAPACITY / 4 * 3 && head > MIN_CAPACITY / 4 * 3 - 3_000, "{head}");
        assert!(ring.is_crowded() && append(&ring, Kind::Rows, &[]).is_err(), "{on_full:?}");
        assert!(ring.status().fill > 0.7, "what is held may not be overwritten");
        assert!(ring.marks().tail.pos <= from.pos && ring.marks().settled.seq > held.last, "nothing waits for it");
        assert_eq!((ring.held_rows(), ring.ledger().pending), (u64::from(ROWS), u64::from(ROWS)));
        assert_eq!(ring.state_of(held.first), State::Durable);
        assert_eq!(ring.state_of(Seq(held.first.0 + 1)), State::Stored);

        let release = append(&ring, Kind::Rows, &held.first.0.to_le_bytes()).unwrap();
        store(&mut still);
        ring.released(held.first, ROWS.into(), ring.marks().appended);
        assert_eq!((ring.held(), ring.state_of(release.first)), (None, State::Stored));
        for _ in 0..400 {
            append(&ring, Kind::Rows, &[]).unwrap_or_else(|error| panic!("{on_full:?}: {error}"));
            store(&mut still);
        }
        assert!(ring.marks().tail.seq > release.first);
        let ledger = ring.ledger();
        assert_eq!((ledger.rows, ledger.messages), ((appended + 402) * u64::from(ROWS), appended + 402));
        assert_eq!((ledger.pending, ledger.dropped), (0, 0), "{on_full:?}");
    }
}

#[test]
fn a_start_finds_what_is_held_and_what_is_released() {
    let media = Arc::new(MemoryMedia::with(empty()));
    let mut still = open(&media, OnFull::Block);
    let held: Vec<Seq> = (0..3).map(|_| append(&still.ring, Kind::Held, &[7; 16]).unwrap().first).collect();
    store(&mut still);
    append(&still.ring, Kind::Rows, &held[0].0.to_le_bytes()).unwrap();
    let rows = u64::from(ROWS);
    // Killed: the release is in the file, and nothing has sealed it.
    let media = Arc::new(MemoryMedia::with(media.after_power_cut(|| true)));
    let mut still = open(&media, OnFull::Block);
    let ring = still.ring.clone();
    assert_eq!((ring.held_rows(), ring.ledger().rows, ring.ledger().pending), (2 * rows, 3 * rows, 3 * rows));
    assert_eq!(ring.held().map(|(from, _)| from.seq), Some(held[1]), "the first one is done with");
    store(&mut still);
    assert_eq!((ring.ledger().stored, ring.ledger().pending), (rows, 2 * rows));
    for seq in &held[1..] {
        append(&ring, Kind::Rows, &seq.0.to_le_bytes()).unwrap();
    }
    store(&mut still);
    let media = Arc::new(MemoryMedia::with(media.after_power_cut(|| true)));
    let ring = open(&media, OnFull::Block).ring;
    let ledger = ring.ledger();
    assert_eq!((ring.held(), ledger.rows, ledger.stored + ledger.pending), (None, 3 * rows, 3 * rows));
}
