//! The MQTT client: one session that owns the event loop, its backoff and its TLS.

pub mod backoff;
pub mod status;
pub mod url;

pub use status::{BrokerStatus, SharedBroker};
