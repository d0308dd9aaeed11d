//! What a damaged stretch cost: record numbers, bytes, and the tables concerned as far as they can be told.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use serde::Serialize;

use super::{
    layout::{Kind, RECORD_HEADER_BYTES, RecordHeader},
    log::Log,
    marks::{Mark, Pos, Seq},
    reader::{ReadError, Reader},
    tables,
};
use crate::entry::Rows;

/// Tables named a stretch.
const MAX_TABLES: usize = 64;

/// A damaged stretch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// First record lost.
    pub first: Seq,
    /// Last record lost.
    pub last: Seq,
    /// Position at which it begins.
    pub from: Pos,
    /// Its length in bytes.
    pub bytes: u64,
    /// Tables that lost rows, as far as the stretch still tells; at most 64.
    pub tables: Vec<String>,
    /// Records of it of which nothing can be read, or whose table no intact record names.
    pub unknown: u64,
}

/// Describes the stretches that recovery passed over.
pub fn describe(log: &Arc<Log>) -> io::Result<Vec<Gap>> {
    let mut found = Vec::new();
    let mut wanted = BTreeSet::new();
    for &(from, to) in log.gaps() {
        let hashes = hashes_in(log, from, to)?;
        wanted.extend(hashes.iter().copied());
        found.push((from, to, hashes));
    }
    let names = if wanted.is_empty() { BTreeMap::new() } else { names_of(log, &wanted)? };
    Ok(found.into_iter().map(|(from, to, hashes)| gap(from, to, &hashes, &names)).collect())
}

fn gap(from: Mark, to: Mark, hashes: &[u32], names: &BTreeMap<u32, String>) -> Gap {
    let lost = to.seq.0.saturating_sub(from.seq.0);
    let named = hashes.iter().filter(|hash| **hash == 0 || names.contains_key(hash)).count() as u64;
    let tables: BTreeSet<&String> = hashes.iter().filter_map(|hash| names.get(hash)).collect();
    Gap {
        first: from.seq,
        last: Seq(to.seq.0.saturating_sub(1)),
        from: from.pos,
        bytes: to.pos.0.saturating_sub(from.pos.0),
        tables: tables.into_iter().take(MAX_TABLES).cloned().collect(),
        unknown: lost.saturating_sub(named),
    }
}

/// Hashes of the tables (0: none) of the lost records whose headers can still be followed from the start of the stretch.
fn hashes_in(log: &Log, from: Mark, to: Mark) -> io::Result<Vec<u32>> {
    let (geometry, mut at, mut hashes) = (log.geometry(), from, Vec::new());
    while at.pos < to.pos && hashes.len() < usize::from(u16::MAX) {
        let left = geometry.to_lap_end(at.pos.0);
        if left < RECORD_HEADER_BYTES as u64 {
            at.pos.0 += left;
            continue;
        }
        let mut bytes = [0; RECORD_HEADER_BYTES + tables::NAME_BYTES];
        let bytes = &mut bytes[..(RECORD_HEADER_BYTES + tables::NAME_BYTES).min(left as usize)];
        log.load(at.pos, bytes)?;
        let follows = |header: &RecordHeader| header.seq == at.seq && header.total() <= left;
        let Some(header) = RecordHeader::parse(bytes).filter(follows) else { break };
        at.pos.0 += header.total();
        if header.kind.is_data() {
            at.seq.0 += 1;
            hashes.push(tables::hash_of(&header, &bytes[RECORD_HEADER_BYTES..]));
        }
    }
    Ok(hashes)
}

/// Names of tables by their hash, from the intact records.
fn names_of(log: &Arc<Log>, wanted: &BTreeSet<u32>) -> io::Result<BTreeMap<u32, String>> {
    let mut names = BTreeMap::new();
    let mut reader = Reader::new(Arc::clone(log), log.tail());
    loop {
        let unknown = |_, hash: u32| wanted.contains(&hash) && !names.contains_key(&hash);
        match reader.next_with(Pos(u64::MAX), unknown) {
            Ok(Some(record)) if record.kind == Kind::Rows && !record.body.is_empty() => {
                if let Ok(rows) = Rows::decode(record.body) {
                    names.insert(record.table_hash, rows.table.to_owned());
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok(names),
            Err(ReadError::Io(error)) => return Err(error),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}
