//! From which record on a log is copied: as much of its history as fits, but everything that may
//! still be needed.

use std::{collections::BTreeMap, io, sync::Arc};

use super::{Progress, ResizeError};
use crate::{
    marks::Mark,
    ring::{
        held::Held,
        layout::{DATA_START, Geometry, most_state_bytes},
        ledger::Intake,
        log::Log,
        reader::Reader,
        recover::PROGRESS_BYTES,
        state::{States, counts_of},
    },
    settings::Bytes,
    tally::{Counts, SourceId},
};

const MIB: u64 = 1 << 20;

/// The new ring may be this full, in sixteenths, of what has to be kept. (The copy has fewer commits
/// than the log it is of, so it takes no more room, but for a small ring's.)
const MOST_NEEDED: u64 = 15;
/// It is this full, in sixteenths, where there is history to fill it.
const MOST_HISTORY: u64 = 13;
/// Where what is needed has so many sixteenths of a ring, there is room to go on with.
const COMFORTABLE: u64 = 12;

/// What is copied.
#[derive(Debug)]
pub struct Kept {
    /// From here on, to the head.
    pub from: Mark,
    /// What the records from there on count.
    pub intake: Intake,
    /// The state of the ring, with the counts that those records do not bring.
    pub states: States,
}

/// From where on everything may still be needed; the error says that a ring of another size has no
/// room for it.
pub fn needed(log: &Log, geometry: Geometry) -> Result<Mark, ResizeError> {
    let safe = log.outcome().1;
    let needed = log.with_held(Held::from).map_or(safe, |held| held.min(safe)).max(log.tail());
    let kept = log.appended().pos.0.saturating_sub(needed.pos.0);
    if kept > geometry.capacity / 16 * MOST_NEEDED {
        let size = Bytes(DATA_START + geometry.capacity);
        return Err(ResizeError::TooSmall { size, kept: Bytes(kept), least: least(kept, COMFORTABLE) });
    }
    Ok(needed)
}

/// A ring of which so many bytes are so many sixteenths.
fn least(bytes: u64, sixteenths: u64) -> Bytes {
    Bytes((bytes / sixteenths * 16 + DATA_START).next_multiple_of(MIB) + MIB)
}

/// Chooses what a ring of another size keeps; the inner error says that it cannot keep what it must.
pub fn choose(log: &Arc<Log>, geometry: Geometry, progress: Progress<'_>) -> io::Result<Result<Kept, ResizeError>> {
    let (tail, head) = (log.tail(), log.appended());
    let needed = match needed(log, geometry) {
        Ok(needed) => needed,
        Err(why) => return Ok(Err(why)),
    };
    let room = geometry.capacity / 16 * MOST_HISTORY;
    let mut start = None;
    let mut begins_message = true;
    // A message is copied whole: one that is needed may begin before the place from which it is.
    let mut latest_needed = tail;
    let mut told = tail.pos.0;
    let mut reader = Reader::new(Arc::clone(log), tail);
    while let Some((header, at)) = reader.next_header()? {
        if begins_message {
            if head.pos.0 - at.pos.0 <= room {
                start.get_or_insert(at);
            }
            if at.seq <= needed.seq {
                latest_needed = at;
            }
        }
        if at.pos.0 >= told + PROGRESS_BYTES {
            told = at.pos.0;
            progress(None)?;
        }
        let bytes = header.total();
        if bytes > geometry.max_record() {
            if at.seq >= latest_needed.seq && (at.seq >= needed.seq || !header.last) {
                let (size, least) = (Bytes(DATA_START + geometry.capacity), least(bytes * 8, 16));
                return Ok(Err(ResizeError::LargeRecord { size, seq: at.seq, bytes: Bytes(bytes), least }));
            }
            start = None;
        }
        begins_message = header.last;
    }
    let mut from = start.unwrap_or(head);
    if latest_needed.seq < from.seq {
        from = latest_needed;
    }
    let (intake, counts) = count(log, from, progress)?;
    let states = log.with_states(|states| states.for_copy(most_state_bytes(geometry.capacity) as usize, &counts));
    Ok(states.map(|states| Kept { from, intake, states }).map_err(ResizeError::State))
}

/// What the records from a place on count, and what they add to the counts of their sources.
fn count(log: &Arc<Log>, from: Mark, progress: Progress<'_>) -> io::Result<(Intake, BTreeMap<SourceId, Counts>)> {
    let (mut intake, mut counts) = (Intake::default(), BTreeMap::<SourceId, Counts>::new());
    let mut told = from.pos.0;
    let mut reader = Reader::new(Arc::clone(log), from);
    while let Some((header, at, behind_header)) = reader.next_whole()? {
        if at.pos.0 >= told + PROGRESS_BYTES {
            told = at.pos.0;
            progress(None)?;
        }
        if !header.releases {
            intake.count(header.kind, header.rows, header.last);
        }
        let (extension, body) = header.split(behind_header);
        let brought = counts_of(header.kind, extension, body);
        if !brought.is_zero() {
            counts.entry(extension.source).or_default().add(brought);
        }
    }
    Ok((intake, counts))
}
