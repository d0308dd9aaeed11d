//! What has become of a table since it was last looked at (pure).

use std::fmt;

use super::{
    identity::Kind,
    sql::{ColumnInfo, TableInfo},
};
use crate::names::same;

/// Names told of a change.
const MAX_NAMED: usize = 8;

/// How a table differs from what it was, where that costs rows or makes a resent row a second one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Dropped, or renamed.
    Gone,
    /// Another one has its name.
    MadeAgain,
    /// Columns that are gone, renamed, of another type or in another place.
    Columns(Vec<String>),
    /// Its log has fewer transactions than requests were acknowledged: they went to another one that had its name meanwhile, or has it
    /// now.
    Short {
        /// Transactions that came into it; none where it has fewer than before.
        brought: Option<u64>,
        /// Requests.
        answered: u64,
    },
    /// Columns that are keys no more; none where deduplication was by time alone.
    Keys(Vec<String>),
}

impl Change {
    /// Whether rows that QuestDB has acknowledged since the last look may be lost, or lack values.
    ///
    /// QuestDB (9.3.4) acknowledges and drops the first request of an open connection after its table was dropped, and what that
    /// brings for a column that was dropped.
    pub fn loses_rows(&self) -> bool {
        !matches!(self, Self::Keys(_))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| {
            let more = if names.len() > MAX_NAMED { ", …" } else { "" };
            names.iter().take(MAX_NAMED).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ") + more
        };
        match self {
            Self::Gone => f.write_str("was dropped or renamed"),
            Self::MadeAgain => f.write_str("was made again"),
            Self::Columns(names) => write!(f, "has columns dropped, renamed or of another type: {}", list(names)),
            Self::Short { brought, answered } => {
                let brought = brought.unwrap_or_default();
                write!(f, "has {brought} transactions of {answered} requests: another one was in its place, or is")
            }
            Self::Keys(names) if names.is_empty() => f.write_str("does not deduplicate any more"),
            Self::Keys(names) => write!(f, "has keys no more: {}", list(names)),
        }
    }
}

/// Whether a table is the one that was seen, told without its columns: nothing but `answered` requests has come into its log.
pub fn is_untouched(seen: &TableInfo, now: &TableInfo, answered: Option<u64>) -> bool {
    let is_same = seen.identity.id.is_some() && seen.identity.id == now.identity.id && seen.name == now.name;
    let same_kind = (seen.identity.kind, seen.wal, seen.dedup) == (now.identity.kind, now.wal, now.dedup);
    is_same && same_kind && brought(seen, now).is_some_and(|brought| Some(brought) == answered)
}

/// Transactions that have come into a table's log.
pub fn brought(seen: &TableInfo, now: &TableInfo) -> Option<u64> {
    let (before, now) = (seen.identity.accepted?, now.identity.accepted?);
    u64::try_from(now.checked_sub(before)?).ok()
}

/// What has changed since a table was `seen`; `answered` requests with rows of it were stored meanwhile, where that is known.
pub fn between(seen: &TableInfo, now: Option<&TableInfo>, answered: Option<u64>) -> Option<Change> {
    let Some(now) = now else { return Some(Change::Gone) };
    let same_kind = (seen.identity.kind, seen.wal) == (now.identity.kind, now.wal);
    if !is_same_table(seen, now) || !same_kind {
        return Some(Change::MadeAgain);
    }
    let columns: Vec<String> = (seen.columns.iter().enumerate())
        .filter(|(at, column)| now.columns.get(*at).is_none_or(|found| !is_same_column(column, found)))
        .map(|(_, column)| column.name.clone())
        .collect();
    if !columns.is_empty() {
        // Those behind a dropped one have only moved.
        let is_there = |name: &String| {
            let seen = seen.columns.iter().find(|column| column.name == *name);
            seen.is_some_and(|seen| now.columns.iter().any(|found| is_same_column(seen, found)))
        };
        let gone: Vec<String> = columns.iter().filter(|name| !is_there(name)).cloned().collect();
        return Some(Change::Columns(if gone.is_empty() { columns } else { gone }));
    }
    // `tables()` is behind for some milliseconds after a change, and `wal_tables()` is not: a log that is gone or begins anew is another's.
    let answered = answered.unwrap_or(0);
    if seen.identity.accepted.is_some() && brought(seen, now).is_none_or(|brought| brought < answered) {
        return Some(Change::Short { brought: brought(seen, now), answered });
    }
    let is_key = |name: &str| now.dedup && now.columns.iter().any(|column| column.key && same(&column.name, name));
    let had = keys(seen);
    if seen.dedup && (!now.dedup || had.iter().any(|name| !is_key(name))) {
        return Some(Change::Keys(had.into_iter().filter(|name| !is_key(name)).collect()));
    }
    None
}

/// Whether two descriptions are of one table, as far as QuestDB tells.
pub fn is_same_table(seen: &TableInfo, now: &TableInfo) -> bool {
    seen.identity.id.is_none() || now.identity.id.is_none() || seen.identity.id == now.identity.id
}

fn is_same_column(seen: &ColumnInfo, now: &ColumnInfo) -> bool {
    seen.name == now.name && seen.kind == now.kind
}

/// The table's keys, the timestamp left out.
pub fn keys(info: &TableInfo) -> Vec<String> {
    let keys = info.columns.iter().filter(|column| info.dedup && column.key && !column.designated);
    keys.map(|column| column.name.clone()).collect()
}

/// Whether a table looks like one that QuestDB has made by itself from the first row that it got: without deduplication, and its time
/// behind the columns of that row.
pub fn is_made_by_rows(info: &TableInfo) -> bool {
    let time = info.columns.iter().position(|column| column.designated);
    info.identity.kind == Kind::Table && info.wal && !info.dedup && time.is_some_and(|time| time > 0)
}

#[cfg(test)]
mod tests {
    use super::{super::identity::Identity, *};

    fn table(id: i64, accepted: i64, columns: &[(&str, &str, bool)]) -> TableInfo {
        let time = ColumnInfo { name: "timestamp".into(), kind: "TIMESTAMP".into(), designated: true, key: true };
        let others = columns.iter().map(|(name, kind, key)| ColumnInfo {
            name: (*name).into(),
            kind: (*kind).into(),
            designated: false,
            key: *key,
        });
        let identity = Identity { id: Some(id), accepted: Some(accepted), ..Identity::default() };
        let columns = std::iter::once(time).chain(others).collect();
        TableInfo { name: "t".into(), wal: true, dedup: true, columns, identity }
    }

    const DEVICE: (&str, &str, bool) = ("device", "SYMBOL", true);
    const V: (&str, &str, bool) = ("v", "DOUBLE", false);

    #[test]
    fn rows_and_columns_that_come_are_no_change() {
        let seen = table(7, 10, &[DEVICE, V]);
        assert!(is_untouched(&seen, &table(7, 13, &[]), Some(3)));
        assert!(!is_untouched(&seen, &table(7, 14, &[]), Some(3)), "somebody else wrote to it, or changed it");
        assert!(!is_untouched(&seen, &table(7, 13, &[]), None) && !is_untouched(&seen, &table(8, 13, &[]), Some(3)));
        for more in [vec![DEVICE, V], vec![DEVICE, V, ("w", "LONG", false), ("site", "SYMBOL", true)]] {
            assert_eq!(between(&seen, Some(&table(7, 20, &more)), Some(3)), None);
        }
    }

    #[test]
    fn what_costs_rows_or_keys_is_told() {
        let seen = table(7, 10, &[DEVICE, V]);
        let now = |table: TableInfo| between(&seen, Some(&table), Some(2));
        assert_eq!(between(&seen, None, Some(2)), Some(Change::Gone));
        assert_eq!(now(table(8, 2, &[DEVICE, V])), Some(Change::MadeAgain));
        let view = Identity { kind: Kind::View, ..table(7, 12, &[]).identity };
        assert_eq!(now(TableInfo { identity: view, ..table(7, 12, &[DEVICE, V]) }), Some(Change::MadeAgain));
        for columns in [vec![DEVICE], vec![DEVICE, ("v", "LONG", false)], vec![DEVICE, ("w", "DOUBLE", false)]] {
            assert_eq!(now(table(7, 20, &columns)), Some(Change::Columns(vec!["v".into()])), "{columns:?}");
        }
        let moved = vec![V, ("device", "SYMBOL", false)];
        assert_eq!(now(table(7, 20, &moved)), Some(Change::Columns(vec!["device".into(), "v".into()])));
        let short = Change::Short { brought: Some(1), answered: 2 };
        assert_eq!(now(table(7, 11, &[DEVICE, V])), Some(short));
        assert_eq!(between(&seen, Some(&table(7, 11, &[DEVICE, V])), None), None, "nobody knows how many were stored");
        let narrow = now(table(7, 12, &[("device", "SYMBOL", false), V]));
        assert_eq!(narrow, Some(Change::Keys(vec!["device".into()])));
        let bare = now(TableInfo { dedup: false, ..table(7, 12, &[("device", "SYMBOL", false), V]) });
        assert_eq!(bare, Some(Change::Keys(vec!["device".into()])));
        let untold = TableInfo { identity: Identity::default(), ..table(7, 0, &[DEVICE, V]) };
        assert_eq!(between(&untold, Some(&table(9, 0, &[DEVICE, V])), Some(2)), None, "a version that tells nothing");
    }

    #[test]
    fn a_table_of_questdbs_own_making_is_known_by_its_columns() {
        let mut info = TableInfo { dedup: false, ..table(7, 0, &[DEVICE, V]) };
        assert!(!is_made_by_rows(&info), "its time comes first");
        info.columns.rotate_left(1);
        assert!(is_made_by_rows(&info));
        assert!(!is_made_by_rows(&TableInfo { dedup: true, ..info }));
    }
}
