//! The settings as plain data, one struct a section. Unknown keys are refused; every key but the sources' has a default.

mod scale;
pub mod share;
mod source;
mod spacing;
mod topics;
pub mod units;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::units::{duration, option_duration, time};
pub use self::{
    scale::{LinearScale, Scale},
    source::{
        Compression, FieldType, Format, OnBadMember, Retained, SameTime, Source, TimeUnit, TimeWord, TimestampField,
    },
    spacing::CommitSpacing,
    topics::Topics,
    units::Bytes,
};
use crate::point::Timestamp;

/// Everything forebay can be told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The broker.
    pub mqtt: Mqtt,
    /// Symbols that the rows of every source get.
    pub tags: BTreeMap<String, String>,
    /// What to subscribe to and how to read it, by name.
    pub source: BTreeMap<String, Source>,
    /// The ring file.
    pub ring: Ring,
    /// Rows and messages set aside.
    pub quarantine: Quarantine,
    /// Latest values.
    pub latest: Latest,
    /// How many columns and tables may come of what is received.
    pub limits: Limits,
    /// The database.
    pub questdb: Questdb,
    /// Batching into the database.
    pub batch: Batch,
    /// The local interface.
    pub control: Control,
    /// The process.
    pub daemon: Daemon,
    /// Logging.
    pub log: Log,
}

/// `[mqtt]`: the broker and the session with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mqtt {
    /// `mqtt://`, `mqtts://`, `ws://`, `wss://` with host and port, or `unix:///path`.
    pub url: String,
    /// The session's name at the broker; must be unique there and stay the same across restarts.
    pub client_id: String,
    /// MQTT version: 5, or 4 for 3.1.1.
    pub protocol: u8,
    /// User name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// File holding the password (one trailing newline is removed).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// How long the broker keeps the session of an absent client (MQTT 5 only).
    #[serde(with = "duration")]
    pub session_expiry: Duration,
    /// Most unacknowledged QoS 1 messages the broker may have under way (MQTT 5 only).
    pub receive_maximum: u16,
    /// Interval of the pings that show the connection is alive.
    #[serde(with = "duration")]
    pub keep_alive: Duration,
    /// Largest payload that becomes rows; of a larger one the beginning is set aside.
    pub max_payload: Bytes,
    /// TLS, for `mqtts://` and `wss://`.
    pub tls: MqttTls,
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            url: "mqtt://127.0.0.1:1883".into(),
            client_id: "forebay".into(),
            protocol: 5,
            username: None,
            password_file: None,
            session_expiry: Duration::from_hours(7 * 24),
            receive_maximum: 2_000,
            keep_alive: Duration::from_secs(30),
            max_payload: Bytes::kib(256),
            tls: MqttTls::default(),
        }
    }
}

/// `[mqtt.tls]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MqttTls {
    /// Certificates to trust (PEM); the system's when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Client certificate chain (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// Client key (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
}

/// `[ring]`: the file that makes readings durable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ring {
    /// The file.
    pub path: PathBuf,
    /// Its size; allocated in full when it is created.
    pub size: Bytes,
    /// What an acknowledgement waits for.
    pub durability: Durability,
    /// Time between syncs in `interval` mode (and between seals in `memory` mode).
    #[serde(with = "duration")]
    pub interval: Duration,
    /// Time between commits in `commit` mode.
    pub commit_spacing: CommitSpacing,
    /// What to do when the ring is full.
    pub on_full: OnFull,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            path: "/var/lib/forebay/ring".into(),
            size: Bytes::mib(256),
            durability: Durability::Commit,
            interval: Duration::from_millis(100),
            commit_spacing: CommitSpacing::Auto,
            on_full: OnFull::Block,
        }
    }
}

/// What an acknowledgement waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// The sync of the commit that holds the message: survives a power cut.
    #[default]
    Commit,
    /// The append; synced every `interval`: a power cut loses at most that much.
    Interval,
    /// The append; never synced: survives kill -9, not a power cut.
    Memory,
}

/// What to do when the ring is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFull {
    /// Stop acknowledging: the broker queues.
    #[default]
    Block,
    /// Make room by giving up the oldest rows not yet in QuestDB.
    DropOldest,
    /// Acknowledge new messages without keeping them.
    DropNewest,
}

impl OnFull {
    /// What comes of a full ring, in words.
    pub fn consequence(self) -> &'static str {
        match self {
            Self::Block => "nothing more is acknowledged: the broker keeps it",
            Self::DropOldest => "the oldest rows are given up",
            Self::DropNewest => "what comes in is not kept",
        }
    }
}

/// `[quarantine]`: the file for rows and messages set aside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quarantine {
    /// The file.
    pub path: PathBuf,
    /// Its size; the oldest entries make room for new ones.
    pub size: Bytes,
}

impl Default for Quarantine {
    fn default() -> Self {
        Self { path: "/var/lib/forebay/quarantine".into(), size: Bytes::mib(16) }
    }
}

/// `[latest]`: the map of latest values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Latest {
    /// Most series kept; the least recently updated makes room.
    pub max_series: usize,
    /// Most memory they take, roughly; the same makes room.
    pub max_bytes: Bytes,
    /// Most memory that the remembered moments of all series take: later rows of a moment are
    /// compared with them and completed from them. 0 remembers the latest moment of each series
    /// alone.
    pub history_bytes: Bytes,
    /// A value older than this is marked stale.
    #[serde(with = "duration")]
    pub stale_after: Duration,
    /// A timestamp further ahead of the clock than this sends its message to quarantine.
    #[serde(with = "duration")]
    pub max_future: Duration,
    /// A timestamp before this is taken for one of a clock that was never set: the reading gets the
    /// time of receipt. While the system clock is before it, rows timed by receipt are held back
    /// until it is set.
    #[serde(with = "time")]
    pub max_past: Timestamp,
    /// When the system clock may judge timestamps.
    pub clock: ClockTrust,
    /// Topic that changed values are published to again, retained, such as `forebay/latest/{table}/{device}`; off when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub republish_topic: Option<String>,
}

impl Default for Latest {
    fn default() -> Self {
        Self {
            max_series: 100_000,
            max_bytes: Bytes::mib(96),
            history_bytes: Bytes::mib(24),
            stale_after: Duration::from_mins(5),
            max_future: Duration::from_hours(1),
            // 2000-01-01T00:00:00Z.
            max_past: Timestamp(946_684_800_000_000_000),
            clock: ClockTrust::Auto,
            republish_topic: None,
        }
    }
}

/// `[limits]`: what the names in messages may make of the database. A column costs QuestDB megabytes, a table a hundred of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most columns a table may get, the time's included.
    pub columns_per_table: u16,
    /// Most tables a source may bring.
    pub tables_per_source: u16,
    /// Most new columns a table gets a minute, once it has its first 50.
    pub new_columns_per_minute: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self { columns_per_table: 300, tables_per_source: 100, new_columns_per_minute: 30 }
    }
}

/// When the system clock may judge device timestamps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockTrust {
    /// Once it is synchronised, as far as can be told (docs/ARCHITECTURE.md, section "Time").
    #[default]
    Auto,
    /// Always.
    Trusted,
}

/// `[questdb]`: the database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Questdb {
    /// A questdb-rs configuration string (`http::` or `https::`), without secrets.
    pub conf: String,
    /// User name for basic authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// File holding the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// File holding a bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Create tables that do not exist.
    pub create_tables: bool,
    /// Partitioning of created tables.
    pub partition_by: PartitionBy,
    /// Time to live of created tables' rows, in whole hours; kept for ever when absent.
    #[serde(with = "option_duration", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// Settled rows younger than this are sent again after a restart or reconnect, since QuestDB acknowledges before it syncs.
    #[serde(with = "duration")]
    pub resend_window: Duration,
}

impl Default for Questdb {
    fn default() -> Self {
        Self {
            conf: "http::addr=127.0.0.1:9000;".into(),
            username: None,
            password_file: None,
            token_file: None,
            create_tables: true,
            partition_by: PartitionBy::Day,
            ttl: None,
            resend_window: Duration::from_mins(1),
        }
    }
}

/// Partitioning of a created table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionBy {
    /// One partition an hour.
    Hour,
    /// One partition a day.
    #[default]
    Day,
    /// One partition a week.
    Week,
    /// One partition a month.
    Month,
    /// One partition a year.
    Year,
}

/// `[batch]`: how much is sent at once, and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Batch {
    /// How size and linger are chosen.
    pub strategy: Strategy,
    /// Most rows a batch.
    pub max_rows: usize,
    /// Most bytes a batch (as encoded for QuestDB), and no more than [`Batch::request_limit`]; 0 for that.
    pub max_bytes: Bytes,
    /// How long after its arrival a row is to be stored at the latest, for 99 of 100 rows where the
    /// database allows it. The dynamic strategy uses it up, to spare the database transactions.
    #[serde(with = "duration")]
    pub freshness: Duration,
    /// Longest a row waits for company. With the hybrid strategy `freshness` where it is not given;
    /// 0 for no limit.
    #[serde(with = "option_duration", skip_serializing_if = "Option::is_none")]
    pub max_linger: Option<Duration>,
    /// Least a row waits for company with the dynamic strategy, whatever `freshness` asks for.
    #[serde(with = "option_duration", skip_serializing_if = "Option::is_none")]
    pub min_linger: Option<Duration>,
    /// Flush latency the dynamic strategy holds where it can.
    #[serde(with = "duration")]
    pub target_latency: Duration,
    /// Most lanes (threads that send); a table stays in one.
    pub max_lanes: usize,
    /// Memory for rows being encoded and sent, all lanes together ([`super::share`]).
    pub max_buffered: Bytes,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            strategy: Strategy::Dynamic,
            max_rows: 50_000,
            max_bytes: Bytes(0),
            freshness: Duration::from_secs(1),
            max_linger: None,
            min_linger: None,
            target_latency: Duration::from_millis(100),
            max_lanes: 2,
            max_buffered: Bytes::mib(16),
        }
    }
}

/// How batch size and linger are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// From measured flush latency.
    #[default]
    Dynamic,
    /// Fixed: whichever of rows, bytes or linger is reached first; 0 turns a limit off.
    Hybrid,
}

/// `[control]`: the local interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// The Unix socket.
    pub socket: PathBuf,
    /// Its mode, octal.
    pub mode: String,
    /// Its group; the daemon's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// A loopback address to listen on as well; off when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// File holding the token that lets clients of `listen` write; without it they can only read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            socket: "/run/forebay/forebay.sock".into(),
            mode: "0660".into(),
            group: None,
            listen: None,
            token_file: None,
        }
    }
}

/// `[daemon]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Daemon {
    /// How long a stop may take to flush what is left; the rest stays in the ring.
    #[serde(with = "duration")]
    pub stop_timeout: Duration,
}

impl Default for Daemon {
    fn default() -> Self {
        Self { stop_timeout: Duration::from_secs(10) }
    }
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,forebay::flush=debug`.
    pub level: String,
    /// Where to.
    pub target: LogTarget,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), target: LogTarget::Auto }
    }
}

/// Where log lines go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogTarget {
    /// The journal when started by systemd, else stderr.
    #[default]
    Auto,
    /// The journal.
    Journald,
    /// Standard error.
    Stderr,
}
