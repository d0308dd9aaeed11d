//! The bytes of a ring file: header slots, record headers, commit trailers. Pure; docs/ring-format.md is its description.

mod commit;
mod header;
mod record;
mod words;

pub use self::{
    commit::{Commit, CommitForm, RingFacts},
    header::{Header, SlotError},
    record::{Checksum, EXTENSION_BYTES, Extension, RecordHeader, looks_like_commit},
};
use super::seeded::{Bug, is_on};

/// First bytes of a header slot.
pub const MAGIC: [u8; 8] = *b"FOREBAY\0";
/// Version of the format described here. Every version begins a header slot with the magic, the version and a checksum of the sector.
pub const FORMAT_VERSION: u32 = 4;
/// Oldest version that is read; opening such a file makes it one of [`FORMAT_VERSION`].
pub const OLDEST_FORMAT_VERSION: u32 = 1;
/// Smallest unit a device writes whole.
pub const SECTOR_BYTES: u64 = 512;
/// Distance between the two header slots; each slot is one sector at the start of its page.
pub const SLOT_BYTES: u64 = 4096;
/// Where the data begins.
pub const DATA_START: u64 = 2 * SLOT_BYTES;
/// Bytes of a record's header.
pub const RECORD_HEADER_BYTES: usize = 44;
/// Bytes in front of a held record's rows: the id of the boot in which they came.
pub const BOOT_ID_BYTES: usize = 16;
/// Bytes in front of the rows of a record that releases a held one: the number of that one.
pub const RELEASED_SEQ_BYTES: usize = 8;
/// Records start on multiples of this.
pub const RECORD_ALIGN: u64 = 8;
/// Bytes that hold a commit's header and all that its checksum covers.
pub const COMMIT_PROOF_BYTES: u64 = SECTOR_BYTES;
/// Smallest ring: room for its parts of 1/64 to be whole pages.
pub const MIN_CAPACITY: u64 = 64 * 4096;

const KIND_ROWS: u8 = 1;
const KIND_DEAD_LETTER: u8 = 2;
const KIND_CLEAR: u8 = 3;
const KIND_PAD: u8 = 4;
const KIND_COMMIT: u8 = 5;
const KIND_STATE: u8 = 6;
const KIND_HELD: u8 = 7;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Rows of one table ([`crate::entry::Rows`]).
    #[default]
    Rows,
    /// A message that could not be decoded ([`crate::entry::DeadLetter`]).
    DeadLetter,
    /// A cleared series ([`crate::entry::Clear`]).
    Clear,
    /// Nothing, up to the end of the lap.
    Pad,
    /// The trailer that seals a commit.
    Commit,
    /// What must outlive the tail ([`crate::ring::state`]).
    State,
    /// Rows of one table whose time is not known yet ([`crate::ring::held`]).
    Held,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Rows => KIND_ROWS,
            Self::DeadLetter => KIND_DEAD_LETTER,
            Self::Clear => KIND_CLEAR,
            Self::Pad => KIND_PAD,
            Self::Commit => KIND_COMMIT,
            Self::State => KIND_STATE,
            Self::Held => KIND_HELD,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            KIND_ROWS => Self::Rows,
            KIND_DEAD_LETTER => Self::DeadLetter,
            KIND_CLEAR => Self::Clear,
            KIND_PAD => Self::Pad,
            KIND_COMMIT => Self::Commit,
            KIND_STATE => Self::State,
            KIND_HELD => Self::Held,
            _ => return None,
        })
    }

    /// Whether the record carries a message's data and so takes a sequence number.
    pub fn is_data(self) -> bool {
        matches!(self, Self::Rows | Self::DeadLetter | Self::Clear | Self::Held)
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

/// Bytes a record takes in the file, with so many bytes behind its header.
pub fn record_bytes(behind_header: usize) -> u64 {
    (RECORD_HEADER_BYTES as u64 + behind_header as u64).next_multiple_of(RECORD_ALIGN)
}

/// Bytes a data record with this body takes in the file.
pub fn data_record_bytes(body: usize) -> u64 {
    record_bytes(EXTENSION_BYTES + body)
}

/// Most bytes that all state of a ring may take: a 256th of it, at least 256 bytes, at most 1 MiB.
pub fn most_state_bytes(capacity: u64) -> u64 {
    (capacity / 256).clamp(256, 1 << 20)
}

/// Space kept back at each append.
///
/// Sealing what was admitted takes at most a state record with all of the state, a commit, and a pad in front of each. Afterwards all state
/// may have to be written once more, so that the tail can move: hence twice.
pub fn reserve_bytes(capacity: u64) -> u64 {
    const COMMIT_AND_PAD: u64 = 2048;
    let state = record_bytes(most_state_bytes(capacity) as usize);
    2 * (COMMIT_AND_PAD + 2 * state)
}

/// Bytes by which a commit that seals `bytes` and ends at `pos` is lengthened to end its page; 0 where that is not worth it.
///
/// The system writes whole pages: one that two commits share is written twice. Ending the page spares that, and costs the ring what it
/// fills: up to a third of what is sealed.
pub fn page_rest(pos: u64, bytes: u64) -> u64 {
    let rest = pos.next_multiple_of(SLOT_BYTES) - pos;
    if rest <= bytes / 3 { rest } else { 0 }
}

/// Where a commit best ends that begins behind `sealed`: with the page it begins in, or with the
/// next one where little of that is left.
pub fn worthwhile_end(sealed: u64) -> u64 {
    (sealed + SLOT_BYTES / 2).next_multiple_of(SLOT_BYTES)
}

/// Bytes a commit trailer with this body takes at `pos`: to the end of the sector that has room for it.
pub fn commit_bytes(pos: u64, body: usize) -> u64 {
    let least = record_bytes(body);
    if is_on(Bug::UnalignedCommit) {
        return least;
    }
    let left = SECTOR_BYTES - pos % SECTOR_BYTES;
    if left >= least { left } else { left + SECTOR_BYTES }
}
