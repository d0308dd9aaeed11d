//! What QuestDB accepts as a table or column name.
//!
//! The client (questdb-rs, `TableName::new` and `ColumnName::new`) and the server (`TableUtils.isValidTableName` and
//! `isValidColumnName`) agree on the forbidden characters; the server alone refuses a space at either end of a table's name.
//! That, and every control character, is refused here for both kinds: no such name can be typed into a query. Names that come in
//! messages are changed until they fit ([`column_name`], [`table_name`]).

use std::borrow::Cow;

use crate::{names, point::MAX_NAME_BYTES};

/// The column that holds a row's time in every table forebay creates.
pub const TIME_COLUMN: &str = "timestamp";

/// Characters neither kind of name may contain, besides control characters and U+FEFF.
const FORBIDDEN: &[u8] = b"?,'\"\\/:)(+*%~";

/// For each byte: may it stand in a column name?
const IN_COLUMN: [bool; 256] = allowed(true);
/// For each byte: may it stand in a table name? (The rules about dots come on top.)
const IN_TABLE: [bool; 256] = allowed(false);

const fn allowed(column: bool) -> [bool; 256] {
    let mut table = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = false;
        byte += 1;
    }
    table[0x7f] = false;
    let mut i = 0;
    while i < FORBIDDEN.len() {
        table[FORBIDDEN[i] as usize] = false;
        i += 1;
    }
    if column {
        table[b'.' as usize] = false;
        table[b'-' as usize] = false;
    }
    table
}

/// Why `name` is no column name; `None` when it is one.
#[must_use]
pub fn column_fault(name: &str) -> Option<String> {
    if let Some(fault) = common_fault(name, &IN_COLUMN, "column") {
        return Some(fault);
    }
    names::same(name, TIME_COLUMN)
        .then(|| format!("{name:?} is the name of the time column; rename it, or make it the source's timestamp field"))
}

/// Why `name` is no table name; `None` when it is one.
#[must_use]
pub fn table_fault(name: &str) -> Option<String> {
    if let Some(fault) = common_fault(name, &IN_TABLE, "table") {
        return Some(fault);
    }
    (name.starts_with('.') || name.ends_with('.') || name.contains(".."))
        .then(|| format!("table name {:?} starts or ends with a dot or has two in a row", short(name)))
}

fn common_fault(name: &str, ok: &[bool; 256], what: &str) -> Option<String> {
    let bytes = name.as_bytes();
    if bytes.is_empty() {
        return Some(format!("a {what} name must not be empty"));
    }
    if bytes.len() > MAX_NAME_BYTES {
        let (got, shown) = (bytes.len(), short(name));
        return Some(format!("{what} name {shown:?} has {got} bytes; {MAX_NAME_BYTES} are allowed"));
    }
    let clean = bytes.iter().all(|&byte| ok[usize::from(byte)]);
    if clean && bytes[0] != b' ' && bytes[bytes.len() - 1] != b' ' && (name.is_ascii() || !name.contains('\u{feff}')) {
        return None;
    }
    let bad = name.chars().find(|c| *c == '\u{feff}' || c.is_ascii() && !ok[*c as usize]).unwrap_or(' ');
    Some(format!("QuestDB takes no {bad:?} in {what} name {:?}", short(name)))
}

/// The name as QuestDB takes it for a column: what it forbids becomes `_`, spaces at the ends go, and a name of the time column gets a
/// `_` behind it. The error says that it is too long.
pub fn column_name(name: &str) -> Result<Cow<'_, str>, String> {
    if column_fault(name).is_none() {
        return Ok(Cow::Borrowed(name));
    }
    let mut clean = replaced(name, &IN_COLUMN);
    if names::same(&clean, TIME_COLUMN) {
        clean.push('_');
    }
    fits(clean, "column").map(Cow::Owned)
}

/// The name as QuestDB takes it for a table; dots at the ends, and the second of two, become `_` as
/// well.
pub fn table_name(name: &str) -> Result<Cow<'_, str>, String> {
    if table_fault(name).is_none() {
        return Ok(Cow::Borrowed(name));
    }
    let clean = replaced(name, &IN_TABLE);
    let last = clean.chars().count() - 1;
    let mut before = '.';
    let undotted = |(at, c): (usize, char)| {
        let is_misplaced = c == '.' && (before == '.' || at == last);
        before = if is_misplaced { '_' } else { c };
        before
    };
    let clean = clean.chars().enumerate().map(undotted).collect();
    fits(clean, "table").map(Cow::Owned)
}

fn replaced(name: &str, ok: &[bool; 256]) -> String {
    let is_good = |c: char| c != '\u{feff}' && (!c.is_ascii() || ok[c as usize]);
    let clean: String = name.trim_matches(' ').chars().map(|c| if is_good(c) { c } else { '_' }).collect();
    if clean.is_empty() { "_".into() } else { clean }
}

fn fits(name: String, what: &str) -> Result<String, String> {
    if name.len() <= MAX_NAME_BYTES {
        return Ok(name);
    }
    let (got, shown) = (name.len(), short(&name));
    Err(format!("{what} name {shown:?} has {got} bytes; {MAX_NAME_BYTES} are allowed"))
}

/// The start of a name from outside, short enough to be quoted in an error.
#[must_use]
pub fn short(name: &str) -> String {
    const SHOWN: usize = 40;
    let mut shown: String = name.chars().take(SHOWN).collect();
    if shown.len() < name.len() {
        shown.push('…');
    }
    shown
}

/// The first name that occurs twice, in whatever spelling: `Temp` and `temp` are the same name to
/// QuestDB.
#[must_use]
pub fn duplicate<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    /// Up to here every pair is compared; beyond, the names are sorted.
    const PAIRWISE: usize = 24;
    if names.size_hint().1.is_some_and(|most| most <= PAIRWISE) {
        let mut rest = names;
        while let Some(name) = rest.next() {
            if rest.clone().any(|other| names::same(other, name)) {
                return Some(name);
            }
        }
        return None;
    }
    let mut sorted: Vec<&str> = names.collect();
    sorted.sort_unstable_by(|a, b| names::cmp(a, b));
    sorted.windows(2).find(|pair| names::same(pair[0], pair[1])).map(|pair| pair[0])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use questdb::ingress::{ColumnName, TableName};

    use super::*;

    #[test]
    fn the_rules_of_each_kind_hold() {
        assert_eq!(column_fault("temperature_2"), None);
        assert_eq!(column_fault("größe"), None);
        assert_eq!(table_fault("a.b"), None);
        assert_eq!(table_fault("plant-1 north"), None);
        for bad in ["", "temp-erature", "a.b", "a/b", "a\nb", " a", "a ", "x\u{feff}y", "Timestamp", &"x".repeat(128)] {
            assert!(column_fault(bad).is_some(), "{bad:?}");
        }
        for bad in ["", "a/b", ".a", "a.", "a..b", "a\u{1}", "a ", &"x".repeat(128)] {
            assert!(table_fault(bad).is_some(), "{bad:?}");
        }
        assert_eq!(column_fault(&"x".repeat(127)), None);
    }

    #[test]
    fn duplicates_are_found_without_regard_to_case_in_short_and_long_lists() {
        let many: Vec<String> = (0..100).map(|i| format!("f{i}")).collect();
        assert_eq!(duplicate(many.iter().map(String::as_str)), None);
        assert_eq!(duplicate(["a", "b", "A"].into_iter()), Some("a"));
        let doubled = many.iter().map(String::as_str).chain(["F42"]);
        assert!(duplicate(doubled).is_some_and(|name| names::same(name, "f42")));
        assert_eq!(duplicate(["ä", "Ä"].into_iter()), Some("ä"));
        assert!(duplicate(many.iter().map(String::as_str).chain(["\u{212a}", "k"])).is_some());
        assert!(column_fault("TİMESTAMP").is_some());
    }

    #[test]
    fn names_are_changed_as_little_as_needed() {
        for (name, expected) in [
            ("temp-erature", "temp_erature"),
            ("line1.temp", "line1_temp"),
            ("hum%", "hum_"),
            ("temp (C)", "temp _C_"),
            ("Feuchte innen", "Feuchte innen"),
            (" a ", "a"),
            ("", "_"),
            ("  ", "_"),
            ("Timestamp", "Timestamp_"),
            ("a\0b\u{feff}", "a_b_"),
        ] {
            assert_eq!(column_name(name).unwrap(), expected, "{name:?}");
        }
        for (name, expected) in [
            ("switch:0", "switch_0"),
            ("W%", "W_"),
            ("..x", "_.x"),
            ("a..b.", "a._b_"),
            (".", "_"),
            ("plant-1 north", "plant-1 north"),
            ("sys.telemetry", "sys.telemetry"),
        ] {
            assert_eq!(table_name(name).unwrap(), expected, "{name:?}");
        }
        assert!(column_name(&"x".repeat(128)).is_err() && table_name(&"x".repeat(128)).is_err());
    }

    proptest! {
        #[test]
        fn changed_names_are_names(name in "\\PC{0,20}|[ -~\u{0}-\u{1f}]{0,8}|[a.\u{feff}-]{0,4}|[ .]{0,5}") {
            prop_assert_eq!(column_fault(&column_name(&name).unwrap()), None);
            prop_assert_eq!(table_fault(&table_name(&name).unwrap()), None);
        }

        #[test]
        fn nothing_the_client_refuses_passes(name in "\\PC{0,20}|[ -~\u{0}-\u{1f}]{0,8}|[a.\u{feff}-]{0,4}") {
            if column_fault(&name).is_none() {
                prop_assert!(ColumnName::new(&name).is_ok());
            }
            if table_fault(&name).is_none() {
                prop_assert!(TableName::new(&name).is_ok());
            }
        }
    }
}
