//! `forebay quarantine show`.

use std::{fmt::Write as _, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use serde_json::{Map, Value};

use super::source::Source;
use crate::{
    cli::{Exit, Failure, Global, block_on, out::emit},
    flush::quarantine::{Id, advice::advice_for},
    shown::is_harmful,
};

/// Bytes on a line of a dump.
const DUMP_BYTES: usize = 16;

/// Arguments of `quarantine show`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
A payload that is text is shown as text, with control characters made harmless; one that is not is shown in hexadecimal. --json \
has it in base64 then.

Exit codes: 0 done, 2 usage, 3 there is no such entry, 4 a daemon runs and is not reachable")]
pub struct ShowArgs {
    /// The entry, as `quarantine ls` shows it.
    #[arg(value_name = "ID")]
    id: String,
    /// Read this file (and FILE.old) instead, such as a copy from another machine.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub fn run(args: &ShowArgs, global: &Global) -> Result<(), Failure> {
    let id: Id = args.id.parse().map_err(|why| Failure::new(Exit::Usage, why))?;
    let mut entry = block_on(async { Source::open(global, args.file.as_deref()).await?.entry(id).await })?;
    advise(&mut entry);
    if global.json {
        return emit(&format!("{}\n", Value::Object(entry)));
    }
    emit(&render(&entry))
}

/// Adds what to do about the entry's reason, where that is known.
fn advise(entry: &mut Map<String, Value>) {
    if let Some(advice) = entry.get("reason").and_then(Value::as_str).and_then(advice_for) {
        entry.insert("advice".into(), advice.into());
    }
}

fn render(entry: &Map<String, Value>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:10}  {}", harmless(value));
    };
    let of = |name: &str| entry.get(name).and_then(Value::as_str);
    for (name, member) in [
        ("entry", "id"),
        ("kind", "kind"),
        ("table", "table"),
        ("topic", "topic"),
        ("reason", "reason"),
        ("what to do", "advice"),
        ("set aside", "set_aside"),
        ("received", "received"),
    ] {
        if let Some(value) = of(member) {
            line(name, value);
        }
    }
    let row = entry.get("row").map(|row| format!(", row {row}")).unwrap_or_default();
    let seq = entry.get("seq").map(ToString::to_string).unwrap_or_default();
    line("record", &format!("{seq}{row} of ring {}", of("ring").unwrap_or_default()));
    if let Some(time) = of("time") {
        let whose = if entry.get("device_time") == Some(&true.into()) { "the device's" } else { "that of its receipt" };
        line("time", &format!("{time} ({whose})"));
    }
    for (name, heading) in [("symbols", "symbol"), ("fields", "field")] {
        for (member, value) in entry.get(name).and_then(Value::as_object).into_iter().flatten() {
            line(heading, &format!("{member} = {value}"));
        }
    }
    for name in ["payload", "unreadable"] {
        if let Some(body) = of(name) {
            let _ = writeln!(text, "{name:10}  {} bytes of text:\n{}", body.len(), indented(body));
        }
        if let Some(bytes) = of(&format!("{name}_base64")).and_then(|body| STANDARD.decode(body).ok()) {
            let _ = writeln!(text, "{name:10}  {} bytes:\n{}", bytes.len(), dump(&bytes));
        }
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// The text whole, without characters that a terminal would obey or that turn the order of others round.
fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            let _ = write!(harmless, "{}", c.escape_unicode());
        } else {
            harmless.push(c);
        }
    }
    harmless
}

fn indented(text: &str) -> String {
    let lines: Vec<String> =
        text.split('\n').map(|line| format!("  {}", harmless(line.trim_end_matches('\r')))).collect();
    lines.join("\n")
}

fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, chunk) in bytes.chunks(DUMP_BYTES).enumerate() {
        let _ = write!(text, "  {:08x} ", index * DUMP_BYTES);
        for byte in chunk {
            let _ = write!(text, " {byte:02x}");
        }
        let _ = write!(text, "{:width$}", "", width = 3 * (DUMP_BYTES - chunk.len()) + 2);
        text.extend(
            chunk.iter().map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { *byte as char } else { '.' }),
        );
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(entry: &Value) -> String {
        render(entry.as_object().unwrap())
    }

    #[test]
    fn a_row_shows_all_it_has() {
        let text = rendered(&json!({
            "id": "7-2-00000000", "kind": "row", "table": "t", "reason": "x".repeat(300), "set_aside": "A", "received": "B",
            "seq": 7, "row": 2, "ring": "00ff", "time": "C", "device_time": true, "symbols": { "device": "d" },
            "fields": { "x": 3.0, "note": "a\nb" },
        }));
        for part in [
            &"x".repeat(300),
            "record      7, row 2 of ring 00ff",
            "C (the device's)",
            "field       x = 3.0",
            r#"note = "a\nb""#,
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn an_entry_says_what_to_do() {
        let mut entry = json!({ "reason": "at topic: the level for {site} is empty" });
        advise(entry.as_object_mut().unwrap());
        let text = rendered(&entry);
        assert!(text.contains("\nwhat to do  Have the device publish"), "{text}");
    }

    #[test]
    fn payloads_tell_the_terminal_nothing() {
        let text = rendered(&json!({ "payload": "{\u{1b}[2J\r\n\u{202e}}" }));
        assert!(text.ends_with("of text:\n  {\\u{1b}[2J\n  \\u{202e}}\n"), "{text}");
        let text = rendered(&json!({ "payload_base64": STANDARD.encode([0xff, b'A', 7]) }));
        let dumped = format!("  00000000  ff 41 07{:41}.A.", "");
        assert!(text.contains(&dumped), "{text}");
    }
}
