//! What was sent since its tables were last seen to be the ones they were (pure).
//!
//! QuestDB acknowledges rows of a table that was dropped a moment before. So what was acknowledged counts as stored for good once a look
//! that came after it has found the table unchanged.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use crate::marks::Mark;

/// A look is due so long after the last one, where there is something to send or to confirm.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After so long what was sent counts as confirmed, although somebody else writes to its table all the time, or QuestDB is far behind with
/// applying.
pub const OPEN_AT_MOST: Duration = Duration::from_secs(10);
/// So many tables written since the last look make one due.
pub const MAX_TABLES: usize = 1_024;

/// Tables with rows in a batch, by the hashes of their names.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    last: Option<u32>,
    names: HashMap<u32, String, foldhash::fast::RandomState>,
}

impl Tables {
    /// Takes note of a table.
    pub fn add(&mut self, hash: u32, name: impl FnOnce() -> String) {
        if self.last.replace(hash) != Some(hash)
            && let Entry::Vacant(place) = self.names.entry(hash)
        {
            place.insert(name());
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.last = None;
        self.names.clear();
    }

    /// Hashes and names.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        self.names.iter().map(|(hash, name)| (*hash, name.as_str()))
    }
}

/// A table that rows were sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its name, in some spelling.
    pub name: String,
    /// Requests with rows of it that were stored since it was seen; none where that is not known.
    pub answered: Option<u64>,
}

/// A lane's memory of them.
#[derive(Debug, Default)]
pub struct Unconfirmed {
    from: Option<Mark>,
    /// When the first request since left.
    since: Duration,
    tables: HashMap<u32, Written, foldhash::fast::RandomState>,
    looked: Option<Duration>,
}

impl Unconfirmed {
    /// Takes note of a request that leaves at `now`.
    pub fn leaves(&mut self, now: Duration, start: Mark, tables: &Tables) {
        if self.from.is_none() {
            self.since = now;
        }
        self.from = Some(self.from.map_or(start, |from| from.min(start)));
        for (hash, name) in tables.iter() {
            let new = || Written { name: name.to_owned(), answered: Some(0) };
            self.tables.entry(hash).or_insert_with(new);
        }
    }

    /// Takes note that a request with rows of these tables is stored.
    pub fn stored(&mut self, tables: &Tables) {
        for (hash, _) in tables.iter() {
            if let Some(written) = self.tables.get_mut(&hash) {
                written.answered = written.answered.map(|answered| answered + 1);
            }
        }
    }

    /// Takes note that nobody knows whether a request with rows of these tables is stored, or how many were.
    pub fn blur(&mut self, tables: &Tables) {
        for (hash, _) in tables.iter() {
            if let Some(written) = self.tables.get_mut(&hash) {
                written.answered = None;
            }
        }
    }

    /// How long until a look is due.
    pub fn due_in(&self, now: Duration) -> Duration {
        if self.is_due(now) { Duration::ZERO } else { LOOK_EVERY.saturating_sub(self.age(now).unwrap_or_default()) }
    }

    /// Whether it is time for a look.
    pub fn is_due(&self, now: Duration) -> bool {
        self.age(now).is_none_or(|age| age >= LOOK_EVERY) || self.tables.len() >= MAX_TABLES
    }

    /// Time since the last look; none before the first.
    pub fn age(&self, now: Duration) -> Option<Duration> {
        self.looked.map(|looked| now.saturating_sub(looked))
    }

    /// Where the first request began that no look has confirmed.
    pub fn from(&self) -> Option<Mark> {
        self.from
    }

    /// The tables written since the last look.
    pub fn tables(&self) -> impl Iterator<Item = (u32, &Written)> {
        self.tables.iter().map(|(hash, written)| (*hash, written))
    }

    /// A table written since the last look.
    pub fn of(&self, hash: u32) -> Option<&Written> {
        self.tables.get(&hash)
    }

    /// Takes note of a look at `now` that has not shown yet all that was done to some of them: what was sent before stays unconfirmed,
    /// unless that takes too long.
    pub fn leave_open(&mut self, now: Duration) {
        if now.saturating_sub(self.since) >= OPEN_AT_MOST {
            return self.confirm(now);
        }
        self.looked = Some(now);
        self.tables.values_mut().for_each(|written| written.answered = Some(0));
    }

    /// Takes note of a look at all of them at `now`, with nothing in flight: what was sent before is confirmed, or sent again.
    pub fn confirm(&mut self, now: Duration) {
        self.from = None;
        self.tables.clear();
        self.looked = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marks::{Pos, Seq};

    fn mark(pos: u64) -> Mark {
        Mark { pos: Pos(pos), seq: Seq(pos) }
    }

    fn tables(names: &[&str]) -> Tables {
        let mut tables = Tables::default();
        for name in names {
            tables.add(u32::from(name.as_bytes()[0]), || (*name).to_owned());
        }
        tables
    }

    #[test]
    fn it_reaches_back_to_the_first_request_since_a_look() {
        let mut unconfirmed = Unconfirmed::default();
        let at = Duration::from_secs(9);
        assert!(unconfirmed.is_due(at) && unconfirmed.from().is_none());
        let both = tables(&["a", "b", "a"]);
        unconfirmed.leaves(at, mark(30), &both);
        unconfirmed.leaves(at + LOOK_EVERY, mark(10), &tables(&["a"]));
        unconfirmed.stored(&both);
        unconfirmed.stored(&tables(&["a"]));
        let answered = |unconfirmed: &Unconfirmed, name: u8| unconfirmed.of(u32::from(name)).and_then(|of| of.answered);
        assert_eq!((unconfirmed.from(), answered(&unconfirmed, b'a')), (Some(mark(10)), Some(2)));
        unconfirmed.blur(&tables(&["b"]));
        unconfirmed.stored(&both);
        assert_eq!((answered(&unconfirmed, b'a'), answered(&unconfirmed, b'b')), (Some(3), None));
        unconfirmed.leave_open(at + LOOK_EVERY);
        assert_eq!((unconfirmed.from(), answered(&unconfirmed, b'b')), (Some(mark(10)), Some(0)));
        assert!(!unconfirmed.is_due(at + LOOK_EVERY));
        unconfirmed.leave_open(at + OPEN_AT_MOST);
        assert!(unconfirmed.from().is_none(), "not for ever");
        unconfirmed.leaves(at, mark(40), &both);
        unconfirmed.confirm(at);
        assert!(unconfirmed.from().is_none() && unconfirmed.tables().next().is_none());
        assert!(!unconfirmed.is_due(at + LOOK_EVERY / 2) && unconfirmed.is_due(at + LOOK_EVERY));
    }

    #[test]
    fn many_tables_make_a_look_due() {
        let mut unconfirmed = Unconfirmed::default();
        unconfirmed.confirm(Duration::ZERO);
        let mut many = Tables::default();
        (0..MAX_TABLES as u32).for_each(|hash| many.add(hash, || hash.to_string()));
        unconfirmed.leaves(Duration::ZERO, mark(1), &many);
        assert!(unconfirmed.is_due(Duration::ZERO));
    }
}
