//! How much of the ring may be written to, for the forecast.

use std::time::Duration;

use crate::{
    observe::forecast::{Forecaster, Levels},
    ring::{
        Ring,
        layout::{SLOT_BYTES, reserve_bytes},
    },
    settings::OnFull,
};

/// The tail moves to commit ends about 1/256 of the ring apart, so that much stays out of reach on
/// average.
const TAIL_STEPS: u64 = 256;

/// A forecaster for this ring, whose stored rows stay protected for a resend window.
pub fn forecaster(ring: &Ring, resend_window: Duration) -> Forecaster {
    let capacity = ring.capacity_bytes();
    // What each append keeps back is out of reach as well.
    let usable = capacity.saturating_sub(capacity / TAIL_STEPS + SLOT_BYTES + reserve_bytes(capacity));
    let window = match ring.on_full() {
        OnFull::Block => resend_window,
        // Stored rows lose the window's protection before a row is lost.
        OnFull::DropOldest | OnFull::DropNewest => Duration::ZERO,
    };
    Forecaster::new(usable, window)
}

/// How far the log has come.
pub fn levels(ring: &Ring) -> Levels {
    let marks = ring.marks();
    let appended = marks.appended.pos.0;
    // Behind the last record stands its commit, which nobody waits for.
    let settled = if marks.settled.seq >= marks.appended.seq { appended } else { marks.settled.pos.0 };
    let kept = match ring.on_full() {
        OnFull::Block => marks.safe.pos.0,
        OnFull::DropOldest | OnFull::DropNewest => settled,
    };
    let kept = ring.held().map_or(kept, |(from, _)| kept.min(from.pos.0));
    Levels { appended, settled, kept: kept.min(settled) }
}
