//! What several benchmarks need.

pub mod memory;
pub mod role;
pub mod sample;
