//! The way in as the session with the broker sees it.

use tokio::sync::Notify;

use crate::{
    marks::Pos,
    point::{Received, Text},
};

/// One message as it came in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Incoming<'a> {
    /// The topic it was published to.
    pub topic: &'a str,
    /// Its payload; may be empty.
    pub payload: &'a [u8],
    /// Bytes that the payload had beyond these: it was too large to be kept.
    pub cut_bytes: usize,
    /// Why it cannot be taken for what it seems to be.
    pub fault: Option<&'a str>,
    /// The retain flag: the broker had kept the message before the subscription was made.
    pub retain: bool,
    /// Its user properties (MQTT 5), in their order.
    pub user_properties: &'a [(Text, Text)],
    /// When it arrived.
    pub received: Received,
}

/// What became of an offered message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// Taken, whatever it was; acknowledge it once the ring's `ackable` has reached this position.
    Accepted(Pos),
    /// Turned away and counted, since the ring is full under `drop-newest`; acknowledge it once the
    /// ring's `ackable` has reached this number of refused messages.
    Refused(u64),
    /// Taken and counted, without a record; acknowledge it once the ring's `ackable` has reached
    /// this number of notes.
    Noted(u64),
    /// The ring is full under `block`, or takes nothing in for the time being: hold the message,
    /// keep the order, offer it again when [`Intake::room`] is notified.
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

    /// Takes note of a filter that is about to be subscribed: the broker goes on with it until it
    /// is taken back. It is remembered on the disk once so many notes are ackable.
    fn subscribing(&self, filter: &str, qos: u8) -> u64;

    /// The filters that were subscribed, in this run or an earlier one, and not taken back.
    fn subscribed(&self) -> Vec<String>;

    /// Takes note of a filter that the broker has taken back.
    fn taken_back(&self, filter: &str);

    /// Takes note whether the broker sends nothing more before it has an acknowledgement.
    fn broker_waits(&self, waits: bool);
}
