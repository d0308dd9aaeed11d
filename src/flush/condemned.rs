//! Tables that refuse whatever is sent to them (pure). Their rows are set aside without being sent, but for a try now and then: good rows of
//! a table that was mended are set aside for no longer than [`RETRY_EVERY`].

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use crate::{marks::Pos, names};

/// After how long such a table is tried first; the time doubles up to [`RETRY_EVERY`].
pub const FIRST_RETRY: Duration = Duration::from_secs(1);
/// How often such a table is tried at least.
pub const RETRY_EVERY: Duration = Duration::from_secs(10);
/// Most tables remembered; of others each batch finds out anew.
pub const MAX_TABLES: usize = 1_024;

#[derive(Debug)]
struct Entry {
    table: String,
    reason: Arc<str>,
    /// When it is tried next, since boot.
    next_try: Duration,
    /// How long it waited for that.
    wait: Duration,
    /// The first record of the try under way.
    tried: Option<Pos>,
}

/// A lane's memory of them, by the hash of the table's name.
#[derive(Debug, Default)]
pub struct Condemned {
    tables: HashMap<u32, Entry, foldhash::fast::RandomState>,
}

impl Condemned {
    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Takes note at `now` that a table has refused everything.
    pub fn condemn(&mut self, hash: u32, table: &str, reason: &str, now: Duration) {
        if self.tables.len() >= MAX_TABLES && !self.tables.contains_key(&hash) {
            return;
        }
        let every = RETRY_EVERY.as_secs();
        let reason = format!("{reason} (the table refused everything, and is tried again within {every} s)").into();
        let again = self.tables.get(&hash).filter(|entry| names::same(&entry.table, table));
        let wait = again.map_or(FIRST_RETRY, |entry| (entry.wait * 2).min(RETRY_EVERY));
        self.tables.insert(hash, Entry { table: table.to_owned(), reason, next_try: now + wait, wait, tried: None });
    }

    /// Why a record at `pos` is to be set aside without being sent, if it is.
    pub fn reason(&mut self, hash: u32, table: &str, pos: Pos, now: Duration) -> Option<Arc<str>> {
        let entry = self.tables.get_mut(&hash).filter(|entry| names::same(&entry.table, table))?;
        if entry.tried.is_none() && now < entry.next_try {
            return Some(Arc::clone(&entry.reason));
        }
        let tried = entry.tried.get_or_insert(pos);
        *tried = pos.min(*tried);
        None
    }

    /// The tables that are being tried in a stretch of the ring.
    pub fn on_trial(&self, from: Pos, to: Pos) -> HashSet<u32> {
        let is_tried = |entry: &Entry| entry.tried.is_some_and(|pos| pos < to) && from < to;
        self.tables.iter().filter(|(_, entry)| is_tried(entry)).map(|(hash, _)| *hash).collect()
    }

    /// Takes note that some of what a table was sent is stored.
    pub fn acquit(&mut self, hashes: &HashSet<u32>) {
        self.tables.retain(|hash, _| !hashes.contains(hash));
    }

    /// Has all of them tried with the next rows.
    pub fn try_all(&mut self) {
        self.tables.values_mut().for_each(|entry| entry.next_try = Duration::ZERO);
    }

    /// What the operator should know.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.tables.values().map(|entry| {
            format!("table {:?} refuses everything, its rows go to quarantine: {}", entry.table, entry.reason)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn a_table_is_tried_once_an_interval_and_free_when_it_takes_something() {
        let mut condemned = Condemned::default();
        condemned.condemn(1, "t", "cast error", NOW);
        let just_before = NOW + FIRST_RETRY.saturating_sub(Duration::from_nanos(1));
        let reason = condemned.reason(1, "t", Pos(5), just_before).unwrap();
        assert!(reason.contains("cast error") && reason.contains("10 s"), "{reason}");
        assert!(condemned.reason(1, "other", Pos(5), NOW).is_none(), "a name of the same hash");
        assert!(condemned.on_trial(Pos(0), Pos(99)).is_empty());
        assert!(condemned.reason(1, "t", Pos(7), NOW + FIRST_RETRY).is_none());
        // The try goes on until its answer is there.
        assert!(condemned.reason(1, "t", Pos(8), NOW + FIRST_RETRY).is_none());
        assert!(condemned.on_trial(Pos(0), Pos(7)).is_empty());
        let tried = condemned.on_trial(Pos(0), Pos(8));
        assert_eq!(tried, HashSet::from([1]));
        for _ in 0..9 {
            condemned.condemn(1, "t", "cast error", NOW);
        }
        assert!(condemned.reason(1, "t", Pos(9), NOW + FIRST_RETRY * 9).is_some());
        condemned.try_all();
        assert!(condemned.reason(1, "t", Pos(9), NOW).is_none());
        condemned.acquit(&tried);
        assert!(condemned.is_empty() && condemned.warnings().next().is_none());
    }

    #[test]
    fn no_more_are_remembered_than_may_be() {
        let mut condemned = Condemned::default();
        for hash in 0..=MAX_TABLES as u32 {
            condemned.condemn(hash, "t", "no", NOW);
        }
        assert_eq!(condemned.tables.len(), MAX_TABLES);
    }
}
