//! MQTT 5 through rumqttc.

use std::time::Duration;

use rumqttc::{
    NetworkOptions, Outgoing,
    v5::{
        AsyncClient, ConnectionError, Event as Raw, EventLoop, MqttOptions, StateError,
        mqttbytes::{
            Error as Malformed, QoS,
            v5::{
                ConnectProperties, ConnectReturnCode as Code, DisconnectReasonCode, Filter, Packet, Publish,
                RetainForwardRule, SubscribeReasonCode,
            },
        },
    },
};

use super::{
    error::{ConnectError, tls_cause},
    protocol::{CONNECT_TIMEOUT, Event, Message, OUTGOING_INFLIGHT, Options, Subscription},
};
use crate::settings::Mqtt;

/// Makes requests.
pub(super) struct Requests {
    client: AsyncClient,
    /// The library acknowledges a whole PUBLISH; this one stands in for each, so that no payload is kept for it.
    acked: Publish,
}

/// Reads and writes the socket.
pub(super) struct Poller {
    eventloop: EventLoop,
}

/// Prepares a connection.
pub(super) fn connection(options: Options) -> (Requests, Poller) {
    let requests = options.requests;
    let (client, eventloop) = AsyncClient::new(mqtt_options(options), requests);
    let acked = Publish { qos: QoS::AtLeastOnce, ..Publish::default() };
    (Requests { client, acked }, Poller { eventloop })
}

/// Options for a client that publishes and receives nothing: a session of its own, at most `inflight` messages under way.
pub fn publisher_options(settings: &Mqtt, inflight: u16) -> Result<MqttOptions, ConnectError> {
    let mut mqtt = mqtt_options(Options::from_settings(settings, false)?);
    mqtt.set_manual_acks(false).set_outgoing_inflight_upper_limit(inflight.max(1));
    Ok(mqtt)
}

fn mqtt_options(options: Options) -> MqttOptions {
    let mut mqtt = MqttOptions::new(options.client_id, options.url.address, options.url.port);
    mqtt.set_transport(options.transport)
        .set_keep_alive(options.keep_alive)
        .set_clean_start(options.clean)
        .set_manual_acks(true)
        .set_connection_timeout(CONNECT_TIMEOUT.as_secs())
        .set_outgoing_inflight_upper_limit(OUTGOING_INFLIGHT);
    // No topic alias maximum: the library mistakes a repeated alias for an empty topic after a reconnect.
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(if options.clean { 0 } else { options.session_expiry_s });
    properties.receive_maximum = Some(options.receive_maximum);
    // The broker drops what is larger; refused here, it would be redelivered for ever.
    properties.max_packet_size = Some(options.max_packet_bytes);
    mqtt.set_connect_properties(properties);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    mqtt.set_network_options(network);
    if let Some((name, password)) = options.login {
        mqtt.set_credentials(name, password);
    }
    mqtt
}

impl Requests {
    pub fn ack(&mut self, pkid: u16) -> bool {
        self.acked.pkid = pkid;
        self.client.try_ack(&self.acked).is_ok()
    }

    pub fn subscribe<'a>(&self, wanted: impl Iterator<Item = &'a Subscription>) -> bool {
        let filters: Vec<Filter> = wanted
            .map(|subscription| {
                let qos = if subscription.qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
                let mut filter = Filter::new(subscription.filter.as_str(), qos);
                // Retained messages come once for each new subscription and not again with each reconnect; a broker that
                // lost the session makes a new subscription and sends them again, which is right: some may be new.
                filter.retain_forward_rule = RetainForwardRule::OnNewSubscribe;
                filter
            })
            .collect();
        self.client.try_subscribe_many(filters).is_ok()
    }

    pub fn publish_retained(&self, topic: &str, payload: Vec<u8>) -> bool {
        self.client.try_publish(topic, QoS::AtLeastOnce, true, payload).is_ok()
    }

    pub fn disconnect(&self) -> bool {
        self.client.try_disconnect().is_ok()
    }
}

impl Poller {
    pub async fn poll(&mut self) -> Result<Event, ConnectError> {
        self.eventloop.poll().await.map(reduce).map_err(|error| explain(&error))
    }

    pub fn buffered(&mut self) -> Option<Event> {
        self.eventloop.state.events.pop_front().map(reduce)
    }

    pub fn keep_alive(&self) -> Duration {
        self.eventloop.options.keep_alive()
    }
}

fn reduce(event: Raw) -> Event {
    match event {
        Raw::Incoming(Packet::Publish(publish)) => Event::Publish(Message::V5(publish)),
        Raw::Outgoing(Outgoing::PubAck(_)) => Event::AckSent,
        Raw::Outgoing(Outgoing::Disconnect) => Event::DisconnectSent,
        Raw::Incoming(Packet::ConnAck(ack)) => Event::ConnAck { session_present: ack.session_present },
        Raw::Incoming(Packet::SubAck(ack)) => Event::SubAck(
            ack.return_codes
                .iter()
                .map(|code| match code {
                    SubscribeReasonCode::Success(qos) => Ok(*qos as u8),
                    refused => Err(format!("{refused:?}")),
                })
                .collect(),
        ),
        _ => Event::Other,
    }
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
