//! Why QuestDB does not take a request, read out of the client's text (pure).

use super::{WriteError, cut};

/// Reads QuestDB's answer out of the client's error: JSON with `code`, `message` and perhaps `line`, or a proxy's own text.
///
/// The client does not tell the status. `internal error` and whatever is not QuestDB's JSON is taken for 5xx: the rows
/// are kept and sent again.
pub fn refusal(text: &str) -> WriteError {
    let Some(Reply { code, message, line }) = Reply::read(text) else {
        return WriteError::Overloaded(cut(text).to_owned());
    };
    let message = cut(&message);
    if code != "invalid" && code != "request too large" {
        return WriteError::Overloaded(format!("{code}: {message}"));
    }
    let message = without_line(message).to_owned();
    match line {
        Some(line) if line > 0 => WriteError::BadRow { line: line as usize, message },
        _ => WriteError::Refused { message },
    }
}

/// The column that a refusal is about, where it names one: `table: t, column: v; cast error …`, `table: t, column: v does not exist, …`.
pub fn named_column(message: &str) -> Option<&str> {
    let rest = message.split_once("column: ")?.1;
    rest.split_once(';').or_else(|| rest.split_once(" does not exist")).map(|(column, _)| column)
}

/// What QuestDB says of a request it does not take.
struct Reply {
    code: String,
    message: String,
    line: Option<u64>,
}

impl Reply {
    /// Reads the client's error text: QuestDB's JSON as it came, or, where the answer's type is plain `application/json` (as
    /// behind some proxies), what the client makes of it: `message [id: …, code: …, line: …]`.
    fn read(text: &str) -> Option<Self> {
        let json = text.find('{').and_then(|at| serde_json::from_str::<serde_json::Value>(&text[at..]).ok());
        if let Some(json) = json {
            return Some(Self {
                code: json["code"].as_str().unwrap_or_default().to_owned(),
                message: json["message"].as_str().unwrap_or(text).to_owned(),
                line: json["line"].as_u64(),
            });
        }
        let (message, details) = text.strip_suffix(']')?.rsplit_once(" [")?;
        let detail = |name: &str| details.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix(": "));
        Some(Self {
            code: detail("code")?.to_owned(),
            message: message.to_owned(),
            line: detail("line").and_then(|line| line.parse().ok()),
        })
    }
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
        let text = r#"Could not flush buffer: {"code":"invalid","message":"failed to parse line protocol:errors encountered on line(s):\nerror in line 2: table: s","line":2,"errorId":"x"}"#;
        assert_eq!(refusal(text), WriteError::BadRow { line: 2, message: "table: s".into() });
        assert!(matches!(refusal(r#"x: {"code":"invalid","message":"m"}"#), WriteError::Refused { .. }));
        assert!(matches!(refusal(r#"x: {"code":"internal error","message":"m"}"#), WriteError::Overloaded(_)));
        let made = "Could not flush buffer: error in line 2: table: {s} [id: x-1, code: invalid, line: 2]";
        assert_eq!(refusal(made), WriteError::BadRow { line: 2, message: "table: {s}".into() });
        assert!(matches!(refusal("x: y [id: x-1, code: internal error]"), WriteError::Overloaded(_)));
        assert!(matches!(refusal("x: <html>502</html>"), WriteError::Overloaded(_)));
        let long = format!("x: {}", "ü".repeat(2_000));
        assert!(refusal(&long).to_string().len() < 700);
    }
}
