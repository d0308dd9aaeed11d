//! One series in the map: which reading of each field is the latest, and what it weighs.

use std::sync::Arc;

use super::{
    Series,
    assigned::Assigned,
    board, displaced,
    fields::{Field, Merged, Stamp, Values, merge, position},
    history::{History, Look},
    key::Key,
    past::{Past, name_and_value, value_ref},
    shown::Shown,
};
use crate::{
    entry::ValueRef,
    marks::Seq,
    names,
    point::{MAX_FIELDS, Row, Text, Timestamp, Value},
};

/// Most bytes of names and values that a row gets from others of its moment. What is beyond goes
/// missing from the moment's row in QuestDB, and the row is counted as one that replaced another:
/// without the bound, a device whose clock stands still would have each short message bring all
/// that was said before.
pub const MAX_COMPLETED_BYTES: usize = 16 << 10;

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
    /// The part of them that its name takes.
    key_bytes: usize,
    /// Its last moments.
    pub history: History,
    /// The receive times given to readings of this series as their event times.
    assigned: Assigned,
    /// The latest time of any field, in microseconds.
    newest_us: i64,
}

/// What taking a reading in has done.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Some field holds its value now.
    pub changed: bool,
    /// A block of the history was begun.
    pub block_begun: bool,
    /// The marks of values that others took the place of.
    pub displaced: Vec<u64>,
}

/// What is to be remembered of a reading's moment.
#[derive(Debug, Clone, Copy)]
pub(super) enum Remember {
    /// The moment, beside those before it; in a block of this number, should one be begun.
    Moments {
        /// The number.
        next_block: u64,
    },
    /// The latest moment alone, which the latest values tell.
    Latest,
    /// Nothing: the values are from the database.
    Nothing,
}

/// What is known of a row's moment, beside the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Unknown,
    /// Rows that say the same of every field they share.
    Agrees,
    /// A row that says something else.
    Contradicts,
}

impl Slot {
    pub fn new(hash: u64, key: Key) -> Self {
        let key_bytes = bytes_of_key(&key);
        let (key, fields) = (Arc::new(key), Arc::default());
        let (history, assigned, newest_us) = (History::default(), Assigned::NONE, i64::MIN);
        let mut slot = Self { hash, key, fields, shown: None, bytes: 0, key_bytes, history, assigned, newest_us };
        slot.weigh();
        slot
    }

    pub fn series(&self) -> Series {
        Series { key: Arc::clone(&self.key), fields: Arc::clone(&self.fields) }
    }

    /// The receive time as event time: whole microseconds, strictly increasing within the series
    /// unless the clock leaps back.
    pub fn assign(&mut self, wall: Timestamp) -> Timestamp {
        Timestamp(self.assigned.assign(wall.to_micros()).saturating_mul(1_000))
    }

    /// Takes a reading in.
    pub fn apply<'a>(
        &mut self,
        fields: impl Iterator<Item = (&'a str, ValueRef<'a>)> + Clone,
        stamp: Stamp,
        remember: Remember,
    ) -> Taken {
        let mut values = Values::new();
        let merged = if self.shown.is_none() {
            // Nobody reads it yet, so it can be changed in place; that makes a start out of a full ring twice as fast.
            let merged = merge(Arc::make_mut(&mut self.fields), fields.clone(), stamp, &mut values);
            if merged.weight_changed {
                self.weigh();
            }
            merged
        } else {
            let mut next = Vec::clone(&self.fields);
            let merged = merge(&mut next, fields.clone(), stamp, &mut values);
            if merged.changed {
                self.put(next, stamp.seq);
            }
            merged
        };
        if merged.moved {
            // The numbers of the fields are others now.
            self.history.forget_all();
            values = self.numbered(fields);
        }
        self.remember(&values, merged.changed, stamp, remember)
    }

    /// Takes in values of fields that it holds, as [`Slot::as_spelled`] gave them; readers must not
    /// see it yet.
    pub fn apply_numbered(&mut self, values: &Values<'_>, stamp: Stamp, remember: Remember) -> Taken {
        let (held, mut merged) = (Arc::make_mut(&mut self.fields), Merged::default());
        for (number, value) in values {
            merged.replace(&mut held[usize::from(*number)], *value, stamp);
        }
        if merged.weight_changed {
            self.weigh();
        }
        self.remember(values, merged.changed, stamp, remember)
    }

    /// What is known of the series beside its latest values, when some have come in; `changed` says
    /// whether one of them is the latest.
    fn remember(&mut self, values: &Values<'_>, changed: bool, stamp: Stamp, remember: Remember) -> Taken {
        let micros = stamp.time.to_micros();
        if !stamp.device_time {
            self.assigned.seen(micros, stamp.received.to_micros());
        }
        let was_newest_us = self.newest_us;
        if changed {
            self.newest_us = self.newest_us.max(micros);
        }
        let mut displaced = Vec::new();
        let block_begun = match remember {
            Remember::Moments { next_block } => {
                let series = self.hash;
                let mark = |field: u16, past: Past<'_>| {
                    displaced.push(displaced::of_value(series, micros, field, past));
                };
                self.history.put(micros, values, next_block, mark)
            }
            Remember::Latest => {
                self.history.forget_up_to(self.newest_us);
                false
            }
            Remember::Nothing => {
                if micros > was_newest_us {
                    self.history.forget_up_to(micros);
                }
                false
            }
        };
        Taken { changed, block_begun, displaced }
    }

    /// Gives `values` the numbers of their fields. False where it does not hold a field of each
    /// name in just this spelling, or readers see the series already.
    pub fn as_spelled<'a>(&self, fields: &[(&[u8], ValueRef<'a>)], values: &mut Values<'a>) -> bool {
        if self.shown.is_some() {
            return false;
        }
        let mut hint = 0;
        for (name, value) in fields {
            let Some(at) = position(&self.fields, hint, |field| field.name.as_bytes() == *name) else { return false };
            hint = at + 1;
            values.push((at as u16, *value));
        }
        true
    }

    /// The values of the fields that are held, with the numbers of those.
    fn numbered<'a>(&self, fields: impl Iterator<Item = (&'a str, ValueRef<'a>)>) -> Values<'a> {
        let mut hint = 0;
        let values = fields.filter_map(|(name, value)| {
            let at = position(&self.fields, hint, |field| names::same(&field.name, name))?;
            hint = at + 1;
            Some((at as u16, value))
        });
        values.collect()
    }

    /// The latest time of any field, in microseconds.
    pub fn newest_us(&self) -> i64 {
        self.newest_us
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

    /// Compares the row with what is known of its moment, and adds to it the fields that it lacks.
    /// `is_known` tells the marks of what has been replaced before ([`displaced`]).
    pub fn meet(&self, row: &mut Row, is_known: impl Fn(u64) -> bool) {
        let Some(micros) = row.time.map(Timestamp::to_micros) else { return };
        let own = row.fields.len();
        let was_replaced = |field: u16, value: Past<'_>| is_known(displaced::of_value(self.hash, micros, field, value));
        let mut meeting = Meeting { own, row, room: MAX_COMPLETED_BYTES, replaces: false, was_replaced };
        let of_moment = |field: &Field| field.time.to_micros() == micros;
        match self.history.look(micros) {
            Look::Known(fields) => {
                for (field, past) in fields {
                    let hint = usize::from(field);
                    let Some(held) = self.fields.get(hint) else { continue };
                    // A long string is remembered as long as it is the latest value.
                    let whole = matches!(past, Past::Hash(_)) && of_moment(held);
                    meeting.with(hint, &held.name, if whole { Past::Value(value_ref(&held.value)) } else { past });
                }
            }
            // All that is known of the latest moment is among the latest values.
            Look::New | Look::Forgotten if micros == self.newest_us => {
                for (hint, held) in self.fields.iter().enumerate().filter(|(_, held)| of_moment(held)) {
                    meeting.with(hint, &held.name, Past::Value(value_ref(&held.value)));
                }
            }
            Look::New => {}
            Look::Forgotten => meeting.row.notes.uncompared = true,
        }
        if meeting.replaces {
            row.notes.replaced = row.notes.replaced.saturating_add(1);
        }
        if row.notes.replaced > 0 && is_known(displaced::of_row(self.hash, micros, &row.fields[..own])) {
            // The same row has been counted.
            row.notes.replaced = 0;
        }
    }

    /// Whether all that the row says is known of its moment.
    pub fn holds(&self, row: &Row) -> bool {
        row.time.is_some_and(|time| self.holds_at(time.to_micros(), row))
    }

    /// What is known of the row's moment, beside the row.
    pub fn standing(&self, row: &Row) -> Standing {
        let Some(micros) = row.time.map(Timestamp::to_micros) else { return Standing::Unknown };
        let agrees = |name: &Text, past: Past<'_>| {
            row.fields.iter().all(|(own, value)| !names::same(own, name) || past.is(value_ref(value)))
        };
        let mut standing = Standing::Unknown;
        let mut meet = |agrees: bool| {
            let is_against = !agrees || standing == Standing::Contradicts;
            standing = if is_against { Standing::Contradicts } else { Standing::Agrees };
        };
        match self.history.look(micros) {
            Look::Known(fields) => {
                let named = fields.filter_map(|(field, past)| Some((&self.fields.get(usize::from(field))?.name, past)));
                named.for_each(|(name, past)| meet(agrees(name, past)));
            }
            Look::New | Look::Forgotten => {
                let of_moment = self.fields.iter().filter(|held| held.time.to_micros() == micros);
                of_moment.for_each(|held| meet(agrees(&held.name, Past::Value(value_ref(&held.value)))));
            }
        }
        standing
    }

    /// Whether a row of this microsecond is known that says something else than this one.
    pub fn is_taken(&self, micros: i64, row: &Row) -> bool {
        let is_known = match self.history.look(micros) {
            Look::Known(_) => true,
            Look::New | Look::Forgotten => self.fields.iter().any(|held| held.time.to_micros() == micros),
        };
        is_known && !self.holds_at(micros, row)
    }

    fn holds_at(&self, micros: i64, row: &Row) -> bool {
        let says = |name: &Text, past: Past<'_>| {
            row.fields.iter().any(|(own, value)| names::same(own, name) && past.is(value_ref(value)))
        };
        let known = match self.history.look(micros) {
            Look::Known(fields) => {
                let named = fields.filter_map(|(field, past)| Some((&self.fields.get(usize::from(field))?.name, past)));
                named.filter(|(name, past)| says(name, *past)).count()
            }
            Look::New | Look::Forgotten => {
                let of_moment = self.fields.iter().filter(|held| held.time.to_micros() == micros);
                of_moment.filter(|held| says(&held.name, Past::Value(value_ref(&held.value)))).count()
            }
        };
        known == row.fields.len()
    }

    /// Forgets the fields of records up to `seq`, which says so.
    pub fn forget(&mut self, seq: Seq) {
        let kept = self.fields.iter().filter(|field| field.seq > seq).cloned().collect();
        self.put(kept, seq);
        // The numbers of the fields are others now.
        self.history.forget_all();
        self.history.forget_up_to(self.newest_us);
        self.newest_us = self.fields.iter().map(|field| field.time.to_micros()).max().unwrap_or(i64::MIN);
    }

    fn weigh(&mut self) {
        let fields: usize = self.fields.iter().map(|f| heap(&f.name) + value_heap(&f.value)).sum();
        self.bytes = self.key_bytes + self.fields.capacity() * size_of::<Field>() + fields;
    }
}

/// Bytes that a series without fields takes.
fn bytes_of_key(key: &Key) -> usize {
    let symbols: usize = key.symbols.iter().map(|(n, v)| heap(n) + heap(v)).sum();
    size_of::<Slot>()
        + board::bytes(key)
        + size_of::<Key>()
        + size_of_val::<[_]>(&key.symbols)
        + heap(&key.table)
        + symbols
}

/// A row beside what is known of its moment.
struct Meeting<'a, W> {
    row: &'a mut Row,
    /// The fields that the row itself brought.
    own: usize,
    /// Bytes that may still be added.
    room: usize,
    /// Whether a value of the moment's row before goes missing.
    replaces: bool,
    /// Whether a value of a field has been replaced before at this moment.
    was_replaced: W,
}

impl<W: Fn(u16, Past<'_>) -> bool> Meeting<'_, W> {
    fn with(&mut self, hint: usize, name: &Text, past: Past<'_>) {
        let own = position(&self.row.fields[..self.own], hint, |(known, _)| names::same(known, name));
        if let Some(at) = own {
            let new = value_ref(&self.row.fields[at].1);
            if !self.replaces && !past.is(new) {
                self.replaces = !(self.was_replaced)(hint as u16, Past::of(new));
            }
            return;
        }
        let bytes = name.len() + past.bytes();
        let completed =
            if bytes <= self.room && self.row.fields.len() < MAX_FIELDS { name_and_value(name, past) } else { None };
        match completed {
            Some(field) => {
                self.room -= bytes;
                self.row.fields.push(field);
                self.row.completed += 1;
            }
            None => self.replaces = true,
        }
    }
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
