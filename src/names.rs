//! One notion of a name: which spellings are one table, or one column of a table, to QuestDB. Pure.
//!
//! QuestDB compares both kinds of names character by character in lower case, by Java's
//! `Character.toLowerCase(char)`: a simple mapping of each UTF-16 unit. So `Ä` is `ä`, `İ` is `i`,
//! the Kelvin sign is `k`; `ß` is not `ss`, `ς` is not `σ`, `ı` is not `i`; and letters beyond
//! U+FFFF, each of which is two units, are what they are. docs/names.md says how that was measured.
//!
//! Whatever compares, orders or numbers a name does it by the functions here. What is shown, stored
//! and sent keeps its spelling. Names in ASCII take no memory, and those in lower case, as most
//! are, not even a copy.

mod folding;

use std::{borrow::Cow, cmp::Ordering, hash::Hasher};

/// Room for a folded name: one of 127 bytes grows by half at most.
const ROOM: usize = 192;
/// Most names are no longer.
const SHORT: usize = 32;

/// The character that stands for this one in names.
#[must_use]
pub fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    let unit = u16::try_from(u32::from(c)).ok();
    unit.and_then(folding::lower).and_then(|unit| char::from_u32(unit.into())).unwrap_or(c)
}

/// Whether two spellings are one name.
#[inline]
#[must_use]
pub fn same(a: &str, b: &str) -> bool {
    // Names of one row differ mostly at their ends.
    match (a.as_bytes().last(), b.as_bytes().last()) {
        (Some(last), Some(other)) if last.is_ascii() && other.is_ascii() && !last.eq_ignore_ascii_case(other) => false,
        _ => a == b || cmp(a, b).is_eq(),
    }
}

/// The order of names: that of their folded characters, so that names that are the same are equal
/// in it.
#[must_use]
pub fn cmp(a: &str, b: &str) -> Ordering {
    for (at, (byte, other)) in a.bytes().zip(b.bytes()).enumerate() {
        if !byte.is_ascii() || !other.is_ascii() {
            // What was passed is ASCII, so both go on with a whole character.
            return a[at..].chars().map(fold).cmp(b[at..].chars().map(fold));
        }
        match byte.to_ascii_lowercase().cmp(&other.to_ascii_lowercase()) {
            Ordering::Equal => {}
            order => return order,
        }
    }
    a.len().cmp(&b.len())
}

/// The name as all its spellings have it: to be a key, not to be shown.
#[must_use]
pub fn folded(name: &str) -> Cow<'_, str> {
    if is_folded(name) { Cow::Borrowed(name) } else { Cow::Owned(name.chars().map(fold).collect()) }
}

/// Whether the name is spelled as it is folded.
#[must_use]
pub fn is_folded(name: &str) -> bool {
    is_plain(name.as_bytes()) || name.chars().all(|c| fold(c) == c)
}

/// Feeds a name to a hasher, the same for all its spellings, and so that it is told from what
/// follows.
#[inline]
pub fn write(name: &str, hasher: &mut impl Hasher) {
    with_folded(name, |bytes| {
        hasher.write(bytes);
        // No byte of a text.
        hasher.write_u8(0xff);
    });
}

/// Shows the bytes of the folded name.
#[inline]
pub fn with_folded<T>(name: &str, see: impl FnOnce(&[u8]) -> T) -> T {
    if is_plain(name.as_bytes()) { see(name.as_bytes()) } else { with_other(name, see) }
}

fn with_other<T>(name: &str, see: impl FnOnce(&[u8]) -> T) -> T {
    if name.is_ascii() && name.len() <= SHORT {
        // Of a fixed size, so that it is done in a few steps.
        let mut room = [0; SHORT];
        room[..name.len()].copy_from_slice(name.as_bytes());
        room.make_ascii_lowercase();
        return see(&room[..name.len()]);
    }
    let mut room = [0; ROOM];
    match fold_into(name, &mut room) {
        Some(length) => see(&room[..length]),
        // Longer than any name may be; such a one can only be asked for.
        None => see(folded(name).as_bytes()),
    }
}

/// Whether the name is ASCII in lower case, and so its own folded form. Looks at eight bytes in one
/// step.
#[inline]
pub fn is_plain(bytes: &[u8]) -> bool {
    let (words, _) = bytes.as_chunks::<8>();
    let mut others = words.iter().fold(0, |others, word| others | others_in(u64::from_le_bytes(*word)));
    if let Some(last) = bytes.last_chunk::<8>() {
        others |= others_in(u64::from_le_bytes(*last));
    } else {
        let word = bytes.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
        others |= others_in(word);
    }
    others == 0
}

/// Not 0 where one of the eight bytes is an upper-case letter or not ASCII: the highest bit of a
/// byte then.
#[inline]
const fn others_in(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // Sums carry into the next byte only from bytes that are not ASCII.
    let from_a = word.wrapping_add(EACH * (0x80 - b'A' as u64));
    let beyond_z = word.wrapping_add(EACH * (0x80 - b'Z' as u64 - 1));
    (word | (from_a & !beyond_z)) & (EACH * 0x80)
}

fn fold_into(name: &str, room: &mut [u8]) -> Option<usize> {
    let mut length = 0;
    for c in name.chars().map(fold) {
        let place = room.get_mut(length..)?;
        if place.len() < c.len_utf8() {
            return None;
        }
        length += c.encode_utf8(place).len();
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, hash::BuildHasher};

    use proptest::prelude::*;

    use super::*;
    use crate::point::MAX_NAME_BYTES;

    fn number(name: &str) -> u64 {
        let mut hasher = foldhash::quality::FixedState::with_seed(1).build_hasher();
        write(name, &mut hasher);
        hasher.finish()
    }

    /// What QuestDB 9.3.4 took for one name and for two (docs/names.md).
    #[test]
    fn spellings_are_one_name_where_questdb_takes_them_for_one() {
        for (a, b) in [
            ("Plant", "plant"),
            ("GRÖSSE", "grösse"),
            ("STRAẞE", "straße"),
            ("\u{212a}", "k"),
            ("\u{212b}", "å"),
            ("\u{2126}", "ω"),
            ("İ", "i"),
            ("ǅ", "ǆ"),
            ("Ǆ", "ǆ"),
            ("Ა", "ა"),
            ("Ꭰ", "ꭰ"),
            ("Ᏸ", "ᏸ"),
            ("Ⱥ", "ⱥ"),
            ("Ꟁ", "ꟁ"),
        ] {
            assert!(same(a, b) && number(a) == number(b) && cmp(a, b) == Ordering::Equal, "{a} and {b}");
        }
        for (a, b) in [
            ("ς", "σ"),
            ("ſ", "s"),
            ("µ", "μ"),
            ("ı", "i"),
            ("ı", "İ"),
            ("ß", "ss"),
            ("ﬀ", "ff"),
            ("ẛ", "ṡ"),
            ("ᲀ", "в"),
            ("\u{10400}", "\u{10428}"),
            ("\u{1e900}", "\u{1e922}"),
            ("e\u{301}", "é"),
            ("A", "Α"),
            ("a", "ab"),
            ("", "a"),
        ] {
            assert!(!same(a, b) && number(a) != number(b) && cmp(a, b) != Ordering::Equal, "{a} and {b}");
        }
    }

    /// The table is what was measured, and what the compiler's Unicode says as far as that is as
    /// old.
    #[test]
    fn every_unit_is_folded_as_questdb_does_it() {
        let text = include_str!("../tests/data/names-folded.txt");
        let pairs = text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
        let unit = |hex: &str| char::from_u32(u32::from_str_radix(hex.trim_end_matches('+'), 16).unwrap()).unwrap();
        let measured: HashMap<char, char> =
            pairs.map(|pair| pair.split_once('>').map(|(c, folded)| (unit(c), unit(folded))).unwrap()).collect();
        assert_eq!(measured.len(), 1_178);
        let mut later = Vec::new();
        for c in '\0'..=char::MAX {
            assert_eq!(fold(c), *measured.get(&c).unwrap_or(&c), "{c:?}");
            let lower: Vec<char> = c.to_lowercase().collect();
            match (lower.as_slice(), c) {
                // The one whose full mapping is longer than the simple one.
                (['i', '\u{307}'], 'İ') => assert_eq!(fold(c), 'i'),
                ([lower], '\0'..='\u{ffff}') if *lower != fold(c) => later.push(c),
                _ => {}
            }
        }
        let known = ['\u{a7ce}', '\u{a7d2}', '\u{a7d4}'];
        assert!(char::UNICODE_VERSION > (17, 0, 0) || later.iter().all(|c| known.contains(c)), "{later:?}");
        assert!(later.iter().all(|c| fold(*c) == *c));
    }

    #[test]
    fn a_name_of_any_length_is_folded_as_a_whole() {
        // Grows from two bytes a letter to three, the most that any letter does.
        let (upper, lower) = ("Ⱥ".repeat(MAX_NAME_BYTES / 2), "ⱥ".repeat(MAX_NAME_BYTES / 2));
        assert!(upper.len() <= MAX_NAME_BYTES && lower.len() <= ROOM && lower.len() > MAX_NAME_BYTES);
        assert_eq!(number(&upper), number(&lower));
        let growth = |c: char| fold(c).len_utf8() * 2 <= c.len_utf8() * 3;
        assert!(('\0'..=char::MAX).all(growth));
        for length in [ROOM - 1, ROOM, ROOM + 1, 5 * ROOM] {
            let (upper, lower) = ("X".repeat(length), "x".repeat(length));
            assert!(same(&upper, &lower) && number(&upper) == number(&lower) && folded(&upper) == lower);
            assert!(same(&upper.replace('X', "Ä"), &lower.replace('x', "ä")));
        }
    }

    #[test]
    fn what_follows_a_name_is_told_from_it() {
        let pair = |names: [&str; 2]| {
            let mut hasher = foldhash::quality::FixedState::with_seed(1).build_hasher();
            for name in names {
                write(name, &mut hasher);
            }
            hasher.finish()
        };
        assert_ne!(pair(["ab", "c"]), pair(["a", "bc"]));
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof!["[a-cA-C]{0,3}", "[aäÄkK\u{212a}iIİıẞßςσΣǅǆ\u{10400}]{0,4}", "\\PC{0,20}"]
    }

    #[test]
    fn plain_names_are_told_from_others_at_every_place() {
        for length in 0..40 {
            let name: Vec<u8> =
                (0..length).map(|at| [b'a', b'z', b'0', b'_', b'{', b'@', b'[', b'`', 0x7f][at % 9]).collect();
            assert!(is_plain(&name));
            for at in 0..length {
                for other in [b'A', b'M', b'Z'] {
                    let mut name = name.clone();
                    name[at] = other;
                    assert!(!is_plain(&name), "{other} at {at} of {length}");
                }
                let with = |text: &str| [&name[..at], text.as_bytes(), &name[at..]].concat();
                assert!(!is_plain(&with("ä")) && !is_plain(&with("\u{80}")));
            }
        }
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(name in name()) {
            let once = folded(&name).into_owned();
            prop_assert_eq!(&*folded(&once), once.as_str());
            prop_assert!(matches!(folded(&once), Cow::Borrowed(_)), "and takes no memory");
            prop_assert!(same(&name, &once));
            prop_assert!(with_folded(&name, |bytes| bytes == once.as_bytes()));
        }

        #[test]
        fn equality_order_and_number_agree(a in name(), b in name(), c in name()) {
            let is_same = folded(&a) == folded(&b);
            prop_assert_eq!(same(&a, &b), is_same);
            prop_assert_eq!(cmp(&a, &b), folded(&a).cmp(&folded(&b)), "the order of UTF-8 is that of the characters");
            prop_assert_eq!(cmp(&a, &b), cmp(&b, &a).reverse());
            prop_assert_eq!(number(&a) == number(&b), is_same);
            if cmp(&a, &b).is_le() && cmp(&b, &c).is_le() {
                prop_assert!(cmp(&a, &c).is_le());
            }
        }
    }
}
