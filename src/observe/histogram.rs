//! Latencies counted in log-linear buckets: lock-free to record, about 3 % precise, 8 KiB each.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;
use utoipa::ToSchema;

/// Buckets an octave, as a power of two: 32 make each bucket at most 1/32 of its value wide.
const SUB_BITS: u32 = 5;
const SUB: u64 = 1 << SUB_BITS;
/// Values from 2^36 microseconds (19 hours) on share the last bucket.
const MAX_BITS: u32 = 36;
const BUCKETS: usize = ((MAX_BITS - SUB_BITS + 1) as u64 * SUB) as usize;

/// Quantiles of a latency in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Quantiles {
    /// Median.
    pub p50: u64,
    /// 99 in 100 are at most this.
    pub p99: u64,
    /// Largest.
    pub max: u64,
    /// How many were measured.
    pub count: u64,
}

/// Bounds of [`Distribution`], as powers of two of microseconds: 64 µs to 16.8 s.
const LEAST_BOUND_BITS: u32 = 6;
const BOUNDS: usize = 19;

/// A latency's measurements by powers of two, as metrics tell them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Distribution {
    /// How many were below each bound and not below the one before; the last has no bound.
    counts: [u64; BOUNDS + 1],
    /// Sum of all, in microseconds.
    sum_us: u64,
}

impl Distribution {
    /// Each upper bound in seconds, the last infinite, with the measurements up to it and above the one before.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bound = |index| match index {
            BOUNDS => f64::INFINITY,
            index => (1_u64 << (LEAST_BOUND_BITS + index as u32)) as f64 / 1e6,
        };
        self.counts.iter().enumerate().map(move |(index, count)| (bound(index), *count))
    }

    /// How many were measured.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of all measurements in seconds.
    #[must_use]
    pub fn sum_s(&self) -> f64 {
        self.sum_us as f64 / 1e6
    }
}

/// Distribution of a latency in microseconds since its creation. Shared by reference; recording takes a few atomic operations and no lock.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    max: AtomicU64,
    sum: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            max: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts one measurement of `micros` microseconds.
    pub fn record(&self, micros: u64) {
        self.record_many(micros, 1);
    }

    /// Counts `count` measurements of `micros` microseconds each.
    pub fn record_many(&self, micros: u64, count: u64) {
        self.buckets[bucket(micros)].fetch_add(count, Relaxed);
        self.sum.fetch_add(micros.saturating_mul(count), Relaxed);
        if micros > self.max.load(Relaxed) {
            self.max.fetch_max(micros, Relaxed);
        }
    }

    /// Sum of everything measured, in microseconds (it wraps after 580,000 years).
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.load(Relaxed)
    }

    /// Median, 99th percentile, largest and count. Measurements recorded meanwhile may or may not be in it.
    #[must_use]
    pub fn quantiles(&self) -> Quantiles {
        let count: u64 = self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum();
        let max = self.max.load(Relaxed);
        Quantiles { p50: self.quantile(50, count).min(max), p99: self.quantile(99, count).min(max), max, count }
    }

    /// The measurements by powers of two. Each bucket here lies between two of them, so no measurement is on the wrong side.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        let mut distribution = Distribution { sum_us: self.sum(), ..Distribution::default() };
        for (index, bucket) in self.buckets.iter().enumerate() {
            let octave = (middle(index).max(1).ilog2() + 1).saturating_sub(LEAST_BOUND_BITS) as usize;
            distribution.counts[octave.min(BOUNDS)] += bucket.load(Relaxed);
        }
        distribution
    }

    /// The middle of the bucket that holds the measurement below or at which `percent` of `count` lie.
    fn quantile(&self, percent: u64, count: u64) -> u64 {
        let rank = (u128::from(count) * u128::from(percent)).div_ceil(100) as u64;
        let mut seen = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            seen += bucket.load(Relaxed);
            if seen >= rank.max(1) {
                return middle(index);
            }
        }
        0
    }
}

/// Number of the bucket that counts `micros`.
fn bucket(micros: u64) -> usize {
    if micros < SUB {
        return micros as usize;
    }
    let shift = micros.ilog2() - SUB_BITS;
    let index = u64::from(shift) * SUB + (micros >> shift);
    (index as usize).min(BUCKETS - 1)
}

/// Middle of a bucket's range of values.
fn middle(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * SUB {
        return index;
    }
    let shift = index / SUB - 1;
    let low = (index % SUB + SUB) << shift;
    low + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_histogram_is_all_zero() {
        assert_eq!(Histogram::new().quantiles(), Quantiles::default());
    }

    #[test]
    fn small_values_are_exact() {
        let histogram = Histogram::new();
        (1..=50).for_each(|micros| histogram.record(micros));
        assert_eq!(histogram.quantiles(), Quantiles { p50: 25, p99: 50, max: 50, count: 50 });
        assert_eq!(histogram.sum(), 1275);
    }

    #[test]
    fn one_outlier_is_the_maximum_and_not_the_median() {
        let histogram = Histogram::new();
        histogram.record_many(1_000, 999);
        histogram.record(u64::MAX);
        let q = histogram.quantiles();
        assert_eq!((q.max, q.count), (u64::MAX, 1_000));
        assert!((970..=1_030).contains(&q.p50) && (970..=1_030).contains(&q.p99), "{q:?}");
    }

    #[test]
    fn a_distribution_has_each_measurement_below_its_bound() {
        let histogram = Histogram::new();
        for micros in [0, 63, 64, 127, 128, 1 << 20, (1 << 24) - 1, 1 << 24, 1 << 40] {
            histogram.record(micros);
        }
        let distribution = histogram.distribution();
        let filled: Vec<(f64, u64)> = distribution.buckets().filter(|(_, count)| *count > 0).collect();
        let expected =
            [(0.000_064, 2), (0.000_128, 2), (0.000_256, 1), (2.097_152, 1), (16.777_216, 1), (f64::INFINITY, 2)];
        assert_eq!(filled, expected);
        assert_eq!(distribution.count(), 9);
        assert!((distribution.sum_s() - histogram.sum() as f64 / 1e6).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn a_bucket_is_within_three_percent_of_what_it_counts(micros in 0u64..(1 << MAX_BITS)) {
            let shown = middle(bucket(micros));
            prop_assert!(shown.abs_diff(micros) * 32 <= micros, "{micros} shows as {shown}");
        }

        #[test]
        fn buckets_keep_the_order(a: u64, b: u64) {
            prop_assert!(bucket(a.min(b)) <= bucket(a.max(b)));
        }

        #[test]
        fn quantiles_are_ordered(values in prop::collection::vec(0u64..10_000_000, 1..200)) {
            let histogram = Histogram::new();
            for value in &values {
                histogram.record(*value);
            }
            let q = histogram.quantiles();
            prop_assert!(q.p50 <= q.p99 && q.p99 <= q.max);
            prop_assert_eq!(q.count, values.len() as u64);
        }
    }
}
