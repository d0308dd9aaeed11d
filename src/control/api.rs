//! What the interface says: the documents of its answers, and what it asks of the daemon.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    flush::{
        FlushStatus, Quarantine,
        replay::{ReplayAnswer, ReplayAsk, ReplayError},
    },
    ingest::{ReplacedStatus, SourceStatus, WriteStatus},
    latest::LatestStatus,
    limits::LimitStatus,
    lookup::{Lookup, LookupStatus},
    marks::{Seq, State},
    mqtt::BrokerStatus,
    observe::forecast::Forecast,
    republish::RepublishStatus,
    requeue::Requeue,
    ring::{
        Ledger, RingStatus,
        inspect::{InspectError, RingInfo},
    },
};

/// What the interface asks of the rest of the daemon.
pub trait Inspect: Send + Sync {
    /// How far the record has come.
    fn state_of(&self, seq: Seq) -> State;
    /// Everything there is to say about the daemon's state. Called for each status and metrics request; must not block.
    fn status(&self) -> Status;
    /// By what configuration it runs.
    fn config(&self) -> ConfigStatus {
        ConfigStatus::default()
    }
    /// Whether the ring is recovered and intake runs; if not, what is missing.
    fn ready(&self) -> Result<(), String>;
    /// Asks the lanes to send what is pending without lingering.
    fn flush_now(&self);
    /// What the ring holds. Reads the file for up to some seconds: to be called where blocking is allowed.
    fn ring_info(&self) -> Result<RingInfo, RingInfoError>;
    /// Asks for a ring of another size.
    fn resize_ring(&self, _bytes: u64) -> Result<ResizeStatus, ResizeRefusal> {
        Err(ResizeRefusal::Cannot("this daemon has no ring file".to_owned()))
    }
    /// What became of the last change of its size.
    fn resized_ring(&self) -> ResizeStatus {
        ResizeStatus::default()
    }
    /// Has stored rows sent again. Blocks while the ring's history is looked through.
    fn replay(&self, ask: &ReplayAsk) -> Result<ReplayAnswer, ReplayError>;
    /// The quarantine; none while there is none.
    fn quarantine(&self) -> Option<QuarantineAccess> {
        None
    }
    /// What asks the database for latest values that memory lacks; none where there is no database.
    fn lookup(&self) -> Option<&Arc<Lookup>> {
        None
    }
}

/// By what configuration the daemon runs.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct ConfigStatus {
    /// The settings in force, with the defaults of those that are not set. Secrets are in files,
    /// and are not shown.
    pub settings: serde_json::Value,
    /// What is wrong with the configuration that a reload read last, where it was refused.
    #[serde(default)]
    pub refused: Option<String>,
    /// Keys that have changed and wait for a restart.
    #[serde(default)]
    pub waiting: Vec<String>,
}

/// Why nothing can be said of what the ring holds.
#[derive(Debug, thiserror::Error)]
pub enum RingInfoError {
    /// One at a time.
    #[error("the ring is being read for another request")]
    Busy,
    /// The file cannot be read.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// It could not be read a moment ago.
    #[error("{0}")]
    Kept(String),
}

/// How a change of the ring's size stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeState {
    /// None was asked for since the start.
    #[default]
    None,
    /// It is under way.
    Running,
    /// The ring has the size.
    Done,
    /// The ring is as it was.
    Failed,
}

/// What became of the last change of the ring's size.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResizeStatus {
    /// How it stands.
    pub state: ResizeState,
    /// How many changes were asked for since the start.
    pub number: u64,
    /// Size of the file before, in bytes.
    pub from_bytes: u64,
    /// Size of the file now, in bytes.
    pub to_bytes: u64,
    /// Records in it.
    pub records: u64,
    /// Records of the history that did not fit.
    pub given_up: u64,
    /// Rows that wait for QuestDB.
    pub pending_rows: u64,
    /// Damaged stretches that are still between its records.
    pub gaps: u64,
    /// Why it failed.
    pub error: Option<String>,
}

/// Why the ring's size does not change.
#[derive(Debug, thiserror::Error)]
pub enum ResizeRefusal {
    /// One at a time.
    #[error("another change of the ring's size is under way")]
    Running,
    /// The ring cannot have it.
    #[error("{0}")]
    Cannot(String),
}

/// The quarantine, and what puts its entries back. Both block.
#[derive(Clone)]
pub struct QuarantineAccess {
    /// The entries.
    pub quarantine: Arc<Quarantine>,
    /// What puts them back.
    pub requeue: Arc<Requeue>,
}

/// The answer of `GET /v1/status`. Extended over time; members are never removed or given another meaning.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Status {
    /// forebay's version.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Seconds since the daemon started.
    pub uptime_s: f64,
    /// This boot's id (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// What is known of the system clock.
    pub clock: ClockStatus,
    /// What the daemon takes of the machine.
    pub machine: MachineStatus,
    /// For how long each trouble has lasted.
    pub trouble: TroubleStatus,
    /// Which watermark an acknowledgement waits for: `durable` or `appended`.
    pub acks_wait_for: String,
    /// The ring; none while it is being recovered.
    pub ring: Option<RingStatus>,
    /// The broker.
    pub broker: BrokerStatus,
    /// The way into the database.
    pub flush: FlushStatus,
    /// The map of latest values.
    pub latest: LatestStatus,
    /// Questions to the database for values that the map lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lookup: Option<LookupStatus>,
    /// The publishing of latest values; none where that is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub republish: Option<RepublishStatus>,
    /// What became of every row since the ring was created.
    pub ledger: Ledger,
    /// One entry a source.
    pub sources: Vec<SourceStatus>,
    /// What comes in as line protocol.
    pub writes: WriteStatus,
    /// What `[limits]` has left out since start, by source and limit; empty while it left out nothing.
    pub limits: Vec<LimitStatus>,
    /// Rows that took the place of others, or may have, since start, by source and table; empty
    /// while there are none.
    pub replaced: Vec<ReplacedStatus>,
    /// Recent rates.
    pub rates: Rates,
    /// Age of the oldest row that waits for QuestDB, in seconds, at most two seconds too low; counted from the daemon's start for rows
    /// of an earlier run.
    pub lag_s: f64,
    /// When the ring is full, when its backlog is drained, how long an outage it would cover.
    pub forecast: Forecast,
    /// What an operator should look at, in sentences.
    pub warnings: Vec<String>,
}

/// What is known of the system clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClockStatus {
    /// Whether it is right, as far as can be told; until then no reading is refused for its time
    /// (docs/ARCHITECTURE.md, section "Time").
    pub trusted: bool,
}

/// What the daemon takes of the machine, and what is left; none where the system does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MachineStatus {
    /// Memory in use, in bytes, pages of the mapped ring included.
    pub memory_bytes: Option<u64>,
    /// Time that the processor has spent on the daemon, in seconds.
    pub cpu_s: Option<f64>,
    /// Free space on the file system of the ring, in bytes.
    pub ring_disk_free_bytes: Option<u64>,
    /// Size of that file system, in bytes.
    pub ring_disk_bytes: Option<u64>,
}

/// Seconds for which each trouble has lasted, at most two too few; none where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TroubleStatus {
    /// No connection to the broker.
    pub broker_s: Option<f64>,
    /// QuestDB is neither `ok` nor `slow`.
    pub database_s: Option<f64>,
    /// The ring is full.
    pub ring_full_s: Option<f64>,
}

/// Rates over the recent past.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rates {
    /// The span they were measured over, in seconds.
    pub over_s: f64,
    /// Messages taken in a second.
    pub messages_per_s: f64,
    /// Rows taken in a second.
    pub rows_per_s: f64,
    /// Rows stored in the database a second.
    pub stored_per_s: f64,
}

impl Rates {
    /// The rates between two states of the ledger.
    #[must_use]
    pub fn between(earlier: &Ledger, later: &Ledger, elapsed: Duration) -> Self {
        let over_s = elapsed.as_secs_f64();
        if over_s <= 0.0 {
            return Self::default();
        }
        let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / over_s;
        Self {
            over_s,
            messages_per_s: rate(earlier.messages, later.messages),
            rows_per_s: rate(earlier.rows, later.rows),
            stored_per_s: rate(earlier.stored, later.stored),
        }
    }
}

/// The answer of `GET /v1/latest`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LatestAnswer {
    /// Sorted by table and symbols.
    pub series: Vec<SeriesView>,
    /// True when more series match than were listed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Where they begin: the `cursor` of a further request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The last record all of whose readings had been seen when the answer was begun: the `since` of a later request.
    #[serde(default)]
    pub seq: u64,
}

/// One series as answered and as watched: how clients read a [`View`](super::View).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeriesView {
    /// The table.
    pub table: String,
    /// The symbols.
    pub symbols: BTreeMap<String, String>,
    /// The latest value of each field; null for a number that JSON can't write.
    pub fields: BTreeMap<String, serde_json::Value>,
    /// Event time of the newest value (RFC 3339, UTC).
    pub time: String,
    /// Event times of the fields whose value is older than `time`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub field_times: BTreeMap<String, String>,
    /// When the newest value was received (RFC 3339, UTC); absent for one that came from the database.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub received: String,
    /// Milliseconds from `time` to now, 0 when `time` is ahead of the clock.
    pub age_ms: u64,
    /// Whether that is more than `latest.stale_after`.
    pub stale: bool,
    /// How far the last reading that changed a value has come.
    pub state: State,
    /// `memory`, or `questdb` when the map had to ask for the newest value.
    pub source: String,
    /// The last record that holds any of the values; 0 when they came from the database.
    #[serde(default)]
    pub seq: u64,
}

/// An error as answered (RFC 9457, `application/problem+json`), with a remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says the kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong.
    pub detail: String,
    /// What to do about it.
    pub hint: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_differences_over_time() {
        let later = Ledger { messages: 10, rows: 30, stored: 20, ..Ledger::default() };
        let rates = Rates::between(&Ledger::default(), &later, Duration::from_secs(2));
        assert_eq!((rates.messages_per_s, rates.rows_per_s, rates.stored_per_s), (5.0, 15.0, 10.0));
        assert_eq!(Rates::between(&later, &later, Duration::ZERO), Rates::default());
    }
}
