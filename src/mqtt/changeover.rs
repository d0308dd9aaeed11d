//! Copies of one publication while subscriptions change. Pure: the time is an argument.
//!
//! A new filter and the one that it replaces stand beside each other for a moment, since messages
//! must not fall between the two. A publication of that moment comes for both, its copies one right
//! after the other. Before and after it comes for one of them. Nothing but the time tells two
//! copies from two publications that are alike, so a copy is taken for one only where it comes at
//! once; a little later where the content does not repeat.

use std::{collections::VecDeque, time::Duration};

use hashbrown::HashMap;

use super::copies::Key;
use crate::ingest::filters;

/// Contents that come again within this time repeat. So long is looked at what comes before
/// subscriptions change, and so late may a copy of a content come that does not repeat.
pub(super) const LEARNS: Duration = Duration::from_millis(300);
/// How late a copy may come of a content that repeats.
const AT_ONCE: Duration = Duration::from_millis(2);
/// How long copies are looked for after the broker's last answer: its queue may be long.
const LASTS: Duration = Duration::from_secs(10);
/// Messages among which a copy is looked for.
const MAX_RECENT: usize = 256;
/// Contents whose last coming is known; of those beyond, each is taken to repeat for a while.
const MAX_CONTENTS: usize = 16_384;

/// A message that was taken.
#[derive(Debug)]
struct Recent {
    key: u64,
    /// The identifiers of the subscriptions that it, and its copies, came for.
    ids: Vec<u32>,
    at_ns: u64,
    repeats: bool,
}

/// How far a change has come, in time since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing changes.
    Still,
    /// The old subscriptions are in force until then.
    Learning(u64),
    /// Old and new ones may be.
    Changing,
    /// The broker has answered; its queue is worked off until then.
    Ending(u64),
}

/// What is known of a change of subscriptions.
#[derive(Debug)]
pub(super) struct Changeover {
    phase: Phase,
    /// The filters that come, go or change, each with the time from which on it may.
    filters: Vec<(String, u64)>,
    recent: VecDeque<Recent>,
    /// When each content came last.
    met: HashMap<u64, u64>,
    /// Until when every content is taken to repeat, since some were forgotten.
    forgetful_until_ns: u64,
}

/// By what copies are found now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// By their number for each subscription.
    Number,
    /// By their number, and what comes is remembered for the change that is to follow.
    NumberAndLearn,
    /// By when they come.
    Time,
}

impl Default for Changeover {
    fn default() -> Self {
        let (recent, met) = (VecDeque::new(), HashMap::new());
        Self { phase: Phase::Still, filters: Vec::new(), recent, met, forgetful_until_ns: 0 }
    }
}

impl Changeover {
    /// Begins; subscriptions change no sooner than [`LEARNS`] after `now_ns`. The filters are those
    /// that come, go or change.
    pub fn begin(&mut self, now_ns: u64, filters: Vec<String>) {
        if self.phase == Phase::Still {
            *self = Self { phase: Phase::Learning(now_ns + nanos(LEARNS)), ..Self::default() };
        } else if !matches!(self.phase, Phase::Learning(_)) {
            self.phase = Phase::Changing;
        }
        for filter in filters {
            if !self.filters.iter().any(|(known, _)| *known == filter) {
                self.filters.push((filter, now_ns + nanos(LEARNS)));
            }
        }
    }

    /// Whether it has begun and is not over yet.
    pub fn is_on(&self) -> bool {
        self.phase != Phase::Still
    }

    /// Takes note that the broker has answered all that was asked.
    pub fn answered(&mut self, now_ns: u64) {
        if matches!(self.phase, Phase::Changing | Phase::Ending(_)) {
            self.phase = Phase::Ending(now_ns + nanos(LASTS));
        }
    }

    /// By what copies of a topic's messages are found at a time; the flag says that a change has
    /// just ended, after which numbers from before say nothing.
    pub fn by(&mut self, topic: &str, now_ns: u64) -> (By, bool) {
        let (by, has_ended) = self.by_for_those(now_ns);
        // What no filter of the change brings comes as before; but the change may get filters more.
        let is_of_change =
            || self.filters.iter().any(|(filter, from)| now_ns >= *from && filters::cross(filter, topic));
        if by == By::Time && !is_of_change() { (By::NumberAndLearn, false) } else { (by, has_ended) }
    }

    /// The same for messages that a filter of the change brings.
    fn by_for_those(&mut self, now_ns: u64) -> (By, bool) {
        match self.phase {
            Phase::Still => (By::Number, false),
            Phase::Learning(until) if now_ns < until => (By::NumberAndLearn, false),
            Phase::Learning(_) => {
                self.phase = Phase::Changing;
                (By::Time, false)
            }
            Phase::Ending(until) if now_ns >= until => {
                *self = Self::default();
                (By::Number, true)
            }
            Phase::Changing | Phase::Ending(_) => (By::Time, false),
        }
    }

    /// Whether a message is a copy of one that was taken.
    pub fn knows(&self, key: Key, ids: &[u32], at_ns: u64) -> bool {
        self.find(key, ids, at_ns).is_some()
    }

    fn find(&self, Key(key): Key, ids: &[u32], at_ns: u64) -> Option<usize> {
        let is_copy = |of: &Recent| {
            let within = if of.repeats { AT_ONCE } else { LEARNS };
            of.key == key
                && at_ns.saturating_sub(of.at_ns) <= nanos(within)
                && !ids.iter().any(|id| of.ids.contains(id))
        };
        self.recent.iter().rposition(is_copy)
    }

    /// Takes note of a message that was taken, or found to be a copy.
    pub fn note(&mut self, key: Key, ids: &[u32], at_ns: u64, is_copy: bool) {
        let met = self.met.get(&key.0).copied();
        let newest = self.recent.iter().rposition(|of| of.key == key.0);
        let of = self.find(key, ids, at_ns).or(newest).filter(|_| is_copy);
        if let Some(of) = of.and_then(|at| self.recent.get_mut(at)) {
            of.ids.extend(ids);
        } else {
            let repeats =
                at_ns < self.forgetful_until_ns || met.is_some_and(|last| at_ns.saturating_sub(last) <= nanos(LEARNS));
            if self.recent.len() >= MAX_RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(Recent { key: key.0, ids: ids.to_vec(), at_ns, repeats });
        }
        if self.met.len() >= MAX_CONTENTS {
            self.met.clear();
            self.forgetful_until_ns = at_ns + nanos(LEARNS);
        }
        self.met.insert(key.0, at_ns);
    }
}

fn nanos(span: Duration) -> u64 {
    span.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::copies::Copies;

    const MS: u64 = 1_000_000;

    /// What comes at which millisecond, for which subscriptions; the number taken, in a change that
    /// began at 0.
    fn taken(messages: &[(u64, &str, &[u32])]) -> usize {
        let (mut change, copies) = (Changeover::default(), Copies::default());
        change.begin(0, vec!["t".into()]);
        let mut taken = 0;
        for (at_ms, payload, ids) in messages {
            let (key, at_ns) = (copies.key("t", payload.as_bytes(), false), at_ms * MS);
            let is_copy = change.by("t", at_ns).0 == By::Time && change.knows(key, ids, at_ns);
            change.note(key, ids, at_ns, is_copy);
            taken += usize::from(!is_copy);
        }
        taken
    }

    #[test]
    fn of_what_comes_for_both_one_is_taken_whichever_comes_first() {
        assert_eq!(taken(&[(400, "1", &[1]), (410, "2", &[1]), (410, "2", &[2]), (420, "3", &[2])]), 3);
        assert_eq!(taken(&[(400, "1", &[2]), (401, "1", &[1]), (402, "2", &[1]), (430, "2", &[2])]), 2);
        assert_eq!(taken(&[(400, "1", &[1, 2]), (400, "1", &[1, 2])]), 2, "one packet for both");
    }

    #[test]
    fn what_repeats_is_one_only_where_it_comes_at_once() {
        let mut messages: Vec<(u64, &str, &[u32])> = (0..50).map(|n| (n * 10, "on", &[1][..])).collect();
        // Both for a moment, then the new one alone.
        messages.extend([(500, "on", &[1][..]), (500, "on", &[2][..]), (511, "on", &[2]), (521, "on", &[2])]);
        assert_eq!(taken(&messages), 53);
        let mut messages: Vec<(u64, &str, &[u32])> = (0..50).map(|n| (n * 10, "on", &[1][..])).collect();
        messages.push((500, "on", &[2]));
        assert_eq!(taken(&messages), 51, "no publication came for both");
    }

    #[test]
    fn what_comes_again_later_is_a_message() {
        assert_eq!(taken(&[(400, "off", &[1]), (1_400, "off", &[2]), (2_400, "off", &[2])]), 3);
    }

    #[test]
    fn a_change_ends_a_while_after_the_answer_and_numbers_begin_again() {
        let mut change = Changeover::default();
        assert_eq!(change.by("a/1", 0), (By::Number, false));
        change.begin(0, vec!["a/+".into()]);
        assert_eq!(change.by("a/1", 299 * MS), (By::NumberAndLearn, false));
        change.answered(299 * MS);
        assert_eq!(change.by("a/1", 300 * MS), (By::Time, false));
        change.answered(400 * MS);
        assert_eq!(change.by("a/1", 10_399 * MS), (By::Time, false));
        assert_eq!(change.by("b/1", 10_399 * MS), (By::NumberAndLearn, false), "no filter of the change brings it");
        change.begin(10_399 * MS, vec!["b/#".into()]);
        assert_eq!(change.by("a/1", 200_000 * MS), (By::Time, false), "the next change goes on with it");
        assert_eq!(
            change.by("b/1", 10_698 * MS),
            (By::NumberAndLearn, false),
            "its filter stands as before for a while"
        );
        assert_eq!(change.by("b/1", 10_699 * MS), (By::Time, false));
        change.answered(200_000 * MS);
        assert_eq!(change.by("a/1", 210_000 * MS), (By::Number, true));
        assert_eq!(change.by("a/1", 210_000 * MS), (By::Number, false));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut change, copies) = (Changeover::default(), Copies::default());
        change.begin(0, Vec::new());
        for n in 0..3 * MAX_CONTENTS as u64 {
            change.note(copies.key(&n.to_string(), b"", false), &[1], n, false);
            assert!(change.met.len() <= MAX_CONTENTS && change.recent.len() <= MAX_RECENT);
        }
        assert!(change.recent.back().is_some_and(|of| of.repeats), "what is forgotten may repeat");
    }
}
