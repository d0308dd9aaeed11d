//! What has to be done to a table before rows of a certain shape may be sent to it.
//!
//! QuestDB keeps one row a deduplication key. A symbol outside the keys makes two series one, and rows collapse;
//! so the keys are widened before the first row with a new symbol is sent.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Sql, SqlError,
    sql::{ColumnInfo, TableInfo},
    statement::{self, NewTable},
};

/// Most tables a lane remembers; the memory starts afresh beyond.
pub const MAX_TABLES: usize = 4_096;
/// Most shapes of rows remembered a table; the table's memory starts afresh beyond.
pub const MAX_SHAPES: usize = 64;
/// Longest wait for a table's description to catch up.
const APPLY_WAIT: Duration = Duration::from_secs(5);
const APPLY_PAUSE: Duration = Duration::from_millis(50);

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

fn is(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || a.to_lowercase() == b.to_lowercase()
}

/// Decides from a table's description, the symbols of a row, and the rules.
pub fn plan(table: &str, info: Option<&TableInfo>, symbols: &[&str], rules: Rules<'_>) -> Action {
    let Some(info) = info else {
        return match rules.create {
            Some(shape) => Action::Run {
                statements: vec![statement::create_table(table, symbols, shape)],
                keys: symbols.iter().map(|s| (*s).to_owned()).collect(),
            },
            None => {
                Action::Refuse { reason: format!("table {table:?} does not exist and questdb.create_tables is false") }
            }
        };
    };
    let timestamp = info.columns.iter().find(|c| c.designated).map(|c| c.name.as_str());
    let Some(timestamp) = timestamp else {
        return Action::Refuse { reason: format!("table {table:?} has no designated timestamp") };
    };
    let keys = info.columns.iter().filter(|c| c.key && !c.designated).map(|c| c.name.as_str());
    let mut wanted: Vec<&str> = keys.collect();
    let column = |symbol: &str| info.columns.iter().find(|c| is(&c.name, symbol));
    let is_unused = |symbol: &str| rules.unused.iter().any(|unused| is(unused, symbol));
    let outside: Vec<&str> = outside_keys(info, symbols).filter(|s| !is_unused(s)).collect();
    let unused: Vec<&str> = outside_keys(info, symbols).filter(|s| is_unused(s)).collect();
    let missing: Vec<&str> = symbols.iter().copied().filter(|s| column(s).is_none()).collect();
    let lost: Vec<&str> = lost_keys(info, rules.lost).collect();
    if info.wal && !lost.is_empty() {
        let others = if info.dedup { Vec::new() } else { outside };
        for name in lost.into_iter().chain(others).chain(unused).chain(missing) {
            if !wanted.iter().any(|key| is(key, name)) {
                wanted.push(name);
            }
        }
        let absent = wanted.iter().filter(|key| column(key).is_none());
        let mut statements: Vec<_> = absent.map(|symbol| statement::add_symbol(&info.name, symbol)).collect();
        statements.push(statement::set_keys(&info.name, timestamp, &wanted));
        return Action::Run { statements, keys: wanted.into_iter().map(str::to_owned).collect() };
    }
    if !info.dedup || !info.wal {
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

/// Symbols of a row that are columns of the table and no keys.
fn outside_keys<'s>(info: &TableInfo, symbols: &[&'s str]) -> impl Iterator<Item = &'s str> {
    let outside = |symbol: &&str| info.columns.iter().any(|c| is(&c.name, symbol) && !c.key && !c.designated);
    symbols.iter().copied().filter(outside)
}

/// Those of the names that are no keys of the table.
fn lost_keys<'k>(info: &TableInfo, names: &'k [String]) -> impl Iterator<Item = &'k str> {
    let is_key = |name: &&str| info.dedup && info.columns.iter().any(|column| column.key && is(&column.name, name));
    names.iter().map(String::as_str).filter(move |name| !is_key(name))
}

fn is_symbol(info: &TableInfo, name: &str) -> bool {
    info.columns.iter().any(|column| is(&column.name, name) && column.kind == "SYMBOL")
}

fn no_dedup(info: &TableInfo, timestamp: &str, keys: &[&str]) -> String {
    let mend = statement::set_keys(&info.name, timestamp, keys);
    if info.wal {
        format!("table {:?} has no deduplication: a resent row becomes a second row; mend with: {mend}", info.name)
    } else {
        format!("table {:?} is no WAL table: a resent row becomes a second row; make it one, then: {mend}", info.name)
    }
}

/// What is known of the rows of one shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Send; a resent row replaces itself.
    Send,
    /// Send, but not a second time what is settled.
    SendOnce,
    /// Set aside for this reason.
    Refuse(Arc<str>),
}

/// What an examination found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Examined {
    /// Rows of the shape can be dealt with.
    Known(Verdict),
    /// The statements have to be run while nothing of the table is in flight.
    Needs(Vec<String>),
}

#[derive(Debug, Default)]
struct Known {
    info: Option<TableInfo>,
    shapes: HashMap<u64, Verdict, foldhash::fast::RandomState>,
    /// Keys set by this process, while QuestDB's own description lags behind them.
    set: Vec<String>,
    /// Symbols outside the keys, and whether some row has a value in them.
    used: HashMap<String, bool>,
    /// Its keys, the timestamp left out, as long as it had any.
    had: Vec<String>,
    /// Whether the server was restarted since.
    restarted: bool,
    /// Times it was described without some of them meanwhile.
    doubts: u8,
}

/// A table described so often without keys it had was given others on purpose. The first time, a restart of the server may be to blame
/// that nobody has noticed yet.
const CERTAIN_AFTER: u8 = 2;

impl Known {
    /// Takes in a description.
    fn learn(&mut self, info: Option<TableInfo>) {
        self.info = info;
        match &mut self.info {
            Some(info) if has_keys(info, &self.set) => self.set.clear(),
            Some(info) => add_set_keys(info, &self.set),
            None => self.set.clear(),
        }
        let Some(info) = &self.info else { return };
        if lost_keys(info, &self.had).next().is_some() {
            self.doubts = self.doubts.saturating_add(1);
            if self.restarted || self.doubts < CERTAIN_AFTER {
                return;
            }
        }
        let keys = info.columns.iter().filter(|column| info.dedup && column.key && !column.designated);
        self.had = keys.map(|column| column.name.clone()).collect();
        (self.restarted, self.doubts) = (false, 0);
    }

    /// The keys it had and that are to be set again.
    fn lost(&self) -> &[String] {
        if self.restarted { &self.had } else { &[] }
    }
}

/// A lane's memory of its tables.
#[derive(Debug)]
pub struct Schema {
    tables: HashMap<String, Known, foldhash::fast::RandomState>,
    warnings: HashMap<String, String>,
    /// Warnings logged before, which need no second line.
    said: HashMap<String, String>,
    hasher: foldhash::fast::FixedState,
    generation: u64,
    create: Option<NewTable>,
}

impl Schema {
    /// An empty memory; `create` is what created tables look like, none to create none.
    pub fn new(create: Option<NewTable>) -> Self {
        let hasher = foldhash::fast::FixedState::with_seed(0);
        let tables = HashMap::with_hasher(foldhash::fast::RandomState::default());
        Self { tables, warnings: HashMap::new(), said: HashMap::new(), hasher, generation: 0, create }
    }

    /// Number of a set of symbol names, in the order of a row.
    pub fn shape<'a>(&self, names: impl Iterator<Item = &'a str>) -> u64 {
        names.fold(0xcbf2_9ce4_8422_2325, |hash: u64, name| {
            hash.rotate_left(5).wrapping_mul(0x0100_0000_01b3) ^ self.hasher.hash_one(name.as_bytes())
        })
    }

    /// The verdict on a shape, when it is known.
    pub fn verdict(&self, table: &str, shape: u64) -> Option<&Verdict> {
        self.tables.get(table)?.shapes.get(&shape)
    }

    /// A number that changes whenever a verdict may no longer hold.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Forgets what QuestDB said, since it may have been restored or replaced meanwhile.
    pub fn forget(&mut self) {
        self.generation += 1;
        self.tables.retain(|_, known| !known.set.is_empty() || !known.had.is_empty());
        for known in self.tables.values_mut() {
            known.info = None;
            known.shapes.clear();
        }
        self.said.extend(self.warnings.drain());
        if self.said.len() > MAX_TABLES {
            self.said.clear();
        }
    }

    /// The same after a restart of the server, which may have lost changes of tables, too.
    pub fn forget_all(&mut self) {
        self.forget();
        for known in self.tables.values_mut() {
            let set = std::mem::take(&mut known.set);
            known.had.extend(set);
            known.had.sort_unstable_by_key(|name| name.to_lowercase());
            known.had.dedup_by(|a, b| is(a, b));
            known.restarted = true;
        }
    }

    /// What the operator should know, by table.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.warnings.values().map(String::as_str)
    }

    /// Tables that cannot tell a resent row from a new one.
    pub fn at_least_once(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().filter(|(_, k)| k.shapes.values().any(|v| *v == Verdict::SendOnce)).map(|(t, _)| t.as_str())
    }

    /// Finds out about a shape that is not known yet.
    pub fn examine(
        &mut self,
        sql: &Sql,
        table: &str,
        symbols: &[&str],
        allow_narrow: bool,
    ) -> Result<Examined, SqlError> {
        if self.tables.len() >= MAX_TABLES && !self.tables.contains_key(table) {
            self.tables.clear();
            self.warnings.clear();
        }
        let known = self.tables.entry(table.to_owned()).or_default();
        if known.info.is_none() {
            known.learn(sql.table_info(table)?);
        }
        if let Some(info) = known.info.as_ref().filter(|info| info.dedup) {
            for symbol in outside_keys(info, symbols) {
                if !known.used.contains_key(symbol) && is_symbol(info, symbol) {
                    known.used.insert(symbol.to_owned(), sql.is_used(&info.name, symbol)?);
                }
            }
        }
        let unused: Vec<String> = known.used.iter().filter(|(_, used)| !**used).map(|(name, _)| name.clone()).collect();
        let rules = Rules { create: self.create, allow_narrow, unused: &unused, lost: known.lost() };
        let action = plan(table, known.info.as_ref(), symbols, rules);
        let shape = self.shape(symbols.iter().copied());
        let verdict = match action {
            Action::Run { statements, .. } => return Ok(Examined::Needs(statements)),
            Action::Send => Verdict::Send,
            Action::SendAtLeastOnce { warning } => {
                self.warn(table, warning);
                Verdict::SendOnce
            }
            Action::SendCollapsing { warning } => {
                self.warn(table, warning);
                Verdict::Send
            }
            Action::Refuse { reason } => {
                self.warn(table, reason.clone());
                Verdict::Refuse(reason.into())
            }
        };
        self.remember(table, shape, verdict.clone());
        Ok(Examined::Known(verdict))
    }

    fn warn(&mut self, table: &str, text: String) {
        if self.warnings.get(table).or_else(|| self.said.get(table)) != Some(&text) {
            tracing::warn!(table, "{text}");
        }
        self.warnings.insert(table.to_owned(), text);
    }

    fn remember(&mut self, table: &str, shape: u64, verdict: Verdict) {
        self.generation += 1;
        let known = self.tables.entry(table.to_owned()).or_default();
        if known.shapes.len() >= MAX_SHAPES {
            known.shapes.clear();
        }
        known.shapes.insert(shape, verdict);
    }

    /// Makes the table fit for the shape. To be called only while nothing of the table is in flight.
    ///
    /// A statement that QuestDB refuses for good makes the shape's rows ones to set aside.
    pub fn prepare(
        &mut self,
        sql: &Sql,
        table: &str,
        symbols: &[&str],
        allow_narrow: bool,
    ) -> Result<Verdict, SqlError> {
        self.await_description(sql, table)?;
        // Twice: what is created is described anew, and found fit.
        for _ in 0..2 {
            let statements = match self.examine(sql, table, symbols, allow_narrow)? {
                Examined::Known(verdict) => return Ok(verdict),
                Examined::Needs(statements) => statements,
            };
            for statement in &statements {
                match sql.query(statement) {
                    Ok(_) => tracing::info!(table, "{statement}"),
                    Err(error) if error.is_transient() => return Err(error),
                    Err(error) => {
                        let reason = format!("{error}; statement: {statement}");
                        tracing::warn!(table, "{reason}");
                        let verdict = Verdict::Refuse(reason.into());
                        let shape = self.shape(symbols.iter().copied());
                        self.remember(table, shape, verdict.clone());
                        return Ok(verdict);
                    }
                }
            }
            self.ran(table, symbols);
        }
        let shape = self.shape(symbols.iter().copied());
        self.remember(table, shape, Verdict::Send);
        Ok(Verdict::Send)
    }

    /// Waits for QuestDB to apply what is committed to a table, since keys set by an earlier process may be among it.
    /// Keys left out of a statement would be keys no more.
    fn await_description(&mut self, sql: &Sql, table: &str) -> Result<(), SqlError> {
        let deadline = Instant::now() + APPLY_WAIT;
        let described = |known: &Known| known.info.is_some() && known.set.is_empty();
        while self.tables.get(table).is_some_and(described) && Instant::now() < deadline {
            let applying = sql.is_applying(table)?;
            if let Some(known) = self.tables.get_mut(table) {
                let had = std::mem::take(&mut known.had);
                *known = Known { had, restarted: known.restarted, doubts: known.doubts, ..Known::default() };
            }
            if !applying {
                break;
            }
            std::thread::sleep(APPLY_PAUSE);
            let info = sql.table_info(table)?;
            if let Some(known) = self.tables.get_mut(table) {
                known.info = info;
            }
        }
        Ok(())
    }

    fn ran(&mut self, table: &str, symbols: &[&str]) {
        let known = self.tables.entry(table.to_owned()).or_default();
        let lost: Vec<String> = known.lost().to_vec();
        for symbol in symbols.iter().copied().chain(lost.iter().map(String::as_str)) {
            if !known.set.iter().any(|set| is(set, symbol)) {
                known.set.push(symbol.to_owned());
            }
        }
        if let Some(info) = &mut known.info {
            add_set_keys(info, &known.set);
        }
    }
}

fn has_keys(info: &TableInfo, names: &[String]) -> bool {
    names.iter().all(|name| info.columns.iter().any(|column| column.key && is(&column.name, name)))
}

/// Adds keys that are set but not described yet.
fn add_set_keys(info: &mut TableInfo, set: &[String]) {
    if !info.dedup {
        return;
    }
    for name in set {
        match info.columns.iter_mut().find(|column| is(&column.name, name)) {
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
mod tests {
    use super::*;
    use crate::config::settings::PartitionBy;

    const SHAPE: NewTable = NewTable { partition_by: PartitionBy::Day, ttl: None };
    const RULES: Rules<'_> = Rules { create: Some(SHAPE), allow_narrow: false, unused: &[], lost: &[] };

    fn column(name: &str, kind: &str, key: bool) -> ColumnInfo {
        ColumnInfo { name: name.into(), kind: kind.into(), designated: name == "ts", key }
    }

    fn info(dedup: bool, columns: &[(&str, &str, bool)]) -> TableInfo {
        let columns =
            [("ts", "TIMESTAMP", dedup)].iter().chain(columns).map(|(n, k, key)| column(n, k, *key)).collect();
        TableInfo { name: "T".into(), wal: true, dedup, columns }
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
        let mut info = info(false, &[("device", "SYMBOL", false)]);
        let Action::SendAtLeastOnce { warning } = plan("t", Some(&info), &["device"], RULES) else { panic!() };
        assert!(warning.contains("KEYS(\"ts\", \"device\")"), "{warning}");
        info.wal = false;
        assert!(matches!(plan("t", Some(&info), &["device"], RULES), Action::SendAtLeastOnce { .. }));
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
    }

    #[test]
    fn an_operator_who_takes_keys_away_is_believed() {
        let keyed = || Some(info(true, &[("device", "SYMBOL", true)]));
        let bare = || Some(info(false, &[("device", "SYMBOL", false)]));
        let mut known = Known::default();
        known.learn(keyed());
        known.learn(bare());
        known.restarted = true;
        assert_eq!(known.lost(), ["device"], "the restart was noticed a moment later");
        known.learn(keyed());
        for _ in 0..CERTAIN_AFTER {
            known.learn(bare());
        }
        known.restarted = true;
        assert!(known.lost().is_empty());
    }

    #[test]
    fn shapes_depend_on_names_and_their_borders() {
        let schema = Schema::new(None);
        let shape = |names: &[&str]| schema.shape(names.iter().copied());
        assert_eq!(shape(&["a", "b"]), shape(&["a", "b"]));
        assert_ne!(shape(&["a", "b"]), shape(&["ab"]));
        assert_ne!(shape(&["a"]), shape(&[]));
    }
}
