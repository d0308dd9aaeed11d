//! Which tables there are, whose they are, and what columns they have.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use super::{Columns, Excess, Rules};
use crate::{moment::name_number, point::Row};

/// Most tables that are kept apart, of all sources together.
const MAX_TABLES: usize = 4_096;
/// Most shapes of rows that need no second look; forgotten beyond.
const MAX_SHAPES: usize = 4_096;

#[derive(Debug, Default)]
struct Table {
    columns: Columns,
}

/// The tables by name, and how many are whose.
#[derive(Debug)]
pub struct Book {
    rules: Rules,
    tables: HashMap<u64, Table, foldhash::fast::RandomState>,
    /// How many tables each owner has brought, by its number.
    owned: Vec<usize>,
    /// Tables and names of rows all of whose columns are in.
    shapes: HashSet<u64, foldhash::fast::RandomState>,
    hasher: foldhash::quality::RandomState,
}

impl Book {
    /// An empty book.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            tables: HashMap::default(),
            owned: Vec::new(),
            shapes: HashSet::default(),
            hasher: foldhash::quality::RandomState::default(),
        }
    }

    /// Goes by other limits from now on.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// How many tables an owner has brought, to be changed.
    fn owned(&mut self, owner: usize) -> &mut usize {
        if self.owned.len() <= owner {
            self.owned.resize(owner + 1, 0);
        }
        &mut self.owned[owner]
    }

    /// Takes note of columns that a table has: in the database, or by rows in the ring.
    pub fn learn<'a>(&mut self, owner: usize, table: &str, columns: impl Iterator<Item = &'a str>) {
        let Some(known) = self.known(owner, table) else { return };
        columns.for_each(|name| known.columns.learn(name));
    }

    /// A table that there is already: it counts for its owner, whatever the limits say.
    fn known(&mut self, owner: usize, table: &str) -> Option<&mut Table> {
        let number = name_number(table);
        if !self.tables.contains_key(&number) {
            if self.tables.len() >= MAX_TABLES {
                return None;
            }
            *self.owned(owner) += 1;
        }
        Some(self.tables.entry(number).or_default())
    }

    /// Whether it has this table.
    pub fn has(&self, table: &str) -> bool {
        self.tables.contains_key(&name_number(table))
    }

    /// Whether rows of the table that are in the ring may have columns that it must not get.
    pub fn is_tight(&self, table: &str) -> bool {
        let known = self.tables.get(&name_number(table));
        // Of a table that is not kept nothing is known.
        known.is_none_or(|known| known.columns.count() > self.rules.columns)
    }

    /// The limits.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Opens the page of a table for a message; it is entered where it is new and its owner may bring another.
    pub fn table(&mut self, owner: usize, name: &str) -> Result<Page, Excess> {
        let number = name_number(name);
        if let Some(table) = self.tables.get(&number) {
            return Ok(Page { table: number, starting: table.columns.is_starting() });
        }
        if *self.owned(owner) >= self.rules.tables || self.tables.len() >= MAX_TABLES {
            return Err(Excess::Tables);
        }
        *self.owned(owner) += 1;
        self.tables.insert(number, Table::default());
        Ok(Page { table: number, starting: true })
    }

    /// Leaves out of a row what its table must not get, and says what to `left_out`; false when nothing of it is left.
    ///
    /// Without one of its symbols a row would be another series' one: it is left out as a whole.
    pub fn keep(&mut self, page: Page, row: &mut Row, now: Duration, mut left_out: impl FnMut(Excess, &str)) -> bool {
        let shape = self.shape(page.table, row);
        if self.shapes.contains(&shape) {
            return true;
        }
        let Some(Table { columns, .. }) = self.tables.get_mut(&page.table) else { return true };
        let (rules, starting) = (&self.rules, page.starting);
        let new: Vec<&str> =
            row.symbols.iter().map(|(name, _)| name.as_str()).filter(|name| !columns.has(name)).collect();
        if !new.is_empty() {
            let room = columns.room(rules, starting, now);
            let admitted = room.as_ref().map_or(0, |room| *room);
            if new.len() > admitted {
                let is_full = columns.count() + new.len() > rules.columns;
                let excess = room.err().unwrap_or(if is_full { Excess::Columns } else { Excess::Rate });
                new[admitted..].iter().for_each(|name| left_out(excess, name));
                return false;
            }
            for name in new {
                if let Err(excess) = columns.admit(name, rules, starting, now) {
                    left_out(excess, name);
                    return false;
                }
            }
        }
        let before = row.fields.len();
        row.fields.retain(|(name, _)| match columns.admit(name, rules, starting, now) {
            Ok(()) => true,
            Err(excess) => {
                left_out(excess, name);
                false
            }
        });
        if row.fields.len() == before {
            if self.shapes.len() >= MAX_SHAPES {
                self.shapes.clear();
            }
            self.shapes.insert(shape);
        }
        before == 0 || !row.fields.is_empty()
    }

    fn shape(&self, table: u64, row: &Row) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u64(table);
        let symbols = row.symbols.iter().map(|(name, _)| name);
        for name in symbols.chain(row.fields.iter().map(|(name, _)| name)) {
            hasher.write(name.as_bytes());
            hasher.write_u8(0xff);
        }
        hasher.finish()
    }
}

/// A table's page, for one message.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    table: u64,
    /// Whether the table took new columns at any rate when the message came.
    starting: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::Value;

    const RULES: Rules = Rules { columns: 60, tables: 2, new_columns: 5 };
    const NOW: Duration = Duration::from_secs(1_000);

    fn row(symbols: &[&str], fields: &[String]) -> Row {
        Row {
            symbols: symbols.iter().map(|name| ((*name).into(), "v".into())).collect(),
            fields: fields.iter().map(|name| (name.as_str().into(), Value::Long(1))).collect(),
            ..Row::default()
        }
    }

    fn names(prefix: &str, count: usize) -> Vec<String> {
        (0..count).map(|n| format!("{prefix}{n}")).collect()
    }

    fn keep(book: &mut Book, table: &str, row: &mut Row, now: Duration) -> (bool, Vec<(Excess, String)>) {
        let page = book.table(0, table).unwrap();
        let mut left_out = Vec::new();
        let kept = book.keep(page, row, now, |excess, name| left_out.push((excess, name.to_owned())));
        (kept, left_out)
    }

    #[test]
    fn what_exceeds_is_left_out_and_the_rest_stays() {
        let mut book = Book::new(RULES);
        let mut wide = row(&["device"], &names("x", 1_000));
        let (kept, left_out) = keep(&mut book, "t", &mut wide, NOW);
        assert!(kept);
        assert_eq!((wide.fields.len(), left_out.len()), (58, 942), "with the time and the symbol they are sixty");
        assert_eq!(left_out[0], (Excess::Columns, "x58".into()));
        let mut other = row(&["device"], &names("x", 3));
        assert_eq!(keep(&mut book, "T", &mut other, NOW), (true, Vec::new()), "other devices are unhurt");
        let mut nothing = row(&["device"], &names("y", 3));
        assert!(!keep(&mut book, "t", &mut nothing, NOW).0, "a row of which symbols alone are left is none");
        let mut bare = row(&["device"], &[]);
        assert_eq!(keep(&mut book, "t", &mut bare, NOW), (true, Vec::new()), "but one that had no more is");
    }

    #[test]
    fn a_row_without_one_of_its_symbols_would_be_anothers() {
        let mut book = Book::new(RULES);
        keep(&mut book, "t", &mut row(&["device"], &names("x", 58)), NOW);
        let mut falsified = row(&["device", "room"], &names("x", 1));
        let left_out = keep(&mut book, "t", &mut falsified, NOW);
        assert_eq!(left_out, (false, vec![(Excess::Columns, "room".into())]));
        keep(&mut book, "u", &mut row(&["device"], &names("x", 52)), NOW);
        let many = ["a", "b", "c", "d", "e", "f"];
        let (kept, left_out) = keep(&mut book, "u", &mut row(&many, &names("x", 1)), NOW);
        assert!(!kept && left_out == [(Excess::Rate, "f".into())], "{left_out:?}");
        assert!(keep(&mut book, "u", &mut row(&many[..5], &names("x", 1)), NOW).0, "no name was spent on it");
    }

    #[test]
    fn an_owner_brings_so_many_tables_and_those_that_there_are_count() {
        let mut book = Book::new(RULES);
        book.learn(0, "a", ["x"].into_iter());
        book.learn(0, "A", ["y"].into_iter());
        assert!(book.table(0, "b").is_ok());
        assert_eq!(book.table(0, "c").unwrap_err(), Excess::Tables);
        assert!(book.table(1, "c").is_ok(), "each has its own count");
        assert!(book.table(0, "c").is_ok() && book.table(0, "B").is_ok(), "what there is stays open to all");
        book.learn(0, "d", ["x"].into_iter());
        assert!(book.table(0, "d").is_ok());
    }

    #[test]
    fn tables_are_bounded_in_all() {
        let mut book = Book::new(Rules { tables: usize::MAX, ..RULES });
        assert!((0..MAX_TABLES).all(|n| book.table(0, &format!("t{n}")).is_ok()));
        assert_eq!(book.table(0, "more").unwrap_err(), Excess::Tables);
        book.learn(0, "more", ["x"].into_iter());
        assert_eq!(book.tables.len(), MAX_TABLES);
        for n in 0..3 * MAX_SHAPES {
            keep(&mut book, &format!("t{}", n % MAX_TABLES), &mut row(&[], &[format!("f{}", n / MAX_TABLES)]), NOW);
        }
        assert!(book.shapes.len() <= MAX_SHAPES);
    }

    #[test]
    fn a_table_is_tight_when_the_ring_has_more_than_it_may_get() {
        let mut book = Book::new(RULES);
        book.learn(0, "t", names("x", 59).iter().map(String::as_str));
        assert!(!book.is_tight("t") && book.is_tight("unknown"));
        book.learn(0, "t", ["one more"].into_iter());
        assert!(book.is_tight("t"));
        book.learn(0, "u", names("x", 40).iter().map(String::as_str));
        book.learn(0, "u", names("y", 40).iter().map(String::as_str));
        assert!(book.is_tight("u"));
        let mut both = row(&[], &[names("x", 40), names("y", 40)].concat());
        assert_eq!(keep(&mut book, "u", &mut both, NOW), (true, Vec::new()));
    }
}
