//! How the memory for rows being encoded and sent is shared out among the lanes (pure).
//!
//! A lane takes its rows out of the ring through a window, fills one buffer and has another under way. What the windows leave
//! of `batch.max_buffered` is halved: one half is shared out among the lanes, the other is lent to one lane at a time.

use super::{Batch, Bytes};

/// Bytes that a lane's reader takes out of the ring at a time.
pub const WINDOW: Bytes = Bytes::kib(64);
/// Largest request whatever memory there is; questdb-rs takes 100 MiB.
pub const MAX_REQUEST: Bytes = Bytes::mib(64);
/// A lane's buffers: the one being filled and the one under way.
const BUFFERS: u64 = 2;

impl Batch {
    /// Bytes of a batch that no setting but `max_buffered` makes larger: what the lane that borrows may have.
    pub fn request_limit(&self) -> Bytes {
        whole(self.own_share().0 + self.max_buffered.0 / 2 / BUFFERS).min(MAX_REQUEST)
    }

    /// Bytes of a batch that a lane may always have.
    pub fn own_share(&self) -> Bytes {
        let lanes = self.max_lanes.max(1) as u64;
        whole((self.max_buffered.0 / 2).saturating_sub(lanes * WINDOW.0) / lanes / BUFFERS)
    }
}

/// In whole KiB: a buffer that doubles until it is full ends there.
fn whole(bytes: u64) -> Bytes {
    Bytes(bytes >> 10 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lanes_together_keep_to_the_memory_they_share() {
        for max_buffered in [Bytes::mib(4), Bytes::mib(8), Bytes(12_345_678), Bytes::mib(1_024)] {
            for max_lanes in 1..=16 {
                let batch = Batch { max_lanes, max_buffered, ..Batch::default() };
                let (own, most) = (batch.own_share().0, batch.request_limit().0);
                let others = (max_lanes as u64 - 1) * (BUFFERS * own + WINDOW.0);
                let all = BUFFERS * most + WINDOW.0 + others;
                assert!(all <= max_buffered.0, "{all} of {max_buffered}");
                assert!(
                    most == MAX_REQUEST.0 || max_buffered.0 - all < (max_lanes as u64 + 1) << 11,
                    "{all} of {max_buffered}: memory left over"
                );
                assert!(own >= WINDOW.0 / 2, "{own}: a lane has next to nothing");
            }
        }
    }
}
