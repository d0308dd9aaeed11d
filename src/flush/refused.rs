//! Columns that refuse values of a form, whatever the row (pure). Rows with such a value are set aside without being sent, but for one a
//! while: good rows of a column that was mended are set aside for no longer than [`RETRY_EVERY`].

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{marks::Pos, questdb::fit::FormKind};

/// After how long one row is tried first; the time doubles up to [`RETRY_EVERY`].
pub const FIRST_RETRY: Duration = Duration::from_secs(1);
/// How often one is tried at least.
pub const RETRY_EVERY: Duration = Duration::from_secs(10);
/// Most columns and forms remembered; of others each batch finds out anew.
pub const MAX_REMEMBERED: usize = 1_024;
/// The same of one table.
pub const MAX_OF_TABLE: usize = 64;

/// A value of a form in a column (by its name's number).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fault {
    /// The column.
    pub column: u64,
    /// How the value is sent.
    pub form: FormKind,
}

#[derive(Debug)]
struct Entry {
    fault: Fault,
    /// Table and column, as they are told.
    told: String,
    reason: Arc<str>,
    /// When a row is tried next, since boot.
    next_try: Duration,
    /// How long it waited for that.
    wait: Duration,
    /// The record of the try under way.
    tried: Option<Pos>,
}

/// A lane's memory of them, by the hash of the table's name.
#[derive(Debug, Default)]
pub struct Refused {
    tables: HashMap<u32, Vec<Entry>, foldhash::fast::RandomState>,
    count: usize,
}

impl Refused {
    /// Whether there is anything about a table.
    pub fn concerns(&self, hash: u32) -> bool {
        self.count > 0 && self.tables.contains_key(&hash)
    }

    /// Takes note at `now` that a column refuses a form.
    pub fn remember(&mut self, hash: u32, fault: Fault, (table, column): (&str, &str), reason: &str, now: Duration) {
        let entries = self.tables.entry(hash).or_default();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.fault == fault) {
            entry.wait = (entry.wait * 2).min(RETRY_EVERY);
            (entry.next_try, entry.tried) = (now + entry.wait, None);
        } else if self.count < MAX_REMEMBERED && entries.len() < MAX_OF_TABLE {
            let (told, every) = (format!("column {column:?} of table {table:?}"), RETRY_EVERY.as_secs());
            let form = fault.form.words();
            let reason = format!("{reason} (the column refused {form}, and is tried again within {every} s)").into();
            let wait = FIRST_RETRY;
            entries.push(Entry { fault, told, reason, next_try: now + wait, wait, tried: None });
            self.count += 1;
        }
        self.tables.retain(|_, entries| !entries.is_empty());
    }

    /// Why a row with these values, in a record at `pos`, is to be set aside without being sent, if it is.
    pub fn reason(&mut self, hash: u32, faults: &[Fault], pos: Pos, now: Duration) -> Option<Arc<str>> {
        let entries = self.tables.get_mut(&hash)?;
        let mut concerned: Vec<&mut Entry> = entries.iter_mut().filter(|of| faults.contains(&of.fault)).collect();
        // A try whose answer never came is given up after a while.
        let is_over = |of: &Entry| now >= of.next_try + RETRY_EVERY;
        let may_try = |of: &Entry| of.tried.map_or(now >= of.next_try, |tried| tried == pos || is_over(of));
        if let Some(barred) = concerned.iter().find(|of| !may_try(of)) {
            return Some(Arc::clone(&barred.reason));
        }
        for of in &mut concerned {
            of.tried = Some(pos);
        }
        None
    }

    /// What is being tried in a stretch of the ring, by table.
    pub fn on_trial(&self, from: Pos, to: Pos) -> Vec<(u32, Fault)> {
        let is_tried = |entry: &&Entry| entry.tried.is_some_and(|pos| from <= pos && pos < to);
        let of = |(hash, entries): (&u32, &Vec<Entry>)| {
            let hash = *hash;
            entries.iter().filter(is_tried).map(|entry| (hash, entry.fault)).collect::<Vec<_>>()
        };
        self.tables.iter().flat_map(of).collect()
    }

    /// Takes note that a row was stored all the same.
    pub fn acquit(&mut self, hash: u32, fault: Fault) {
        self.forget_where(|of, entry| of == hash && entry.fault == fault);
    }

    /// Forgets a table, which is another one now.
    pub fn forget(&mut self, hash: u32) {
        self.forget_where(|of, _| of == hash);
    }

    fn forget_where(&mut self, is_meant: impl Fn(u32, &Entry) -> bool) {
        self.tables.retain(|hash, entries| {
            entries.retain(|entry| !is_meant(*hash, entry));
            !entries.is_empty()
        });
        self.count = self.tables.values().map(Vec::len).sum();
    }

    /// Has all of them tried with the next rows.
    pub fn try_all(&mut self) {
        self.tables.values_mut().flatten().for_each(|entry| entry.next_try = Duration::ZERO);
    }

    /// What the operator should know.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let told = |entry: &Entry| {
            let form = entry.fault.form.words();
            format!("{} refuses everything sent as {form}, its rows go to quarantine: {}", entry.told, entry.reason)
        };
        self.tables.values().flatten().map(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);
    const V: Fault = Fault { column: 7, form: FormKind::Text };
    const W: Fault = Fault { column: 8, form: FormKind::Whole };

    #[test]
    fn one_row_is_tried_once_an_interval_and_the_others_wait_for_its_answer() {
        let mut refused = Refused::default();
        refused.remember(1, V, ("t", "v"), "cast error", NOW);
        assert!(refused.concerns(1) && !refused.concerns(2));
        let reason = refused.reason(1, &[W, V], Pos(5), NOW).unwrap();
        assert!(reason.contains("cast error") && reason.contains("10 s"), "{reason}");
        assert!(refused.reason(1, &[W], Pos(5), NOW).is_none() && refused.reason(2, &[V], Pos(5), NOW).is_none());
        let later = NOW + FIRST_RETRY;
        assert!(refused.reason(1, &[V], Pos(7), later).is_none());
        assert!(refused.reason(1, &[V], Pos(8), later).is_some(), "one at a time");
        assert!(refused.reason(1, &[V], Pos(7), later).is_none(), "it goes again with its batch");
        assert!(refused.reason(1, &[V], Pos(9), later + RETRY_EVERY).is_none(), "the try before was given up");
        assert!(refused.reason(1, &[V], Pos(7), later).is_some());
        refused.remember(1, V, ("t", "v"), "cast error", NOW.saturating_sub(FIRST_RETRY));
        assert!(refused.reason(1, &[V], Pos(7), later).is_none());
        assert!(refused.on_trial(Pos(8), Pos(99)).is_empty());
        assert_eq!(refused.on_trial(Pos(0), Pos(8)), [(1, V)]);
        refused.remember(1, V, ("t", "v"), "cast error", later);
        assert!(refused.reason(1, &[V], Pos(9), later + FIRST_RETRY).is_some(), "twice as long");
        assert!(refused.warnings().all(|text| text.contains("\"v\" of table \"t\" refuses everything sent as text")));
        refused.try_all();
        assert!(refused.reason(1, &[V], Pos(9), later).is_none());
        refused.acquit(1, V);
        assert!(!refused.concerns(1) && refused.warnings().next().is_none());
    }

    #[test]
    fn a_row_with_two_such_values_is_no_try_of_one() {
        let mut refused = Refused::default();
        refused.remember(1, V, ("t", "v"), "no", NOW);
        refused.remember(1, W, ("t", "w"), "no", NOW + FIRST_RETRY);
        assert!(refused.reason(1, &[V, W], Pos(5), NOW + FIRST_RETRY).is_some());
        assert!(refused.on_trial(Pos(0), Pos(9)).is_empty());
    }

    #[test]
    fn no_more_are_remembered_than_may_be() {
        let mut refused = Refused::default();
        for number in 0..2 * MAX_REMEMBERED as u32 {
            let fault = Fault { column: u64::from(number), form: FormKind::Double };
            refused.remember(number / 100, fault, ("t", "v"), "no", NOW);
        }
        assert_eq!(refused.count, MAX_REMEMBERED);
        assert!(refused.tables.values().all(|entries| entries.len() <= MAX_OF_TABLE));
        refused.forget(0);
        assert_eq!(refused.count, MAX_REMEMBERED - MAX_OF_TABLE);
    }
}
