//! The bytes of a ring file: header slots, record headers, commit trailers. Pure; docs/ring-format.md is its description.

use super::{
    ledger::{Intake, Outcome},
    marks::{Mark, Pos, Seq},
};
use crate::point::{Received, Timestamp};

/// First bytes of a header slot.
pub const MAGIC: [u8; 8] = *b"FOREBAY\0";
/// Version of the format described here.
pub const FORMAT_VERSION: u32 = 1;
/// Smallest unit a device writes whole.
pub const SECTOR_BYTES: u64 = 512;
/// Distance between the two header slots; each slot is one sector at the start of its page.
pub const SLOT_BYTES: u64 = 4096;
/// Where the data begins.
pub const DATA_START: u64 = 2 * SLOT_BYTES;
/// Bytes of a record's header.
pub const RECORD_HEADER_BYTES: usize = 44;
/// Records start on multiples of this.
pub const RECORD_ALIGN: u64 = 8;
/// Bytes of a commit's body that mean something; the rest fills its sector.
pub const COMMIT_BODY_BYTES: usize = 144;
/// Smallest ring: room for its parts of 1/64 to be whole pages.
pub const MIN_CAPACITY: u64 = 64 * 4096;

const KIND_ROWS: u8 = 1;
const KIND_DEAD_LETTER: u8 = 2;
const KIND_CLEAR: u8 = 3;
const KIND_PAD: u8 = 4;
const KIND_COMMIT: u8 = 5;
const FLAG_LAST: u8 = 1;
const FLAG_CLEAN: u32 = 1;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Rows of one table ([`crate::entry::Rows`]).
    Rows,
    /// A message that could not be decoded ([`crate::entry::DeadLetter`]).
    DeadLetter,
    /// A cleared series ([`crate::entry::Clear`]).
    Clear,
    /// Nothing, up to the end of the lap.
    Pad,
    /// The trailer that seals a commit.
    Commit,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Rows => KIND_ROWS,
            Self::DeadLetter => KIND_DEAD_LETTER,
            Self::Clear => KIND_CLEAR,
            Self::Pad => KIND_PAD,
            Self::Commit => KIND_COMMIT,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            KIND_ROWS => Self::Rows,
            KIND_DEAD_LETTER => Self::DeadLetter,
            KIND_CLEAR => Self::Clear,
            KIND_PAD => Self::Pad,
            KIND_COMMIT => Self::Commit,
            _ => return None,
        })
    }

    /// Whether the record carries a message's data and so takes a sequence number.
    pub fn is_data(self) -> bool {
        matches!(self, Self::Rows | Self::DeadLetter | Self::Clear)
    }
}

/// Where positions of the log lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes of data in a lap; a multiple of the page size.
    pub capacity: u64,
}

impl Geometry {
    /// The geometry of a file of so many bytes; none when it is too small.
    pub fn of_file(bytes: u64) -> Option<Self> {
        let capacity = bytes.checked_sub(DATA_START)? / 4096 * 4096;
        (capacity >= MIN_CAPACITY).then_some(Self { capacity })
    }

    /// Offset in the file of a position.
    pub fn offset(self, pos: u64) -> u64 {
        DATA_START + pos % self.capacity
    }

    /// Bytes from a position to the end of its lap.
    pub fn to_lap_end(self, pos: u64) -> u64 {
        self.capacity - pos % self.capacity
    }

    /// Largest record, header included.
    pub fn max_record(self) -> u64 {
        self.capacity / 8
    }

    /// Where a record of `bytes` lies when the head is at `pos`: there, or at the start of the next lap.
    pub fn place(self, pos: u64, bytes: u64) -> u64 {
        let left = self.to_lap_end(pos);
        if bytes <= left { pos } else { pos + left }
    }

    /// The file's ranges that hold `from..to`: one, or two where the lap ends in between.
    pub fn ranges(self, from: u64, to: u64) -> [std::ops::Range<u64>; 2] {
        let left = self.to_lap_end(from);
        let len = to - from;
        let start = self.offset(from);
        if len <= left {
            [start..start + len, 0..0]
        } else {
            [start..start + left, DATA_START..DATA_START + (len - left)]
        }
    }
}

/// Bytes a record with this body takes in the file.
pub fn record_bytes(body: usize) -> u64 {
    (RECORD_HEADER_BYTES as u64 + body as u64).next_multiple_of(RECORD_ALIGN)
}

/// Bytes a commit trailer takes at `pos`: to the end of the sector that has room for it.
pub fn commit_bytes(pos: u64) -> u64 {
    let least = record_bytes(COMMIT_BODY_BYTES);
    let left = SECTOR_BYTES - pos % SECTOR_BYTES;
    if left >= least { left } else { left + SECTOR_BYTES }
}

/// A record's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes of the body.
    pub len: u32,
    /// Its number; of a pad or commit, the number of the data record that follows.
    pub seq: Seq,
    /// The open generation it was written in.
    pub generation: u32,
    /// What it is.
    pub kind: Kind,
    /// Whether it ends its message.
    pub last: bool,
    /// Rows in it.
    pub rows: u16,
    /// Hash of the table's name, 0 where there is none.
    pub table_hash: u32,
    /// When its message arrived.
    pub received: Received,
}

impl RecordHeader {
    /// Bytes the record takes in the file.
    pub fn total(&self) -> u64 {
        record_bytes(self.len as usize)
    }

    /// How many bytes of the body the checksum covers: padding is not worth reading.
    fn covered(&self) -> usize {
        match self.kind {
            Kind::Pad => 0,
            Kind::Commit => COMMIT_BODY_BYTES.min(self.len as usize),
            _ => self.len as usize,
        }
    }

    /// Appends header and covered body to `out`, padded to the alignment where the whole body is given.
    pub fn write(&self, sum: Checksum, pos: u64, body: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.seq.0.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.push(self.kind.code());
        out.push(if self.last { FLAG_LAST } else { 0 });
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&self.table_hash.to_le_bytes());
        out.extend_from_slice(&self.received.wall.0.to_le_bytes());
        out.extend_from_slice(&self.received.since_boot_ns.to_le_bytes());
        out.extend_from_slice(&body[..self.covered()]);
        let crc = sum.of(pos, &out[start + 4..]);
        out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
        let padded = (out.len() - start).next_multiple_of(RECORD_ALIGN as usize);
        out.resize(start + padded, 0);
    }

    /// Reads a header without checking the checksum; none where it cannot be one.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEADER_BYTES)?;
        let flags = bytes[21];
        if flags & !FLAG_LAST != 0 {
            return None;
        }
        Some(Self {
            len: u32_at(bytes, 4),
            seq: Seq(u64_at(bytes, 8)),
            generation: u32_at(bytes, 16),
            kind: Kind::from_code(bytes[20])?,
            last: flags & FLAG_LAST != 0,
            rows: u16::from_le_bytes([bytes[22], bytes[23]]),
            table_hash: u32_at(bytes, 24),
            received: Received { wall: Timestamp(u64_at(bytes, 28) as i64), since_boot_ns: u64_at(bytes, 36) },
        })
    }

    /// Whether `bytes`, which begin with this header, carry the right checksum; false where the body is cut short.
    pub fn checks_out(&self, sum: Checksum, pos: u64, bytes: &[u8]) -> bool {
        let end = RECORD_HEADER_BYTES + self.covered();
        bytes.get(4..end).is_some_and(|covered| sum.of(pos, covered) == u32_at(bytes, 0))
    }

    /// Bytes of the record that have to be at hand to check it.
    pub fn needed(&self) -> usize {
        RECORD_HEADER_BYTES + self.covered()
    }
}

/// CRC-32C over the ring's id, the record's position and its bytes: nothing of another ring or lap passes.
#[derive(Debug, Clone, Copy)]
pub struct Checksum {
    seed: u32,
}

impl Checksum {
    /// The checksum of this ring.
    pub fn of_ring(id: u64) -> Self {
        Self { seed: crc32c::crc32c(&id.to_le_bytes()) }
    }

    fn of(self, pos: u64, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.seed, &pos.to_le_bytes()), bytes)
    }
}

/// Body of a commit: what is known when it is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Commit {
    /// Durable at sealing: everything before it had been synced.
    pub durable: Mark,
    /// Where resending begins after a start.
    pub safe: Mark,
    /// Messages and rows in the log up to here.
    pub intake: Intake,
    /// What became of the rows before the settled watermark.
    pub outcome: Outcome,
    /// The boot in which the commit's records were received.
    pub boot_id: [u8; 16],
    /// Where the commit's first record lies.
    pub from: Pos,
}

impl Commit {
    /// The body's bytes.
    pub fn encode(&self) -> [u8; COMMIT_BODY_BYTES] {
        let mut out = [0; COMMIT_BODY_BYTES];
        let mut w = Words { bytes: &mut out, at: 0 };
        w.mark(self.durable);
        w.mark(self.safe);
        w.intake(&self.intake);
        w.outcome(&self.outcome);
        w.raw(&self.boot_id);
        w.u64(self.from.0);
        out
    }

    /// Reads a body; none where it is too short.
    pub fn decode(body: &[u8]) -> Option<Self> {
        let mut bytes: [u8; COMMIT_BODY_BYTES] = body.get(..COMMIT_BODY_BYTES)?.try_into().ok()?;
        let mut r = Words { bytes: &mut bytes, at: 0 };
        Some(Self {
            durable: r.get_mark(),
            safe: r.get_mark(),
            intake: r.get_intake(),
            outcome: r.get_outcome(),
            boot_id: r.get_raw(),
            from: Pos(r.get_u64()),
        })
    }
}

/// A header slot. Two of them take turns; the valid one with the higher counter is the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Counts header writes; its parity tells the slot.
    pub counter: u64,
    /// The ring's id, random at creation.
    pub ring_id: u64,
    /// Bytes of data in a lap.
    pub capacity: u64,
    /// Raised durably at each start.
    pub generation: u32,
    /// Whether the ring was closed in order: `durable` is then the head.
    pub clean: bool,
    /// The boot of the latest start.
    pub boot_id: [u8; 16],
    /// Oldest record kept; only space before it may be reused.
    pub tail: Mark,
    /// Where resending begins after a start.
    pub safe: Mark,
    /// Durable when the header was written.
    pub durable: Mark,
    /// When the latest start was.
    pub opened: Received,
    /// Messages and rows in the log when the header was written.
    pub intake: Intake,
    /// What became of the rows before the settled watermark.
    pub outcome: Outcome,
}

impl Header {
    /// The sector's bytes.
    pub fn encode(&self) -> [u8; SECTOR_BYTES as usize] {
        let mut out = [0; SECTOR_BYTES as usize];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let mut w = Words { bytes: &mut out, at: 16 };
        w.u64(self.counter);
        w.u64(self.ring_id);
        w.u64(self.capacity);
        w.u64(u64::from(self.generation) | u64::from(if self.clean { FLAG_CLEAN } else { 0 }) << 32);
        w.raw(&self.boot_id);
        w.mark(self.tail);
        w.mark(self.safe);
        w.mark(self.durable);
        w.u64(self.opened.wall.0 as u64);
        w.u64(self.opened.since_boot_ns);
        w.intake(&self.intake);
        w.outcome(&self.outcome);
        let crc = Self::checksum(&out);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a slot.
    pub fn decode(bytes: &[u8]) -> Result<Self, SlotError> {
        let Some(Ok(mut sector)) = bytes.get(..SECTOR_BYTES as usize).map(<[u8; SECTOR_BYTES as usize]>::try_from)
        else {
            return Err(SlotError::Damaged);
        };
        if sector[..8] != MAGIC {
            return Err(SlotError::Damaged);
        }
        let version = u32_at(&sector, 8);
        if version != FORMAT_VERSION {
            return Err(SlotError::Version(version));
        }
        if u32_at(&sector, 12) != Self::checksum(&sector) {
            return Err(SlotError::Damaged);
        }
        let mut r = Words { bytes: &mut sector, at: 16 };
        let (counter, ring_id, capacity, packed) = (r.get_u64(), r.get_u64(), r.get_u64(), r.get_u64());
        Ok(Self {
            counter,
            ring_id,
            capacity,
            generation: packed as u32,
            clean: (packed >> 32) as u32 & FLAG_CLEAN != 0,
            boot_id: r.get_raw(),
            tail: r.get_mark(),
            safe: r.get_mark(),
            durable: r.get_mark(),
            opened: Received { wall: Timestamp(r.get_u64() as i64), since_boot_ns: r.get_u64() },
            intake: r.get_intake(),
            outcome: r.get_outcome(),
        })
    }

    /// Offset in the file of the slot this header belongs in.
    pub fn slot_offset(&self) -> u64 {
        self.counter % 2 * SLOT_BYTES
    }

    fn checksum(sector: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&sector[..12]), &sector[16..])
    }
}

/// Why a header slot cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotError {
    /// It does not begin as one or its checksum is wrong.
    Damaged,
    /// It is of another format version.
    Version(u32),
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Writes and reads the fixed fields of headers and commits one after the other.
struct Words<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Words<'_> {
    fn raw(&mut self, value: &[u8]) {
        self.bytes[self.at..self.at + value.len()].copy_from_slice(value);
        self.at += value.len();
    }

    fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    fn mark(&mut self, mark: Mark) {
        self.u64(mark.pos.0);
        self.u64(mark.seq.0);
    }

    fn intake(&mut self, i: &Intake) {
        for value in [i.messages, i.dead_letters, i.clears, i.rows, i.refused_messages, i.refused_rows] {
            self.u64(value);
        }
    }

    fn outcome(&mut self, o: &Outcome) {
        self.mark(o.settled);
        for value in [o.stored, o.quarantined, o.dropped] {
            self.u64(value);
        }
    }

    fn get_raw<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&self.bytes[self.at..self.at + N]);
        self.at += N;
        out
    }

    fn get_u64(&mut self) -> u64 {
        u64::from_le_bytes(self.get_raw())
    }

    fn get_mark(&mut self) -> Mark {
        Mark { pos: Pos(self.get_u64()), seq: Seq(self.get_u64()) }
    }

    fn get_intake(&mut self) -> Intake {
        Intake {
            messages: self.get_u64(),
            dead_letters: self.get_u64(),
            clears: self.get_u64(),
            rows: self.get_u64(),
            refused_messages: self.get_u64(),
            refused_rows: self.get_u64(),
        }
    }

    fn get_outcome(&mut self) -> Outcome {
        Outcome {
            settled: self.get_mark(),
            stored: self.get_u64(),
            quarantined: self.get_u64(),
            dropped: self.get_u64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(n: u64) -> Mark {
        Mark { pos: Pos(n), seq: Seq(n + 1) }
    }

    fn header() -> Header {
        Header {
            counter: 7,
            ring_id: 99,
            capacity: 1 << 20,
            generation: 3,
            clean: true,
            boot_id: [5; 16],
            tail: mark(1),
            safe: mark(2),
            durable: mark(3),
            opened: Received { wall: Timestamp(-4), since_boot_ns: 5 },
            intake: Intake { messages: 6, dead_letters: 7, clears: 8, rows: 9, refused_messages: 10, refused_rows: 11 },
            outcome: Outcome { settled: mark(12), stored: 13, quarantined: 14, dropped: 15 },
        }
    }

    #[test]
    fn a_header_reads_back_and_any_flipped_bit_is_noticed() {
        let bytes = header().encode();
        assert_eq!(Header::decode(&bytes), Ok(header()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_commit_reads_back() {
        let h = header();
        let commit = Commit {
            durable: h.durable,
            safe: h.safe,
            intake: h.intake,
            outcome: h.outcome,
            boot_id: [9; 16],
            from: Pos(77),
        };
        assert_eq!(Commit::decode(&commit.encode()), Some(commit));
    }

    #[test]
    fn commits_end_on_a_sector() {
        for pos in (0..4096).step_by(8) {
            let bytes = commit_bytes(pos);
            assert_eq!((pos + bytes) % SECTOR_BYTES, 0);
            assert!(bytes >= record_bytes(COMMIT_BODY_BYTES) && bytes < 2 * SECTOR_BYTES);
        }
    }

    #[test]
    fn a_record_checks_out_only_in_its_ring_and_place() {
        let sum = Checksum::of_ring(1);
        let record = RecordHeader {
            len: 5,
            seq: Seq(4),
            generation: 2,
            kind: Kind::Rows,
            last: true,
            rows: 1,
            table_hash: 3,
            received: Received::default(),
        };
        let mut out = Vec::new();
        record.write(sum, 800, b"hello", &mut out);
        assert_eq!(out.len() as u64, record.total());
        let read = RecordHeader::parse(&out).unwrap();
        assert_eq!(read, record);
        assert!(read.checks_out(sum, 800, &out));
        assert!(!read.checks_out(sum, 808, &out), "another place");
        assert!(!read.checks_out(Checksum::of_ring(2), 800, &out), "another ring");
        for bit in 0..read.needed() * 8 {
            let mut flipped = out.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let passes = RecordHeader::parse(&flipped).is_some_and(|h| h.checks_out(sum, 800, &flipped));
            assert!(!passes, "bit {bit}");
        }
    }
}
