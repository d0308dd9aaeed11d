//! What is known of tables: whether rows of a certain shape may be sent to them, and how they are made fit.

mod seen;

use std::{collections::HashMap, hash::BuildHasher, sync::Arc, time::Duration};

use super::{
    Ask, SqlError, change,
    identity::Kind,
    plan::{Action, Again, Rules, add_set_keys, has_keys, is_symbol, lost_keys, outside_keys, plan},
    sql::TableInfo,
    statement::NewTable,
};
use crate::{clock::SharedClock, names};

/// Most tables a lane remembers; the memory starts afresh beyond.
pub const MAX_TABLES: usize = 4_096;
/// Most shapes of rows remembered a table; the table's memory starts afresh beyond.
pub const MAX_SHAPES: usize = 64;
/// Longest wait for a table's description to catch up.
const APPLY_WAIT: Duration = Duration::from_secs(5);
const APPLY_PAUSE: Duration = Duration::from_millis(50);

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
#[expect(clippy::struct_excessive_bools, reason = "each stands for itself")]
struct Known {
    /// Its name as it is sent: QuestDB's own, once that is known, before that as it first came.
    name: String,
    info: Option<TableInfo>,
    shapes: HashMap<u64, Verdict, foldhash::fast::RandomState>,
    /// Keys set by this process, while QuestDB's own description lags behind them.
    set: Vec<String>,
    /// Symbols outside the keys, by folded name, and whether some row has a value in them.
    used: HashMap<String, bool>,
    /// Its keys, the timestamp left out, as long as it had any.
    had: Vec<String>,
    /// Whether it deduplicated then.
    had_dedup: bool,
    /// Whether they are to be set again: the server was restarted since, or rows made the table again.
    restarted: bool,
    /// Whether QuestDB made it by itself, from rows that were sent when it had been dropped.
    by_rows: bool,
    /// Times it was described without some of them meanwhile.
    doubts: u8,
    /// Whether it cannot tell a resent row from a new one, as described last.
    once: bool,
    /// As QuestDB told of it when it was last looked at.
    seen: Option<TableInfo>,
    /// Whether that shows all that anybody had done to it by then.
    sure: bool,
    /// Up to which transaction somebody else may have changed it.
    doubtful_upto: Option<i64>,
}

/// A table described so often without keys it had was given others on purpose. The first time, a restart of the server may be to blame
/// that nobody has noticed yet.
const CERTAIN_AFTER: u8 = 2;

impl Known {
    /// Takes in a description.
    fn learn(&mut self, info: Option<TableInfo>) {
        if let Some(info) = info.as_ref().filter(|info| names::same(&info.name, &self.name)) {
            info.name.clone_into(&mut self.name);
        }
        self.info = info;
        match &mut self.info {
            Some(info) if has_keys(info, &self.set) => self.set.clear(),
            Some(info) => add_set_keys(info, &self.set),
            None => self.set.clear(),
        }
        let Some(info) = &self.info else { return };
        self.once = info.wal && !info.dedup && info.identity.kind == Kind::Table;
        if self.is_bare() || lost_keys(info, &self.had).next().is_some() {
            self.doubts = self.doubts.saturating_add(1);
            if self.restarted || self.doubts < CERTAIN_AFTER {
                return;
            }
        }
        (self.had, self.had_dedup) = (change::keys(info), info.dedup);
        (self.restarted, self.by_rows, self.doubts) = (false, false, 0);
    }

    /// Takes keys that this process has set for keys that it had.
    fn count_set_as_had(&mut self) {
        let set = std::mem::take(&mut self.set);
        self.had.extend(set);
        self.had.sort_unstable_by(|a, b| names::cmp(a, b));
        self.had.dedup_by(|a, b| names::same(a, b));
    }

    /// Whether it does not deduplicate any more.
    fn is_bare(&self) -> bool {
        self.had_dedup && self.info.as_ref().is_some_and(|info| !info.dedup)
    }

    /// The keys it had and that are to be set again.
    fn lost(&self) -> &[String] {
        if self.restarted { &self.had } else { &[] }
    }

    /// What of it is to be made again besides.
    fn again(&self) -> Again {
        Again { dedup: self.restarted && self.is_bare(), shape: self.by_rows }
    }
}

type Tables = HashMap<String, Known, foldhash::fast::RandomState>;

/// A lane's memory of its tables.
pub struct Schema {
    /// By folded name, like the two that follow.
    tables: Tables,
    warnings: HashMap<String, String>,
    /// Warnings logged before, which need no second line.
    said: HashMap<String, String>,
    hasher: foldhash::fast::FixedState,
    generation: u64,
    create: Option<NewTable>,
    clock: SharedClock,
}

impl Schema {
    /// An empty memory; `create` is what created tables look like, none to create none.
    pub fn new(create: Option<NewTable>, clock: SharedClock) -> Self {
        let hasher = foldhash::fast::FixedState::with_seed(0);
        let tables = HashMap::with_hasher(foldhash::fast::RandomState::default());
        Self { tables, warnings: HashMap::new(), said: HashMap::new(), hasher, generation: 0, create, clock }
    }

    /// Number of a set of symbol names, in the order of a row.
    pub fn shape<'a>(&self, names: impl Iterator<Item = &'a str>) -> u64 {
        names.fold(0xcbf2_9ce4_8422_2325, |hash: u64, name| {
            hash.rotate_left(5).wrapping_mul(0x0100_0000_01b3) ^ self.hasher.hash_one(name.as_bytes())
        })
    }

    /// The verdict on a shape, when it is known.
    pub fn verdict(&self, table: &str, shape: u64) -> Option<&Verdict> {
        self.tables.get(&*names::folded(table))?.shapes.get(&shape)
    }

    /// Tables whose rows are dealt with, by their folded names.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    /// A number that changes whenever a verdict may no longer hold.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Forgets what QuestDB said, since it may have been restored or replaced meanwhile.
    pub fn forget(&mut self) {
        self.generation += 1;
        self.tables.retain(|_, known| !known.set.is_empty() || known.had_dedup || known.seen.is_some());
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
    pub fn forget_after_restart(&mut self) {
        self.forget();
        for known in self.tables.values_mut() {
            known.count_set_as_had();
            // What it is now is compared with nothing: all that it may have lost goes again.
            (known.restarted, known.by_rows, known.seen, known.sure) = (true, false, None, false);
        }
    }

    /// What the operator should know, by table.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.warnings.values().map(String::as_str)
    }

    /// Tables that cannot tell a resent row from a new one.
    pub fn at_least_once(&self) -> impl Iterator<Item = &str> {
        self.tables.values().filter(|known| known.once).map(|known| known.name.as_str())
    }

    /// In which spelling a table's rows are sent: in one, whatever theirs is. Rows of one request
    /// that name a table in several are not kept in order by QuestDB where the names are not ASCII
    /// (9.3.4; docs/names.md).
    pub fn name<'a>(&'a self, table: &'a str) -> &'a str {
        self.tables.get(&*names::folded(table)).map_or(table, |known| known.name.as_str())
    }

    /// What is known of a table, once it was asked about; none of one that does not exist.
    pub fn info(&self, table: &str) -> Option<&TableInfo> {
        self.tables.get(&*names::folded(table))?.info.as_ref()
    }

    /// Finds out about a table, if nothing is known of it.
    pub fn describe(&mut self, sql: &dyn Ask, table: &str) -> Result<Option<&TableInfo>, SqlError> {
        let known = known_in(&mut self.tables, table);
        if known.info.is_none() {
            known.learn(sql.table_info(table)?);
        }
        Ok(known.info.as_ref())
    }

    /// Finds out about a shape that is not known yet.
    pub fn examine(
        &mut self,
        sql: &dyn Ask,
        table: &str,
        symbols: &[&str],
        allow_narrow: bool,
    ) -> Result<Examined, SqlError> {
        if self.tables.len() >= MAX_TABLES && !self.tables.contains_key(&*names::folded(table)) {
            self.tables.clear();
            self.warnings.clear();
        }
        let known = known_in(&mut self.tables, table);
        if known.info.is_none() {
            known.learn(sql.table_info(table)?);
        }
        if let Some(info) = known.info.as_ref().filter(|info| info.dedup) {
            for symbol in outside_keys(info, symbols) {
                if !known.used.contains_key(&*names::folded(symbol)) && is_symbol(info, symbol) {
                    known.used.insert(key(symbol), sql.is_used(&info.name, symbol)?);
                }
            }
        }
        let unused: Vec<String> = known.used.iter().filter(|(_, used)| !**used).map(|(name, _)| name.clone()).collect();
        let rules =
            Rules { create: self.create, allow_narrow, unused: &unused, lost: known.lost(), again: known.again() };
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
        let name = names::folded(table);
        if self.warnings.get(&*name).or_else(|| self.said.get(&*name)) != Some(&text) {
            tracing::warn!(table, "{text}");
        }
        self.warnings.insert(name.into_owned(), text);
    }

    fn remember(&mut self, table: &str, shape: u64, verdict: Verdict) {
        self.generation += 1;
        let known = known_in(&mut self.tables, table);
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
        sql: &dyn Ask,
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
                match sql.change(statement) {
                    Ok(()) => tracing::info!(table, "{statement}"),
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
    fn await_description(&mut self, sql: &dyn Ask, table: &str) -> Result<(), SqlError> {
        let deadline = self.clock.since_boot() + APPLY_WAIT;
        let described = |known: &Known| known.info.is_some() && known.set.is_empty();
        let name = names::folded(table);
        while self.tables.get(&*name).is_some_and(described) && self.clock.since_boot() < deadline {
            let applying = sql.is_applying(table)?;
            if let Some(known) = self.tables.get_mut(&*name) {
                let kept = std::mem::take(known);
                *known = Known { info: None, shapes: HashMap::default(), used: HashMap::new(), ..kept };
            }
            if !applying {
                break;
            }
            self.clock.pause(APPLY_PAUSE);
            let info = sql.table_info(table)?;
            if let Some(known) = self.tables.get_mut(&*name) {
                known.info = info;
            }
        }
        Ok(())
    }

    fn ran(&mut self, table: &str, symbols: &[&str]) {
        let known = known_in(&mut self.tables, table);
        let lost: Vec<String> = known.lost().to_vec();
        if std::mem::take(&mut known.by_rows) {
            // There is another table of that name now, or it is described anew.
            known.info = None;
        }
        for symbol in symbols.iter().copied().chain(lost.iter().map(String::as_str)) {
            if !known.set.iter().any(|set| names::same(set, symbol)) {
                known.set.push(symbol.to_owned());
            }
        }
        if let Some(info) = &mut known.info {
            add_set_keys(info, &known.set);
        }
    }
}

/// What is known of a table, which is entered where it is new.
fn known_in<'t>(tables: &'t mut Tables, table: &str) -> &'t mut Known {
    let new = || Known { name: table.to_owned(), ..Known::default() };
    tables.entry(key(table)).or_insert_with(new)
}

/// What a table is remembered by, in whatever spelling.
fn key(table: &str) -> String {
    names::folded(table).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{plan::tests::info, sql::ColumnInfo},
        *,
    };
    use crate::clock::SystemClock;

    /// A table `Plant`, whatever is asked about.
    struct Plant;

    impl Ask for Plant {
        fn ping(&self, _: Duration) -> Result<(), SqlError> {
            Ok(())
        }

        fn started(&self) -> Result<Option<String>, SqlError> {
            Ok(None)
        }

        fn table_info(&self, _: &str) -> Result<Option<TableInfo>, SqlError> {
            Ok(Some(TableInfo { name: "Plant".into(), ..info(true, &[("device", "SYMBOL", true)]) }))
        }

        fn survey(&self, _: &[String]) -> Result<Vec<TableInfo>, SqlError> {
            Ok(Vec::new())
        }

        fn columns_of(&self, _: &[String]) -> Result<Option<Vec<Vec<ColumnInfo>>>, SqlError> {
            Ok(None)
        }

        fn is_used(&self, _: &str, _: &str) -> Result<bool, SqlError> {
            Ok(true)
        }

        fn is_applying(&self, _: &str) -> Result<bool, SqlError> {
            Ok(false)
        }

        fn change(&self, statement: &str) -> Result<(), SqlError> {
            panic!("{statement}")
        }
    }

    #[test]
    fn a_table_is_known_in_every_spelling_and_sent_in_its_own() {
        let mut schema = Schema::new(None, Arc::new(SystemClock));
        assert_eq!(schema.name("pLANT"), "pLANT");
        let examined = schema.examine(&Plant, "pLANT", &["DEVICE"], false).unwrap();
        assert_eq!(examined, Examined::Known(Verdict::Send));
        let shape = schema.shape(["DEVICE"].into_iter());
        assert_eq!((schema.verdict("PLANT", shape), schema.name("PLANT")), (Some(&Verdict::Send), "Plant"));
        assert!(schema.info("plant").is_some() && schema.tables().eq(["plant"]));
        schema.forget();
        assert_eq!(schema.name("plant"), "Plant", "until it is known otherwise");
        assert!(schema.describe(&Plant, "other").unwrap().is_some());
        assert_eq!(schema.name("Other"), "other", "never that of another table");
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
        let schema = Schema::new(None, Arc::new(SystemClock));
        let shape = |names: &[&str]| schema.shape(names.iter().copied());
        assert_eq!(shape(&["a", "b"]), shape(&["a", "b"]));
        assert_ne!(shape(&["a", "b"]), shape(&["ab"]));
        assert_ne!(shape(&["a"]), shape(&[]));
    }
}
