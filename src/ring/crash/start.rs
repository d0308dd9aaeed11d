//! How a ring begins.

use std::sync::Arc;

use fastrand::Rng;

use super::{
    super::{
        append::Part,
        consumers::Consumers,
        layout::{DATA_START, FORMAT_VERSION, Header, Kind},
        ledger::{Intake, Outcome},
        marks::{Mark, Pos, Seq},
    },
    check,
    media::{CrashMedia, Leaves},
};
use crate::{point::Received, tally::Tally};

/// A ring of a random small size. What its file system had there before may show through, as if its creation had not zeroed it.
pub fn new_ring(rng: &mut Rng, leaves_leftovers: bool) -> Vec<u8> {
    let capacity = [12, 16, 16, 24, 24, 32][rng.usize(..6)] * 1024;
    let mut image = vec![0; (DATA_START + capacity) as usize];
    if leaves_leftovers && rng.bool() {
        leftovers(&mut image, capacity, rng);
    }
    put_header(&mut image, 77, capacity);
    image
}

fn put_header(image: &mut [u8], ring_id: u64, capacity: u64) {
    let start = Mark { pos: Pos(0), seq: Seq(1) };
    let header = Header {
        version: FORMAT_VERSION,
        counter: 1,
        ring_id,
        capacity,
        generation: 0,
        clean: true,
        boot_id: [0; 16],
        tail: start,
        durable: start,
        opened: Received::default(),
        intake: Intake::default(),
        consumers: Consumers::questdb(start, Outcome { settled: start, ..Outcome::default() }),
    };
    let at = header.slot_offset() as usize;
    let bytes = header.encode();
    image[at..at + bytes.len()].copy_from_slice(&bytes);
}

/// Records and commits of another ring that once lay in the same place.
fn leftovers(image: &mut [u8], capacity: u64, rng: &mut Rng) {
    put_header(image, 66, capacity);
    let media = Arc::new(CrashMedia::with(image.to_vec(), 4096));
    let Ok((opened, _)) = check::open(Arc::clone(&media), None) else { return };
    for _ in 0..rng.usize(1..10) {
        let body = vec![rng.u8(..); rng.usize(..300)];
        let part = Part { kind: Kind::Rows, table_hash: 1, rows: 1, body: &body, ..Part::default() };
        if opened.log.append(&[part], Received::default(), Tally::default()).is_err()
            || opened.log.commit(true).is_err()
        {
            break;
        }
    }
    let left = media.after_power_cut(Leaves::Newest, rng);
    image[DATA_START as usize..].copy_from_slice(&left[DATA_START as usize..]);
}
