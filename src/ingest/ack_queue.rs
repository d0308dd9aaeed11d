//! What waits to be acknowledged: tokens complete in the order of their messages as what is `ackable` advances.

use std::collections::VecDeque;

use crate::marks::Ackable;

/// A first-in, first-out queue of tokens, each due once `ackable` covers its message.
#[derive(Debug)]
pub struct AckQueue<T> {
    waiting: VecDeque<(Ackable, T)>,
    capacity: usize,
}

impl<T: Copy> AckQueue<T> {
    /// An empty queue that takes at most `capacity` tokens.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { waiting: VecDeque::new(), capacity }
    }

    /// Adds the token of a message that waits for `due`; gives it back when the queue is full.
    ///
    /// A message that was refused waits for its count alone, and one that was accepted for its position. Both wait for their predecessor all
    /// the same: MQTT wants acknowledgements in the order of the messages (MQTT 5, 4.6).
    pub fn push(&mut self, due: Ackable, token: T) -> Result<(), T> {
        if self.waiting.len() >= self.capacity {
            return Err(token);
        }
        let due = self.waiting.back().map_or(due, |(last, _)| due.both(*last));
        self.waiting.push_back((due, token));
        Ok(())
    }

    /// The oldest token, if it is due at `ackable`.
    #[must_use]
    pub fn due(&self, ackable: Ackable) -> Option<T> {
        self.waiting.front().filter(|(due, _)| ackable.covers(*due)).map(|(_, token)| *token)
    }

    /// Takes the oldest token off.
    pub fn pop(&mut self) -> Option<T> {
        self.waiting.pop_front().map(|(_, token)| token)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Forgets every token, as when the connection they belong to is gone; says how many there were.
    pub fn clear(&mut self) -> usize {
        let stale = self.waiting.len();
        self.waiting.clear();
        stale
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::marks::Pos;

    fn at(pos: u64, refused: u64) -> Ackable {
        Ackable { pos: Pos(pos), refused, ..Ackable::default() }
    }

    fn drain(queue: &mut AckQueue<u32>, ackable: Ackable) -> Vec<u32> {
        let mut out = Vec::new();
        while let Some(token) = queue.due(ackable) {
            queue.pop();
            out.push(token);
        }
        out
    }

    #[test]
    fn a_token_is_due_exactly_when_ackable_reaches_its_end() {
        let mut queue = AckQueue::new(8);
        queue.push(at(100, 0), 1).expect("room");
        assert!(drain(&mut queue, at(99, 9)).is_empty());
        assert_eq!(drain(&mut queue, at(100, 0)), [1]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_refused_message_is_due_exactly_when_it_is_counted() {
        let mut queue = AckQueue::new(8);
        queue.push(at(0, 5), 1).expect("room");
        assert!(drain(&mut queue, at(99, 4)).is_empty());
        assert_eq!(drain(&mut queue, at(0, 5)), [1]);
    }

    #[test]
    fn whatever_comes_later_waits_for_its_predecessor() {
        let mut queue = AckQueue::new(8);
        for (due, token) in [(at(100, 0), 1), (at(0, 5), 2), (at(50, 0), 3)] {
            queue.push(due, token).expect("room");
        }
        assert!(drain(&mut queue, at(60, 5)).is_empty());
        assert_eq!(drain(&mut queue, at(100, 4)), [1]);
        assert_eq!(drain(&mut queue, at(100, 5)), [2, 3]);
    }

    #[test]
    fn a_full_queue_gives_the_token_back() {
        let mut queue = AckQueue::new(2);
        assert_eq!(
            (queue.push(at(1, 0), 1), queue.push(at(2, 0), 2), queue.push(at(3, 0), 3)),
            (Ok(()), Ok(()), Err(3))
        );
        assert_eq!(queue.clear(), 2);
        assert!(drain(&mut queue, at(9, 9)).is_empty());
    }

    proptest! {
        /// In order, none before its time, none forgotten.
        #[test]
        fn tokens_complete_in_order_and_never_early(
            dues in prop::collection::vec((0u64..1_000, 0u64..1_000), 0..60),
            steps in prop::collection::vec((0u64..1_200, 0u64..1_200), 0..20),
        ) {
            let mut queue = AckQueue::new(1_000);
            for (token, (pos, refused)) in dues.iter().enumerate() {
                prop_assert!(queue.push(at(*pos, *refused), token as u32).is_ok());
            }
            let mut done = Vec::new();
            let mut ackable = at(0, 0);
            for (pos, refused) in steps.into_iter().chain([(1_000, 1_000)]) {
                ackable = ackable.both(at(pos, refused));
                done.extend(drain(&mut queue, ackable));
                let is_covered = |due: &&(u64, u64)| due.0 <= ackable.pos.0 && due.1 <= ackable.refused;
                prop_assert_eq!(done.len(), dues.iter().take_while(is_covered).count());
            }
            prop_assert_eq!(done, (0..dues.len() as u32).collect::<Vec<_>>());
        }
    }
}
