//! The local interface: HTTP over a Unix socket, its answers, and the client the commands use.

mod accepting;
pub mod api;
mod attend;
pub mod client;
pub mod metrics;
mod page;
mod routes;
mod seats;
pub mod server;
pub mod socket;
mod stall;
#[cfg(test)]
mod tests;
pub mod token;
mod watch;

pub use api::{Inspect, Status};
pub use routes::{render, write::Writes};
pub use server::{App, Limits, serve, serve_tcp};
pub use socket::{SocketError, SocketFile, bind_tcp};
