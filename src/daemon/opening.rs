//! The start's first part: the ring is recovered, and the map of latest values filled from it.

use std::sync::Arc;

use super::{DaemonError, EXTENSION, progress};
use crate::{
    clock::{Newest, SharedClock},
    ingest::restore::{Memory, restore},
    latest::Latest,
    limits::Allowance,
    observe::{heartbeat::Heartbeats, systemd::ServiceManager},
    point::Timestamp,
    ring::{self, HeaderSource, Opened, RecoveryReport, Ring},
    settings::Settings,
};

/// Recovers the ring, fills the map of latest values from it, and says what was found. `goes_on` is
/// told of progress.
pub fn open_ring(
    settings: &Settings,
    clock: &SharedClock,
    heartbeats: &Heartbeats,
    latest: &Latest,
    allowance: &Allowance,
    goes_on: &dyn Fn(),
) -> Result<(Ring, Timestamp), DaemonError> {
    ServiceManager.status("recovering the ring");
    let (mut newest, mut first) = (Newest::default(), None);
    let existing = std::fs::metadata(&settings.ring.path).map(|file| file.len()).ok();
    let mut tell = |progress: ring::Progress| {
        goes_on();
        ServiceManager.extend_timeout(EXTENSION);
        ServiceManager.status(&progress::line(progress, existing, settings.ring.size.0));
    };
    let opened = restore(Memory { latest, allowance }, |take| {
        let mut visit = |record: &ring::Record<'_>| {
            newest.note(record.received);
            if first.is_none() {
                first = Some(record.seq);
                latest.begins_with(record.seq, record.received);
            }
            take(record);
        };
        Ring::open(
            &settings.ring,
            settings.questdb.resend_window,
            Arc::clone(clock),
            heartbeats.register("committer"),
            &mut visit,
            &mut tell,
        )
    });
    let Opened { ring, report } = opened?;
    latest.restored();
    log_recovery(settings, &report);
    Ok((ring, newest.time()))
}

fn log_recovery(settings: &Settings, report: &RecoveryReport) {
    let path = settings.ring.path.display();
    if report.created {
        tracing::info!(%path, size = %settings.ring.size, "created the ring");
        return;
    }
    if let Some(bytes) = report.other_size {
        tracing::warn!(%path, bytes, configured = %settings.ring.size, "the ring has another size than configured; forebay ring resize gives it one");
    }
    if let Some(bytes) = report.cut_to {
        tracing::error!(%path, bytes, "the ring file had been cut short to so many bytes; it has its full length again, and what was behind them is lost");
    }
    match report.header {
        HeaderSource::Slots => {}
        HeaderSource::OneSlot => {
            tracing::warn!(%path, "one of the ring's two header slots is damaged; the other and the commits told what it said");
        }
        HeaderSource::Commits => {
            tracing::error!(%path, "both header slots of the ring are damaged; its newest commit told what they said");
        }
    }
    for gap in &report.gaps {
        let ring::Gap { first, last, from, bytes, tables, unknown } = gap;
        let tables = tables.join(", ");
        tracing::error!(%path, %first, %last, position = %from, bytes, %tables, unknown, "damage in the ring: these records are lost");
    }
    if report.lost_rows > 0 {
        tracing::error!(%path, rows = report.lost_rows, "rows lost to damage; the ledger counts them as dropped");
    }
    tracing::info!(%path, clean = report.clean, records = report.records, pending_rows = report.pending_rows, "recovered the ring");
}
