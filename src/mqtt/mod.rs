//! The MQTT client: one session that owns the connection, its backoff and its TLS.

pub mod backoff;
mod changeover;
mod connection;
mod copies;
pub mod error;
mod inbox;
pub mod listener;
mod packet;
mod probe;
pub mod protocol;
pub mod publisher;
mod rest;
mod retry;
pub mod session;
pub mod status;
mod subscribe;
pub mod tls;
mod transport;
pub mod url;
pub mod v5;
mod window;
mod withdraw;

pub use error::ConnectError;
pub use probe::{Probe, probe};
pub use protocol::Subscription;
pub use session::{Task, run};
pub use status::{BrokerStatus, Lowered, SharedBroker, Shortened};
