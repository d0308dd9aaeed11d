//! A state record's bytes. Pure.

use super::Key;
use crate::{
    entry::Rows,
    ring::layout::{Extension, Kind},
    tally::{Counts, SourceId},
};

/// Bytes of an entry besides its key and its value.
pub(super) const ENTRY_BYTES: usize = 8;
const FLAG_REMOVED: u8 = 1;

/// What an entry is about. Numbers that this program does not know are kept as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateKind(pub u8);

impl StateKind {
    /// A source: its name, its number in this ring and its counts.
    pub const SOURCE: Self = Self(1);
    /// A filter subscribed at the broker, with its QoS.
    pub const FILTER: Self = Self(2);
    /// A boot of the machine, and how far its wall clock was ahead of its time since boot once it was known.
    pub const BOOT: Self = Self(3);
    /// The client id under which the broker knows the session.
    pub const CLIENT: Self = Self(8);

    /// A word for the kind, for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::SOURCE => "source",
            Self::FILTER => "filter",
            Self::BOOT => "boot",
            Self::CLIENT => "client",
            _ => "unknown",
        }
    }
}

/// One entry as it is written: none as the value where it was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateEntry<'a> {
    /// What it is about.
    pub kind: StateKind,
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: Option<&'a [u8]>,
}

/// The entries of a state record's body, up to the first that does not read.
pub fn entries(body: &[u8]) -> impl Iterator<Item = StateEntry<'_>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let ([kind, flags, low, high], after) = rest.split_first_chunk()?;
        let (key, after) = after.split_at_checked(usize::from(u16::from_le_bytes([*low, *high])))?;
        let (length, after) = after.split_first_chunk()?;
        let (value, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = after;
        Some(StateEntry { kind: StateKind(*kind), key, value: (flags & FLAG_REMOVED == 0).then_some(value) })
    })
}

pub(super) fn entry_bytes(key: &[u8], value: Option<&[u8]>) -> usize {
    ENTRY_BYTES + key.len() + value.map_or(0, <[u8]>::len)
}

pub(super) fn put_entry((kind, key): &Key, value: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(&[kind.0, if value.is_none() { FLAG_REMOVED } else { 0 }]);
    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
    out.extend_from_slice(key);
    let value = value.unwrap_or_default();
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(value);
}

/// A source's number, how many counters follow, and the counters.
pub(super) fn source_value(id: SourceId, counts: Counts) -> Vec<u8> {
    let counts = counts.to_array();
    let mut out = id.0.to_le_bytes().to_vec();
    out.push(counts.len() as u8);
    out.extend(counts.iter().flat_map(|count| count.to_le_bytes()));
    out
}

/// What [`source_value`] wrote. Counters that are not there are 0; those that this program does not know are left out.
pub(super) fn read_source(value: &[u8]) -> Option<(SourceId, Counts)> {
    let ([low, high, _], rest) = value.split_first_chunk()?;
    let mut counts = Counts::default().to_array();
    for (count, bytes) in counts.iter_mut().zip(rest.chunks_exact(8)) {
        *count = u64::from_le_bytes(bytes.try_into().ok()?);
    }
    Some((SourceId(u16::from_le_bytes([*low, *high])), Counts::from_array(counts)))
}

/// What a data record adds to the counts of its source, itself and by its rows.
#[inline]
pub fn counts_of(kind: Kind, extension: Extension, body: &[u8]) -> Counts {
    let mut counts = extension.counts();
    if extension.has_notes && matches!(kind, Kind::Rows | Kind::Held) {
        for row in Rows::decode(body).into_iter().flatten().flatten() {
            counts.add(row.notes.counts());
        }
    }
    counts
}
