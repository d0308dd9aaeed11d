//! What several benchmarks need.

#[allow(dead_code, reason = "some of the benchmarks have rounds")]
pub mod budget;
pub mod memory;
#[allow(dead_code, reason = "some of the benchmarks write theirs")]
pub mod results;
pub mod role;
pub mod sample;
