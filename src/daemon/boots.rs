//! How far the wall clock was ahead of the time since boot, for each boot whose time became known. It outlives the ring's tail, so that
//! every later look at a boot's rows can use the same figure.

use crate::{
    clock::boot_id,
    point::Received,
    ring::{Ring, StateKind},
};

/// Boots that are remembered; the longest ago are forgotten.
const MAX_BOOTS: usize = 64;

/// Remembers the present boot once its time is known; the first figure stays.
pub fn remember(ring: &Ring, now: Received, is_trusted: bool) {
    let id = boot_id();
    let is_known = ring.with_states(|states| states.get(StateKind::BOOT, &id).is_some());
    if is_known || !is_trusted {
        return;
    }
    for forgotten in too_many(&boots(ring)) {
        // To remove an entry needs no room.
        let _ = ring.set_state(StateKind::BOOT, &forgotten, None);
    }
    if let Err(error) = ring.set_state(StateKind::BOOT, &id, Some(&ahead_ns(now).to_le_bytes())) {
        static TOLD: std::sync::Once = std::sync::Once::new();
        TOLD.call_once(|| tracing::warn!(%error, "the time of this boot cannot be remembered"));
    }
}

/// Nanoseconds by which the wall clock is ahead of the time since boot.
fn ahead_ns(now: Received) -> i64 {
    now.wall.0.saturating_sub(i64::try_from(now.since_boot_ns).unwrap_or(i64::MAX))
}

/// The boots known, and when each was, in nanoseconds since 1970.
fn boots(ring: &Ring) -> Vec<(i64, Vec<u8>)> {
    let read = |(key, value): (&[u8], &[u8])| Some((i64::from_le_bytes(value.try_into().ok()?), key.to_vec()));
    ring.with_states(|states| states.all(StateKind::BOOT).filter_map(read).collect())
}

/// The boots that give way to one more: the longest ago.
fn too_many(boots: &[(i64, Vec<u8>)]) -> Vec<Vec<u8>> {
    let mut by_time = boots.to_vec();
    by_time.sort_unstable();
    let excess = (boots.len() + 1).saturating_sub(MAX_BOOTS);
    by_time.into_iter().take(excess).map(|(_, id)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::Timestamp;

    #[test]
    fn the_boot_longest_ago_gives_way_at_the_limit() {
        let boots = |count: usize| (0..count).rev().map(|n| (n as i64, vec![n as u8])).collect::<Vec<_>>();
        assert!(too_many(&boots(MAX_BOOTS - 1)).is_empty());
        assert_eq!(too_many(&boots(MAX_BOOTS)), [vec![0]]);
    }

    #[test]
    fn the_figure_is_the_wall_clock_less_the_time_since_boot() {
        assert_eq!(ahead_ns(Received { wall: Timestamp(1_000), since_boot_ns: 400 }), 600);
        assert_eq!(ahead_ns(Received { wall: Timestamp(0), since_boot_ns: u64::MAX }), -i64::MAX);
    }
}
