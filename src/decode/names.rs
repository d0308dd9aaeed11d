//! What QuestDB accepts as a table or column name.
//!
//! The client (questdb-rs, `TableName::new` and `ColumnName::new`) and the server (`TableUtils.isValidTableName` and
//! `isValidColumnName`) agree on the forbidden characters; the server alone refuses a space at either end of a table's name.
//! That, and every control character, is refused here for both kinds: no such name can be typed into a query.

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

/// The first name that occurs twice, in whatever spelling: `Temp` and `temp` are the same name to QuestDB.
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

    proptest! {
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
