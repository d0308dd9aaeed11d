//! Opens what a crash left, and holds it against the model.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex},
};

use fastrand::Rng;

use super::{
    super::{
        Kind, Record,
        headers::find_header,
        held::Held,
        layout::{DATA_START, Header, SECTOR_BYTES},
        log::Log,
        marks::{Mark, Seq},
        open::{RecoveryReport, Resumed, recover_log},
    },
    media::{CrashMedia, Leaves},
    model::{Entry, Kept, Model},
};
use crate::clock::{SharedClock, SimulatedClock};

/// What is wrong with an image, in words.
pub type Verdict<T = ()> = Result<T, String>;

/// What recovery made of an image.
pub struct Opened {
    /// The medium.
    pub media: Arc<CrashMedia>,
    /// The log.
    pub log: Arc<Log>,
    /// Its outcome and safe mark.
    pub outcome: (super::super::ledger::Outcome, Mark),
    /// The header that was recovered by.
    pub header: Header,
    /// The report.
    pub report: RecoveryReport,
    /// The intact records, in order.
    pub found: BTreeMap<Seq, Found>,
}

/// A record as it was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    body: Vec<u8>,
    rows: u16,
    table_hash: u32,
    last: bool,
    kind: Kind,
    released: Option<Seq>,
}

impl Found {
    fn is(&self, entry: &Entry) -> bool {
        (self.kind, self.table_hash, self.rows, self.last) == (entry.kind, entry.table_hash, entry.rows, entry.last)
            && self.body == entry.body
            && self.released == entry.releases
    }
}

fn clock() -> SharedClock {
    Arc::new(SimulatedClock::default())
}

/// Recovers an image. Where `crash_at` is given, what a crash at that point of the recovery leaves comes back too.
pub fn open(media: Arc<CrashMedia>, crash_at: Option<(usize, u64)>) -> Verdict<(Opened, Option<Vec<u8>>)> {
    let second = Arc::new(Mutex::new(None));
    if let Some((point, seed)) = crash_at {
        let (second, mut points) = (Arc::clone(&second), 0);
        media.watch(Some(Box::new(move |media| {
            if points == point
                && let Ok(mut second) = second.lock()
            {
                *second = Some(media.after_power_cut(Leaves::Any { garbage_in: 64 }, &mut Rng::with_seed(seed)));
            }
            points += 1;
        })));
    }
    let header = match find_header(&*media) {
        Ok(Ok(found)) => found.header,
        other => return Err(format!("no header: {other:?}")),
    };
    let (mut found, mut twice) = (BTreeMap::new(), None);
    let mut visit = |record: &Record<'_>| {
        let Record { seq, rows, table_hash, last, kind, released, .. } = *record;
        if found.insert(seq, Found { body: record.body.to_vec(), rows, table_hash, last, kind, released }).is_some() {
            twice = Some(seq);
        }
    };
    let mut report = RecoveryReport::default();
    let recovered = recover_log(Box::new(Arc::clone(&media)), &clock(), &mut report, &mut visit, &mut |_| {});
    media.watch(None);
    let Resumed { log, outcome, safe, .. } = recovered.map_err(|error| format!("recovery failed: {error}"))?;
    if let Some(seq) = twice {
        return Err(format!("record {seq} was read twice"));
    }
    let second = second.lock().map_err(|_| "a check panicked")?.take();
    Ok((Opened { media, log, outcome: (outcome, safe), header, report, found }, second))
}

fn equal<T: PartialEq + Debug>(what: &str, found: &T, wanted: &T) -> Verdict {
    if found == wanted { Ok(()) } else { Err(format!("{what}: {found:?} instead of {wanted:?}")) }
}

fn holds(condition: bool, what: impl FnOnce() -> String) -> Verdict {
    if condition { Ok(()) } else { Err(what()) }
}

impl Opened {
    /// Everything that must be true on a medium that keeps its word.
    pub fn check(&self, model: &Model) -> Verdict {
        let (tail, head, acked) = (self.log.tail().seq, self.log.appended().seq, model.acked());
        holds(tail <= model.tail, || format!("the tail is at {tail}, and was never asked to pass {}", model.tail))?;
        holds(head > acked, || format!("acknowledged up to {acked}, found up to {head}"))?;
        let numbers: Vec<Seq> = self.found.keys().copied().collect();
        equal("records in order from tail to head", &numbers, &(tail.0..head.0).map(Seq).collect())?;
        self.nothing_is_invented(model, |_| false)?;
        holds(self.report.gaps.is_empty(), || format!("damage on an intact medium: {:?}", self.report.gaps))?;
        equal("rows lost", &self.report.lost_rows, &0)?;
        let whole = |before: Seq| before.0 == 1 || model.entry(Seq(before.0 - 1)).is_some_and(|entry| entry.last);
        holds(whole(tail) && whole(head), || format!("a message is cut at {tail} or {head}"))?;
        self.check_kept(model)?;
        self.check_held(model)?;
        self.check_ledger(model)
    }

    /// Held rows that are acknowledged are there until their release is.
    fn check_held(&self, model: &Model) -> Verdict {
        let (head, acked) = (self.log.appended().seq, model.acked());
        let held = model.held_before(head);
        for (seq, _) in held.iter().filter(|(seq, _)| *seq <= acked) {
            let there = self.found.contains_key(seq) && self.log.with_held(|held| held.holds(*seq));
            holds(there, || format!("record {seq} was held, is not released, and is gone"))?;
        }
        equal("rows held", &self.log.with_held(Held::rows), &held.iter().map(|(_, rows)| rows).sum())
    }

    /// Rows whose fate is open, of the records that were found.
    fn pending(&self, settled: Seq) -> u64 {
        let released = self.found.values().filter_map(|found| found.released).max().unwrap_or_default();
        let waits = |(seq, found): &(&Seq, &Found)| match found.kind {
            Kind::Rows => **seq >= settled,
            Kind::Held => **seq > released,
            _ => false,
        };
        self.found.iter().filter(waits).map(|(_, found)| u64::from(found.rows)).sum()
    }

    /// What outlives the tail is there as far as it is acknowledged, and counts are those of the records that are there.
    fn check_kept(&self, model: &Model) -> Verdict {
        let found = self.log.with_states(Kept::of);
        let (counts, entries) = model.may_be_kept(self.log.appended().seq);
        let acked = model.notes_acked();
        let without_zeros = |kept: &Kept| {
            let counts = kept.counts.iter().filter(|(_, counts)| !counts.is_zero());
            counts.map(|(id, counts)| (*id, *counts)).collect::<BTreeMap<_, _>>()
        };
        holds(counts.iter().any(|kept| without_zeros(kept) == found.counts), || {
            format!("counts are {:?}; acknowledged up to note {acked}: one of {counts:?}", found.counts)
        })?;
        holds(entries.iter().any(|kept| kept.entries == found.entries), || {
            format!("the state is {:?}; acknowledged up to note {acked}: one of {entries:?}", found.entries)
        })
    }

    /// Whatever was read was written: byte for byte, under its number. Excused are records whose place a sync has lied about.
    fn nothing_is_invented(&self, model: &Model, excused: impl Fn(Seq) -> bool) -> Verdict {
        for (seq, found) in &self.found {
            let same = model.entry(*seq).is_some_and(|entry| found.is(entry));
            holds(same || excused(*seq), || format!("record {seq} is not what was appended under its number"))?;
        }
        Ok(())
    }

    fn check_ledger(&self, model: &Model) -> Verdict {
        let head = self.log.appended().seq;
        let (outcome, safe) = self.outcome;
        let mut intake = self.log.intake();
        let (counted, acked) = (intake.refused_messages, model.refused_acked());
        holds(counted >= acked, || format!("{acked} refused messages were acknowledged, {counted} are counted"))?;
        self.refusals_are_those_of(model)?;
        (intake.refused_messages, intake.refused_rows) = (0, 0);
        equal("intake", &intake, &model.intake_before(head))?;
        let settled = outcome.settled.seq;
        holds(settled <= model.settled, || format!("settled {settled}, confirmed {}", model.settled))?;
        holds(safe <= outcome.settled, || format!("safe {safe:?} is beyond settled {:?}", outcome.settled))?;
        holds(safe.seq <= model.safe, || format!("safe {}, confirmed {}", safe.seq, model.safe))?;
        let wanted = model.outcome_before(settled);
        let counts = |o: super::super::ledger::Outcome| (o.stored, o.quarantined, o.dropped);
        equal("stored, quarantined and dropped", &counts(outcome), &counts(wanted))?;
        let pending = self.pending(settled);
        equal("rows = pending + stored + quarantined + dropped", &intake.rows, &(pending + outcome.rows()))
    }

    /// The refused messages that are counted are the first ones there were, with their rows.
    fn refusals_are_those_of(&self, model: &Model) -> Verdict {
        let intake = self.log.intake();
        let Some(counted) = model.refused.get(..intake.refused_messages as usize) else {
            return Err(format!("{} refused messages of {} are counted", intake.refused_messages, model.refused.len()));
        };
        equal("rows refused", &intake.refused_rows, &counted.iter().sum())
    }

    /// Everything that must be true after sectors were damaged that had been durable, or after a sync has lied.
    pub fn check_damaged(&self, model: &Model, harm: &Harm) -> Verdict {
        let (tail, head) = (self.log.tail().seq, self.log.appended().seq);
        let intake = self.log.intake();
        // Where the header is lost, a commit of an earlier life may tell of a message that was refused and not acknowledged.
        let ever = intake.refused_messages <= model.refused_ever.0 && intake.refused_rows <= model.refused_ever.1;
        holds(ever, || format!("{intake:?}, refused ever: {:?}", model.refused_ever))?;
        self.nothing_is_invented(model, |seq| harm.unsynced || model.lied.contains(&seq))?;
        let in_gap = |seq: Seq| self.report.gaps.iter().any(|gap| (gap.first..=gap.last).contains(&seq));
        for seq in (tail.0..head.0).map(Seq) {
            let known = self.found.contains_key(&seq) != in_gap(seq);
            holds(known, || format!("record {seq} is neither read nor reported, or both: {:?}", self.report.gaps))?;
        }
        let vouched = harm.vouched(model, self.header.durable.pos.0);
        for (seq, entry) in (model.tail.0..=model.acked().0).filter_map(|seq| Some((Seq(seq), model.entry(Seq(seq))?)))
        {
            // Where both slots and the newest commit are damaged, the tail that is left to go by may be an older one, and the log ends a lap
            // behind it.
            let limit = self.log.tail().pos.0 + self.header.capacity;
            // From an older tail on there is no unbroken way to what nothing vouches for: space behind it is used again.
            let limit = if self.header.tail.seq < model.tail { limit.min(vouched) } else { limit };
            if !harm.unsynced && !model.lied.contains(&seq) && harm.spares(model, seq, vouched, limit) {
                let there = self.found.contains_key(&seq);
                holds(there, || {
                    let (gaps, header) = (&self.report.gaps, self.report.header);
                    let place = entry.place;
                    format!(
                        "record {seq} at {place:?} is intact and was not read (vouched {vouched}, tail {tail}, head {head}, header from {header:?}, gaps {gaps:?})"
                    )
                })?;
            }
        }
        let (outcome, _) = self.outcome;
        let pending = self.pending(outcome.settled.seq);
        let rows = self.log.intake().rows;
        equal("rows = pending + stored + quarantined + dropped", &rows, &(pending + outcome.rows()))
    }
}

/// Sectors that were damaged.
#[derive(Debug, Clone, Default)]
pub struct Harm {
    pub sectors: Vec<u64>,
    pub capacity: u64,
    /// Whether nothing was ever synced, so that a power cut may take anything.
    pub unsynced: bool,
}

impl Harm {
    /// Damages some sectors of an image: flipped bits, garbage or zeros, in the header slots or the data.
    pub fn inflict(image: &mut [u8], rng: &mut Rng) -> Self {
        let capacity = image.len() as u64 - DATA_START;
        let mut harm = Self { capacity, ..Self::default() };
        let stretches = rng.usize(1..=3);
        for _ in 0..stretches {
            let total = image.len() as u64 / SECTOR_BYTES;
            let (first, count) = match rng.u8(0..6) {
                0 => (0, 1),
                1 => (8, 1),
                _ => (rng.u64(16..total), rng.u64(1..5)),
            };
            let kind = rng.u8(0..3);
            for sector in first..(first + count).min(total) {
                let bytes = &mut image[(sector * SECTOR_BYTES) as usize..][..SECTOR_BYTES as usize];
                let before = bytes.to_vec();
                match kind {
                    0 => bytes[rng.usize(..bytes.len())] ^= 1 << rng.u8(0..8),
                    1 => rng.fill(bytes),
                    _ => bytes.fill(0),
                }
                if before != bytes {
                    harm.sectors.push(sector);
                }
            }
        }
        harm
    }

    fn touches(&self, position: u64, length: u64) -> bool {
        let to_sector = |pos: u64| (DATA_START + pos % self.capacity.max(1)) / SECTOR_BYTES;
        length > 0
            && !self.sectors.is_empty()
            && (to_sector(position)..=to_sector(position + length - 1)).any(|sector| self.sectors.contains(&sector))
    }

    /// Whether some sector between two positions is damaged; they may be up to a lap apart.
    fn between(&self, from: u64, to: u64) -> bool {
        let (first, last) = (from / SECTOR_BYTES, to.div_ceil(SECTOR_BYTES));
        (first..last).any(|sector| self.touches(sector * SECTOR_BYTES, 1))
    }

    /// Up to where a commit whose group is whole, or the header that was used, vouches.
    fn vouched(&self, model: &Model, header: u64) -> u64 {
        let acked_upto = model.entry(model.acked()).map_or(0, |entry| entry.place.0 + entry.place.1);
        let whole =
            model.groups.iter().filter(|group| group.to <= acked_upto.next_multiple_of(SECTOR_BYTES) + SECTOR_BYTES);
        let whole = whole.filter(|group| !self.between(group.from, group.to));
        whole.map(|group| group.vouches).max().unwrap_or(0).max(header)
    }

    /// Whether recovery has no reason to be without the record: its message is whole, and what is before it is, or is vouched for.
    fn spares(&self, model: &Model, seq: Seq, vouched: u64, limit: u64) -> bool {
        let entry = |seq: u64| model.entry(Seq(seq));
        let mut first = seq.0;
        while first > 1 && entry(first - 1).is_some_and(|before| !before.last) {
            first -= 1;
        }
        let mut last = seq.0;
        while entry(last).is_some_and(|entry| !entry.last) {
            last += 1;
        }
        let Some((start, end)) = entry(first).zip(entry(last)).map(|(a, b)| (a.place.0, b.place.0 + b.place.1)) else {
            return false;
        };
        end <= limit && !self.between(start, end) && (end <= vouched || !self.between(vouched.min(start), end))
    }
}

/// Whether an image has a header or a commit to recover by.
pub fn is_a_ring(media: &CrashMedia) -> bool {
    matches!(find_header(media), Ok(Ok(_)))
}
