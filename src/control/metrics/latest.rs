//! The map of latest values, the questions to QuestDB about what it lacks, and the publishing of its changes.

use std::fmt;

use prometheus_client::registry::Unit;

use super::{
    Status,
    page::{Page, Sample},
};
use crate::flush::breaker::Standing;

pub(super) fn latest(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    let latest = &status.latest;
    page.gauge("latest_series", "Series in the map of latest values", None, latest.series as f64)?;
    page.gauge("latest_series_limit", "Most series the map holds", None, latest.max_series as f64)?;
    page.gauge("latest_used", "Bytes the map takes, roughly", Some(&Unit::Bytes), latest.bytes as f64)?;
    page.counter("latest_evictions", "Series that made room for others since start", latest.evicted)?;
    page.counter("latest_updates", "Readings that changed a latest value since start", latest.updates)?;
    page.counter("latest_late", "Readings older than the latest values since start", latest.late)?;
    page.gauge("watchers", "Clients that watch", None, latest.watchers as f64)
}

/// The outcomes add up to the questions, but for those under way.
pub(super) fn lookup(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    let Some(lookup) = &status.lookup else { return Ok(()) };
    let outcomes: [Sample<'_>; 8] = [
        (&[("outcome", "filled")], lookup.filled as f64),
        (&[("outcome", "nothing")], lookup.nothing as f64),
        (&[("outcome", "nothing_remembered")], lookup.remembered as f64),
        (&[("outcome", "away")], lookup.away as f64),
        (&[("outcome", "busy")], lookup.busy as f64),
        (&[("outcome", "timed_out")], lookup.timed_out as f64),
        (&[("outcome", "failed")], lookup.failed as f64),
        (&[("outcome", "foreign")], lookup.foreign as f64),
    ];
    page.labelled_counters(
        "lookup_answers",
        "Questions for values that memory lacks, since start, by outcome",
        &outcomes,
    )?;
    page.counter("lookup_joined", "Of these, those that shared another's query since start", lookup.joined)?;
    page.counter("lookup_queries", "Queries for latest values sent to QuestDB since start", lookup.queries)?;
    page.counter("lookup_rows_filled", "Rows of QuestDB that the map took in since start", status.latest.filled)?;
    let open = f64::from(u8::from(lookup.breaker == Standing::Open));
    page.gauge("lookup_breaker_open", "1 while QuestDB is not asked because it failed to answer", None, open)
}

pub(super) fn republish(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    let Some(republish) = &status.republish else { return Ok(()) };
    let connected = f64::from(u8::from(republish.connected));
    page.gauge("republish_connected", "1 while changed values can be published again", None, connected)?;
    page.counter("republish_messages", "Changed values published again since start", republish.published)?;
    let dropped: [Sample<'_>; 2] =
        [(&[("reason", "superseded")], republish.skipped as f64), (&[("reason", "unnamed")], republish.unnamed as f64)];
    page.labelled_counters("republish_dropped", "Changes that are not published since start", &dropped)?;
    page.gauge("republish_waiting", "Series whose change waits to be published", None, republish.pending as f64)?;
    page.counter(
        "republish_failures",
        "Connections for publishing that failed or ended since start",
        republish.failures,
    )
}
