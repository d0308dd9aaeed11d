//! Watching the program at work: logging, metrics, histograms, the forecast, heartbeats and the service manager.

pub mod forecast;
pub mod heartbeat;
pub mod histogram;
pub mod log;
pub mod metrics;
pub mod systemd;
