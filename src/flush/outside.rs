//! What a lane meets of the world outside, as traits: the connection rows go over, the watch over the server's process, and time that
//! passes. Tests put a simulated database and simulated time in their place. ([`crate::questdb::Ask`] are the questions it asks.)

use std::time::Duration;

use super::shared::Shared;
use crate::{
    marks::Pos,
    questdb::{RowBuffer, WriteError},
    ring::Ring,
};

/// A request that has been answered, or given up.
pub struct Done {
    /// The rows, still in it.
    pub buffer: RowBuffer,
    /// The answer.
    pub result: Result<(), NotStored>,
    /// How long it took.
    pub took: Duration,
}

/// Why the rows of a request are not stored, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotStored {
    /// It was to follow one that was not stored, or something stood against it by then: it has not left.
    Unsent,
    /// It was sent, or should have been.
    Failed(WriteError),
}

/// Whether a request may follow the one before now that that is stored.
pub type May = Box<dyn FnOnce() -> bool + Send>;

/// A connection that carries one request at a time, and may have another at hand.
pub trait Link: Send {
    /// Connects unless connected already. To be called with nothing in flight.
    fn connect(&mut self) -> Result<(), WriteError>;

    /// Gives up the connection; the next [`Self::connect`] opens another. To be called with nothing in flight.
    fn disconnect(&mut self);

    /// Sets how long a request may take, its bytes apart. To be called with nothing in flight.
    fn set_request_timeout(&mut self, timeout: Duration);

    /// An empty buffer that speaks the server's version of the protocol, as far as that is known, and grows to that many bytes.
    fn buffer(&self, room: usize) -> RowBuffer;

    /// Whether a buffer speaks the server's version; true while that is not known.
    fn speaks(&self, buffer: &RowBuffer) -> bool;

    /// Hands a request over; false when nobody is there to send it. To be called with nothing in flight.
    fn send(&mut self, buffer: RowBuffer) -> bool;

    /// Hands over the request that follows the one in flight: it leaves as soon as that is stored, if it may then. False when
    /// nobody is there to send it. To be called with one in flight.
    fn follow(&mut self, buffer: RowBuffer, may: May) -> bool;

    /// Waits for the answer to the request in flight (the older one of two), at most so long.
    fn wait(&mut self, at_most: Duration) -> Option<Done>;
}

/// A watch over the server's process. One that was never begun counts as broken.
pub trait Vigil: Send {
    /// Whether the server has run without a break since [`Self::begin`], as far as can be told.
    fn is_unbroken(&self) -> bool;

    /// Begins anew. A failure leaves it broken.
    fn begin(&mut self);

    /// Gives it up: it counts as broken.
    fn end(&mut self);
}

/// How a lane lets time pass.
pub trait Wait: Send {
    /// Waits until the ring is durable beyond a position, at most so long. False where it is not, also when woken before.
    fn until_durable(&self, ring: &Ring, beyond: Pos, at_most: Duration) -> bool;

    /// Rests so long, or until woken.
    fn rest(&self, shared: &Shared, time: Duration);
}

/// The time of the day: waits by blocking the thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealWait;

impl Wait for RealWait {
    fn until_durable(&self, ring: &Ring, beyond: Pos, at_most: Duration) -> bool {
        ring.wait_durable(beyond, at_most)
    }

    fn rest(&self, shared: &Shared, time: Duration) {
        shared.rest(time);
    }
}
