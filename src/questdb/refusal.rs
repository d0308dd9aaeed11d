//! Why QuestDB does not take a request, read out of its answer (pure).

use serde::Deserialize;

use super::{WriteError, answer, cut};

/// The column that a refusal is about, where it names one: `table: t, column: v; cast error …`, `table: t, column: v does not exist, …`.
pub fn named_column(message: &str) -> Option<&str> {
    let rest = message.split_once("column: ")?.1;
    rest.split_once(';').or_else(|| rest.split_once(" does not exist")).map(|(column, _)| column)
}

/// What QuestDB says of a request it does not take.
#[derive(Deserialize)]
struct Reply {
    code: String,
    message: String,
    line: Option<u64>,
}

/// Reads QuestDB's answer; none where it is not QuestDB's. `internal error` is one of the server and not of the rows, which are kept and sent
/// again.
pub fn refusal(body: &[u8]) -> Option<WriteError> {
    let Reply { code, message, line } = answer::json(body).ok()?;
    let message = cut(&message);
    if code != "invalid" && code != "request too large" {
        return Some(WriteError::Overloaded(cut(&format!("{code}: {message}")).to_owned()));
    }
    let message = without_line(message).to_owned();
    Some(match line {
        Some(line) if line > 0 => WriteError::BadRow { line: line as usize, message },
        _ => WriteError::Refused { message },
    })
}

/// The reason without the number of the line, so that equal reasons read alike.
fn without_line(message: &str) -> &str {
    let Some((_, rest)) = message.split_once("error in line ") else { return message };
    rest.split_once(": ").map_or(message, |(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_is_read_out_of_a_refusal() {
        let message = "table: km, column: v w; cast error from protocol type: STRING to column type: UUID";
        assert_eq!(named_column(message), Some("v w"));
        let message = "table: t, column: v does not exist, creating new columns is disabled";
        assert_eq!(named_column(message), Some("v"));
        assert_eq!(named_column("table: nw; cannot insert in non-WAL table"), None);
    }

    #[test]
    fn answers_are_told_apart() {
        let of = |text: &str| refusal(text.as_bytes());
        let text = r#"{"code":"invalid","message":"failed to parse line protocol:errors encountered on line(s):\nerror in line 2: table: s","line":2,"errorId":"x"}"#;
        assert_eq!(of(text), Some(WriteError::BadRow { line: 2, message: "table: s".into() }));
        assert!(matches!(of(r#"{"code":"invalid","message":"m"}"#), Some(WriteError::Refused { .. })));
        assert!(matches!(of(r#"{"code":"internal error","message":"m"}"#), Some(WriteError::Overloaded(_))));
        let raw = "{\"code\":\"invalid\",\"message\":\"error in line 1: table: a\0b\",\"line\":1}";
        assert_eq!(of(raw), Some(WriteError::BadRow { line: 1, message: "table: a\0b".into() }));
        for strange in ["", "{}", "[]", "<html>502</html>", r#"{"error":"no"}"#, r#"{"code":7,"message":"m"}"#] {
            assert_eq!(of(strange), None, "{strange}");
        }
        let long = format!(r#"{{"code":"x","message":"{}"}}"#, "ü".repeat(2_000));
        assert!(of(&long).unwrap().to_string().len() < 700);
    }
}
