//! The metrics page: a snapshot of the status as `OpenMetrics` text (openmetrics.io, version 1.0.0), which Prometheus reads.

mod trouble;

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use crate::control::api::Status;

/// The page's media type.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The page.
pub fn encode(status: Status) -> String {
    let mut registry = Registry::with_prefix("forebay");
    registry.register_collector(Box::new(Snapshot(status)));
    let mut page = String::new();
    // Writing to a string fails only where a metric does, and these are numbers.
    let _ = text::encode(&mut page, &registry);
    page
}

#[derive(Debug)]
struct Snapshot(Status);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page { encoder: &mut encoder };
        process(&mut page, &self.0)?;
        ledger(&mut page, &self.0)?;
        broker(&mut page, &self.0)?;
        writes(&mut page, &self.0)?;
        ring(&mut page, &self.0)?;
        forecast(&mut page, &self.0)?;
        flush(&mut page, &self.0)?;
        lanes(&mut page, &self.0)?;
        trouble::trouble(&mut page, &self.0)?;
        latest(&mut page, &self.0)
    }
}

fn process(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    page.labelled("build_info", "Version of the running daemon", &[(&[("version", &status.version)], 1.0)])?;
    page.gauge("uptime", "Time since the daemon started", Some(&Unit::Seconds), status.uptime_s)
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
    page.gauge("rows_pending", "Rows taken in and not yet stored, quarantined or dropped", None, counts.pending as f64)
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
    page.counter("broker_qos0_dropped", "QoS 0 messages dropped for want of room since start", broker.qos0_dropped)?;
    let ack = broker.ack_latency_us;
    let measured = [ack.p50, ack.p99, ack.max, ack.count];
    page.latency("ack_latency", "Time from receiving a QoS 1 message to sending its PUBACK, since start", measured)
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
    let took = writes.latency_us;
    let measured = [took.p50, took.p99, took.max, took.count];
    page.latency("write_latency", "Time from a write request's last byte to its answer, since start", measured)
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
    page.gauge("ring_full", "1 while an append waits for room", None, f64::from(u8::from(ring.full)))?;
    let poisoned = f64::from(u8::from(ring.poisoned.is_some()));
    page.gauge("ring_poisoned", "1 once a sync has failed and nothing more is acknowledged", None, poisoned)?;
    let mark = |seq: crate::ring::Seq| seq.0 as f64;
    let marks: [Sample<'_>; 5] = [
        (&[("mark", "tail")], mark(ring.tail)),
        (&[("mark", "safe")], mark(ring.safe)),
        (&[("mark", "settled")], mark(ring.settled)),
        (&[("mark", "durable")], mark(ring.durable)),
        (&[("mark", "appended")], mark(ring.appended)),
    ];
    page.labelled("ring_watermark", "Record number of each watermark", &marks)?;
    let commit = ring.commit_us;
    let measured = [commit.p50, commit.p99, commit.max, commit.count];
    page.latency("commit_latency", "Time from sealing a commit to the end of its sync, since start", measured)
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
    let up = matches!(status.flush.database.as_str(), "ok" | "slow" | "lagging" | "suspended");
    let ages = status.flush.stored_latency_us;
    let measured = [ages.p50, ages.p99, ages.max, ages.count];
    page.latency("stored_latency", "Time from a row's arrival to its being stored in QuestDB, since start", measured)?;
    page.gauge("database_up", "1 while QuestDB takes rows", None, f64::from(u8::from(up)))?;
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
        &of(|lane| f64::from(u8::from(lane.breaker == "open"))),
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

fn latest(page: &mut Page<'_, '_>, status: &Status) -> fmt::Result {
    let latest = &status.latest;
    page.gauge("latest_series", "Series in the map of latest values", None, latest.series as f64)?;
    page.gauge("latest_series_limit", "Most series the map holds", None, latest.max_series as f64)?;
    page.gauge("latest_used", "Bytes the map takes, roughly", Some(&Unit::Bytes), latest.bytes as f64)?;
    page.counter("latest_evictions", "Series that made room for others since start", latest.evicted)?;
    page.counter("latest_updates", "Readings that changed a latest value since start", latest.updates)?;
    page.counter("latest_late", "Readings older than the latest values since start", latest.late)?;
    page.gauge("watchers", "Clients that watch", None, latest.watchers as f64)
}

/// Labels and value of one sample.
type Sample<'a> = (&'a [(&'a str, &'a str)], f64);

/// The page being written, one method a kind of metric.
struct Page<'e, 'p> {
    encoder: &'e mut DescriptorEncoder<'p>,
}

impl Page<'_, '_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let encoder = self.encoder.encode_descriptor(name, &sentence(help), None, MetricType::Counter)?;
        ConstCounter::new(value).encode(encoder)
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
        let encoder = self.encoder.encode_descriptor(name, &sentence(help), unit, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    fn labelled(&mut self, name: &str, help: &str, samples: &[Sample<'_>]) -> fmt::Result {
        self.family(name, help, MetricType::Gauge, samples)
    }

    fn labelled_counters(&mut self, name: &str, help: &str, samples: &[Sample<'_>]) -> fmt::Result {
        self.family(name, help, MetricType::Counter, samples)
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType, samples: &[Sample<'_>]) -> fmt::Result {
        if samples.is_empty() {
            return Ok(());
        }
        let mut encoder = self.encoder.encode_descriptor(name, &sentence(help), None, kind)?;
        for (labels, value) in samples {
            let sample = encoder.encode_family(labels)?;
            match kind {
                MetricType::Counter => ConstCounter::new(*value).encode(sample)?,
                _ => ConstGauge::new(*value).encode(sample)?,
            }
        }
        Ok(())
    }

    /// Median, 99th percentile and maximum in microseconds, and how many were measured.
    fn latency(&mut self, name: &str, help: &str, [p50, p99, max, count]: [u64; 4]) -> fmt::Result {
        let seconds = |micros: u64| micros as f64 / 1e6;
        let samples: [Sample<'_>; 3] = [
            (&[("quantile", "0.5")], seconds(p50)),
            (&[("quantile", "0.99")], seconds(p99)),
            (&[("quantile", "1")], seconds(max)),
        ];
        self.labelled(&format!("{name}_seconds"), help, &samples)?;
        self.counter(&format!("{name}_measurements"), &format!("Measurements behind forebay_{name}_seconds"), count)
    }
}

fn sentence(help: &str) -> String {
    format!("{help}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{flush::LaneStatus, ring::Ledger};

    #[test]
    fn the_page_has_values_units_and_labels() {
        let mut status = Status { uptime_s: 1.5, version: "1.2.3".into(), ..Status::default() };
        status.ledger = Ledger { rows: 10, stored: 7, pending: 3, ..Ledger::default() };
        status.flush.lanes = vec![LaneStatus { lane: 1, batch_rows: 500, flushes: 3, ..LaneStatus::default() }];
        status.broker.ack_latency_us.p99 = 900;
        status.forecast.sentence = "full in 5 min".into();
        status.forecast.full_in_s = Some(300.0);
        let page = encode(status);
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
            "forebay_ack_latency_seconds{quantile=\"0.99\"} 0.0009",
            "# TYPE forebay_ack_latency_measurements counter",
            "# UNIT forebay_uptime_seconds seconds",
        ] {
            assert!(page.lines().any(|have| have == line), "{line} in\n{page}");
        }
        assert!(page.ends_with("# EOF\n"));
    }
}
