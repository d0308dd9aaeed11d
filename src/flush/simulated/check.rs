//! What has to hold: during a run, and when everything is at rest.

use std::collections::BTreeMap;

use super::{
    database::Identity,
    run::{Run, Said, TABLES},
};
use crate::{marks::Seq, point::Timestamp, sync::lock};

/// What has to hold whenever something has happened.
pub fn always(run: &mut Run) -> Result<(), String> {
    // Tables that a crash took would be made anew without keys.
    if let Some(number) = lock(&run.world).astray {
        return Err(format!("request {number} left for a server that has not said when it was started"));
    }
    settled(run)
}

/// Every row before the settled watermark was confirmed by the database, or is in quarantine.
fn settled(run: &mut Run) -> Result<(), String> {
    let (ring, flusher, _) = run.parts();
    let settled = ring.marks().settled.seq;
    let quarantined = |seq: Seq, row: usize| flusher.exceptions.holds(seq, row as u16);
    let mut wrong = None;
    {
        let world = lock(&run.world);
        for (seq, rows) in run.said.range(run.checked_at()..settled) {
            for (at, row) in rows.iter().enumerate() {
                if !world.confirmed.contains(&row.value) && !quarantined(*seq, at) {
                    wrong.get_or_insert_with(|| format!("record {seq} is settled, and {} is not stored", row.value));
                }
            }
        }
    }
    let checked = run.checked();
    *checked = settled.max(*checked);
    wrong.map_or(Ok(()), Err)
}

/// The rows that stand by now, had they been written one after the other.
pub fn finally(run: &mut Run) -> Result<(), String> {
    let (ring, flusher, _) = run.parts();
    let mut aside: BTreeMap<(Seq, u16), Timestamp> = BTreeMap::new();
    let mut entries = 0;
    let snapshot = flusher.quarantine.snapshot().map_err(|error| error.to_string())?;
    snapshot
        .each(&mut |entry| {
            entries += 1;
            aside.insert((entry.key.seq, entry.key.row), entry.received);
        })
        .map_err(|error| error.to_string())?;
    let world = lock(&run.world);
    let mut expected: BTreeMap<(&str, &Identity), (&Said, bool)> = BTreeMap::new();
    let (mut rows_aside, mut rows) = (0, 0);
    for (seq, said) in &run.said {
        for (at, row) in said.iter().enumerate() {
            rows += 1;
            let is_aside = aside.contains_key(&(*seq, at as u16));
            rows_aside += u64::from(is_aside);
            if is_aside && !row.bad && !run.is_hopeless_possible() {
                return Err(format!("{} is in quarantine, and nothing is wrong with it", row.value));
            }
            if row.bad && !is_aside {
                return Err(format!("{} is bad, and not in quarantine", row.value));
            }
            if !is_aside {
                expected.insert((row.table, &row.identity), (row, true));
            }
        }
    }
    for ((table, identity), (row, _)) in &expected {
        let found = world.database.table(table).and_then(|table| table.rows.get(*identity)).copied();
        let dropped = run.dropped.get(&(row.table, identity.0)).is_some_and(|newest| row.value <= *newest);
        // What was confirmed in a table that was dropped does not go again.
        let is_gone = run.gone.get(row.table).is_some_and(|newest| row.value <= *newest);
        let is_right = match found {
            Some(value) if value == row.value => true,
            // A row that was stored, and set aside when it went again, may stand over it.
            Some(value) => is_newer_and_aside(run, &aside, row, value) || (is_gone && value < row.value),
            None => dropped || is_gone,
        };
        if !is_right {
            let places: Vec<_> = aside.keys().map(|(seq, row)| format!("{seq}/{row}")).collect();
            let why = format!("{table} {identity:?}: {} is to stand, and {found:?} does", row.value);
            return Err(format!("{why}; in quarantine are {places:?}"));
        }
    }
    for table in TABLES {
        let Some(table_now) = world.database.table(table) else { continue };
        for (identity, value) in &table_now.rows {
            let is_known = expected.contains_key(&(table, identity));
            let is_aside = run.said.iter().any(|(seq, rows)| {
                rows.iter().enumerate().any(|(at, row)| row.value == *value && aside.contains_key(&(*seq, at as u16)))
            });
            if !is_known && !is_aside {
                return Err(format!("{table} {identity:?}: {value} stands, and nothing is to"));
            }
        }
    }
    let ledger = ring.ledger();
    let told = (ledger.rows, ledger.pending, ledger.stored + ledger.quarantined, ledger.dropped);
    if told != (rows, 0, rows, 0) {
        return Err(format!("{rows} rows, and the ledger says {ledger:?}"));
    }
    if ledger.quarantined != rows_aside && !run.is_hopeless_possible() {
        return Err(format!("{rows_aside} rows in quarantine, and the ledger says {ledger:?}"));
    }
    if entries != aside.len() && !run.is_hopeless_possible() {
        return Err(format!("{entries} entries in quarantine of {} rows", aside.len()));
    }
    Ok(())
}

fn is_newer_and_aside(run: &Run, aside: &BTreeMap<(Seq, u16), Timestamp>, row: &Said, value: u64) -> bool {
    let newer = |said: &Said| said.value == value && said.value > row.value && said.identity == row.identity;
    run.said.iter().any(|(seq, rows)| {
        rows.iter().enumerate().any(|(at, said)| newer(said) && aside.contains_key(&(*seq, at as u16)))
    })
}
