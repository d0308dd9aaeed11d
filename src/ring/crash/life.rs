//! A ring's lives: random operations on the real log and settlement, mirrored by the model, with power cuts at every point.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fastrand::Rng;

use super::{
    super::{
        append::{AppendError, Appended, Part},
        layout::{
            BOOT_ID_BYTES, EXTENSION_BYTES, Geometry, Kind, RECORD_HEADER_BYTES, SECTOR_BYTES, data_record_bytes,
        },
        log::Log,
        marks::{Mark, Pos, Seq},
        reader::Reader,
        settle::Settlement,
        state::StateKind,
    },
    check::{self, Opened, Verdict},
    examine::look,
    media::{CrashMedia, Leaves, NextSync},
    model::{Group, Kept, Model, Note, Piece, SOURCES},
    start::new_ring,
};
use crate::{
    lanes::Lanes,
    point::Received,
    sync::lock,
    tally::{Counts, SourceId, Tally},
};

/// Lanes of the simulated flusher.
const LANES: usize = 2;
/// The resend window, in the simulated time of one operation each.
const WINDOW: Duration = Duration::from_secs(8);
const TICK: Duration = Duration::from_secs(1);

/// What a run may do to its ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// The medium keeps its word.
    Honest,
    /// Durable sectors are damaged.
    Rot,
    /// A sync lies.
    Lies,
    /// Nothing is synced and everything acknowledged at once, as in `memory` mode: only the process dies.
    Memory,
}

/// How a run goes.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What may happen.
    pub profile: Profile,
    /// Lives in a run.
    pub lives: usize,
    /// Images taken at each point at which a crash leaves something new.
    pub images_a_point: usize,
    /// Whether all records are of one length and kind, so that leftovers of an earlier life fit where new ones go.
    pub alike: bool,
}

/// What runs share with the checks that happen inside them.
pub struct Stage {
    /// What the ring should hold.
    pub model: Model,
    /// Every choice of the run.
    pub rng: Rng,
    /// How the run goes.
    pub plan: Plan,
    /// Images checked so far.
    pub images: u64,
    /// The first thing that was wrong.
    pub failure: Option<String>,
    /// Bytes of a page of this machine.
    pub page_bytes: u64,
}

/// Shared by a run and the checks inside it.
pub type Shared = Arc<Mutex<Stage>>;

/// One run from one seed: the number of images checked, and the first thing that was wrong, if any.
pub fn run(seed: u64, plan: Plan) -> (u64, Verdict) {
    let mut rng = Rng::with_seed(seed);
    // Writeback by pages larger than the format's is what other machines do.
    let page_bytes = *[512, 4096, 4096, 16 << 10, 64 << 10].get(rng.usize(..5)).unwrap_or(&4096);
    let image = new_ring(&mut rng, plan.profile == Profile::Honest);
    let stage = Stage {
        model: Model { tail: Seq(1), settled: Seq(1), safe: Seq(1), ..Model::default() },
        rng,
        plan,
        images: 0,
        failure: None,
        page_bytes,
    };
    let stage = Arc::new(Mutex::new(stage));
    let verdict = lives(&stage, image);
    let images = lock(&stage).images;
    (images, verdict)
}

fn lives(stage: &Shared, image: Vec<u8>) -> Verdict {
    let page_bytes = lock(stage).page_bytes;
    let mut media = Arc::new(CrashMedia::with(image, page_bytes));
    let lives = lock(stage).plan.lives;
    for _ in 0..lives {
        let opened = check::open(Arc::clone(&media), None)?.0;
        opened.check(&lock(stage).model)?;
        let mut life = Life::begin(stage, opened);
        let operations = lock(stage).rng.usize(0..60);
        for _ in 0..operations {
            if !life.step()? {
                break;
            }
        }
        let lied = lock(stage).model.has_lied;
        media = life.end()?;
        if lied {
            break;
        }
    }
    Ok(())
}

/// Between an opening and its end.
struct Life {
    stage: Shared,
    media: Arc<CrashMedia>,
    log: Arc<Log>,
    settlement: Settlement,
    /// The numbers of the sources, and that of none.
    sources: Vec<SourceId>,
    lanes: [Mark; LANES],
    now: Duration,
    /// When each settled mark was reached, and when the database was last vouched for, for the model's own idea of what is safe.
    settled_at: Vec<(Duration, Seq)>,
    /// A held record that is released, its rows, where others lie, and behind its release.
    releasing: Option<(Seq, u64, Mark, Pos)>,
    over: bool,
}

impl Life {
    fn begin(stage: &Shared, opened: Opened) -> Self {
        let Opened { media, log, outcome: (outcome, safe), .. } = opened;
        let mut settlement = Settlement::new(Arc::clone(&log), outcome, safe, WINDOW);
        settlement.set_lanes(LANES);
        let mut all = lock(stage);
        let head = log.appended();
        let kept = log.with_states(Kept::of);
        all.model.continue_from(head.seq, head.pos.0, outcome, log.intake().refused_messages, kept);
        let mut sources = log.register_sources(&SOURCES);
        sources.push(SourceId::NONE);
        all.model.log = Arc::downgrade(&log);
        for (index, entry) in all.model.entries.iter().enumerate().skip(outcome.settled.seq.0 as usize - 1) {
            if entry.set_aside > 0 {
                settlement.except(Seq(index as u64 + 1), entry.set_aside);
            }
        }
        drop(all);
        let life = Self {
            stage: Arc::clone(stage),
            sources,
            lanes: [outcome.settled; LANES],
            now: Duration::from_secs(1),
            settled_at: vec![(Duration::ZERO, outcome.settled.seq)],
            releasing: None,
            over: false,
            media,
            log,
            settlement,
        };
        let watched = Arc::clone(stage);
        life.media.watch(Some(Box::new(move |media| look(&watched, media))));
        life
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        lock(&self.stage)
    }

    /// One operation; false when the life is over.
    fn step(&mut self) -> Verdict<bool> {
        self.now += TICK;
        let pick = self.stage().rng.u8(0..100);
        match pick {
            0..=43 => self.append()?,
            44..=46 => self.note()?,
            47..=49 => self.set_state(),
            50..=67 => self.commit(NextSync::Works)?,
            68..=71 => self.release()?,
            72..=79 => self.settle()?,
            80..=83 => self.confirm(),
            84..=89 => self.free(false)?,
            90..=91 => self.free(true)?,
            92..=93 => self.refuse()?,
            94 => self.count_refusals()?,
            95 => self.too_large()?,
            96 if self.stage().plan.profile != Profile::Memory => self.commit(NextSync::Fails)?,
            97 if self.stage().plan.profile == Profile::Lies => self.commit(NextSync::Lies)?,
            _ => self.read_all()?,
        }
        let failure = self.stage().failure.take();
        failure.map_or(Ok(!self.over), Err)
    }

    /// The end: in order, by a kill, or by a power cut.
    fn end(mut self) -> Verdict<Arc<CrashMedia>> {
        let pick = self.stage().rng.u8(0..4);
        if pick == 0 && !self.over {
            self.settlement.publish(self.now);
            let closed = self.log.commit(true).and_then(|_| self.log.write_header(|header| header.clean = true));
            closed.map_err(|error| format!("closing failed: {error}"))?;
        }
        self.media.watch(None);
        if let Some(failure) = self.stage().failure.take() {
            return Err(failure);
        }
        let mut stage = self.stage();
        // What is acknowledged outlives the log that said so.
        (stage.model.acked, stage.model.refused_acked) = (stage.model.acked(), stage.model.refused_acked());
        stage.model.notes_acked = stage.model.notes_acked();
        if stage.plan.profile == Profile::Memory {
            stage.model.acked = Seq(self.log.appended().seq.0 - 1);
        }
        if pick < 2 || stage.plan.profile == Profile::Memory {
            return Ok(Arc::clone(&self.media));
        }
        let page_bytes = stage.page_bytes;
        let image = self.media.after_power_cut(Leaves::Any { garbage_in: 64 }, &mut stage.rng);
        Ok(Arc::new(CrashMedia::with(image, page_bytes)))
    }

    fn append(&mut self) -> Verdict {
        let parts = self.message();
        self.append_parts(&parts).map(drop)
    }

    /// Appends a message; none where there is no room for it.
    fn append_parts(&mut self, parts: &[Piece]) -> Verdict<Option<Appended>> {
        let Some(places) = self.places(parts) else { return Ok(None) };
        let before = {
            let mut stage = self.stage();
            let before = stage.model.entries.len();
            stage.model.push(parts.to_vec());
            for (entry, place) in stage.model.entries[before..].iter_mut().zip(places) {
                entry.place = place;
            }
            before
        };
        let bodies: Vec<Vec<u8>> = parts.iter().map(|piece| [&piece.front[..], &piece.body].concat()).collect();
        let records: Vec<Part<'_>> = parts
            .iter()
            .zip(&bodies)
            .map(|(piece, body)| Part {
                kind: piece.kind,
                source: piece.tally.source,
                table_hash: piece.table_hash,
                rows: piece.rows,
                body,
                releases: piece.releases.is_some(),
                counts: piece.bits,
                ..Part::default()
            })
            .collect();
        // A message comes from one source.
        let mut tally = parts.first().map(|piece| piece.tally).unwrap_or_default();
        parts.iter().skip(1).for_each(|piece| tally.counts.add(piece.tally.counts));
        match self.log.append(&records, Received::default(), tally) {
            Ok(appended) if appended.first.0 as usize == before + 1 => Ok(Some(appended)),
            Ok(appended) => Err(format!("record {} was appended as {}", before + 1, appended.first)),
            Err(AppendError::Full) => {
                self.stage().model.entries.truncate(before);
                self.free(false).map(|()| None)
            }
            Err(error) => Err(format!("an append failed: {error}")),
        }
    }

    fn message(&self) -> Vec<Piece> {
        let stage = &mut *self.stage();
        let rng = &mut stage.rng;
        let source = self.sources[rng.usize(..self.sources.len())];
        let piece = |kind, table_hash, rows, body, bits| {
            let tally = Tally { source, counts: Counts::from_bits(bits) };
            let front = if kind == Kind::Held { vec![7; BOOT_ID_BYTES] } else { Vec::new() };
            Piece { kind, table_hash, rows, front, body, releases: None, tally, bits }
        };
        let head = RECORD_HEADER_BYTES + EXTENSION_BYTES;
        if stage.plan.alike {
            // With its header it fills a sector.
            let mut body = vec![0; SECTOR_BYTES as usize - head];
            rng.fill(&mut body);
            return vec![piece(Kind::Rows, 1, 1, body, 0)];
        }
        let most = self.log.geometry().max_record() as usize - head - BOOT_ID_BYTES;
        let parts = if rng.u8(0..4) == 0 { rng.usize(2..4) } else { 1 };
        (0..parts)
            .map(|_| {
                let bytes = match rng.u8(0..10) {
                    0 => 0,
                    1 => rng.usize(..most.min(900)),
                    2 => most - rng.usize(..9),
                    _ => rng.usize(..140),
                };
                let mut body = vec![0; bytes];
                rng.fill(&mut body);
                let bits = if rng.u8(0..4) == 0 { rng.u8(0..64) } else { 0 };
                match rng.u8(0..12) {
                    0 => piece(Kind::DeadLetter, 0, 0, body, bits),
                    1 => piece(Kind::Clear, rng.u32(1..5), 0, body, bits),
                    2 => piece(Kind::Held, rng.u32(1..5), rng.u16(0..5), body, bits),
                    _ => piece(Kind::Rows, rng.u32(1..5), rng.u16(0..5), body, bits),
                }
            })
            .collect()
    }

    /// Where the parts will lie: position and length of each.
    fn places(&self, parts: &[Piece]) -> Option<Vec<(u64, u64)>> {
        let geometry: Geometry = self.log.geometry();
        let mut at = self.log.next_place();
        let places = parts.iter().map(|piece| {
            let bytes = data_record_bytes(piece.front.len() + piece.body.len());
            let place = geometry.place(at, bytes);
            at = place + bytes;
            (bytes <= geometry.max_record()).then_some((place, bytes))
        });
        places.collect()
    }

    /// The oldest held record is released; the log hears of it once that is durable.
    fn release(&mut self) -> Verdict {
        if let Some((seq, rows, next, end)) = self.releasing {
            if self.log.durable().pos >= end {
                self.log.release(seq, rows, next);
                self.releasing = None;
            }
            return Ok(());
        }
        let held = self.log.with_held(|held| Some((held.from()?, held.released_upto())));
        let Some((from, released_upto)) = held else { return Ok(()) };
        let mut reader = Reader::new(Arc::clone(&self.log), from);
        while let Some(record) = reader.next().map_err(|error| format!("held rows cannot be read: {error}"))? {
            if record.kind == Kind::Held && record.seq > released_upto {
                let piece = Piece {
                    kind: Kind::Rows,
                    table_hash: record.table_hash,
                    rows: record.rows,
                    front: record.seq.0.to_le_bytes().to_vec(),
                    body: record.body.to_vec(),
                    releases: Some(record.seq),
                    tally: Tally::default(),
                    bits: 0,
                };
                let (seq, rows, next) = (record.seq, u64::from(record.rows), record.end);
                self.releasing = self.append_parts(&[piece])?.map(|appended| (seq, rows, next, appended.end));
                return Ok(());
            }
        }
        Ok(())
    }

    /// A message that is counted and leaves no record.
    fn note(&mut self) -> Verdict {
        let tally = {
            let rng = &mut self.stage().rng;
            Tally { source: self.sources[rng.usize(..self.sources.len())], counts: Counts::from_bits(rng.u8(1..64)) }
        };
        match self.log.note(tally) {
            Ok(number) => {
                self.stage().model.notes.push((number, Note::Count(tally)));
                Ok(())
            }
            Err(AppendError::Full) => self.free(false),
            Err(error) => Err(format!("a note failed: {error}")),
        }
    }

    /// An entry of the state is set or removed.
    fn set_state(&mut self) {
        let (key, value) = {
            let rng = &mut self.stage().rng;
            let value = vec![rng.u8(..); rng.usize(0..12)];
            (vec![rng.u8(0..3)], (rng.u8(0..4) > 0).then_some(value))
        };
        if let Ok(number) = self.log.set_state(StateKind::FILTER, &key, value.as_deref())
            && number > 0
        {
            self.stage().model.notes.push((number, Note::Set(key, value)));
        }
    }

    fn commit(&mut self, next: NextSync) -> Verdict {
        if !self.log.unsealed() {
            return Ok(());
        }
        let (from, to) = (self.log.durable(), self.log.appended());
        self.media.next_sync(next);
        if next == NextSync::Lies {
            let model = &mut self.stage().model;
            model.has_lied = true;
            model.lied.extend((from.seq.0..to.seq.0).map(Seq));
        }
        let sync = self.stage().plan.profile != Profile::Memory;
        match self.log.commit(sync) {
            Ok(Some(sealed)) => {
                let group = Group { from: sealed.from.0, to: sealed.to.pos.0, vouches: from.pos.0 };
                self.stage().model.groups.push(group);
                Ok(())
            }
            Ok(None) => Err("something was there to be sealed".into()),
            Err(_) if next == NextSync::Fails => {
                self.log.poison("a sync failed");
                self.over = true;
                let refused = self.log.append(&[], Received::default(), Tally::default());
                let durable = self.log.durable();
                if matches!(refused, Err(AppendError::Poisoned(_))) && durable == from {
                    Ok(())
                } else {
                    Err(format!("after a failed sync: {refused:?}, durable {durable:?} was {from:?}"))
                }
            }
            Err(error) => Err(format!("a commit failed: {error}")),
        }
    }

    /// A lane gets on by some records, some of whose rows go to quarantine.
    fn settle(&mut self) -> Verdict {
        let lane = self.stage().rng.usize(..LANES);
        let from = self.lanes[lane].max(self.log.tail());
        let mut reader = Reader::new(Arc::clone(&self.log), from);
        let count = self.stage().rng.usize(0..12);
        for _ in 0..count {
            match reader.next() {
                Ok(Some(record)) => {
                    let own = record.kind == Kind::Rows && Lanes::new(LANES).of(record.table_hash) == lane;
                    let mut stage = lock(&self.stage);
                    let aside = if own && record.rows > 0 && stage.rng.u8(0..5) == 0 {
                        stage.rng.u32(1..=u32::from(record.rows))
                    } else {
                        0
                    };
                    let entry = &mut stage.model.entries[record.seq.0 as usize - 1];
                    // What is in quarantine already is not set aside again.
                    if aside > 0 && entry.set_aside == 0 && record.seq >= self.settlement.settled().seq {
                        entry.set_aside = aside;
                        self.settlement.except(record.seq, aside);
                    }
                }
                Ok(None) => break,
                Err(error) => return Err(format!("a lane cannot read: {error}")),
            }
        }
        let upto = reader.mark();
        self.lanes[lane] = upto;
        let settled = self.lanes.iter().map(|mark| mark.seq).min().unwrap_or(Seq(1));
        {
            let mut stage = self.stage();
            stage.model.settled = stage.model.settled.max(settled);
        }
        self.settlement.lane_done(lane, upto, self.now).map_err(|error| format!("settling failed: {error}"))?;
        self.settled_at.push((self.now, self.settlement.settled().seq));
        Ok(())
    }

    /// The database is seen not to have restarted.
    fn confirm(&mut self) {
        let old_enough = self.now.saturating_sub(WINDOW);
        let safe = self.settled_at.iter().filter(|(at, _)| *at <= old_enough).map(|(_, seq)| *seq).max();
        if let Some(safe) = safe {
            let mut stage = self.stage();
            stage.model.safe = stage.model.safe.max(safe);
        }
        self.settlement.confirm_kept(self.now, self.now);
    }

    /// The tail moves to what is safe, or further by policy.
    fn free(&mut self, drop_oldest: bool) -> Verdict {
        let safe = self.settlement.publish(self.now);
        let upto = if drop_oldest { self.log.durable() } else { safe };
        let target = self.log.index().target(self.log.appended().pos, self.log.not_held(upto.pos));
        let Some(to) = target.filter(|to| to.pos > self.log.tail().pos) else { return Ok(()) };
        if to > safe {
            self.give_up(to)?;
        }
        {
            let mut stage = self.stage();
            stage.model.tail = stage.model.tail.max(to.seq);
        }
        let vouches = self.log.durable().pos.0;
        let carried = self.log.move_tail(to).map_err(|error| format!("moving the tail failed: {error}"))?;
        if let Some(sealed) = carried {
            let group = Group { from: sealed.from.0, to: sealed.to.pos.0, vouches };
            self.stage().model.groups.push(group);
        }
        Ok(())
    }

    fn give_up(&mut self, to: Mark) -> Verdict {
        let settled = self.settlement.settled().seq;
        {
            let mut stage = self.stage();
            for seq in settled.0..to.seq.0 {
                let entry = &mut stage.model.entries[seq as usize - 1];
                let lane = Lanes::new(LANES).of(entry.table_hash);
                entry.dropped = self.lanes[lane].seq.0 <= seq;
            }
            stage.model.settled = stage.model.settled.max(to.seq);
            stage.model.safe = stage.model.safe.max(to.seq);
        }
        for lane in &mut self.lanes {
            *lane = (*lane).max(to);
        }
        self.settlement.drop_upto(to, self.now).map_err(|error| format!("dropping failed: {error}"))?;
        self.settled_at.push((self.now, to.seq));
        Ok(())
    }

    /// A message is turned away; whatever is synced next, a commit or a header, is to count it.
    fn refuse(&mut self) -> Verdict {
        let (rows, count) = {
            let mut stage = self.stage();
            let rows = stage.rng.u64(0..4);
            stage.model.refused.push(rows);
            let ever = &mut stage.model.refused_ever;
            *ever = (ever.0 + 1, ever.1 + rows);
            (rows, stage.model.refused.len() as u64)
        };
        let number = self.log.count_refused(rows);
        if number == count { Ok(()) } else { Err(format!("refused message {count} has the number {number}")) }
    }

    /// The committer finds nothing to commit and refusals that are not counted.
    fn count_refusals(&mut self) -> Verdict {
        if !self.log.owes_refusals() {
            return Ok(());
        }
        self.log.write_header(|_| {}).map_err(|error| format!("writing the header failed: {error}"))?;
        if self.log.owes_refusals() { Err("a header counts no refusals".into()) } else { Ok(()) }
    }

    fn too_large(&mut self) -> Verdict {
        let most = self.log.geometry().max_record() as usize - RECORD_HEADER_BYTES - EXTENSION_BYTES;
        let body = vec![0; most + 1];
        let part = Part { kind: Kind::DeadLetter, table_hash: 0, rows: 0, body: &body, ..Part::default() };
        match self.log.append(&[part], Received::default(), Tally::default()) {
            Err(AppendError::TooLarge { .. }) => Ok(()),
            other => Err(format!("a record that is too large: {other:?}")),
        }
    }

    /// A reader sees everything durable, as it was appended.
    fn read_all(&mut self) -> Verdict {
        let mut reader = Reader::new(Arc::clone(&self.log), self.log.tail());
        let stage = lock(&self.stage);
        while let Some(record) = reader.next().map_err(|error| format!("a reader fails: {error}"))? {
            let wanted = stage.model.entry(record.seq).map(|entry| &entry.body[..]);
            if wanted != Some(record.body) {
                return Err(format!("a reader finds record {} changed", record.seq));
            }
        }
        let (at, durable) = (reader.mark().seq, self.log.durable().seq);
        if at == durable { Ok(()) } else { Err(format!("a reader ends at {at}, durable is {durable}")) }
    }
}
