//! What the session needs of an MQTT connection, with the differences between MQTT 5 and 3.1.1 behind it.
//!
//! Each connection is a new client: nothing of a connection that went (requests, half-sent acknowledgements, events not yet
//! read) can reach the next one. An acknowledgement sent on a connection other than its message's could confirm a different
//! message with the same packet id, which would then be lost.

use std::{borrow::Cow, time::Duration};

use super::{
    error::ConnectError,
    url::{BrokerUrl, Scheme},
    v4, v5,
};
use crate::{
    files::read::{MAX_SECRET_BYTES, read_regular_text},
    settings::Mqtt,
};

/// How long one attempt to connect may take, name resolution and TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Most QoS 1 messages that can be unacknowledged on one connection: as many as there are packet ids. MQTT 5 brokers keep to
/// `receive_maximum`; MQTT 3.1.1 knows no such limit, and mosquitto with `max_inflight_messages 0` ignores it in MQTT 5 too.
pub(super) const MAX_UNACKNOWLEDGED: usize = u16::MAX as usize;
/// Requests besides acknowledgements that may be queued: SUBSCRIBE and DISCONNECT.
pub(super) const OTHER_REQUESTS: usize = 16;
/// Requests of a client that publishes that may be queued.
const PUBLISH_REQUESTS: usize = 64;
/// Messages of our own under way; the session publishes nothing. (The library allocates for this many.)
pub(super) const OUTGOING_INFLIGHT: u16 = 16;
/// Shortest keep-alive; the library panics below.
const MIN_KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A subscription to ask the broker for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Topic filter, with its `$share/group/` prefix where it is shared.
    pub filter: String,
    /// Highest QoS wanted: 0 or 1. (QoS 2 is never asked for: a reconnect in the middle of its handshake ends in a loop.)
    pub qos: u8,
}

/// What happened on a connection, as far as the session cares.
#[derive(Debug)]
pub enum Event {
    /// The broker accepted the connection.
    ConnAck {
        /// Whether it had kept the session.
        session_present: bool,
    },
    /// A message.
    Publish(Message),
    /// The answer to a SUBSCRIBE: for each filter in order, the granted QoS or the refusal.
    SubAck(Vec<Result<u8, String>>),
    /// One PUBACK has left for the socket.
    AckSent,
    /// The DISCONNECT has left for the socket.
    DisconnectSent,
    /// Anything else.
    Other,
}

/// A received PUBLISH. It borrows from the read buffer; copy what has to outlive its handling.
#[derive(Debug)]
pub enum Message {
    /// From an MQTT 5 connection.
    V5(rumqttc::v5::mqttbytes::v5::Publish),
    /// From an MQTT 3.1.1 connection.
    V4(rumqttc::Publish),
}

impl Message {
    /// The topic. MQTT topics are UTF-8; anything else a broker sends is made readable rather than dropped.
    pub fn topic(&self) -> Cow<'_, str> {
        match self {
            Self::V5(publish) => String::from_utf8_lossy(&publish.topic),
            Self::V4(publish) => Cow::Borrowed(&publish.topic),
        }
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        match self {
            Self::V5(publish) => &publish.payload,
            Self::V4(publish) => &publish.payload,
        }
    }

    /// Whether the broker had kept the message before the subscription was made.
    pub fn retain(&self) -> bool {
        match self {
            Self::V5(publish) => publish.retain,
            Self::V4(publish) => publish.retain,
        }
    }

    /// The packet id to acknowledge; none at QoS 0.
    pub fn ack_id(&self) -> Option<u16> {
        let (qos, pkid) = match self {
            Self::V5(publish) => (publish.qos as u8, publish.pkid),
            Self::V4(publish) => (publish.qos as u8, publish.pkid),
        };
        (qos > 0).then_some(pkid)
    }
}

/// What both versions are told.
pub(super) struct Options {
    pub url: BrokerUrl,
    pub client_id: String,
    pub login: Option<(String, String)>,
    pub keep_alive: Duration,
    pub transport: rumqttc::Transport,
    /// Start without a session and leave none.
    pub clean: bool,
    pub session_expiry_s: u32,
    pub receive_maximum: u16,
    pub max_packet_bytes: u32,
    /// Places in the request channel: an acknowledgement for each unacknowledged message and the other requests.
    pub requests: usize,
}

impl Options {
    /// Gathers what a connection needs; reads the password and the certificates anew, since they may have been replaced.
    pub fn from_settings(settings: &Mqtt, clean: bool) -> Result<Self, ConnectError> {
        if settings.client_id.is_empty() {
            return Err(ConnectError::Settings("mqtt.client_id: must not be empty".into()));
        }
        let url = BrokerUrl::parse(&settings.url)?;
        let transport = match url.scheme {
            Scheme::Mqtt => rumqttc::Transport::Tcp,
            Scheme::Mqtts => rumqttc::Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(
                super::tls::config(&settings.tls)?,
            )),
            Scheme::Ws => rumqttc::Transport::Ws,
            Scheme::Wss => rumqttc::Transport::wss_with_config(rumqttc::TlsConfiguration::Rustls(super::tls::config(
                &settings.tls,
            )?)),
            Scheme::Unix => rumqttc::Transport::Unix,
        };
        Ok(Self {
            url,
            client_id: settings.client_id.clone(),
            login: login(settings)?,
            keep_alive: settings.keep_alive.clamp(MIN_KEEP_ALIVE, Duration::from_secs(u16::MAX.into())),
            transport,
            clean,
            session_expiry_s: settings.session_expiry.as_secs().try_into().unwrap_or(u32::MAX),
            receive_maximum: settings.receive_maximum.max(1),
            max_packet_bytes: settings.max_payload.0.try_into().unwrap_or(u32::MAX),
            requests: MAX_UNACKNOWLEDGED + OTHER_REQUESTS,
        })
    }
}

/// User name and password, the latter without one trailing newline.
fn login(settings: &Mqtt) -> Result<Option<(String, String)>, ConnectError> {
    let password = match &settings.password_file {
        None => None,
        Some(path) => {
            let text = read_regular_text(path, MAX_SECRET_BYTES).map_err(|why| {
                ConnectError::Settings(format!("mqtt.password_file: {} can't be read: {why}", path.display()))
            })?;
            let trimmed = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
            Some(trimmed.to_owned())
        }
    };
    match (&settings.username, password) {
        (Some(name), password) => Ok(Some((name.clone(), password.unwrap_or_default()))),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(ConnectError::Settings("mqtt.password_file: needs mqtt.username beside it".into())),
    }
}

/// The half of a connection that makes requests; none of its methods waits.
pub(super) enum Requests {
    V5(v5::Requests),
    V4(v4::Requests),
}

impl Requests {
    /// Queues a PUBACK; false when the queue is full.
    pub fn ack(&mut self, pkid: u16) -> bool {
        match self {
            Self::V5(requests) => requests.ack(pkid),
            Self::V4(requests) => requests.ack(pkid),
        }
    }

    /// Queues a SUBSCRIBE for the given subscriptions; false when the queue is full or a filter is malformed.
    pub fn subscribe<'a>(&self, wanted: impl Iterator<Item = &'a Subscription>) -> bool {
        match self {
            Self::V5(requests) => requests.subscribe(wanted),
            Self::V4(requests) => requests.subscribe(wanted),
        }
    }

    /// Queues a retained message at QoS 1; false when the queue is full.
    pub fn publish_retained(&self, topic: &str, payload: Vec<u8>) -> bool {
        match self {
            Self::V5(requests) => requests.publish_retained(topic, payload),
            Self::V4(requests) => requests.publish_retained(topic, payload),
        }
    }

    /// Queues a DISCONNECT, which leaves the session at the broker.
    pub fn disconnect(&self) -> bool {
        match self {
            Self::V5(requests) => requests.disconnect(),
            Self::V4(requests) => requests.disconnect(),
        }
    }
}

/// The half of a connection that reads and writes the socket.
pub(super) enum Poller {
    V5(Box<v5::Poller>),
    V4(Box<v4::Poller>),
}

impl Poller {
    /// Drives the connection until something happens. After an error the connection is over.
    ///
    /// Dropping the future before it is ready may lose what it had read; only do so to give the connection up.
    pub async fn poll(&mut self) -> Result<Event, ConnectError> {
        match self {
            Self::V5(poller) => poller.poll().await,
            Self::V4(poller) => poller.poll().await,
        }
    }

    /// The next event that was read together with the last one, without the cost of a poll.
    pub fn buffered(&mut self) -> Option<Event> {
        match self {
            Self::V5(poller) => poller.buffered(),
            Self::V4(poller) => poller.buffered(),
        }
    }

    /// Time between pings; the broker may have set another than was asked for.
    pub fn keep_alive(&self) -> Duration {
        match self {
            Self::V5(poller) => poller.keep_alive(),
            Self::V4(poller) => poller.keep_alive(),
        }
    }
}

/// Prepares a connection; the first poll opens it.
pub(super) fn connection(settings: &Mqtt, clean: bool) -> Result<(Requests, Poller), ConnectError> {
    Ok(connect(settings, Options::from_settings(settings, clean)?))
}

/// The same for a client that publishes and receives nothing, and leaves no session.
pub(super) fn publishing_connection(settings: &Mqtt) -> Result<(Requests, Poller), ConnectError> {
    let options = Options { requests: PUBLISH_REQUESTS, ..Options::from_settings(settings, true)? };
    Ok(connect(settings, options))
}

fn connect(settings: &Mqtt, options: Options) -> (Requests, Poller) {
    if settings.protocol == 4 {
        let (requests, poller) = v4::connection(options);
        return (Requests::V4(requests), Poller::V4(Box::new(poller)));
    }
    let (requests, poller) = v5::connection(options);
    (Requests::V5(requests), Poller::V5(Box::new(poller)))
}

/// Connects once with a client id and session of its own and disconnects, to see whether the broker would let forebay in.
pub async fn probe(settings: &Mqtt) -> Result<(), ConnectError> {
    let mut settings = settings.clone();
    settings.client_id.push_str("-check");
    let (requests, mut poller) = connection(&settings, true)?;
    match poller.poll().await? {
        Event::ConnAck { .. } => {}
        other => return Err(ConnectError::Refused(format!("it answered CONNECT with {other:?}"))),
    }
    if requests.disconnect() {
        // The connection has shown what it was for; how its end goes says nothing about the settings.
        let _ = tokio::time::timeout(CONNECT_TIMEOUT, async {
            while !matches!(poller.poll().await, Ok(Event::DisconnectSent) | Err(_)) {}
        })
        .await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_password(text: &str, username: Option<&str>) -> Result<Option<(String, String)>, ConnectError> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("password");
        std::fs::write(&path, text).expect("writes");
        login(&Mqtt { username: username.map(Into::into), password_file: Some(path), ..Mqtt::default() })
    }

    #[test]
    fn one_newline_is_taken_off_the_password() {
        for (text, password) in
            [("secret\n", "secret"), ("secret\r\n", "secret"), ("secret\n\n", "secret\n"), ("s ", "s ")]
        {
            assert_eq!(with_password(text, Some("me")), Ok(Some(("me".into(), password.into()))));
        }
    }

    #[test]
    fn a_password_needs_a_name_and_a_readable_file() {
        assert!(with_password("x", None).expect_err("refused").to_string().contains("mqtt.username"));
        let missing =
            Mqtt { username: Some("me".into()), password_file: Some("/nonexistent".into()), ..Mqtt::default() };
        assert!(login(&missing).expect_err("refused").to_string().contains("mqtt.password_file: /nonexistent"));
    }

    #[test]
    fn absurd_settings_are_kept_within_what_the_library_bears() {
        let settings =
            Mqtt { keep_alive: Duration::ZERO, receive_maximum: 0, session_expiry: Duration::MAX, ..Mqtt::default() };
        let options = Options::from_settings(&settings, false).expect("is usable");
        assert_eq!(
            (options.keep_alive, options.receive_maximum, options.session_expiry_s),
            (MIN_KEEP_ALIVE, 1, u32::MAX)
        );
        assert!(Options::from_settings(&Mqtt { client_id: String::new(), ..Mqtt::default() }, false).is_err());
    }
}
