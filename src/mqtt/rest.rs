//! How often the socket is read. A broker writes each message by itself, and to be woken for each costs more than to take it in. While
//! many come, what comes within a millisecond or two is read together; a commit waits longer than that in any case.

use std::time::Duration;

use tokio::time::Instant;

/// Messages a second from which on it pays. Below, a reading can be read where it is asked for as soon as it comes.
const BUSY_PER_S: f64 = 1_200.0;
/// The rate is that of a span of this length.
const SPAN: Duration = Duration::from_millis(50);
/// How long the socket is left alone; a timer may take a millisecond more.
const REST: Duration = Duration::from_millis(1);

/// Says when to read again.
pub(super) struct Rest {
    since: Instant,
    messages: u32,
    is_busy: bool,
}

impl Rest {
    /// Nothing came yet.
    pub fn new(now: Instant) -> Self {
        Self { since: now, messages: 0, is_busy: false }
    }

    /// Counts a message.
    pub fn note_message(&mut self) {
        self.messages += 1;
    }

    /// Takes note of a read, behind which there may be more at hand. When to read again; none: at once.
    pub fn next_read(&mut self, now: Instant, has_more: bool) -> Option<Instant> {
        let span = now - self.since;
        if span >= SPAN {
            self.is_busy = f64::from(self.messages) > BUSY_PER_S * span.as_secs_f64();
            (self.since, self.messages) = (now, 0);
        }
        (self.is_busy && !has_more).then_some(now + REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_connection_rests_between_reads_and_a_quiet_one_never() {
        let mut now = Instant::now();
        let mut rest = Rest::new(now);
        for (a_read, rests) in [(1, false), (3, true), (1, false)] {
            let mut next = None;
            for _ in 0..200 {
                now += Duration::from_millis(1);
                (0..a_read).for_each(|_| rest.note_message());
                next = rest.next_read(now, false);
            }
            assert_eq!(next, rests.then_some(now + REST), "{a_read} messages a read, a thousand reads a second");
            assert_eq!(rest.next_read(now, true), None, "what is at hand is read at once");
        }
    }
}
