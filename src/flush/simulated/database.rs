//! A QuestDB made of maps: what it keeps, what it refuses, what a crash takes from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fastrand::Rng;

use crate::{
    lanes::Lanes,
    questdb::{
        WriteError,
        identity::Identity as TableIdentity,
        sql::{ColumnInfo, TableInfo},
    },
    ring::table_hash,
};

/// A row's time and its symbols, sorted by name.
pub type Identity = (i64, Vec<(String, String)>);

/// A line of a request.
#[derive(Debug, Clone)]
pub struct Line {
    pub table: String,
    pub identity: Identity,
    pub value: u64,
    /// Whether QuestDB refuses it, whatever the table.
    pub bad: bool,
}

impl Line {
    /// Reads line protocol as the client writes it; the names and values of these tests need no escapes.
    pub fn read(text: &str) -> Self {
        let [head, fields, time] = text.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
        let mut symbols = head.split(',');
        let table = symbols.next().unwrap().to_owned();
        let mut symbols: Vec<_> = symbols
            .map(|symbol| symbol.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap())
            .collect();
        symbols.sort();
        let (mut value, mut bad) = (0, false);
        for field in fields.split(',') {
            match field.split_once('=').unwrap() {
                ("v", number) => value = number.trim_end_matches('i').parse().unwrap(),
                _ => bad = true,
            }
        }
        Self { table, identity: (time.parse().unwrap(), symbols), value, bad }
    }
}

/// What happens to a table.
#[derive(Debug, Clone)]
enum Change {
    /// With so many columns before the time, and deduplicated by all symbols where there are none.
    Create {
        id: i64,
        symbols: Vec<String>,
        before_time: usize,
    },
    AddColumn(String),
    SetKeys(BTreeSet<String>),
    Rows(Vec<(Identity, u64)>),
    /// An operator drops a partition.
    Drop(i64),
    /// An operator drops the table.
    DropTable,
}

#[derive(Debug, Clone, Default)]
pub struct Table {
    id: i64,
    /// In their order.
    columns: Vec<String>,
    before_time: usize,
    dedup: bool,
    keys: BTreeSet<String>,
    pub rows: BTreeMap<Identity, u64>,
}

impl Table {
    fn add(&mut self, column: &str) {
        if !self.columns.iter().any(|name| name == column) {
            self.columns.push(column.to_owned());
        }
    }

    fn upsert(&mut self, identity: &Identity, value: u64) {
        for (name, _) in &identity.1 {
            // A symbol that nobody has added yet becomes a column outside the keys.
            self.add(name);
        }
        if self.dedup && self.columns.len() != self.keys.len() {
            let key = |(time, symbols): &Identity| {
                (*time, symbols.iter().filter(|(name, _)| self.keys.contains(name)).cloned().collect::<Vec<_>>())
            };
            let own = key(identity);
            let same: Vec<_> = self.rows.keys().filter(|other| key(other) == own).cloned().collect();
            for other in same {
                self.rows.remove(&other);
            }
        }
        self.rows.insert(identity.clone(), value);
    }
}

fn apply(table: &mut Option<Table>, change: &Change) {
    if let (None, Change::Create { id, symbols, before_time }) = (&table, change) {
        let (columns, dedup) = (symbols.clone(), *before_time == 0);
        let keys = if dedup { symbols.iter().cloned().collect() } else { BTreeSet::new() };
        *table = Some(Table { id: *id, columns, before_time: *before_time, dedup, keys, rows: BTreeMap::new() });
    }
    if matches!(change, Change::DropTable) {
        *table = None;
    }
    let Some(table) = table else { return };
    match change {
        Change::Create { .. } | Change::DropTable => {}
        Change::AddColumn(name) => table.add(name),
        Change::SetKeys(names) => {
            table.keys.clone_from(names);
            table.dedup = true;
        }
        Change::Rows(rows) => rows.iter().for_each(|(identity, value)| table.upsert(identity, *value)),
        Change::Drop(time) => table.rows.retain(|(at, _), _| at != time),
    }
}

/// A table with what a crash may take from it.
#[derive(Debug, Default)]
struct History {
    synced: Option<Table>,
    recent: Vec<(Duration, Change)>,
    now: Option<Table>,
}

impl History {
    fn change(&mut self, at: Duration, change: Change) {
        apply(&mut self.now, &change);
        self.recent.push((at, change));
    }

    /// Of each table's changes a beginning survives: all that is older than `since`, and some that came after.
    fn crash(&mut self, since: Duration, rng: &mut Rng) -> usize {
        let sure = self.recent.iter().take_while(|(at, _)| *at <= since).count();
        let kept = rng.usize(sure..=self.recent.len());
        let lost = self.recent.len() - kept;
        for (_, change) in self.recent.drain(..).take(kept) {
            apply(&mut self.synced, &change);
        }
        self.now.clone_from(&self.synced);
        lost
    }

    fn sync(&mut self, since: Duration) {
        let sure = self.recent.iter().take_while(|(at, _)| *at <= since).count();
        for (_, change) in self.recent.drain(..sure) {
            apply(&mut self.synced, &change);
        }
    }
}

/// The server.
#[derive(Debug, Default)]
pub struct Database {
    tables: BTreeMap<String, History>,
    /// Tables that refuse whatever comes.
    pub hopeless: BTreeSet<String>,
    /// Tables that were made so far.
    made: i64,
    /// Every value that was ever stored in its place.
    pub seen: BTreeSet<u64>,
}

impl Database {
    /// Stores a request's rows, or refuses all of them.
    pub fn execute(&mut self, now: Duration, lines: &[Line], names_lines: bool) -> Result<(), WriteError> {
        let refused = lines.iter().position(|line| line.bad || self.hopeless.contains(&line.table));
        if let Some(at) = refused {
            let message = "cast error".to_owned();
            return Err(if names_lines {
                WriteError::BadRow { line: at + 1, message }
            } else {
                WriteError::Refused { message }
            });
        }
        let mut rows: BTreeMap<&str, Vec<(Identity, u64)>> = BTreeMap::new();
        for line in lines {
            rows.entry(&line.table).or_default().push((line.identity.clone(), line.value));
            self.seen.insert(line.value);
        }
        for (table, rows) in rows {
            self.made += 1;
            let table = self.tables.entry(table.to_owned()).or_default();
            if table.now.is_none() {
                let symbols: Vec<String> = rows[0].0.1.iter().map(|(name, _)| name.clone()).collect();
                let before_time = symbols.len();
                table.change(now, Change::Create { id: self.made, symbols, before_time });
            }
            table.change(now, Change::Rows(rows));
        }
        Ok(())
    }

    /// Whether all tables of a request are there, with the keys that its rows need.
    pub fn is_fit_for(&self, lines: &[Line]) -> bool {
        let has_keys = |line: &Line, table: &Table| line.identity.1.iter().all(|(name, _)| table.keys.contains(name));
        lines.iter().all(|line| self.table(&line.table).is_some_and(|table| has_keys(line, table)))
    }

    /// Runs a statement as this program writes them.
    pub fn change(&mut self, now: Duration, statement: &str) {
        let mut names = statement.split('"').skip(1).step_by(2).map(str::to_owned);
        let table = self.tables.entry(names.next().unwrap()).or_default();
        self.made += 1;
        let change = if statement.starts_with("CREATE") {
            let keys = statement.split("UPSERT KEYS").nth(1).unwrap();
            let symbols = keys.split('"').skip(3).step_by(2).map(str::to_owned).collect();
            Change::Create { id: self.made, symbols, before_time: 0 }
        } else if statement.contains("ADD COLUMN") {
            Change::AddColumn(names.next().unwrap())
        } else {
            Change::SetKeys(names.skip(1).collect())
        };
        table.change(now, change);
    }

    /// An operator drops what is of one time.
    pub fn drop_partition(&mut self, now: Duration, table: &str, time: i64) {
        if let Some(history) = self.tables.get_mut(table) {
            history.change(now, Change::Drop(time));
        }
    }

    /// An operator drops a table.
    pub fn drop_table(&mut self, now: Duration, table: &str) {
        if let Some(history) = self.tables.get_mut(table) {
            history.change(now, Change::DropTable);
        }
    }

    /// Number of a table, if it is there.
    pub fn id(&self, table: &str) -> Option<i64> {
        self.table(table).map(|table| table.id)
    }

    /// What is in a table.
    pub fn table(&self, table: &str) -> Option<&Table> {
        self.tables.get(table)?.now.as_ref()
    }

    /// How a table is described.
    pub fn describe(&self, table: &str) -> Option<TableInfo> {
        let found = self.table(table)?;
        let column = |name: &str, designated, key| ColumnInfo {
            name: name.to_owned(),
            kind: if designated { "TIMESTAMP" } else { "SYMBOL" }.to_owned(),
            designated,
            key,
        };
        let mut columns: Vec<_> =
            found.columns.iter().map(|name| column(name, false, found.keys.contains(name))).collect();
        columns.insert(found.before_time, column("timestamp", true, found.dedup));
        let identity = TableIdentity { id: Some(found.id), ..TableIdentity::default() };
        Some(TableInfo { name: table.to_owned(), wal: true, dedup: found.dedup, columns, identity })
    }

    /// Whether some row has a value in a column.
    pub fn is_used(&self, table: &str, column: &str) -> bool {
        let has = |(_, symbols): &Identity| symbols.iter().any(|(name, _)| name == column);
        self.table(table).is_some_and(|table| table.rows.keys().any(has))
    }

    /// Loses what is younger than `since`, all or some of it; returns how many changes that were.
    pub fn crash(&mut self, since: Duration, rng: &mut Rng) -> usize {
        self.tables.values_mut().map(|table| table.crash(since, rng)).sum()
    }

    /// What is older than `since` is on the disk.
    pub fn sync(&mut self, since: Duration) {
        self.tables.values_mut().for_each(|table| table.sync(since));
    }
}

/// The lane of a table.
pub fn lane_of(table: &str, lanes: usize) -> usize {
    Lanes::new(lanes).of(table_hash(table))
}
