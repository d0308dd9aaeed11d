//! Tables as they were last seen: whether they are still the ones that rows were made fit for.

use super::{Known, Schema, Verdict, known_in};
use crate::{
    names,
    questdb::{
        change::{self, Change, is_made_by_rows, is_same_table},
        sql::TableInfo,
    },
};

impl Schema {
    fn known(&self, table: &str) -> Option<&Known> {
        self.tables.get(&*names::folded(table))
    }

    /// Whether a table was looked at.
    pub fn is_seen(&self, table: &str) -> bool {
        self.known(table).is_some_and(|known| known.seen.is_some())
    }

    /// The tables that were looked at, by their folded names.
    pub fn seen_tables(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().filter(|(_, known)| known.seen.is_some()).map(|(name, _)| name.as_str())
    }

    /// The tables some of whose rows are set aside, by their folded names: somebody may mend them.
    pub fn refusing(&self) -> impl Iterator<Item = &str> {
        let refuses = |known: &Known| known.shapes.values().any(|verdict| matches!(verdict, Verdict::Refuse(_)));
        self.tables.iter().filter(move |(_, known)| refuses(known)).map(|(name, _)| name.as_str())
    }

    /// Whether nothing but `answered` requests has come to a table, told without its columns.
    pub fn is_untouched(&self, table: &str, now: &TableInfo, answered: Option<u64>) -> bool {
        let seen = self.known(table).filter(|known| known.sure).and_then(|known| known.seen.as_ref());
        seen.is_some_and(|seen| change::is_untouched(seen, now, answered))
    }

    /// Whether the last look at a table has shown all that anybody had done to it by then, as far as that can be told.
    pub fn is_sure(&self, table: &str) -> bool {
        let is_told = |seen: &TableInfo| seen.identity.accepted.is_some();
        self.known(table).is_none_or(|known| known.sure || !known.seen.as_ref().is_some_and(is_told))
    }

    /// What has changed of a table, where that costs rows or keys; `answered` requests with rows of it were stored since it was seen.
    pub fn compare(&self, table: &str, now: Option<&TableInfo>, answered: Option<u64>) -> Option<Change> {
        let known = self.known(table)?;
        match (&known.seen, &known.info, now) {
            (Some(seen), ..) => change::between(seen, now, answered),
            (None, Some(_), None) => Some(Change::Gone),
            (None, Some(described), Some(now)) if !is_same_table(described, now) => Some(Change::MadeAgain),
            _ => None,
        }
    }

    /// Takes in a look at a table that is what it was, told without its columns.
    pub fn confirm(&mut self, table: &str, now: &TableInfo) {
        if let Some(seen) = self.tables.get_mut(&*names::folded(table)).and_then(|known| known.seen.as_mut()) {
            seen.identity.accepted = now.identity.accepted;
        }
    }

    /// The same with its columns, of which there may be more than before, and more keys; `answered` requests with rows of it were stored
    /// since it was seen.
    ///
    /// Columns and keys are told as of the last transaction applied. So where others than those requests have come, nothing is taken for
    /// sure of the table before a look at its columns that comes after they are applied.
    pub fn confirm_whole(&mut self, table: &str, now: TableInfo, answered: Option<u64>) {
        let known = known_in(&mut self.tables, table);
        let brought = known.seen.as_ref().and_then(|seen| change::brought(seen, &now));
        if brought.is_none() || brought != answered {
            known.doubtful_upto = now.identity.accepted;
        }
        known.sure = brought.is_some() && brought == answered && known.doubtful_upto <= now.identity.applied;
        let is_same = |seen: &TableInfo| (seen.dedup, &seen.columns) == (now.dedup, &now.columns);
        if !known.seen.as_ref().or(known.info.as_ref()).is_some_and(is_same) {
            known.learn(Some(now.clone()));
            known.shapes.clear();
            self.generation += 1;
        }
        known.seen = Some(now);
    }

    /// Begins with a table that has changed. `sent` tells whether rows were sent to it since it was seen.
    ///
    /// Where QuestDB made the table by itself from those rows, or the operator dropped a column that was a key, the keys are to be
    /// set again. Whatever else there is now is what an operator wants.
    pub fn renew(&mut self, table: &str, change: &Change, now: Option<&TableInfo>, sent: bool) {
        self.generation += 1;
        self.warnings.remove(&*names::folded(table));
        let known = known_in(&mut self.tables, table);
        if let Some(seen) = known.seen.take() {
            known.had_dedup |= seen.dedup;
            known.set.extend(change::keys(&seen));
        }
        known.count_set_as_had();
        let by_rows = *change == Change::MadeAgain && sent && known.had_dedup && now.is_some_and(is_made_by_rows);
        if let Some(now) = now.filter(|_| by_rows) {
            // Symbols that came since, with rows for a table that was taken for the operator's.
            let symbols = now.columns.iter().filter(|column| column.kind == "SYMBOL").map(|column| column.name.clone());
            known.set = symbols.collect();
            known.count_set_as_had();
        }
        let lost_key = matches!(change, Change::Columns(names) if names.iter().any(|name| known.had.contains(name)));
        let Known { name, had, had_dedup, .. } = std::mem::take(known);
        *known = Known { name, by_rows, ..Known::default() };
        if by_rows || lost_key || matches!(change, Change::Short { .. }) {
            (known.had, known.had_dedup, known.restarted) = (had, had_dedup, by_rows || lost_key);
        }
        known.learn(now.cloned());
        // What is going to be made in its place is no change again, and one whose log is another's is not described as it is.
        let is_true = !by_rows && !matches!(change, Change::Short { .. });
        known.seen = now.filter(|_| is_true).cloned();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        clock::SystemClock,
        questdb::{identity::Identity, plan::tests::info},
    };

    fn table(id: i64, dedup: bool, columns: &[(&str, &str, bool)]) -> TableInfo {
        let identity = Identity { id: Some(id), ..Identity::default() };
        TableInfo { identity, ..info(dedup, columns) }
    }

    fn seen(now: &TableInfo) -> Schema {
        let mut schema = Schema::new(None, Arc::new(SystemClock));
        known_in(&mut schema.tables, "T").learn(Some(now.clone()));
        schema.confirm_whole("t", now.clone(), None);
        schema
    }

    const DEVICE: (&str, &str, bool) = ("device", "SYMBOL", true);

    #[test]
    fn a_table_that_its_rows_made_gets_its_keys_again_and_another_one_is_the_operators() {
        let old = table(1, true, &[DEVICE]);
        let mut made = table(2, false, &[("device", "SYMBOL", false), ("v", "DOUBLE", false)]);
        for (by_rows, sent, lost) in [(true, true, vec!["device"]), (true, false, vec![]), (false, true, vec![])] {
            let mut schema = seen(&old);
            if by_rows {
                made.columns.rotate_left(1);
            }
            let change = schema.compare("t", Some(&made), None).unwrap();
            assert_eq!(change, Change::MadeAgain);
            schema.renew("t", &change, Some(&made), sent);
            let known = schema.known("T").unwrap();
            assert_eq!(
                (known.lost(), known.by_rows),
                (&lost.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>()[..], !lost.is_empty())
            );
            assert_eq!((known.once, known.seen.is_some()), (true, lost.is_empty()));
            if by_rows {
                made.columns.rotate_right(1);
            }
        }
    }

    #[test]
    fn more_columns_are_learnt_and_keys_taken_away_are_told_at_once() {
        let old = table(1, true, &[DEVICE]);
        let mut schema = seen(&old);
        let more = table(1, true, &[DEVICE, ("v", "LONG", false)]);
        assert_eq!(schema.compare("T", Some(&more), None), None);
        let generation = schema.generation();
        schema.confirm_whole("T", more.clone(), None);
        assert!(schema.generation() > generation && schema.info("t") == Some(&more));
        let bare = table(1, false, &[("device", "SYMBOL", false), ("v", "LONG", false)]);
        let change = schema.compare("t", Some(&bare), None).unwrap();
        assert_eq!(change, Change::Keys(vec!["device".into()]));
        schema.renew("t", &change, Some(&bare), true);
        assert!(schema.at_least_once().eq(["T"]) && schema.known("t").unwrap().lost().is_empty());
        schema.forget();
        assert!(schema.at_least_once().eq(["T"]), "until it is described otherwise");
    }

    #[test]
    fn nothing_is_taken_for_sure_before_all_is_applied() {
        let at = |accepted, applied| {
            let mut now = table(1, true, &[DEVICE]);
            (now.identity.accepted, now.identity.applied) = (Some(accepted), Some(applied));
            now
        };
        let mut schema = seen(&at(5, 5));
        assert!(!schema.is_sure("t") && !schema.is_untouched("t", &at(6, 6), Some(1)), "the first look");
        // A change of the operator's that is not applied yet, then it is, and then nothing but rows has come.
        for (now, answered, sure) in [
            (at(7, 6), 1, false),
            (at(7, 7), 0, true),
            (at(9, 9), 1, false),
            (at(11, 8), 2, false),
            (at(13, 10), 2, true),
        ] {
            schema.confirm_whole("t", now, Some(answered));
            assert_eq!(schema.is_sure("t"), sure);
        }
        assert!(schema.is_untouched("t", &at(15, 13), Some(2)) && !schema.is_untouched("t", &at(15, 15), Some(1)));
        assert!(schema.is_sure("other"), "nothing is told of it");
    }

    #[test]
    fn a_table_never_looked_at_is_known_by_its_description() {
        let mut schema = Schema::new(None, Arc::new(SystemClock));
        assert_eq!(schema.compare("t", None, None), None, "nothing is known of it");
        let described = table(1, true, &[DEVICE]);
        known_in(&mut schema.tables, "t").learn(Some(described.clone()));
        assert_eq!(schema.compare("t", None, None), Some(Change::Gone));
        assert_eq!(schema.compare("t", Some(&described), None), None);
        assert_eq!(schema.compare("t", Some(&table(2, true, &[DEVICE])), None), Some(Change::MadeAgain));
    }
}
