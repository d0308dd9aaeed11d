//! What is counted by source and outlives every restart: beside the ledger's sum, not in it. Pure.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Number of a source in one ring. The ring's state records name the source behind each number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SourceId(pub u16);

impl SourceId {
    /// No source: nothing configured took the message, or its record is older than the numbers.
    pub const NONE: Self = Self(0);
}

/// What is counted of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Rows that took the place of another one of their moment, with another value.
    Replaced,
    /// Rows older than what is remembered of their series: nobody can say what they replaced.
    Uncompared,
    /// Rows that got the time of receipt because the device's time was missing or unusable.
    Untimed,
    /// Messages without any value.
    Empty,
    /// Messages that no source takes, or that a source leaves out which its filters bring.
    Unmatched,
    /// Retained messages without a time of their own, which are not stored.
    Retained,
}

impl Counter {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 6] =
        [Self::Replaced, Self::Uncompared, Self::Untimed, Self::Empty, Self::Unmatched, Self::Retained];

    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Replaced => "replaced",
            Self::Uncompared => "uncompared",
            Self::Untimed => "untimed",
            Self::Empty => "empty",
            Self::Unmatched => "unmatched",
            Self::Retained => "retained",
        }
    }

    /// What it counts, as the metrics page says it.
    #[must_use]
    pub fn help(self) -> &'static str {
        match self {
            Self::Replaced => {
                "Rows of a source that took the place of another one of their moment with another value, since the ring was created"
            }
            Self::Uncompared => {
                "Rows of a source older than what is remembered of their series, since the ring was created"
            }
            Self::Untimed => {
                "Rows of a source timed by receipt for want of a usable time of the device, since the ring was created"
            }
            Self::Empty => "Messages of a source without any value, since the ring was created",
            Self::Unmatched => {
                "Messages that no source takes, or that a source leaves out which its filters bring, since the ring was created"
            }
            Self::Retained => {
                "Retained messages of a source without a time of their own, not stored, since the ring was created"
            }
        }
    }

    /// Those that anything is counted in today. The ring has room for all of them.
    pub const IN_USE: [Self; 6] = Self::ALL;

    /// The counter as one bit of a byte.
    #[must_use]
    pub fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A number for each [`Counter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Counts {
    /// Rows that took the place of another one of their moment, with another value.
    pub replaced: u64,
    /// Rows older than what is remembered of their series.
    pub uncompared: u64,
    /// Rows that got the time of receipt because the device's time was missing or unusable.
    pub untimed: u64,
    /// Messages without any value.
    pub empty: u64,
    /// Messages that no source takes, or that a source leaves out which its filters bring.
    pub unmatched: u64,
    /// Retained messages without a time of their own, which are not stored.
    pub retained: u64,
}

impl Counts {
    /// One of a counter.
    #[must_use]
    pub fn one(counter: Counter) -> Self {
        Self::from_bits(counter.bit())
    }

    /// One of each counter whose bit is set.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        let one = |counter: Counter| u64::from(bits & counter.bit() != 0);
        Self::from_array(Counter::ALL.map(one))
    }

    /// The numbers in the order of [`Counter::ALL`].
    #[must_use]
    pub fn to_array(self) -> [u64; 6] {
        [self.replaced, self.uncompared, self.untimed, self.empty, self.unmatched, self.retained]
    }

    /// Counts from the numbers in the order of [`Counter::ALL`].
    #[must_use]
    pub fn from_array([replaced, uncompared, untimed, empty, unmatched, retained]: [u64; 6]) -> Self {
        Self { replaced, uncompared, untimed, empty, unmatched, retained }
    }

    /// Whether nothing is counted.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// The numbers less those of another one, at least 0.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        let mut rest = self.to_array();
        for (rest, less) in rest.iter_mut().zip(other.to_array()) {
            *rest = rest.saturating_sub(less);
        }
        Self::from_array(rest)
    }

    /// Adds the numbers of another one.
    pub fn add(&mut self, other: Self) {
        let mut sums = self.to_array();
        for (sum, more) in sums.iter_mut().zip(other.to_array()) {
            *sum += more;
        }
        *self = Self::from_array(sums);
    }
}

/// What is counted of a source since the ring was created.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SourceCounts {
    /// Its name.
    pub source: String,
    /// Its number in the ring's records.
    pub number: u16,
    /// The counts.
    #[serde(flatten)]
    pub counts: Counts,
}

/// What a message adds to the counts of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// The source.
    pub source: SourceId,
    /// What is added.
    pub counts: Counts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_has_a_bit_and_a_place_of_its_own() {
        let mut all = Counts::default();
        for (place, counter) in Counter::ALL.into_iter().enumerate() {
            let one = Counts::one(counter).to_array();
            assert_eq!(one.iter().sum::<u64>(), 1);
            assert_eq!(one[place], 1, "{counter:?}");
            all.add(Counts::one(counter));
        }
        assert_eq!(all, Counts::from_bits(0b11_1111));
        assert!(!all.is_zero() && Counts::from_bits(0).is_zero());
    }
}
