//! What the daemon shows of itself: histograms, heartbeats and the service manager.

pub mod heartbeat;
pub mod systemd;
