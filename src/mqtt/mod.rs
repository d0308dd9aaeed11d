//! The MQTT client: one session that owns the event loop, its backoff and its TLS.

use serde::Serialize;

/// State of the connection to the broker, as `status` shows it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BrokerStatus {
    /// Whether a connection is up and every subscription is confirmed.
    pub connected: bool,
    /// One word: `connecting`, `subscribing`, `connected`, `backing off`, `stopped`.
    pub state: String,
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
    /// Time from receiving a QoS 1 message to sending its PUBACK, since start, in microseconds.
    pub ack_latency_us: Quantiles,
}

/// Quantiles of a latency in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50: u64,
    /// 99 in 100 are at most this.
    pub p99: u64,
    /// Largest.
    pub max: u64,
    /// How many were measured.
    pub count: u64,
}
