//! Watching the program at work.

pub mod heartbeat;
pub mod histogram;
