//! How often the socket is read. A broker writes each message by itself, and to be woken for each
//! costs more than to take it in. While many come, what comes within a millisecond is read
//! together; a commit waits longer than that in any case.

use std::{thread, time::Duration};

use tokio::time::Instant;

/// Messages a second from which on it pays. Below, a reading can be read where it is asked for as
/// soon as it comes.
const BUSY_PER_S: f64 = 1_200.0;
/// The rate is that of a span of this length.
const SPAN: Duration = Duration::from_millis(50);
/// How long the socket is left alone.
const REST: Duration = Duration::from_millis(1);

/// Says when to read again.
pub(super) struct Rest {
    since: Instant,
    messages: u32,
    may: bool,
    is_busy: bool,
    is_due: bool,
}

impl Rest {
    /// Nothing came yet. `may` says whether the thread is the connection's alone.
    pub fn new(now: Instant, may: bool) -> Self {
        Self { since: now, messages: 0, may, is_busy: false, is_due: false }
    }

    /// Counts a message.
    pub fn note_message(&mut self) {
        self.messages += 1;
    }

    /// Takes note of a read.
    pub fn after_read(&mut self, now: Instant) {
        let span = now - self.since;
        if span >= SPAN {
            self.is_busy = f64::from(self.messages) > BUSY_PER_S * span.as_secs_f64();
            (self.since, self.messages) = (now, 0);
        }
        self.is_due = self.is_busy && self.may;
    }

    /// Has the thread rest before it waits for more, once after reads. A timer would not do: while
    /// the thread waits for that, what arrives wakes it all the same.
    pub fn before_wait(&mut self) {
        if std::mem::take(&mut self.is_due) {
            thread::sleep(REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_connection_rests_between_reads_and_a_quiet_one_never() {
        let mut now = Instant::now();
        let mut rest = Rest::new(now, true);
        for (a_read, rests) in [(1, false), (3, true), (1, false)] {
            for _ in 0..200 {
                now += Duration::from_millis(1);
                (0..a_read).for_each(|_| rest.note_message());
                rest.after_read(now);
            }
            assert_eq!(rest.is_due, rests, "{a_read} messages a read, a thousand reads a second");
            rest.before_wait();
            assert!(!rest.is_due, "once after a read");
        }
    }
}
