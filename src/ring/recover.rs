//! Recovery: finding out what a ring file holds. docs/ring-format.md lists the cases this code decides.

use std::{collections::BTreeMap, io};

use super::{
    consumers::{Consumer, ConsumerId, Consumers},
    headers::FoundHeader,
    layout::{
        self, Checksum, Commit, Geometry, Header, Kind, RECORD_ALIGN, RECORD_HEADER_BYTES, RecordHeader, SECTOR_BYTES,
    },
    ledger::Intake,
    marks::{Mark, Pos, Seq},
    media::Media,
    reader::Record,
    seeded::{Bug, is_on},
    state::{States, counts_of},
    tail::TailIndex,
};
use crate::tally::{Counts, SourceId, Tally};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Progress is told each time so many bytes are scanned.
pub const PROGRESS_BYTES: u64 = 16 << 20;
/// Damaged stretches that are kept apart; what follows the last one is given up.
const MAX_GAPS: usize = 1024;

/// What recovery found.
#[derive(Debug)]
pub struct Recovered {
    /// The header to go on from.
    pub header: Header,
    /// Behind the last intact record.
    pub head: Mark,
    /// Whether something lies behind the last commit, and so was never sealed.
    pub unsealed: bool,
    /// Up to where a header or commit vouches that everything had been synced.
    pub vouched: Pos,
    /// Messages and rows in the log.
    pub intake: Intake,
    /// Where each consumer is.
    pub consumers: Consumers,
    /// What outlives the tail.
    pub states: States,
    /// The first held record, and the number up to which they are released.
    pub held: (Option<Mark>, Seq),
    /// Stretches that were durable and cannot be read any more: the first lost record, and where reading goes on.
    pub gaps: Vec<(Mark, Mark)>,
    /// Places the tail may move to.
    pub index: TailIndex,
}

/// Scans from the tail to the first record that does not check out, over damage that a later commit vouches for.
///
/// `visit` sees every intact data record in order; `progress` is told how many bytes are scanned.
pub fn scan(
    media: &dyn Media,
    found: impl Into<FoundHeader>,
    visit: &mut dyn FnMut(&Record<'_>),
    progress: &mut dyn FnMut(u64),
) -> io::Result<Recovered> {
    let found = found.into();
    let header = found.header;
    let mut scan = Scan::new(media, &found);
    let mut message = Message { parts: Vec::new(), whole_upto: header.tail };
    loop {
        match scan.step()? {
            Step::Record(found) => {
                message.take(&mut scan, found, visit);
                if scan.at.pos.0 / PROGRESS_BYTES != found.at.pos.0 / PROGRESS_BYTES {
                    progress(scan.at.pos.0 - header.tail.pos.0);
                }
            }
            // Nothing can lie behind the head of a ring that was closed in order.
            Step::Stop if header.clean && scan.at == header.durable => break,
            Step::Stop if is_on(Bug::EndAtDamage) => break,
            Step::Stop => match scan.beyond_damage(progress)? {
                Some(to) if scan.gaps.len() < MAX_GAPS => {
                    // What there is of a message that the damage cuts is no message, and goes with it.
                    message.parts.clear();
                    scan.pass_over(message.whole_upto, to);
                    scan.at = to;
                    message.whole_upto = to;
                }
                _ => break,
            },
        }
    }
    Ok(scan.finish(message.whole_upto))
}

#[derive(Clone, Copy)]
struct Found {
    at: Mark,
    header: RecordHeader,
}

enum Step {
    Record(Found),
    Stop,
}

struct Scan<'a> {
    media: &'a dyn Media,
    geometry: Geometry,
    sum: Checksum,
    header: Header,
    at: Mark,
    generation: u32,
    window: Vec<u8>,
    window_start: u64,
    /// Behind the last commit.
    sealed: Pos,
    /// Everything before it is counted in `intake`.
    counted: Pos,
    intake: Intake,
    consumers: Consumers,
    states: States,
    /// What records behind the last state record add to the counts of their sources.
    uncounted: BTreeMap<SourceId, Counts>,
    vouched: Pos,
    held: (Option<Mark>, Seq),
    gaps: Vec<(Mark, Mark)>,
    index: TailIndex,
}

impl<'a> Scan<'a> {
    fn new(media: &'a dyn Media, found: &FoundHeader) -> Self {
        let header = &found.header;
        Self {
            media,
            geometry: Geometry { capacity: header.capacity },
            sum: Checksum::of_ring(header.ring_id),
            header: *header,
            at: header.tail,
            generation: 0,
            window: Vec::new(),
            window_start: 0,
            sealed: header.tail.pos,
            counted: found.counted,
            intake: header.intake,
            consumers: header.consumers,
            states: States::new(layout::most_state_bytes(header.capacity) as usize),
            uncounted: BTreeMap::new(),
            vouched: header.durable.pos,
            held: (None, Seq(0)),
            gaps: Vec::new(),
            index: TailIndex::new(header.capacity),
        }
    }

    /// Counts a record that no commit read so far has counted.
    #[inline]
    fn count(&mut self, found: &Found, adds: Option<(SourceId, Counts)>) {
        if found.at.pos >= self.counted && !found.header.releases {
            self.intake.count(found.header.kind, found.header.rows, found.header.last);
        }
        if found.header.kind == Kind::Held {
            self.held.0.get_or_insert(found.at);
        }
        if let Some((source, counts)) = adds.filter(|_| !is_on(Bug::UnsealedNotCounted)) {
            self.uncounted.entry(source).or_default().add(counts);
        }
    }

    /// Notes a stretch that cannot be read; one that follows another at once is part of it.
    fn pass_over(&mut self, from: Mark, to: Mark) {
        match self.gaps.last_mut() {
            Some((_, end)) if *end == from => *end = to,
            _ => self.gaps.push((from, to)),
        }
    }

    /// Where the scan must end: a lap behind the tail.
    #[inline]
    fn limit(&self) -> u64 {
        self.header.tail.pos.0 + self.geometry.capacity
    }

    /// Makes bytes at a position available; returns those at hand, at least `needed` unless the lap or the log's limit ends.
    #[inline]
    fn bytes(&mut self, pos: u64, needed: usize) -> io::Result<&[u8]> {
        let most = self.geometry.to_lap_end(pos).min(self.limit().saturating_sub(pos)) as usize;
        let needed = needed.min(most);
        let end = self.window_start + self.window.len() as u64;
        if pos < self.window_start || pos + needed as u64 > end {
            self.window.resize(most.min(CHUNK_BYTES.max(needed)), 0);
            self.window_start = pos;
            self.media.load(self.geometry.offset(pos), &mut self.window)?;
        }
        Ok(&self.window[(pos - self.window_start) as usize..])
    }

    /// The record at a position, if one checks out there.
    #[inline]
    fn record_at(&mut self, pos: u64) -> io::Result<Option<RecordHeader>> {
        let (sum, generation, limit) = (self.sum, self.generation, self.limit());
        let left = self.geometry.to_lap_end(pos);
        let Some(header) = RecordHeader::parse(self.bytes(pos, RECORD_HEADER_BYTES)?) else { return Ok(None) };
        // Where a sync has lied, what an earlier life had left may show; numbers that come after what is durable cannot lie before it.
        let durable = self.header.durable;
        let next = header.seq.0.saturating_add(u64::from(header.kind.is_data()));
        let plausible = header.total() <= left
            && pos + header.total() <= limit
            && (pos >= durable.pos.0 || next <= durable.seq.0)
            && (header.generation >= generation || is_on(Bug::NoGeneration))
            && header.seq >= self.at.seq;
        if !plausible {
            return Ok(None);
        }
        Ok(header.checks_out(sum, pos, self.bytes(pos, header.needed())?).then_some(header))
    }

    #[inline]
    fn step(&mut self) -> io::Result<Step> {
        let left = self.geometry.to_lap_end(self.at.pos.0);
        if left < RECORD_HEADER_BYTES as u64 {
            self.at.pos.0 += left;
        }
        match self.record_at(self.at.pos.0)? {
            Some(header) if header.seq == self.at.seq => {
                let found = Found { at: self.at, header };
                self.generation = header.generation;
                self.at.pos.0 += header.total();
                if header.kind.is_data() {
                    self.at.seq.0 += 1;
                } else if header.kind == Kind::Commit {
                    self.commit(&found)?;
                } else if header.kind == Kind::State {
                    self.state(&found)?;
                }
                Ok(Step::Record(found))
            }
            _ => Ok(Step::Stop),
        }
    }

    /// The body of a commit that checks out.
    fn commit_body(&mut self, pos: Pos, header: &RecordHeader) -> io::Result<Option<Commit>> {
        let bytes = self.bytes(pos.0, header.needed())?;
        Ok(Commit::decode(header.rows, &bytes[RECORD_HEADER_BYTES..]))
    }

    fn commit(&mut self, found: &Found) -> io::Result<()> {
        let Some(commit) = self.commit_body(found.at.pos, &found.header)? else { return Ok(()) };
        if let Some(facts) = commit.ring {
            // The header is an older one: the newer was lost, and with it how far the tail had come.
            self.header.tail = self.header.tail.max(facts.tail);
        }
        // Counts only grow; what a header or a record by itself has counted already is in the larger one.
        self.intake = self.intake.latest(commit.intake);
        self.consumers = self.consumers.later(commit.consumers);
        self.vouched = self.vouched.max(commit.durable.pos);
        self.sealed = self.at.pos;
        self.counted = self.counted.max(self.at.pos);
        self.index.note(self.at);
        Ok(())
    }

    fn state(&mut self, found: &Found) -> io::Result<()> {
        let bytes = self.bytes(found.at.pos.0, found.header.needed())?;
        let body = bytes[RECORD_HEADER_BYTES..found.header.needed()].to_vec();
        self.states.apply(&body, found.at.pos.0);
        self.uncounted.clear();
        Ok(())
    }

    /// Looks behind a bad record for proof that this place had been durable; returns where reading goes on: at the first record that
    /// is intact.
    fn beyond_damage(&mut self, progress: &mut dyn FnMut(u64)) -> io::Result<Option<Mark>> {
        let (bad, generation) = (self.at, self.generation);
        let far = if bad.pos < self.header.durable.pos {
            // Proven; what cannot be read ends there at the latest.
            Some(self.header.durable)
        } else {
            self.vouched_place(bad, progress)?
        };
        let near = match far {
            Some(far) => self.first_intact(bad.pos, far)?,
            None => None,
        };
        (self.at, self.generation) = (bad, generation);
        Ok(near.or(far))
    }

    /// The first intact record on a sector boundary behind `bad` that a commit vouches for.
    ///
    /// Commits end on a sector, so what follows the damage has a record that begins on one; and a commit is sealed only after the sync
    /// of the one before it, so its word about what was durable is never ahead of the truth.
    fn vouched_place(&mut self, bad: Mark, progress: &mut dyn FnMut(u64)) -> io::Result<Option<Mark>> {
        let mut pos = (bad.pos.0 + 1).next_multiple_of(SECTOR_BYTES);
        while pos + SECTOR_BYTES <= self.limit() {
            if let Some(header) = self.record_at(pos)? {
                let candidate = Mark { pos: Pos(pos), seq: header.seq };
                if self.chain_vouches(candidate, bad.pos)? {
                    return Ok(Some(candidate));
                }
            }
            pos += SECTOR_BYTES;
            if pos.is_multiple_of(PROGRESS_BYTES) {
                progress(pos - self.header.tail.pos.0);
            }
        }
        Ok(None)
    }

    /// The first intact record between two places, wherever it begins, that nothing behind it refutes.
    fn first_intact(&mut self, behind: Pos, before: Mark) -> io::Result<Option<Mark>> {
        let mut found = self.next_intact(behind, before)?;
        while let Some((at, header)) = found {
            if !self.is_refuted(at, &header, before)? {
                return Ok(Some(at));
            }
            found = self.next_intact(at.pos, before)?;
        }
        Ok(None)
    }

    fn next_intact(&mut self, behind: Pos, before: Mark) -> io::Result<Option<(Mark, RecordHeader)>> {
        for pos in (behind.0 + RECORD_ALIGN..before.pos.0).step_by(RECORD_ALIGN as usize) {
            if let Some(header) = self.record_at(pos)?.filter(|header| header.seq <= before.seq) {
                return Ok(Some((Mark { pos: Pos(pos), seq: header.seq }, header)));
            }
        }
        Ok(None)
    }

    /// Whether the next intact record behind the unbroken chain from `start` is of a later life and goes back in numbers: the chain is what
    /// an earlier life had left, and shows because a sync has lied.
    fn is_refuted(&mut self, start: Mark, first: &RecordHeader, before: Mark) -> io::Result<bool> {
        let (mut end, mut header) = (start, *first);
        loop {
            end.pos.0 += header.total();
            end.seq = Seq(header.seq.0 + u64::from(header.kind.is_data()));
            let left = self.geometry.to_lap_end(end.pos.0);
            if left < RECORD_HEADER_BYTES as u64 {
                end.pos.0 += left;
            }
            match self.record_at(end.pos.0)?.filter(|next| next.seq == end.seq) {
                Some(next) => header = next,
                None => break,
            }
        }
        let next = self.next_intact(Pos(end.pos.0.saturating_sub(RECORD_ALIGN)), before)?;
        Ok(next.is_some_and(|(_, next)| next.generation > first.generation && next.seq < end.seq))
    }

    /// Whether a commit in the unbroken chain of records from `start` says that `bad` had been durable.
    fn chain_vouches(&mut self, start: Mark, bad: Pos) -> io::Result<bool> {
        let before = self.at;
        let mut pos = start.pos.0;
        let mut vouches = false;
        loop {
            let left = self.geometry.to_lap_end(pos);
            if left < RECORD_HEADER_BYTES as u64 {
                pos += left;
            }
            let Some(header) = self.record_at(pos)? else { break };
            if header.kind == Kind::Commit
                && self.commit_body(Pos(pos), &header)?.is_some_and(|commit| commit.durable.pos > bad)
            {
                vouches = true;
                break;
            }
            pos += header.total();
            self.at.seq = header.seq;
        }
        self.at = before;
        Ok(vouches)
    }

    fn finish(mut self, head: Mark) -> Recovered {
        // The header vouches for what a lost commit had sealed.
        let sealed = self.sealed.max(self.header.durable.pos);
        let (mut outcome, safe) = (self.consumers.outcome(), self.consumers.safe());
        for (source, counts) in std::mem::take(&mut self.uncounted) {
            self.states.tally(Tally { source, counts });
        }
        self.header.generation = self.header.generation.max(self.generation);
        // What an older header took for the ring's and a later tail had given up is no loss.
        let tail = self.header.tail;
        self.gaps.retain(|(_, to)| to.pos > tail.pos);
        self.gaps.iter_mut().for_each(|(from, _)| *from = (*from).max(tail));
        self.index.forget_before(tail.pos);
        outcome.settled = outcome.settled.max(self.header.tail).min(head);
        if let Some((_, to)) = self.gaps.iter().find(|(from, to)| (from.pos..to.pos).contains(&outcome.settled.pos)) {
            outcome.settled = *to;
        }
        let safe = safe.max(self.header.tail).min(outcome.settled);
        self.consumers.put(Consumer { id: ConsumerId::QUESTDB, safe, outcome });
        self.states.forget_before(tail.pos.0);
        Recovered {
            header: self.header,
            head,
            unsealed: head.pos > sealed,
            vouched: self.vouched.min(head.pos),
            intake: self.intake.latest(self.header.intake),
            consumers: self.consumers,
            states: self.states,
            held: self.held,
            gaps: self.gaps,
            index: self.index,
        }
    }
}

/// Gathers the records of a message, so that one without its end is not taken for whole.
struct Message {
    parts: Vec<(Found, Vec<u8>)>,
    /// Behind the last whole message or commit.
    whole_upto: Mark,
}

impl Message {
    #[inline]
    fn take(&mut self, scan: &mut Scan<'_>, found: Found, visit: &mut dyn FnMut(&Record<'_>)) {
        let header = found.header;
        if header.kind.is_data() {
            if header.continues && self.parts.is_empty() && !is_on(Bug::KeepCutMessage) {
                // Its message began in a damaged stretch, and goes with it.
                if let Some((_, to)) = scan.gaps.last_mut() {
                    *to = scan.at;
                }
                self.whole_upto = scan.at;
                return;
            }
            let body_at = (found.at.pos.0 - scan.window_start) as usize + RECORD_HEADER_BYTES;
            let behind_header = &scan.window[body_at..body_at + header.len as usize];
            let open = (!header.last || !self.parts.is_empty()) && !is_on(Bug::KeepCutMessage);
            if let Some(seq) = header.released(behind_header) {
                scan.held.1 = scan.held.1.max(seq);
            }
            if open {
                self.parts.push((found, behind_header.to_vec()));
            } else {
                let adds = found.show(behind_header, visit);
                scan.count(&found, adds);
            }
            if !header.last && open {
                return;
            }
            for (part, behind_header) in self.parts.drain(..) {
                let adds = part.show(&behind_header, visit);
                scan.count(&part, adds);
            }
        }
        if self.parts.is_empty() {
            self.whole_upto = scan.at;
        }
    }
}

impl Found {
    /// Shows the record; what it adds to the counts of its source, which most records do not.
    #[inline]
    fn show(&self, behind_header: &[u8], visit: &mut dyn FnMut(&Record<'_>)) -> Option<(SourceId, Counts)> {
        visit(&Record::of(&self.header, self.at, behind_header));
        let (extension, body) = self.header.split(behind_header);
        let may_add = extension.counts != 0 || extension.has_notes;
        let counts = may_add.then(|| counts_of(self.header.kind, extension, body));
        counts.filter(|counts| !counts.is_zero()).map(|counts| (extension.source, counts))
    }
}
