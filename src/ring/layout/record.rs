//! A record's header and its checksum.

use super::{
    BOOT_ID_BYTES, CommitForm, Kind, RECORD_ALIGN, RECORD_HEADER_BYTES, RELEASED_SEQ_BYTES, record_bytes,
    words::{u32_at, u64_at},
};
use crate::{
    entry::LetterForm,
    point::{Received, Timestamp},
    ring::{
        marks::Seq,
        seeded::{Bug, is_on},
    },
    tally::{Counts, SourceId},
};

const FLAG_LAST: u8 = 1;
const FLAG_CONTINUES: u8 = 2;
const FLAG_EXTENDED: u8 = 4;
const FLAG_RELEASES: u8 = 8;

/// Bytes of an [`Extension`].
pub const EXTENSION_BYTES: usize = 4;
const EXTENSION_CUT: u8 = 1;
const EXTENSION_TIMED: u8 = 2;
const EXTENSION_NOTED: u8 = 4;

/// What a data record says of itself between its header and its body, since format 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extension {
    /// Which source brought it.
    pub source: SourceId,
    /// One bit for each counter of its source to which the record itself adds one ([`crate::tally::Counter::bit`]).
    pub counts: u8,
    /// Whether a row of it adds to the counters of its source ([`crate::entry::RowNotes`]).
    pub has_notes: bool,
    /// How the body of a dead letter is to be read.
    pub letter: LetterForm,
}

impl Extension {
    /// Its bytes.
    pub fn encode(self) -> [u8; EXTENSION_BYTES] {
        let [low, high] = self.source.0.to_le_bytes();
        let flag = |is_on: bool, flag: u8| if is_on { flag } else { 0 };
        let flags = flag(self.letter.is_cut, EXTENSION_CUT)
            | flag(self.letter.has_time, EXTENSION_TIMED)
            | flag(self.has_notes, EXTENSION_NOTED);
        [low, high, self.counts, flags]
    }

    /// Reads its bytes.
    #[inline]
    pub fn decode([low, high, counts, flags]: [u8; EXTENSION_BYTES]) -> Self {
        Self {
            source: SourceId(u16::from_le_bytes([low, high])),
            counts,
            has_notes: flags & EXTENSION_NOTED != 0,
            letter: LetterForm { is_cut: flags & EXTENSION_CUT != 0, has_time: flags & EXTENSION_TIMED != 0 },
        }
    }

    /// What the record adds to the counts of its source, apart from its rows.
    #[inline]
    pub fn counts(self) -> Counts {
        Counts::from_bits(self.counts)
    }
}

/// A record's header.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the header")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes behind the header: the extension, where there is one, and the body.
    pub len: u32,
    /// Its number; of a pad or commit, the number of the data record that follows.
    pub seq: Seq,
    /// The open generation it was written in.
    pub generation: u32,
    /// What it is.
    pub kind: Kind,
    /// Whether it ends its message.
    pub last: bool,
    /// Whether its message begins with an earlier record.
    pub continues: bool,
    /// Whether an [`Extension`] stands between header and body.
    pub extended: bool,
    /// Whether its rows were held back by an earlier record, whose number its body begins with:
    /// they, and their message, are counted there.
    pub releases: bool,
    /// Rows in it; of a commit, its [`CommitForm`]; of a state record, its entries.
    pub rows: u16,
    /// Hash of the table's name, 0 where there is none.
    pub table_hash: u32,
    /// When its message arrived.
    pub received: Received,
}

impl RecordHeader {
    /// Bytes the record takes in the file.
    #[inline]
    pub fn total(&self) -> u64 {
        record_bytes(self.len as usize)
    }

    /// How many bytes of the body the checksum covers: padding is not worth reading.
    #[inline]
    fn covered(&self) -> usize {
        match self.kind {
            Kind::Pad => 0,
            Kind::Commit => CommitForm::of(self.rows).map_or(0, CommitForm::body_bytes).min(self.len as usize),
            _ => self.len as usize,
        }
    }

    /// The extension and the body of a record, of all that stands behind its header. What its kind
    /// puts in front of the body is left out: see [`Self::released`] and [`Self::held_boot`].
    #[inline]
    pub fn split<'a>(&self, behind_header: &'a [u8]) -> (Extension, &'a [u8]) {
        match behind_header.split_first_chunk() {
            Some((extension, body)) if self.extended => {
                (Extension::decode(*extension), body.get(self.in_front()..).unwrap_or_default())
            }
            _ => (Extension::default(), behind_header),
        }
    }

    /// The body alone.
    #[inline]
    pub fn body<'a>(&self, behind_header: &'a [u8]) -> &'a [u8] {
        let begins = if self.extended { self.in_front() + EXTENSION_BYTES } else { 0 };
        behind_header.get(begins..).unwrap_or_default()
    }

    /// Bytes that stand between extension and body.
    #[inline]
    fn in_front(&self) -> usize {
        match self.kind {
            Kind::Held => BOOT_ID_BYTES,
            _ if self.releases => RELEASED_SEQ_BYTES,
            _ => 0,
        }
    }

    /// The number of the held record that this one releases.
    #[inline]
    pub fn released(&self, behind_header: &[u8]) -> Option<Seq> {
        let number = behind_header.get(EXTENSION_BYTES..)?.first_chunk()?;
        self.releases.then_some(Seq(u64::from_le_bytes(*number)))
    }

    /// The boot in which the rows of a held record came.
    #[inline]
    pub fn held_boot(&self, behind_header: &[u8]) -> Option<[u8; BOOT_ID_BYTES]> {
        let id = behind_header.get(EXTENSION_BYTES..)?.first_chunk()?;
        (self.kind == Kind::Held).then_some(*id)
    }

    /// Appends header, extension and covered body to `out`, padded to the alignment where the whole body is given.
    pub fn write(&self, sum: Checksum, pos: u64, extension: Extension, body: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.seq.0.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.push(self.kind.code());
        let flag = |is_on: bool, flag: u8| if is_on { flag } else { 0 };
        out.push(
            flag(self.last, FLAG_LAST)
                | flag(self.continues, FLAG_CONTINUES)
                | flag(self.extended, FLAG_EXTENDED)
                | flag(self.releases, FLAG_RELEASES),
        );
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&self.table_hash.to_le_bytes());
        out.extend_from_slice(&self.received.wall.0.to_le_bytes());
        out.extend_from_slice(&self.received.since_boot_ns.to_le_bytes());
        let mut covered = self.covered();
        if self.extended {
            out.extend_from_slice(&extension.encode());
            covered -= EXTENSION_BYTES;
        }
        out.extend_from_slice(&body[..covered]);
        let crc = sum.of(pos, &out[start + 4..]);
        out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
        let padded = (out.len() - start).next_multiple_of(RECORD_ALIGN as usize);
        out.resize(start + padded, 0);
    }

    /// Reads a header without checking the checksum; none where it cannot be one.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEADER_BYTES)?;
        let flags = bytes[21];
        if flags & !(FLAG_LAST | FLAG_CONTINUES | FLAG_EXTENDED | FLAG_RELEASES) != 0 {
            return None;
        }
        let kind = Kind::from_code(bytes[20])?;
        let len = u32_at(bytes, 4);
        let extended = flags & FLAG_EXTENDED != 0;
        let releases = flags & FLAG_RELEASES != 0;
        if extended && (!kind.is_data() || (len as usize) < EXTENSION_BYTES) {
            return None;
        }
        if releases && (kind != Kind::Rows || !extended) || kind == Kind::Held && !extended {
            return None;
        }
        Some(Self {
            releases,
            len,
            seq: Seq(u64_at(bytes, 8)),
            generation: u32_at(bytes, 16),
            kind,
            extended,
            last: flags & FLAG_LAST != 0,
            continues: flags & FLAG_CONTINUES != 0,
            rows: u16::from_le_bytes([bytes[22], bytes[23]]),
            table_hash: u32_at(bytes, 24),
            received: Received { wall: Timestamp(u64_at(bytes, 28) as i64), since_boot_ns: u64_at(bytes, 36) },
        })
    }

    /// Whether `bytes`, which begin with this header, carry the right checksum; false where the body is cut short.
    #[inline]
    pub fn checks_out(&self, sum: Checksum, pos: u64, bytes: &[u8]) -> bool {
        let end = RECORD_HEADER_BYTES + self.covered();
        bytes.get(4..end).is_some_and(|covered| sum.of(pos, covered) == u32_at(bytes, 0))
    }

    /// Bytes of the record that have to be at hand to check it.
    #[inline]
    pub fn needed(&self) -> usize {
        RECORD_HEADER_BYTES + self.covered()
    }
}

/// Whether bytes may be a commit that names its ring; cheap, for the search of a whole file.
pub fn looks_like_commit(bytes: &[u8]) -> bool {
    bytes.get(20..24).is_some_and(|fixed| {
        let form = CommitForm::of(u16::from_le_bytes([fixed[2], fixed[3]]));
        fixed[0] == Kind::Commit.code() && matches!(form, Some(CommitForm::Second | CommitForm::Third(_)))
    })
}

/// CRC-32C over the ring's id, the record's position and its bytes: nothing of another ring or lap passes.
#[derive(Debug, Clone, Copy)]
pub struct Checksum {
    seed: u32,
}

impl Checksum {
    /// The checksum of this ring.
    pub fn of_ring(id: u64) -> Self {
        Self { seed: if is_on(Bug::NoRingId) { 0 } else { crc32c::crc32c(&id.to_le_bytes()) } }
    }

    #[inline]
    fn of(self, pos: u64, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.start(pos), bytes)
    }

    /// The checksum before any of the record's own bytes, for who reads those piece by piece.
    #[inline]
    pub(in crate::ring) fn start(self, pos: u64) -> u32 {
        crc32c::crc32c_append(self.seed, &pos.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{SECTOR_BYTES, commit_bytes},
        *,
    };

    #[test]
    fn commits_end_on_a_sector() {
        for pos in (0..4096).step_by(8) {
            for consumers in 0..=4 {
                let body = CommitForm::Third(consumers).body_bytes();
                let bytes = commit_bytes(pos, body);
                assert_eq!((pos + bytes) % SECTOR_BYTES, 0);
                assert!(bytes >= record_bytes(body) && bytes < 2 * SECTOR_BYTES);
            }
        }
    }

    #[test]
    fn a_record_checks_out_only_in_its_ring_and_place() {
        let sum = Checksum::of_ring(1);
        let extension = Extension {
            source: SourceId(0x1234),
            counts: 0b101,
            has_notes: true,
            letter: LetterForm { is_cut: true, has_time: false },
        };
        let record = RecordHeader {
            len: 9,
            seq: Seq(4),
            generation: 2,
            kind: Kind::Rows,
            last: true,
            continues: true,
            extended: true,
            releases: false,
            rows: 1,
            table_hash: 3,
            received: Received::default(),
        };
        let mut out = Vec::new();
        record.write(sum, 800, extension, b"hello", &mut out);
        assert_eq!(out.len() as u64, record.total());
        let read = RecordHeader::parse(&out).unwrap();
        assert_eq!(read, record);
        assert_eq!(read.split(&out[RECORD_HEADER_BYTES..read.needed()]), (extension, &b"hello"[..]));
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
