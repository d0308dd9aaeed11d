//! The sources as `status` shows them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::tally::SourceId;

/// What a source has brought since start.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct SourceStatus {
    /// Its name in the configuration.
    pub name: String,
    /// The topic filter subscribed to.
    pub topic: String,
    /// Messages, dead letters included.
    pub messages: u64,
    /// Rows.
    pub rows: u64,
    /// Dead letters: about messages that could not be decoded, and about parts of others.
    pub dead_letters: u64,
    /// Members, and elements of arrays, that could not become a part of a row.
    #[serde(default)]
    pub bad_members: u64,
    /// Rows set aside on their way to QuestDB: it refused them, or forebay knew that it would.
    #[serde(default)]
    pub refused_rows: u64,
    /// Members named in the configuration (timestamp, symbols) that were in none of its readings
    /// since start, once there were ten.
    #[serde(default)]
    pub never_seen: Vec<String>,
    /// `silent_after`, where it is configured.
    #[serde(default)]
    pub silent_after_s: Option<f64>,
    /// Whether nothing has come for longer than that.
    #[serde(default)]
    pub silent: bool,
    /// Its number in the ring.
    #[serde(skip)]
    pub id: SourceId,
    /// How long it is in force as it is.
    #[serde(skip)]
    pub in_force_for: Duration,
    /// When the last message came (RFC 3339); none before the first.
    pub last_received: Option<String>,
    /// Seconds since then by the monotonic clock, which no change of the time of day moves.
    #[serde(default)]
    pub last_received_age_s: Option<f64>,
}
