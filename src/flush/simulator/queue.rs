//! Rows on their way, by when they arrived, and how old they were when stored.

use std::collections::VecDeque;

/// Steps of an age by a factor of e.
const STEPS: f64 = 1e3;

/// Rows between arrival and stored, oldest first.
#[derive(Debug, Default)]
pub struct Queue {
    /// Arrival in microseconds, and rows.
    groups: VecDeque<(u64, u64)>,
    arrived: u64,
    durable: u64,
    taken: u64,
    stored: u64,
    ages: Ages,
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

    /// When the oldest row that is not stored arrived.
    pub fn oldest_us(&self) -> Option<u64> {
        self.groups.front().map(|(arrived, _)| *arrived)
    }

    /// The oldest rows are stored.
    pub fn store(&mut self, at_us: u64, mut rows: u64) {
        self.stored += rows;
        while rows > 0
            && let Some((arrived, group)) = self.groups.front_mut()
        {
            let part = rows.min(*group);
            self.ages.add(at_us - *arrived, part);
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
        (self.ages.quantile_s(0.5), self.ages.quantile_s(0.99))
    }
}

/// Rows by their age, in steps of a thousandth of it.
#[derive(Debug, Default)]
struct Ages(Vec<u64>);

impl Ages {
    fn add(&mut self, age_us: u64, rows: u64) {
        let step = ((age_us.max(1) as f64).ln() * STEPS) as usize;
        if self.0.len() <= step {
            self.0.resize(step + 1, 0);
        }
        self.0[step] += rows;
    }

    /// The age that a share of the rows has not reached, in seconds.
    fn quantile_s(&self, share: f64) -> f64 {
        let rank = (self.0.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut seen = 0;
        let step = self.0.iter().position(|rows| {
            seen += rows;
            seen >= rank.max(1)
        });
        step.map_or(0.0, |step| ((step as f64 + 0.5) / STEPS).exp() * 1e-6)
    }
}
