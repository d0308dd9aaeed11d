//! Reading the map: one series, all that match, or a long listing in parts.

use std::{ops::Bound, sync::Arc};

use super::{Filter, Key, Latest, Series, shapes::Reach};
use crate::{marks::Seq, names};

/// Series looked at before a part of a listing ends, however few of them are wanted.
const LOOKED_AT: usize = 1_024;

/// What a listing found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listing {
    /// Sorted by table and symbols.
    pub series: Vec<Series>,
    /// Whether there are more than were asked for.
    pub truncated: bool,
}

/// A listing under way, in order of table and symbols. Between its parts it holds nothing.
#[derive(Debug, Clone)]
pub struct Walk {
    filter: Filter,
    since: Option<Seq>,
    after: Option<Arc<Key>>,
    /// Whether there is nothing more.
    over: bool,
}

impl Walk {
    /// A listing of what matches and was changed by a record later than `since`, behind a series' place.
    pub fn new(filter: Filter, since: Option<Seq>, after: Option<Key>) -> Self {
        Self { filter, since, after: after.map(Arc::new), over: false }
    }

    /// Whether everything has been listed.
    pub fn is_over(&self) -> bool {
        self.over
    }

    fn start(&self) -> Arc<Key> {
        Arc::new(Key { table: self.filter.table().unwrap_or_default().into(), symbols: Box::default() })
    }
}

impl Latest {
    /// One series by its whole key; the symbols are sorted by name.
    pub fn get<N: AsRef<str>, V: AsRef<str>>(&self, table: &str, symbols: &[(N, V)]) -> Option<Series> {
        self.board.get(table, symbols)
    }

    /// The series that matches, where no other can; the rest of the map is not looked at.
    pub fn only(&self, filter: &Filter) -> Option<Series> {
        let table = filter.table()?;
        match self.board.reach(table, filter.symbols()) {
            Reach::One => self.get(table, filter.symbols()),
            Reach::Nothing | Reach::Many => None,
        }
    }

    /// The series that match, at most `limit`.
    pub fn list(&self, filter: &Filter, limit: usize) -> Listing {
        let mut walk = Walk::new(filter.clone(), None, None);
        let mut series = Vec::new();
        while !walk.is_over() && series.len() <= limit {
            let left = limit + 1 - series.len();
            series.extend(self.part(&mut walk, left));
        }
        let truncated = series.len() > limit;
        series.truncate(limit);
        Listing { series, truncated }
    }

    /// The next series of a listing, at most `most`; possibly none although it is not over.
    pub fn part(&self, walk: &mut Walk, most: usize) -> Vec<Series> {
        if walk.over {
            return Vec::new();
        }
        if let Some(table) = walk.filter.table() {
            match self.board.reach(table, walk.filter.symbols()) {
                Reach::Nothing => {
                    walk.over = true;
                    return Vec::new();
                }
                Reach::One => return self.only_one(walk),
                Reach::Many => {}
            }
        }
        self.stretch(walk, most)
    }

    fn only_one(&self, walk: &mut Walk) -> Vec<Series> {
        walk.over = true;
        let found = self.get(walk.filter.table().unwrap_or_default(), walk.filter.symbols());
        let is_new = |series: &Series| walk.since.is_none_or(|since| series.seq() > since);
        let is_ahead = |series: &Series| walk.after.as_ref().is_none_or(|after| series.key > *after);
        found.into_iter().filter(|series| is_new(series) && is_ahead(series)).collect()
    }

    fn stretch(&self, walk: &mut Walk, most: usize) -> Vec<Series> {
        let start = walk.start();
        let from = match &walk.after {
            // A series without symbols stands where its table's listing begins.
            Some(after) if *after >= start => Bound::Excluded(after),
            _ => Bound::Included(&start),
        };
        let mut found = Vec::new();
        let (mut looked_at, mut last, mut over) = (0, None, true);
        self.board.walk(walk.filter.symbols(), from, |shown| {
            if walk.filter.table().is_some_and(|table| !names::same(&shown.key.table, table)) {
                return false;
            }
            if looked_at == LOOKED_AT || found.len() == most {
                over = false;
                return false;
            }
            looked_at += 1;
            last = Some(Arc::clone(&shown.key));
            if walk.since.is_none_or(|since| shown.seq() > since) && walk.filter.matches(&shown.key) {
                found.push(shown.series());
            }
            true
        });
        walk.over = over;
        walk.after = last.or_else(|| walk.after.take());
        found
    }
}
