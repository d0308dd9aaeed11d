//! Rows that were held back go on, once their time is known or others need the room (docs/ring-format.md, section "Rows held back").

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use super::boots::Boots;
use crate::{
    clock::{BootId, RELEASED},
    ingest::{Came, Ingest, Released},
    marks::{Mark, Pos, Seq},
    point::{Received, Timestamp},
    ring::{Kind, ReadError, Ring},
};

/// How often it is looked at while rows are held.
pub const PERIOD: Duration = Duration::from_millis(250);
/// Most bytes that are released before it is waited until they are durable; in a small ring fewer.
const BATCH_BYTES: u64 = 1 << 20;
/// So much before the next boot began a boot's last row is put whose time is not known: a row may be this far behind its receipt.
const BEFORE_NEXT: Duration = Duration::from_secs(10);
/// Boots with held rows that are told apart; older ones are taken for one with the oldest of these.
const MAX_BOOTS: usize = 1024;

/// Records that are released and not yet known to be durable.
#[derive(Debug, Clone, Copy)]
struct Batch {
    last: Seq,
    rows: u64,
    /// Behind the last held record among them.
    next: Mark,
    /// Behind the last release.
    end: Pos,
}

/// Releases held rows in their order.
#[derive(Debug)]
pub struct HeldRows {
    /// The newest time known when the daemon started.
    newest: Timestamp,
    batch: Option<Batch>,
    /// When boots began at the latest that never learnt it; worked out once the present boot's time is known.
    bounds: Option<HashMap<BootId, Timestamp>>,
    /// The journal is told once of each.
    told: [bool; 3],
}

impl HeldRows {
    /// Of a ring whose newest time is `newest`.
    pub fn new(newest: Timestamp) -> Self {
        Self { newest, batch: None, bounds: None, told: [false; 3] }
    }

    /// Releases what may be released now, some of it; to be called again after [`PERIOD`] while rows are held.
    pub fn turn(&mut self, ring: &Ring, ingest: &Ingest, boots: &Boots, now: Received) {
        if let Some(Batch { last, rows, next, end }) = self.batch {
            // What is released is nowhere durable so far: the tail must not pass what held it.
            if ring.marks().durable.pos < end {
                return;
            }
            ring.released(last, rows, next);
            self.batch = None;
        }
        let Some((from, released_upto)) = ring.held() else {
            self.bounds = None;
            return;
        };
        let known = boots.durable(ring);
        // No row of this boot may come in behind the release of a later one.
        let present = known.get(&boots.present()).copied().filter(|_| ingest.trusts_clock(now));
        let result = match present {
            Some(began) if self.bounds.is_none() => last_of_boots(ring, from, released_upto).map(|boots| {
                self.bounds = Some(bounds(&boots, &known, began));
            }),
            _ => Ok(()),
        };
        let result = result.and_then(|()| {
            let newest = known.values().copied().fold(self.newest.max(RELEASED), Timestamp::max);
            let times = Times { known, bounds: self.bounds.clone(), crowded: ring.is_crowded().then_some(newest) };
            self.release(ring, ingest, &times, (from, released_upto), now)
        });
        if let Err(error) = result {
            self.tell(2, || tracing::error!(%error, "rows that are held back cannot be released"));
        }
    }

    fn release(
        &mut self,
        ring: &Ring,
        ingest: &Ingest,
        times: &Times,
        (from, released_upto): (Mark, Seq),
        now: Received,
    ) -> Result<(), String> {
        let most = BATCH_BYTES.min(ring.capacity_bytes() / 16);
        let mut reader = ring.reader(from);
        let mut bytes = 0;
        while bytes < most {
            let record = match reader.next_with(Pos(u64::MAX), |kind, _| kind == Kind::Held) {
                Ok(Some(record)) => record,
                Ok(None) => return Ok(()),
                Err(error) => return Err(error.to_string()),
            };
            if record.kind != Kind::Held || record.seq <= released_upto {
                continue;
            }
            let Some(came) = record.boot.and_then(|boot| times.of(boot, record.received.since_boot_ns)) else {
                return Ok(());
            };
            let end = match ingest.release(&record, came, now) {
                Released::At(end) => end,
                Released::Full => return Ok(()),
                Released::Failed(error) => return Err(format!("record {}: {error}", record.seq)),
            };
            let rows = self.batch.map_or(0, |batch| batch.rows) + u64::from(record.rows);
            self.batch = Some(Batch { last: record.seq, rows, next: record.end, end });
            bytes += record.end.pos.0 - record.mark.pos.0;
            if came.is_bound {
                self.tell(1, || tracing::warn!("rows whose time of receipt is not known go on with the best bound known; they are counted as untimed"));
            } else {
                self.tell(0, || tracing::info!("the clock is right; rows that were held back go on with their times"));
            }
        }
        Ok(())
    }

    fn tell(&mut self, what: usize, tell: impl FnOnce()) {
        if !std::mem::replace(&mut self.told[what], true) {
            tell();
        }
    }
}

/// What is known of the time of held rows.
struct Times {
    /// When boots began.
    known: HashMap<BootId, Timestamp>,
    /// When others began at the latest; once the present one's time is known.
    bounds: Option<HashMap<BootId, Timestamp>>,
    /// Where rows have to go on whatever is known: a time before them.
    crowded: Option<Timestamp>,
}

impl Times {
    /// When something came that long after a boot began; none where that is to be waited for.
    fn of(&self, boot: BootId, since_boot_ns: u64) -> Option<Came> {
        let since = Duration::from_nanos(since_boot_ns);
        if let Some(began) = self.known.get(&boot) {
            return Some(Came { at: *began + since, is_bound: false });
        }
        let bound = self.bounds.as_ref().and_then(|bounds| bounds.get(&boot)).copied();
        Some(Came { at: bound.or(self.crowded)? + since, is_bound: true })
    }
}

/// The boots of held records in their order, each with the time since boot of its last one.
fn last_of_boots(ring: &Ring, from: Mark, released_upto: Seq) -> Result<Vec<(BootId, u64)>, String> {
    let mut boots: VecDeque<(BootId, u64)> = VecDeque::new();
    let mut reader = ring.reader(from);
    loop {
        match reader.next_with(Pos(u64::MAX), |kind, _| kind == Kind::Held) {
            Ok(Some(record)) if record.seq > released_upto => {
                let Some(boot) = record.boot else { continue };
                let since_ns = record.received.since_boot_ns;
                match boots.back_mut() {
                    Some((last, last_ns)) if *last == boot => *last_ns = since_ns.max(*last_ns),
                    _ => boots.push_back((boot, since_ns)),
                }
                if boots.len() > MAX_BOOTS {
                    boots.pop_front();
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok(boots.into()),
            Err(error @ ReadError::Overtaken { .. }) => return Err(error.to_string()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// When boots began at the latest that never learnt it: each ended before the next one began, the last one before the present one.
fn bounds(
    boots: &[(BootId, u64)],
    known: &HashMap<BootId, Timestamp>,
    present: Timestamp,
) -> HashMap<BootId, Timestamp> {
    let mut bounds = HashMap::new();
    let mut next = present;
    for (boot, last_ns) in boots.iter().rev() {
        next = known.get(boot).copied().unwrap_or_else(|| {
            let lasted = Duration::from_nanos(*last_ns) + BEFORE_NEXT;
            let began = Timestamp(next.0.saturating_sub(i64::try_from(lasted.as_nanos()).unwrap_or(i64::MAX)));
            bounds.insert(*boot, began);
            began
        });
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * S)
    }

    #[test]
    fn boots_that_never_learnt_their_time_end_before_the_next_one_begins() {
        let [a, b, c, d] = [1, 2, 3, 4].map(|n| [n; 16]);
        let known = HashMap::from([(c, at(5_000)), (d, at(9_000))]);
        let boots = [(a, 100 * S as u64), (b, 50 * S as u64), (c, 10 * S as u64), (d, 1)];
        let bounds = bounds(&boots, &known, at(9_000));
        assert_eq!(bounds, HashMap::from([(b, at(5_000 - 60)), (a, at(5_000 - 60 - 110))]));
        let times = Times { known, bounds: Some(bounds), crowded: None };
        let of = |boot, seconds: u64| times.of(boot, seconds * S as u64).map(|came| (came.at, came.is_bound));
        assert_eq!(of(c, 10), Some((at(5_010), false)));
        assert_eq!(of(b, 50), Some((at(4_990), true)), "the last one");
        assert_eq!(of([9; 16], 1), None);
    }

    #[test]
    fn without_the_time_rows_wait_until_others_need_the_room() {
        let mut times = Times { known: HashMap::new(), bounds: None, crowded: None };
        assert_eq!(times.of([1; 16], 7), None);
        times.crowded = Some(at(100));
        assert_eq!(times.of([1; 16], 7 * S as u64), Some(Came { at: at(107), is_bound: true }));
    }
}
