//! Bytes of a quarantine file (pure). Integers are little-endian.
//!
//! A file begins with `forebayQ`, a version (u32) and its number (u32), which is one more than the file's before it; entries follow
//! without gaps:
//!
//! | bytes | what |
//! |---|---|
//! | 3 | length of what follows the checksum |
//! | 1 | 0, or `0xA5` once the entry has been taken out |
//! | 4 | crc32c of what follows |
//! | 8 | ring id |
//! | 8 | seq |
//! | 2 | row, 65,535 for a dead letter, 65,534 for one that was cut, 65,533 for one whose body begins with a time |
//! | 8 | wall clock when it was set aside, ns since 1970 |
//! | 8 | wall clock when its message was received |
//! | 2 + n | reason |
//! | 2 + n | table, or topic of a dead letter |
//! | rest | body: one row as in a rows record, or a dead letter's payload, perhaps behind the time that the rest of its message was given (8 bytes, ns since 1970) |
//!
//! An entry is taken out by that one byte alone, written in its place: a crash leaves the old byte or the new one. What has been taken
//! out still says that it was set aside, so that its record, when it is read again, is neither sent nor set aside a second time.
//!
//! Version 1 has zeros for the number and knows no entries taken out; it is made version 2 by writing its header anew.

use crate::{entry::was_cut_by_reason, marks::Seq, point::Timestamp};

/// Bytes of a file's header.
pub const HEADER_BYTES: usize = 16;
/// How a file of the quarantine begins.
pub const MAGIC: [u8; 8] = *b"forebayQ";
/// The version that is written.
pub const VERSION: u32 = 2;
/// The oldest version that is still read.
pub const OLDEST_VERSION: u32 = NUMBERLESS_VERSION;
/// A version without numbers.
const NUMBERLESS_VERSION: u32 = 1;
/// Where in an entry the byte lies that says whether it has been taken out.
pub const STATE_AT: u64 = 3;
/// Its value once it has been. Bits that flip by themselves are unlikely to make it.
pub const TAKEN_OUT: u8 = 0xA5;
/// Bytes before an entry's checksummed part.
pub const PREFIX_BYTES: usize = 8;
/// Largest entry, prefix left out; what is longer has its body cut.
pub const MAX_ENTRY_BYTES: usize = 1 << 20;
/// Longest reason in bytes.
pub const MAX_REASON_BYTES: usize = 1024;
/// Row number of an entry that is a dead letter.
pub const DEAD_LETTER: u16 = u16::MAX;
/// Row number of a dead letter whose payload lacks its end.
pub const CUT_LETTER: u16 = u16::MAX - 1;
/// Row number, in the file alone, of a dead letter with the time that rows of its message were given.
const TIMED_LETTER: u16 = u16::MAX - 2;
const FIXED_BYTES: usize = 8 + 8 + 2 + 8 + 8 + 2 + 2;

/// What a file's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The file's number; none in version 1.
    pub number: Option<u32>,
}

/// The first bytes of a file.
pub fn encode_header(number: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..].copy_from_slice(&number.to_le_bytes());
    header
}

/// The version of a quarantine file that a later program wrote, if these are the first bytes of one.
pub fn later_version(bytes: &[u8]) -> Option<u32> {
    let version = bytes.strip_prefix(&MAGIC)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))?;
    (version > VERSION).then_some(version)
}

/// Reads the first bytes of a file; none when it is no quarantine file, or one of a version that is not known.
pub fn decode_header(bytes: [u8; HEADER_BYTES]) -> Option<Header> {
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    match (bytes[..8] == MAGIC, word(8), word(12)) {
        (true, VERSION, number) => Some(Header { number: Some(number) }),
        (true, NUMBERLESS_VERSION, 0) => Some(Header { number: None }),
        _ => None,
    }
}

/// Whether a crash while a file was created may have left it like this: it is no longer than a header.
pub fn is_unborn(bytes: &[u8]) -> bool {
    let known = bytes.len().min(12);
    encode_header(0)[..known] == bytes[..known] || bytes.iter().all(|byte| *byte == 0)
}

/// What an entry is of; an entry is set aside once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The ring it comes from.
    pub ring_id: u64,
    /// The record.
    pub seq: Seq,
    /// The row in the record, or [`DEAD_LETTER`], or [`CUT_LETTER`].
    pub row: u16,
}

/// The row number under which an entry is remembered as set aside: a dead letter has one, whether it was cut or not.
pub fn exception_of(row: u16) -> u16 {
    if row == CUT_LETTER { DEAD_LETTER } else { row }
}

impl Key {
    /// Whether it is of a message as a whole.
    pub fn is_letter(self) -> bool {
        matches!(self.row, DEAD_LETTER | CUT_LETTER)
    }
}

/// Something set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it is of.
    pub key: Key,
    /// When it was set aside.
    pub time: Timestamp,
    /// When its message was received.
    pub received: Timestamp,
    /// Why, in words.
    pub reason: &'a str,
    /// The table, or the topic of a dead letter.
    pub origin: &'a str,
    /// A rows body with the one row ([`crate::entry::Rows`]), or the payload of a dead letter.
    pub body: &'a [u8],
    /// Of a dead letter about a part of a message: the time of receipt that the row which lacks the
    /// part was given.
    pub row_time: Option<Timestamp>,
}

impl Entry<'_> {
    /// Whether it is a dead letter whose payload lacks its end. Earlier versions told it by the reason alone.
    pub fn is_cut(&self) -> bool {
        self.key.row == CUT_LETTER || self.key.row == DEAD_LETTER && was_cut_by_reason(self.reason)
    }
}

/// Appends an entry; reason, origin and body are cut to their limits. A dead letter that loses its end here says so.
pub fn encode(entry: &Entry<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    out.extend_from_slice(&entry.key.ring_id.to_le_bytes());
    out.extend_from_slice(&entry.key.seq.0.to_le_bytes());
    let row_at = out.len();
    let fixed = FIXED_BYTES + entry.reason.len().min(MAX_REASON_BYTES) + entry.origin.len().min(usize::from(u16::MAX));
    // A letter that is cut is not decoded again, and needs no time.
    let row_time =
        entry.row_time.filter(|_| entry.key.row == DEAD_LETTER && fixed + 8 + entry.body.len() <= MAX_ENTRY_BYTES);
    let row = if row_time.is_some() { TIMED_LETTER } else { entry.key.row };
    out.extend_from_slice(&row.to_le_bytes());
    out.extend_from_slice(&entry.time.0.to_le_bytes());
    out.extend_from_slice(&entry.received.0.to_le_bytes());
    for (text, limit) in [(entry.reason, MAX_REASON_BYTES), (entry.origin, usize::from(u16::MAX))] {
        let text = &text[..text.floor_char_boundary(limit)];
        out.extend_from_slice(&(text.len() as u16).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out.extend(row_time.iter().flat_map(|time| time.0.to_le_bytes()));
    let room = MAX_ENTRY_BYTES - (out.len() - start - PREFIX_BYTES);
    out.extend_from_slice(&entry.body[..entry.body.len().min(room)]);
    if entry.body.len() > room && entry.key.is_letter() {
        out[row_at..row_at + 2].copy_from_slice(&CUT_LETTER.to_le_bytes());
    }
    let (prefix, rest) = out[start..].split_at_mut(PREFIX_BYTES);
    prefix[..4].copy_from_slice(&(rest.len() as u32).to_le_bytes());
    prefix[4..].copy_from_slice(&crc32c::crc32c(rest).to_le_bytes());
}

/// The bytes before an entry's checksummed part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Bytes of the checksummed part.
    pub len: usize,
    /// Its checksum.
    pub crc: u32,
    /// Whether the entry has been taken out.
    pub taken_out: bool,
}

impl Prefix {
    /// Reads a prefix; none when it is not one an entry can have.
    pub fn decode(bytes: [u8; PREFIX_BYTES]) -> Option<Self> {
        let [l0, l1, l2, state, c0, c1, c2, c3] = bytes;
        let len = u32::from_le_bytes([l0, l1, l2, 0]) as usize;
        let known = (FIXED_BYTES..=MAX_ENTRY_BYTES).contains(&len) && matches!(state, 0 | TAKEN_OUT);
        known.then_some(Self { len, crc: u32::from_le_bytes([c0, c1, c2, c3]), taken_out: state == TAKEN_OUT })
    }

    /// Bytes of the whole entry.
    pub fn entry_bytes(&self) -> u64 {
        (PREFIX_BYTES + self.len) as u64
    }
}

/// Reads the checksummed part of an entry; none when it is damaged.
pub fn decode(bytes: &[u8], crc: u32) -> Option<Entry<'_>> {
    if crc32c::crc32c(bytes) != crc {
        return None;
    }
    let (ring_id, rest) = bytes.split_first_chunk()?;
    let (seq, rest) = rest.split_first_chunk()?;
    let (row, rest) = rest.split_first_chunk()?;
    let (time, rest) = rest.split_first_chunk()?;
    let (received, rest) = rest.split_first_chunk()?;
    let (reason, rest) = text(rest)?;
    let (origin, body) = text(rest)?;
    let time_of = |bytes: &[u8; 8]| Timestamp(i64::from_le_bytes(*bytes));
    let (row, row_time, body) = match u16::from_le_bytes(*row) {
        TIMED_LETTER => {
            let (row_time, body) = body.split_first_chunk()?;
            (DEAD_LETTER, Some(time_of(row_time)), body)
        }
        row => (row, None, body),
    };
    let key = Key { ring_id: u64::from_le_bytes(*ring_id), seq: Seq(u64::from_le_bytes(*seq)), row };
    Some(Entry { key, time: time_of(time), received: time_of(received), reason, origin, body, row_time })
}

fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Option<Entry<'_>> {
        let (prefix, rest) = bytes.split_first_chunk()?;
        let prefix = Prefix::decode(*prefix)?;
        decode(rest.get(..prefix.len)?, prefix.crc)
    }

    #[test]
    fn headers_tell_version_and_number() {
        assert_eq!(decode_header(encode_header(7)), Some(Header { number: Some(7) }));
        assert_eq!(decode_header(*b"forebayQ\x01\0\0\0\0\0\0\0"), Some(Header { number: None }));
        assert_eq!(decode_header(*b"forebayQ\x03\0\0\0\0\0\0\0"), None);
        let header = encode_header(7);
        assert!(
            (0..HEADER_BYTES).all(|cut| is_unborn(&header[..cut])) && is_unborn(&[0; 16]) && !is_unborn(b"rubbish")
        );
    }

    #[test]
    fn no_single_bit_takes_an_entry_out() {
        let mut bytes = [64, 0, 0, 0, 1, 2, 3, 4];
        assert_eq!(Prefix::decode(bytes), Some(Prefix { len: 64, crc: 0x0403_0201, taken_out: false }));
        for bit in 0..8 {
            bytes[STATE_AT as usize] = 1 << bit;
            assert_eq!(Prefix::decode(bytes), None);
        }
        bytes[STATE_AT as usize] = TAKEN_OUT;
        assert!(Prefix::decode(bytes).unwrap().taken_out);
    }

    proptest! {
        #[test]
        fn entries_read_back(
            ring_id: u64, seq: u64, row in prop_oneof![0..TIMED_LETTER, Just(CUT_LETTER), Just(DEAD_LETTER)], time: i64, received: i64,
            reason: String, origin: String, body: Vec<u8>, row_time: Option<i64>,
        ) {
            let key = Key { ring_id, seq: Seq(seq), row };
            let entry = Entry {
                key, time: Timestamp(time), received: Timestamp(received), reason: &reason, origin: &origin, body: &body,
                row_time: row_time.filter(|_| row == DEAD_LETTER).map(Timestamp),
            };
            let mut bytes = Vec::new();
            encode(&entry, &mut bytes);
            prop_assert_eq!(read(&bytes), Some(entry));
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            prop_assert_eq!(read(&bytes), None);
        }

        #[test]
        fn rubbish_is_refused(bytes: Vec<u8>) {
            prop_assert_eq!(read(&bytes), None);
        }
    }

    #[test]
    fn long_entries_are_cut() {
        let body = vec![7; 2 * MAX_ENTRY_BYTES];
        let reason = "ü".repeat(MAX_REASON_BYTES);
        let key = Key { ring_id: 1, seq: Seq(2), row: DEAD_LETTER };
        let time = Timestamp(0);
        let entry =
            Entry { key, time, received: time, reason: &reason, origin: "t", body: &body, row_time: Some(time) };
        let mut bytes = Vec::new();
        encode(&entry, &mut bytes);
        assert_eq!(bytes.len(), PREFIX_BYTES + MAX_ENTRY_BYTES);
        let read = read(&bytes).unwrap();
        assert_eq!((read.reason.len(), read.is_cut(), read.row_time), (MAX_REASON_BYTES, true, None));
    }
}
