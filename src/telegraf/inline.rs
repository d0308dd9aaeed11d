//! Tables of texts on one line.

use std::collections::BTreeMap;

/// A table on one line.
pub fn inline(table: &BTreeMap<String, String>) -> String {
    let pairs = table.iter().map(|(key, value)| (key.clone(), toml::Value::from(value.clone())));
    toml::Value::Table(pairs.collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_on_one_line() {
        let table = BTreeMap::from([("a b".to_owned(), "x\"y".to_owned()), ("c".to_owned(), "d".to_owned())]);
        let line = inline(&table);
        let read: toml::Table = toml::from_str(&format!("t = {line}")).expect(&line);
        assert_eq!(read["t"]["a b"].as_str(), Some("x\"y"));
        assert!(!line.contains('\n'));
    }
}
