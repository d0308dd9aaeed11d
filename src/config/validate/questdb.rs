//! `[questdb]` and `[batch]`.

use std::time::Duration;

use super::{Findings, mqtt::is_host_and_port};
use crate::{
    config::schema::nearest,
    settings::{Batch, Bytes, PartitionBy, Questdb, Strategy, share::MAX_REQUEST},
};

const CONF: &str = "questdb.conf";
/// Least memory for rows being encoded and sent.
pub const MIN_BUFFERED: Bytes = Bytes::mib(4);
/// Parameters of the string that are the user's.
const ALLOWED: [&str; 10] = [
    "addr",
    "init_buf_size",
    "max_buf_size",
    "max_name_len",
    "protocol_version",
    "request_min_throughput",
    "request_timeout",
    "tls_ca",
    "tls_roots",
    "tls_verify",
];
/// Parameters that hold credentials.
const CREDENTIALS: [&str; 6] = ["username", "password", "token", "token_x", "token_y", "tls_roots_password"];

pub(super) fn check(questdb: &Questdb, findings: &mut Findings) {
    check_conf(&questdb.conf, findings);
    match (&questdb.username, &questdb.password_file, &questdb.token_file) {
        (Some(_), _, Some(_)) => findings.problem("questdb.token_file", "set a token or a user name, not both"),
        (Some(_), None, None) => findings.problem("questdb.username", "it has no password; set questdb.password_file"),
        (None, Some(_), _) => findings.problem("questdb.password_file", "it has no user name; set questdb.username"),
        _ => {}
    }
    check_ttl(questdb, findings);
    findings.span("questdb.resend_window", questdb.resend_window, Duration::ZERO, Duration::from_hours(24));
    if questdb.resend_window < Duration::from_secs(5) {
        let what = "QuestDB acknowledges before it syncs: rows it loses to a power cut are then not sent again";
        findings.warn("questdb.resend_window", what);
    }
}

/// No value of the string is quoted, since it may be a secret.
fn check_conf(conf: &str, findings: &mut Findings) {
    let parsed = match questdb_confstr::parse_conf_str(conf) {
        Ok(parsed) => parsed,
        Err(error) => {
            let what = format!(
                "position {}: it is no configuration string; write \"http::addr=host:9000;\"",
                error.position()
            );
            return findings.problem(CONF, what);
        }
    };
    if !matches!(parsed.service(), "http" | "https") {
        findings.problem(CONF, "forebay sends over HTTP; start it with \"http::\" or \"https::\"");
    }
    match parsed.get("addr") {
        None => findings.problem(CONF, "it has no addr; write \"http::addr=host:9000;\""),
        Some(addr) if addr.contains('@') => {
            findings.problem(CONF, "addr holds credentials; set questdb.username and questdb.password_file");
        }
        Some(addr) if !is_host_and_port(addr) => {
            findings.problem(CONF, "addr is no host and port; write \"addr=host:9000\"");
        }
        Some(_) => {}
    }
    let mut keys: Vec<&str> = parsed.params().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let holds_secret = keys.iter().any(|key| CREDENTIALS.contains(key));
    for key in keys {
        if CREDENTIALS.contains(&key) {
            let remedy = "set questdb.username and questdb.password_file, or questdb.token_file";
            findings.problem(CONF, format!("{key} does not belong here: put it in a file and {remedy}"));
        } else if key.starts_with("retry_") {
            findings.problem(CONF, format!("remove {key}: forebay retries by itself, since it must see each failure"));
        } else if key.starts_with("auto_flush") {
            findings.problem(CONF, format!("remove {key}: [batch] says when rows are sent"));
        } else if !ALLOWED.contains(&key) && !holds_secret {
            // Beside a secret it may be what follows a semicolon in the secret.
            let meant = nearest(key, &ALLOWED).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            findings.problem(CONF, format!("there is no parameter {key:?} for HTTP{meant}"));
        }
    }
    if parsed.get("tls_verify") == Some("unsafe_off") {
        findings.warn(CONF, "tls_verify=unsafe_off: anybody on the way can read and change what is sent");
    }
}

/// QuestDB keeps whole partitions: a TTL is a multiple of their size.
fn check_ttl(questdb: &Questdb, findings: &mut Findings) {
    const KEY: &str = "questdb.ttl";
    const HOUR: u64 = 3_600;
    let Some(ttl) = questdb.ttl else { return };
    if ttl.as_secs() < HOUR || !ttl.as_secs().is_multiple_of(HOUR) || ttl.subsec_nanos() > 0 {
        return findings.problem(KEY, "it must be whole hours, such as \"30days\" or \"12h\"");
    }
    let (hours, name) = match questdb.partition_by {
        PartitionBy::Hour => (1, "hour"),
        PartitionBy::Day => (24, "day"),
        PartitionBy::Week => (7 * 24, "week"),
        PartitionBy::Month | PartitionBy::Year => {
            return findings.problem(KEY, "it needs partitions of an hour, a day or a week; set questdb.partition_by");
        }
    };
    if !(ttl.as_secs() / HOUR).is_multiple_of(hours) {
        findings.problem(
            KEY,
            format!("QuestDB wants a multiple of the partition, which is a {name}; change one of the two"),
        );
    }
}

/// Longest wait for company.
const MAX_LINGER: Duration = Duration::from_mins(10);
/// What is said of keys that `freshness` has taken the place of.
const OLD_LINGER: &str = "still keeps rows waiting, but batch.freshness says what is wanted: how soon after its arrival a row is stored; \
                          set that, and leave this out";

pub(super) fn check_batch(batch: &Batch, findings: &mut Findings) {
    findings.range("batch.max_lanes", batch.max_lanes, 1, 16);
    if batch.max_bytes > batch.request_limit() {
        let (limit, lanes) = (batch.request_limit(), batch.max_lanes);
        let shared = format!("with {lanes} lanes a batch has at most {limit}: they share batch.max_buffered");
        findings.warn("batch.max_bytes", format!("{shared}, which is {}", batch.max_buffered));
    }
    findings.range("batch.max_buffered", batch.max_buffered, MIN_BUFFERED, Bytes::mib(1_024));
    if batch.max_bytes > Bytes(0) {
        let least = if batch.strategy == Strategy::Dynamic { Bytes::kib(64) } else { Bytes(1) };
        findings.range("batch.max_bytes", batch.max_bytes, least, MAX_REQUEST);
    }
    findings.span("batch.target_latency", batch.target_latency, Duration::from_millis(1), Duration::from_mins(1));
    findings.span("batch.freshness", batch.freshness, Duration::from_millis(10), MAX_LINGER);
    match batch.strategy {
        Strategy::Dynamic => {
            findings.range("batch.max_rows", batch.max_rows, 1, 1_000_000);
            let longest = batch.max_linger.unwrap_or(MAX_LINGER);
            if let Some(linger) = batch.max_linger {
                findings.span("batch.max_linger", linger, Duration::from_millis(1), MAX_LINGER);
                findings.warn("batch.max_linger", OLD_LINGER);
            }
            if let Some(linger) = batch.min_linger {
                findings.span("batch.min_linger", linger, Duration::ZERO, longest);
                findings.warn("batch.min_linger", OLD_LINGER);
            }
        }
        Strategy::Hybrid => {
            if batch.min_linger.is_some() {
                findings.warn("batch.min_linger", "has no effect with strategy \"hybrid\"; max_linger is its linger");
            }
            let is_endless = batch.max_linger.is_some_and(|linger| linger.is_zero());
            findings.range("batch.max_rows", batch.max_rows, 0, 1_000_000);
            findings.span("batch.max_linger", batch.max_linger.unwrap_or_default(), Duration::ZERO, MAX_LINGER);
            if batch.max_rows == 0 && batch.max_bytes == Bytes(0) {
                findings.warn(
                    "batch.max_rows",
                    format!(
                        "rows and bytes are both unlimited: a backlog goes out in batches of {}",
                        batch.request_limit()
                    ),
                );
            }
            if is_endless && batch.max_rows == 0 && batch.max_bytes == Bytes(0) {
                findings.problem("batch.max_linger", "every limit is off, so nothing would ever be sent; set one");
            } else if is_endless {
                findings.warn("batch.max_linger", "off: rows wait for a full batch, however long that takes");
            }
        }
    }
}
