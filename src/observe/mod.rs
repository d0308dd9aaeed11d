//! Watching the program at work: logging, histograms, heartbeats and the service manager.

pub mod heartbeat;
pub mod histogram;
pub mod systemd;
