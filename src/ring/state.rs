//! What must outlive the tail: small values under keys, written into the log in state records and written again before the tail passes
//! them. Pure.
//!
//! The newest record of a key counts. All entries together are bounded ([`super::layout::most_state_bytes`]), so one record can hold them.

mod body;
mod copy;

use std::collections::{BTreeMap, BTreeSet};

use self::body::{ENTRY_BYTES, entry_bytes, put_entry, read_source, source_value};
pub use self::body::{StateEntry, StateKind, counts_of, entries};
use crate::tally::{Counts, SourceCounts, SourceId, Tally};

/// Longest key in bytes: an MQTT topic filter.
pub const MAX_KEY_BYTES: usize = u16::MAX as usize;

/// An entry that cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ring's state would need {bytes} bytes; {most} are allowed (a 256th of [ring] size)")]
pub struct StateFull {
    /// Bytes needed.
    pub bytes: usize,
    /// Bytes allowed.
    pub most: usize,
}

type Key = (StateKind, Box<[u8]>);

/// What is known of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Slot {
    /// None where it was removed, as long as a record with a value may still be read.
    value: Option<Vec<u8>>,
    /// Position of the newest record that has it.
    at: Option<u64>,
    /// Position of the newest record that has a value of it.
    value_at: Option<u64>,
}

/// A source's name and counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Source {
    name: String,
    counts: Counts,
}

/// All state of a ring.
#[derive(Debug, Default)]
pub struct States {
    entries: BTreeMap<Key, Slot>,
    sources: BTreeMap<SourceId, Source>,
    last_source: u16,
    /// Bytes of all entries as they are written.
    bytes: usize,
    most: usize,
    /// Entries that no record has as they are.
    changed: BTreeSet<Key>,
    /// The same for sources' counts.
    counted: BTreeSet<SourceId>,
}

impl States {
    /// No state, of which there may be so many bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, kind: StateKind, key: &[u8]) -> Option<&[u8]> {
        self.entries.get(&(kind, key.into()))?.value.as_deref()
    }

    /// Keys and values of a kind.
    pub fn all(&self, kind: StateKind) -> impl Iterator<Item = (&[u8], &[u8])> {
        let of_kind = self.entries.range((kind, Box::default())..).take_while(move |((other, _), _)| *other == kind);
        of_kind.filter_map(|((_, key), slot)| Some((&**key, slot.value.as_deref()?)))
    }

    /// How many entries there are of each kind.
    #[must_use]
    pub fn kinds(&self) -> BTreeMap<StateKind, u64> {
        let mut kinds = BTreeMap::new();
        for (kind, _) in
            self.entries.iter().filter(|(_, slot)| slot.value.is_some()).map(|((kind, _), slot)| (*kind, slot))
        {
            *kinds.entry(kind).or_default() += 1;
        }
        kinds
    }

    /// Sets the value of a key, or removes it; says whether that changes anything.
    pub fn set(&mut self, kind: StateKind, key: &[u8], value: Option<&[u8]>) -> Result<bool, StateFull> {
        let id: Key = (kind, key.into());
        let known = self.entries.get(&id);
        if known.and_then(|slot| slot.value.as_deref()) == value {
            return Ok(false);
        }
        let entry = |value: Option<&[u8]>| ENTRY_BYTES + key.len() + value.map_or(0, <[u8]>::len);
        let before = known.map_or(0, |slot| entry(slot.value.as_deref()));
        let bytes = self.bytes - before + entry(value);
        if bytes > self.most && value.is_some() || key.len() > MAX_KEY_BYTES {
            return Err(StateFull { bytes, most: self.most });
        }
        self.bytes = bytes;
        self.entries.entry(id.clone()).or_default().value = value.map(<[u8]>::to_vec);
        self.changed.insert(id);
        Ok(true)
    }

    /// Numbers for the configured sources, the known ones as before. Where there is no room, what is known of other sources is given up; a
    /// source for which even that is not enough has no number.
    pub fn register(&mut self, names: &[&str]) -> Vec<SourceId> {
        names.iter().map(|name| self.register_one(name, names)).collect()
    }

    fn register_one(&mut self, name: &str, configured: &[&str]) -> SourceId {
        if let Some(id) = self.source_named(name) {
            return id;
        }
        loop {
            let Some(number) = self.last_source.checked_add(1) else { return SourceId::NONE };
            if self.enter_source(SourceId(number), name) {
                return SourceId(number);
            }
            let other = |(id, source): &(&SourceId, &Source)| {
                **id != SourceId::NONE && !configured.contains(&source.name.as_str())
            };
            let Some(id) = self.sources.iter().find(other).map(|(id, _)| *id) else { return SourceId::NONE };
            self.forget_source(id);
        }
    }

    fn source_named(&self, name: &str) -> Option<SourceId> {
        self.sources.iter().find(|(id, source)| source.name == name && **id != SourceId::NONE).map(|(id, _)| *id)
    }

    fn enter_source(&mut self, id: SourceId, name: &str) -> bool {
        let source = Source { name: name.to_owned(), counts: Counts::default() };
        if self.set(StateKind::SOURCE, name.as_bytes(), Some(&source_value(id, source.counts))).is_err() {
            return false;
        }
        self.last_source = self.last_source.max(id.0);
        self.sources.insert(id, source);
        true
    }

    fn forget_source(&mut self, id: SourceId) {
        self.counted.remove(&id);
        if let Some(source) = self.sources.remove(&id) {
            // To remove an entry needs no more room than it has.
            let _ = self.set(StateKind::SOURCE, source.name.as_bytes(), None);
        }
    }

    /// The name of a source.
    #[must_use]
    pub fn source_name(&self, id: SourceId) -> Option<&str> {
        self.sources.get(&id).map(|source| source.name.as_str())
    }

    /// Names and counts of all sources. What belongs to no source has an empty name.
    pub fn sources(&self) -> impl Iterator<Item = (SourceId, &str, Counts)> {
        self.sources.iter().map(|(id, source)| (*id, source.name.as_str(), source.counts))
    }

    /// The same as a document, for people and programs.
    #[must_use]
    pub fn source_counts(&self) -> Vec<SourceCounts> {
        let source = |(number, name, counts): (SourceId, &str, Counts)| SourceCounts {
            source: name.to_owned(),
            number: number.0,
            counts,
        };
        self.sources().map(source).collect()
    }

    /// Adds to the counts of a source; of one that is not known, to those of no source.
    pub fn tally(&mut self, tally: Tally) {
        if tally.counts.is_zero() {
            return;
        }
        let id = if self.sources.contains_key(&tally.source) { tally.source } else { SourceId::NONE };
        if id == SourceId::NONE && !self.sources.contains_key(&id) && !self.enter_source(id, "") {
            return;
        }
        if let Some(source) = self.sources.get_mut(&id) {
            source.counts.add(tally.counts);
            self.counted.insert(id);
        }
    }

    /// Whether some entry is in no record as it is. A record of a source must not be appended before its number is in the log.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Whether some entry or count is in no record as it is.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.has_changes() || !self.counted.is_empty()
    }

    /// Whether some count is in no record as it is.
    #[must_use]
    pub fn has_counted(&self) -> bool {
        !self.counted.is_empty()
    }

    /// Bytes that [`States::write`] appends, exactly: records are placed by it.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        let entry = |key: &Key| self.entries.get(key).map_or(0, |slot| entry_bytes(&key.1, slot.value.as_deref()));
        let counted = self.counted.iter().filter_map(|id| {
            let key: Key = (StateKind::SOURCE, self.sources.get(id)?.name.as_bytes().into());
            // A source's value has one length, whatever it counts.
            (!self.changed.contains(&key)).then(|| entry(&key))
        });
        self.changed.iter().map(entry).sum::<usize>() + counted.sum::<usize>()
    }

    /// Appends the body of a state record with every entry and count that has changed; returns how many entries it has.
    /// [`States::written`] follows.
    ///
    /// So behind a state record nothing is missing that records before it count.
    pub fn write(&mut self, out: &mut Vec<u8>) -> u16 {
        self.enter_counts();
        for key in &self.changed {
            if let Some(slot) = self.entries.get(key) {
                put_entry(key, slot.value.as_deref(), out);
            }
        }
        self.changed.len() as u16
    }

    fn enter_counts(&mut self) {
        for id in std::mem::take(&mut self.counted) {
            if let Some(source) = self.sources.get(&id) {
                let (name, value) = (source.name.clone(), source_value(id, source.counts));
                // A source's value has one length, so there is room for it.
                let _ = self.set(StateKind::SOURCE, name.as_bytes(), Some(&value));
            }
        }
    }

    /// Takes note that what [`States::write`] gave lies at a position.
    pub fn written(&mut self, at: u64) {
        for key in std::mem::take(&mut self.changed) {
            if let Some(slot) = self.entries.get_mut(&key) {
                slot.at = Some(at);
                if slot.value.is_some() {
                    slot.value_at = Some(at);
                }
            }
        }
    }

    /// Takes over what a record at a position says.
    pub fn apply(&mut self, body: &[u8], at: u64) {
        for StateEntry { kind, key, value } in entries(body) {
            let id: Key = (kind, key.into());
            let slot = self.entries.entry(id).or_default();
            if slot.at.is_some() {
                self.bytes -= entry_bytes(key, slot.value.as_deref());
            }
            self.bytes += entry_bytes(key, value);
            slot.value = value.map(<[u8]>::to_vec);
            slot.at = Some(at);
            if value.is_some() {
                slot.value_at = Some(at);
            }
            if kind == StateKind::SOURCE {
                self.apply_source(key, value);
            }
        }
    }

    fn apply_source(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Ok(name) = std::str::from_utf8(key) else { return };
        match value.and_then(read_source) {
            Some((id, counts)) => {
                self.last_source = self.last_source.max(id.0);
                self.sources.insert(id, Source { name: name.to_owned(), counts });
            }
            None => self.sources.retain(|_, source| source.name != name),
        }
    }

    /// Position of the record that the tail must not pass before its entries are written again.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.entries.values().filter(|slot| slot.value.is_some()).filter_map(|slot| slot.at).min()
    }

    /// Position of the last record that has an entry.
    #[must_use]
    pub fn newest(&self) -> Option<u64> {
        self.entries.values().filter_map(|slot| slot.at).max()
    }

    /// Whether an entry that is needed has its newest record before a position.
    #[must_use]
    pub fn is_older_than(&self, pos: u64) -> bool {
        self.oldest().is_some_and(|oldest| oldest < pos)
    }

    /// Has every entry written once more.
    pub fn touch_all(&mut self) {
        self.changed.extend(self.entries.keys().cloned());
    }

    /// Forgets what was removed, where every record with a value of it is before the tail.
    pub fn forget_before(&mut self, tail: u64) {
        let (changed, mut freed) = (&self.changed, 0);
        self.entries.retain(|key, slot| {
            let gone = slot.value.is_none() && !changed.contains(key) && slot.value_at.is_none_or(|at| at < tail);
            freed += if gone { entry_bytes(&key.1, None) } else { 0 };
            !gone
        });
        self.bytes -= freed;
    }

    /// Bytes that all entries take, and may take.
    #[must_use]
    pub fn bytes(&self) -> (usize, usize) {
        (self.bytes, self.most)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        ring::layout::{Extension, Kind},
        tally::Counter,
    };

    const FILTER: StateKind = StateKind::FILTER;

    /// Writes what has changed as one record at a position.
    fn record(states: &mut States, at: u64) -> Vec<u8> {
        let mut body = Vec::new();
        let bytes = states.pending_bytes();
        let count = states.write(&mut body);
        assert_eq!((body.len(), entries(&body).count()), (bytes, usize::from(count)));
        states.written(at);
        body
    }

    #[test]
    fn the_newest_value_counts_and_what_is_removed_is_gone() {
        let mut states = States::new(1_000);
        assert_eq!(states.set(FILTER, b"a/#", Some(b"1")), Ok(true));
        assert_eq!(states.set(FILTER, b"a/#", Some(b"1")), Ok(false));
        let first = record(&mut states, 10);
        assert_eq!(states.set(FILTER, b"a/#", None), Ok(true));
        assert_eq!(states.set(StateKind(200), b"to come", Some(b"?")), Ok(true));
        let second = record(&mut states, 20);
        let mut read = States::new(1_000);
        read.apply(&first, 10);
        assert_eq!(read.get(FILTER, b"a/#"), Some(&b"1"[..]));
        read.apply(&second, 20);
        assert_eq!(read.get(FILTER, b"a/#"), None);
        assert_eq!(read.all(FILTER).count(), 0);
        assert_eq!(read.get(StateKind(200), b"to come"), Some(&b"?"[..]), "kinds to come are kept");
        assert_eq!(read.bytes(), states.bytes());
    }

    #[test]
    fn a_removal_is_remembered_until_the_tail_has_passed_every_value() {
        let mut states = States::new(1_000);
        states.set(FILTER, b"a", Some(b"1")).unwrap();
        record(&mut states, 10);
        states.set(FILTER, b"a", None).unwrap();
        states.forget_before(100);
        assert_eq!(record(&mut states, 20).len(), ENTRY_BYTES + 1, "not written yet, so not forgotten");
        states.forget_before(10);
        assert_eq!(states.bytes().0, ENTRY_BYTES + 1);
        states.forget_before(11);
        assert_eq!(states.bytes().0, 0);
    }

    #[test]
    fn what_the_tail_would_pass_is_told_and_written_again() {
        let mut states = States::new(1_000);
        states.set(FILTER, b"a", Some(b"1")).unwrap();
        record(&mut states, 10);
        assert!(!states.is_older_than(10) && states.is_older_than(11));
        states.touch_all();
        record(&mut states, 50);
        assert!(!states.is_older_than(50));
    }

    #[test]
    fn the_limit_is_exact_and_what_does_not_fit_changes_nothing() {
        let mut states = States::new(ENTRY_BYTES + 3);
        assert!(states.set(FILTER, b"ab", Some(b"12")).is_err());
        assert_eq!(states.set(FILTER, b"ab", Some(b"1")), Ok(true));
        assert!(states.set(FILTER, b"b", Some(b"")).is_err());
        assert_eq!(states.get(FILTER, b"ab"), Some(&b"1"[..]));
    }

    #[test]
    fn sources_keep_their_numbers_and_make_room_for_configured_ones() {
        let value = source_value(SourceId(1), Counts::default()).len();
        // Two sources fit, and what is left of one that was given up.
        let mut states = States::new(2 * (ENTRY_BYTES + 1 + value) + ENTRY_BYTES + 1);
        assert_eq!(states.register(&["a", "b"]), [SourceId(1), SourceId(2)]);
        states.tally(Tally { source: SourceId(2), counts: Counts::one(Counter::Empty) });
        let mut read = States::new(states.bytes().1);
        read.apply(&record(&mut states, 10), 10);
        assert_eq!(read.register(&["b", "c"]), [SourceId(2), SourceId(3)], "a gives way to c");
        assert_eq!(read.source_name(SourceId(1)), None);
        assert_eq!(read.sources().next(), Some((SourceId(2), "b", Counts::one(Counter::Empty))));
        assert_eq!(read.register(&["b", "c", "d"])[2], SourceId::NONE, "all that is there is configured");
    }

    #[test]
    fn what_no_source_takes_is_counted_too() {
        let mut states = States::new(1_000);
        states.tally(Tally { source: SourceId::NONE, counts: Counts::one(Counter::Unmatched) });
        states.tally(Tally { source: SourceId(9), counts: Counts::one(Counter::Unmatched) });
        let mut read = States::new(1_000);
        read.apply(&record(&mut states, 10), 10);
        assert_eq!(
            read.sources().collect::<Vec<_>>(),
            [(SourceId::NONE, "", Counts { unmatched: 2, ..Counts::default() })]
        );
        assert_eq!(read.register(&["a"]), [SourceId(1)]);
    }

    proptest! {
        /// Whatever happens, what is read back is what was set, and the bytes are counted right.
        #[test]
        fn state_reads_back_as_set(
            steps in prop::collection::vec((0u8..7, 0u8..5, prop::option::of(prop::collection::vec(any::<u8>(), 0..6))), 0..60),
        ) {
            let mut states = States::new(200);
            let mut read = States::new(200);
            let mut model: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
            let mut at = 10;
            for (action, key, value) in steps {
                match action {
                    0 => {
                        at += 10;
                        read.apply(&record(&mut states, at), at);
                    }
                    1 => states.touch_all(),
                    2 => states.forget_before(at / 2),
                    3 => {
                        states.register(&["s"]);
                        states.tally(Tally { source: SourceId(u16::from(key % 2)), counts: Counts::one(Counter::Empty) });
                    }
                    _ => {
                        if states.set(FILTER, &[key], value.as_deref()).is_ok() {
                            match value {
                                Some(value) => model.insert(key, value),
                                None => model.remove(&key),
                            };
                        }
                    }
                }
                prop_assert!(states.bytes().0 <= 200);
            }
            read.apply(&record(&mut states, at + 10), at + 10);
            let found: BTreeMap<u8, Vec<u8>> = read.all(FILTER).map(|(key, value)| (key[0], value.to_vec())).collect();
            prop_assert_eq!(found, model);
        }

        #[test]
        fn any_bytes_read_without_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut states = States::new(1_000);
            states.apply(&body, 1);
            let _ = counts_of(Kind::Rows, Extension { has_notes: true, ..Extension::default() }, &body);
        }
    }
}
