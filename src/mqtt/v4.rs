//! MQTT 3.1.1 (protocol level 4) through rumqttc.

use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Error as Malformed, Event as Raw, EventLoop, MqttOptions,
    NetworkOptions, Outgoing, Packet, Publish, QoS, StateError, SubscribeFilter, SubscribeReasonCode,
};

use super::{
    error::{ConnectError, tls_cause},
    protocol::{CONNECT_TIMEOUT, Event, Message, OUTGOING_INFLIGHT, Options, Subscription},
};

/// Largest packet there can be (MQTT 3.1.1, 2.2.3). The protocol has no way to tell the broker of a smaller limit, and a
/// packet refused here would be redelivered for ever; ingest turns what is too large into a dead letter instead.
const LARGEST_PACKET_BYTES: usize = 268_435_455 + 5;
/// Largest packet sent: SUBSCRIBE with every filter.
const LARGEST_SENT_BYTES: usize = 1 << 20;

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
    let (client, mut eventloop) = AsyncClient::new(mqtt_options(options), requests);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(CONNECT_TIMEOUT.as_secs());
    eventloop.set_network_options(network);
    let acked = Publish::new("", QoS::AtLeastOnce, Vec::new());
    (Requests { client, acked }, Poller { eventloop })
}

fn mqtt_options(options: Options) -> MqttOptions {
    let mut mqtt = MqttOptions::new(options.client_id, options.url.address, options.url.port);
    mqtt.set_transport(options.transport)
        .set_keep_alive(options.keep_alive)
        .set_clean_session(options.clean)
        .set_manual_acks(true)
        .set_inflight(OUTGOING_INFLIGHT)
        .set_max_packet_size(LARGEST_PACKET_BYTES, LARGEST_SENT_BYTES);
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
        let filters: Vec<SubscribeFilter> = wanted
            .map(|subscription| {
                let qos = if subscription.qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
                SubscribeFilter::new(subscription.filter.clone(), qos)
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
        self.eventloop.mqtt_options.keep_alive()
    }
}

fn reduce(event: Raw) -> Event {
    match event {
        Raw::Incoming(Packet::Publish(publish)) => Event::Publish(Message::V4(publish)),
        Raw::Outgoing(Outgoing::PubAck(_)) => Event::AckSent,
        Raw::Outgoing(Outgoing::Disconnect) => Event::DisconnectSent,
        Raw::Incoming(Packet::ConnAck(ack)) => Event::ConnAck { session_present: ack.session_present },
        Raw::Incoming(Packet::SubAck(ack)) => Event::SubAck(
            ack.return_codes
                .iter()
                .map(|code| match code {
                    SubscribeReasonCode::Success(qos) => Ok(*qos as u8),
                    SubscribeReasonCode::Failure => Err("refused".to_owned()),
                })
                .collect(),
        ),
        _ => Event::Other,
    }
}

fn explain(error: &ConnectionError) -> ConnectError {
    if let Some(tls) = tls_cause(error) {
        return ConnectError::Tls(tls);
    }
    match error {
        ConnectionError::ConnectionRefused(code) => match code {
            ConnectReturnCode::BadUserNamePassword => ConnectError::BadCredentials,
            ConnectReturnCode::NotAuthorized => ConnectError::NotAuthorised,
            ConnectReturnCode::BadClientId => ConnectError::BadClientId,
            ConnectReturnCode::RefusedProtocolVersion => ConnectError::Protocol,
            other => ConnectError::Refused(format!("{other:?}")),
        },
        ConnectionError::MqttState(StateError::ConnectionAborted) => ConnectError::Closed,
        ConnectionError::MqttState(StateError::AwaitPingResp) => ConnectError::Lost("a ping was not answered".into()),
        ConnectionError::MqttState(StateError::Io(io) | StateError::Deserialization(Malformed::Io(io))) => {
            ConnectError::broken(io)
        }
        ConnectionError::MqttState(state) => ConnectError::Lost(state.to_string()),
        ConnectionError::FlushTimeout => ConnectError::Lost("the broker takes no data".into()),
        ConnectionError::NetworkTimeout => ConnectError::Unreachable(format!("no answer within {CONNECT_TIMEOUT:?}")),
        ConnectionError::Tls(tls) => ConnectError::Tls(tls.to_string()),
        ConnectionError::Io(io) => ConnectError::Unreachable(io.to_string()),
        other => ConnectError::Unreachable(other.to_string()),
    }
}
