//! Recovery: finding out what a ring file holds. docs/ring-format.md lists the cases this code decides.

use std::io;

use super::{
    layout::{
        COMMIT_BODY_BYTES, Checksum, Commit, DATA_START, Geometry, Header, Kind, RECORD_HEADER_BYTES, RecordHeader,
        SECTOR_BYTES, SLOT_BYTES, SlotError,
    },
    ledger::{Intake, Outcome},
    marks::{Mark, Pos, Seq},
    media::Media,
    reader::Record,
    tail::TailIndex,
};

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
    /// Fate of the rows before the settled watermark.
    pub outcome: Outcome,
    /// Where resending begins.
    pub safe: Mark,
    /// Stretches that were durable and cannot be read any more: the first lost record, and where reading goes on.
    pub gaps: Vec<(Mark, Mark)>,
    /// Places the tail may move to.
    pub index: TailIndex,
}

/// Reads both header slots; the valid one with the higher counter, or why there is none.
pub fn read_header(media: &dyn Media) -> io::Result<Result<Header, SlotError>> {
    if media.len() < DATA_START {
        return Ok(Err(SlotError::Damaged));
    }
    let mut best: Result<Header, SlotError> = Err(SlotError::Damaged);
    for slot in [0, SLOT_BYTES] {
        let mut sector = [0; SECTOR_BYTES as usize];
        media.load(slot, &mut sector)?;
        best = match (best, Header::decode(&sector)) {
            (Ok(a), Ok(b)) if b.counter > a.counter => Ok(b),
            (Ok(a), _) => Ok(a),
            (Err(_), Ok(b)) => Ok(b),
            (Err(SlotError::Version(v)), Err(_)) | (Err(_), Err(SlotError::Version(v))) => Err(SlotError::Version(v)),
            (Err(SlotError::Damaged), Err(SlotError::Damaged)) => Err(SlotError::Damaged),
        };
    }
    Ok(best)
}

/// Scans from the tail to the first record that does not check out, over damage that a later commit vouches for.
///
/// `visit` sees every intact data record in order; `progress` is told how many bytes are scanned.
pub fn scan(
    media: &dyn Media,
    header: Header,
    visit: &mut dyn FnMut(&Record<'_>),
    progress: &mut dyn FnMut(u64),
) -> io::Result<Recovered> {
    let mut scan = Scan::new(media, &header);
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
            Step::Stop => match scan.beyond_damage(progress)? {
                Some(to) if scan.gaps.len() < MAX_GAPS => {
                    // What there is of a message that the damage cuts is no message, and goes with it.
                    message.parts.clear();
                    scan.gaps.push((message.whole_upto, to));
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
    sealed: Pos,
    /// Everything before it is counted in `intake`.
    counted: Pos,
    intake: Intake,
    outcome: Outcome,
    safe: Mark,
    vouched: Pos,
    gaps: Vec<(Mark, Mark)>,
    index: TailIndex,
}

impl<'a> Scan<'a> {
    fn new(media: &'a dyn Media, header: &Header) -> Self {
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
            counted: header.tail.pos,
            intake: header.intake,
            outcome: header.outcome,
            safe: header.safe,
            vouched: header.durable.pos,
            gaps: Vec::new(),
            index: TailIndex::new(header.capacity),
        }
    }

    /// Counts a record that no commit read so far has counted.
    fn count(&mut self, found: &Found) {
        if found.at.pos >= self.header.durable.pos.max(self.counted) {
            self.intake.count(found.header.kind, found.header.rows, found.header.last);
        }
    }

    /// Where the scan must end: a lap behind the tail.
    fn limit(&self) -> u64 {
        self.header.tail.pos.0 + self.geometry.capacity
    }

    /// Makes bytes at a position available; returns those at hand, at least `needed` unless the lap or the log's limit ends.
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
    fn record_at(&mut self, pos: u64) -> io::Result<Option<RecordHeader>> {
        let (sum, generation, limit) = (self.sum, self.generation, self.limit());
        let newest = self.header.generation;
        let left = self.geometry.to_lap_end(pos);
        let Some(header) = RecordHeader::parse(self.bytes(pos, RECORD_HEADER_BYTES)?) else { return Ok(None) };
        let plausible = header.total() <= left
            && pos + header.total() <= limit
            && (generation..=newest).contains(&header.generation)
            && header.seq >= self.at.seq;
        if !plausible {
            return Ok(None);
        }
        Ok(header.checks_out(sum, pos, self.bytes(pos, header.needed())?).then_some(header))
    }

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
                    self.commit(found.at.pos.0)?;
                }
                Ok(Step::Record(found))
            }
            _ => Ok(Step::Stop),
        }
    }

    fn commit(&mut self, pos: u64) -> io::Result<()> {
        let body = &self.bytes(pos, RECORD_HEADER_BYTES + COMMIT_BODY_BYTES)?[RECORD_HEADER_BYTES..];
        let Some(commit) = Commit::decode(body) else { return Ok(()) };
        self.intake = commit.intake.latest(Intake {
            refused_messages: self.header.intake.refused_messages,
            refused_rows: self.header.intake.refused_rows,
            ..Intake::default()
        });
        if (commit.outcome.settled, commit.outcome.rows()) > (self.outcome.settled, self.outcome.rows()) {
            self.outcome = commit.outcome;
        }
        self.safe = self.safe.max(commit.safe);
        self.vouched = self.vouched.max(commit.durable.pos);
        (self.sealed, self.counted) = (self.at.pos, self.at.pos);
        self.index.note(self.at);
        Ok(())
    }

    /// Looks behind a bad record for proof that this place had been durable; returns where reading goes on.
    ///
    /// Commits end on a sector, so whatever follows the damage begins on one; and a commit is sealed only after the sync of the one
    /// before it, so its word about what was durable is never ahead of the truth.
    fn beyond_damage(&mut self, progress: &mut dyn FnMut(u64)) -> io::Result<Option<Mark>> {
        let bad = self.at;
        let generation = self.generation;
        let mut pos = (bad.pos.0 + 1).next_multiple_of(SECTOR_BYTES);
        let mut found = None;
        while found.is_none() && pos + SECTOR_BYTES <= self.limit() {
            if let Some(header) = self.record_at(pos)? {
                let candidate = Mark { pos: Pos(pos), seq: header.seq };
                if self.header.durable.pos > bad.pos && candidate.pos < self.header.durable.pos
                    || self.chain_vouches(candidate, bad.pos)?
                {
                    found = Some(candidate);
                }
            }
            pos += SECTOR_BYTES;
            if pos.is_multiple_of(PROGRESS_BYTES) {
                progress(pos - self.header.tail.pos.0);
            }
        }
        (self.at, self.generation) = (bad, generation);
        Ok(found)
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
            if header.kind == Kind::Commit {
                let body = &self.bytes(pos, RECORD_HEADER_BYTES + COMMIT_BODY_BYTES)?[RECORD_HEADER_BYTES..];
                if Commit::decode(body).is_some_and(|commit| commit.durable.pos > bad) {
                    vouches = true;
                    break;
                }
            }
            pos += header.total();
            self.at.seq = header.seq;
        }
        self.at = before;
        Ok(vouches)
    }

    fn finish(self, head: Mark) -> Recovered {
        let mut outcome = self.outcome;
        outcome.settled = outcome.settled.max(self.header.tail).min(head);
        if let Some((_, to)) = self.gaps.iter().find(|(from, to)| (from.pos..to.pos).contains(&outcome.settled.pos)) {
            outcome.settled = *to;
        }
        Recovered {
            header: self.header,
            head,
            unsealed: head.pos > self.sealed,
            vouched: self.vouched.min(head.pos),
            intake: self.intake.latest(self.header.intake),
            outcome,
            safe: self.safe.max(self.header.tail).min(outcome.settled),
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
    fn take(&mut self, scan: &mut Scan<'_>, found: Found, visit: &mut dyn FnMut(&Record<'_>)) {
        let header = found.header;
        if header.kind.is_data() {
            let body_at = (found.at.pos.0 - scan.window_start) as usize + RECORD_HEADER_BYTES;
            let body = &scan.window[body_at..body_at + header.len as usize];
            if !header.last || !self.parts.is_empty() {
                self.parts.push((found, body.to_vec()));
            } else {
                found.show(body, visit);
                scan.count(&found);
            }
            if !header.last {
                return;
            }
            for (part, body) in self.parts.drain(..) {
                part.show(&body, visit);
                scan.count(&part);
            }
        }
        if self.parts.is_empty() {
            self.whole_upto = scan.at;
        }
    }
}

impl Found {
    fn show(&self, body: &[u8], visit: &mut dyn FnMut(&Record<'_>)) {
        let h = self.header;
        visit(&Record {
            seq: h.seq,
            mark: self.at,
            end: Mark { pos: Pos(self.at.pos.0 + h.total()), seq: Seq(h.seq.0 + 1) },
            kind: h.kind,
            last: h.last,
            table_hash: h.table_hash,
            rows: h.rows,
            received: h.received,
            body,
        });
    }
}
