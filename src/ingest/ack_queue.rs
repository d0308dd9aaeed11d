//! What waits to be acknowledged: tokens complete in the order of their messages as the ring's `ackable` position advances.

use std::collections::VecDeque;

use crate::ring::Pos;

/// A first-in, first-out queue of tokens, each due once `ackable` reaches its message's end.
#[derive(Debug)]
pub struct AckQueue<T> {
    waiting: VecDeque<(Pos, T)>,
    capacity: usize,
}

impl<T: Copy> AckQueue<T> {
    /// An empty queue that takes at most `capacity` tokens.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { waiting: VecDeque::new(), capacity }
    }

    /// Adds the token of a message that ends at `end`; gives it back when the queue is full.
    ///
    /// A message that was accepted without a record of its own may carry a smaller position than the one before it. It
    /// waits for its predecessor all the same: MQTT wants acknowledgements in the order of the messages (MQTT 5, 4.6).
    pub fn push(&mut self, end: Pos, token: T) -> Result<(), T> {
        if self.waiting.len() >= self.capacity {
            return Err(token);
        }
        let end = self.waiting.back().map_or(end, |(last, _)| end.max(*last));
        self.waiting.push_back((end, token));
        Ok(())
    }

    /// The oldest token, if it is due at `ackable`.
    #[must_use]
    pub fn due(&self, ackable: Pos) -> Option<T> {
        self.waiting.front().filter(|(end, _)| *end <= ackable).map(|(_, token)| *token)
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

    fn drain(queue: &mut AckQueue<u32>, ackable: u64) -> Vec<u32> {
        let mut out = Vec::new();
        while let Some(token) = queue.due(Pos(ackable)) {
            queue.pop();
            out.push(token);
        }
        out
    }

    #[test]
    fn a_token_is_due_exactly_when_ackable_reaches_its_end() {
        let mut queue = AckQueue::new(8);
        queue.push(Pos(100), 1).expect("room");
        assert!(drain(&mut queue, 99).is_empty());
        assert_eq!(drain(&mut queue, 100), [1]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_smaller_position_waits_for_its_predecessor() {
        let mut queue = AckQueue::new(8);
        queue.push(Pos(100), 1).expect("room");
        queue.push(Pos(50), 2).expect("room");
        assert!(drain(&mut queue, 60).is_empty());
        assert_eq!(drain(&mut queue, 100), [1, 2]);
    }

    #[test]
    fn a_full_queue_gives_the_token_back() {
        let mut queue = AckQueue::new(2);
        assert_eq!((queue.push(Pos(1), 1), queue.push(Pos(2), 2), queue.push(Pos(3), 3)), (Ok(()), Ok(()), Err(3)));
        assert_eq!(queue.clear(), 2);
        assert!(drain(&mut queue, 9).is_empty());
    }

    proptest! {
        /// In order, none before its time, none forgotten.
        #[test]
        fn tokens_complete_in_order_and_never_early(ends in prop::collection::vec(0u64..1_000, 0..60), steps in prop::collection::vec(0u64..1_200, 0..20)) {
            let mut queue = AckQueue::new(1_000);
            for (token, end) in ends.iter().enumerate() {
                prop_assert!(queue.push(Pos(*end), token as u32).is_ok());
            }
            let mut done = Vec::new();
            let mut ackable = 0;
            for step in steps.into_iter().chain([1_000]) {
                ackable = step.max(ackable);
                done.extend(drain(&mut queue, ackable));
                let mut highest = 0;
                let expected = ends.iter().take_while(|end| { highest = highest.max(**end); highest <= ackable }).count();
                prop_assert_eq!(done.len(), expected);
            }
            prop_assert_eq!(done, (0..ends.len() as u32).collect::<Vec<_>>());
        }
    }
}
