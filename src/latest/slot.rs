//! One series in the map: which reading of each field is the latest, and what it weighs.

use std::sync::Arc;

use serde::Serialize;

use super::{
    Series,
    assigned::Assigned,
    key::Key,
    rank::Rank,
    shown::{INDEX_BYTES, Shown},
};
use crate::{
    entry::ValueRef,
    marks::Seq,
    point::{MAX_FIELDS, Row, Text, Timestamp, Value},
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
    fn rank(&self) -> Rank {
        Rank::of(self.time, self.seq, self.believed_us)
    }
}

#[derive(Debug)]
pub(super) struct Slot {
    pub hash: u64,
    pub key: Arc<Key>,
    /// Never changed in place: readers may have it.
    pub fields: Arc<Vec<Field>>,
    /// What readers see; none while there are no fields.
    pub shown: Option<Arc<Shown>>,
    /// Bytes this series takes, near enough for a bound.
    pub bytes: usize,
    /// The receive times given to readings of this series as their event times.
    assigned: Assigned,
}

impl Slot {
    pub fn new(hash: u64, key: Key) -> Self {
        let (key, fields) = (Arc::new(key), Arc::default());
        let mut slot = Self { hash, key, fields, shown: None, bytes: 0, assigned: Assigned::NONE };
        slot.weigh();
        slot
    }

    pub fn series(&self) -> Series {
        Series { key: Arc::clone(&self.key), fields: Arc::clone(&self.fields) }
    }

    /// The receive time as event time: whole microseconds, strictly increasing within the series unless the clock leaps back.
    pub fn assign(&mut self, wall: Timestamp) -> Timestamp {
        Timestamp(self.assigned.assign(wall.to_micros()).saturating_mul(1_000))
    }

    /// Takes a reading in; false when every field already held a later one.
    pub fn apply<'a>(&mut self, fields: impl Iterator<Item = (&'a str, ValueRef<'a>)>, stamp: Stamp) -> bool {
        if !stamp.device_time {
            self.assigned.seen(stamp.time.to_micros(), stamp.received.to_micros());
        }
        if self.shown.is_none() {
            // Nobody reads it yet, so it can be changed in place; that makes a start out of a full ring twice as fast.
            let changed = merge(Arc::make_mut(&mut self.fields), fields, stamp);
            self.weigh();
            return changed;
        }
        let mut next = Vec::clone(&self.fields);
        let changed = merge(&mut next, fields, stamp);
        if changed {
            self.put(next, stamp.seq);
        }
        changed
    }

    fn put(&mut self, fields: Vec<Field>, seq: Seq) {
        self.fields = Arc::new(fields);
        if let Some(shown) = &self.shown {
            shown.put(Arc::clone(&self.fields), seq);
        }
        self.weigh();
    }

    /// Has readers see the series from here on, as changed by record `seq`.
    pub fn show(&mut self, seq: Seq) -> &Arc<Shown> {
        self.shown.insert(Arc::new(Shown::new(Arc::clone(&self.key), Arc::clone(&self.fields), seq)))
    }

    /// Adds to the row the fields held for the very same microsecond that it lacks.
    pub fn complete(&self, row: &mut Row) {
        let Some(micros) = row.time.map(Timestamp::to_micros) else { return };
        let own = row.fields.len();
        for (hint, held) in self.fields.iter().enumerate().filter(|(_, held)| held.time.to_micros() == micros) {
            let known = position(&row.fields[..own], hint, |(name, _)| *name == held.name).is_some();
            if !known && row.fields.len() < MAX_FIELDS {
                row.fields.push((held.name.clone(), held.value.clone()));
                row.completed += 1;
            }
        }
    }

    /// Forgets the fields of records up to `seq`, which says so.
    pub fn forget(&mut self, seq: Seq) {
        let kept = self.fields.iter().filter(|field| field.seq > seq).cloned().collect();
        self.put(kept, seq);
    }

    fn weigh(&mut self) {
        let symbols: usize = self.key.symbols.iter().map(|(n, v)| heap(n) + heap(v)).sum();
        let fields: usize = self.fields.iter().map(|f| heap(&f.name) + value_heap(&f.value)).sum();
        self.bytes = size_of::<Self>()
            + INDEX_BYTES
            + size_of::<Key>()
            + size_of_val::<[_]>(&self.key.symbols)
            + self.fields.capacity() * size_of::<Field>()
            + heap(&self.key.table)
            + symbols
            + fields;
    }
}

/// Takes values into a list; whether any of them changed it.
fn merge<'a>(held: &mut Vec<Field>, fields: impl Iterator<Item = (&'a str, ValueRef<'a>)>, stamp: Stamp) -> bool {
    let (mut changed, mut hint) = (false, 0);
    for (name, value) in fields {
        if let Some(at) = position(held, hint, |field| field.name == name) {
            hint = at + 1;
            changed |= replace(&mut held[at], value, stamp);
        } else {
            changed |= add(held, name, value, stamp);
        }
    }
    changed
}

fn replace(held: &mut Field, value: ValueRef<'_>, stamp: Stamp) -> bool {
    // QuestDB keeps microseconds and lets the later row replace the earlier, so the comparison does the same.
    if Rank::of(held.time, held.seq, stamp.believed_us) > stamp.rank() {
        return false;
    }
    held.value = value.into();
    (held.time, held.received, held.seq) = (stamp.time, stamp.received, stamp.seq);
    true
}

fn add(fields: &mut Vec<Field>, name: &str, value: ValueRef<'_>, stamp: Stamp) -> bool {
    let of = |field: &Field| Rank::of(field.time, field.seq, stamp.believed_us);
    if fields.len() >= MAX_FIELDS {
        let oldest = fields.iter().enumerate().min_by_key(|(_, field)| of(field));
        match oldest.map(|(at, field)| (at, of(field))) {
            Some((at, when)) if when < stamp.rank() => drop(fields.swap_remove(at)),
            _ => return false,
        }
    }
    let (time, received, seq) = (stamp.time, stamp.received, stamp.seq);
    fields.push(Field { name: name.into(), value: value.into(), time, received, seq });
    true
}

/// Where an item stands, looked for from `hint` on: a series' readings name their fields in the same order, so the first look mostly hits.
fn position<T>(items: &[T], hint: usize, mut wanted: impl FnMut(&T) -> bool) -> Option<usize> {
    let hint = hint.min(items.len());
    let after = items[hint..].iter().position(&mut wanted).map(|at| hint + at);
    after.or_else(|| items[..hint].iter().position(wanted))
}

fn heap(text: &Text) -> usize {
    if text.is_heap_allocated() { text.capacity() } else { 0 }
}

fn value_heap(value: &Value) -> usize {
    match value {
        Value::Text(text) => heap(text),
        _ => 0,
    }
}

/// Borrows an owned value.
pub(super) fn value_ref(value: &Value) -> ValueRef<'_> {
    match value {
        Value::Bool(v) => ValueRef::Bool(*v),
        Value::Long(v) => ValueRef::Long(*v),
        Value::Double(v) => ValueRef::Double(*v),
        Value::Text(v) => ValueRef::Text(v),
    }
}
