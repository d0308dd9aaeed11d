//! What has come in and is not acknowledged: messages in the ring that wait to be durable, and messages held because the
//! ring is full. No clock, no socket: those are the session's.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use super::{
    changeover::{By, Changeover},
    copies::Copies,
    error::ConnectError,
    packet::{Ack, Message},
    status::SharedBroker,
    window::Window,
};
use crate::{
    ingest::{Incoming, Intake, Offer, ack_queue::AckQueue},
    marks::Ackable,
    point::{Received, Text},
};

/// Most bytes of topics and payloads held while the ring is full.
pub const HELD_BYTES: usize = 32 << 20;

/// Stands for the identifier of subscriptions that have none; no broker sends it (section
/// 3.8.2.1.2).
const NO_ID: u32 = 0;

/// An acknowledgement that is due once the ring says so. It belongs to the current connection: the queue is emptied when
/// that goes, so that none is ever sent on another.
#[derive(Debug, Clone, Copy)]
struct Token {
    ack: Ack,
    received_ns: u64,
}

/// A QoS 1 message copied out of the read buffer.
struct Held {
    topic: Box<str>,
    payload: Box<[u8]>,
    cut_bytes: usize,
    fault: Option<&'static str>,
    retain: bool,
    user_properties: Box<[(Text, Text)]>,
    received: Received,
    ids: Box<[u32]>,
    /// None once its connection and the broker's session are gone: nobody waits for its acknowledgement.
    ack: Option<Ack>,
}

/// Where the session puts what comes in.
pub(super) struct Inbox {
    intake: Arc<dyn Intake>,
    status: Arc<SharedBroker>,
    acks: AckQueue<Token>,
    held: VecDeque<Held>,
    held_bytes: usize,
    limit: usize,
    window: Window,
    /// When the newest message came that waits for an acknowledgement, as time since boot.
    last_ns: u64,
    copies: Copies,
    changeover: Changeover,
    /// Whether filters are to stand beside the others that do not yet.
    adds: bool,
    /// What the newest message that was taken waits for.
    newest: Ackable,
    /// Acknowledgements handed to the connection that have not left for the socket.
    handed: u64,
    /// Acknowledgements that have left since the counters were last published.
    left: u64,
}

impl Inbox {
    /// An empty one for at most `limit` unacknowledged messages.
    pub fn new(intake: Arc<dyn Intake>, status: Arc<SharedBroker>, limit: usize, window: Window) -> Self {
        let acks = AckQueue::new(limit);
        Self {
            intake,
            status,
            acks,
            held: VecDeque::new(),
            held_bytes: 0,
            limit,
            window,
            last_ns: 0,
            copies: Copies::default(),
            changeover: Changeover::default(),
            adds: false,
            newest: Ackable::default(),
            handed: 0,
            left: 0,
        }
    }

    /// Makes ready for other subscriptions, which may bring what others bring as well; they change
    /// no sooner than [`LEARNS`](super::changeover::LEARNS) after `now_ns`, a time since boot. The
    /// filters are those that come, go or change, and cross others.
    pub fn begin_change(&mut self, now_ns: u64, filters: Vec<String>) {
        self.changeover.begin(now_ns, filters);
    }

    /// Makes ready for further filters beside those that stand, which bring what those bring.
    pub fn begin_addition(&mut self) {
        self.adds = true;
    }

    /// Takes note that the broker has answered for a filter; whether all stand.
    pub fn stands(&mut self, all: bool) {
        if self.adds {
            self.copies.level();
            self.adds = !all;
        }
    }

    /// Whether a change of subscriptions is not over yet.
    pub fn is_changing(&self) -> bool {
        self.changeover.is_on()
    }

    /// Takes note that the broker has answered all that was asked about subscriptions.
    pub fn changed(&mut self, now_ns: u64) {
        self.changeover.answered(now_ns);
    }

    /// Takes one message in. An error ends the connection; the broker then keeps what is unacknowledged.
    pub fn take(&mut self, message: &Message, received: Received) -> Result<(), ConnectError> {
        let (topic, ack) = (message.topic(), message.ack());
        let incoming = Incoming {
            topic: &topic,
            payload: message.payload(),
            cut_bytes: message.payload_bytes().saturating_sub(message.payload().len()),
            fault: message.fault(),
            retain: message.retain(),
            user_properties: message.user_properties(),
            received,
        };
        // Behind held messages everything waits its turn.
        let taken = if self.held.is_empty() { self.offer(incoming, message.ids()) } else { Taken::Full };
        match (taken, ack) {
            (Taken::Due(due), Some(ack)) => self.expect_ack(due, ack, received),
            (Taken::Due(_), None) => Ok(()),
            (Taken::Full, Some(ack)) => self.hold(incoming, message, ack),
            (Taken::Full, None) => {
                self.drop_qos0();
                Ok(())
            }
            (Taken::Failed(why), ack) => {
                if ack.is_none() {
                    self.drop_qos0();
                }
                Err(ConnectError::Intake(why))
            }
        }
    }

    /// Offers a message, unless it is a copy of one that was taken.
    fn offer(&mut self, message: Incoming<'_>, ids: &[u32]) -> Taken {
        let at_ns = message.received.since_boot_ns;
        let (by, has_ended) = self.changeover.by(message.topic, at_ns);
        if has_ended {
            self.copies = Copies::default();
        }
        let ids = if ids.is_empty() && by != By::Number { &[NO_ID][..] } else { ids };
        let key = (!ids.is_empty()).then(|| self.copies.key(message.topic, message.payload, message.retain));
        let is_copy = key.is_some_and(|key| match by {
            By::Time => self.changeover.knows(key, ids, at_ns),
            By::Number | By::NumberAndLearn => ids != [NO_ID] && self.copies.knows(key, ids),
        });
        let due = if is_copy {
            self.status.copies.fetch_add(1, Relaxed);
            // A copy is safe once what it is a copy of is, which came before.
            self.newest
        } else {
            match self.intake.offer(message) {
                Offer::Accepted(end) => end.into(),
                Offer::Refused(number) => counted(number),
                Offer::Noted(number) => noted(number),
                Offer::Full => return Taken::Full,
                Offer::Failed(why) => return Taken::Failed(why),
            }
        };
        self.newest = self.newest.both(due);
        if let Some(key) = key {
            if by != By::Time && ids != [NO_ID] {
                self.copies.note(key, ids);
            }
            if by != By::Number {
                self.changeover.note(key, ids, at_ns, is_copy);
            }
        }
        Taken::Due(due)
    }

    /// Counts a QoS 0 message that nobody takes.
    pub fn drop_qos0(&self) {
        self.status.qos0_dropped.fetch_add(1, Relaxed);
    }

    /// Offers held messages again, oldest first, until one finds no room.
    pub fn retry(&mut self) -> Result<(), ConnectError> {
        while let Some(held) = self.held.pop_front() {
            match self.offer(held.as_incoming(), &held.ids) {
                Taken::Full => {
                    self.held.push_front(held);
                    return Ok(());
                }
                Taken::Failed(why) => {
                    self.held.push_front(held);
                    return Err(ConnectError::Intake(why));
                }
                Taken::Due(due) => {
                    self.held_bytes -= held.bytes();
                    if let Some(ack) = held.ack {
                        self.expect_ack(due, ack, held.received)?;
                    }
                }
            }
        }
        // A full ring is rare; the memory it took is given back.
        self.held = VecDeque::new();
        Ok(())
    }

    /// Hands every acknowledgement due at `ackable` to `send`, in order, until it refuses one. `now_ns` is the time since
    /// boot.
    pub fn release(&mut self, ackable: Ackable, now_ns: u64, mut send: impl FnMut(Ack) -> bool) {
        self.window.note_commit(self.acks.len(), Duration::from_nanos(now_ns.saturating_sub(self.last_ns)));
        // Messages read together have one time of receipt: they are counted together.
        let (mut micros, mut count) = (0, 0);
        while let Some(token) = self.acks.due(ackable) {
            if !send(token.ack) {
                break;
            }
            self.acks.pop();
            self.handed += 1;
            let took = now_ns.saturating_sub(token.received_ns) / 1_000;
            if took != micros && count > 0 {
                self.status.ack_latency().record_many(micros, count);
                count = 0;
            }
            micros = took;
            count += 1;
        }
        if count > 0 {
            self.status.ack_latency().record_many(micros, count);
        }
    }

    /// Whether an acknowledgement is due at `ackable`.
    pub fn is_due(&self, ackable: Ackable) -> bool {
        self.acks.due(ackable).is_some()
    }

    /// Notes that so many acknowledgements have left for the socket.
    pub fn acks_left(&mut self, count: u64) {
        self.handed = self.handed.saturating_sub(count);
        self.left += count;
    }

    /// Whether messages are held.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether every message taken in is acknowledged, and the acknowledgements are on their way.
    pub fn is_settled(&self) -> bool {
        self.acks.is_empty() && self.handed == 0
    }

    /// Notes that the connection is gone, and with it every acknowledgement it was owed.
    pub fn connection_lost(&mut self) {
        let stale = self.acks.clear() as u64 + self.handed;
        self.handed = 0;
        self.status.stale_acks.fetch_add(stale, Relaxed);
        self.publish_counts();
    }

    /// Decides over what the last connection left in the hold: a broker that kept the session sends it again; one that did
    /// not has forgotten it, so it is kept here although nobody waits for its acknowledgement.
    pub fn connected(&mut self, session_present: bool) {
        if session_present {
            // What an earlier connection left without a packet id is held here alone: no broker sends it again.
            self.held.retain(|held| held.ack.is_none());
            self.held_bytes = self.held.iter().map(Held::bytes).sum();
        }
        for held in &mut self.held {
            held.ack = None;
        }
    }

    /// Writes the counters where others read them, and has the ring know whether the broker waits.
    pub fn publish_counts(&mut self) {
        let waiting = self.acks.len();
        self.window.note(waiting);
        self.intake.broker_waits(self.window.is_full(waiting));
        self.status.unacknowledged.store((self.acks.len() + self.held.len()) as u64, Relaxed);
        self.status.held.store(self.held.len() as u64, Relaxed);
        if self.left > 0 {
            self.status.acknowledged.fetch_add(self.left, Relaxed);
            self.left = 0;
        }
    }

    fn expect_ack(&mut self, due: Ackable, ack: Ack, received: Received) -> Result<(), ConnectError> {
        let token = Token { ack, received_ns: received.since_boot_ns };
        self.last_ns = received.since_boot_ns;
        self.acks.push(due, token).map_err(|_| {
            ConnectError::Lost(format!(
                "it sent more than {} messages without waiting for an acknowledgement",
                self.limit
            ))
        })
    }

    fn hold(&mut self, incoming: Incoming<'_>, message: &Message, ack: Ack) -> Result<(), ConnectError> {
        let bytes = bytes_of(incoming.topic, incoming.payload, incoming.user_properties);
        if self.held.len() >= self.limit || self.held_bytes + bytes > HELD_BYTES {
            return Err(ConnectError::Overflow { held: self.limit, bytes: HELD_BYTES });
        }
        self.held_bytes += bytes;
        self.held.push_back(Held {
            topic: incoming.topic.into(),
            payload: incoming.payload.into(),
            cut_bytes: incoming.cut_bytes,
            fault: message.fault(),
            retain: incoming.retain,
            user_properties: incoming.user_properties.into(),
            received: incoming.received,
            ids: message.ids().into(),
            ack: Some(ack),
        });
        Ok(())
    }
}

/// What became of a message.
enum Taken {
    /// It is taken, or is a copy of one that is; its acknowledgement waits for this.
    Due(Ackable),
    Full,
    Failed(String),
}

impl Held {
    fn bytes(&self) -> usize {
        bytes_of(&self.topic, &self.payload, &self.user_properties)
    }

    fn as_incoming(&self) -> Incoming<'_> {
        let Self { topic, payload, cut_bytes, fault, retain, user_properties, received, .. } = self;
        let (cut_bytes, fault, retain, received) = (*cut_bytes, *fault, *retain, *received);
        Incoming { topic, payload, cut_bytes, fault, retain, user_properties, received }
    }
}

/// Bytes that a message takes while it is held.
fn bytes_of(topic: &str, payload: &[u8], properties: &[(Text, Text)]) -> usize {
    topic.len() + payload.len() + properties.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}

/// What the acknowledgement of a refused message waits for.
fn counted(refused: u64) -> Ackable {
    Ackable { refused, ..Ackable::default() }
}

/// When a message may be acknowledged that leaves no record: once the count that it adds to is
/// durable.
fn noted(number: u64) -> Ackable {
    Ackable { notes: number, ..Ackable::default() }
}

#[cfg(test)]
mod tests;
