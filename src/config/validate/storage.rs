//! `[ring]`, `[quarantine]`, `[latest]` and `[limits]`.

use std::time::Duration;

use super::Findings;
use crate::{
    decode::{Decoder, pattern::Pattern},
    point::Timestamp,
    republish::topic::TopicTemplate,
    ring::MAX_MAPPED,
    settings::{Bytes, CommitSpacing, Durability, Latest, Limits, Ring, Settings},
};

/// How many of the largest messages a ring must hold at least.
pub const MESSAGES_PER_RING: u64 = 16;
/// How many a quarantine must hold at least.
pub const MESSAGES_PER_QUARANTINE: u64 = 4;
/// Least memory for latest values.
pub const MIN_LATEST: Bytes = Bytes::mib(1);
/// Smallest file of either kind.
pub const MIN_FILE: Bytes = Bytes::mib(1);
/// Latest time at which a clock may be taken not to be set: 2100-01-01T00:00:00Z.
const MAX_PAST: Timestamp = Timestamp(4_102_444_800_000_000_000);
/// Largest.
pub const MAX_FILE: Bytes = Bytes(1 << 40);

pub(super) fn check(settings: &Settings, findings: &mut Findings) {
    check_ring(&settings.ring, findings);
    findings.absolute("quarantine.path", &settings.quarantine.path);
    findings.range("quarantine.size", settings.quarantine.size, MIN_FILE, MAX_FILE);
    let payload = settings.mqtt.max_payload;
    for (key, size, messages) in [
        ("ring.size", settings.ring.size, MESSAGES_PER_RING),
        ("quarantine.size", settings.quarantine.size, MESSAGES_PER_QUARANTINE),
    ] {
        let least = Bytes(payload.0.saturating_mul(messages));
        if size < least {
            let what = format!("{size} is less than {messages} × mqtt.max_payload ({payload}); use {least} or more");
            findings.problem(key, what);
        }
    }
    check_latest(&settings.latest, findings);
    check_limits(&settings.limits, findings);
    check_republish(settings, findings);
}

/// Why a ring may not have this size, as its configuration is.
pub fn ring_size(size: Bytes, settings: &Settings) -> Result<(), String> {
    let payload = settings.mqtt.max_payload;
    let least = Bytes(payload.0.saturating_mul(MESSAGES_PER_RING)).max(MIN_FILE);
    if size < least {
        return Err(format!(
            "{size} is too small; a ring has at least {least} ({MESSAGES_PER_RING} × mqtt.max_payload)"
        ));
    }
    match too_large(size) {
        Some(why) => Err(why),
        None if size > MAX_FILE => Err(format!("{size} is too large; a ring has at most {MAX_FILE}")),
        None => Ok(()),
    }
}

/// Why this program cannot map a ring of this size, where that is so.
fn too_large(size: Bytes) -> Option<String> {
    (size.0 > MAX_MAPPED).then(|| {
        let most = Bytes(MAX_MAPPED);
        format!(
            "{size} is too large: all of a ring is mapped, and a program of {} bits has addresses for {most} of it",
            usize::BITS
        )
    })
}

fn check_ring(ring: &Ring, findings: &mut Findings) {
    let defaults = Ring::default();
    findings.absolute("ring.path", &ring.path);
    match too_large(ring.size) {
        Some(why) => findings.problem("ring.size", why),
        None => findings.range("ring.size", ring.size, MIN_FILE, MAX_FILE),
    }
    findings.span("ring.interval", ring.interval, Duration::from_millis(1), Duration::from_mins(1));
    if let CommitSpacing::Fixed(spacing) = ring.commit_spacing {
        findings.span("ring.commit_spacing", spacing, Duration::ZERO, Duration::from_secs(1));
    }
    if ring.durability == Durability::Commit && ring.interval != defaults.interval {
        findings.warn("ring.interval", "it has no effect with durability = \"commit\"; ring.commit_spacing has");
    }
    if ring.durability != Durability::Commit && ring.commit_spacing != defaults.commit_spacing {
        findings.warn("ring.commit_spacing", "it has an effect with durability = \"commit\" only; ring.interval has");
    }
    if ring.durability == Durability::Memory {
        findings.warn("ring.durability", "\"memory\": a power cut loses what is acknowledged but not yet in QuestDB");
    }
}

/// What is published again must not come in again.
fn check_republish(settings: &Settings, findings: &mut Findings) {
    const KEY: &str = "latest.republish_topic";
    let Some(text) = &settings.latest.republish_topic else { return };
    let template = match TopicTemplate::parse(text) {
        Ok(template) => template,
        Err(error) => return findings.problem(KEY, error.to_string()),
    };
    for (name, source) in &settings.source {
        let Ok(decoder) = Decoder::new(name, source) else { continue };
        for filter in decoder.patterns().iter().map(Pattern::filter).filter(|filter| template.comes_back_by(filter)) {
            let what = format!(
                "source.{name} subscribes to {filter:?}, so what is published would come in again; choose a topic that no source takes"
            );
            findings.problem(KEY, what);
        }
    }
}

fn check_latest(latest: &Latest, findings: &mut Findings) {
    findings.range("latest.max_series", latest.max_series, 1, 10_000_000);
    findings.range("latest.max_bytes", latest.max_bytes, MIN_LATEST, MAX_FILE);
    let year = Duration::from_hours(365 * 24);
    findings.span("latest.stale_after", latest.stale_after, Duration::from_millis(1), year);
    findings.span("latest.max_future", latest.max_future, Duration::from_secs(1), year);
    // From where a clock begins that nobody sets.
    if !(Timestamp(0)..=MAX_PAST).contains(&latest.max_past) {
        let what = format!("{} is not from 1970-01-01 to {MAX_PAST}", latest.max_past);
        findings.problem("latest.max_past", what);
    }
}

fn check_limits(limits: &Limits, findings: &mut Findings) {
    // One column is the time's.
    findings.range("limits.columns_per_table", limits.columns_per_table, 2, 4_096);
    findings.range("limits.tables_per_source", limits.tables_per_source, 1, 4_096);
    findings.range("limits.new_columns_per_minute", limits.new_columns_per_minute, 1, 4_096);
}
