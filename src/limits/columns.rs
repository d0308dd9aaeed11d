//! The columns of one table, and which further ones it may get (pure).

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use super::{Excess, Rules};
use crate::moment::name_number;

/// A table that has fewer columns takes new ones at any rate: a first start is not slowed.
pub const FIRST_COLUMNS: usize = 50;
/// Columns remembered of a table that has more than it might get here.
const MAX_LEARNT: usize = 4_096;
const MINUTE: Duration = Duration::from_mins(1);

/// The columns a table has, the time's included.
#[derive(Debug, Default)]
pub struct Columns {
    /// Numbers of their names, without case.
    names: HashSet<u64, foldhash::fast::RandomState>,
    /// When those of the last minute came that the rate counts; at most as many as a minute allows.
    recent: VecDeque<Duration>,
}

impl Columns {
    /// How many the table has, with the time's.
    pub fn count(&self) -> usize {
        self.names.len() + 1
    }

    /// Whether it is one of them.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(&name_number(name))
    }

    /// Takes note of a column that the table has, whatever the limits say.
    pub fn learn(&mut self, name: &str) {
        if self.names.len() < MAX_LEARNT {
            self.names.insert(name_number(name));
        }
    }

    /// Whether new columns come at any rate: to be asked once a message, so that its first rows do not slow the rest.
    pub fn is_starting(&self) -> bool {
        self.names.len() < FIRST_COLUMNS
    }

    /// How many new ones there is room for, or what there is too much of.
    pub fn room(&mut self, rules: &Rules, starting: bool, now: Duration) -> Result<usize, Excess> {
        let left = rules.columns.saturating_sub(self.count());
        if left == 0 {
            return Err(Excess::Columns);
        }
        if starting {
            return Ok(left);
        }
        while self.recent.front().is_some_and(|came| now.saturating_sub(*came) >= MINUTE) {
            self.recent.pop_front();
        }
        match rules.new_columns.saturating_sub(self.recent.len()) {
            0 => Err(Excess::Rate),
            allowed => Ok(allowed.min(left)),
        }
    }

    /// Lets a column in that the table has already or may get; otherwise says what there is too much of.
    pub fn admit(&mut self, name: &str, rules: &Rules, starting: bool, now: Duration) -> Result<(), Excess> {
        let number = name_number(name);
        if self.names.contains(&number) {
            return Ok(());
        }
        self.room(rules, starting, now)?;
        self.names.insert(number);
        if !starting {
            self.recent.push_back(now);
        }
        Ok(())
    }
}

/// What a lane goes by: it lets a row's columns in together, or none of them, at any rate.
impl Columns {
    /// Lets all of these in, if the table may get those of them that it has not; otherwise says how many are too many.
    pub fn admit_together<'a>(&mut self, names: impl Iterator<Item = &'a str>, rules: &Rules) -> Result<(), usize> {
        let mut new: Vec<u64> = names.map(name_number).filter(|number| !self.names.contains(number)).collect();
        new.sort_unstable();
        new.dedup();
        let room = rules.columns.saturating_sub(self.count());
        if new.len() > room {
            return Err(new.len() - room);
        }
        self.names.extend(new);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules { columns: 100, tables: 3, new_columns: 10 };

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// How many of so many new names are let in.
    fn admitted(columns: &mut Columns, prefix: &str, count: usize, now: Duration) -> usize {
        let starting = columns.is_starting();
        (0..count).filter(|n| columns.admit(&format!("{prefix}{n}"), &RULES, starting, now).is_ok()).count()
    }

    #[test]
    fn a_first_message_is_not_slowed_and_no_table_grows_beyond_its_limit() {
        let mut columns = Columns::default();
        assert_eq!(admitted(&mut columns, "a", 1_000, secs(0)), 99, "the time's column is one of them");
        assert_eq!(columns.count(), 100);
        assert_eq!(columns.admit("b", &RULES, false, secs(999)), Err(Excess::Columns));
        assert_eq!(columns.admit("A7", &RULES, false, secs(999)), Ok(()), "upper and lower case are one column");
    }

    #[test]
    fn once_a_table_has_its_first_columns_a_minute_brings_so_many() {
        let mut columns = Columns::default();
        assert_eq!(admitted(&mut columns, "a", FIRST_COLUMNS - 1, secs(0)), FIRST_COLUMNS - 1);
        assert!(columns.is_starting());
        assert_eq!(admitted(&mut columns, "b", 1, secs(0)), 1);
        assert!(!columns.is_starting());
        assert_eq!(admitted(&mut columns, "c", 20, secs(1)), 10);
        assert_eq!(columns.admit("d", &RULES, false, secs(60)), Err(Excess::Rate));
        assert_eq!(admitted(&mut columns, "c", 20, secs(61)), 20, "ten that it has, and ten more");
    }

    #[test]
    fn what_a_table_has_already_is_let_in_however_much_that_is() {
        let mut columns = Columns::default();
        (0..300).for_each(|n| columns.learn(&format!("x{n}")));
        assert_eq!(columns.count(), 301);
        assert!((0..300).all(|n| columns.admit(&format!("X{n}"), &RULES, false, secs(0)).is_ok()));
        assert_eq!(columns.room(&RULES, false, secs(0)), Err(Excess::Columns));
        (0..2 * MAX_LEARNT).for_each(|n| columns.learn(&format!("y{n}")));
        assert_eq!(columns.names.len(), MAX_LEARNT, "memory is bounded");
    }

    #[test]
    fn a_row_s_columns_are_let_in_together_or_not_at_all() {
        let mut columns = Columns::default();
        let names: Vec<String> = (0..120).map(|n| format!("x{n}")).collect();
        let admit = |columns: &mut Columns, count: usize| {
            columns.admit_together(names[..count].iter().map(String::as_str), &RULES)
        };
        assert_eq!(admit(&mut columns, 90), Ok(()));
        assert_eq!(admit(&mut columns, 120), Err(21));
        assert_eq!(columns.count(), 91);
        assert_eq!(admit(&mut columns, 99), Ok(()));
        assert_eq!(columns.admit_together(["X1", "x1", "y"].into_iter(), &RULES), Err(1));
    }

    proptest! {
        #[test]
        fn no_minute_and_no_table_gets_too_many(
            messages in prop::collection::vec((0_u64..90, prop::collection::vec(0_u32..400, 1..40)), 1..60),
        ) {
            let (mut columns, mut now, mut came) = (Columns::default(), secs(0), Vec::new());
            for (pause, names) in messages {
                now += secs(pause);
                let starting = columns.is_starting();
                for name in names.iter().map(|name| format!("n{name}")) {
                    let had = columns.has(&name);
                    let admitted = columns.admit(&name, &RULES, starting, now).is_ok();
                    prop_assert!(admitted || !had, "what a table has stays let in");
                    prop_assert_eq!(columns.has(&name), admitted);
                    if admitted && !had && !starting {
                        came.push(now);
                    }
                }
                prop_assert!(columns.count() <= RULES.columns);
            }
            for from in &came {
                let within = came.iter().filter(|at| **at >= *from && **at < *from + MINUTE).count();
                prop_assert!(within <= RULES.new_columns);
            }
        }
    }
}
