use std::sync::Mutex;

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
    waits: Mutex<bool>,
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

    fn subscribing(&self, _: &str, _: u8) -> u64 {
        0
    }

    fn subscribed(&self) -> Vec<String> {
        Vec::new()
    }

    fn taken_back(&self, _: &str) {}

    fn broker_waits(&self, waits: bool) {
        *self.waits.lock().unwrap() = waits;
    }
}

fn inbox(room: usize, limit: usize) -> (Arc<Fake>, Arc<SharedBroker>, Inbox) {
    let fake = Arc::new(Fake { room: Mutex::new(room), ..Fake::default() });
    let status = Arc::new(SharedBroker::default());
    let intake: Arc<dyn Intake> = Arc::<Fake>::clone(&fake);
    (fake, Arc::clone(&status), Inbox::new(intake, status, limit, Window::new(5, 3)))
}

fn message(pkid: u16, payload: &[u8]) -> Message {
    Message::example("a/b", pkid, payload)
}

fn release(inbox: &mut Inbox, ackable: u64) -> Vec<u16> {
    release_with(inbox, Pos(ackable).into())
}

fn release_with(inbox: &mut Inbox, ackable: Ackable) -> Vec<u16> {
    let mut sent = Vec::new();
    inbox.release(ackable, 5_000, |ack| {
        sent.push(ack.packet_id);
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
    inbox.acks_left(2);
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
fn a_copy_for_another_subscription_is_acknowledged_with_what_it_is_a_copy_of() {
    let (fake, status, mut inbox) = inbox(9, 9);
    // The first came at QoS 0: nothing else says when it is safe.
    for (pkid, id) in [(0, 1), (5, 2), (6, 2)] {
        inbox.take(&Message::with_ids("a/b", pkid, b"x", &[id]), Received::default()).expect("is taken");
    }
    assert_eq!(fake.taken.lock().unwrap().len(), 2, "two publications that are alike");
    assert!(release(&mut inbox, 9).is_empty(), "the first is not safe");
    assert_eq!((release(&mut inbox, 10), release(&mut inbox, 20)), (vec![5], vec![6]));
    assert_eq!(status.status().copies, 1);
}

#[test]
fn while_subscriptions_change_copies_come_at_once_and_numbers_from_before_say_nothing_after() {
    const MS: u64 = 1_000_000;
    let (fake, status, mut inbox) = inbox(99, 99);
    let mut pkid = 0;
    let mut take = |inbox: &mut Inbox, at_ms: u64, ids: &[u8]| {
        pkid += 1;
        let received = Received { since_boot_ns: at_ms * MS, ..Received::default() };
        inbox.take(&Message::with_ids("a/b", pkid, b"x", ids), received).expect("is taken");
        fake.taken.lock().unwrap().len()
    };
    // Of a filter without an identifier each is a message.
    assert_eq!((take(&mut inbox, 0, &[]), take(&mut inbox, 100, &[])), (1, 2));
    inbox.begin_change(200 * MS, vec!["a/+".into()]);
    assert_eq!((take(&mut inbox, 300, &[]), take(&mut inbox, 600, &[])), (3, 4));
    // The old filter and the new one bring the same.
    assert_eq!((take(&mut inbox, 700, &[]), take(&mut inbox, 700, &[7])), (5, 5));
    inbox.changed(750 * MS);
    // The new one alone, with what was said before.
    for n in 0..30 {
        assert_eq!(take(&mut inbox, 800 + n * 1_000, &[7]), 6 + n as usize);
    }
    assert_eq!(status.status().copies, 1);
}

#[test]
fn a_copy_of_a_message_that_found_no_room_is_held_and_taken_once() {
    let (fake, _, mut inbox) = inbox(0, 9);
    for (pkid, id) in [(0, 1), (5, 2), (6, 1)] {
        inbox.take(&Message::with_ids("a/b", pkid, b"x", &[id]), Received::default()).expect("is held or dropped");
    }
    *fake.room.lock().unwrap() = 9;
    inbox.retry().expect("goes on");
    assert_eq!(fake.taken.lock().unwrap().len(), 1, "what was dropped is no reason to drop its copy");
    assert_eq!(release(&mut inbox, 10), [5, 6]);
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

#[test]
fn the_ring_is_told_when_the_broker_waits_for_acknowledgements() {
    let (fake, _, mut inbox) = inbox(9, 9);
    let waits = |inbox: &mut Inbox| {
        inbox.publish_counts();
        *fake.waits.lock().unwrap()
    };
    for pkid in 1..=2 {
        inbox.take(&message(pkid, b"x"), Received::default()).unwrap();
        assert!(!waits(&mut inbox), "two of three");
    }
    inbox.take(&message(3, b"x"), Received::default()).unwrap();
    assert!(waits(&mut inbox), "all that may wait");
    assert_eq!(release(&mut inbox, 10), [1]);
    assert!(!waits(&mut inbox), "one may come");
    inbox.take(&message(4, b"x"), Received::default()).unwrap();
    inbox.connection_lost();
    assert!(!waits(&mut inbox), "nobody waits without a connection");
}
