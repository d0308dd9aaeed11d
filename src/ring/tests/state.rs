//! What outlives the tail, in the log.

use super::*;
use crate::{
    point::{Row, RowNotes, Timestamp},
    ring::{
        layout::{most_state_bytes, reserve_bytes},
        state::StateKind,
    },
    tally::{Counter, Counts, SourceId},
};

const FILTER: StateKind = StateKind::FILTER;

/// The body of a record with one row.
fn body(notes: RowNotes) -> Vec<u8> {
    let mut body = Vec::new();
    let row = Row { time: Some(Timestamp(1)), notes, ..Row::default() };
    crate::entry::encode_rows("t", &[row], &mut body).unwrap();
    body
}

fn counts(log: &Log, source: SourceId) -> Counts {
    let find =
        |states: &crate::ring::States| states.sources().find(|(id, ..)| *id == source).map(|(.., counts)| counts);
    log.with_states(find).unwrap_or_default()
}

fn reopened(life: &Life) -> Life {
    Life::begin(life.media.after_power_cut(|| true), Vec::new(), Seq(0))
}

#[test]
fn state_outlives_many_laps() {
    let mut life = Life::begin(empty(), Vec::new(), Seq(0));
    life.log.set_state(FILTER, b"plant/#", Some(&[1])).unwrap();
    life.log.set_state(FILTER, b"gone/#", Some(&[1])).unwrap();
    life.commit();
    life.log.set_state(FILTER, b"gone/#", None).unwrap();
    let mut rng = Rng::with_seed(3);
    while life.log.appended().pos.0 < 4 * MIN_CAPACITY {
        while !life.append(&mut rng) {
            life.commit();
            let durable = life.log.durable();
            life.settlement.lane_done(0, durable, Duration::ZERO).unwrap();
            life.free_some();
        }
    }
    life.commit();
    let again = reopened(&life);
    let kept = |states: &crate::ring::States| states.all(FILTER).map(|(key, _)| key.to_vec()).collect::<Vec<_>>();
    assert_eq!(again.log.with_states(kept), [b"plant/#".to_vec()]);
    assert!(again.log.tail().pos.0 > MIN_CAPACITY, "the tail has passed where it was set");
    assert_eq!(again.log.with_states(|states| states.bytes().0), 8 + 7 + 1, "the removed one is forgotten");
}

#[test]
fn rows_behind_the_last_commit_count_too() {
    let mut life = Life::begin(empty(), Vec::new(), Seq(0));
    let source = life.log.register_sources(&["one"])[0];
    let (untimed, replaced) =
        (RowNotes { untimed: true, ..RowNotes::default() }, RowNotes { replaced: 1, ..RowNotes::default() });
    let append = |life: &Life, notes: RowNotes| {
        let body = body(notes);
        let part =
            Part { kind: Kind::Rows, source, table_hash: 1, rows: 1, body: &body, has_notes: true, ..Part::default() };
        life.log.append(&[part], Received::default(), Tally { source, counts: notes.counts() }).unwrap();
    };
    append(&life, untimed);
    life.commit();
    append(&life, untimed);
    append(&life, replaced);
    let wanted = Counts { untimed: 2, replaced: 1, ..Counts::default() };
    assert_eq!(counts(&life.log, source), wanted);
    // Killed: what is appended is in the file, and nothing has sealed it.
    let again = reopened(&life);
    assert_eq!(counts(&again.log, source), wanted);
    assert_eq!(counts(&reopened(&again).log, source), wanted, "once only");
}

#[test]
fn a_message_without_a_record_may_be_acknowledged_once_its_count_is_durable() {
    let mut life = Life::begin(empty(), Vec::new(), Seq(0));
    let source = life.log.register_sources(&["one"])[0];
    life.commit();
    let tally = Tally { source, counts: Counts::one(Counter::Empty) };
    let number = life.log.note(tally).unwrap();
    assert!(life.log.ackable().notes < number && life.log.unsealed());
    life.commit();
    assert!(life.log.ackable().notes >= number && !life.log.unsealed());
    assert_eq!(counts(&reopened(&life).log, source).empty, 1);
}

#[test]
fn a_full_ring_takes_no_notes_and_can_still_seal_and_move() {
    let mut life = Life::begin(empty(), Vec::new(), Seq(0));
    let source = life.log.register_sources(&["one"])[0];
    let most = most_state_bytes(MIN_CAPACITY) as usize;
    let room = most - life.log.with_states(|states| states.bytes().0) - 8 - 1;
    life.log.set_state(FILTER, b"x", Some(&vec![7; room])).unwrap();
    assert!(life.log.set_state(FILTER, b"y", Some(b"")).is_err(), "the state is full");
    let mut rng = Rng::with_seed(5);
    while life.append(&mut rng) {}
    let tally = Tally { source, counts: Counts::one(Counter::Empty) };
    while life.log.free_bytes() >= reserve_bytes(MIN_CAPACITY) {
        let part = Part { kind: Kind::Clear, body: &[], ..Part::default() };
        if life.log.append(&[part], Received::default(), tally).is_err() {
            break;
        }
    }
    life.commit();
    assert!(!life.log.unsealed(), "there was room to seal it");
    assert!(matches!(life.log.note(tally), Err(AppendError::Full)));
    for value in 8..60 {
        assert!(life.log.set_state(FILTER, b"x", Some(&vec![value; room])).is_ok(), "what is known may change");
        life.commit();
    }
    let left = life.log.free_bytes();
    assert!(left >= reserve_bytes(MIN_CAPACITY) / 2, "what is left is for the tail's next move: {left}");
    let durable = life.log.durable();
    life.settlement.lane_done(0, durable, Duration::ZERO).unwrap();
    let tail = life.log.tail();
    life.free_some();
    assert!(life.log.tail() > tail);
    let part = Part { kind: Kind::Clear, body: &[], ..Part::default() };
    assert!(life.log.append(&[part], Received::default(), tally).is_ok());
    let kept = reopened(&life).log.with_states(|states| states.get(FILTER, b"x").map(<[u8]>::to_vec));
    assert_eq!(kept, Some(vec![59; room]));
}
