//! Finding the header of a ring file: in its two slots, or, where both are lost, from the commits, each of which says what a header says.

use std::{collections::BTreeMap, io};

use super::{
    layout::{
        COMMIT_PROOF_BYTES, Checksum, Commit, DATA_START, FORMAT_VERSION, Header, Kind, RECORD_ALIGN,
        RECORD_HEADER_BYTES, RecordHeader, RingFacts, SECTOR_BYTES, SLOT_BYTES, SlotError, looks_like_commit,
    },
    ledger::Intake,
    marks::Pos,
    media::Media,
};
use crate::point::Received;

/// Bytes read at a time in the search for commits.
const CHUNK_BYTES: u64 = 1 << 20;
/// Rings whose commits are told apart in one file; there is one, or one and the leftovers of another.
const MAX_RINGS: usize = 16;

/// Where a header was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeaderSource {
    /// In the slots, of which none is damaged.
    #[default]
    Slots,
    /// In one slot; the other is damaged and may have been the newer one.
    OneSlot,
    /// In the newest commit: both slots are damaged.
    Commits,
}

/// A header and where it was found.
#[derive(Debug, Clone, Copy)]
pub struct FoundHeader {
    /// The header to recover by.
    pub header: Header,
    /// Where it was.
    pub source: HeaderSource,
    /// Up to where the header's intake has counted.
    pub counted: Pos,
}

impl From<Header> for FoundHeader {
    fn from(header: Header) -> Self {
        Self { counted: header.durable.pos, source: HeaderSource::Slots, header }
    }
}

/// Reads both header slots; the valid one with the higher counter, or why there is none.
pub fn read_header(media: &dyn Media) -> io::Result<Result<Header, SlotError>> {
    Ok(from_slots(media)?.map(|found| found.header))
}

/// Reads both header slots, and the commits where neither slot is valid. An error says that the file is of another version or holds no
/// commit either.
pub fn find_header(media: &dyn Media) -> io::Result<Result<FoundHeader, SlotError>> {
    match from_slots(media)? {
        Err(SlotError::Damaged) => Ok(from_commits(media, None)?.ok_or(SlotError::Damaged)),
        Ok(slot) if slot.source == HeaderSource::OneSlot => {
            // The slot that is damaged may have told of a tail that has moved since, and its space be used again.
            let newest = from_commits(media, Some(slot.header.ring_id))?;
            Ok(Ok(newest.map_or(slot, |newest| newer_of_each(&slot, &newest))))
        }
        found => Ok(found),
    }
}

fn from_slots(media: &dyn Media) -> io::Result<Result<FoundHeader, SlotError>> {
    if media.len() < DATA_START {
        return Ok(Err(SlotError::Damaged));
    }
    let mut slots = [Err(SlotError::Damaged); 2];
    let mut blank = false;
    for (slot, at) in slots.iter_mut().zip([0, SLOT_BYTES]) {
        let mut sector = [0; SECTOR_BYTES as usize];
        media.load(at, &mut sector)?;
        *slot = Header::decode(&sector);
        blank |= sector.iter().all(|byte| *byte == 0);
    }
    let found = |header: Header, source| FoundHeader { source, ..header.into() };
    Ok(match slots {
        [Ok(a), Ok(b)] => Ok(found(if b.counter > a.counter { b } else { a }, HeaderSource::Slots)),
        // A ring that was never opened has one header yet.
        [Ok(one), Err(_)] | [Err(_), Ok(one)] if blank && one.counter == 1 => Ok(found(one, HeaderSource::Slots)),
        // Also beside a valid slot: it was written after that one, and going on by the older would undo what came since.
        [Err(SlotError::Version(v)), _] | [_, Err(SlotError::Version(v))] => Err(SlotError::Version(v)),
        // The damaged slot may have been the newer one, and so the ring may have been opened again after it was closed.
        [Ok(one), Err(_)] | [Err(_), Ok(one)] => Ok(found(Header { clean: false, ..one }, HeaderSource::OneSlot)),
        [Err(SlotError::Damaged), Err(SlotError::Damaged)] => Err(SlotError::Damaged),
    })
}

/// A header with whatever a commit knows better.
fn newer_of_each(found: &FoundHeader, by_commit: &FoundHeader) -> FoundHeader {
    let (slot, commit) = (found.header, by_commit.header);
    let header = Header {
        generation: slot.generation.max(commit.generation),
        tail: slot.tail.max(commit.tail),
        durable: slot.durable.max(commit.durable),
        intake: slot.intake.latest(commit.intake),
        consumers: slot.consumers.later(commit.consumers),
        ..slot
    };
    FoundHeader { header, counted: found.counted.max(by_commit.counted), ..*found }
}

/// The commits of one ring that were found.
struct Sighting {
    commits: u64,
    /// Open generation and end of the newest, and what it says.
    newest: ((u32, Pos), Commit),
}

/// A header such as the newest commit tells, of the ring that is named or else of the one that has the most commits.
fn from_commits(media: &dyn Media, only: Option<u64>) -> io::Result<Option<FoundHeader>> {
    let mut rings: BTreeMap<(u64, u64), Sighting> = BTreeMap::new();
    each_commit(media, &mut |end, record, facts, commit| {
        let key = (facts.ring_id, facts.capacity);
        if only.is_some_and(|id| id != facts.ring_id) || rings.len() >= MAX_RINGS && !rings.contains_key(&key) {
            return;
        }
        let seen = ((record.generation, end), commit);
        let ring = rings.entry(key).or_insert(Sighting { commits: 0, newest: seen });
        ring.commits += 1;
        if ring.newest.0 < seen.0 {
            ring.newest = seen;
        }
    })?;
    let most = rings.into_iter().max_by_key(|(_, ring)| ring.commits);
    let Some(((ring_id, capacity), Sighting { newest: ((generation, _), commit), .. })) = most else { return Ok(None) };
    let before = commit_ending_at(media, ring_id, commit.durable.pos)?;
    // The newest commit's own records may be missing. What it says of the ring is true; what it counts is taken from the one before it, and
    // where that is lost, records count one by one.
    let (intake, counted, consumers) = if let Some(before) = before {
        (before.intake, commit.durable.pos, before.consumers)
    } else {
        let Intake { refused_messages, refused_rows, .. } = commit.intake;
        (Intake { refused_messages, refused_rows, ..Intake::default() }, Pos(0), commit.consumers)
    };
    let header = Header {
        version: FORMAT_VERSION,
        counter: 1,
        ring_id,
        capacity,
        generation,
        clean: false,
        boot_id: commit.boot_id,
        tail: commit.ring.map(|facts| facts.tail).unwrap_or_default(),
        durable: commit.durable,
        opened: Received::default(),
        intake,
        consumers,
    };
    Ok(Some(FoundHeader { header, source: HeaderSource::Commits, counted }))
}

fn commit_ending_at(media: &dyn Media, ring_id: u64, at: Pos) -> io::Result<Option<Commit>> {
    let mut found = None;
    each_commit(media, &mut |end, _, facts, commit| {
        if facts.ring_id == ring_id && end == at {
            found = Some(commit);
        }
    })?;
    Ok(found)
}

/// Calls `each` with the end of every intact commit in the file, wherever it lies, and what it says. The order is that of the file.
fn each_commit(media: &dyn Media, each: &mut dyn FnMut(Pos, &RecordHeader, RingFacts, Commit)) -> io::Result<()> {
    let mut window = Vec::new();
    let mut start = DATA_START;
    while start < media.len() {
        // So much more than the chunk that a commit that begins in it can be checked.
        let bytes = (media.len() - start).min(CHUNK_BYTES + COMMIT_PROOF_BYTES);
        window.resize(bytes as usize, 0);
        media.load(start, &mut window)?;
        for at in (0..bytes.min(CHUNK_BYTES)).step_by(RECORD_ALIGN as usize) {
            let bytes = &window[at as usize..];
            if looks_like_commit(bytes)
                && let Some((pos, record, facts, commit)) = commit_at(start + at, bytes)
            {
                each(Pos(pos.0 + record.total()), &record, facts, commit);
            }
        }
        start += CHUNK_BYTES;
    }
    Ok(())
}

/// The commit at an offset in the file, if what it says of itself checks out.
fn commit_at(offset: u64, bytes: &[u8]) -> Option<(Pos, RecordHeader, RingFacts, Commit)> {
    let record = RecordHeader::parse(bytes).filter(|record| record.kind == Kind::Commit)?;
    let commit = Commit::decode(record.rows, bytes.get(RECORD_HEADER_BYTES..)?)?;
    let facts = commit.ring.filter(|facts| facts.capacity > 0 && facts.capacity.is_multiple_of(SLOT_BYTES))?;
    // A commit begins less than a lap behind its first record, and so its place in the file tells its position.
    let in_lap = offset - DATA_START;
    let behind = (in_lap + facts.capacity).checked_sub(commit.from.0 % facts.capacity)? % facts.capacity;
    let pos = commit.from.0.checked_add(behind)?;
    let whole = in_lap < facts.capacity && record.checks_out(Checksum::of_ring(facts.ring_id), pos, bytes);
    whole.then_some((Pos(pos), record, facts, commit))
}
