//! What the doors and the lanes share: the book, whose tables are whose, and the counts of what was left out.

use std::{
    collections::HashSet,
    fmt::Write as _,
    sync::{Mutex, MutexGuard},
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
    sync::lock,
};

/// Names that a dead letter gives; of further ones it says how many.
const MAX_NAMED: usize = 10;
/// Names that are told apart.
const MAX_SEEN: usize = 10_000;
/// Rows looked at under the lock at a time.
const SLICE_ROWS: usize = 500;
/// A source gets one dead letter in this time.
const LETTER_PERIOD: Duration = Duration::from_mins(1);

/// By what name rows of `POST /write` are counted.
pub const WRITE: &str = "/write";

/// Whom a table counts for: a source by its place in the order of names, or `/write`, which comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner(usize);

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

#[derive(Debug)]
struct Shared {
    book: Book,
    counts: Vec<[Count; 3]>,
    /// When each owner's last dead letter was written.
    letters: Vec<Option<Duration>>,
}

/// The limits in force.
#[derive(Debug)]
pub struct Allowance {
    shared: Mutex<Shared>,
    rules: Rules,
    /// The sources' names and the tables they may bring, in the order of names.
    sources: Vec<(String, Option<TableTemplate>)>,
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
        let template =
            |(name, source): (&String, &Source)| (name.clone(), TableTemplate::parse(source.table_template()).ok());
        let (rules, sources) = (Rules::from(limits), sources.map(template).collect::<Vec<_>>());
        let owners = sources.len() + 1;
        let shared = Shared {
            book: Book::new(rules, owners),
            counts: vec![[Count::default(); 3]; owners],
            letters: vec![None; owners],
        };
        Self { shared: Mutex::new(shared), rules, sources }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    /// The limits.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// The owner of the tables of the source at this place in the order of names.
    pub fn source(&self, number: usize) -> Owner {
        Owner(number.min(self.sources.len()))
    }

    /// The owner of what `/write` brings.
    pub fn write(&self) -> Owner {
        Owner(self.sources.len())
    }

    /// Whom a table counts for that is there already: the source that could have brought it and whose
    /// template says most of its name, the first of several; or else `/write`.
    pub fn owner(&self, table: &str) -> Owner {
        let mut owner = (0, self.sources.len());
        for (at, (_, template)) in self.sources.iter().enumerate() {
            let said = template.as_ref().filter(|template| template.could_render(table)).map(TableTemplate::said);
            if let Some(said) = said.filter(|said| said + 1 > owner.0) {
                owner = (said + 1, at);
            }
        }
        Owner(owner.1)
    }

    /// Whether a table, in whatever spelling, is one that a source may write, or that has come by `/write` or from the ring since the
    /// start. Others are somebody else's, and forebay's credentials are not for whoever asks it.
    pub fn is_ours(&self, table: &str) -> bool {
        self.owner(table).0 < self.sources.len() || self.lock().book.has(table)
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
                drop(shared);
                shared = self.lock();
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
        self.lock().letters[owner.0].is_none_or(|last| now.saturating_sub(last) >= LETTER_PERIOD)
    }

    /// Counts what was left out of a message that was taken, and whether a dead letter said so.
    pub fn count(&self, owner: Owner, left_out: &LeftOut, letter: Option<Duration>) {
        let mut shared = self.lock();
        for (count, new) in shared.counts[owner.0].iter_mut().zip(&left_out.counts) {
            count.fields += new.fields;
            count.rows += new.rows;
        }
        if letter.is_some() {
            shared.letters[owner.0] = letter;
        }
    }

    /// Takes note of a row that is in the ring.
    pub fn restore(&self, table: &str, row: &RowRef<'_>) {
        let owner = self.owner(table);
        let columns = row.symbols().map(|(name, _)| name).chain(row.fields().map(|(name, _)| name));
        self.lock().book.learn(owner.0, table, columns);
    }

    /// Takes note of the columns that a table has in the database, the time's left out.
    pub fn learn<'a>(&self, table: &str, columns: impl Iterator<Item = &'a str>) {
        let owner = self.owner(table);
        self.lock().book.learn(owner.0, table, columns);
    }

    /// Whether rows of the table that are in the ring may have columns that it must not get.
    pub fn is_tight(&self, table: &str) -> bool {
        self.lock().book.is_tight(table)
    }

    /// What was left out since start, by source and limit.
    pub fn status(&self) -> Vec<LimitStatus> {
        let shared = self.lock();
        let names = self.sources.iter().map(|(name, _)| name.as_str()).chain([WRITE]);
        let mut status = Vec::new();
        for (name, counts) in names.zip(&shared.counts) {
            for excess in Excess::ALL {
                let Count { fields, rows } = counts[excess as usize];
                if fields + rows > 0 {
                    status.push(LimitStatus { source: name.to_owned(), limit: excess.key().to_owned(), fields, rows });
                }
            }
        }
        status
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
        let (owner, now) = (allowance.source(0), Duration::from_secs(100));
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
        assert!(allowance.letter_is_due(allowance.source(1), now), "each source has its own");
        let expected = LimitStatus { source: "a".into(), limit: "columns_per_table".into(), fields: 60, rows: 0 };
        assert_eq!(allowance.status(), [expected]);
    }

    #[test]
    fn rows_of_a_table_too_many_are_left_out_and_the_ring_s_tables_count() {
        let allowance = allowance("tables_per_source = 2");
        allowance.learn("p_1", ["x"].into_iter());
        let (owner, now) = (allowance.source(0), Duration::ZERO);
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
        assert_eq!((allowance.owner("fixed"), allowance.owner("other")), (allowance.source(1), allowance.write()));
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
