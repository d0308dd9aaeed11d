//! Whether a page's worth waits to be sealed. Messages that were read together are appended at
//! once, so it matters how many bytes they usually are.

use std::sync::atomic::Ordering;

use super::{Head, Log};
use crate::{point::Received, ring::layout};

/// Bytes of the messages that came with the same time of receipt.
#[derive(Debug, Default)]
pub(super) struct Clump {
    received_ns: u64,
    bytes: u64,
    before: u64,
}

impl Clump {
    /// Takes note of a message.
    pub fn note(&mut self, received_ns: u64, bytes: u64) {
        if received_ns != self.received_ns {
            (self.received_ns, self.before, self.bytes) = (received_ns, self.bytes, 0);
        }
        self.bytes += bytes;
    }

    /// Bytes to be expected of the next ones.
    pub fn next_bytes(&self) -> u64 {
        self.before.max(self.bytes)
    }
}

impl Log {
    /// Counts a message, and looks whether the commit would still end in its page behind others
    /// like those that came lately.
    pub(super) fn note_taken(&self, head: &mut Head, received: Received, bytes: u64) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        head.clump.note(received.since_boot_ns, bytes);
        if !self.has_page.load(Ordering::Relaxed) {
            let (place, commit) = self.place_commit(head.at.pos.0 + head.clump.next_bytes());
            let is_full = place + commit > layout::worthwhile_end(head.sealed.pos.0);
            self.has_page.store(is_full, Ordering::Relaxed);
        }
    }

    /// Whether a page's worth waits to be sealed.
    pub(in crate::ring) fn has_page(&self) -> bool {
        self.has_page.load(Ordering::Relaxed)
    }

    /// Messages that were taken in since the start, those that left no record included.
    pub(in crate::ring) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_ones_are_expected_to_be_as_many_as_lately() {
        let mut clump = Clump::default();
        for (received_ns, bytes, next) in [(5, 100, 100), (5, 100, 200), (6, 100, 200), (7, 100, 100), (7, 250, 350)] {
            clump.note(received_ns, bytes);
            assert_eq!(clump.next_bytes(), next, "{received_ns}");
        }
    }
}
