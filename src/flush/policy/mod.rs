//! How much is sent at once, and how long a row waits for company (pure).
//!
//! A [`Policy`] decides from what a lane sees. There are two: [`dynamic`] follows the measured cost of flushes, [`Hybrid`] keeps
//! to fixed limits.

pub mod budget;
pub mod dynamic;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

pub use self::dynamic::Dynamic;
use super::model::Model;
use crate::settings;

/// Linger when it is turned off in the settings: rows still leave some day.
const ENDLESS_LINGER: Duration = Duration::from_hours(1);

/// What a decision rests on.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Rows that wait to be sent.
    pub backlog_rows: f64,
    /// Rows that arrive a second.
    pub arrival_rows_per_s: f64,
    /// Most rows that fit into a request, from the size of recent ones.
    pub fitting_rows: usize,
    /// Rows of the request before, where nothing is in flight any more.
    pub rows_before: Option<usize>,
    /// What a flush costs.
    pub model: &'a Model,
    /// Limits and aims.
    pub settings: &'a settings::Batch,
}

/// How the next batch is to be cut.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Most rows.
    pub rows: usize,
    /// Longest wait of its first row.
    pub linger: Duration,
    /// What may be encoded while a request is in flight, to follow it.
    pub follows: Follows,
    /// Why.
    pub reason: Reason,
}

/// What may be encoded while a request is in flight, to follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// Nothing: its answer may well change the decision.
    Nothing,
    /// A full batch; less waits for company until the answer.
    FullBatch,
    /// What there is: a backlog, or what is left of it.
    Whatever,
}

/// Why a batch is what it is; shown in one line.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// Fixed limits.
    Fixed,
    /// Measured latency.
    Measured(dynamic::Reason),
}

impl Reason {
    /// Whether it is of another kind than that one: other figures alone are no news.
    pub fn differs_from(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fixed, Self::Fixed) => false,
            (Self::Measured(one), Self::Measured(other)) => one.kind() != other.kind(),
            _ => true,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed => f.write_str("hybrid: fixed limits from the settings"),
            Self::Measured(reason) => reason.fmt(f),
        }
    }
}

/// How a flush went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Stored.
    Stored {
        /// Rows in it.
        rows: usize,
        /// How long after its wait for company the oldest row was stored; none where the batch did
        /// not wait, or had waited for something else.
        beyond: Option<Duration>,
    },
    /// Not answered in time, or answered that it is too much.
    Strained {
        /// Rows in it.
        rows: usize,
    },
    /// Failed for a reason that size has no part in.
    Failed,
}

/// A way to decide.
pub trait Policy: Send {
    /// Decides on the next batch.
    fn decide(&self, view: &View<'_>) -> Decision;
    /// Learns how a flush went.
    fn observe(&mut self, outcome: Outcome);
}

/// The policy the settings name.
pub fn from_settings(settings: &settings::Batch) -> Box<dyn Policy> {
    match settings.strategy {
        settings::Strategy::Dynamic => Box::new(Dynamic::default()),
        settings::Strategy::Hybrid => Box::new(Hybrid),
    }
}

/// Fixed limits: whichever of rows, bytes or linger is reached first; 0 turns one off.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hybrid;

impl Policy for Hybrid {
    fn decide(&self, view: &View<'_>) -> Decision {
        let rows = row_limit(view.settings);
        let linger = fixed_linger(view.settings);
        Decision { rows, linger, follows: Follows::FullBatch, reason: Reason::Fixed }
    }

    fn observe(&mut self, _: Outcome) {}
}

fn row_limit(settings: &settings::Batch) -> usize {
    if settings.max_rows == 0 { usize::MAX } else { settings.max_rows }
}

fn fixed_linger(settings: &settings::Batch) -> Duration {
    let linger = settings.max_linger.unwrap_or(settings.freshness);
    if linger.is_zero() { ENDLESS_LINGER } else { linger }
}
