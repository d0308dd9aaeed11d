//! How far the wall clock was ahead of the time since boot, for each boot whose time became known:
//! when it began. It outlives the ring's tail, so that every later look at a boot's rows can use
//! the same figure.

use std::collections::HashMap;

use crate::{
    clock::{BootId, boot_id},
    point::{Received, Timestamp},
    ring::{Ring, StateKind},
};

/// Boots that are remembered; the longest ago are forgotten.
const MAX_BOOTS: usize = 64;
/// What stands for a boot where the kernel does not tell which it is.
const UNKNOWN: BootId = [0; 16];

/// Remembers boots.
#[derive(Debug)]
pub struct Boots {
    present: BootId,
    /// The note that makes the present one durable, where this run has written it.
    note: Option<u64>,
}

impl Boots {
    /// For this boot.
    pub fn new() -> Self {
        Self { present: boot_id(), note: None }
    }

    /// Remembers the present boot once the clock shows the right time; the first figure stays.
    pub fn remember(&mut self, ring: &Ring, now: Received, is_time_known: bool) {
        let is_remembered = ring.with_states(|states| states.get(StateKind::BOOT, &self.present).is_some());
        if is_remembered || !is_time_known || self.present == UNKNOWN {
            return;
        }
        for forgotten in too_many(&all(ring)) {
            // To remove an entry needs no room.
            let _ = ring.set_state(StateKind::BOOT, &forgotten, None);
        }
        match ring.set_state(StateKind::BOOT, &self.present, Some(&began(now).0.to_le_bytes())) {
            Ok(note) => self.note = Some(note),
            Err(error) => {
                static TOLD: std::sync::Once = std::sync::Once::new();
                TOLD.call_once(|| tracing::warn!(%error, "the time of this boot cannot be remembered"));
            }
        }
    }

    /// When boots began, as far as that is durable.
    pub fn durable(&self, ring: &Ring) -> HashMap<BootId, Timestamp> {
        let noted = ring.ackable().borrow().notes;
        let is_durable = |id: &BootId| *id != self.present || self.note.is_none_or(|note| note <= noted);
        let known = all(ring).into_iter().filter_map(|(began, id)| Some((id.try_into().ok()?, Timestamp(began))));
        known.filter(|(id, _)| is_durable(id)).collect()
    }

    /// The present boot.
    pub fn present(&self) -> BootId {
        self.present
    }
}

/// When the boot began by its wall clock.
fn began(now: Received) -> Timestamp {
    Timestamp(now.wall.0.saturating_sub(i64::try_from(now.since_boot_ns).unwrap_or(i64::MAX)))
}

/// The boots known, and when each began, in nanoseconds since 1970.
fn all(ring: &Ring) -> Vec<(i64, Vec<u8>)> {
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

    #[test]
    fn the_boot_longest_ago_gives_way_at_the_limit() {
        let boots = |count: usize| (0..count).rev().map(|n| (n as i64, vec![n as u8])).collect::<Vec<_>>();
        assert!(too_many(&boots(MAX_BOOTS - 1)).is_empty());
        assert_eq!(too_many(&boots(MAX_BOOTS)), [vec![0]]);
    }

    #[test]
    fn a_boot_began_at_the_wall_clock_less_the_time_since() {
        assert_eq!(began(Received { wall: Timestamp(1_000), since_boot_ns: 400 }), Timestamp(600));
        assert_eq!(began(Received { wall: Timestamp(0), since_boot_ns: u64::MAX }), Timestamp(-i64::MAX));
    }
}
