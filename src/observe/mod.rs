//! What the daemon tells of itself.

pub mod heartbeat;
pub mod histogram;
