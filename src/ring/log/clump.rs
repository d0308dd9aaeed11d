//! Messages that were read together are appended at once: how many bytes they are, usually.

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
