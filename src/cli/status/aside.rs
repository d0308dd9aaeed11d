//! What is set aside, left out, replaced or lost.

use std::fmt::Write as _;

use super::screen::Screen;
use crate::{
    cli::{
        document::Document,
        out::{count, human_bytes, plural},
    },
    flush::quarantine::advice::advice_for,
    tally::Counter,
};

pub(super) fn show(screen: &mut Screen, status: &Document<'_>) {
    screen.group("Set aside");
    quarantine(screen, status);
    dropped(screen, status);
    counted(screen, status);
    limits(screen, status);
    replaced(screen, status);
}

fn quarantine(screen: &mut Screen, status: &Document<'_>) {
    let quarantine = status.at("/flush/quarantine");
    let entries = quarantine.integer("/entries");
    let mut text = match entries {
        0 => "empty".to_owned(),
        _ => format!("{} ({})", plural(entries, "entry"), human_bytes(quarantine.integer("/bytes"))),
    };
    let lost = quarantine.integer("/pushed_out");
    if lost > 0 {
        let _ = write!(text, "; {} pushed out by newer ones", count(lost));
    }
    screen.line("quarantine", &text);
    for reason in quarantine.each("/reasons") {
        let why = reason.sentence("/0").unwrap_or_default();
        screen.more(&format!("{} × {why}", reason.count("/1")));
        if let Some(advice) = advice_for(&why) {
            screen.more(&format!("    → {advice}"));
        }
    }
}

/// What is lost: it was given up for want of room, or damaged.
fn dropped(screen: &mut Screen, status: &Document<'_>) {
    let ring = status.at("/ring");
    let mut lines = Vec::new();
    for gap in ring.each("/gaps") {
        lines.push(format!("records {} to {} are lost to damage found at the start", gap.count("/0"), gap.count("/1")));
    }
    if ring.integer("/refused_messages") > 0 {
        let messages = plural(ring.integer("/refused_messages"), "message");
        lines.push(format!("{messages} turned away while the ring was full"));
    }
    if ring.integer("/dropped_letters") > 0 {
        let messages = plural(ring.integer("/dropped_letters"), "message");
        lines.push(format!("{messages} that could not become rows, which the quarantine did not take"));
    }
    for table in ring.each("/dropped_by_table") {
        let name = table.text("/0").unwrap_or_default();
        lines.push(format!("{} of table {name} since the start", plural(table.integer("/1"), "row")));
    }
    if status.integer("/broker/qos0_dropped") > 0 {
        let messages = plural(status.integer("/broker/qos0_dropped"), "message");
        lines.push(format!("{messages} of QoS 0 while the ring was full, since the start"));
    }
    for (number, line) in lines.iter().enumerate() {
        screen.line(if number == 0 { "dropped" } else { "" }, line);
    }
}

/// What is counted by source, if anything.
fn counted(screen: &mut Screen, status: &Document<'_>) {
    let mut word = "counted";
    for source in status.each("/ring/counted") {
        let numbers = Counter::IN_USE.map(|counter| (counter.word(), source.integer(&format!("/{}", counter.word()))));
        let told: Vec<String> = numbers
            .iter()
            .filter(|(_, number)| *number > 0)
            .map(|(word, number)| format!("{} {word}", count(*number)))
            .collect();
        if !told.is_empty() {
            let name = source.text("/source").filter(|name| !name.is_empty()).unwrap_or_else(|| "no source".into());
            screen.line(word, &format!("{name}: {} since the ring was created", told.join(", ")));
            word = "";
        }
    }
}

/// What the limits left out, if anything.
fn limits(screen: &mut Screen, status: &Document<'_>) {
    for (number, limit) in status.each("/limits").enumerate() {
        let text = |path| limit.text(path).unwrap_or_default();
        let (values, rows) = (plural(limit.integer("/fields"), "value"), plural(limit.integer("/rows"), "row"));
        let word = if number == 0 { "limits" } else { "" };
        let told = format!("{} of {}: {values} and {rows} left out since the start", text("/limit"), text("/source"));
        screen.line(word, &told);
    }
}

/// Rows that took the place of others, if there were any.
fn replaced(screen: &mut Screen, status: &Document<'_>) {
    for (number, of) in status.each("/replaced").enumerate() {
        let text = |path| of.text(path).unwrap_or_default();
        let mut told = format!(
            "{} of {}: {} replaced by others of the same time and symbols, {} too old to be compared, since the start",
            text("/table"),
            text("/source"),
            plural(of.integer("/replaced"), "row"),
            of.count("/uncompared")
        );
        if let Some(member) = of.text("/differing_member") {
            let _ = write!(told, "; {member:?} may be missing from its symbols");
        }
        screen.line(if number == 0 { "replaced" } else { "" }, &told);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Document, render};

    #[test]
    fn what_the_limits_leave_out_is_told() {
        let limit = json!({ "source": "plant", "limit": "columns_per_table", "fields": 1_700, "rows": 1 });
        let text = render(&Document(&json!({ "limits": [limit] })), true);
        let line = "limits      columns_per_table of plant: 1,700 values and 1 row left out since the start";
        assert!(text.contains(line), "{text}");
        assert!(!render(&Document(&json!({})), true).contains("limits"));
    }

    #[test]
    fn replaced_rows_are_told_with_the_likely_cause() {
        let of =
            json!({ "source": "plant", "table": "s", "replaced": 1_200, "uncompared": 3, "differing_member": "id" });
        let text = render(&Document(&json!({ "replaced": [of] })), true);
        let line = "replaced    s of plant: 1,200 rows replaced by others of the same time and symbols, 3 too old to be compared, since \
                    the start; \"id\" may be missing from its symbols";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn what_is_set_aside_and_lost_is_told() {
        let status = json!({
            "broker": { "qos0_dropped": 4 },
            "ring": { "gaps": [[3, 9]], "refused_messages": 1, "dropped_letters": 2, "dropped_by_table": [["t", 1_000]] },
            "flush": { "quarantine": { "entries": 2, "bytes": 474, "pushed_out": 1, "reasons": [["no JSON", 2]] } },
        });
        let text = render(&Document(&status), false);
        for part in [
            "quarantine  2 entries (474 B); 1 pushed out by newer ones",
            "2 × no JSON",
            "dropped     records 3 to 9 are lost",
            "1 message turned away while the ring was full",
            "2 messages that could not become rows",
            "1,000 rows of table t since the start",
            "4 messages of QoS 0",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(render(&Document(&json!({})), false).contains("quarantine  empty"));
    }
}
