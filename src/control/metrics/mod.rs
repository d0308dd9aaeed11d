//! The metrics page: a snapshot of the status, as `OpenMetrics` text (openmetrics.io, version 1.0.0) for those who ask for it, else as
//! Prometheus' older text format (0.0.4), which everything reads. docs/monitoring.md lists what is on it.

mod classic;
mod latest;
mod page;
mod process;
mod trouble;

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::{Registry, Unit},
};

pub use self::classic::Format;
use self::page::{Page, Sample};
use crate::{
    control::api::Status,
    flush::breaker::Standing,
    ingest::{NO_SOURCE, ReplacedStatus, SourceStatus},
    limits::{Excess, LimitStatus, WRITE},
    observe::process::Process,
    tally::{Counter, SourceCounts},
};

/// The page in a format: the daemon's state, and what its process takes.
pub fn encode_as(status: Status, process: Process, format: Format) -> String {
    let page = encode(status, process);
    match format {
        Format::OpenMetrics => page,
        Format::Classic => classic::from_open_metrics(&page),
    }
}

/// The page as `OpenMetrics`.
pub fn encode(status: Status, process: Process) -> String {
    let mut registry = Registry::default();
    registry.sub_registry_with_prefix("forebay").register_collector(Box::new(Snapshot(status)));
    registry.sub_registry_with_prefix("process").register_collector(Box::new(process::Standard(process)));
    let mut page = String::new();
    // Writing to a string fails only where a metric does, and these are numbers.
    let _ = text::encode(&mut page, &registry);
    page
}

#[derive(Debug)]
struct Snapshot(Status);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page::new(&mut encoder);
        daemon(&mut page, &self.0)?;
        ledger(&mut page, &self.0)?;
        sources(&mut page, &self.0)?;
        counted(&mut page, &self.0)?;
        limits(&mut page, &self.0)?;
        replaced(&mut page, &self.0)?;
        broker(&mut page, &self.0)?;
        writes(&mut page, &self.0)?;
        ring(&mut page, &self.0)?;
        forecast(&mut page, &self.0)?;
        flush(&mut page, &self.0)?;
        lanes(&mut page, &self.0)?;
        trouble::trouble(&mut page, &self.0)?;
        latest::latest(&mut page, &self.0)?;
        latest::lookup(&mut page, &self.0)?;
        latest::republish(&mut page, &self.0)
    }
}

fn daemon(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    page.labelled("build_info", "Version of the running daemon", &[(&[("version", &status.version)], 1.0)])?;
    page.gauge("uptime", "Time since the daemon started", Some(&Unit::Seconds), status.uptime_s)?;
    let trusted = f64::from(u8::from(status.clock.trusted));
    page.gauge("clock_trusted", "1 once the system clock is known to be right and may judge readings", None, trusted)
}

fn ledger(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    let counts = &status.ledger;
    page.counter("messages", "Messages taken in since the ring was created, dead letters included", counts.messages)?;
    page.counter("dead_letters", "Messages that could not be decoded", counts.dead_letters)?;
    page.counter("rows", "Rows taken in since the ring was created", counts.rows)?;
    page.counter("rows_stored", "Rows stored in QuestDB", counts.stored)?;
    page.counter("rows_quarantined", "Rows set aside in quarantine", counts.quarantined)?;
    page.counter("rows_dropped", "Rows dropped by the on_full policy or lost to damage", counts.dropped)?;
    page.counter("rows_coalesced", "Rows merged into others on purpose", counts.coalesced)?;
    page.gauge(
        "rows_pending",
        "Rows taken in and not yet stored, quarantined or dropped",
        None,
        counts.pending as f64,
    )?;
    page.gauge(
        "lag",
        "Age of the oldest row that waits for QuestDB, to within two seconds, counted from the daemon's start for older ones",
        Some(&Unit::Seconds),
        status.lag_s,
    )
}

/// Sources are named in the configuration, so these labels have as many values as it has sources.
fn sources(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    let sources = &status.sources;
    let labels: Vec<[(&str, &str); 1]> = sources.iter().map(|source| [("source", source.name.as_str())]).collect();
    let of = |value: fn(&SourceStatus) -> u64| -> Vec<Sample<'_>> {
        labels.iter().zip(sources).map(|(label, source)| (label.as_slice(), value(source) as f64)).collect()
    };
    let messages = of(|source| source.messages);
    page.labelled_counters("source_messages", "Messages of a source since start, dead letters included", &messages)?;
    page.labelled_counters("source_rows", "Rows of a source since start", &of(|source| source.rows))?;
    page.labelled_counters(
        "source_dead_letters",
        "Dead letters of a source since start: messages that could not be decoded, and parts of others",
        &of(|source| source.dead_letters),
    )?;
    page.labelled_counters(
        "source_bad_members",
        "Members and elements of a source's messages that could not become a part of a row, since start",
        &of(|source| source.bad_members),
    )?;
    page.labelled_counters(
        "source_refused_rows",
        "Rows of a source set aside on their way to QuestDB, since start",
        &of(|source| source.refused_rows),
    )?;
    let watched = labels.iter().zip(sources).filter(|(_, source)| source.silent_after_s.is_some());
    let silent: Vec<Sample<'_>> =
        watched.map(|(label, source)| (label.as_slice(), f64::from(u8::from(source.silent)))).collect();
    page.labelled("source_silent", "1 while a source has brought nothing for silent_after", &silent)?;
    let named = labels.iter().zip(sources).filter(|(_, source)| source.name != NO_SOURCE);
    let age = |source: &SourceStatus| source.last_received_age_s.unwrap_or(status.uptime_s);
    page.labelled(
        "source_last_message_age_seconds",
        "Time since the last message of a source, since the daemon's start while none came",
        &named.map(|(label, source)| (label.as_slice(), age(source))).collect::<Vec<_>>(),
    )
}

/// What the ring counts by source. Its state is bounded, and so are the names.
fn counted(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    let name =
        |source: &SourceCounts| if source.source.is_empty() { NO_SOURCE } else { source.source.as_str() }.to_owned();
    let counted = status.ring.as_ref().map(|ring| ring.counted.as_slice()).unwrap_or_default();
    let names: Vec<String> = counted.iter().map(name).collect();
    let labels: Vec<[(&str, &str); 1]> = names.iter().map(|name| [("source", name.as_str())]).collect();
    for counter in Counter::IN_USE {
        let value = |source: &SourceCounts| source.counts.to_array()[counter as usize] as f64;
        let samples: Vec<Sample<'_>> =
            labels.iter().zip(counted).map(|(label, source)| (label.as_slice(), value(source))).collect();
        page.labelled_counters(&format!("source_{}", counter.word()), counter.help(), &samples)?;
    }
    Ok(())
}

/// Sources and tables of which rows were replaced; as many as are told apart.
fn replaced(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    let labels: Vec<[(&str, &str); 2]> =
        status.replaced.iter().map(|of| [("source", of.source.as_str()), ("table", of.table.as_str())]).collect();
    let of = |value: fn(&ReplacedStatus) -> u64| -> Vec<Sample<'_>> {
        labels.iter().zip(&status.replaced).map(|(label, of)| (label.as_slice(), value(of) as f64)).collect()
    };
    page.labelled_counters(
        "table_replaced_rows",
        "Rows that another one of their moment took the place of, with another value, since start, by source and table",
        &of(|of| of.replaced),
    )?;
    page.labelled_counters(
        "table_uncompared_rows",
        "Rows older than what is remembered of their series, since start, by source and table",
        &of(|of| of.uncompared),
    )
}

/// Three limits a source, and of `/write`; those that left out nothing are 0, so that the first excess is an increase.
fn limits(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    let sources = status.sources.iter().map(|source| source.name.as_str()).filter(|name| *name != NO_SOURCE);
    let labels: Vec<[(&str, &str); 2]> = sources
        .chain([WRITE])
        .flat_map(|source| Excess::ALL.map(|of| [("source", source), ("limit", of.key())]))
        .collect();
    let of = |value: fn(&LimitStatus) -> u64| -> Vec<Sample<'_>> {
        let found = |[(_, source), (_, limit)]: &[(&str, &str); 2]| {
            status.limits.iter().find(|of| of.source == *source && of.limit == *limit).map_or(0, value)
        };
        labels.iter().map(|label| (label.as_slice(), found(label) as f64)).collect()
    };
    let fields = of(|limit| limit.fields);
    page.labelled_counters(
        "limits_fields",
        "Values left out of rows since start, by source and key of [limits]",
        &fields,
    )?;
    let rows = of(|limit| limit.rows);
    page.labelled_counters("limits_rows", "Rows left out as a whole since start, by source and key of [limits]", &rows)
}

fn broker(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    let broker = &status.broker;
    let connected = f64::from(u8::from(broker.connected));
    page.gauge("broker_connected", "1 while connected and subscribed", None, connected)?;
    page.counter("broker_connects", "Connections made to the broker since start", broker.connects)?;
    page.counter("broker_acknowledgements", "PUBACKs sent since start", broker.acknowledged)?;
    page.gauge(
        "broker_unacknowledged",
        "Messages received and not yet acknowledged",
        None,
        broker.unacknowledged as f64,
    )?;
    page.gauge("broker_held", "Messages held back because the ring is full", None, broker.held as f64)?;
    let lowered = broker.lowered.len() as f64;
    page.gauge("broker_lowered", "Subscriptions that the broker grants a lower QoS than asked for", None, lowered)?;
    page.gauge(
        "broker_session_shortened",
        "1 while the broker keeps forebay's session for a shorter time than asked for",
        None,
        f64::from(u8::from(broker.shortened.is_some())),
    )?;
    page.counter(
        "broker_copies",
        "Messages sent once more for another subscription, and taken once, since start",
        broker.copies,
    )?;
    page.counter("broker_qos0_dropped", "QoS 0 messages dropped for want of room since start", broker.qos0_dropped)?;
    page.latency("ack_latency", "Time from receiving a QoS 1 message to sending its PUBACK", &broker.ack_latency)
}

fn writes(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    let writes = &status.writes;
    page.counter("write_requests", "Requests with line protocol answered 204 since start", writes.requests)?;
    page.counter("write_rows", "Rows of these requests", writes.rows)?;
    let refused: [Sample<'_>; 4] = [
        (&[("reason", "malformed")], writes.malformed as f64),
        (&[("reason", "full")], writes.full as f64),
        (&[("reason", "unauthorized")], writes.unauthorized as f64),
        (&[("reason", "other")], writes.refused as f64),
    ];
    page.labelled_counters("write_refusals", "Requests with line protocol refused since start", &refused)?;
    page.latency("write_latency", "Time from a write request's last byte to its answer", &writes.latency)
}

fn ring(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    let Some(ring) = &status.ring else { return Ok(()) };
    page.gauge("ring_size", "Size of the ring file", Some(&Unit::Bytes), ring.size_bytes as f64)?;
    page.gauge(
        "ring_used",
        "Bytes from the ring's tail to its head, history included",
        Some(&Unit::Bytes),
        ring.used_bytes as f64,
    )?;
    page.gauge("ring_pending", "Bytes that wait for QuestDB", Some(&Unit::Bytes), ring.pending_bytes as f64)?;
    let ratio = Unit::Other("ratio".into());
    page.gauge("ring_fill", "Share of the ring that may not be overwritten yet", Some(&ratio), ring.fill)?;
    page.gauge("ring_held_rows", "Rows held back until their time is known", None, ring.held_rows as f64)?;
    page.gauge("ring_full", "1 while an append waits for room", None, f64::from(u8::from(ring.full)))?;
    page.counter(
        "messages_refused",
        "Messages turned away by the on_full policy since the ring was created, with their rows",
        ring.refused_messages,
    )?;
    page.counter(
        "dead_letters_dropped",
        "Dead letters given up by the on_full policy since start, since the quarantine did not take them",
        ring.dropped_letters,
    )?;
    let halted = f64::from(u8::from(ring.halted.is_some()));
    page.gauge(
        "ring_halted",
        "1 while nothing is acknowledged until somebody has mended a file's place",
        None,
        halted,
    )?;
    let poisoned = f64::from(u8::from(ring.poisoned.is_some()));
    page.gauge("ring_poisoned", "1 once a sync has failed and nothing more is acknowledged", None, poisoned)?;
    let mark = |seq: crate::marks::Seq| seq.0 as f64;
    let marks: [Sample<'_>; 5] = [
        (&[("mark", "tail")], mark(ring.tail)),
        (&[("mark", "safe")], mark(ring.safe)),
        (&[("mark", "settled")], mark(ring.settled)),
        (&[("mark", "durable")], mark(ring.durable)),
        (&[("mark", "appended")], mark(ring.appended)),
    ];
    page.labelled("ring_watermark", "Record number of each watermark", &marks)?;
    page.latency("commit_latency", "Time from sealing a commit to the end of its sync", &ring.commit)
}

/// What is not known, or never comes at the present rates, has no sample.
fn forecast(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    let forecast = &status.forecast;
    if forecast.sentence.is_empty() {
        return Ok(());
    }
    page.gauge(
        "ring_free",
        "Bytes the ring takes in before it is full, if nothing more is stored",
        Some(&Unit::Bytes),
        forecast.free_bytes as f64,
    )?;
    let speed = Unit::Other("bytes_per_second".into());
    let known = [
        ("ring_intake", "Bytes the ring takes in a second, mean of five minutes", &speed, forecast.intake_bytes_per_s),
        (
            "ring_settling",
            "Bytes a second that are stored, quarantined or dropped, mean of ten seconds",
            &speed,
            forecast.settling_bytes_per_s,
        ),
        ("ring_full_in", "Time until the ring is full at the present rates", &Unit::Seconds, forecast.full_in_s),
        (
            "ring_drained_in",
            "Time until the backlog is drained at the present rates",
            &Unit::Seconds,
            forecast.drained_in_s,
        ),
        (
            "ring_outage_covered",
            "How long QuestDB could be away from now on before the ring is full",
            &Unit::Seconds,
            forecast.outage_covered_s,
        ),
    ];
    for (name, help, unit, value) in known {
        if let Some(value) = value {
            page.gauge(name, help, Some(unit), value)?;
        }
    }
    Ok(())
}

fn flush(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    page.latency(
        "stored_latency",
        "Time from a row's arrival to its being stored in QuestDB",
        &status.flush.stored_latency,
    )?;
    page.gauge("database_up", "1 while QuestDB takes rows", None, f64::from(u8::from(status.flush.database.is_up())))?;
    let quarantine = &status.flush.quarantine;
    page.gauge("quarantine_entries", "Entries in the quarantine", None, quarantine.entries as f64)?;
    page.gauge("quarantine_used", "Bytes of the quarantine in use", Some(&Unit::Bytes), quarantine.bytes as f64)?;
    page.counter("quarantine_pushed_out", "Entries pushed out of the quarantine by newer ones", quarantine.pushed_out)
}

fn lanes(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    let numbers: Vec<String> = status.flush.lanes.iter().map(|lane| lane.lane.to_string()).collect();
    let labels: Vec<[(&str, &str); 1]> = numbers.iter().map(|number| [("lane", number.as_str())]).collect();
    let of = |value: fn(&crate::flush::LaneStatus) -> f64| -> Vec<Sample<'_>> {
        labels.iter().zip(&status.flush.lanes).map(|(label, lane)| (label.as_slice(), value(lane))).collect()
    };
    page.labelled("batch_rows", "Rows a batch, as decided now", &of(|lane| lane.batch_rows as f64))?;
    page.labelled("batch_linger_seconds", "Longest a row waits for company now", &of(|lane| lane.linger_ms / 1e3))?;
    page.labelled("flush_latency_seconds", "Time the last flush took", &of(|lane| lane.last_ms / 1e3))?;
    page.labelled(
        "model_fixed_seconds",
        "Fitted cost of a flush apart from its rows",
        &of(|lane| lane.fixed_ms / 1e3),
    )?;
    page.labelled("model_row_seconds", "Fitted cost of each row of a flush", &of(|lane| lane.per_row_us / 1e6))?;
    page.labelled("model_spread_ratio", "Spread of flush times about the model, relative", &of(|lane| lane.spread))?;
    page.labelled(
        "model_error_ratio",
        "How far the last flush was off the model, relative",
        &of(|lane| lane.last_error),
    )?;
    page.labelled(
        "flush_breaker_open",
        "1 while the lane has stopped sending",
        &of(|lane| f64::from(u8::from(lane.breaker == Standing::Open))),
    )?;
    page.labelled_counters("flushes", "Flushes that succeeded since start", &of(|lane| lane.flushes as f64))?;
    page.labelled_counters("flush_failures", "Flushes that failed since start", &of(|lane| lane.failures as f64))?;
    page.labelled_counters(
        "flush_rows_sent",
        "Rows sent since start, resent ones included",
        &of(|lane| lane.rows_sent as f64),
    )?;
    page.labelled_counters(
        "flush_rewinds",
        "Times the lane's cursor was rewound since start",
        &of(|lane| lane.rewinds as f64),
    )
}

#[cfg(test)]
mod tests;
