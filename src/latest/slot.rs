//! One series in the map: which reading of each field is the latest, and what it weighs.

use serde::Serialize;

use super::key::Key;
use crate::{
    entry::ValueRef,
    point::{MAX_FIELDS, Row, Text, Timestamp, Value},
    ring::Seq,
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
}

#[derive(Debug)]
pub(super) struct Slot {
    pub hash: u64,
    pub key: Key,
    pub fields: Vec<Field>,
    /// The shard's tick at the last update.
    pub touched: u64,
    /// Bytes this series takes, near enough for a bound.
    pub bytes: usize,
    /// Highest receive time given to a reading of this series as its event time, in microseconds.
    assigned_us: i64,
}

impl Slot {
    pub fn new(hash: u64, key: Key) -> Self {
        let mut slot = Self { hash, key, fields: Vec::new(), touched: 0, bytes: 0, assigned_us: i64::MIN };
        slot.weigh();
        slot
    }

    /// The receive time as event time: whole microseconds, strictly increasing within the series.
    pub fn assign(&mut self, wall: Timestamp) -> Timestamp {
        self.assigned_us = wall.to_micros().max(self.assigned_us.saturating_add(1));
        Timestamp(self.assigned_us.saturating_mul(1_000))
    }

    /// Takes a reading in; false when every field already held a later one.
    pub fn apply<'a>(&mut self, fields: impl Iterator<Item = (&'a str, ValueRef<'a>)>, stamp: Stamp) -> bool {
        let micros = stamp.time.to_micros();
        if !stamp.device_time {
            self.assigned_us = self.assigned_us.max(micros);
        }
        let mut changed = false;
        let mut hint = 0;
        for (name, value) in fields {
            if let Some(at) = position(&self.fields, hint, |held| held.name == name) {
                hint = at + 1;
                changed |= self.replace(at, value, micros, stamp);
            } else {
                changed |= self.add(name, value, micros, stamp);
            }
        }
        changed
    }

    fn replace(&mut self, at: usize, value: ValueRef<'_>, micros: i64, stamp: Stamp) -> bool {
        let held = &mut self.fields[at];
        // QuestDB keeps microseconds and lets the later row replace the earlier, so the comparison does the same.
        if (held.time.to_micros(), held.seq) > (micros, stamp.seq) {
            return false;
        }
        let before = value_heap(&held.value);
        held.value = value.into();
        (held.time, held.received, held.seq) = (stamp.time, stamp.received, stamp.seq);
        self.bytes = self.bytes + value_heap(&held.value) - before;
        true
    }

    fn add(&mut self, name: &str, value: ValueRef<'_>, micros: i64, stamp: Stamp) -> bool {
        if self.fields.len() >= MAX_FIELDS {
            let oldest = self.fields.iter().enumerate().min_by_key(|(_, f)| (f.time.to_micros(), f.seq));
            match oldest.map(|(at, f)| (at, f.time.to_micros(), f.seq)) {
                Some((at, time, seq)) if (time, seq) < (micros, stamp.seq) => drop(self.fields.swap_remove(at)),
                _ => return false,
            }
        }
        let (time, received, seq) = (stamp.time, stamp.received, stamp.seq);
        self.fields.push(Field { name: name.into(), value: value.into(), time, received, seq });
        self.weigh();
        true
    }

    /// Adds to the row the fields held for the very same microsecond that it lacks.
    pub fn complete(&self, row: &mut Row) {
        let Some(micros) = row.time.map(Timestamp::to_micros) else { return };
        let own = row.fields.len();
        for (hint, held) in self.fields.iter().enumerate().filter(|(_, held)| held.time.to_micros() == micros) {
            let known = position(&row.fields[..own], hint, |(name, _)| *name == held.name).is_some();
            if !known && row.fields.len() < MAX_FIELDS {
                row.fields.push((held.name.clone(), held.value.clone()));
            }
        }
    }

    /// Forgets the fields of records up to `seq`.
    pub fn forget(&mut self, seq: Seq) {
        self.fields.retain(|field| field.seq > seq);
        self.weigh();
    }

    fn weigh(&mut self) {
        let symbols: usize = self.key.symbols.iter().map(|(n, v)| heap(n) + heap(v)).sum();
        let fields: usize = self.fields.iter().map(|f| heap(&f.name) + value_heap(&f.value)).sum();
        self.bytes = size_of::<Self>()
            + size_of_val::<[_]>(&self.key.symbols)
            + self.fields.capacity() * size_of::<Field>()
            + heap(&self.key.table)
            + symbols
            + fields;
    }
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
