//! What the doors and the lanes share: the book, whose tables are whose, and the counts of what was left out.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    sync::{
        MutexGuard,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::Serialize;
use utoipa::ToSchema;

use super::{Book, Excess, Rules};
use crate::{
    decode::table::TableTemplate,
    entry::RowRef,
    moment::name_number,
    point::{Row, Text},
    settings::{self, Source},
    sync::Sliced,
};

/// Names that a dead letter gives; of further ones it says how many.
const MAX_NAMED: usize = 10;
/// Names that are told apart.
const MAX_SEEN: usize = 10_000;
/// Rows looked at under the lock at a time.
const SLICE_ROWS: usize = 500;
/// Most sources that are told apart, with those of earlier configurations of this run; what others
/// bring counts for `/write`.
const MAX_ACCOUNTS: usize = 10_000;
/// A source gets one dead letter in this time.
const LETTER_PERIOD: Duration = Duration::from_mins(1);

/// By what name rows of `POST /write` are counted.
pub const WRITE: &str = "/write";

/// Whom a table counts for: `/write`, which comes first, or a source. A source keeps its number
/// while the daemon runs, also when the configuration changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Owner(usize);

impl Owner {
    /// What `/write` brings.
    const WRITE: Self = Self(0);
}

/// What was left out of a message.
#[derive(Debug, Default)]
pub struct LeftOut {
    counts: [Count; 3],
    first: Option<(Excess, Text)>,
    named: Vec<Text>,
    /// Numbers of the names, also of those beyond.
    seen: HashSet<u64, foldhash::fast::RandomState>,
}

/// What was left out for one limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    fields: u64,
    rows: u64,
}

/// What one limit left out of a source's messages since start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct LimitStatus {
    /// The source; `write` for `POST /write`.
    pub source: String,
    /// The key of `[limits]`.
    pub limit: String,
    /// Values left out of rows whose rest was taken.
    pub fields: u64,
    /// Rows left out as a whole.
    pub rows: u64,
}

impl LeftOut {
    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn name(&mut self, excess: Excess, table: &str, name: &str) {
        if self.first.is_none() {
            self.first = Some((excess, table.into()));
        }
        if self.seen.len() < MAX_SEEN && self.seen.insert(name_number(name)) && self.named.len() < MAX_NAMED {
            self.named.push(name.into());
        }
    }

    /// What was left out, for the operator: the limit, the table, the first names and how many more.
    pub fn reason(&self, rules: &Rules) -> String {
        let Some((excess, table)) = &self.first else { return String::new() };
        let limit = match excess {
            Excess::Columns => rules.columns,
            Excess::Rate => rules.new_columns,
            Excess::Tables => rules.tables,
        };
        let mut text = format!("[limits] {} = {limit}: ", excess.key());
        let _ = match excess {
            Excess::Tables => write!(text, "rows of table {table:?} were left out"),
            Excess::Columns | Excess::Rate => write!(text, "left out of table {table:?}: {:?}", self.named[0]),
        };
        for name in self.named.iter().skip(1) {
            let _ = write!(text, ", {name:?}");
        }
        let further = self.seen.len() - self.named.len();
        if further > 0 {
            let _ = write!(text, " and {further} more");
        }
        let rows: u64 = self.counts.iter().map(|count| count.rows).sum();
        if rows > 0 {
            let _ = write!(text, "; {rows} row{} as a whole", if rows == 1 { "" } else { "s" });
        }
        text
    }
}

/// What is known of an owner, by its number.
#[derive(Debug, Default)]
struct Account {
    name: String,
    counts: [Count; 3],
    /// When its last dead letter was written.
    letter: Option<Duration>,
}

/// A configured source.
#[derive(Debug)]
struct Configured {
    owner: Owner,
    /// The tables that it may bring; none where its template does not read.
    tables: Option<TableTemplate>,
}

#[derive(Debug)]
struct Shared {
    book: Book,
    accounts: Vec<Account>,
    /// The configured sources, in the order of names.
    sources: Vec<Configured>,
}

/// The rules, for those who ask often.
#[derive(Debug, Default)]
struct InForce {
    columns: AtomicUsize,
    tables: AtomicUsize,
    new_columns: AtomicUsize,
}

impl InForce {
    fn set(&self, rules: Rules) {
        self.columns.store(rules.columns, Relaxed);
        self.tables.store(rules.tables, Relaxed);
        self.new_columns.store(rules.new_columns, Relaxed);
    }

    fn get(&self) -> Rules {
        Rules {
            columns: self.columns.load(Relaxed),
            tables: self.tables.load(Relaxed),
            new_columns: self.new_columns.load(Relaxed),
        }
    }
}

/// The limits in force.
#[derive(Debug)]
pub struct Allowance {
    shared: Sliced<Shared>,
    rules: InForce,
}

impl Default for Allowance {
    /// The default limits, without sources.
    fn default() -> Self {
        Self::new(&settings::Limits::default(), std::iter::empty())
    }
}

impl Allowance {
    /// For the configured sources. Of a table template that does not read no table comes.
    pub fn new<'a>(limits: &settings::Limits, sources: impl Iterator<Item = (&'a String, &'a Source)>) -> Self {
        let write = Account { name: WRITE.to_owned(), ..Account::default() };
        let shared = Shared { book: Book::new(Rules::from(limits)), accounts: vec![write], sources: Vec::new() };
        let allowance = Self { shared: Sliced::new(shared), rules: InForce::default() };
        allowance.reconfigure(limits, sources);
        allowance
    }

    /// Goes by other limits and sources from now on. What was counted stays, and so do the tables
    /// that there are: they count for whom they have counted.
    pub fn reconfigure<'a>(&self, limits: &settings::Limits, sources: impl Iterator<Item = (&'a String, &'a Source)>) {
        let (rules, mut shared) = (Rules::from(limits), self.lock());
        self.rules.set(rules);
        shared.book.set_rules(rules);
        let accounts = &mut shared.accounts;
        // `/write` is no source, whatever one is called.
        let known: HashMap<String, usize> =
            accounts.iter().enumerate().skip(1).map(|(at, account)| (account.name.clone(), at)).collect();
        let configured = |(name, source): (&String, &Source)| {
            let owner = known.get(name).copied();
            let owner = Owner(owner.unwrap_or(if accounts.len() < MAX_ACCOUNTS { accounts.len() } else { 0 }));
            if owner.0 == accounts.len() {
                accounts.push(Account { name: name.clone(), ..Account::default() });
            }
            Configured { owner, tables: TableTemplate::parse(source.table_template()).ok() }
        };
        shared.sources = sources.map(configured).collect();
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock()
    }

    /// The limits.
    pub fn rules(&self) -> Rules {
        self.rules.get()
    }

    /// The owners of the tables of the configured sources, in the order of their names.
    pub fn sources(&self) -> Vec<Owner> {
        self.lock().sources.iter().map(|source| source.owner).collect()
    }

    /// The owner of what `/write` brings.
    pub fn write(&self) -> Owner {
        Owner::WRITE
    }

    /// Whom a table counts for that is there already: the source that could have brought it and whose
    /// template says most of its name, the first of several; or else `/write`.
    pub fn owner(&self, table: &str) -> Owner {
        self.lock().owner(table)
    }

    /// Whether a table, in whatever spelling, is one that a source may write, or that has come by `/write` or from the ring since the
    /// start. Others are somebody else's, and forebay's credentials are not for whoever asks it.
    pub fn is_ours(&self, table: &str) -> bool {
        let shared = self.lock();
        shared.owner(table) != Owner::WRITE || shared.book.has(table)
    }

    /// Leaves out of a table's rows what must not get in, and notes it in `left_out`.
    pub fn keep(&self, owner: Owner, table: &str, rows: &mut Vec<Row>, now: Duration, left_out: &mut LeftOut) {
        let mut shared = self.lock();
        let page = match shared.book.table(owner.0, table) {
            Ok(page) => page,
            Err(excess) => {
                left_out.counts[excess as usize].rows += rows.len() as u64;
                left_out.name(excess, table, table);
                rows.clear();
                return;
            }
        };
        let mut dropped = Vec::new();
        for (slice, part) in rows.chunks_mut(SLICE_ROWS).enumerate() {
            if slice > 0 {
                shared = self.shared.give_way(shared);
            }
            for (at, row) in part.iter_mut().enumerate() {
                let mut of_row = [0; 3];
                let kept = shared.book.keep(page, row, now, |excess, name| {
                    of_row[excess as usize] += 1;
                    left_out.name(excess, table, name);
                });
                if kept {
                    (0..3).for_each(|excess| left_out.counts[excess].fields += of_row[excess]);
                } else {
                    let excess = (0..3).find(|excess| of_row[*excess] > 0).unwrap_or_default();
                    left_out.counts[excess].rows += 1;
                    dropped.push(slice * SLICE_ROWS + at);
                }
            }
        }
        if !dropped.is_empty() {
            let (mut at, mut next) = (0, dropped.into_iter().peekable());
            rows.retain(|_| {
                at += 1;
                next.next_if_eq(&(at - 1)).is_none()
            });
        }
    }

    /// Whether a dead letter about what was left out is due.
    pub fn letter_is_due(&self, owner: Owner, now: Duration) -> bool {
        let last = self.lock().accounts.get(owner.0).and_then(|account| account.letter);
        last.is_none_or(|last| now.saturating_sub(last) >= LETTER_PERIOD)
    }

    /// Counts what was left out of a message that was taken, and whether a dead letter said so.
    pub fn count(&self, owner: Owner, left_out: &LeftOut, letter: Option<Duration>) {
        let mut shared = self.lock();
        let Some(account) = shared.accounts.get_mut(owner.0) else { return };
        for (count, new) in account.counts.iter_mut().zip(&left_out.counts) {
            count.fields += new.fields;
            count.rows += new.rows;
        }
        account.letter = letter.or(account.letter);
    }

    /// Takes note of a row that is in the ring.
    pub fn restore(&self, table: &str, row: &RowRef<'_>) {
        let columns = row.symbols().map(|(name, _)| name).chain(row.fields().map(|(name, _)| name));
        self.learn(table, columns);
    }

    /// Takes note of the columns that a table has in the database, the time's left out.
    pub fn learn<'a>(&self, table: &str, columns: impl Iterator<Item = &'a str>) {
        let mut shared = self.lock();
        let owner = shared.owner(table);
        shared.book.learn(owner.0, table, columns);
    }

    /// Whether rows of the table that are in the ring may have columns that it must not get.
    pub fn is_tight(&self, table: &str) -> bool {
        self.lock().book.is_tight(table)
    }

    /// What was left out since start, by source and limit.
    pub fn status(&self) -> Vec<LimitStatus> {
        let shared = self.lock();
        let owners = shared.sources.iter().map(|source| source.owner).filter(|owner| *owner != Owner::WRITE);
        let owners = owners.chain([Owner::WRITE]);
        let mut status = Vec::new();
        for account in owners.filter_map(|owner| shared.accounts.get(owner.0)) {
            for excess in Excess::ALL {
                let Count { fields, rows } = account.counts[excess as usize];
                if fields + rows > 0 {
                    let (source, limit) = (account.name.clone(), excess.key().to_owned());
                    status.push(LimitStatus { source, limit, fields, rows });
                }
            }
        }
        status
    }
}

impl Shared {
    fn owner(&self, table: &str) -> Owner {
        let mut owner = (0, Owner::WRITE);
        for source in &self.sources {
            let said = source.tables.as_ref().filter(|template| template.could_render(table)).map(TableTemplate::said);
            if let Some(said) = said.filter(|said| said + 1 > owner.0) {
                owner = (said + 1, source.owner);
            }
        }
        owner.1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::point::Value;

    fn allowance(limits: &str) -> Allowance {
        let sources: BTreeMap<String, Source> =
            toml::from_str("[a]\ntopic = \"a/{x}\"\ntable = \"p_{x}\"\n[b]\ntopic = \"b/#\"\ntable = \"fixed\"")
                .unwrap();
        Allowance::new(&toml::from_str(limits).unwrap(), sources.iter())
    }

    fn is_advised(reason: &str) -> bool {
        crate::flush::quarantine::advice::advice_for(reason).is_some_and(|advice| advice.contains("in [limits]"))
    }

    fn rows(names: usize, count: usize) -> Vec<Row> {
        let fields = (0..names).map(|n| (format!("x{n}").into(), Value::Long(1))).collect();
        vec![Row { fields, ..Row::default() }; count]
    }

    #[test]
    fn what_is_left_out_is_counted_by_source_and_named_once_a_minute() {
        let allowance = allowance("columns_per_table = 61");
        let (owner, now) = (allowance.sources()[0], Duration::from_secs(100));
        let (mut rows, mut left_out) = (rows(80, 3), LeftOut::default());
        allowance.keep(owner, "p_1", &mut rows, now, &mut left_out);
        assert!(rows.iter().all(|row| row.fields.len() == 60));
        let reason = left_out.reason(&allowance.rules());
        assert!(
            reason.starts_with("[limits] columns_per_table = 61: left out of table \"p_1\": \"x60\", \"x61\""),
            "{reason}"
        );
        assert!(reason.ends_with(" and 10 more") && is_advised(&reason), "{reason}");
        assert!(allowance.letter_is_due(owner, now));
        allowance.count(owner, &left_out, Some(now));
        assert!(!allowance.letter_is_due(owner, now + Duration::from_secs(59)));
        assert!(allowance.letter_is_due(owner, now + Duration::from_secs(60)));
        assert!(allowance.letter_is_due(allowance.sources()[1], now), "each source has its own");
        let expected = LimitStatus { source: "a".into(), limit: "columns_per_table".into(), fields: 60, rows: 0 };
        assert_eq!(allowance.status(), [expected]);
    }

    #[test]
    fn rows_of_a_table_too_many_are_left_out_and_the_ring_s_tables_count() {
        let allowance = allowance("tables_per_source = 2");
        allowance.learn("p_1", ["x"].into_iter());
        let (owner, now) = (allowance.sources()[0], Duration::ZERO);
        let mut left_out = LeftOut::default();
        for (table, kept) in [("p_1", 2), ("p_2", 2), ("p_3", 0), ("p_1", 2)] {
            let mut rows = rows(1, 2);
            allowance.keep(owner, table, &mut rows, now, &mut left_out);
            assert_eq!(rows.len(), kept, "{table}");
        }
        let reason = left_out.reason(&allowance.rules());
        assert_eq!(reason, "[limits] tables_per_source = 2: rows of table \"p_3\" were left out; 2 rows as a whole");
        assert!(is_advised(&reason));
        let mut rows = rows(1, 1);
        allowance.keep(allowance.write(), "p_4", &mut rows, now, &mut left_out);
        assert_eq!(rows.len(), 1);
        assert_eq!((allowance.owner("fixed"), allowance.owner("other")), (allowance.sources()[1], allowance.write()));
    }

    #[test]
    fn sources_keep_their_counts_and_tables_when_the_configuration_changes() {
        let allowance = allowance("tables_per_source = 2");
        let [a, b] = allowance.sources()[..] else { panic!("two sources") };
        let now = Duration::ZERO;
        let keeps = |owner, table| {
            let (mut rows, mut left_out) = (rows(1, 1), LeftOut::default());
            allowance.keep(owner, table, &mut rows, now, &mut left_out);
            allowance.count(owner, &left_out, None);
            !rows.is_empty()
        };
        assert!(keeps(b, "fixed") && keeps(a, "p_1") && keeps(a, "p_2") && !keeps(a, "p_3"));
        let sources: BTreeMap<String, Source> =
            toml::from_str("[0]\ntopic = \"0/#\"\ntable = \"zero\"\n[b]\ntopic = \"b/#\"\ntable = \"fixed\"").unwrap();
        let limits = |tables: u16| settings::Limits { tables_per_source: tables, ..settings::Limits::default() };
        allowance.reconfigure(&limits(1), sources.iter());
        let [zero, b_now] = allowance.sources()[..] else { panic!("two sources") };
        assert!(b_now == b && zero != a && !allowance.is_ours("p_9") && allowance.is_ours("p_1"));
        assert!(keeps(zero, "zero") && !keeps(zero, "zero_2") && keeps(b, "fixed") && !keeps(b, "second"));
        allowance.reconfigure(&limits(3), [("a".to_owned(), sources["b"].clone())].iter().map(|(n, s)| (n, s)));
        assert_eq!(allowance.sources(), [a]);
        assert_eq!(allowance.status().iter().map(|of| of.rows).sum::<u64>(), 1, "of what is configured now");
        assert!(keeps(a, "p_1") && keeps(a, "p_4") && !keeps(a, "p_5"));
    }

    #[test]
    fn tables_of_others_are_told_from_forebay_s() {
        let allowance = allowance("tables_per_source = 2");
        let ours = |table: &str| allowance.is_ours(table);
        assert_eq!(["fixed", "FIXED", "p_9", "payroll", "p"].map(ours), [true, true, true, false, false]);
        let mut left_out = LeftOut::default();
        for table in ["w1", "w2", "w3"] {
            allowance.keep(allowance.write(), table, &mut rows(1, 1), Duration::ZERO, &mut left_out);
        }
        assert_eq!(["w1", "W2", "w3"].map(ours), [true, true, false], "the third one was left out");
        allowance.learn("of the ring", ["x"].into_iter());
        assert!(ours("Of the ring") && !ours("payroll"));
    }

    #[test]
    fn rows_are_left_out_at_their_places() {
        let allowance = allowance("columns_per_table = 3");
        let mut rows: Vec<Row> = (0..1_200)
            .map(|n| {
                let symbols = if n % 3 == 0 { vec![("a".into(), "v".into())] } else { Vec::new() };
                Row { symbols, fields: vec![("x".into(), Value::Long(n))], ..Row::default() }
            })
            .collect();
        rows[1].fields.push(("y".into(), Value::Long(0)));
        rows[0].symbols.clear();
        let mut left_out = LeftOut::default();
        allowance.keep(allowance.write(), "t", &mut rows, Duration::ZERO, &mut left_out);
        assert_eq!(rows.len(), 1_200 - 399);
        assert!(rows.iter().enumerate().all(|(at, row)| at == 0 || row.symbols.is_empty()));
        assert!(matches!(rows[3].fields[0].1, Value::Long(4)), "the order stays");
    }
}
