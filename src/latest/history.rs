//! The last moments of one series with the values of each. A row that comes later for one of them
//! is compared with it and completed from it. Pure.
//!
//! Moments stand in blocks of some kilobytes, in the order of their times, encoded: a moment of
//! four numbers takes about 50 bytes. Whole blocks are forgotten, the earliest times first.

use std::collections::VecDeque;

use super::past::{Fields, Past, Reader, close, open, write_past, write_value, write_varint};
use crate::entry::ValueRef;

/// A block takes further moments up to this many bytes.
const BLOCK_BYTES: usize = 2 << 10;
/// A block that late moments made larger than this is split.
const MAX_BLOCK_BYTES: usize = 2 * BLOCK_BYTES;

/// What is known of a moment.
#[derive(Debug)]
pub(super) enum Look<'a> {
    /// No row of it has come.
    New,
    /// It is older than what is remembered.
    Forgotten,
    /// The numbers of its fields, and their values.
    Known(Fields<'a>),
}

#[derive(Debug)]
struct Block {
    /// Which block of its shard it is, in the order in which they were begun.
    number: u64,
    /// No moment in it is earlier, in microseconds.
    base_us: i64,
    last_us: i64,
    bytes: Vec<u8>,
}

/// The moments of one series.
#[derive(Debug)]
pub(super) struct History {
    blocks: VecDeque<Block>,
    /// Moments up to this one may have been forgotten, in microseconds.
    forgotten_us: i64,
    /// Bytes of all blocks.
    bytes: usize,
}

impl Default for History {
    fn default() -> Self {
        Self { blocks: VecDeque::new(), forgotten_us: i64::MIN, bytes: 0 }
    }
}

impl History {
    /// Bytes it takes on the heap.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Blocks it has.
    #[cfg(test)]
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Takes it that nothing is known of moments up to this one.
    pub fn forget_up_to(&mut self, micros: i64) {
        self.forgotten_us = self.forgotten_us.max(micros);
        while self.blocks.front().is_some_and(|block| block.base_us <= self.forgotten_us) {
            self.pop_front();
        }
    }

    /// Forgets every moment.
    pub fn forget_all(&mut self) {
        while self.pop_front() {}
    }

    /// Whether it has the block of this number.
    pub fn has_block(&self, number: u64) -> bool {
        self.blocks.iter().any(|block| block.number == number)
    }

    /// Forgets the earliest block if the one of this number is still there; whether one was
    /// forgotten.
    pub fn forget_block(&mut self, number: u64) -> bool {
        self.has_block(number) && self.pop_front()
    }

    fn pop_front(&mut self) -> bool {
        let Some(block) = self.blocks.pop_front() else { return false };
        self.bytes -= block.weight();
        self.forgotten_us = self.forgotten_us.max(block.last_us);
        if self.blocks.is_empty() {
            self.blocks.shrink_to_fit();
        }
        true
    }

    /// What is known of a moment.
    pub fn look(&self, micros: i64) -> Look<'_> {
        if micros <= self.forgotten_us {
            return Look::Forgotten;
        }
        let Some(block) = self.at(micros).map(|at| &self.blocks[at]) else { return Look::New };
        if micros > block.last_us {
            return Look::New;
        }
        match block.find(micros) {
            Ok(entry) => Look::Known(Fields(entry.fields)),
            Err(_) => Look::New,
        }
    }

    /// The last block that begins at the moment or before it.
    #[inline]
    fn at(&self, micros: i64) -> Option<usize> {
        // Most rows come in the order of their times.
        if self.blocks.back().is_some_and(|last| last.base_us <= micros) {
            return Some(self.blocks.len() - 1);
        }
        self.blocks.partition_point(|block| block.base_us <= micros).checked_sub(1)
    }

    /// Remembers values of a moment; those it has of other fields stay, and `displaced` is told what
    /// another value took the place of. `number` is that of a block, should one be begun; whether
    /// one was.
    pub fn put(
        &mut self,
        micros: i64,
        values: &[(u16, ValueRef<'_>)],
        number: u64,
        displaced: impl FnMut(u16, Past<'_>),
    ) -> bool {
        if micros <= self.forgotten_us {
            return false;
        }
        let Some(at) = self.at(micros) else { return self.begin(0, micros, values, number) };
        let last = at + 1 == self.blocks.len();
        let block = &mut self.blocks[at];
        self.bytes -= block.weight();
        if last && micros > block.last_us {
            if block.bytes.len() >= BLOCK_BYTES {
                block.bytes.shrink_to_fit();
                self.bytes += block.weight();
                return self.begin(at + 1, micros, values, number);
            }
            block.push(micros, values);
            self.bytes += block.weight();
            return false;
        }
        block.insert(micros, values, displaced);
        let second = if block.bytes.len() > MAX_BLOCK_BYTES { block.split(number) } else { None };
        self.bytes += block.weight();
        let is_split = second.is_some();
        if let Some(second) = second {
            self.bytes += second.weight();
            self.blocks.insert(at + 1, second);
        }
        is_split
    }

    fn begin(&mut self, at: usize, micros: i64, values: &[(u16, ValueRef<'_>)], number: u64) -> bool {
        let mut block = Block { number, base_us: micros, last_us: micros, bytes: Vec::new() };
        block.push(micros, values);
        self.bytes += block.weight();
        self.blocks.insert(at, block);
        true
    }
}

/// One moment in a block.
struct Entry<'a> {
    start: usize,
    end: usize,
    fields: &'a [u8],
}

impl Block {
    #[inline]
    fn weight(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity()
    }

    #[inline]
    fn push(&mut self, micros: i64, values: &[(u16, ValueRef<'_>)]) {
        let (base_us, bytes) = (self.base_us, &mut self.bytes);
        write_head(bytes, micros, base_us);
        let body = open(bytes);
        for (field, value) in values {
            write_value(bytes, *field, value);
        }
        close(bytes, body);
        self.last_us = self.last_us.max(micros);
    }

    /// The moment, or where it would stand.
    fn find(&self, micros: i64) -> Result<Entry<'_>, usize> {
        let mut reader = Reader(&self.bytes);
        while !reader.0.is_empty() {
            let start = self.bytes.len() - reader.0.len();
            let (time, fields) = reader.entry(self.base_us);
            let end = self.bytes.len() - reader.0.len();
            if time == micros {
                return Ok(Entry { start, end, fields });
            }
            if time > micros {
                return Err(start);
            }
        }
        Err(self.bytes.len())
    }

    fn insert(&mut self, micros: i64, values: &[(u16, ValueRef<'_>)], mut displaced: impl FnMut(u16, Past<'_>)) {
        let mut entry = Vec::with_capacity(64);
        write_head(&mut entry, micros, self.base_us);
        let body = open(&mut entry);
        let range = match self.find(micros) {
            Ok(held) => {
                for (field, value) in Fields(held.fields) {
                    match values.iter().find(|(new, _)| *new == field) {
                        None => write_past(&mut entry, field, &value),
                        Some((_, new)) if value.is(*new) => {}
                        Some(_) => displaced(field, value),
                    }
                }
                held.start..held.end
            }
            Err(at) => at..at,
        };
        for (field, value) in values {
            write_value(&mut entry, *field, value);
        }
        close(&mut entry, body);
        self.bytes.splice(range, entry);
        self.last_us = self.last_us.max(micros);
    }

    /// Gives the second half of the moments away; none where there is but one.
    fn split(&mut self, number: u64) -> Option<Self> {
        let mut reader = Reader(&self.bytes);
        let mut last_us = self.base_us;
        let (cut, mut second) = loop {
            let before = self.bytes.len() - reader.0.len();
            let (time, fields) = reader.entry(self.base_us);
            if before >= self.bytes.len() / 2 && before > 0 {
                let mut second = Self { number, base_us: time, last_us: time, bytes: Vec::new() };
                second.copy(time, fields);
                break (before, second);
            }
            if reader.0.is_empty() {
                return None;
            }
            last_us = time;
        };
        while !reader.0.is_empty() {
            let (time, fields) = reader.entry(self.base_us);
            second.copy(time, fields);
        }
        self.bytes.truncate(cut);
        self.bytes.shrink_to_fit();
        self.last_us = last_us;
        Some(second)
    }

    fn copy(&mut self, micros: i64, fields: &[u8]) {
        write_head(&mut self.bytes, micros, self.base_us);
        write_varint(&mut self.bytes, fields.len() as u64);
        self.bytes.extend_from_slice(fields);
        self.last_us = micros;
    }
}

#[inline]
fn write_head(bytes: &mut Vec<u8>, micros: i64, base_us: i64) {
    write_varint(bytes, micros.abs_diff(base_us));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{
        super::past::{MAX_TEXT_BYTES, name_and_value},
        *,
    };
    use crate::point::Value;

    fn known(history: &History, micros: i64) -> Option<BTreeMap<u16, Value>> {
        match history.look(micros) {
            Look::Known(fields) => Some(
                fields
                    .map(|(field, past)| match past {
                        Past::Value(value) => (field, value.into()),
                        Past::Hash(hash) => (field, Value::Long(hash as i64)),
                    })
                    .collect(),
            ),
            Look::New | Look::Forgotten => None,
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            any::<bool>().prop_map(Value::Flag),
            any::<i64>().prop_map(Value::Whole),
            any::<i64>().prop_map(Value::Long),
            (-1e9..1e9).prop_map(Value::Double),
            "\\PC{0,20}".prop_map(|text| Value::Text(text.into())),
        ]
    }

    fn borrowed(values: &BTreeMap<u16, Value>) -> Vec<(u16, ValueRef<'_>)> {
        values.iter().map(|(field, value)| (*field, super::super::past::value_ref(value))).collect()
    }

    proptest! {
        #[test]
        fn it_is_a_map_of_maps(
            puts in prop::collection::vec((-40i64..400, prop::collection::btree_map(0u16..200, value(), 0..8)), 0..300),
        ) {
            let (mut history, mut model) = (History::default(), BTreeMap::<i64, BTreeMap<u16, Value>>::new());
            for (number, (micros, values)) in puts.into_iter().enumerate() {
                history.put(micros, &borrowed(&values), number as u64, |_, _| ());
                model.entry(micros).or_default().extend(values);
            }
            for micros in -41..401 {
                prop_assert_eq!(known(&history, micros), model.get(&micros).cloned(), "at {}", micros);
            }
        }

        #[test]
        fn what_is_forgotten_is_said_to_be(
            times in prop::collection::vec(-1_000i64..1_000, 1..600), forgotten in 0usize..6,
        ) {
            let mut history = History::default();
            let value = BTreeMap::from([(0, Value::Text("x".repeat(40).into()))]);
            let mut numbers = Vec::new();
            for (number, micros) in times.iter().enumerate() {
                if history.put(*micros, &borrowed(&value), number as u64, |_, _| ()) {
                    numbers.push(number as u64);
                }
            }
            prop_assert_eq!(history.blocks(), numbers.len());
            for number in numbers.iter().take(forgotten) {
                history.forget_block(*number);
            }
            prop_assert_eq!(history.bytes(), history.blocks.iter().map(Block::weight).sum::<usize>());
            for micros in times {
                let seen = match history.look(micros) {
                    Look::Known(_) => micros > history.forgotten_us,
                    Look::Forgotten => micros <= history.forgotten_us,
                    Look::New => false,
                };
                prop_assert!(seen, "{}", micros);
            }
        }
    }

    #[test]
    fn a_moment_of_four_numbers_takes_about_fifty_bytes() {
        let mut history = History::default();
        for second in 0..3_600i64 {
            let values = [0, 1, 2, 3].map(|field| (field, ValueRef::Double(second as f64)));
            history.put(second * 1_000_000, &values, second as u64, |_, _| ());
        }
        let a_moment = history.bytes() / 3_600;
        assert!((40..60).contains(&a_moment), "{a_moment}");
    }

    #[test]
    fn long_strings_are_compared_and_not_given_back() {
        let long = "x".repeat(MAX_TEXT_BYTES + 1);
        let mut history = History::default();
        history.put(1, &[(0, ValueRef::Text(&long))], 0, |_, _| ());
        let Look::Known(mut fields) = history.look(1) else { panic!() };
        let (_, past) = fields.next().unwrap();
        assert!(past.is(ValueRef::Text(&long)) && !past.is(ValueRef::Text(&"y".repeat(MAX_TEXT_BYTES + 1))));
        assert_eq!(name_and_value(&"x".into(), past), None);
        assert!(history.bytes() < 1_000);
    }

    #[test]
    fn nothing_is_kept_of_what_is_taken_for_forgotten() {
        let mut history = History::default();
        history.forget_up_to(5);
        assert!(!history.put(5, &[], 0, |_, _| ()));
        assert!(matches!(history.look(5), Look::Forgotten));
        assert!(matches!(history.look(6), Look::New));
        assert!(history.put(6, &[], 1, |_, _| ()));
        assert!(matches!(history.look(6), Look::Known(_)));
        assert!(!history.forget_block(0), "there is no such block");
        assert!(history.forget_block(1));
        assert!(matches!(history.look(6), Look::Forgotten));
    }
}
