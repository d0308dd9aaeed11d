//! Reading durable records in order, through a window of its own; nothing of the ring is pinned.

use std::sync::Arc;

use super::{
    held::Held,
    layout::{BOOT_ID_BYTES, Extension, Kind, RECORD_HEADER_BYTES, RecordHeader},
    log::Log,
    marks::{Mark, Pos, Seq},
    tables,
};
use crate::{
    entry::{DeadLetter, EntryError, LetterForm},
    point::Received,
    settings::share::WINDOW,
    tally::SourceId,
};

/// Bytes a reader takes out of the ring at a time; a larger record makes it take that record whole.
const WINDOW_BYTES: usize = WINDOW.0 as usize;

/// A record, in the reader's window.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its number.
    pub seq: Seq,
    /// Where it begins.
    pub mark: Mark,
    /// Where the next one begins.
    pub end: Mark,
    /// What it is.
    pub kind: Kind,
    /// Whether it ends its message.
    pub last: bool,
    /// Hash of its table's name ([`tables::hash_of`]).
    pub table_hash: u32,
    /// Rows in it.
    pub rows: u16,
    /// When its message arrived.
    pub received: Received,
    /// Which source brought it; none in records of formats 1 and 2.
    pub source: SourceId,
    /// Of a dead letter: the form of its body; none in records of formats 1 and 2.
    pub letter: Option<LetterForm>,
    /// Of held rows: the boot in which they came.
    pub boot: Option<[u8; BOOT_ID_BYTES]>,
    /// Of rows that were held back: the record that held them.
    pub released: Option<Seq>,
    /// The body ([`crate::entry`] reads it).
    pub body: &'a [u8],
}

impl<'a> Record<'a> {
    /// The data record with this header at a place, and what stands behind its header; nothing of a record that is not wanted.
    #[inline]
    pub(super) fn of(header: &RecordHeader, mark: Mark, behind_header: &'a [u8]) -> Self {
        let RecordHeader { kind, last, rows, received, extended, .. } = *header;
        let table_hash = tables::hash_of(header, behind_header);
        let end = Mark { pos: Pos(mark.pos.0 + header.total()), seq: Seq(mark.seq.0 + 1) };
        let (Extension { source, letter, .. }, body) = header.split(behind_header);
        let (letter, boot) = (extended.then_some(letter), header.held_boot(behind_header));
        let released = header.released(behind_header);
        Self { seq: mark.seq, mark, end, kind, last, table_hash, rows, received, source, letter, boot, released, body }
    }

    /// Tells the list of what is held of this record, the next one in its order: one that is held,
    /// or releases the oldest that is.
    pub fn tell(&self, held: &mut Held) {
        if let Some(seq) = self.released {
            held.release(seq, u64::from(self.rows), self.end);
        } else if self.kind == Kind::Held {
            held.hold(self.mark, self.rows);
        }
    }

    /// What a dead-letter record says.
    pub fn dead_letter(&self) -> Result<DeadLetter<'a>, EntryError> {
        DeadLetter::decode(self.body, self.letter)
    }
}

/// Why the next record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The tail has passed the reader's place: what lay there was given up.
    #[error("the ring's tail has moved on to record {}", to.seq)]
    Overtaken {
        /// The new tail, where reading can go on.
        to: Mark,
    },
    /// A durable record no longer checks out.
    #[error("record {} at position {} no longer matches its checksum", at.seq, at.pos)]
    Corrupt {
        /// Its place.
        at: Mark,
    },
    /// The medium refused.
    #[error("cannot read the ring: {0}")]
    Io(#[from] std::io::Error),
}

impl From<ReadError> for std::io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => error,
            other => Self::other(other),
        }
    }
}

/// A data record as it stands in the log: its header, where it begins, and what stands behind the
/// header.
type Whole<'a> = (RecordHeader, Mark, &'a [u8]);

/// A data record that a reader has moved over.
struct Stepped {
    header: RecordHeader,
    /// Where it begins.
    mark: Mark,
    /// Where in the window lies what stands behind its header; nothing where that was not wanted.
    behind_header: std::ops::Range<usize>,
}

/// A place in the log that moves on record by record, up to the durable watermark.
pub struct Reader {
    log: Arc<Log>,
    at: Mark,
    window: Vec<u8>,
    window_start: Pos,
}

impl Reader {
    pub(super) fn new(log: Arc<Log>, at: Mark) -> Self {
        let at = log.over_gap(at);
        Self { log, at, window: Vec::new(), window_start: Pos(0) }
    }

    /// Where the next record begins (or will begin).
    pub fn mark(&self) -> Mark {
        self.at
    }

    /// Goes to a record boundary.
    pub fn seek(&mut self, to: Mark) {
        self.at = self.log.over_gap(to);
        self.window.clear();
    }

    /// Gives the window's memory back until the next read.
    pub fn release(&mut self) {
        self.window = Vec::new();
    }

    /// Bytes of memory the window takes.
    pub fn window_bytes(&self) -> usize {
        self.window.capacity()
    }

    /// The next data record; none when there is nothing more that is durable.
    #[allow(clippy::should_implement_trait, reason = "it lends from the reader, which an iterator cannot")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        self.next_with(Pos(u64::MAX), |_, _| true)
    }

    /// The next data record that begins before `limit`; none when there is none that is durable.
    ///
    /// Of a record whose body is not wanted (by its kind and the hash of its table's name) only the
    /// header and that name are read: its body is empty, and its checksum is left to who reads the
    /// body.
    pub fn next_with(
        &mut self,
        limit: Pos,
        wants_body: impl Fn(Kind, u32) -> bool,
    ) -> Result<Option<Record<'_>>, ReadError> {
        Ok(self.step(limit, wants_body)?.map(|Stepped { header, mark, behind_header }| {
            // A gap behind it is passed over with it.
            Record { end: self.at, ..Record::of(&header, mark, &self.window[behind_header]) }
        }))
    }

    /// The header of the next data record, and where it begins.
    pub(super) fn next_header(&mut self) -> Result<Option<(RecordHeader, Mark)>, ReadError> {
        let found = self.step(Pos(u64::MAX), |_, _| false)?;
        Ok(found.map(|Stepped { header, mark, .. }| (header, mark)))
    }

    /// The next data record as it stands in the log: its header, where it begins, and what stands
    /// behind the header.
    pub(super) fn next_whole(&mut self) -> Result<Option<Whole<'_>>, ReadError> {
        let found = self.step(Pos(u64::MAX), |_, _| true)?;
        Ok(found.map(|Stepped { header, mark, behind_header }| (header, mark, &self.window[behind_header])))
    }

    /// Moves on to the next data record.
    fn step(&mut self, limit: Pos, wants_body: impl Fn(Kind, u32) -> bool) -> Result<Option<Stepped>, ReadError> {
        let end = self.log.readable().min(limit);
        loop {
            if self.at.pos >= end {
                return Ok(None);
            }
            let left = self.log.geometry().to_lap_end(self.at.pos.0);
            if left < RECORD_HEADER_BYTES as u64 {
                self.at.pos.0 += left;
                continue;
            }
            let start = self.fill(end, RECORD_HEADER_BYTES)?;
            let header = RecordHeader::parse(&self.window[start..]).ok_or(ReadError::Corrupt { at: self.at })?;
            if header.seq != self.at.seq || header.total() > left {
                return Err(ReadError::Corrupt { at: self.at });
            }
            let start = self.fill(end, header.needed().min(RECORD_HEADER_BYTES + tables::NAME_BYTES))?;
            let table_hash = tables::hash_of(&header, &self.window[start + RECORD_HEADER_BYTES..]);
            let header = RecordHeader { table_hash, ..header };
            let wanted = header.kind.is_data() && wants_body(header.kind, header.table_hash);
            let start = if wanted { self.fill(end, header.needed())? } else { start };
            if wanted && !header.checks_out(self.log.checksum(), self.at.pos.0, &self.window[start..]) {
                return Err(ReadError::Corrupt { at: self.at });
            }
            let mark = self.at;
            self.at.pos.0 += header.total();
            if header.kind.is_data() {
                self.at.seq.0 += 1;
                self.at = self.log.over_gap(self.at);
                let body = start + RECORD_HEADER_BYTES;
                let body_end = if wanted { body + header.len as usize } else { body };
                return Ok(Some(Stepped { header, mark, behind_header: body..body_end }));
            }
            self.at = self.log.over_gap(self.at);
        }
    }

    /// Makes `needed` bytes at the current place available; returns where in the window they begin.
    fn fill(&mut self, end: Pos, needed: usize) -> Result<usize, ReadError> {
        let Mark { pos, .. } = self.at;
        let at_hand =
            pos >= self.window_start && pos.0 + needed as u64 <= self.window_start.0 + self.window.len() as u64;
        if !at_hand {
            let whole = (end.0 - pos.0).min(self.log.geometry().to_lap_end(pos.0)) as usize;
            if needed > whole {
                return Err(ReadError::Corrupt { at: self.at });
            }
            self.window.resize(whole.min(WINDOW_BYTES.max(needed)), 0);
            self.window_start = pos;
            self.log.load(pos, &mut self.window)?;
        }
        // The tail is raised before its space is reused, so what was read is whole if the tail is not beyond it now.
        if self.log.tail_is_beyond(pos) {
            self.window.clear();
            return Err(ReadError::Overtaken { to: self.log.tail() });
        }
        Ok((pos.0 - self.window_start.0) as usize)
    }
}
