//! A connection that publishes and receives nothing, over either version of MQTT. A client of its own: in the session's, acknowledgements
//! would wait behind what is published.

use super::{
    connection::{Poller, Requests, connection},
    error::ConnectError,
    protocol::Event,
};
use crate::settings::Mqtt;

/// What happened on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The broker accepted it.
    Connected,
    /// Anything else.
    Other,
}

/// The connection.
pub struct Link {
    publish: Publish,
    poll: Poll,
}

/// The half that takes messages.
pub struct Publish(Requests);

/// The half that reads and writes the socket.
pub struct Poll(Poller);

impl Link {
    /// Prepares a connection without a session; the first poll opens it.
    pub fn new(settings: &Mqtt) -> Result<Self, ConnectError> {
        let (requests, poller) = connection(settings, true)?;
        Ok(Self { publish: Publish(requests), poll: Poll(poller) })
    }

    /// Both halves.
    pub fn parts(&mut self) -> (&Publish, &mut Poll) {
        (&self.publish, &mut self.poll)
    }
}

impl Publish {
    /// Queues a retained message at QoS 1; false when the queue is full.
    pub fn retained(&self, topic: &str, payload: &[u8]) -> bool {
        self.0.publish_retained(topic, payload)
    }
}

impl Poll {
    /// Drives the connection until something happens. After an error it is over. Dropping the future may lose what it had read.
    pub async fn poll(&mut self) -> Result<Signal, ConnectError> {
        Ok(match self.0.poll().await? {
            Event::ConnAck { .. } => Signal::Connected,
            _ => Signal::Other,
        })
    }
}
