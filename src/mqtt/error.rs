//! Why there is no connection, and what to do about it.

use std::{error::Error as _, io};

use super::url::UrlError;

/// Why a connection could not be made, or was lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// A setting can't be used.
    #[error("{0}")]
    Settings(String),
    /// User name or password are wrong.
    #[error("the broker refused the user name or password: check mqtt.username and mqtt.password_file")]
    BadCredentials,
    /// The broker does not let this client in.
    #[error(
        "the broker does not authorise this client: check mqtt.username and mqtt.password_file (a broker that forbids \
         anonymous clients needs both), and the broker's rules for mqtt.client_id"
    )]
    NotAuthorised,
    /// The broker does not accept the client id.
    #[error("the broker refused the client id: check mqtt.client_id")]
    BadClientId,
    /// The broker does not speak this version.
    #[error("the broker does not speak this MQTT version: set mqtt.protocol to 4 (MQTT 3.1.1) or 5")]
    Protocol,
    /// TLS failed.
    #[error(
        "TLS with the broker failed: {0}; check mqtt.tls.ca_file, cert_file and key_file, and the host name in mqtt.url"
    )]
    Tls(String),
    /// Nobody there.
    #[error("the broker can't be reached: {0}; check mqtt.url and that the broker runs")]
    Unreachable(String),
    /// The broker said no for another reason.
    #[error("the broker refused the connection: {0}")]
    Refused(String),
    /// Another client came with the same client id.
    #[error(
        "another client connected with the same mqtt.client_id and took the session over; give each client an id of its own"
    )]
    TakenOver,
    /// The broker closed the connection without a word.
    #[error("the broker closed the connection without giving a reason")]
    Closed,
    /// It did so again and again, soon after accepting it.
    #[error(
        "the broker closes each connection soon after accepting it: another client takes the session over, or the link breaks; \
         give each client a mqtt.client_id of its own"
    )]
    Rival,
    /// The connection was there and went.
    #[error("the connection to the broker was lost: {0}")]
    Lost(String),
    /// More came than can be held while the ring is full.
    #[error(
        "disconnected on purpose: the ring is full and more than {held} messages or {bytes} bytes came unacknowledged; the \
         broker keeps them; make room in the ring or lower mqtt.receive_maximum"
    )]
    Overflow {
        /// Most messages held.
        held: usize,
        /// Most bytes held.
        bytes: usize,
    },
    /// The ring takes nothing more.
    #[error("messages are not taken any more: {0}")]
    Intake(String),
}

impl ConnectError {
    /// Whether trying again soon is pointless, or harmful: somebody must change something first.
    #[must_use]
    pub fn needs_hands(&self) -> bool {
        !matches!(
            self,
            Self::Unreachable(_)
                | Self::Closed
                | Self::Rival
                | Self::Lost(_)
                | Self::Refused(_)
                | Self::Overflow { .. }
        )
    }
}

impl ConnectError {
    /// What an I/O error on an established connection means.
    pub(super) fn broken(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Lost(error.to_string()),
        }
    }
}

impl From<UrlError> for ConnectError {
    fn from(error: UrlError) -> Self {
        Self::Settings(error.to_string())
    }
}

/// Finds a TLS error among the causes of `error`, however deep the layers have wrapped it.
pub(super) fn tls_cause(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    // The layers are a handful; the bound is against a chain that refers to itself.
    for _ in 0..16 {
        let error = cause?;
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls.to_string());
        }
        cause = match error.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| io.source()),
            None => error.source(),
        };
    }
    None
}
