//! Names of entries, as people and programs give them to the commands.

use std::{fmt, str::FromStr};

use super::format::{CUT_LETTER, DEAD_LETTER, Entry, Key};
use crate::{marks::Seq, point::Timestamp};

/// Word for the row number of a dead letter, which is a message as a whole.
const MESSAGE: &str = "m";
/// The same for one whose payload lacks its end.
const CUT_MESSAGE: &str = "c";

/// Names an entry: its record's number, the row in it (`m` for a message, `c` for one that was cut), and a checksum over both, the ring's id and the time of
/// receipt, since numbers alone may be those of another ring's record. Written `1234-0-9f86d081`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    seq: Seq,
    row: u16,
    check: u32,
}

impl Id {
    /// The name of what `key` and the time of its receipt tell apart.
    pub fn of(key: Key, received: Timestamp) -> Self {
        let mut check = crc32c::crc32c(&key.ring_id.to_le_bytes());
        check = crc32c::crc32c_append(check, &key.seq.0.to_le_bytes());
        check = crc32c::crc32c_append(check, &key.row.to_le_bytes());
        check = crc32c::crc32c_append(check, &received.0.to_le_bytes());
        Self { seq: key.seq, row: key.row, check }
    }
}

impl From<&Entry<'_>> for Id {
    fn from(entry: &Entry<'_>) -> Self {
        Self::of(entry.key, entry.received)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            DEAD_LETTER => write!(f, "{}-{MESSAGE}-{:08x}", self.seq, self.check),
            CUT_LETTER => write!(f, "{}-{CUT_MESSAGE}-{:08x}", self.seq, self.check),
            row => write!(f, "{}-{row}-{:08x}", self.seq, self.check),
        }
    }
}

/// A text that names no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no entry's id; ids look like 1234-0-9f86d081 or 1234-m-9f86d081 (see forebay quarantine ls)")]
pub struct IdError(pub String);

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let read = || {
            let mut parts = text.splitn(3, '-');
            let (seq, row, check) = (parts.next()?, parts.next()?, parts.next()?);
            let row = match row {
                MESSAGE => DEAD_LETTER,
                CUT_MESSAGE => CUT_LETTER,
                row => row.parse().ok().filter(|row| *row < CUT_LETTER)?,
            };
            let is_hex = check.len() == 8 && check.bytes().all(|byte| byte.is_ascii_hexdigit());
            let check = u32::from_str_radix(check, 16).ok().filter(|_| is_hex)?;
            Some(Self { seq: Seq(seq.parse().ok()?), row, check })
        };
        read().ok_or_else(|| IdError(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_tell_entries_apart() {
        let key = Key { ring_id: 9, seq: Seq(1_234), row: 0 };
        let id = Id::of(key, Timestamp(5));
        assert_eq!(id.to_string().parse(), Ok(id));
        let letter = Id::of(Key { row: DEAD_LETTER, ..key }, Timestamp(5));
        assert!(letter.to_string().starts_with("1234-m-"));
        assert_eq!(letter.to_string().parse(), Ok(letter));
        assert_ne!(id, Id::of(Key { ring_id: 8, ..key }, Timestamp(5)));
        assert_ne!(id, Id::of(key, Timestamp(6)));
        for wrong in ["", "1234", "1234-0", "1234-0-xyz", "1234-65535-00000000", "a-0-00000000", "1-0-+0000000"] {
            assert!(wrong.parse::<Id>().is_err(), "{wrong}");
        }
    }
}
