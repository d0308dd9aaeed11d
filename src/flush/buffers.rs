//! What the lanes' buffers take, counted.

use std::sync::Mutex;

use crate::sync::lock;

/// Memory of all lanes' buffers and windows, in bytes.
#[derive(Debug, Default)]
pub struct Buffers(Mutex<Count>);

#[derive(Debug, Default)]
struct Count {
    by_lane: Vec<usize>,
    peak: usize,
}

impl Buffers {
    /// Takes note of what a lane has now.
    pub fn note(&self, lane: usize, bytes: usize) {
        let mut count = lock(&self.0);
        if count.by_lane.len() <= lane {
            count.by_lane.resize(lane + 1, 0);
        }
        count.by_lane[lane] = bytes;
        count.peak = count.peak.max(count.by_lane.iter().sum());
    }

    /// Now, and at most since the start.
    pub fn now_and_peak(&self) -> (usize, usize) {
        let count = lock(&self.0);
        (count.by_lane.iter().sum(), count.peak)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_of_all_lanes_at_one_time() {
        let buffers = Buffers::default();
        buffers.note(1, 5);
        buffers.note(1, 1);
        buffers.note(0, 3);
        assert_eq!(buffers.now_and_peak(), (4, 5));
    }
}
