//! What the session asks of a connection, and what happens on one.
//!
//! Each connection is made afresh: nothing of one that went (requests, half-sent acknowledgements, events not yet
//! read) can reach the next one. An acknowledgement sent on a connection other than its message's could confirm a different
//! message with the same packet id, which would then be lost.

use std::{sync::Arc, time::Duration};

use super::{
    error::ConnectError,
    packet::{Connect, Message, Version},
    status::Shortened,
    transport::MAX_WEBSOCKET_PACKET_BYTES,
    url::{BrokerUrl, Scheme},
};
use crate::{
    files::read::{MAX_SECRET_BYTES, read_regular_text},
    ingest::filters::Wanted,
    settings::Mqtt,
};

/// How long one attempt to connect may take, name resolution and TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Most QoS 1 messages that can be unacknowledged on one connection: as many as there are packet ids. MQTT 5 brokers keep to
/// `receive_maximum`; MQTT 3.1.1 knows no such limit, and mosquitto with `max_inflight_messages 0` ignores it in MQTT 5 too.
pub(super) const MAX_UNACKNOWLEDGED: usize = u16::MAX as usize;
/// Shortest keep-alive that is asked for.
const MIN_KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Longest user name or password (section 1.5.4).
const MAX_LOGIN_BYTES: usize = u16::MAX as usize;

/// A subscription to ask the broker for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Topic filter, with its `$share/group/` prefix where it is shared.
    pub filter: String,
    /// Highest QoS wanted: 0 or 1. (QoS 2 is never asked for: a reconnect in the middle of its handshake ends in a loop.)
    pub qos: u8,
    /// The identifier that its messages carry (MQTT 5), where other subscriptions may bring a copy of the same message.
    pub id: Option<u32>,
}

impl From<Wanted> for Subscription {
    fn from(Wanted { filter, qos, id }: Wanted) -> Self {
        Self { filter, qos, id }
    }
}

/// What happened on a connection, as far as the session cares.
#[derive(Debug)]
pub enum Event {
    /// The broker accepted the connection.
    ConnAck {
        /// Whether it had kept the session.
        session_present: bool,
        /// Whether it knows subscription identifiers.
        has_ids: bool,
        /// Where it keeps the session for a shorter time than asked for.
        shortened: Option<Shortened>,
    },
    /// A message.
    Publish(Message),
    /// The answer to a SUBSCRIBE: for each filter in order, the granted QoS or the refusal.
    SubAck {
        /// Packet id of the SUBSCRIBE.
        id: u16,
        /// The answers.
        codes: Vec<Result<u8, String>>,
    },
    /// The answer to an UNSUBSCRIBE: for each filter in order, done (whatever the number) or the refusal. MQTT 3.1.1 has no codes.
    UnsubAck {
        /// Packet id of the UNSUBSCRIBE.
        id: u16,
        /// The answers.
        codes: Vec<Result<u8, String>>,
    },
    /// So many acknowledgements have left for the socket.
    AcksSent(u64),
    /// The DISCONNECT has left for the socket.
    DisconnectSent,
    /// Anything else.
    Other,
}

/// What a connection needs to know.
pub(super) struct Options {
    pub version: Version,
    pub url: BrokerUrl,
    /// There where the way is encrypted.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    pub client_id: String,
    pub login: Option<(String, String)>,
    pub keep_alive: Duration,
    /// Start without a session and leave none.
    pub clean: bool,
    pub session_expiry_s: u32,
    pub receive_maximum: u16,
    /// Largest payload kept whole, in bytes.
    pub max_payload: usize,
}

impl Options {
    /// Gathers what a connection needs; reads the password and the certificates anew, since they may have been replaced.
    pub fn from_settings(settings: &Mqtt, clean: bool) -> Result<Self, ConnectError> {
        if settings.client_id.is_empty() {
            return Err(ConnectError::Settings("mqtt.client_id: must not be empty".into()));
        }
        let url = BrokerUrl::parse(&settings.url)?;
        let tls = if url.scheme.is_tls() { Some(super::tls::config(&settings.tls)?) } else { None };
        Ok(Self {
            version: Version::of(settings.protocol),
            url,
            tls,
            client_id: settings.client_id.clone(),
            login: login(settings)?,
            keep_alive: settings.keep_alive.clamp(MIN_KEEP_ALIVE, Duration::from_secs(u16::MAX.into())),
            clean,
            session_expiry_s: settings.session_expiry.as_secs().try_into().unwrap_or(u32::MAX),
            receive_maximum: settings.receive_maximum.max(1),
            max_payload: usize::try_from(settings.max_payload.0).unwrap_or(usize::MAX),
        })
    }

    /// What is said first.
    pub fn connect(&self) -> Connect<'_> {
        // What is too large is set aside here, and counted; a broker that was told of a limit would drop it without a word. A web
        // socket's frames are read as a whole, and so have one.
        let has_frames = matches!(self.url.scheme, Scheme::Ws | Scheme::Wss);
        Connect {
            version: self.version,
            client_id: &self.client_id,
            login: self.login.as_ref().map(|(user, password)| (user.as_str(), password.as_str())),
            keep_alive_s: self.keep_alive.as_secs() as u16,
            clean: self.clean,
            session_expiry_s: self.session_expiry_s,
            receive_maximum: self.receive_maximum,
            max_packet_bytes: has_frames.then_some(MAX_WEBSOCKET_PACKET_BYTES),
        }
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
    if settings.username.iter().chain(&password).any(|text| text.len() > MAX_LOGIN_BYTES) {
        let what = format!("mqtt.username, mqtt.password_file: neither may have more than {MAX_LOGIN_BYTES} bytes");
        return Err(ConnectError::Settings(what));
    }
    match (&settings.username, password) {
        (Some(name), password) => Ok(Some((name.clone(), password.unwrap_or_default()))),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(ConnectError::Settings("mqtt.password_file: needs mqtt.username beside it".into())),
    }
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
    fn absurd_settings_are_kept_within_what_the_protocol_bears() {
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
