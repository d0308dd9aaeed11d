//! The page's values, and its documentation.

use super::*;
use crate::{
    flush::{LaneStatus, WalTableStatus, breaker::Standing},
    lookup::LookupStatus,
    marks::Seq,
    observe::{
        forecast::Forecast,
        histogram::{Distribution, Quantiles},
    },
    republish::RepublishStatus,
    ring::{Ledger, RingStatus},
    settings::{Durability, OnFull},
    tally::{Counts, SourceCounts},
};

#[test]
fn the_page_has_values_units_and_labels() {
    let mut status = Status { uptime_s: 1.5, version: "1.2.3".into(), ..Status::default() };
    status.ledger = Ledger { rows: 10, stored: 7, pending: 3, ..Ledger::default() };
    status.flush.lanes = vec![LaneStatus { lane: 1, batch_rows: 500, flushes: 3, ..LaneStatus::default() }];
    let source = |name: &str, messages| SourceStatus { name: name.into(), messages, ..SourceStatus::default() };
    status.sources = vec![source("silent", 0), source(NO_SOURCE, 4)];
    let latency = crate::observe::histogram::Histogram::new();
    latency.record_many(900, 3);
    status.broker.ack_latency = latency.distribution();
    status.forecast.sentence = "full in 5 min".into();
    status.forecast.full_in_s = Some(300.0);
    status.lookup = Some(LookupStatus { filled: 5, away: 2, breaker: Standing::Open, ..LookupStatus::default() });
    status.republish = Some(RepublishStatus { published: 8, unnamed: 1, ..RepublishStatus::default() });
    let page = encode(status, Process::default());
    assert!(!page.contains("drained_in"), "what is not known has no sample");
    for line in [
        "forebay_ring_full_in_seconds 300.0",
        "# UNIT forebay_ring_full_in_seconds seconds",
        "forebay_build_info{version=\"1.2.3\"} 1.0",
        "forebay_uptime_seconds 1.5",
        "forebay_rows_total 10",
        "forebay_rows_pending 3.0",
        "forebay_batch_rows{lane=\"1\"} 500.0",
        "forebay_flushes_total{lane=\"1\"} 3.0",
        "# TYPE forebay_ack_latency_seconds histogram",
        "forebay_ack_latency_seconds_bucket{le=\"0.000512\"} 0",
        "forebay_ack_latency_seconds_bucket{le=\"0.001024\"} 3",
        "forebay_ack_latency_seconds_bucket{le=\"+Inf\"} 3",
        "forebay_ack_latency_seconds_sum 0.0027",
        "forebay_source_last_message_age_seconds{source=\"silent\"} 1.5",
        "forebay_source_messages_total{source=\"(none)\"} 4.0",
        "# UNIT forebay_uptime_seconds seconds",
        "forebay_lookup_answers_total{outcome=\"filled\"} 5.0",
        "forebay_lookup_answers_total{outcome=\"away\"} 2.0",
        "forebay_lookup_breaker_open 1.0",
        "forebay_republish_messages_total 8",
        "forebay_republish_dropped_total{reason=\"unnamed\"} 1.0",
    ] {
        assert!(page.lines().any(|have| have == line), "{line} in\n{page}");
    }
    assert!(!page.contains("age_seconds{source=\"(none)\"}"), "what matches no source is expected never");
    assert!(page.ends_with("# EOF\n"));
    assert!(!encode(Status::default(), Process::default()).contains("republish"), "what is off has no sample");
}

/// A status that has something to say everywhere.
fn full() -> Status {
    let ring = RingStatus {
        path: "/ring".into(),
        size_bytes: 0,
        used_bytes: 0,
        pending_bytes: 0,
        held_rows: 0,
        fill: 0.0,
        tail: Seq(0),
        safe: Seq(0),
        settled: Seq(0),
        durable: Seq(0),
        appended: Seq(0),
        durability: Durability::Commit,
        acks_wait_for: "durable",
        on_full: OnFull::Block,
        full: false,
        commit_us: Quantiles::default(),
        commit: Distribution::default(),
        dropped_by_table: vec![],
        refused_messages: 0,
        dropped_letters: 0,
        counted: vec![SourceCounts {
            source: "a".into(),
            counts: Counts { unmatched: 3, ..Counts::default() },
            ..SourceCounts::default()
        }],
        gaps: vec![],
        halted: None,
        poisoned: None,
    };
    let known = Some(0.0);
    let mut status = Status {
        ring: Some(ring),
        replaced: vec![crate::ingest::ReplacedStatus { source: "a".into(), table: "t".into(), ..Default::default() }],
        forecast: Forecast {
            intake_bytes_per_s: known,
            settling_bytes_per_s: known,
            full_in_s: known,
            drained_in_s: known,
            outage_covered_s: known,
            sentence: "x".into(),
            ..Forecast::default()
        },
        sources: vec![SourceStatus { name: "a".into(), silent_after_s: Some(900.0), ..SourceStatus::default() }],
        ..Status::default()
    };
    status.lookup = Some(LookupStatus::default());
    status.republish = Some(RepublishStatus::default());
    status.flush.lanes = vec![LaneStatus { breaker: Standing::Closed, ..LaneStatus::default() }];
    status.flush.failures = vec![("overloaded", 0)];
    status.flush.wal.tables =
        vec![WalTableStatus { table: "a".into(), pending_rows: Some(0), ..WalTableStatus::default() }];
    status
}

/// The rows of docs/monitoring.md's table, in the page's order.
fn rows() -> Vec<String> {
    let process = Process {
        cpu_s: Some(0.0),
        open_fds: Some(0),
        max_fds: Some(0),
        virtual_bytes: Some(0),
        resident_bytes: Some(0),
        threads: Some(0),
        started_s: Some(0.0),
    };
    let page = encode_as(full(), process, Format::Classic);
    let mut rows = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) else { continue };
        let kind = lines.next().and_then(|line| line.rsplit(' ').next()).unwrap_or_default();
        let sample = page.lines().find(|line| !line.starts_with('#') && line.starts_with(name)).unwrap_or_default();
        let labels = sample.split_once('{').map_or("", |(_, rest)| rest.split('}').next().unwrap_or_default());
        let names = labels.split(',').filter_map(|label| label.split_once('=')).map(|(name, _)| format!("`{name}`"));
        let labels = names.filter(|name| name != "`le`").collect::<Vec<_>>().join(", ");
        rows.push(format!("| `{name}` | {kind} | {labels} | {} |", help.trim_end_matches('.')));
    }
    rows
}

#[test]
fn the_documentation_lists_what_is_on_the_page() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/monitoring.md");
    let text = std::fs::read_to_string(path).unwrap();
    let documented: Vec<&str> = text
        .lines()
        .filter(|line| ["| `forebay_", "| `process_"].iter().any(|start| line.starts_with(start)))
        .collect();
    let rows = rows();
    let lacking: Vec<&String> = rows.iter().filter(|row| !documented.contains(&row.as_str())).collect();
    assert!(lacking.is_empty(), "docs/monitoring.md lacks these rows:\n{lacking:#?}");
    let gone: Vec<&&str> = documented.iter().filter(|row| !rows.iter().any(|have| have == *row)).collect();
    assert!(gone.is_empty(), "docs/monitoring.md has rows of what is not on the page:\n{gone:#?}");
}
