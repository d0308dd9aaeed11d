//! State of the connection, shared between the session that writes it and whoever shows it.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    observe::histogram::{Distribution, Histogram, Quantiles},
    sync::lock,
};

/// State of the connection to the broker, as `status` shows it.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct BrokerStatus {
    /// Whether a connection is up and every subscription is confirmed.
    pub connected: bool,
    /// One word: `connecting`, `subscribing`, `connected`, `backing off`, `stopping`, `stopped`.
    #[schema(value_type = String)]
    pub state: State,
    /// The last error, in words, with what to do; none while connected.
    pub error: Option<String>,
    /// Connections made since start.
    pub connects: u64,
    /// Connections whose session the broker had kept.
    pub sessions_resumed: u64,
    /// Messages received and not yet acknowledged.
    pub unacknowledged: u64,
    /// Messages held back because the ring is full.
    pub held: u64,
    /// PUBACKs sent since start.
    pub acknowledged: u64,
    /// QoS 0 messages dropped because the ring was full or nothing more could be held.
    pub qos0_dropped: u64,
    /// Acknowledgements dropped because their connection was gone.
    pub stale_acks: u64,
    /// Copies of a message that the broker sent for another subscription too; the message was taken once.
    pub copies: u64,
    /// Subscriptions that the broker grants a lower QoS than asked for: their messages may be lost while forebay is away.
    pub lowered: Vec<Lowered>,
    /// There when the broker keeps the session for a shorter time than asked for: what comes for
    /// forebay after that is lost.
    pub shortened: Option<Shortened>,
    /// Time from receiving a QoS 1 message to sending its PUBACK, since start, in microseconds.
    pub ack_latency_us: Quantiles,
    /// The same, for the metrics page.
    #[serde(skip)]
    pub ack_latency: Distribution,
}

/// A subscription with a lower QoS than asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lowered {
    /// The filter.
    pub filter: String,
    /// The QoS asked for.
    pub asked: u8,
    /// The QoS granted.
    pub granted: u8,
}

impl std::fmt::Display for Lowered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { filter, asked, granted } = self;
        write!(
            f,
            "the broker grants QoS {granted} in place of {asked} to {filter}: it sends those messages once and keeps none while forebay \
             is away; let the broker allow QoS {asked}, or say qos = {granted} in the source"
        )
    }
}

/// A session that the broker keeps for a shorter time than asked for (MQTT 5, section 3.2.2.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Shortened {
    /// Seconds asked for: `mqtt.session_expiry`.
    pub asked_s: u32,
    /// Seconds granted.
    pub granted_s: u32,
}

impl std::fmt::Display for Shortened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [asked, granted] =
            [self.asked_s, self.granted_s].map(|s| humantime::format_duration(Duration::from_secs(s.into())));
        write!(
            f,
            "the broker keeps messages for forebay only {granted} long while it is away, not {asked}: what comes later is lost; let the \
             broker allow a session expiry of {asked}, or set mqtt.session_expiry to what it allows"
        )
    }
}

/// What the session is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Opening a connection.
    #[default]
    Connecting,
    /// Connected; subscriptions not all confirmed.
    Subscribing,
    /// Connected and subscribed.
    Connected,
    /// Waiting before the next attempt.
    #[serde(rename = "backing off")]
    BackingOff,
    /// Told to stop; sending the last acknowledgements.
    Stopping,
    /// Ended.
    Stopped,
}

/// The session's counters and state; written by the session once a batch, read by anyone.
#[derive(Debug, Default)]
pub struct SharedBroker {
    phase: Mutex<(State, Option<String>)>,
    /// Connections made.
    pub(super) connects: AtomicU64,
    /// Connections whose session the broker had kept.
    pub(super) sessions_resumed: AtomicU64,
    /// Messages waiting for their acknowledgement, the held ones included.
    pub(super) unacknowledged: AtomicU64,
    /// Messages held because the ring is full.
    pub(super) held: AtomicU64,
    /// PUBACKs handed to the connection.
    pub(super) acknowledged: AtomicU64,
    /// QoS 0 messages dropped.
    pub(super) qos0_dropped: AtomicU64,
    /// Acknowledgements whose connection was gone.
    pub(super) stale_acks: AtomicU64,
    /// Copies of messages that were taken.
    pub(super) copies: AtomicU64,
    lowered: Mutex<Vec<Lowered>>,
    shortened: Mutex<Option<Shortened>>,
    ack_latency: Histogram,
}

impl SharedBroker {
    /// A snapshot. Counters read one after the other may be off by what happened in between.
    #[must_use]
    pub fn status(&self) -> BrokerStatus {
        let (state, error) = lock(&self.phase).clone();
        BrokerStatus {
            connected: state == State::Connected,
            state,
            error,
            connects: self.connects.load(Relaxed),
            sessions_resumed: self.sessions_resumed.load(Relaxed),
            unacknowledged: self.unacknowledged.load(Relaxed),
            held: self.held.load(Relaxed),
            acknowledged: self.acknowledged.load(Relaxed),
            qos0_dropped: self.qos0_dropped.load(Relaxed),
            stale_acks: self.stale_acks.load(Relaxed),
            copies: self.copies.load(Relaxed),
            lowered: lock(&self.lowered).clone(),
            shortened: *lock(&self.shortened),
            ack_latency_us: self.ack_latency.quantiles(),
            ack_latency: self.ack_latency.distribution(),
        }
    }

    /// Whether a connection is up and every subscription is confirmed.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        lock(&self.phase).0 == State::Connected
    }

    /// The last error, in words, with what to do; none while connected, and before the first.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        lock(&self.phase).1.clone()
    }

    /// Distribution of the time from receiving a QoS 1 message to handing over its PUBACK.
    #[must_use]
    pub fn ack_latency(&self) -> &Histogram {
        &self.ack_latency
    }

    /// Changes the state; the last error stays until a connection is complete.
    pub(super) fn set_state(&self, state: State) {
        let mut phase = lock(&self.phase);
        phase.0 = state;
        if state == State::Connected {
            phase.1 = None;
        }
    }

    /// Notes which subscriptions have a lower QoS than asked for; whether that is news.
    pub(super) fn set_lowered(&self, lowered: Vec<Lowered>) -> bool {
        let mut known = lock(&self.lowered);
        let is_news = *known != lowered;
        *known = lowered;
        is_news
    }

    /// Notes whether the session is kept for a shorter time than asked for; whether that is news.
    pub(super) fn set_shortened(&self, shortened: Option<Shortened>) -> bool {
        std::mem::replace(&mut *lock(&self.shortened), shortened) != shortened
    }

    /// Notes an error.
    pub(super) fn set_error(&self, error: String) {
        lock(&self.phase).1 = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_stays_until_the_connection_is_complete() {
        let shared = SharedBroker::default();
        shared.set_error("refused".into());
        for state in [State::BackingOff, State::Connecting, State::Subscribing] {
            shared.set_state(state);
            let status = shared.status();
            assert_eq!((status.connected, status.error.as_deref()), (false, Some("refused")));
        }
        shared.set_state(State::Connected);
        let status = shared.status();
        assert_eq!((status.connected, status.state, status.error), (true, State::Connected, None));
    }
}
