//! A part of the map under one lock: slots found by hash, and which of them makes room.

use hashbrown::HashTable;

use super::{
    key::KeyRef,
    slot::{Slot, Stamp},
};
use crate::entry::ValueRef;

/// Series compared when one has to make room; with no more than this many in a shard the choice is exact.
const SAMPLE: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Shard {
    index: HashTable<u32>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    /// Where the next sample starts.
    hand: usize,
    tick: u64,
    pub updates: u64,
    pub late: u64,
}

impl Shard {
    pub fn find<'k>(
        &self,
        hash: u64,
        key: &KeyRef<'k, impl Iterator<Item = (&'k str, &'k str)> + Clone>,
    ) -> Option<usize> {
        let same = |at: &u32| self.slots[*at as usize].as_ref().is_some_and(|s| s.hash == hash && key.names(&s.key));
        self.index.find(hash, same).map(|at| *at as usize)
    }

    pub fn get(&self, at: usize) -> Option<&Slot> {
        self.slots.get(at).and_then(Option::as_ref)
    }

    pub fn get_mut(&mut self, at: usize) -> Option<&mut Slot> {
        self.slots.get_mut(at).and_then(Option::as_mut)
    }

    /// Slots from `from` on, at most `count`; none when `from` is past the end.
    pub fn chunk(&self, from: usize, count: usize) -> Option<impl Iterator<Item = &Slot>> {
        let rest = self.slots.get(from..).filter(|rest| !rest.is_empty())?;
        Some(rest.iter().take(count).flatten())
    }

    pub fn insert(&mut self, slot: Slot) -> usize {
        let hash = slot.hash;
        let at = if let Some(at) = self.free.pop() {
            self.slots[at as usize] = Some(slot);
            at
        } else {
            self.slots.push(Some(slot));
            (self.slots.len() - 1) as u32
        };
        let slots = &self.slots;
        self.index.insert_unique(hash, at, |at| slots[*at as usize].as_ref().map_or(0, |slot| slot.hash));
        self.touch(at as usize);
        at as usize
    }

    pub fn apply<'a>(
        &mut self,
        at: usize,
        fields: impl Iterator<Item = (&'a str, ValueRef<'a>)>,
        stamp: Stamp,
    ) -> Option<&Slot> {
        self.touch(at);
        let slot = self.slots[at].as_mut()?;
        if slot.apply(fields, stamp) {
            self.updates += 1;
            Some(slot)
        } else {
            self.late += 1;
            None
        }
    }

    pub fn touch(&mut self, at: usize) {
        self.tick += 1;
        if let Some(slot) = &mut self.slots[at] {
            slot.touched = self.tick;
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

    /// Removes the least recently updated of the next [`SAMPLE`] series, sparing the one whose hash is `keep`.
    pub fn evict(&mut self, keep: u64) -> Option<Slot> {
        let len = self.slots.len();
        let mut oldest: Option<(u64, usize)> = None;
        let mut seen = 0;
        for step in 0..len {
            let at = (self.hand + step) % len;
            let Some(slot) = self.slots[at].as_ref().filter(|slot| slot.hash != keep) else { continue };
            oldest = Some(oldest.map_or((slot.touched, at), |o| o.min((slot.touched, at))));
            seen += 1;
            if seen == SAMPLE {
                self.hand = (at + 1) % len;
                break;
            }
        }
        oldest.and_then(|(_, at)| self.remove(at))
    }
}
