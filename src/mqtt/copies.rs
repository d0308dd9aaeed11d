//! Copies of one publication. A broker that speaks MQTT 5 sends a message once for each subscription that it matches (section 3.3.4);
//! the identifiers of the subscriptions tell the copies of one publication from two publications that are alike. Pure.

use std::hash::BuildHasher;

use hashbrown::HashMap;

/// Contents remembered at least; of those longer ago a copy counts as a message of its own.
pub const REMEMBERED: usize = 2_048;
/// Identifiers counted of a content.
const MAX_IDS: usize = 64;

/// What is remembered of a content: a topic with a payload.
#[derive(Debug, Clone, Default)]
struct Content {
    /// Messages taken, since numbers began.
    taken: i64,
    /// Copies that came, by the subscription that they came for; negative where some of what was
    /// taken before numbers began have not come.
    came: Vec<(u32, i64)>,
}

/// Which of the messages that come are copies of one that was taken.
///
/// A publication has at most one copy for each subscription, so there were at least as many publications of a content as copies of it for
/// any one subscription. So many are taken, and none of them is lost, in whichever order the copies come.
#[derive(Debug, Default)]
pub struct Copies {
    recent: HashMap<u64, Content>,
    /// Those before; they are given up when `recent` is full.
    older: HashMap<u64, Content>,
    hasher: foldhash::quality::RandomState,
}

/// A content, for [`Copies`].
#[derive(Debug, Clone, Copy)]
pub struct Key(pub(super) u64);

impl Copies {
    /// The key of a content.
    pub fn key(&self, topic: &str, payload: &[u8], retain: bool) -> Key {
        Key(self.hasher.hash_one((topic, payload, retain)))
    }

    /// Whether a message that comes for these subscriptions is a copy of one that was taken.
    pub fn knows(&self, key: Key, ids: &[u32]) -> bool {
        let content = self.recent.get(&key.0).or_else(|| self.older.get(&key.0));
        content.is_some_and(|content| content.count(ids) <= content.taken)
    }

    /// Takes note of a message that came for these subscriptions, and was taken or found to be a copy.
    pub fn note(&mut self, key: Key, ids: &[u32]) {
        if !self.recent.contains_key(&key.0) {
            if self.recent.len() >= REMEMBERED {
                self.older = std::mem::take(&mut self.recent);
            }
            let content = self.older.remove(&key.0).unwrap_or_default();
            self.recent.insert(key.0, content);
        }
        if let Some(content) = self.recent.get_mut(&key.0) {
            content.taken = content.taken.max(content.count(ids));
            content.add(ids);
        }
    }

    /// Has a filter that stands from here on begin level with the others, so that a message which
    /// comes for it alone is no copy of what came before it stood. Copies that are on their way
    /// stay copies.
    pub fn level(&mut self) {
        for content in self.recent.values_mut().chain(self.older.values_mut()) {
            content.came.iter_mut().for_each(|(_, count)| *count -= content.taken);
            content.taken = 0;
        }
    }
}

impl Content {
    /// Copies for the subscription that has most, of these, with this one.
    fn count(&self, ids: &[u32]) -> i64 {
        let count = |id: &u32| self.came.iter().find(|(known, _)| known == id).map_or(0, |(_, count)| *count);
        ids.iter().map(count).max().map_or(0, |count| count + 1)
    }

    fn add(&mut self, ids: &[u32]) {
        for id in ids {
            if let Some((_, count)) = self.came.iter_mut().find(|(known, _)| known == id) {
                *count += 1;
            } else if self.came.len() < MAX_IDS {
                self.came.push((*id, 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether a message would be taken; it is noted.
    fn comes(copies: &mut Copies, topic: &str, ids: &[u32]) -> bool {
        let key = copies.key(topic, b"1", false);
        let is_taken = !copies.knows(key, ids);
        copies.note(key, ids);
        is_taken
    }

    #[test]
    fn one_publication_is_taken_once_and_two_that_are_alike_twice() {
        let mut copies = Copies::default();
        let taken: Vec<bool> = [1, 2, 1, 1, 2, 2, 2].iter().map(|id| comes(&mut copies, "a", &[*id])).collect();
        assert_eq!(taken, [true, false, true, true, false, false, true]);
        assert!(comes(&mut copies, "b", &[2]), "another topic");
        assert!(comes(&mut copies, "c", &[1, 2]) && comes(&mut copies, "c", &[1, 2]), "one packet for both");
    }

    #[test]
    fn a_filter_that_comes_begins_level_with_the_others() {
        let mut copies = Copies::default();
        let takes = |copies: &mut Copies, ids: &[u32]| -> Vec<bool> {
            ids.iter().map(|id| comes(copies, "a", &[*id])).collect()
        };
        assert_eq!(takes(&mut copies, &[1, 2, 1, 1, 2]), [true, false, true, true, false]);
        copies.level();
        assert_eq!(takes(&mut copies, &[2]), [false], "a copy that was on its way");
        assert_eq!(takes(&mut copies, &[3]), [true], "the broker has dropped what came for the others");
        assert_eq!(takes(&mut copies, &[3, 1, 1, 2, 2, 3]), [true, false, false, false, false, true]);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_longest_ago_goes_first() {
        let mut copies = Copies::default();
        for n in 0..3 * REMEMBERED {
            assert!(comes(&mut copies, &format!("t{n}"), &[1]));
            assert!(copies.recent.len() + copies.older.len() <= 2 * REMEMBERED);
            assert!(!comes(&mut copies, "often", &[n as u32 + 2]) || n == 0, "what is used stays");
        }
        assert!(!comes(&mut copies, &format!("t{}", 2 * REMEMBERED), &[2]));
        assert!(comes(&mut copies, "t0", &[2]), "forgotten, and so a message of its own");
        assert!(copies.recent.values().all(|content| content.came.len() <= MAX_IDS));
    }

    proptest! {
        /// Publications of one content, each with a copy for every subscription, in any order.
        #[test]
        fn as_many_are_taken_as_were_published(
            order in (1usize..5, 1u32..4).prop_flat_map(|(published, subscriptions)| {
                let all: Vec<u32> = (0..subscriptions).flat_map(|id| vec![id; published]).collect();
                (Just(published), Just(all).prop_shuffle())
            }),
        ) {
            let (published, order) = order;
            let mut copies = Copies::default();
            let taken = order.iter().filter(|id| comes(&mut copies, "a", &[**id])).count();
            prop_assert_eq!(taken, published);
        }
    }
}
