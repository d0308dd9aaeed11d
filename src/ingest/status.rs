//! The sources as `status` shows them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// When the last message came (RFC 3339); none before the first.
    pub last_received: Option<String>,
    /// Seconds since then by the monotonic clock, which no change of the time of day moves.
    #[serde(default)]
    pub last_received_age_s: Option<f64>,
}
