//! What has come in and is not acknowledged: messages in the ring that wait to be durable, and messages held because the
//! ring is full. No clock, no socket: those are the session's.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use super::{error::ConnectError, protocol::Message, status::SharedBroker};
use crate::{
    ingest::{Incoming, Intake, Offer, ack_queue::AckQueue},
    marks::Ackable,
    point::Received,
};

/// Most bytes of topics and payloads held while the ring is full.
pub const HELD_BYTES: usize = 32 << 20;

/// An acknowledgement that is due once the ring says so. It belongs to the current connection: the queue is emptied when
/// that goes, so that none is ever sent on another.
#[derive(Debug, Clone, Copy)]
struct Token {
    pkid: u16,
    received_ns: u64,
}

/// A QoS 1 message copied out of the read buffer.
struct Held {
    topic: Box<str>,
    payload: Box<[u8]>,
    retain: bool,
    received: Received,
    /// None once its connection and the broker's session are gone: nobody waits for its acknowledgement.
    pkid: Option<u16>,
}

/// Where the session puts what comes in.
pub(super) struct Inbox {
    intake: Arc<dyn Intake>,
    status: Arc<SharedBroker>,
    acks: AckQueue<Token>,
    held: VecDeque<Held>,
    held_bytes: usize,
    limit: usize,
    /// Acknowledgements handed to the connection that have not left for the socket.
    handed: u64,
    /// Acknowledgements that have left since the counters were last published.
    left: u64,
}

impl Inbox {
    /// An empty one for at most `limit` unacknowledged messages.
    pub fn new(intake: Arc<dyn Intake>, status: Arc<SharedBroker>, limit: usize) -> Self {
        let acks = AckQueue::new(limit);
        Self { intake, status, acks, held: VecDeque::new(), held_bytes: 0, limit, handed: 0, left: 0 }
    }

    /// Takes one message in. An error ends the connection; the broker then keeps what is unacknowledged.
    pub fn take(&mut self, message: &Message, received: Received) -> Result<(), ConnectError> {
        let (topic, pkid) = (message.topic(), message.ack_id());
        let incoming = Incoming { topic: &topic, payload: message.payload(), retain: message.retain(), received };
        // Behind held messages everything waits its turn.
        let offer = if self.held.is_empty() { self.intake.offer(incoming) } else { Offer::Full };
        match (offer, pkid) {
            (Offer::Accepted(end), Some(pkid)) => self.expect_ack(end.into(), pkid, received),
            (Offer::Refused(number), Some(pkid)) => self.expect_ack(counted(number), pkid, received),
            (Offer::Noted(number), Some(pkid)) => self.expect_ack(noted(number), pkid, received),
            (Offer::Accepted(_) | Offer::Refused(_) | Offer::Noted(_), None) => Ok(()),
            (Offer::Full, Some(pkid)) => self.hold(incoming, pkid),
            (Offer::Full, None) => {
                self.drop_qos0();
                Ok(())
            }
            (Offer::Failed(why), pkid) => {
                if pkid.is_none() {
                    self.drop_qos0();
                }
                Err(ConnectError::Intake(why))
            }
        }
    }

    /// Counts a QoS 0 message that nobody takes.
    pub fn drop_qos0(&self) {
        self.status.qos0_dropped.fetch_add(1, Relaxed);
    }

    /// Offers held messages again, oldest first, until one finds no room.
    pub fn retry(&mut self) -> Result<(), ConnectError> {
        while let Some(held) = self.held.front() {
            let incoming =
                Incoming { topic: &held.topic, payload: &held.payload, retain: held.retain, received: held.received };
            let due = match self.intake.offer(incoming) {
                Offer::Full => return Ok(()),
                Offer::Failed(why) => return Err(ConnectError::Intake(why)),
                Offer::Accepted(end) => end.into(),
                Offer::Refused(number) => counted(number),
                Offer::Noted(number) => noted(number),
            };
            let (pkid, received) = (held.pkid, held.received);
            self.held_bytes -= held.topic.len() + held.payload.len();
            self.held.pop_front();
            if let Some(pkid) = pkid {
                self.expect_ack(due, pkid, received)?;
            }
        }
        // A full ring is rare; the memory it took is given back.
        self.held = VecDeque::new();
        Ok(())
    }

    /// Hands every acknowledgement due at `ackable` to `send`, in order, until it refuses one. `now_ns` is the time since
    /// boot.
    pub fn release(&mut self, ackable: Ackable, now_ns: u64, mut send: impl FnMut(u16) -> bool) {
        // Messages read together have one time of receipt: they are counted together.
        let (mut micros, mut count) = (0, 0);
        while let Some(token) = self.acks.due(ackable) {
            if !send(token.pkid) {
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

    /// Notes that one acknowledgement has left for the socket.
    pub fn ack_left(&mut self) {
        self.handed = self.handed.saturating_sub(1);
        self.left += 1;
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
            self.held.retain(|held| held.pkid.is_none());
            self.held_bytes = self.held.iter().map(|held| held.topic.len() + held.payload.len()).sum();
        }
        for held in &mut self.held {
            held.pkid = None;
        }
    }

    /// Writes the counters where others read them.
    pub fn publish_counts(&mut self) {
        self.status.unacknowledged.store((self.acks.len() + self.held.len()) as u64, Relaxed);
        self.status.held.store(self.held.len() as u64, Relaxed);
        if self.left > 0 {
            self.status.acknowledged.fetch_add(self.left, Relaxed);
            self.left = 0;
        }
    }

    fn expect_ack(&mut self, due: Ackable, pkid: u16, received: Received) -> Result<(), ConnectError> {
        let token = Token { pkid, received_ns: received.since_boot_ns };
        self.acks.push(due, token).map_err(|_| {
            ConnectError::Lost(format!(
                "it sent more than {} messages without waiting for an acknowledgement",
                self.limit
            ))
        })
    }

    fn hold(&mut self, message: Incoming<'_>, pkid: u16) -> Result<(), ConnectError> {
        let bytes = message.topic.len() + message.payload.len();
        if self.held.len() >= self.limit || self.held_bytes + bytes > HELD_BYTES {
            return Err(ConnectError::Overflow { held: self.limit, bytes: HELD_BYTES });
        }
        self.held_bytes += bytes;
        self.held.push_back(Held {
            topic: message.topic.into(),
            payload: message.payload.into(),
            retain: message.retain,
            received: message.received,
            pkid: Some(pkid),
        });
        Ok(())
    }
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
mod tests {
    use std::sync::Mutex;

    use rumqttc::{Publish, QoS};
    use tokio::sync::Notify;

    use super::*;
    use crate::marks::Pos;

    /// Takes `room` messages, each ending 10 further on, and remembers their payloads. Refuses those named so.
    #[derive(Default)]
    struct Fake {
        room: Mutex<usize>,
        refused: Mutex<u64>,
        taken: Mutex<Vec<Vec<u8>>>,
        broken: Mutex<bool>,
        notify: Notify,
    }

    impl Intake for Fake {
        fn offer(&self, message: Incoming<'_>) -> Offer {
            if *self.broken.lock().unwrap() {
                return Offer::Failed("poisoned".into());
            }
            if message.payload == b"refused" {
                let mut refused = self.refused.lock().unwrap();
                *refused += 1;
                return Offer::Refused(*refused);
            }
            let mut room = self.room.lock().unwrap();
            if *room == 0 {
                return Offer::Full;
            }
            *room -= 1;
            let mut taken = self.taken.lock().unwrap();
            taken.push(message.payload.to_vec());
            Offer::Accepted(Pos(taken.len() as u64 * 10))
        }

        fn room(&self) -> &Notify {
            &self.notify
        }

        fn subscribing(&self, _: &str, _: u8) {}
    }

    fn inbox(room: usize, limit: usize) -> (Arc<Fake>, Arc<SharedBroker>, Inbox) {
        let fake = Arc::new(Fake { room: Mutex::new(room), ..Fake::default() });
        let status = Arc::new(SharedBroker::default());
        let intake: Arc<dyn Intake> = Arc::<Fake>::clone(&fake);
        (fake, Arc::clone(&status), Inbox::new(intake, status, limit))
    }

    fn message(pkid: u16, payload: &[u8]) -> Message {
        let mut publish = Publish::new("a/b", if pkid == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce }, payload);
        publish.pkid = pkid;
        Message::V4(publish)
    }

    fn release(inbox: &mut Inbox, ackable: u64) -> Vec<u16> {
        release_with(inbox, Pos(ackable).into())
    }

    fn release_with(inbox: &mut Inbox, ackable: Ackable) -> Vec<u16> {
        let mut sent = Vec::new();
        inbox.release(ackable, 5_000, |pkid| {
            sent.push(pkid);
            true
        });
        sent
    }

    #[test]
    fn only_what_is_ackable_is_acknowledged_and_qos_0_never() {
        let (_, status, mut inbox) = inbox(9, 9);
        for pkid in [7, 0, 8] {
            inbox.take(&message(pkid, b"x"), Received::default()).expect("is taken");
        }
        assert!(release(&mut inbox, 9).is_empty());
        assert_eq!(release(&mut inbox, 29), [7]);
        assert_eq!(release(&mut inbox, 30), [8]);
        assert!(!inbox.is_settled());
        inbox.ack_left();
        inbox.ack_left();
        inbox.publish_counts();
        assert!(inbox.is_settled());
        let shown = status.status();
        assert_eq!((shown.acknowledged, shown.unacknowledged, shown.ack_latency_us.count), (2, 0, 2));
    }

    #[test]
    fn a_refused_message_is_acknowledged_in_its_turn_and_once_it_is_counted() {
        let (_, _, mut inbox) = inbox(9, 9);
        for (pkid, payload) in [(1, &b"x"[..]), (2, b"refused"), (0, b"refused"), (3, b"refused"), (4, b"x")] {
            inbox.take(&message(pkid, payload), Received::default()).expect("is taken");
        }
        assert!(
            release_with(&mut inbox, Ackable { pos: Pos(9), refused: 3, ..Ackable::default() }).is_empty(),
            "the first is not durable"
        );
        assert_eq!(release_with(&mut inbox, Ackable { pos: Pos(99), refused: 2, ..Ackable::default() }), [1, 2]);
        assert_eq!(release_with(&mut inbox, Ackable { pos: Pos(99), refused: 3, ..Ackable::default() }), [3, 4]);
    }

    #[test]
    fn an_acknowledgement_the_connection_refuses_stays_due() {
        let (_, _, mut inbox) = inbox(9, 9);
        inbox.take(&message(1, b"x"), Received::default()).expect("is taken");
        inbox.release(Pos(99).into(), 0, |_| false);
        assert_eq!(release(&mut inbox, 99), [1]);
    }

    #[test]
    fn a_full_ring_holds_in_order_and_drops_qos_0() {
        let (fake, status, mut inbox) = inbox(1, 9);
        for (pkid, payload) in [(1, b"a"), (2, b"b"), (0, b"z"), (3, b"c")] {
            inbox.take(&message(pkid, payload), Received::default()).expect("is taken");
        }
        *fake.room.lock().unwrap() = 1;
        inbox.retry().expect("goes on");
        inbox.take(&message(4, b"d"), Received::default()).expect("waits its turn");
        *fake.room.lock().unwrap() = 9;
        inbox.retry().expect("goes on");
        assert_eq!(*fake.taken.lock().unwrap(), [b"a", b"b", b"c", b"d"]);
        assert_eq!(release(&mut inbox, 99), [1, 2, 3, 4]);
        assert_eq!((status.status().qos0_dropped, inbox.holds(), inbox.held_bytes), (1, false, 0));
    }

    #[test]
    fn the_hold_is_bounded_in_messages_and_bytes() {
        let (_, _, mut inbox) = inbox(0, 2);
        inbox.take(&message(1, b"a"), Received::default()).expect("is held");
        inbox.take(&message(2, b"b"), Received::default()).expect("is held");
        let error = inbox.take(&message(3, b"c"), Received::default()).expect_err("is one too many");
        assert!(matches!(error, ConnectError::Overflow { held: 2, .. }));

        let (_, _, mut inbox) = self::inbox(0, 9);
        let large = vec![0; HELD_BYTES - 3];
        inbox.take(&message(1, &large), Received::default()).expect("just fits with its topic");
        assert!(inbox.take(&message(2, b""), Received::default()).is_err());
    }

    #[test]
    fn more_than_was_agreed_on_ends_the_connection() {
        let (_, _, mut inbox) = inbox(9, 1);
        inbox.take(&message(1, b"a"), Received::default()).expect("is taken");
        assert!(matches!(inbox.take(&message(2, b"b"), Received::default()), Err(ConnectError::Lost(_))));
    }

    #[test]
    fn a_lost_connection_takes_its_acknowledgements_with_it() {
        let (_, status, mut inbox) = inbox(9, 9);
        inbox.take(&message(1, b"a"), Received::default()).expect("is taken");
        inbox.take(&message(2, b"b"), Received::default()).expect("is taken");
        assert_eq!(release(&mut inbox, 10), [1]);
        inbox.connection_lost();
        assert!(release(&mut inbox, 99).is_empty());
        assert_eq!(status.status().stale_acks, 2);
    }

    #[test]
    fn held_messages_survive_only_a_lost_session() {
        for (session_present, kept) in [(true, 0), (false, 1)] {
            let (fake, _, mut inbox) = inbox(0, 9);
            inbox.take(&message(1, b"a"), Received::default()).expect("is held");
            inbox.connection_lost();
            inbox.connected(session_present);
            *fake.room.lock().unwrap() = 9;
            inbox.retry().expect("goes on");
            assert_eq!(fake.taken.lock().unwrap().len(), kept);
            assert!(release(&mut inbox, 99).is_empty());
        }
    }

    #[test]
    fn a_broken_ring_ends_the_connection_without_an_acknowledgement() {
        let (fake, status, mut inbox) = inbox(9, 9);
        *fake.broken.lock().unwrap() = true;
        for pkid in [1, 0] {
            let error = inbox.take(&message(pkid, b"a"), Received::default()).expect_err("fails");
            assert_eq!(error, ConnectError::Intake("poisoned".into()));
        }
        assert!(release(&mut inbox, 99).is_empty());
        assert_eq!(status.status().qos0_dropped, 1);
    }
}
