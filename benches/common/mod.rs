//! What several benchmarks need.

#[allow(dead_code, reason = "some of the benchmarks have rounds")]
pub mod budget;
pub mod memory;
pub mod role;
pub mod sample;
