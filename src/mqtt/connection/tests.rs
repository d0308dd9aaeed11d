use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::settings::Bytes;

const LIMIT: Duration = Duration::from_secs(10);
const MAX_PAYLOAD: u64 = 1_024;

/// A connection that a broker of the test's own has accepted with this CONNACK.
async fn accepted(protocol: u8, connack: &[u8], keep_alive: Duration) -> (Requests, Poller, TcpStream, Event) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let url = format!("mqtt://{}", listener.local_addr().expect("an address"));
    let settings = Mqtt { url, protocol, max_payload: Bytes(MAX_PAYLOAD), ..Mqtt::default() };
    let options = Options { keep_alive, ..Options::from_settings(&settings, false).expect("is usable") };
    let (requests, mut poller) = prepare(options);
    let broker = async {
        let (mut stream, _) = listener.accept().await.expect("accepts");
        assert_eq!(packet(&mut stream).await[0], kind::CONNECT << 4);
        stream.write_all(connack).await.expect("answers");
        stream
    };
    let (event, stream) = tokio::join!(poller.poll(), broker);
    (requests, poller, stream, event.expect("is accepted"))
}

/// The next packet of the client; all of these are short.
async fn packet(stream: &mut TcpStream) -> Vec<u8> {
    let reading = async {
        let mut head = [0; 2];
        stream.read_exact(&mut head).await.expect("a packet");
        let mut packet = vec![0; usize::from(head[1])];
        stream.read_exact(&mut packet).await.expect("a whole packet");
        [&head[..], &packet[..]].concat()
    };
    timeout(LIMIT, reading).await.expect("in time")
}

/// The next event that is not nothing.
async fn event(poller: &mut Poller) -> Result<Event, ConnectError> {
    let polling = async {
        loop {
            match poller.poll().await {
                Ok(Event::Other) => {}
                other => return other,
            }
        }
    };
    timeout(LIMIT, polling).await.expect("in time")
}

fn message(event: Result<Event, ConnectError>) -> Message {
    match event {
        Ok(Event::Publish(message)) => message,
        other => panic!("a message, not {other:?}"),
    }
}

#[tokio::test]
async fn a_keep_alive_and_a_receive_maximum_of_0_stop_nothing() {
    let connack = [0x20, 9, 1, 0, 6, 19, 0, 0, 33, 0, 0];
    let (requests, mut poller, mut broker, event) = accepted(5, &connack, LIMIT).await;
    assert!(matches!(event, Event::ConnAck { session_present: true, has_ids: true, shortened: None }));
    assert_eq!(poller.keep_alive(), LIMIT);
    assert!(requests.publish_retained("t", b"x") && !requests.publish_retained("t", b"y"), "one at a time");
    let wanted = [Subscription { filter: "a/#".into(), qos: 1, id: None }];
    assert_eq!(requests.subscribe(None, wanted.iter()), Some(2));
    let (_, published) = tokio::join!(async { timeout(Duration::from_millis(200), poller.poll()).await }, async {
        (packet(&mut broker).await, packet(&mut broker).await)
    });
    assert_eq!((published.0[0], published.1[0]), (0x33, 0x82));
    broker.write_all(&[0x90, 4, 0, 2, 0, 1]).await.expect("answers");
    assert!(matches!(self::event(&mut poller).await, Ok(Event::SubAck { id: 2, codes }) if codes == [Ok(1)]));
}

#[tokio::test]
async fn what_is_too_large_passes_and_what_comes_behind_it_is_read() {
    for protocol in [4, 5] {
        let connack: &[u8] = if protocol == 5 { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] };
        let (_, mut poller, mut broker, _) = accepted(protocol, connack, LIMIT).await;
        let payload = vec![b'x'; 5 << 20];
        let mut large = Vec::new();
        packet::publish(&mut large, Version::of(protocol), 7, "big/a", &payload);
        packet::publish(&mut large, Version::of(protocol), 8, "big/b", b"small");
        let sending = tokio::spawn(async move {
            broker.write_all(&large).await.expect("sent");
            broker
        });
        let (first, second) = (message(event(&mut poller).await), message(event(&mut poller).await));
        assert_eq!((first.topic().as_ref(), first.payload_bytes()), ("big/a", payload.len()));
        assert!(first.payload().len() < 256 * 1_024, "{}", first.payload().len());
        assert_eq!((first.ack().map(|ack| ack.packet_id), second.payload()), (Some(7), &b"small"[..]));
        drop(sending.await.expect("ends"));
        assert_eq!(event(&mut poller).await.expect_err("is over"), ConnectError::Closed);
    }
}

#[tokio::test]
async fn a_message_at_qos_2_is_acknowledged_in_its_way_and_a_release_is_always_answered() {
    let (mut requests, mut poller, mut broker, _) = accepted(4, &[0x20, 2, 0, 0], LIMIT).await;
    broker.write_all(b"\x34\x06\0\x01a\0\x09x\x32\x06\0\x01a\0\x0Ay").await.expect("sent");
    for _ in 0..2 {
        let taken = message(event(&mut poller).await);
        assert!(requests.ack(taken.ack().expect("wants one")));
    }
    assert!(matches!(event(&mut poller).await, Ok(Event::AcksSent(2))));
    assert_eq!((packet(&mut broker).await, packet(&mut broker).await), (vec![0x50, 2, 0, 9], vec![0x40, 2, 0, 10]));
    // The second belongs to a connection before this one.
    broker.write_all(b"\x62\x02\0\x09\x62\x02\0\x63").await.expect("sent");
    let polling = tokio::spawn(async move { while poller.poll().await.is_ok() {} });
    assert_eq!((packet(&mut broker).await, packet(&mut broker).await), (vec![0x70, 2, 0, 9], vec![0x70, 2, 0, 99]));
    polling.abort();
}

#[tokio::test]
async fn a_ping_that_is_not_answered_ends_the_connection() {
    let (_, mut poller, mut broker, _) = accepted(5, &[0x20, 3, 0, 0, 0], Duration::from_millis(50)).await;
    let answered = async {
        assert_eq!(packet(&mut broker).await, [0xC0, 0]);
        broker.write_all(&[0xD0, 0]).await.expect("answers");
        assert_eq!(packet(&mut broker).await, [0xC0, 0]);
    };
    let (ended, ()) = tokio::join!(event(&mut poller), answered);
    assert_eq!(ended.expect_err("is over"), ConnectError::Lost("a ping was not answered".into()));
}

#[tokio::test]
async fn the_reason_of_a_disconnect_and_bytes_that_are_no_mqtt_end_it() {
    for (bytes, why) in
        [(&[0xE0, 1, 0x8E][..], ConnectError::TakenOver), (&[0xE0, 1, 0x87], ConnectError::NotAuthorised)]
    {
        let (_, mut poller, mut broker, _) = accepted(5, &[0x20, 3, 0, 0, 0], LIMIT).await;
        broker.write_all(bytes).await.expect("sent");
        assert_eq!(event(&mut poller).await.expect_err("is over"), why);
    }
    let (_, mut poller, mut broker, _) = accepted(5, &[0x20, 3, 0, 0, 0], LIMIT).await;
    broker.write_all(b"\x30\x04\0\x01a\0\xFF\xFF\xFF\xFF\xFF").await.expect("sent");
    assert_eq!(message(event(&mut poller).await).topic(), "a", "what came before is taken");
    assert!(matches!(event(&mut poller).await, Err(ConnectError::Lost(_))));
}

#[tokio::test]
async fn what_waits_to_be_written_is_bounded() {
    let (mut requests, _poller, _broker, _) = accepted(5, &[0x20, 3, 0, 0, 0], LIMIT).await;
    let mut room = MAX_WAITING_BYTES / 4;
    while requests.ack(Ack { packet_id: 1, is_qos2: false }) {
        room -= 1;
    }
    assert_eq!(room, 0);
    assert!(!requests.disconnect() && requests.unsubscribe(["a"].into_iter()).is_none());
    let (requests, _poller, _broker, _) = accepted(4, &[0x20, 2, 0, 0], LIMIT).await;
    let published = (0..100).filter(|_| requests.publish_retained("t", b"x")).count();
    assert_eq!(published, usize::from(MAX_PUBLISHED));
}
