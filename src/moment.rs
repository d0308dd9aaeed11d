//! A row's identity in QuestDB, as a number: table, microsecond and symbols, which is what its deduplication goes by. Pure.

use std::hash::{BuildHasher, Hasher};

use crate::{
    names,
    point::{Row, Timestamp},
};

const SEED: u64 = 0x666f_7265_6261_7921;

/// The moment of a row with a time.
pub fn of_row(table: &str, row: &Row) -> u64 {
    let symbols = row.symbols.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    moment(table, row.time.unwrap_or_default(), symbols)
}

/// The number of a row's table, time (to the microsecond) and symbols, in any order of the symbols.
///
/// Names count as QuestDB compares them ([`names`]), and a symbol without a value counts as none.
/// Two identities that share a number are taken for the same one; with 64 bits that is rarer than
/// the damage that could cause it.
pub fn moment<'a>(table: &str, time: Timestamp, symbols: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
    let state = foldhash::quality::FixedState::with_seed(SEED);
    let mut head = state.build_hasher();
    names::write(table, &mut head);
    head.write_i64(time.to_micros());
    let one = |(name, value): (&str, &str)| {
        let mut hasher = state.build_hasher();
        names::write(name, &mut hasher);
        hasher.write(value.as_bytes());
        hasher.finish()
    };
    symbols.filter(|(_, value)| !value.is_empty()).map(one).fold(head.finish(), u64::wrapping_add)
}

/// The number of a name of a table or column, the same for all its spellings.
pub fn name_number(name: &str) -> u64 {
    let mut hasher = foldhash::quality::FixedState::with_seed(SEED).build_hasher();
    names::write(name, &mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(table: &str, ns: i64, symbols: &[(&str, &str)]) -> u64 {
        moment(table, Timestamp(ns), symbols.iter().copied())
    }

    #[test]
    fn identities_are_compared_as_questdb_does() {
        let one = of("sensors", 1_000, &[("site", "a"), ("device", "b")]);
        for same in [
            of("Sensors", 1_999, &[("Device", "b"), ("SITE", "a")]),
            of("sensors", 1_000, &[("device", "b"), ("site", "a"), ("unit", "")]),
        ] {
            assert_eq!(same, one);
        }
        for other in [
            of("sensor", 1_000, &[("site", "a"), ("device", "b")]),
            of("sensors", 2_000, &[("site", "a"), ("device", "b")]),
            of("sensors", 1_000, &[("site", "b"), ("device", "a")]),
            of("sensors", 1_000, &[("site", "A"), ("device", "b")]),
            of("sensors", 1_000, &[("sit", "ea"), ("device", "b")]),
            of("sensors", 1_000, &[("device", "b")]),
        ] {
            assert_ne!(other, one);
        }
        assert_eq!(of("Ä", 0, &[("\u{212a}", "x")]), of("ä", 0, &[("k", "x")]));
        assert_eq!(name_number("Ä_x"), name_number("ä_X"));
        assert_ne!(name_number("ax"), name_number("a"));
    }
}
