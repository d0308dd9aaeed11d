//! Messages between the connection, which never waits, and the printing, which a slow reader holds
//! up. What finds no room is counted.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex},
    time::{Duration, Instant},
};

use crate::{
    mqtt::listener::Heard,
    point::Received,
    sync::{lock, wait_while},
};

/// Most messages that wait.
const MAX_MESSAGES: usize = 4_096;
/// Most bytes of their topics and payloads, but for a single message that has more.
const MAX_BYTES: usize = 16 << 20;
/// How long a wait without an end of its own lasts at most; then there is an empty batch.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// The messages that wait to be printed.
#[derive(Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<(Heard, Received)>,
    bytes: usize,
    dropped: u64,
    is_closed: bool,
}

/// What has come since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The messages, oldest first; none where the wait was over before one came.
    pub messages: VecDeque<(Heard, Received)>,
    /// Messages after these that found no room.
    pub dropped: u64,
    /// Whether nothing more comes.
    pub is_last: bool,
}

impl Queue {
    /// Adds a message, if there is room.
    pub fn put(&self, heard: Heard, received: Received) {
        let properties = heard.user_properties.iter().map(|(name, value)| name.len() + value.len());
        let bytes = heard.topic.len() + heard.payload.len() + properties.sum::<usize>();
        let mut waiting = lock(&self.waiting);
        let has_room = waiting.messages.len() < MAX_MESSAGES && waiting.bytes + bytes <= MAX_BYTES;
        // What comes after a message that was dropped waits for the next batch, so that the place
        // of the gap is known.
        if waiting.dropped == 0 && (has_room || waiting.messages.is_empty()) {
            waiting.bytes += bytes;
            waiting.messages.push_back((heard, received));
        } else {
            waiting.dropped += 1;
        }
        drop(waiting);
        self.changed.notify_one();
    }

    /// Says that nothing more comes.
    pub fn close(&self) {
        lock(&self.waiting).is_closed = true;
        self.changed.notify_one();
    }

    /// Takes all that waits, and waits for it until then at the latest. May give nothing.
    pub fn take(&self, until: Option<Instant>) -> Batch {
        let is_idle = |waiting: &mut Waiting| waiting.messages.is_empty() && !waiting.is_closed;
        let left = until.map_or(LONGEST_WAIT, |until| until.saturating_duration_since(Instant::now()));
        let mut waiting = wait_while(&self.changed, lock(&self.waiting), left, is_idle);
        waiting.bytes = 0;
        Batch {
            messages: std::mem::take(&mut waiting.messages),
            dropped: std::mem::take(&mut waiting.dropped),
            is_last: waiting.is_closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::Timestamp;

    const RECEIVED: Received = Received { wall: Timestamp(0), since_boot_ns: 0 };

    fn put(queue: &Queue, bytes: usize) {
        queue.put(Heard { payload: vec![0; bytes], ..Heard::default() }, RECEIVED);
    }

    fn taken(queue: &Queue) -> (usize, u64) {
        let batch = queue.take(Some(Instant::now()));
        (batch.messages.len(), batch.dropped)
    }

    #[test]
    fn so_many_messages_wait_and_the_rest_is_counted() {
        let queue = Queue::default();
        for _ in 0..MAX_MESSAGES + 3 {
            put(&queue, 1);
        }
        assert_eq!(taken(&queue), (MAX_MESSAGES, 3));
        put(&queue, 1);
        assert_eq!((taken(&queue), taken(&queue)), ((1, 0), (0, 0)));
    }

    #[test]
    fn so_many_bytes_wait_and_a_single_message_may_have_more() {
        let queue = Queue::default();
        put(&queue, MAX_BYTES / 2);
        put(&queue, MAX_BYTES / 2);
        put(&queue, 1);
        assert_eq!(taken(&queue), (2, 1));
        put(&queue, MAX_BYTES + 1);
        put(&queue, 0);
        assert_eq!(taken(&queue), (1, 1));
    }

    #[test]
    fn what_comes_after_a_gap_waits_behind_it() {
        let queue = Queue::default();
        put(&queue, MAX_BYTES);
        put(&queue, 1);
        put(&queue, 0);
        assert_eq!(taken(&queue), (1, 2));
    }

    #[test]
    fn a_closed_queue_gives_what_is_left() {
        let queue = Queue::default();
        put(&queue, 1);
        queue.close();
        let batch = queue.take(None);
        assert!(batch.messages.len() == 1 && batch.is_last);
        assert!(queue.take(None).is_last);
    }
}
