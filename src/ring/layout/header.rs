//! The header slots.

use super::{
    FORMAT_VERSION, MAGIC, OLDEST_FORMAT_VERSION, SECTOR_BYTES, SLOT_BYTES,
    words::{Words, u32_at},
};
use crate::{
    point::{Received, Timestamp},
    ring::{consumers::Consumers, ledger::Intake, marks::Mark},
};

const FLAG_CLEAN: u32 = 1;
/// Earlier versions kept one safe and one settled watermark.
const FIRST_VERSION_WITH_CONSUMERS: u32 = 3;

/// A header slot. Two of them take turns; the valid one with the higher counter is the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Version of the format it was written in; it is written in the present one.
    pub version: u32,
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
    /// Durable when the header was written.
    pub durable: Mark,
    /// When the latest start was.
    pub opened: Received,
    /// Messages and rows in the log when the header was written.
    pub intake: Intake,
    /// Where each consumer is.
    pub consumers: Consumers,
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
        w.mark(self.durable);
        w.u64(self.opened.wall.0 as u64);
        w.u64(self.opened.since_boot_ns);
        w.intake(&self.intake);
        w.consumers(&self.consumers);
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
        if u32_at(&sector, 12) != Self::checksum(&sector) {
            return Err(SlotError::Damaged);
        }
        let version = u32_at(&sector, 8);
        if !(OLDEST_FORMAT_VERSION..=FORMAT_VERSION).contains(&version) {
            return Err(SlotError::Version(version));
        }
        let mut r = Words { bytes: &mut sector, at: 16 };
        let (counter, ring_id, capacity, packed) = (r.get_u64(), r.get_u64(), r.get_u64(), r.get_u64());
        let (boot_id, tail) = (r.get_raw(), r.get_mark());
        let older_safe = (version < FIRST_VERSION_WITH_CONSUMERS).then(|| r.get_mark());
        let durable = r.get_mark();
        let opened = Received { wall: Timestamp(r.get_u64() as i64), since_boot_ns: r.get_u64() };
        let intake = r.get_intake();
        let consumers = match older_safe {
            Some(safe) => Consumers::questdb(safe, r.get_outcome()),
            None => r.get_consumers().ok_or(SlotError::Damaged)?,
        };
        let generation = packed as u32;
        let clean = (packed >> 32) as u32 & FLAG_CLEAN != 0;
        Ok(Self {
            version,
            counter,
            ring_id,
            capacity,
            generation,
            clean,
            boot_id,
            tail,
            durable,
            opened,
            intake,
            consumers,
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

#[cfg(test)]
mod tests {
    use super::{
        super::{Commit, RingFacts},
        *,
    };
    use crate::ring::{
        consumers::{Consumer, ConsumerId},
        ledger::Outcome,
        marks::{Pos, Seq},
    };

    fn mark(n: u64) -> Mark {
        Mark { pos: Pos(n), seq: Seq(n + 1) }
    }

    fn header() -> Header {
        Header {
            version: FORMAT_VERSION,
            counter: 7,
            ring_id: 99,
            capacity: 1 << 20,
            generation: 3,
            clean: true,
            boot_id: [5; 16],
            tail: mark(1),
            durable: mark(3),
            opened: Received { wall: Timestamp(-4), since_boot_ns: 5 },
            intake: Intake { messages: 6, dead_letters: 7, clears: 8, rows: 9, refused_messages: 10, refused_rows: 11 },
            consumers: two_consumers(),
        }
    }

    fn two_consumers() -> Consumers {
        let outcome = Outcome { settled: mark(12), stored: 13, quarantined: 14, dropped: 15, coalesced: 16 };
        let mut consumers = Consumers::questdb(mark(2), outcome);
        consumers.put(Consumer { id: ConsumerId(7), safe: mark(17), outcome });
        consumers
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
    fn another_version_is_told_from_damage() {
        let mut bytes = header().encode();
        bytes[8] = 9;
        assert_eq!(Header::decode(&bytes), Err(SlotError::Damaged));
        let crc = Header::checksum(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::decode(&bytes), Err(SlotError::Version(9)));
    }

    #[test]
    fn a_header_has_room_for_the_most_consumers_there_may_be() {
        let mut consumers = Consumers::default();
        for id in 0.. {
            if !consumers.put(Consumer { id: ConsumerId(id), ..Consumer::default() }) {
                break;
            }
        }
        let full = Header { consumers, ..header() };
        assert_eq!(Header::decode(&full.encode()), Ok(full));
    }

    #[test]
    fn a_commit_reads_back() {
        let h = header();
        let commit = Commit {
            durable: h.durable,
            intake: h.intake,
            consumers: h.consumers,
            boot_id: [9; 16],
            from: Pos(77),
            ring: Some(RingFacts { ring_id: 4, capacity: 1 << 20, tail: mark(8) }),
        };
        assert_eq!(Commit::decode(commit.form().rows(), &commit.encode()), Some(commit));
        let alone = Commit { consumers: Consumers::questdb(mark(1), Outcome::default()), ..commit };
        assert_eq!(Commit::decode(alone.form().rows(), &alone.encode()), Some(alone));
        assert_eq!(Commit::decode(commit.form().rows(), &alone.encode()), None, "too short");
    }
}
