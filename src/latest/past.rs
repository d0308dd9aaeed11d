//! What is remembered of a moment, as bytes: its fields' numbers and values. Pure.

use crate::{
    entry::ValueRef,
    point::{Text, Value},
};

/// Longer strings are remembered by their hash alone: they can be compared, not given back.
pub(super) const MAX_TEXT_BYTES: usize = 256;

const TAG_FALSE: u8 = 0;
const TAG_TRUE: u8 = 1;
const TAG_LONG: u8 = 2;
const TAG_DOUBLE: u8 = 3;
const TAG_TEXT: u8 = 4;
const TAG_HASH: u8 = 5;
const TAG_FLAG_FALSE: u8 = 6;
const TAG_FLAG_TRUE: u8 = 7;
const TAG_WHOLE: u8 = 8;

/// A field's value at a remembered moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Past<'a> {
    /// The value.
    Value(ValueRef<'a>),
    /// The hash of a string that was too long to be remembered.
    Hash(u64),
}

impl Past<'_> {
    /// What is remembered of a value.
    #[inline]
    pub fn of(value: ValueRef<'_>) -> Past<'_> {
        match value {
            ValueRef::Text(text) if text.len() > MAX_TEXT_BYTES => Past::Hash(hash(text)),
            value => Past::Value(value),
        }
    }

    /// Bytes of the value.
    pub fn bytes(self) -> usize {
        match self {
            Self::Value(ValueRef::Text(text)) => text.len(),
            Self::Value(_) | Self::Hash(_) => 8,
        }
    }

    /// Whether it is this very value.
    pub fn is(self, value: ValueRef<'_>) -> bool {
        match (self, value) {
            (Self::Hash(held), ValueRef::Text(text)) => held == hash(text),
            (Self::Hash(_), _) => false,
            (Self::Value(held), value) => held == value || number(held).is_some_and(|held| Some(held) == number(value)),
        }
    }
}

/// The number that a value is, of whatever type, where it is a whole one: 1 is 1.0 and true.
fn number(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Bool(flag) | ValueRef::Flag(flag) => Some(flag.into()),
        ValueRef::Long(number) | ValueRef::Whole(number) => Some(number),
        ValueRef::Double(number) if number.fract() == 0.0 && number.abs() < 9e15 => Some(number as i64),
        ValueRef::Double(_) | ValueRef::Text(_) => None,
    }
}

fn hash(text: &str) -> u64 {
    use std::hash::BuildHasher;
    foldhash::quality::FixedState::with_seed(0).hash_one(text)
}

/// Leaves room for the length of what is written next; where that begins.
#[inline]
pub(super) fn open(bytes: &mut Vec<u8>) -> usize {
    bytes.push(0);
    bytes.len()
}

/// Writes the length of what was written from `body` on in front of it, where [`open`] left room.
#[inline]
pub(super) fn close(bytes: &mut Vec<u8>, body: usize) {
    let length = (bytes.len() - body) as u64;
    if length < 0x80 {
        bytes[body - 1] = length as u8;
        return;
    }
    let mut head = Vec::with_capacity(10);
    write_varint(&mut head, length);
    bytes.splice(body - 1..body, head);
}

/// Writes what is remembered of a value ([`Past::of`]).
#[inline]
pub(super) fn write_value(bytes: &mut Vec<u8>, field: u16, value: &ValueRef<'_>) {
    if let (ValueRef::Double(value), 0..0x80) = (value, field) {
        // What most values are, in one step.
        let mut whole = [0; 10];
        whole[..2].copy_from_slice(&[field as u8, TAG_DOUBLE]);
        whole[2..].copy_from_slice(&value.to_le_bytes());
        bytes.extend_from_slice(&whole);
        return;
    }
    write_varint(bytes, field.into());
    match value {
        ValueRef::Bool(false) => bytes.push(TAG_FALSE),
        ValueRef::Bool(true) => bytes.push(TAG_TRUE),
        ValueRef::Flag(false) => bytes.push(TAG_FLAG_FALSE),
        ValueRef::Flag(true) => bytes.push(TAG_FLAG_TRUE),
        ValueRef::Long(value) => {
            bytes.push(TAG_LONG);
            write_varint(bytes, (value.wrapping_shl(1) ^ (value >> 63)) as u64);
        }
        ValueRef::Whole(value) => {
            bytes.push(TAG_WHOLE);
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        ValueRef::Double(value) => {
            bytes.push(TAG_DOUBLE);
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        ValueRef::Text(text) => match Past::of(*value) {
            Past::Hash(hash) => write_hash(bytes, hash),
            Past::Value(_) => {
                bytes.push(TAG_TEXT);
                write_varint(bytes, text.len() as u64);
                bytes.extend_from_slice(text.as_bytes());
            }
        },
    }
}

/// Writes what is remembered of a value once more.
pub(super) fn write_past(bytes: &mut Vec<u8>, field: u16, value: &Past<'_>) {
    match value {
        Past::Value(value) => write_value(bytes, field, value),
        Past::Hash(hash) => {
            write_varint(bytes, field.into());
            write_hash(bytes, *hash);
        }
    }
}

fn write_hash(bytes: &mut Vec<u8>, hash: u64) {
    bytes.push(TAG_HASH);
    bytes.extend_from_slice(&hash.to_le_bytes());
}

#[inline]
pub(super) fn write_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Reads what this file wrote; it never meets other bytes, and reads zeros beyond the end.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn varint(&mut self) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte();
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn eight(&mut self) -> [u8; 8] {
        self.take(8).try_into().unwrap_or_default()
    }

    /// The time of the next moment, and its fields.
    pub fn entry(&mut self, base_us: i64) -> (i64, &'a [u8]) {
        let time = base_us.wrapping_add_unsigned(self.varint());
        let length = self.varint() as usize;
        (time, self.take(length))
    }
}

/// The fields of a remembered moment: their numbers and values.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u16, Past<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let mut reader = Reader(self.0);
        let field = reader.varint() as u16;
        let value = match reader.byte() {
            TAG_LONG => {
                let zigzag = reader.varint();
                Past::Value(ValueRef::Long((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)))
            }
            TAG_DOUBLE => Past::Value(ValueRef::Double(f64::from_le_bytes(reader.eight()))),
            TAG_TEXT => {
                let length = reader.varint() as usize;
                Past::Value(ValueRef::Text(std::str::from_utf8(reader.take(length)).unwrap_or_default()))
            }
            TAG_HASH => Past::Hash(u64::from_le_bytes(reader.eight())),
            TAG_FLAG_FALSE => Past::Value(ValueRef::Flag(false)),
            TAG_FLAG_TRUE => Past::Value(ValueRef::Flag(true)),
            TAG_WHOLE => Past::Value(ValueRef::Whole(i64::from_le_bytes(reader.eight()))),
            tag => Past::Value(ValueRef::Bool(tag == TAG_TRUE)),
        };
        self.0 = reader.0;
        Some((field, value))
    }
}

/// A value given back, where it is remembered whole.
pub(super) fn name_and_value(name: &Text, value: Past<'_>) -> Option<(Text, Value)> {
    match value {
        Past::Value(value) => Some((name.clone(), value.into())),
        Past::Hash(_) => None,
    }
}

/// Borrows an owned value.
pub(super) fn value_ref(value: &Value) -> ValueRef<'_> {
    match value {
        Value::Bool(v) => ValueRef::Bool(*v),
        Value::Flag(v) => ValueRef::Flag(*v),
        Value::Whole(v) => ValueRef::Whole(*v),
        Value::Long(v) => ValueRef::Long(*v),
        Value::Double(v) => ValueRef::Double(*v),
        Value::Text(v) => ValueRef::Text(v),
    }
}
