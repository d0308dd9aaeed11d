//! The quarantine as `status` shows it.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// Fill of the quarantine.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct QuarantineStatus {
    /// Entries in it (a row or a dead letter each).
    pub entries: u64,
    /// Bytes in use.
    pub bytes: u64,
    /// Entries pushed out by newer ones since it was created.
    pub pushed_out: u64,
    /// Entries by reason, the most frequent first, at most ten.
    pub reasons: Vec<(String, u64)>,
    /// What to do about those of the reasons about which something is known, by reason.
    pub advice: BTreeMap<String, &'static str>,
}
