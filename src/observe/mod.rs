//! What the daemon shows of itself.

pub mod metrics;
