//! Watching the program at work: logging, histograms, the forecast and the lag, heartbeats and the
//! service manager with the sentence it shows.

pub mod forecast;
pub mod heartbeat;
pub mod histogram;
pub mod lag;
pub mod log;
pub mod plain;
pub mod process;
pub mod sentence;
pub mod systemd;
