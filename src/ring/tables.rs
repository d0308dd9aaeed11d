//! Which table a record belongs to, as a number: it decides the record's lane.
//!
//! The number is of the folded name ([`crate::names`]), so that all spellings of a table have one
//! lane. Records that were appended before that was so have the number of the name as it was
//! written; they are known by the name in their body, and take the lane of the others. Whoever
//! reads a record's header asks here.

use super::layout::{EXTENSION_BYTES, Kind, RecordHeader};
use crate::{names, point::MAX_NAME_BYTES};

/// Behind a record's header: bytes that hold the name of its table.
pub const NAME_BYTES: usize = EXTENSION_BYTES + 1 + MAX_NAME_BYTES;

/// Stands for no table in the header of a record that has none.
pub const HASH_WITHOUT_TABLE: u32 = 0;

/// Hash of a table's name, which decides its lane; one for all spellings. Never
/// [`HASH_WITHOUT_TABLE`].
pub fn table_hash(table: &str) -> u32 {
    names::with_folded(table, crc32c::crc32c).max(1)
}

/// What stood in the header of a record of this table before spellings had one number.
pub fn hash_as_written(table: &str) -> u32 {
    crc32c::crc32c(table.as_bytes()).max(1)
}

/// The hash of the table that a record belongs to, from its header and what stands behind it; the
/// first [`NAME_BYTES`] of that are enough.
#[inline]
pub fn hash_of(header: &RecordHeader, behind_header: &[u8]) -> u32 {
    // Most names are plain, and their numbers have always been the same.
    if name_bytes(header, behind_header).is_none_or(names::is_plain) {
        return header.table_hash;
    }
    match name_in(header, behind_header) {
        Some(name) if !names::is_folded(name) && header.table_hash == hash_as_written(name) => table_hash(name),
        // It is the folded name's already, or there is no such name: then the header is all there
        // is.
        _ => header.table_hash,
    }
}

/// The name that stands in a record, where its header vouches for it.
pub fn name_of<'a>(header: &RecordHeader, behind_header: &'a [u8]) -> Option<&'a str> {
    let is_its = |name: &&str| [table_hash(name), hash_as_written(name)].contains(&header.table_hash);
    name_in(header, behind_header).filter(is_its)
}

/// The name that seems to stand in a record.
fn name_in<'a>(header: &RecordHeader, behind_header: &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(name_bytes(header, behind_header)?).ok()
}

/// The same as bytes, which may be no text.
#[inline]
fn name_bytes<'a>(header: &RecordHeader, behind_header: &'a [u8]) -> Option<&'a [u8]> {
    if !matches!(header.kind, Kind::Rows | Kind::Clear) {
        return None;
    }
    let (length, rest) = header.body(behind_header).split_first()?;
    rest.get(..usize::from(*length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        entry::{Rows, encode_rows},
        lanes::Lanes,
        point::{Received, Row},
        ring::{layout::Extension, marks::Seq},
    };

    /// A record's header and what stands behind it, as this format and earlier ones have it.
    fn record(table: &str, table_hash: u32, extended: bool) -> (RecordHeader, Vec<u8>) {
        let mut behind = if extended { Extension::default().encode().to_vec() } else { Vec::new() };
        encode_rows(table, &[Row::default()], &mut behind).unwrap();
        let header = RecordHeader {
            len: behind.len() as u32,
            seq: Seq(1),
            generation: 1,
            kind: Kind::Rows,
            last: true,
            continues: false,
            extended,
            releases: false,
            rows: 1,
            table_hash,
            received: Received::default(),
        };
        (header, behind)
    }

    #[test]
    fn all_spellings_of_a_table_have_one_lane_whatever_wrote_their_records() {
        for (table, folded) in [("Plant", "plant"), ("plant", "plant"), ("GRÖSSE", "grösse"), ("\u{212a}1", "k1")] {
            let wanted = crc32c::crc32c(folded.as_bytes());
            assert_eq!(table_hash(table), wanted, "names in lower case keep the number that they had");
            for extended in [false, true] {
                for in_header in [hash_as_written(table), table_hash(table)] {
                    let (header, behind) = record(table, in_header, extended);
                    assert_eq!(hash_of(&header, &behind), wanted, "{table}");
                    assert_eq!(hash_of(&header, &behind[..behind.len().min(NAME_BYTES)]), wanted);
                    assert_eq!(name_of(&header, &behind), Some(table));
                }
            }
        }
        assert!((1..8).any(|lanes| {
            let lane = |hash| Lanes::new(lanes).of(hash);
            lane(hash_as_written("Plant")) != lane(table_hash("plant"))
        }));
    }

    #[test]
    fn a_name_that_the_header_does_not_vouch_for_changes_nothing() {
        let (header, behind) = record("Plant", 7, true);
        assert_eq!((hash_of(&header, &behind), name_of(&header, &behind)), (7, None));
        assert_eq!(hash_of(&header, &[]), 7);
        let letter = RecordHeader { kind: Kind::DeadLetter, table_hash: 0, ..header };
        assert_eq!((hash_of(&letter, &behind), name_of(&letter, &behind)), (0, None));
        let (header, mut behind) = record(&"N".repeat(MAX_NAME_BYTES), 1, true);
        let long = RecordHeader { table_hash: hash_as_written(&"N".repeat(MAX_NAME_BYTES)), ..header };
        behind.truncate(NAME_BYTES);
        assert_eq!(hash_of(&long, &behind), table_hash(&"n".repeat(MAX_NAME_BYTES)), "the longest name fits");
        behind.truncate(NAME_BYTES - 1);
        assert_eq!(hash_of(&long, &behind), long.table_hash);
        let (_, mut behind) = record("Plant", 7, false);
        assert!(Rows::decode(&behind).is_ok());
        behind[0] = 200;
        assert_eq!(name_of(&RecordHeader { extended: false, ..header }, &behind), None);
    }
}
