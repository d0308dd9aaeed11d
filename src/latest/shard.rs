//! A part of the map's writing side, under one lock: slots found by hash, and which of them makes room.

use std::collections::VecDeque;

use hashbrown::HashTable;

use super::{cleared::Cleared, key::KeyRef, slot::Slot};
use crate::marks::Seq;

/// When room is needed, all of a shard are compared, and the least recently updated 1/64 of it noted, but at least this many.
const LEAST_NOTED: usize = 16;
const NOTED_SHARE: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Shard {
    index: HashTable<u32>,
    slots: Vec<Option<Slot>>,
    /// The tick of each slot's last update.
    touched: Vec<u64>,
    free: Vec<u32>,
    /// The least recently updated slots, the very oldest last, with their ticks. Those updated since are passed over; the others are
    /// still the oldest, whatever has happened meanwhile.
    oldest: Vec<(u64, u32)>,
    tick: u64,
    pub cleared: Cleared,
    pub blocks: Blocks,
}

/// The blocks of remembered moments of all the shard's series, in the order in which they were
/// begun. Those of series that are gone stay in the list until it is tidied up.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    order: VecDeque<(u64, u32)>,
    next: u64,
}

impl Blocks {
    /// The number of the next one.
    pub fn next_number(&self) -> u64 {
        self.next
    }
}

/// The list of blocks is tidied up each time its length is a power of two larger than this.
const LEAST_TIDIED_UP: usize = 1_024;

impl Shard {
    #[inline]
    pub fn find<'k>(
        &self,
        hash: u64,
        key: &KeyRef<'k, impl Iterator<Item = (&'k str, &'k str)> + Clone>,
    ) -> Option<usize> {
        let same = |at: &u32| self.slots[*at as usize].as_ref().is_some_and(|s| s.hash == hash && key.names(&s.key));
        self.index.find(hash, same).map(|at| *at as usize)
    }

    #[inline]
    pub fn get_mut(&mut self, at: usize) -> Option<&mut Slot> {
        self.slots.get_mut(at).and_then(Option::as_mut)
    }

    pub fn slots_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut().flatten()
    }

    pub fn insert(&mut self, slot: Slot) -> usize {
        let hash = slot.hash;
        let at = if let Some(at) = self.free.pop() {
            self.slots[at as usize] = Some(slot);
            at
        } else {
            self.slots.push(Some(slot));
            self.touched.push(0);
            (self.slots.len() - 1) as u32
        };
        let slots = &self.slots;
        self.index.insert_unique(hash, at, |at| slots[*at as usize].as_ref().map_or(0, |slot| slot.hash));
        self.touched[at as usize] = 0;
        at as usize
    }

    /// Takes note that a series is updated.
    #[inline]
    pub fn touch(&mut self, at: usize) {
        self.tick += 1;
        self.touched[at] = self.tick;
    }

    /// Takes note that a series was updated by a record that is read back. Records of several
    /// series may come out of order.
    #[inline]
    pub fn touched_by(&mut self, at: usize, seq: Seq) {
        self.tick = self.tick.max(seq.0);
        self.touched[at] = self.touched[at].max(seq.0);
        if self.oldest.first().is_some_and(|(youngest, _)| seq.0 < *youngest) {
            // The series is older than some that are noted as the oldest.
            if self.oldest.len() < 2 * self.most_noted() {
                let place = self.oldest.partition_point(|(touched, _)| *touched > seq.0);
                self.oldest.insert(place, (seq.0, at as u32));
            } else {
                self.oldest.clear();
            }
        }
    }

    /// Takes note that a series has begun the block whose number was next.
    pub fn begun(&mut self, at: usize) {
        let Blocks { order, next } = &mut self.blocks;
        order.push_back((*next, at as u32));
        *next += 1;
        if order.len() > LEAST_TIDIED_UP && order.len().is_power_of_two() {
            let slots = &self.slots;
            order.retain(|(number, at)| {
                slots[*at as usize].as_ref().is_some_and(|slot| slot.history.has_block(*number))
            });
        }
    }

    /// Forgets the moments that were remembered first. The bytes they took; none where there are
    /// none.
    pub fn forget_block(&mut self) -> Option<usize> {
        loop {
            let (number, at) = self.blocks.order.pop_front()?;
            let Some(slot) = self.slots[at as usize].as_mut() else { continue };
            let before = slot.history.bytes();
            if slot.history.forget_block(number) {
                return Some(before - slot.history.bytes());
            }
        }
    }

    pub fn remove(&mut self, at: usize) -> Option<Slot> {
        let slot = self.slots.get_mut(at)?.take()?;
        if let Ok(entry) = self.index.find_entry(slot.hash, |other| *other as usize == at) {
            entry.remove();
        }
        self.free.push(at as u32);
        Some(slot)
    }

    /// Removes the least recently updated series, sparing the one whose hash is `keep` and all that
    /// were updated at `before` or later.
    pub fn evict(&mut self, keep: Option<u64>, before: Seq) -> Option<Slot> {
        let (mut at, all_seen) = self.next_oldest(keep, before);
        // What is not noted is younger than what is.
        if at.is_none() && all_seen {
            self.note_oldest();
            (at, _) = self.next_oldest(keep, before);
        }
        self.remove(at?)
    }

    /// The oldest of those that are noted, and whether all of them have been looked at.
    fn next_oldest(&mut self, keep: Option<u64>, before: Seq) -> (Option<usize>, bool) {
        let (mut spared, mut found) = (None, None);
        while let Some((touched, at)) = self.oldest.pop_if(|(touched, _)| *touched < before.0) {
            let slot = self.slots[at as usize].as_ref().filter(|_| self.touched[at as usize] == touched);
            match slot {
                Some(slot) if Some(slot.hash) == keep => spared = Some((touched, at)),
                Some(_) => {
                    found = Some(at as usize);
                    break;
                }
                None => {}
            }
        }
        let all_seen = self.oldest.is_empty();
        self.oldest.extend(spared);
        (found, all_seen)
    }

    /// How many are noted at a time.
    fn most_noted(&self) -> usize {
        (self.slots.len() / NOTED_SHARE).max(LEAST_NOTED)
    }

    fn note_oldest(&mut self) {
        self.oldest.clear();
        let held = self.slots.iter().zip(&self.touched).enumerate().filter(|(_, (slot, _))| slot.is_some());
        self.oldest.extend(held.map(|(at, (_, touched))| (*touched, at as u32)));
        let noted = self.most_noted();
        if self.oldest.len() > noted {
            self.oldest.select_nth_unstable(noted);
            self.oldest.truncate(noted);
        }
        self.oldest.sort_unstable_by(|a, b| b.cmp(a));
    }
}
