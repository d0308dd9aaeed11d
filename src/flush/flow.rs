//! How much arrives and how much waits, told from the ring's watermarks (pure).

use std::time::Duration;

use crate::marks::Pos;

/// Weight of the newest measurement of density, at least: the first few count alike, and what was supposed before them not at all.
const DENSITY_GAIN: f64 = 0.2;
/// Time over which the arrival rate is smoothed, in seconds.
const RATE_TIME_S: f64 = 1.0;
/// What a row is taken to need in the ring before anything is measured, in bytes.
const PRIOR_BYTES_PER_ROW: f64 = 128.0;

/// A lane's estimate of the flow through the ring.
#[derive(Debug, Clone)]
pub struct Flow {
    /// Rows of any lane in a byte of the ring.
    density: f64,
    /// Share of the rows that is this lane's.
    share: f64,
    /// Stretches that were read.
    reads: u32,
    rate_bytes_per_s: f64,
    last: Option<(Duration, Pos)>,
}

impl Default for Flow {
    fn default() -> Self {
        Self { density: 1.0 / PRIOR_BYTES_PER_ROW, share: 1.0, reads: 0, rate_bytes_per_s: 0.0, last: None }
    }
}

impl Flow {
    /// Takes in that a stretch of the ring held so many rows, and so many of the lane's own.
    pub fn read(&mut self, bytes: u64, rows: usize, own_rows: usize) {
        if bytes == 0 || rows == 0 {
            return;
        }
        self.reads = self.reads.saturating_add(1);
        let gain = DENSITY_GAIN.max(1.0 / f64::from(self.reads));
        self.density += gain * (rows as f64 / bytes as f64 - self.density);
        // That all are its own counts as one stretch: a first one with none of them says little.
        let gain = DENSITY_GAIN.max(1.0 / (f64::from(self.reads) + 1.0));
        self.share += gain * (own_rows as f64 / rows as f64 - self.share);
    }

    /// Takes in how far the durable watermark is at `now`.
    pub fn arrived(&mut self, now: Duration, durable: Pos) {
        if let Some((then, from)) = self.last {
            let elapsed = now.saturating_sub(then).as_secs_f64();
            if elapsed < 1e-3 {
                return;
            }
            let rate = durable.0.saturating_sub(from.0) as f64 / elapsed;
            self.rate_bytes_per_s += (1.0 - (-elapsed / RATE_TIME_S).exp()) * (rate - self.rate_bytes_per_s);
        }
        self.last = Some((now, durable));
    }

    /// Rows of all lanes that arrive a second.
    pub fn rows_per_s(&self) -> f64 {
        self.rate_bytes_per_s * self.density
    }

    /// The lane's own rows that arrive a second.
    pub fn own_rows_per_s(&self) -> f64 {
        self.rows_per_s() * self.share
    }

    /// How long so many bytes of the ring took to arrive.
    pub fn time_for(&self, bytes: u64) -> Duration {
        let seconds = bytes as f64 / self.rate_bytes_per_s.max(1.0);
        Duration::from_secs_f64(seconds.min(1e9))
    }

    /// The lane's own rows in so many bytes of the ring.
    pub fn own_rows(&self, bytes: u64) -> f64 {
        bytes as f64 * self.density * self.share
    }

    /// Bytes of the ring in which so many rows of the lane's own are expected.
    pub fn bytes_for(&self, own_rows: usize) -> u64 {
        (own_rows as f64 / (self.density * self.share.max(0.01))) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_a_steady_flow() {
        let mut flow = Flow::default();
        for tick in 0..100u64 {
            flow.arrived(Duration::from_millis(100 * tick), Pos(20_000 * tick));
            flow.read(20_000, 100, 50);
        }
        assert!((flow.rows_per_s() / 1_000.0 - 1.0).abs() < 0.01, "{flow:?}");
        assert!((flow.own_rows(20_000) - 50.0).abs() < 0.5);
        assert!((flow.bytes_for(50) as i64 - 20_000).abs() < 200);
    }

    #[test]
    fn the_first_stretch_tells_what_a_row_takes() {
        let mut flow = Flow::default();
        flow.read(30_000, 100, 100);
        assert!(flow.bytes_for(1_000).abs_diff(300_000) <= 1);
        flow.read(30_000, 200, 200);
        assert!(flow.bytes_for(1_000).abs_diff(200_000) <= 1);
    }

    #[test]
    fn nothing_read_changes_nothing() {
        let mut flow = Flow::default();
        flow.read(0, 0, 0);
        flow.arrived(Duration::ZERO, Pos(0));
        flow.arrived(Duration::ZERO, Pos(9));
        assert!(flow.rows_per_s().abs() < f64::EPSILON && flow.bytes_for(1) == 128);
    }
}
