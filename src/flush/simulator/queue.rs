//! Rows on their way, by when they arrived, and how old they were when stored.

use std::collections::VecDeque;

use crate::observe::histogram::Histogram;

/// Rows between arrival and stored, oldest first.
#[derive(Debug, Default)]
pub struct Queue {
    /// Arrival in microseconds, and rows.
    groups: VecDeque<(u64, u64)>,
    arrived: u64,
    durable: u64,
    taken: u64,
    stored: u64,
    ages: Histogram,
}

impl Queue {
    pub fn arrive(&mut self, at_us: u64, rows: u64) {
        if rows > 0 {
            self.groups.push_back((at_us, rows));
            self.arrived += rows;
        }
    }

    pub fn arrived(&self) -> u64 {
        self.arrived
    }

    pub fn stored(&self) -> u64 {
        self.stored
    }

    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// All rows up to this many are durable.
    pub fn commit(&mut self, upto: u64) {
        self.durable = self.durable.max(upto);
    }

    /// Durable rows not taken into a batch.
    pub fn waiting(&self) -> u64 {
        self.durable - self.taken
    }

    /// Takes rows into a batch.
    pub fn take(&mut self, most: u64) -> u64 {
        let rows = self.waiting().min(most);
        self.taken += rows;
        rows
    }

    /// Rows taken go again from the first that is not stored.
    pub fn rewind(&mut self) {
        self.taken = self.stored;
    }

    /// The oldest rows are stored.
    pub fn store(&mut self, at_us: u64, mut rows: u64) {
        self.stored += rows;
        while rows > 0
            && let Some((arrived, group)) = self.groups.front_mut()
        {
            let part = rows.min(*group);
            self.ages.record_many(at_us - *arrived, part);
            rows -= part;
            *group -= part;
            if *group == 0 {
                self.groups.pop_front();
            }
        }
    }

    /// Median and 99th percentile of the ages, in seconds; what is not stored counts with its age at the end.
    pub fn ages(mut self, end_us: u64) -> (f64, f64) {
        let left = self.arrived - self.stored;
        self.store(end_us, left);
        let quantiles = self.ages.quantiles();
        (quantiles.p50 as f64 * 1e-6, quantiles.p99 as f64 * 1e-6)
    }
}
