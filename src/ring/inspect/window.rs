//! Looking for records: the file's data through a buffer of bounded size, and what checks out in it.

use std::io;

use crate::ring::{
    layout::{
        Checksum, Commit, CommitForm, Geometry, Header, Kind, RECORD_ALIGN, RECORD_HEADER_BYTES, RecordHeader,
        SECTOR_BYTES,
    },
    marks::{Mark, Pos},
    media::Media,
    reader::Record,
};

/// Bytes read at a time. A record that is larger is checked piece by piece, and read whole only once it checks out.
const CHUNK_BYTES: usize = 1 << 20;

/// A stretch of positions, `low` included and `high` not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach {
    pub low: u64,
    pub high: u64,
}

/// The data of a ring, and what it takes to know a record in it.
pub(super) struct Window<'a> {
    media: &'a dyn Media,
    pub geometry: Geometry,
    sum: Checksum,
    /// No record is of a later generation.
    pub newest: u32,
    buffer: Vec<u8>,
    /// Where in the lap the buffer begins.
    start: u64,
}

impl<'a> Window<'a> {
    pub fn new(media: &'a dyn Media, header: &Header) -> Self {
        Self {
            media,
            geometry: Geometry { capacity: header.capacity },
            sum: Checksum::of_ring(header.ring_id),
            newest: header.generation,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// Forgets what was read, so that it is read again: another process may have written there.
    pub fn forget(&mut self) {
        self.buffer.clear();
    }

    /// Makes bytes at a place in the lap available; returns those at hand, at least `needed` unless the lap ends.
    fn bytes(&mut self, offset: u64, needed: usize) -> io::Result<&[u8]> {
        let most = usize::try_from(self.geometry.capacity - offset).unwrap_or(usize::MAX);
        let needed = needed.min(most);
        if offset < self.start || offset + needed as u64 > self.start + self.buffer.len() as u64 {
            self.buffer.resize(most.min(CHUNK_BYTES.max(needed)), 0);
            self.buffer.shrink_to(CHUNK_BYTES);
            self.start = offset;
            self.media.load(self.geometry.offset(offset), &mut self.buffer)?;
        }
        Ok(&self.buffer[(offset - self.start) as usize..])
    }

    /// The record at a position, if one checks out there.
    pub fn record_at(&mut self, pos: u64) -> io::Result<Option<RecordHeader>> {
        let offset = pos % self.geometry.capacity;
        let Some(header) = RecordHeader::parse(self.bytes(offset, RECORD_HEADER_BYTES)?) else { return Ok(None) };
        Ok(if self.plausible(pos, &header) && self.checks_out(pos, &header)? { Some(header) } else { None })
    }

    /// What a header at a position says, checked for its limits alone.
    pub fn claimed_at(&mut self, pos: u64) -> io::Result<Option<RecordHeader>> {
        let bytes = self.bytes(pos % self.geometry.capacity, RECORD_HEADER_BYTES)?;
        Ok(RecordHeader::parse(bytes).filter(|header| self.plausible(pos, header)))
    }

    /// Whether a header may stand at a position at all; only then its checksum is worth computing.
    fn plausible(&self, pos: u64, header: &RecordHeader) -> bool {
        let (total, left) = (header.total(), self.geometry.to_lap_end(pos));
        let fits = match header.kind {
            Kind::Pad => total == left,
            Kind::Commit => {
                total <= left
                    && (pos + total).is_multiple_of(SECTOR_BYTES)
                    && CommitForm::of(header.rows).is_some_and(|form| header.len as usize >= form.body_bytes())
                    && total <= self.geometry.max_record()
            }
            Kind::Rows | Kind::DeadLetter | Kind::Clear | Kind::State | Kind::Held => {
                total <= left && total <= self.geometry.max_record()
            }
        };
        fits && header.seq.0 > 0 && header.generation <= self.newest
    }

    fn checks_out(&mut self, pos: u64, header: &RecordHeader) -> io::Result<bool> {
        let (sum, offset, needed) = (self.sum, pos % self.geometry.capacity, header.needed());
        // A length that only looks like one must not make the whole of it be held in memory.
        if needed > CHUNK_BYTES && !self.checks_out_piecewise(pos, needed)? {
            return Ok(false);
        }
        Ok(header.checks_out(sum, pos, self.bytes(offset, needed)?))
    }

    fn checks_out_piecewise(&mut self, pos: u64, needed: usize) -> io::Result<bool> {
        let offset = pos % self.geometry.capacity;
        let first = self.bytes(offset, RECORD_HEADER_BYTES)?;
        let claimed = first.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let mut crc = self.sum.start(pos);
        let mut piece = Vec::new();
        let mut at = 4;
        while at < needed {
            piece.resize(CHUNK_BYTES.min(needed - at), 0);
            self.media.load(self.geometry.offset(offset + at as u64), &mut piece)?;
            crc = crc32c::crc32c_append(crc, &piece);
            at += piece.len();
        }
        Ok(claimed == Some(crc))
    }

    /// Bytes at a position, whatever they are; fewer where the lap ends.
    pub fn head_of(&mut self, pos: u64, bytes: usize) -> io::Result<&[u8]> {
        self.bytes(pos % self.geometry.capacity, bytes)
    }

    /// The covered body of a record found at a position.
    pub fn body(&mut self, pos: u64, header: &RecordHeader) -> io::Result<&[u8]> {
        let bytes = self.bytes(pos % self.geometry.capacity, header.needed())?;
        Ok(&bytes[RECORD_HEADER_BYTES..header.needed()])
    }

    /// What the commit found at a position says.
    pub fn commit(&mut self, pos: u64, header: &RecordHeader) -> io::Result<Option<Commit>> {
        Ok(Commit::decode(header.rows, self.body(pos, header)?))
    }

    /// The data record found at a position.
    pub fn record(&mut self, pos: u64, header: &RecordHeader) -> io::Result<Record<'_>> {
        let mark = Mark { pos: Pos(pos), seq: header.seq };
        Ok(Record::of(header, mark, self.body(pos, header)?))
    }

    /// The first record between two places in the lap that checks out at one of the positions in reach; the position and its
    /// header. Records begin on multiples of 8, so each of them is tried.
    pub fn next_intact(&mut self, from: u64, upto: u64, reach: Reach) -> io::Result<Option<(u64, RecordHeader)>> {
        let capacity = self.geometry.capacity;
        let mut offset = from.next_multiple_of(RECORD_ALIGN);
        while offset < upto && capacity - offset >= RECORD_HEADER_BYTES as u64 {
            let bytes = self.bytes(offset, RECORD_HEADER_BYTES)?;
            let Some(skip) = candidate(bytes) else {
                let tried = bytes.len() - RECORD_HEADER_BYTES;
                offset += tried as u64 / RECORD_ALIGN * RECORD_ALIGN + RECORD_ALIGN;
                continue;
            };
            offset += skip as u64;
            if offset >= upto {
                break;
            }
            for lap in reach.low / capacity..=reach.high / capacity {
                let pos = lap * capacity + offset;
                if (reach.low..reach.high).contains(&pos)
                    && let Some(header) = self.record_at(pos)?
                {
                    return Ok(Some((pos, header)));
                }
            }
            offset += RECORD_ALIGN;
        }
        Ok(None)
    }
}

/// The first multiple of 8 at which a header could stand, cheaply told.
fn candidate(bytes: &[u8]) -> Option<usize> {
    (0..=bytes.len().checked_sub(RECORD_HEADER_BYTES)?)
        .step_by(RECORD_ALIGN as usize)
        .find(|at| RecordHeader::parse(&bytes[*at..]).is_some())
}

/// Bytes behind the start of a record in which no other record can be: those its checksum covers. What fills up a pad or a
/// commit is never written, so records of earlier laps may live on in it.
pub(super) fn occupied(header: &RecordHeader) -> u64 {
    if header.kind.is_data() { header.total() } else { (header.needed() as u64).next_multiple_of(RECORD_ALIGN) }
}
