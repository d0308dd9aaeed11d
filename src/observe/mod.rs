//! What can be seen of the running process: logs, counters, heartbeats.

pub mod log;
