//! What a table needs before rows with certain symbols go to it, told from its description (pure).
//!
//! QuestDB keeps one row a deduplication key. A symbol outside the keys makes two series one, and rows collapse; so the keys are widened
//! before the first row with a new symbol is sent.

use super::{
    change::is_made_by_rows,
    identity::Kind,
    sql::{ColumnInfo, TableInfo},
    statement::{self, NewTable},
};
use crate::{names::same, point::MAX_NAME_BYTES};

/// How rows are to be treated by the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules<'a> {
    /// What created tables look like; none when tables are not to be created.
    pub create: Option<NewTable>,
    /// Whether rows may go to a table whose keys lack some of their symbols.
    pub allow_narrow: bool,
    /// Symbols outside the keys that no row has a value in: they may join the keys without collapsing anything. A crash
    /// between the two statements that add a symbol leaves one.
    pub unused: &'a [String],
    /// Keys that the table had before the server was restarted. A crash that takes a table with it, or the change of its keys, leaves
    /// one that the next rows make anew, without keys: they are set again.
    pub lost: &'a [String],
    /// See there.
    pub again: Again,
}

/// What else of a table is to be made again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Again {
    /// Deduplication, also where no symbol was a key.
    pub dedup: bool,
    /// Partitioning and time to live: QuestDB has made the table by itself, from rows that were sent when it had been dropped.
    pub shape: bool,
}

/// What to do before rows with certain symbols go to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send them.
    Send,
    /// Send them; the table cannot tell a resent row from a new one.
    SendAtLeastOnce {
        /// What to tell the operator, with the statement that mends it.
        warning: String,
    },
    /// Send them; rows that differ in some symbol only will collapse, and the source allows it.
    SendCollapsing {
        /// What to tell the operator, with the statement that mends it.
        warning: String,
    },
    /// Run these first, with nothing of the table in flight.
    Run {
        /// The statements, in order.
        statements: Vec<String>,
        /// Names that are keys afterwards, the timestamp left out.
        keys: Vec<String>,
    },
    /// Set them aside.
    Refuse {
        /// Why, with what mends it.
        reason: String,
    },
}

/// Decides from a table's description, the symbols of a row, and the rules.
pub fn plan(table: &str, info: Option<&TableInfo>, symbols: &[&str], rules: Rules<'_>) -> Action {
    let Some(info) = info else {
        let mut wanted: Vec<&str> = symbols.to_vec();
        wanted.extend(
            rules.lost.iter().map(String::as_str).filter(|lost| !symbols.iter().any(|symbol| same(symbol, lost))),
        );
        return match rules.create {
            Some(shape) => Action::Run {
                statements: vec![statement::create_table(table, &wanted, shape)],
                keys: wanted.into_iter().map(str::to_owned).collect(),
            },
            None => {
                Action::Refuse { reason: format!("table {table:?} does not exist and questdb.create_tables is false") }
            }
        };
    };
    if let Some(reason) = takes_no_rows(info) {
        return Action::Refuse { reason };
    }
    let timestamp = info.columns.iter().find(|c| c.designated).map(|c| c.name.as_str());
    let Some(timestamp) = timestamp else {
        return Action::Refuse { reason: format!("table {table:?} has no designated timestamp") };
    };
    let keys = info.columns.iter().filter(|c| c.key && !c.designated).map(|c| c.name.as_str());
    let mut wanted: Vec<&str> = keys.collect();
    let column = |symbol: &str| info.columns.iter().find(|c| same(&c.name, symbol));
    let is_unused = |symbol: &str| rules.unused.iter().any(|unused| same(unused, symbol));
    let outside: Vec<&str> = outside_keys(info, symbols).filter(|s| !is_unused(s)).collect();
    let unused: Vec<&str> = outside_keys(info, symbols).filter(|s| is_unused(s)).collect();
    let missing: Vec<&str> = symbols.iter().copied().filter(|s| column(s).is_none()).collect();
    let lost: Vec<&str> = lost_keys(info, rules.lost).collect();
    if !lost.is_empty() || rules.again.dedup {
        let others = if info.dedup { Vec::new() } else { outside };
        for name in lost.into_iter().chain(others).chain(unused).chain(missing) {
            if !wanted.iter().any(|key| same(key, name)) {
                wanted.push(name);
            }
        }
        let shape = rules.create.filter(|_| rules.again.shape && is_made_by_rows(info));
        if let Some(shape) = shape.filter(|shape| is_partitioned_otherwise(info, *shape)) {
            let statements = vec![
                statement::rename_table(&info.name, &name_aside(info)),
                statement::create_table(&info.name, &wanted, shape),
            ];
            return Action::Run { statements, keys: wanted.into_iter().map(str::to_owned).collect() };
        }
        let absent = wanted.iter().filter(|key| column(key).is_none());
        let mut statements: Vec<_> = absent.map(|symbol| statement::add_symbol(&info.name, symbol)).collect();
        statements.push(statement::set_keys(&info.name, timestamp, &wanted));
        statements.extend(shape.and_then(|shape| shape.ttl).map(|ttl| statement::set_ttl(&info.name, ttl)));
        return Action::Run { statements, keys: wanted.into_iter().map(str::to_owned).collect() };
    }
    if !info.dedup {
        wanted.extend(outside.iter().chain(&unused).chain(&missing));
        return Action::SendAtLeastOnce { warning: no_dedup(info, timestamp, &wanted) };
    }
    if outside.is_empty() && unused.is_empty() && missing.is_empty() {
        return Action::Send;
    }
    if !outside.is_empty() {
        wanted.extend(outside.iter().chain(&unused).chain(&missing));
        let mend = statement::set_keys(&info.name, timestamp, &wanted);
        let what = format!("table {:?} deduplicates without {}", info.name, outside.join(", "));
        return if rules.allow_narrow {
            Action::SendCollapsing {
                warning: format!("{what}: rows that differ only there collapse; mend with: {mend}"),
            }
        } else {
            Action::Refuse { reason: format!("{what}: rows that differ only there would collapse; mend with: {mend}") }
        };
    }
    wanted.extend(unused.iter().chain(&missing));
    let mut statements: Vec<_> = missing.iter().map(|symbol| statement::add_symbol(&info.name, symbol)).collect();
    statements.push(statement::set_keys(&info.name, timestamp, &wanted));
    Action::Run { statements, keys: wanted.into_iter().map(str::to_owned).collect() }
}

/// Why nothing that comes over HTTP is stored, if that is so.
fn takes_no_rows(info: &TableInfo) -> Option<String> {
    let (name, kind) = (&info.name, info.identity.kind);
    if kind != Kind::Table {
        return Some(format!("{name:?} is a {}, which takes no rows: drop or rename it", kind.words()));
    }
    let mend = statement::make_wal(name);
    let what = format!("table {name:?} is no WAL table, and QuestDB takes no rows for it over HTTP");
    (!info.wal).then(|| format!("{what}; mend with: {mend}, and a restart of QuestDB; or drop or rename it"))
}

/// Whether partitions are others than those of the tables that are created; an untold one is taken for right.
fn is_partitioned_otherwise(info: &TableInfo, shape: NewTable) -> bool {
    let by = info.identity.partition_by.as_str();
    !by.is_empty() && by != statement::partition(shape.partition_by)
}

/// Where a table goes that was made with other partitions, since those cannot be changed. Nothing in it is lost.
fn name_aside(info: &TableInfo) -> String {
    let (name, id) = (&info.name, info.identity.id.unwrap_or_default());
    format!("{}_made_by_questdb_{id}", &name[..name.floor_char_boundary(MAX_NAME_BYTES - 40)])
}

/// Symbols of a row that are columns of the table and no keys.
pub(super) fn outside_keys<'s>(info: &TableInfo, symbols: &[&'s str]) -> impl Iterator<Item = &'s str> {
    let outside = |symbol: &&str| info.columns.iter().any(|c| same(&c.name, symbol) && !c.key && !c.designated);
    symbols.iter().copied().filter(outside)
}

/// Those of the names that are no keys of the table.
pub(super) fn lost_keys<'k>(info: &TableInfo, names: &'k [String]) -> impl Iterator<Item = &'k str> {
    let is_key = |name: &&str| info.dedup && info.columns.iter().any(|column| column.key && same(&column.name, name));
    names.iter().map(String::as_str).filter(move |name| !is_key(name))
}

pub(super) fn is_symbol(info: &TableInfo, name: &str) -> bool {
    info.columns.iter().any(|column| same(&column.name, name) && column.kind == "SYMBOL")
}

fn no_dedup(info: &TableInfo, timestamp: &str, keys: &[&str]) -> String {
    let mend = statement::set_keys(&info.name, timestamp, keys);
    format!("table {:?} has no deduplication: a resent row becomes a second row; mend with: {mend}", info.name)
}

/// Whether all of these are keys of the table.
pub(super) fn has_keys(info: &TableInfo, names: &[String]) -> bool {
    names.iter().all(|name| info.columns.iter().any(|column| column.key && same(&column.name, name)))
}

/// Adds keys that are set but not described yet.
pub(super) fn add_set_keys(info: &mut TableInfo, set: &[String]) {
    if !info.dedup {
        return;
    }
    for name in set {
        match info.columns.iter_mut().find(|column| same(&column.name, name)) {
            Some(column) => column.key = true,
            None => info.columns.push(ColumnInfo {
                name: name.clone(),
                kind: "SYMBOL".into(),
                designated: false,
                key: true,
            }),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::settings::PartitionBy;

    const SHAPE: NewTable = NewTable { partition_by: PartitionBy::Day, ttl: None };
    const RULES: Rules<'_> = Rules {
        create: Some(SHAPE),
        allow_narrow: false,
        unused: &[],
        lost: &[],
        again: Again { dedup: false, shape: false },
    };

    fn column(name: &str, kind: &str, key: bool) -> ColumnInfo {
        ColumnInfo { name: name.into(), kind: kind.into(), designated: name == "ts", key }
    }

    pub fn info(dedup: bool, columns: &[(&str, &str, bool)]) -> TableInfo {
        let columns =
            [("ts", "TIMESTAMP", dedup)].iter().chain(columns).map(|(n, k, key)| column(n, k, *key)).collect();
        TableInfo { name: "T".into(), wal: true, dedup, columns, ..TableInfo::default() }
    }

    #[test]
    fn a_missing_table_is_created_or_its_rows_refused() {
        let Action::Run { statements, keys } = plan("t", None, &["device"], RULES) else { panic!() };
        assert!(statements[0].starts_with("CREATE TABLE"));
        assert_eq!(keys, ["device"]);
        let rules = Rules { create: None, ..RULES };
        assert!(matches!(plan("t", None, &["device"], rules), Action::Refuse { .. }));
    }

    #[test]
    fn a_new_symbol_joins_the_keys_and_none_is_lost() {
        let info = info(true, &[("device", "SYMBOL", true), ("x", "DOUBLE", false)]);
        assert_eq!(plan("t", Some(&info), &["device"], RULES), Action::Send);
        assert_eq!(plan("t", Some(&info), &[], RULES), Action::Send);
        let Action::Run { statements, keys } = plan("t", Some(&info), &["Device", "site"], RULES) else { panic!() };
        assert_eq!(keys, ["device", "site"]);
        assert_eq!(statements[0], "ALTER TABLE \"T\" ADD COLUMN IF NOT EXISTS \"site\" SYMBOL");
        assert_eq!(statements[1], "ALTER TABLE \"T\" DEDUP ENABLE UPSERT KEYS(\"ts\", \"device\", \"site\")");
    }

    #[test]
    fn narrow_keys_are_refused_with_what_mends_them() {
        for kind in ["SYMBOL", "VARCHAR"] {
            let info = info(true, &[("device", "SYMBOL", true), ("site", kind, false)]);
            let Action::Refuse { reason } = plan("t", Some(&info), &["device", "site"], RULES) else { panic!() };
            assert!(reason.contains("DEDUP ENABLE UPSERT KEYS(\"ts\", \"device\", \"site\")"), "{reason}");
            let rules = Rules { allow_narrow: true, ..RULES };
            assert!(matches!(plan("t", Some(&info), &["device", "site"], rules), Action::SendCollapsing { .. }));
            assert_eq!(plan("t", Some(&info), &["device"], RULES), Action::Send);
        }
    }

    #[test]
    fn a_symbol_no_row_uses_joins_the_keys() {
        let info = info(true, &[("device", "SYMBOL", true), ("site", "SYMBOL", false)]);
        let unused = ["site".to_owned()];
        let rules = Rules { unused: &unused, ..RULES };
        let Action::Run { statements, keys } = plan("t", Some(&info), &["device", "site", "room"], rules) else {
            panic!()
        };
        assert_eq!(keys, ["device", "site", "room"]);
        assert_eq!(statements.len(), 2, "only the missing one is added: {statements:?}");
    }

    #[test]
    fn a_table_without_dedup_is_warned_about() {
        let info = info(false, &[("device", "SYMBOL", false)]);
        let Action::SendAtLeastOnce { warning } = plan("t", Some(&info), &["device"], RULES) else { panic!() };
        assert!(warning.contains("KEYS(\"ts\", \"device\")"), "{warning}");
    }

    #[test]
    fn what_takes_no_rows_gets_none() {
        let mut info = info(false, &[("device", "SYMBOL", false)]);
        info.wal = false;
        let Action::Refuse { reason } = plan("t", Some(&info), &["device"], RULES) else { panic!() };
        assert!(reason.contains("ALTER TABLE \"T\" SET TYPE WAL"), "{reason}");
        info.wal = true;
        for (kind, words) in [(Kind::View, "a view"), (Kind::MaterializedView, "a materialized view")] {
            info.identity.kind = kind;
            let Action::Refuse { reason } = plan("t", Some(&info), &["device"], RULES) else { panic!() };
            assert!(reason.contains(words), "{reason}");
        }
    }

    #[test]
    fn a_table_that_its_rows_made_gets_keys_and_life_or_makes_room_for_one_as_configured() {
        let lost = ["device".to_owned()];
        let mut bare = info(false, &[("device", "SYMBOL", false), ("x", "DOUBLE", false)]);
        bare.columns.rotate_left(1);
        bare.identity.partition_by = "DAY".into();
        let shape = NewTable { ttl: Some(std::time::Duration::from_secs(7_200)), ..SHAPE };
        let again = Again { dedup: true, shape: true };
        let run = |info: &TableInfo, shape, lost: &[String]| {
            let rules = Rules { create: Some(shape), lost, again, ..RULES };
            let Action::Run { statements, .. } = plan("t", Some(info), &[], rules) else { panic!() };
            statements
        };
        let statements = run(&bare, shape, &lost);
        assert_eq!(statements[0], "ALTER TABLE \"T\" DEDUP ENABLE UPSERT KEYS(\"ts\", \"device\")");
        assert_eq!(statements[1..], ["ALTER TABLE \"T\" SET TTL 2 HOURS"]);
        assert_eq!(
            run(&bare, SHAPE, &[]),
            ["ALTER TABLE \"T\" DEDUP ENABLE UPSERT KEYS(\"ts\")"],
            "keys without a symbol"
        );
        let monthly = NewTable { partition_by: PartitionBy::Month, ..SHAPE };
        let statements = run(&bare, monthly, &lost);
        assert_eq!(statements[0], "RENAME TABLE \"T\" TO \"T_made_by_questdb_0\"");
        assert!(
            statements[1].contains("PARTITION BY MONTH") && statements[1].contains("KEYS(\"timestamp\", \"device\")")
        );
        // One whose time comes first is somebody's own.
        bare.columns.rotate_right(1);
        assert_eq!(run(&bare, monthly, &lost).len(), 1);
    }

    #[test]
    fn keys_this_process_set_survive_a_lagging_description() {
        let mut described = info(true, &[("device", "SYMBOL", true)]);
        add_set_keys(&mut described, &["site".to_owned()]);
        assert_eq!(plan("t", Some(&described), &["device", "site"], RULES), Action::Send);
        let Action::Run { keys, .. } = plan("t", Some(&described), &["room"], RULES) else { panic!() };
        assert_eq!(keys, ["device", "site", "room"]);
    }

    #[test]
    fn keys_that_a_crash_took_are_set_again() {
        let lost = ["device".to_owned(), "unit".to_owned()];
        let rules = Rules { lost: &lost, ..RULES };
        // Made anew by the first rows, without keys.
        let bare = info(false, &[("Device", "SYMBOL", false), ("site", "SYMBOL", false), ("x", "DOUBLE", false)]);
        let Action::Run { statements, keys } = plan("t", Some(&bare), &["device", "site"], rules) else { panic!() };
        assert_eq!(keys, ["device", "unit", "site"]);
        assert_eq!(statements.len(), 2, "{statements:?}");
        let narrow = info(true, &[("site", "SYMBOL", true), ("device", "SYMBOL", false)]);
        let Action::Run { keys, .. } = plan("t", Some(&narrow), &["device", "site"], rules) else { panic!() };
        assert_eq!(keys, ["site", "device", "unit"]);
        let whole = info(true, &[("device", "SYMBOL", true), ("unit", "SYMBOL", true)]);
        assert_eq!(plan("t", Some(&whole), &["device"], rules), Action::Send);
        // Gone as a whole: made with all of them, so that none is taken for a key that is none.
        let Action::Run { statements, keys } = plan("t", None, &["Device", "site"], rules) else { panic!() };
        assert_eq!(keys, ["Device", "site", "unit"]);
        assert!(
            statements[0].ends_with("UPSERT KEYS(\"timestamp\", \"Device\", \"site\", \"unit\")"),
            "{statements:?}"
        );
    }
}
