//! Watching the program at work: logging, metrics, histograms, heartbeats and the service manager.

pub mod heartbeat;
pub mod histogram;
pub mod log;
pub mod metrics;
pub mod systemd;
