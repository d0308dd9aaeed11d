//! The latest values of one series' fields: which of two readings a field holds. Pure.

use serde::Serialize;
use smallvec::SmallVec;

use super::rank::Rank;
use crate::{
    entry::ValueRef,
    marks::Seq,
    names,
    point::{MAX_FIELDS, Text, Timestamp, Value},
};

/// A field's latest value and where it came from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Field {
    /// Field name.
    pub name: Text,
    /// The value with the highest event time.
    pub value: Value,
    /// Its event time.
    pub time: Timestamp,
    /// Wall-clock time of its receipt.
    pub received: Timestamp,
    /// The record that holds it.
    pub seq: Seq,
}

/// When a reading happened, when it came, and which record holds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub time: Timestamp,
    pub device_time: bool,
    pub received: Timestamp,
    pub seq: Seq,
    /// Times beyond are not believed (see [`Rank`]).
    pub believed_us: i64,
}

impl Stamp {
    #[inline]
    fn rank(&self) -> Rank {
        Rank::of(self.time, self.seq, self.believed_us)
    }
}

/// What became of values that were taken into a list.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Merged {
    /// The list holds some of them.
    pub changed: bool,
    /// Others stand in other places than before.
    pub moved: bool,
    /// The list may take more or fewer bytes than before.
    pub weight_changed: bool,
}

impl Merged {
    /// Gives a field the value, unless the one it holds is later.
    #[inline]
    pub fn replace(&mut self, held: &mut Field, value: ValueRef<'_>, stamp: Stamp) {
        // QuestDB keeps microseconds and lets the later row replace the earlier, so the comparison
        // does the same.
        if Rank::of(held.time, held.seq, stamp.believed_us) > stamp.rank() {
            return;
        }
        self.changed = true;
        self.weight_changed |= matches!(value, ValueRef::Text(_)) || matches!(held.value, Value::Text(_));
        held.value = value.into();
        (held.time, held.received, held.seq) = (stamp.time, stamp.received, stamp.seq);
    }
}

/// Values of a reading, with the numbers of their fields.
pub(super) type Values<'a> = SmallVec<[(u16, ValueRef<'a>); 16]>;

/// Takes a reading's values into a list; `values` gets those whose fields are in it then, as long
/// as none is moved.
#[inline]
pub(super) fn merge<'a>(
    held: &mut Vec<Field>,
    fields: impl Iterator<Item = (&'a str, ValueRef<'a>)>,
    stamp: Stamp,
    values: &mut Values<'a>,
) -> Merged {
    let (mut merged, mut hint) = (Merged::default(), 0);
    for (name, value) in fields {
        let at = if let Some(at) = position(held, hint, |field| names::same(&field.name, name)) {
            merged.replace(&mut held[at], value, stamp);
            at
        } else {
            let added = add(held, name, value, stamp);
            merged.changed |= added.changed;
            merged.moved |= added.moved;
            merged.weight_changed |= added.weight_changed;
            if !added.changed {
                continue;
            }
            held.len() - 1
        };
        hint = at + 1;
        values.push((at as u16, value));
    }
    merged
}

fn add(fields: &mut Vec<Field>, name: &str, value: ValueRef<'_>, stamp: Stamp) -> Merged {
    let of = |field: &Field| Rank::of(field.time, field.seq, stamp.believed_us);
    let mut merged = Merged { changed: true, moved: false, weight_changed: true };
    if fields.len() >= MAX_FIELDS {
        let oldest = fields.iter().enumerate().min_by_key(|(_, field)| of(field));
        match oldest.map(|(at, field)| (at, of(field))) {
            Some((at, when)) if when < stamp.rank() => drop(fields.swap_remove(at)),
            _ => return Merged::default(),
        }
        merged.moved = true;
    }
    let (time, received, seq) = (stamp.time, stamp.received, stamp.seq);
    fields.push(Field { name: name.into(), value: value.into(), time, received, seq });
    merged
}

/// Where an item stands, looked for from `hint` on: a series' readings name their fields in the
/// same order, so the first look mostly hits.
#[inline]
pub(super) fn position<T>(items: &[T], hint: usize, mut wanted: impl FnMut(&T) -> bool) -> Option<usize> {
    let hint = hint.min(items.len());
    let after = items[hint..].iter().position(&mut wanted).map(|at| hint + at);
    after.or_else(|| items[..hint].iter().position(wanted))
}
