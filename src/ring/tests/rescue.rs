//! Messages that are no rows and are given up for newer ones: saved first, or counted as lost.

use std::{
    io,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{held::open, *};
use crate::{ring::Rescue, sync::lock};

/// Takes all but every seventh; fails to make them durable where it is told to.
#[derive(Default)]
struct Takes {
    taken: Mutex<Vec<Seq>>,
    durable: AtomicBool,
}

impl Rescue for Takes {
    fn save(&self, record: &super::super::Record<'_>) -> io::Result<()> {
        if record.seq.0.is_multiple_of(7) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        lock(&self.taken).push(record.seq);
        Ok(())
    }

    fn finish(&self) -> io::Result<()> {
        if self.durable.load(Ordering::Relaxed) { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }
}

/// Fills the ring twice with messages that are no rows; the numbers of those given up.
fn given_up(rescue: Option<Arc<Takes>>) -> (Ring, u64) {
    let media = Arc::new(MemoryMedia::with(empty()));
    let mut still = open(&media, OnFull::DropOldest);
    let ring = still.ring.clone();
    if let Some(rescue) = rescue {
        ring.set_rescue(rescue);
    }
    let body = [1; 1_000];
    for _ in 0..MIN_CAPACITY / 500 {
        let part = Part { kind: Kind::DeadLetter, body: &body, ..Part::default() };
        ring.append(&[part], Received::default()).unwrap();
        still.commit().unwrap();
    }
    let gone = ring.marks().settled.seq.0 - 1;
    assert!(gone > 100, "{gone}");
    (ring, gone)
}

#[test]
fn what_can_be_saved_is_saved_and_the_rest_is_counted() {
    let takes = Arc::new(Takes { durable: true.into(), ..Takes::default() });
    let (ring, gone) = given_up(Some(Arc::clone(&takes)));
    let expected: Vec<Seq> = (1..=gone).filter(|seq| !seq.is_multiple_of(7)).map(Seq).collect();
    assert_eq!(*lock(&takes.taken), expected);
    assert_eq!(ring.status().dropped_letters, gone / 7);
}

#[test]
fn what_was_saved_and_is_not_durable_is_lost() {
    let (ring, gone) = given_up(Some(Arc::default()));
    assert_eq!(ring.status().dropped_letters, gone);
    let (ring, gone) = given_up(None);
    assert_eq!(ring.status().dropped_letters, gone);
}
