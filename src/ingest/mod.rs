//! The one way in: decode, append, latest.

pub mod ack_queue;

use tokio::sync::Notify;

use crate::{point::Received, ring::Pos};

/// One message as it came in.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// The topic it was published to.
    pub topic: &'a str,
    /// Its payload; may be empty.
    pub payload: &'a [u8],
    /// The retain flag: the broker had kept the message before the subscription was made.
    pub retain: bool,
    /// When it arrived.
    pub received: Received,
}

/// What became of an offered message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// Taken, whatever it was; acknowledge it once the ring's `ackable` has reached this position.
    Accepted(Pos),
    /// The ring is full under `block`: hold the message, keep the order, offer it again when [`Intake::room`] is notified.
    Full,
    /// The ring is poisoned or stopping: never acknowledge it.
    Failed(String),
}

/// Where messages go.
pub trait Intake: Send + Sync {
    /// Decodes and appends one message.
    fn offer(&self, message: Incoming<'_>) -> Offer;

    /// Notified (`notify_one` or `notify_waiters`) whenever the ring has freed space.
    fn room(&self) -> &Notify;
}
