//! Pieces of jq programs. Pure.

/// A text as jq writes it.
pub fn text(text: &str) -> String {
    // A JSON string is one of jq's: a backslash in it is written twice, so that `\(` puts no value
    // in.
    serde_json::to_string(text).unwrap_or_default()
}

/// The value of the member whose names, joined with `_`, are these: the first that is a text.
pub fn flattened_text(name: &str) -> String {
    format!("first(paths(strings) as $p | select(($p | map(tostring) | join(\"_\")) == {}) | getpath($p))", text(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_one() {
        assert_eq!(text("a\"b"), "\"a\\\"b\"");
    }
}
