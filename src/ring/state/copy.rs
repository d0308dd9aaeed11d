//! The state of a ring that is copied into one of another size. Pure.

use std::collections::BTreeMap;

use super::{Source, StateFull, StateKind, States, body::source_value};
use crate::tally::{Counts, SourceId};

impl States {
    /// The same entries for a ring where they may take so many bytes, none of them written so far;
    /// counts of sources less those that records behind them bring.
    pub fn for_copy(&self, most: usize, without: &BTreeMap<SourceId, Counts>) -> Result<Self, StateFull> {
        let mut copy = Self { last_source: self.last_source, ..Self::new(most) };
        for ((kind, key), slot) in self.entries.iter().filter(|((kind, _), _)| *kind != StateKind::SOURCE) {
            copy.set(*kind, key, slot.value.as_deref())?;
        }
        // What records of sources count that are forgotten was added to those of no source.
        let mut less: BTreeMap<SourceId, Counts> = BTreeMap::new();
        for (id, counts) in without {
            let id = if self.sources.contains_key(id) { *id } else { SourceId::NONE };
            less.entry(id).or_default().add(*counts);
        }
        for (id, source) in &self.sources {
            let counts = source.counts.less(less.get(id).copied().unwrap_or_default());
            copy.set(StateKind::SOURCE, source.name.as_bytes(), Some(&source_value(*id, counts)))?;
            copy.sources.insert(*id, Source { name: source.name.clone(), counts });
        }
        Ok(copy)
    }

    /// Takes over the counts of another one's sources.
    pub fn take_counts(&mut self, of: &Self) {
        for (id, source) in &of.sources {
            if let Some(own) = self.sources.get_mut(id)
                && own.counts != source.counts
            {
                own.counts = source.counts;
                self.counted.insert(*id);
            }
        }
    }
}
