//! The MQTT client: one session that owns the event loop, its backoff and its TLS.

pub mod backoff;
pub mod error;
pub mod protocol;
pub mod status;
pub mod tls;
pub mod url;
mod v4;
mod v5;

pub use error::ConnectError;
pub use protocol::{Subscription, probe};
pub use status::{BrokerStatus, SharedBroker};
