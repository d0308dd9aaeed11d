//! What ails the database: failures by kind, time-outs, and how far its write-ahead logs are applied.

use std::fmt;

use super::{Page, Sample};
use crate::{control::api::Status, flush::breaker::Standing};

pub(super) fn trouble(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    let flush = &status.flush;
    let kinds: Vec<[(&str, &str); 1]> = flush.failures.iter().map(|(kind, _)| [("kind", *kind)]).collect();
    let failures: Vec<Sample<'_>> =
        kinds.iter().zip(&flush.failures).map(|(label, (_, count))| (label.as_slice(), *count as f64)).collect();
    page.labelled_counters("flush_trouble", "Failures of all lanes since start, by kind", &failures)?;
    lanes(page, status)?;
    page.gauge(
        "wal_suspended_tables",
        "Tables that QuestDB no longer applies rows to",
        None,
        flush.wal.suspended as f64,
    )?;
    page.gauge("wal_watched_tables", "Tables whose write-ahead log is watched", None, flush.wal.watched as f64)?;
    tables(page, status)
}

fn lanes(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    let numbers: Vec<String> = status.flush.lanes.iter().map(|lane| lane.lane.to_string()).collect();
    let labels: Vec<[(&str, &str); 1]> = numbers.iter().map(|number| [("lane", number.as_str())]).collect();
    let lanes = || labels.iter().zip(&status.flush.lanes);
    let timeouts: Vec<_> = lanes().map(|(label, lane)| (label.as_slice(), lane.timeout_ms / 1e3)).collect();
    page.labelled("flush_timeout_seconds", "Time the next request is given, its bytes apart", &timeouts)?;
    let slowed: Vec<_> =
        lanes().map(|(label, lane)| (label.as_slice(), f64::from(u8::from(lane.pace.is_some())))).collect();
    page.labelled("flush_slowed", "1 while the lane is slowed down for QuestDB's apply lag", &slowed)?;
    let states: Vec<[(&str, &str); 2]> = numbers
        .iter()
        .zip(&status.flush.lanes)
        .filter(|(_, lane)| lane.breaker != Standing::Untold)
        .map(|(number, lane)| [("lane", number.as_str()), ("state", lane.breaker.word())])
        .collect();
    let states: Vec<Sample<'_>> = states.iter().map(|labels| (labels.as_slice(), 1.0)).collect();
    page.labelled("flush_breaker_state", "State of the lane's breaker: closed, open or half-open", &states)
}

/// The tables furthest behind; their number is bounded by [`crate::flush::wal_watch::MAX_LISTED`].
fn tables(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    let tables = &status.flush.wal.tables;
    let labels: Vec<[(&str, &str); 1]> = tables.iter().map(|table| [("table", table.table.as_str())]).collect();
    let tables = || labels.iter().zip(tables);
    let pending: Vec<_> =
        tables().map(|(label, table)| (label.as_slice(), table.pending_transactions as f64)).collect();
    page.labelled("wal_pending_transactions", "Transactions QuestDB has accepted and not applied", &pending)?;
    let rows: Vec<_> =
        tables().filter_map(|(label, table)| Some((label.as_slice(), table.pending_rows? as f64))).collect();
    page.labelled("wal_pending_rows", "Rows QuestDB has accepted and not applied", &rows)?;
    let ages: Vec<_> = tables().map(|(label, table)| (label.as_slice(), table.lag_s)).collect();
    page.labelled("wal_lag_seconds", "Age of the oldest transaction not applied", &ages)
}

#[cfg(test)]
mod tests {
    use super::super::encode;
    use crate::{
        control::api::Status,
        flush::{LaneStatus, WalTableStatus, breaker::Standing},
        observe::process::Process,
    };

    #[test]
    fn trouble_has_kinds_lanes_and_tables() {
        let mut status = Status::default();
        status.flush.failures = vec![("overloaded", 3)];
        status.flush.lanes =
            vec![LaneStatus { timeout_ms: 2_500.0, breaker: Standing::HalfOpen, ..LaneStatus::default() }];
        status.flush.wal.suspended = 1;
        let table =
            WalTableStatus { table: "s".into(), pending_transactions: 7, lag_s: 1.5, ..WalTableStatus::default() };
        status.flush.wal.tables = vec![table];
        let page = encode(status, Process::default());
        for line in [
            "forebay_flush_trouble_total{kind=\"overloaded\"} 3.0",
            "forebay_flush_timeout_seconds{lane=\"0\"} 2.5",
            "forebay_flush_slowed{lane=\"0\"} 0.0",
            "forebay_flush_breaker_state{lane=\"0\",state=\"half-open\"} 1.0",
            "forebay_wal_suspended_tables 1.0",
            "forebay_wal_pending_transactions{table=\"s\"} 7.0",
            "forebay_wal_lag_seconds{table=\"s\"} 1.5",
        ] {
            assert!(page.lines().any(|have| have == line), "{line} in\n{page}");
        }
        assert!(!page.contains("wal_pending_rows{"), "what is not known has no sample");
    }
}
