//! A look into the ring's file, which walks through all of it, on behalf of whoever may ask: what was found is kept for a while, so that
//! asking again and again costs no more than a tenth of a core.

use std::{sync::Mutex, time::Duration};

use crate::{
    control::api::RingInfoError,
    ring::inspect::{InspectError, RingInfo},
    sync::try_lock,
};

/// What was found is kept for so long at least.
const LEAST: Duration = Duration::from_secs(1);
/// So many times as long as looking took.
const TIMES: u32 = 9;
/// And for so long at most.
const MOST: Duration = Duration::from_mins(1);

/// The last look.
#[derive(Debug, Default)]
pub struct RingLook(Mutex<Option<Kept>>);

#[derive(Debug)]
struct Kept {
    found: Result<RingInfo, String>,
    until: Duration,
}

impl RingLook {
    /// What was found a moment ago, or is found now. One looks at a time. `now` is the time since an arbitrary, fixed start.
    pub fn look(
        &self,
        now: impl Fn() -> Duration,
        look: impl FnOnce() -> Result<RingInfo, InspectError>,
    ) -> Result<RingInfo, RingInfoError> {
        let mut kept = try_lock(&self.0).ok_or(RingInfoError::Busy)?;
        let began = now();
        if let Some(Kept { found, until }) = &*kept
            && began < *until
        {
            return found.clone().map_err(RingInfoError::Kept);
        }
        let found = look();
        let ended = now();
        let keep = (ended.saturating_sub(began) * TIMES).clamp(LEAST, MOST);
        let copy = found.as_ref().map(RingInfo::clone).map_err(ToString::to_string);
        *kept = Some(Kept { found: copy, until: ended + keep });
        Ok(found?)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, io};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Looks once that long, asked each `every` for an hour; the share of the time spent on it.
    fn share(took: Duration, every: Duration) -> f64 {
        let (ring, now, spent) = (RingLook::default(), Cell::new(Duration::ZERO), Cell::new(Duration::ZERO));
        while now.get() < SECOND * 3_600 {
            let looked = ring.look(
                || now.get(),
                || {
                    now.set(now.get() + took);
                    spent.set(spent.get() + took);
                    Ok(RingInfo::default())
                },
            );
            assert!(looked.is_ok());
            now.set(now.get() + every);
        }
        spent.get().as_secs_f64() / now.get().as_secs_f64()
    }

    #[test]
    fn asking_without_a_pause_costs_a_tenth_of_a_core() {
        let millisecond = Duration::from_millis(1);
        for took in [millisecond, millisecond * 100, SECOND, SECOND * 5] {
            assert!(share(took, millisecond) < 0.101, "{took:?}: {}", share(took, millisecond));
        }
    }

    #[test]
    fn what_was_found_is_told_for_a_second_and_errors_are_too() {
        let (ring, now) = (RingLook::default(), Cell::new(SECOND));
        let found = |records: u64| move || Ok(RingInfo { records, ..RingInfo::default() });
        let records = |info: Result<RingInfo, RingInfoError>| info.unwrap().records;
        assert_eq!(records(ring.look(|| now.get(), found(1))), 1);
        now.set((SECOND * 2).saturating_sub(Duration::from_millis(1)));
        assert_eq!(records(ring.look(|| now.get(), found(2))), 1);
        now.set(SECOND * 2);
        assert_eq!(records(ring.look(|| now.get(), found(2))), 2);
        now.set(SECOND * 3);
        let broken = || Err(InspectError::Io { path: "/ring".into(), source: io::Error::other("broken") });
        assert!(matches!(ring.look(|| now.get(), broken), Err(RingInfoError::Inspect(_))));
        assert!(matches!(ring.look(|| now.get(), found(3)), Err(RingInfoError::Kept(why)) if why.contains("broken")));
    }
}
