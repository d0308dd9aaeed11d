//! A connection that only looks on: a client id of its own, QoS 0, and a session that ends with the
//! connection. What the broker keeps for the daemon's session stays as it is.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::{
    connection::{Poller, Requests, connection},
    copies::Copies,
    error::ConnectError,
    packet::Message,
    protocol::{Event, Subscription},
    subscribe::{Answer, Subscriber, packets},
};
use crate::{point::Text, settings::Mqtt};

/// How often it is looked whether a subscription is to be asked for again.
const TICK: Duration = Duration::from_secs(1);
/// How long the goodbye may take.
const LEAVE_WITHIN: Duration = Duration::from_millis(200);
/// Stands in the client id, so that a broker's log tells what it was.
const MARK: &str = "follow";
/// Random characters at the end of the client id.
const RANDOM_CHARS: usize = 8;
/// Characters of `mqtt.client_id` that are taken over with MQTT 5.
const MAX_NAME_CHARS: usize = 64;
/// Longest client id that every broker takes with MQTT 3.1.1 (section 3.1.3.1), where it has only
/// ASCII letters and digits.
const MAX_V4_CHARS: usize = 23;

/// A message that came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// Its topic.
    pub topic: String,
    /// Its payload; empty where that is too large to be kept.
    pub payload: Vec<u8>,
    /// Bytes that its payload had.
    pub payload_bytes: usize,
    /// Whether the broker had kept it.
    pub retain: bool,
    /// Its user properties (MQTT 5).
    pub user_properties: Vec<(Text, Text)>,
    /// What is wrong with its packet.
    pub fault: Option<&'static str>,
}

/// What happened on the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// The broker accepted it.
    Connected,
    /// Every subscription is confirmed.
    Subscribed,
    /// Some are refused; in words. They are asked for again.
    Refused(String),
    /// A message.
    Message(Heard),
}

/// The connection.
pub struct Listener {
    poller: Poller,
    asking: Asking,
    copies: Copies,
}

/// What is asked for on it.
struct Asking {
    requests: Requests,
    subscriptions: Vec<Subscription>,
    subscriber: Subscriber,
    /// Whether the broker knows subscription identifiers.
    has_ids: bool,
    /// Whether the broker has accepted the connection.
    is_open: bool,
    began: Instant,
}

impl Listener {
    /// Prepares a connection for these settings; the first [`next`](Self::next) opens it.
    pub fn new(settings: &Mqtt, subscriptions: Vec<Subscription>) -> Result<Self, ConnectError> {
        let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(RANDOM_CHARS).collect();
        let client_id = client_id(&settings.client_id, settings.protocol, &random);
        let (requests, poller) = connection(&Mqtt { client_id, ..settings.clone() }, true)?;
        let subscriber = Subscriber::new(subscriptions.len());
        let began = Instant::now();
        let asking = Asking { requests, subscriptions, subscriber, has_ids: false, is_open: false, began };
        Ok(Self { poller, asking, copies: Copies::default() })
    }

    /// Waits until something happens. After an error the connection is over. Dropping the future
    /// may lose what it had read; only do so to give the connection up.
    pub async fn next(&mut self) -> Result<News, ConnectError> {
        loop {
            self.asking.ask()?;
            let event = self.event().await?;
            if let Some(news) = self.news(event) {
                return Ok(news);
            }
        }
    }

    /// Says goodbye, as far as that takes no time to speak of.
    pub async fn leave(mut self) {
        if self.asking.is_open && self.asking.requests.disconnect() {
            let gone = async { while !matches!(self.poller.poll().await, Ok(Event::DisconnectSent) | Err(_)) {} };
            // The broker notices the end of the connection in any case.
            let _ = timeout(LEAVE_WITHIN, gone).await;
        }
    }

    async fn event(&mut self) -> Result<Event, ConnectError> {
        let mut polling = pin!(self.poller.poll());
        loop {
            tokio::select! {
                biased;
                event = &mut polling => return event,
                () = sleep(TICK) => self.asking.ask()?,
            }
        }
    }

    fn news(&mut self, event: Event) -> Option<News> {
        match event {
            Event::ConnAck { has_ids, .. } => {
                (self.asking.has_ids, self.asking.is_open) = (has_ids, true);
                Some(News::Connected)
            }
            Event::SubAck { id, codes } => self.asking.answered(id, &codes),
            Event::Publish(message) => self.heard(&message).map(News::Message),
            _ => None,
        }
    }

    /// The message, unless it is a copy of one that came before.
    fn heard(&mut self, message: &Message) -> Option<Heard> {
        let (topic, ids) = (message.topic(), message.ids());
        if !ids.is_empty() {
            let key = self.copies.key(&topic, message.payload(), message.retain());
            let is_copy = self.copies.knows(key, ids);
            self.copies.note(key, ids);
            if is_copy {
                return None;
            }
        }
        let is_whole = message.payload_bytes() == message.payload().len();
        Some(Heard {
            topic: topic.into_owned(),
            payload: if is_whole { message.payload().to_vec() } else { Vec::new() },
            payload_bytes: message.payload_bytes(),
            user_properties: message.user_properties().to_vec(),
            retain: message.retain(),
            fault: message.fault(),
        })
    }
}

impl Asking {
    /// Asks for the subscriptions that are due.
    fn ask(&mut self) -> Result<(), ConnectError> {
        let now = self.began.elapsed();
        if self.subscriber.is_overdue(now) {
            return Err(ConnectError::Lost("the broker did not answer SUBSCRIBE".into()));
        }
        let due = self.subscriber.due(now).to_vec();
        if !self.is_open || due.is_empty() {
            return Ok(());
        }
        let all = &self.subscriptions;
        let mut asked = Vec::new();
        for (id, indexes) in packets(all, &due, self.has_ids) {
            let wanted = indexes.iter().filter_map(|index| all.get(*index));
            let Some(packet) = self.requests.subscribe(id, wanted) else {
                return Err(ConnectError::Settings("source topics: all filters together are too long".into()));
            };
            asked.push((packet, indexes));
        }
        self.subscriber.asked(asked, now);
        Ok(())
    }

    fn answered(&mut self, id: u16, codes: &[Result<u8, String>]) -> Option<News> {
        let now = self.began.elapsed();
        match self.subscriber.answered(id, &self.subscriptions, codes, now, fastrand::f64()) {
            Answer::Confirmed => Some(News::Subscribed),
            Answer::Refused(why) => Some(News::Refused(why)),
            Answer::Partly | Answer::Unexpected => None,
        }
    }
}

/// A client id that tells whose it is, and is nobody else's: the random part sees to that.
fn client_id(configured: &str, protocol: u8, random: &str) -> String {
    if protocol == 4 {
        let room = MAX_V4_CHARS.saturating_sub(MARK.len() + random.len());
        let name: String = configured.chars().filter(char::is_ascii_alphanumeric).take(room).collect();
        format!("{name}{MARK}{random}")
    } else {
        let name: String = configured.chars().take(MAX_NAME_CHARS).collect();
        format!("{name}-{MARK}-{random}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener() -> Listener {
        Listener::new(&Mqtt::default(), Vec::new()).expect("usable settings")
    }

    #[test]
    fn the_client_id_is_not_the_daemons_and_one_that_every_broker_takes() {
        let long = "forebay_gateway-7.of.the.north".repeat(4_000);
        for name in ["forebay", "-", long.as_str()] {
            let four = client_id(name, 4, "0aZ9xxxx");
            assert!(four.len() <= 23 && four.chars().all(|c| c.is_ascii_alphanumeric()), "{four}");
            assert!(four.ends_with("follow0aZ9xxxx"), "{four}");
            let five = client_id(name, 5, "0aZ9xxxx");
            assert!(five.len() < 100 && five.ends_with("-follow-0aZ9xxxx") && five != name, "{five}");
        }
        assert_eq!(client_id("gate-7", 4, "abcdefgh"), "gate7followabcdefgh");
    }

    #[tokio::test]
    async fn a_copy_for_another_subscription_is_left_out() {
        let mut listener = listener();
        let mut heard = |ids: &[u8]| listener.heard(&Message::with_ids("a/1", 0, b"x", ids)).is_some();
        assert_eq!([heard(&[1]), heard(&[2]), heard(&[1]), heard(&[])], [true, false, true, true]);
    }

    #[tokio::test]
    async fn nothing_is_asked_for_before_the_broker_has_accepted_the_connection() {
        let all = vec![Subscription { filter: "a/+".into(), qos: 0, id: None }];
        let mut listener = Listener::new(&Mqtt::default(), all).expect("usable settings");
        listener.asking.ask().expect("nothing to ask");
        assert_eq!(listener.asking.subscriber.due(Duration::ZERO).len(), 1);
        let connected = Event::ConnAck { session_present: false, has_ids: true, shortened: None };
        assert_eq!(listener.news(connected), Some(News::Connected));
        listener.asking.ask().expect("asks");
        assert!(listener.asking.subscriber.due(Duration::ZERO).is_empty());
        let answer = Event::SubAck { id: 1, codes: vec![Ok(0)] };
        assert_eq!(listener.news(answer), Some(News::Subscribed));
    }
}
