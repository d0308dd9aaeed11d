//! The MQTT client: one session that owns the event loop, its backoff and its TLS.

pub mod backoff;
pub mod error;
mod inbox;
pub mod protocol;
pub mod publisher;
mod retry;
pub mod session;
pub mod status;
mod subscribe;
pub mod tls;
pub mod url;
mod v4;
pub mod v5;

pub use error::ConnectError;
pub use protocol::{Subscription, probe};
pub use session::{Task, run};
pub use status::{BrokerStatus, SharedBroker};
