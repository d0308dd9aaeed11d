//! What arrives.

/// Arrivals over time, in rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrivals {
    /// So many a second, each by chance.
    Steady {
        /// Rows a second.
        rows_per_s: f64,
    },
    /// A steady trickle, and a burst every so often.
    Bursty {
        /// Rows a second in between.
        rows_per_s: f64,
        /// Rows of a burst.
        burst_rows: f64,
        /// Seconds it takes to arrive.
        over_s: f64,
        /// Seconds from one to the next.
        every_s: f64,
    },
    /// A day from almost nothing to twice the mean and back.
    Diurnal {
        /// Rows a second, on average.
        rows_per_s: f64,
        /// Seconds of a day.
        day_s: f64,
    },
    /// Rows that wait at the start, and a steady flow on top.
    Backlog {
        /// Rows that wait.
        rows: u64,
        /// Rows a second.
        rows_per_s: f64,
    },
}

impl Arrivals {
    /// Rows that are there at the start.
    pub fn waiting(&self) -> u64 {
        if let Self::Backlog { rows, .. } = self { *rows } else { 0 }
    }

    /// Rows a second expected at a time.
    fn rate(&self, at_s: f64) -> f64 {
        match *self {
            Self::Steady { rows_per_s } | Self::Backlog { rows_per_s, .. } => rows_per_s,
            Self::Bursty { rows_per_s, burst_rows, over_s, every_s } => {
                // The first comes after half an interval.
                let since = (at_s + 0.5 * every_s) % every_s;
                rows_per_s + if since < over_s { burst_rows / over_s } else { 0.0 }
            }
            Self::Diurnal { rows_per_s, day_s } => {
                let phase = std::f64::consts::TAU * at_s / day_s;
                rows_per_s * (1.0 - 0.98 * phase.cos())
            }
        }
    }

    /// Rows that arrive within a span at a time (Poisson).
    pub fn draw(&self, at_s: f64, span_s: f64, random: &mut fastrand::Rng) -> u64 {
        let mean = self.rate(at_s) * span_s;
        if mean > 30.0 {
            return (mean + mean.sqrt() * normal(random)).round().max(0.0) as u64;
        }
        let (limit, mut product, mut count) = ((-mean).exp(), random.f64(), 0);
        while product > limit {
            product *= random.f64();
            count += 1;
        }
        count
    }
}

/// Standard normal, nearly: the sum of twelve uniform ones (Irwin–Hall).
pub fn normal(random: &mut fastrand::Rng) -> f64 {
    (0..12).map(|_| random.f64()).sum::<f64>() - 6.0
}
