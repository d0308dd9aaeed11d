//! MQTT 5 through rumqttc, for the simulator's devices.

use rumqttc::{
    NetworkOptions, TlsConfiguration, Transport,
    v5::{
        ConnectionError, MqttOptions, StateError,
        mqttbytes::{
            Error as Malformed,
            v5::{ConnectProperties, ConnectReturnCode as Code, DisconnectReasonCode},
        },
    },
};

use super::{
    error::{ConnectError, tls_cause},
    protocol::{CONNECT_TIMEOUT, Options},
    url::Scheme,
};
use crate::settings::Mqtt;

/// Options for a client that publishes and receives nothing: a session of its own, at most `inflight` messages under way.
pub fn publisher_options(settings: &Mqtt, inflight: u16) -> Result<MqttOptions, ConnectError> {
    let options = Options::from_settings(settings, false)?;
    let tls = options.tls.map(TlsConfiguration::Rustls);
    let transport = match (options.url.scheme, tls) {
        (Scheme::Mqtts, Some(tls)) => Transport::tls_with_config(tls),
        (Scheme::Wss, Some(tls)) => Transport::wss_with_config(tls),
        (Scheme::Ws | Scheme::Wss, _) => Transport::Ws,
        (Scheme::Unix, _) => Transport::Unix,
        (Scheme::Mqtt | Scheme::Mqtts, _) => Transport::Tcp,
    };
    let mut mqtt = MqttOptions::new(options.client_id, options.url.address, options.url.port);
    mqtt.set_transport(transport)
        .set_keep_alive(options.keep_alive)
        .set_clean_start(options.clean)
        .set_connection_timeout(CONNECT_TIMEOUT.as_secs())
        .set_outgoing_inflight_upper_limit(inflight.max(1));
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(options.session_expiry_s);
    mqtt.set_connect_properties(properties);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    mqtt.set_network_options(network);
    if let Some((name, password)) = options.login {
        mqtt.set_credentials(name, password);
    }
    Ok(mqtt)
}

/// What an error of the library means, and what to do about it.
pub fn explain(error: &ConnectionError) -> ConnectError {
    if let Some(tls) = tls_cause(error) {
        return ConnectError::Tls(tls);
    }
    match error {
        ConnectionError::ConnectionRefused(code) => refused(*code),
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
            disconnected(*reason_code, reason_string.as_deref())
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => ConnectError::Closed,
        ConnectionError::MqttState(StateError::AwaitPingResp) => ConnectError::Lost("a ping was not answered".into()),
        ConnectionError::MqttState(StateError::Io(io) | StateError::Deserialization(Malformed::Io(io))) => {
            ConnectError::broken(io)
        }
        ConnectionError::MqttState(state) => ConnectError::Lost(state.to_string()),
        ConnectionError::Timeout(_) => ConnectError::Unreachable(format!("no answer within {CONNECT_TIMEOUT:?}")),
        ConnectionError::Tls(tls) => ConnectError::Tls(tls.to_string()),
        ConnectionError::Io(io) => ConnectError::Unreachable(io.to_string()),
        other => ConnectError::Unreachable(other.to_string()),
    }
}

fn refused(code: Code) -> ConnectError {
    match code {
        Code::BadUserNamePassword | Code::BadAuthenticationMethod => ConnectError::BadCredentials,
        Code::NotAuthorized | Code::Banned => ConnectError::NotAuthorised,
        Code::ClientIdentifierNotValid | Code::BadClientId => ConnectError::BadClientId,
        Code::UnsupportedProtocolVersion | Code::RefusedProtocolVersion => ConnectError::Protocol,
        other => ConnectError::Refused(format!("{other:?}")),
    }
}

/// MQTT 5, 3.14.2.1: why the broker ended the connection.
fn disconnected(code: DisconnectReasonCode, words: Option<&str>) -> ConnectError {
    match code {
        DisconnectReasonCode::SessionTakenOver => ConnectError::TakenOver,
        DisconnectReasonCode::NotAuthorized => ConnectError::NotAuthorised,
        code => {
            let words = words.map_or_else(String::new, |words| format!(" ({words})"));
            ConnectError::Lost(format!("the broker ended it: {code:?}{words}"))
        }
    }
}
