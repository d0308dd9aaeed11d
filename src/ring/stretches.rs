//! Which stretches of the medium are being stored to. Stores that overlap take turns; others do not
//! wait for each other, since a large message is written for milliseconds.

use std::{
    ops::Range,
    sync::{Condvar, Mutex},
};

use crate::sync::{lock, wait_untimed};

/// The stretches under way.
#[derive(Debug, Default)]
pub(super) struct Stretches {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    under_way: Vec<Range<u64>>,
    /// How many wait for one of them to end.
    waiting: usize,
}

impl Stretches {
    /// Waits until no store under way overlaps, and keeps others that do away until the turn is
    /// dropped.
    pub fn turn(&self, stretch: Range<u64>) -> Turn<'_> {
        let mut state = lock(&self.state);
        let overlaps = |other: &Range<u64>| other.start < stretch.end && stretch.start < other.end;
        while state.under_way.iter().any(overlaps) {
            state.waiting += 1;
            state = wait_untimed(&self.ended, state);
            state.waiting -= 1;
        }
        state.under_way.push(stretch.clone());
        Turn { stretches: self, stretch }
    }
}

/// The right to store to a stretch.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    stretches: &'a Stretches,
    stretch: Range<u64>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.stretches.state);
        if let Some(at) = state.under_way.iter().position(|other| *other == self.stretch) {
            state.under_way.swap_remove(at);
        }
        if state.waiting > 0 {
            self.stretches.ended.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::channel, thread, time::Duration};

    use super::*;

    #[test]
    fn stores_apart_do_not_wait_and_those_that_overlap_do() {
        let stretches = Stretches::default();
        let (first, second) = (stretches.turn(10..20), stretches.turn(20..30));
        let (done, is_done) = channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                drop(stretches.turn(15..25));
                done.send(()).unwrap();
            });
            while lock(&stretches.state).waiting == 0 {
                assert!(is_done.try_recv().is_err(), "it overlaps both");
                thread::yield_now();
            }
            drop(first);
            // It may look, and waits again.
            drop(stretches.turn(0..10));
            assert!(is_done.try_recv().is_err(), "it overlaps the second");
            drop(second);
            is_done.recv_timeout(Duration::from_secs(30)).unwrap();
        });
        let state = lock(&stretches.state);
        assert_eq!((state.under_way.len(), state.waiting), (0, 0));
    }
}
