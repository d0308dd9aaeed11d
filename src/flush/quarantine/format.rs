//! Bytes of a quarantine file (pure). Integers are little-endian.
//!
//! A file begins with `forebayQ`, a version (u32) and 4 zero bytes; entries follow without gaps:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | length of what follows the checksum |
//! | 4 | crc32c of what follows |
//! | 8 | ring id |
//! | 8 | seq |
//! | 2 | row, 65,535 for a dead letter |
//! | 8 | wall clock when it was set aside, ns since 1970 |
//! | 8 | wall clock when its message was received |
//! | 2 + n | reason |
//! | 2 + n | table, or topic of a dead letter |
//! | rest | body: one row as in a rows record, or a dead letter's payload |

use crate::{point::Timestamp, ring::Seq};

/// First bytes of a file.
pub const HEADER: [u8; 16] = *b"forebayQ\x01\0\0\0\0\0\0\0";
/// Bytes before an entry's checksummed part.
pub const PREFIX_BYTES: usize = 8;
/// Largest entry, prefix left out; what is longer has its body cut.
pub const MAX_ENTRY_BYTES: usize = 1 << 20;
/// Longest reason in bytes.
pub const MAX_REASON_BYTES: usize = 1024;
/// Row number of an entry that is a dead letter.
pub const DEAD_LETTER: u16 = u16::MAX;
const FIXED_BYTES: usize = 8 + 8 + 2 + 8 + 8 + 2 + 2;

/// What an entry is of; an entry is set aside once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The ring it comes from.
    pub ring_id: u64,
    /// The record.
    pub seq: Seq,
    /// The row in the record, or [`DEAD_LETTER`].
    pub row: u16,
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
}

/// Appends an entry; reason, origin and body are cut to their limits.
pub fn encode(entry: &Entry<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    out.extend_from_slice(&entry.key.ring_id.to_le_bytes());
    out.extend_from_slice(&entry.key.seq.0.to_le_bytes());
    out.extend_from_slice(&entry.key.row.to_le_bytes());
    out.extend_from_slice(&entry.time.0.to_le_bytes());
    out.extend_from_slice(&entry.received.0.to_le_bytes());
    for (text, limit) in [(entry.reason, MAX_REASON_BYTES), (entry.origin, usize::from(u16::MAX))] {
        let text = &text[..text.floor_char_boundary(limit)];
        out.extend_from_slice(&(text.len() as u16).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    let room = MAX_ENTRY_BYTES - (out.len() - start - PREFIX_BYTES);
    out.extend_from_slice(&entry.body[..entry.body.len().min(room)]);
    let (prefix, rest) = out[start..].split_at_mut(PREFIX_BYTES);
    prefix[..4].copy_from_slice(&(rest.len() as u32).to_le_bytes());
    prefix[4..].copy_from_slice(&crc32c::crc32c(rest).to_le_bytes());
}

/// Length of the checksummed part and its checksum, when the length is one an entry can have.
pub fn decode_prefix(prefix: [u8; PREFIX_BYTES]) -> Option<(usize, u32)> {
    let [l0, l1, l2, l3, c0, c1, c2, c3] = prefix;
    let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    (FIXED_BYTES..=MAX_ENTRY_BYTES).contains(&len).then_some((len, u32::from_le_bytes([c0, c1, c2, c3])))
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
    let key = Key {
        ring_id: u64::from_le_bytes(*ring_id),
        seq: Seq(u64::from_le_bytes(*seq)),
        row: u16::from_le_bytes(*row),
    };
    let (time, received) = (Timestamp(i64::from_le_bytes(*time)), Timestamp(i64::from_le_bytes(*received)));
    Some(Entry { key, time, received, reason, origin, body })
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
        let (len, crc) = decode_prefix(*prefix)?;
        decode(rest.get(..len)?, crc)
    }

    proptest! {
        #[test]
        fn entries_read_back(ring_id: u64, seq: u64, row: u16, time: i64, received: i64, reason: String, origin: String, body: Vec<u8>) {
            let key = Key { ring_id, seq: Seq(seq), row };
            let entry = Entry {
                key, time: Timestamp(time), received: Timestamp(received), reason: &reason, origin: &origin, body: &body,
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
        let entry = Entry { key, time, received: time, reason: &reason, origin: "t", body: &body };
        let mut bytes = Vec::new();
        encode(&entry, &mut bytes);
        assert_eq!(bytes.len(), PREFIX_BYTES + MAX_ENTRY_BYTES);
        assert_eq!(read(&bytes).unwrap().reason.len(), MAX_REASON_BYTES);
    }
}
