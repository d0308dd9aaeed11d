//! How many messages the broker has under way at most: then it sends nothing more before one is
//! acknowledged.
//!
//! With MQTT 5 the client says how many there may be (Receive Maximum, section 3.1.2.11.3), and a
//! broker may keep to fewer. With 3.1.1 the broker decides and tells nobody: mosquitto has 20,
//! others 10 to 65,535. So what it does is looked at.

use std::time::Duration;

/// What mosquitto has with MQTT 3.1.1 (`max_inflight_messages`).
const USUAL: usize = 20;
/// So few that wait show nothing.
const LEAST: usize = 4;
/// When nothing has come for so long and messages wait for acknowledgements, that is taken for all
/// that may wait.
const QUIET: Duration = Duration::from_millis(10);

/// The number, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    most: usize,
}

impl Window {
    /// As it is with a version of the protocol and what is told the broker.
    pub fn new(protocol: u8, receive_maximum: u16) -> Self {
        Self { most: if protocol == 5 { receive_maximum.into() } else { USUAL } }
    }

    /// Takes note that so many wait for an acknowledgement.
    pub fn note(&mut self, waiting: usize) {
        if waiting > self.most {
            self.most = usize::MAX;
        }
    }

    /// Takes note of a commit for which so many waited, the last one of them for so long.
    pub fn note_commit(&mut self, waiting: usize, quiet: Duration) {
        if waiting >= LEAST && quiet >= QUIET {
            self.most = waiting;
        }
    }

    /// Whether no more is to come while so many wait.
    pub fn is_full(self, waiting: usize) -> bool {
        waiting >= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_holds_until_the_broker_does_otherwise() {
        let mut window = Window::new(5, 100);
        assert!(window.is_full(100) && !window.is_full(99));
        window.note_commit(32, QUIET);
        assert!(window.is_full(32), "it sends 32 and no more");
        window.note(33);
        assert!(!window.is_full(10_000), "it does send more");
        let mut window = Window::new(4, 100);
        assert!(window.is_full(USUAL));
        window.note_commit(LEAST - 1, QUIET);
        window.note_commit(10, QUIET / 2);
        assert!(!window.is_full(10), "a flow that goes on, or is a trickle, shows nothing");
    }
}
