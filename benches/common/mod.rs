//! What several benchmarks need.

pub mod role;
pub mod sample;
