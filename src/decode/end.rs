//! The end of a row: what becomes of it once all its members are in. Pure.

use super::{
    DecodeError, Decoded, FaultKind, Faults, Resolved,
    names::{duplicate, short},
    value::Scalar,
};
use crate::{
    names::same,
    point::{MAX_ROWS_PER_MESSAGE, Row, Text, Value},
};

impl Decoded {
    /// Takes a row over; one without any value is none. `place` says where it is, and `tells_time`
    /// whether it is expected to tell its time. The error says that there are too many.
    pub(super) fn end(&mut self, mut row: Row, place: impl Fn() -> String, tells_time: bool) -> Result<(), String> {
        let number = self.rows.len();
        keep_first(&mut row, number, place, &mut self.faults);
        if row.fields.is_empty() {
            self.faults.left_out(number);
            return Ok(());
        }
        if number == MAX_ROWS_PER_MESSAGE {
            return Err(format!("more than {MAX_ROWS_PER_MESSAGE} readings in one message"));
        }
        row.notes.untimed = tells_time && row.time.is_none();
        self.rows.push(row);
        Ok(())
    }
}

/// Of symbols and fields of a row that share a name the first stays. Another one that says the same
/// is no loss, and others are faults.
pub(super) fn keep_first(row: &mut Row, number: usize, place: impl Fn() -> String, faults: &mut Faults) {
    let names = row.symbols.iter().map(|(name, _)| name.as_str());
    if duplicate(names.chain(row.fields.iter().map(|(name, _)| name.as_str()))).is_none() {
        return;
    }
    let mut second = |name: &str| {
        let reason = format!("{:?} appears twice (after flattening; case does not count)", short(name));
        faults.member(number, name, FaultKind::Twice, DecodeError { place: place(), reason });
    };
    let mut symbols: Vec<(Text, Text)> = Vec::with_capacity(row.symbols.len());
    for (name, value) in std::mem::take(&mut row.symbols) {
        match symbols.iter().find(|(first, _)| same(first, &name)) {
            Some((_, first)) if *first == value => {}
            Some(_) => second(&name),
            None => symbols.push((name, value)),
        }
    }
    let mut fields: Vec<(Text, Value)> = Vec::with_capacity(row.fields.len());
    for (name, value) in std::mem::take(&mut row.fields) {
        let is_symbol = symbols.iter().any(|(first, _)| same(first, &name));
        match fields.iter().find(|(first, _)| same(first, &name)) {
            Some((_, first)) if *first == value => {}
            None if !is_symbol => fields.push((name, value)),
            _ => second(&name),
        }
    }
    (row.symbols, row.fields) = (symbols, fields);
}

/// Takes members out of a row that have the name of a symbol of the topic.
pub(super) fn give_way(row: &mut Row, number: usize, resolved: &Resolved, faults: &mut Faults) {
    let of_topic = |name: &str| resolved.symbols.iter().find(|(topic, _)| same(topic, name)).map(|(_, value)| value);
    let mut left_out = |name: &str| {
        let reason = format!(
            "the topic or a tag says otherwise of {:?}; rename the placeholder or the tag of that name to keep both",
            short(name)
        );
        faults.member(number, name, FaultKind::Twice, DecodeError::new(format!("reading {number}"), reason));
    };
    row.symbols.retain(|(name, value)| match of_topic(name) {
        Some(topic) => {
            if topic != value {
                left_out(name);
            }
            false
        }
        None => true,
    });
    row.fields.retain(|(name, value)| match of_topic(name) {
        Some(topic) => {
            if Scalar::of(value).to_text() != *topic {
                left_out(name);
            }
            false
        }
        None => true,
    });
}
