//! Tables that turned out to be others than they were (pure): which of their rows go to the new ones, and what is told.
//!
//! What an operator has dropped on purpose does not come back: rows that were confirmed in the old table do not go again, whatever is sent
//! again otherwise. Those that were not do, also to a table that cannot tell a resent row from a new one.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use crate::marks::Pos;

/// Most tables remembered; forgotten beyond.
pub const MAX_TABLES: usize = 1_024;
/// Most changes told.
pub const MAX_TOLD: usize = 32;
/// How long a change is told.
pub const TOLD_FOR: Duration = Duration::from_hours(1);

#[derive(Debug, Clone, Copy, Default)]
struct Since {
    /// Older rows do not go to it.
    not_before: Pos,
    /// From here on rows go again, as far as `upto`.
    again_from: Pos,
    upto: Pos,
}

/// A lane's memory of them.
#[derive(Debug, Default)]
pub struct Reborn {
    tables: HashMap<u32, Since, foldhash::fast::RandomState>,
    told: VecDeque<(Duration, String)>,
}

impl Reborn {
    fn of(&mut self, hash: u32) -> &mut Since {
        if self.tables.len() >= MAX_TABLES && !self.tables.contains_key(&hash) {
            self.tables.clear();
        }
        self.tables.entry(hash).or_default()
    }

    /// Keeps rows before a place from a table.
    pub fn begin(&mut self, hash: u32, not_before: Pos) {
        let since = self.of(hash);
        since.not_before = since.not_before.max(not_before);
    }

    /// Has a table's rows go again, although they were sent before.
    pub fn send_again(&mut self, hash: u32, from: Pos, upto: Pos) {
        let since = self.of(hash);
        let is_under_way = since.again_from < since.upto;
        since.again_from = if is_under_way { since.again_from.min(from) } else { from };
        since.upto = since.upto.max(upto);
    }

    /// Whether a record is kept from its table.
    pub fn skips(&self, pos: Pos, hash: u32) -> bool {
        !self.tables.is_empty() && self.tables.get(&hash).is_some_and(|since| pos < since.not_before)
    }

    /// Before where rows do not go a second time to a table that cannot tell; `usual` for others.
    pub fn once_below(&self, hash: u32, usual: Pos) -> Pos {
        let since = self.tables.get(&hash).filter(|since| since.again_from < since.upto);
        since.map_or(usual, |since| usual.min(since.again_from))
    }

    /// Takes note that everything before a place has its fate.
    pub fn passed(&mut self, upto: Pos) {
        for since in self.tables.values_mut().filter(|since| upto >= since.upto) {
            since.again_from = since.upto;
        }
    }

    /// Lets older rows of tables go again after all, since that is asked for.
    pub fn lift(&mut self, is_asked: impl Fn(u32) -> bool) {
        self.tables.iter_mut().filter(|(hash, _)| is_asked(**hash)).for_each(|(_, since)| since.not_before = Pos(0));
    }

    /// Forgets what concerns nothing from a place on.
    pub fn forget_before(&mut self, pos: Pos) {
        self.tables.retain(|_, since| since.not_before.max(since.upto) > pos);
    }

    /// Has a change told for a while.
    pub fn tell(&mut self, now: Duration, text: String) {
        if self.told.len() >= MAX_TOLD {
            self.told.pop_front();
        }
        self.told.push_back((now, text));
    }

    /// What is to be told.
    pub fn told(&self, now: Duration) -> impl Iterator<Item = String> {
        self.told.iter().filter(move |(at, _)| now.saturating_sub(*at) < TOLD_FOR).map(|(_, text)| text.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirmed_rows_stay_away_and_the_others_go_once_more() {
        let mut reborn = Reborn::default();
        reborn.begin(7, Pos(50));
        reborn.begin(7, Pos(40));
        reborn.send_again(7, Pos(50), Pos(80));
        assert!(reborn.skips(Pos(49), 7) && !reborn.skips(Pos(50), 7) && !reborn.skips(Pos(0), 8));
        assert_eq!((reborn.once_below(7, Pos(80)), reborn.once_below(8, Pos(80))), (Pos(50), Pos(80)));
        reborn.passed(Pos(79));
        assert_eq!(reborn.once_below(7, Pos(80)), Pos(50), "not through");
        reborn.passed(Pos(80));
        assert_eq!(reborn.once_below(7, Pos(90)), Pos(90), "what went again goes no third time");
        reborn.send_again(7, Pos(85), Pos(90));
        assert_eq!(reborn.once_below(7, Pos(90)), Pos(85));
        reborn.forget_before(Pos(89));
        assert!(reborn.skips(Pos(49), 7));
        reborn.lift(|hash| hash == 7);
        assert!(!reborn.skips(Pos(49), 7), "somebody asked for it");
        reborn.forget_before(Pos(90));
        assert!(reborn.tables.is_empty());
    }

    #[test]
    fn it_is_bounded_and_told_for_a_while() {
        let mut reborn = Reborn::default();
        for number in 0..=MAX_TABLES as u32 {
            reborn.begin(number, Pos(9));
            reborn.tell(Duration::ZERO, number.to_string());
        }
        assert_eq!((reborn.tables.len(), reborn.told(Duration::ZERO).count()), (1, MAX_TOLD));
        assert!(reborn.told(Duration::ZERO).last().is_some_and(|text| text == MAX_TABLES.to_string()));
        assert_eq!(reborn.told(TOLD_FOR).count(), 0);
    }
}
