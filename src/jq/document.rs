//! JSON text, read as one value.

use jaq_json::{Val, read};
use serde::de::IgnoredAny;

use super::{error::cut, limits::MAX_DEPTH};

/// The value that a document holds; or what is wrong with it, with the place.
pub(super) fn value(document: &[u8]) -> Result<Val, String> {
    // The reader of jaq takes more than JSON: comments, say.
    let text = std::str::from_utf8(document).map_err(|error| error.to_string())?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| error.to_string())?;
    if let Some(at) = too_deep(document) {
        return Err(format!("nested deeper than {MAX_DEPTH} levels at byte {}", at + 1));
    }
    read::parse_single(document).map_err(|error| cut(&error.to_string()))
}

/// Where a JSON document is nested too deeply.
fn too_deep(document: &[u8]) -> Option<usize> {
    let (mut depth, mut is_in_text, mut is_escaped) = (0_usize, false, false);
    for (at, byte) in document.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_in_text => is_escaped = true,
            b'"' => is_in_text = !is_in_text,
            b'[' | b'{' if !is_in_text => depth += 1,
            b']' | b'}' if !is_in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_text_are_no_nesting() {
        let text = format!("\"{}\\\"{}\"", "[".repeat(200), "{".repeat(200));
        assert!(value(text.as_bytes()).is_ok());
        for depth in [MAX_DEPTH, MAX_DEPTH + 1] {
            let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            assert_eq!(value(nested.as_bytes()).is_ok(), depth == MAX_DEPTH);
        }
    }
}
