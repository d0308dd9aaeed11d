//! Rows that were held back go on, once their time is known or others need the room
//! (docs/ring-format.md, section "Rows held back").

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
    ring::{Kind, Ring},
};

/// How often it is looked at while rows are held.
const PERIOD: Duration = Duration::from_millis(250);
/// How often while released ones are to become durable, before others follow.
const SYNC_PERIOD: Duration = Duration::from_millis(20);
/// Most bytes that are released before it is waited until they are durable; in a small ring fewer.
/// With [`SYNC_PERIOD`] it is more than comes in meanwhile, so that nobody has to wait for room.
const BATCH_BYTES: u64 = 4 << 20;
/// So much before the next boot began a boot's last row is put whose time is not known: a row may
/// be this far behind its receipt.
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
    /// When boots began at the latest that never learnt it; worked out once the present boot's time
    /// is known.
    bounds: Option<HashMap<BootId, Timestamp>>,
    /// The journal is told once of each.
    told: [bool; 3],
}

impl HeldRows {
    /// Of a ring whose newest time is `newest`.
    pub fn new(newest: Timestamp) -> Self {
        Self { newest, batch: None, bounds: None, told: [false; 3] }
    }

    /// When to look again; none while nothing is held.
    pub fn pause(&self, ring: &Ring) -> Option<Duration> {
        let pause = if self.batch.is_some() { SYNC_PERIOD } else { PERIOD };
        ring.held().map(|_| pause)
    }

    /// Releases what may be released now, some of it.
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
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// When boots began at the latest that never learnt it: each ended before the next one began, the
/// last one before the present one.
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
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use super::*;
    use crate::{
        clock::{ClockTrust, SharedClock, SimulatedClock},
        entry::{Rows, encode_rows},
        ingest::{Incoming, Intake, Offer},
        latest::Latest,
        observe::heartbeat::Heartbeats,
        point::Row,
        ring::{Part, media::MemoryMedia, still::Still, table_hash},
        settings::{Latest as LatestSettings, Ring as RingSettings, Settings, Source},
    };

    const S: i64 = 1_000_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * S)
    }

    fn ring() -> Still {
        let media = MemoryMedia::with(vec![0; 1 << 20]);
        crate::ring::format(&media, 1).unwrap();
        let clock: SharedClock = Arc::new(SimulatedClock::default());
        let heartbeat = Heartbeats::new(Arc::clone(&clock)).register("committer");
        Still::open(Box::new(media), &RingSettings::default(), Duration::ZERO, clock, heartbeat).unwrap()
    }

    /// A way in with one source, whose clock is kept once that is said.
    fn ingest(ring: &Ring) -> (Ingest, Arc<AtomicBool>) {
        let mut settings = Settings::default();
        let source: Source = toml::from_str("topic = \"t/{d}\"\ntable = \"t\"").unwrap();
        settings.source.insert("t".into(), source);
        let kept = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&kept);
        let trust = ClockTrust::told_by(Box::new(move || Some(told.load(Ordering::Relaxed))));
        let latest = Arc::new(Latest::new(&LatestSettings::default()));
        (Ingest::new(&settings, ring.clone(), latest, trust).unwrap(), kept)
    }

    /// A row that another boot has left, so long after it began.
    fn left_by(ring: &Ring, boot: BootId, seconds: i64) {
        let mut body = boot.to_vec();
        encode_rows("t", &[Row { time: Some(at(seconds)), ..Row::default() }], &mut body).unwrap();
        let part = Part { kind: Kind::Held, table_hash: table_hash("t"), rows: 1, body: &body, ..Part::default() };
        ring.append(&[part], Received { wall: at(seconds), since_boot_ns: (seconds * S) as u64 }).unwrap();
    }

    /// The rows that lanes are given, as their times in seconds and whether those are bounds.
    fn sent(ring: &Ring) -> Vec<(i64, bool)> {
        let mut reader = ring.reader(ring.marks().tail);
        let mut sent = Vec::new();
        while let Some(record) = reader.next().unwrap() {
            if record.kind == Kind::Rows {
                let rows = Rows::decode(record.body).unwrap().map(Result::unwrap);
                sent.extend(rows.map(|row| (row.time.0 / S, row.notes.untimed)));
            }
        }
        sent
    }

    #[test]
    fn held_rows_go_on_once_the_boot_is_remembered_durably() {
        const BEGAN: i64 = 1_800_000_000;
        let mut still = ring();
        let ring = still.ring.clone();
        let (ingest, kept) = ingest(&ring);
        let (mut boots, mut held) = (Boots::new(), HeldRows::new(Timestamp(0)));
        left_by(&ring, [9; 16], 100);
        let not_set = Received { wall: at(5), since_boot_ns: 5 * S as u64 };
        let message = Incoming { topic: "t/a", payload: b"{\"x\":1}", received: not_set, ..Incoming::default() };
        assert!(matches!(ingest.offer(message), Offer::Accepted(_)));
        still.commit().unwrap();
        let mut turn = |still: &mut Still, now: Received| {
            boots.remember(&ring, now, ingest.trusts_clock(now));
            held.turn(&ring, &ingest, &boots, now);
            let appended = ring.marks().appended.seq.0 - 1;
            still.commit().unwrap();
            (appended, ring.held_rows())
        };
        assert_eq!(turn(&mut still, not_set), (2, 2));
        let at_seconds = |seconds: i64| Received { wall: at(BEGAN + seconds), since_boot_ns: (seconds * S) as u64 };
        assert_eq!(turn(&mut still, at_seconds(10)), (2, 2), "set, and not known to be right");
        kept.store(true, Ordering::Relaxed);
        assert_eq!(turn(&mut still, at_seconds(12)), (2, 2), "its figure is to be durable first");
        assert_eq!(turn(&mut still, at_seconds(14)), (4, 2), "and so are the rows with their times");
        assert_eq!(turn(&mut still, at_seconds(16)), (4, 0));
        assert_eq!(sent(&ring), [(BEGAN - 10, true), (BEGAN + 5, false)]);
        assert_eq!((ring.ledger().rows, ring.ledger().pending), (2, 2));
    }

    #[test]
    fn rows_that_take_too_much_room_go_with_a_bound() {
        const NEWEST: i64 = 1_790_000_000;
        let mut still = ring();
        let ring = still.ring.clone();
        let (ingest, _) = ingest(&ring);
        let (boots, mut held) = (Boots::new(), HeldRows::new(at(NEWEST)));
        let not_set = Received { wall: at(5), since_boot_ns: 5 * S as u64 };
        let mut seconds = 0;
        while !ring.is_crowded() {
            held.turn(&ring, &ingest, &boots, not_set);
            left_by(&ring, boots.present(), seconds);
            seconds += 1;
            still.commit().unwrap();
        }
        assert_eq!(ring.held_rows(), seconds as u64, "none has gone before");
        for _ in 0..20 {
            held.turn(&ring, &ingest, &boots, not_set);
            still.commit().unwrap();
        }
        let sent = sent(&ring);
        assert!(!ring.is_crowded() && !sent.is_empty());
        assert_eq!(ring.held_rows(), seconds as u64 - sent.len() as u64);
        assert!(sent.iter().zip(0..).all(|(sent, second)| *sent == (NEWEST + second, true)), "in their order");
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
