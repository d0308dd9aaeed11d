//! `forebay ring verify`: is the file intact?

use std::fmt::Write;

use clap::Args;

use super::{Exit, Failure, FileArgs, Global};
use crate::{
    cli::out::{count, emit, plural, tame},
    ring::inspect::{SlotState, StretchView, VerifyReport},
};

/// Arguments of `ring verify`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
A damaged stretch begins with the first record that does not check out and ends where an intact one begins. A daemon that starts \
reads on there too, where something later shows that the place had been durable; forebay ring export gets out all that is intact. Rows lost are those that no start has counted as dropped yet.

Exit codes: 0 intact, 1 damage was found or the file is of another format version, 2 usage, 5 the file cannot be read")]
pub struct VerifyArgs {
    #[command(flatten)]
    file: FileArgs,
}

pub fn run(args: &VerifyArgs, global: &Global) -> Result<(), Failure> {
    let report = args.file.open(global)?.verify()?;
    if global.json {
        let json = serde_json::to_string(&report).map_err(|why| Failure::new(Exit::Failed, why))?;
        emit(&(json + "\n"))?;
    } else {
        emit(&render(&report))?;
    }
    if report.intact { Ok(()) } else { Err(Failure::silent(Exit::Failed)) }
}

fn render(report: &VerifyReport) -> String {
    let mut text = String::new();
    let mut line = |heading: &str, what: &str| {
        let _ = writeln!(text, "{heading:10}  {what}");
    };
    let clean = if report.clean { "closed in order" } else { "not closed in order, or in use" };
    line("file", &format!("{}, format version {}, {clean}", tame(&report.path), report.format_version));
    if report.file_bytes < report.expected_bytes {
        let (has, wants) = (count(report.file_bytes), count(report.expected_bytes));
        line("", &format!("CUT SHORT: {has} of {wants} bytes"));
    }
    if report.unreadable {
        line("", "UNREADABLE: the disk refused to read parts of it");
    }
    for (name, slot) in ["A", "B"].iter().zip(&report.slots) {
        let state = match slot.state {
            SlotState::Valid => format!("valid, write {}", slot.counter.unwrap_or_default()),
            SlotState::Empty => "not written yet".to_owned(),
            SlotState::Damaged => "DAMAGED".to_owned(),
            SlotState::Version(version) => format!("of FORMAT VERSION {version}"),
        };
        line(&format!("slot {name}"), &state);
    }
    let held = [(report.rows, "row"), (report.dead_letters, "dead letter"), (report.clears, "clear")];
    let held = held.map(|(number, one)| plural(number, one)).join(", ");
    line("checked", &format!("{}: {held}", plural(report.records, "record")));
    line("", &format!("{}; {} bytes check out", plural(report.commits, "commit"), count(report.bytes)));
    line("head", &format!("behind record {}, at position {}", report.head.seq, report.head.pos));
    for stretch in &report.damage {
        line("damage", &describe(stretch));
    }
    let unlisted = report.damaged_stretches - report.damage.len() as u64;
    if unlisted > 0 {
        let stretches = if unlisted == 1 { "stretch" } else { "stretches" };
        line("damage", &format!("{} further {stretches}", count(unlisted)));
    }
    if report.malformed > 0 {
        let first = report.first_malformed.unwrap_or_default();
        let what = "cannot be read, though the checksums are right; the first is";
        line("MALFORMED", &format!("{} {what} {first}", plural(report.malformed, "record")));
    }
    if report.overtaken > 0 {
        line("", &format!("the running daemon gave up {} meanwhile", plural(report.overtaken, "record")));
    }
    match report.lost_rows {
        Some(0) => line("rows", "none is lost, by the ledger"),
        Some(1) => line("rows", "1 is LOST, by the ledger"),
        Some(lost) => line("rows", &format!("{} are LOST, by the ledger", count(lost))),
        None => line("rows", "what is lost cannot be told while a daemon moves the tail"),
    }
    if !report.tables.is_empty() {
        let tables: Vec<String> = report.tables.iter().map(|table| tame(table)).collect();
        line("tables", &format!("concerned, as far as can be told: {}", tables.join(", ")));
    }
    if report.intact {
        line("verdict", "intact");
    } else {
        let (records, bytes) = (plural(report.lost_records, "record"), plural(report.damaged_bytes, "byte"));
        line("verdict", &format!("DAMAGED: {records} lost, {bytes} bad; forebay ring export gets out the rest"));
    }
    text
}

fn describe(stretch: &StretchView) -> String {
    let records = match (stretch.first, stretch.last) {
        (Some(first), Some(last)) if first == last => format!("record {first}"),
        (Some(first), Some(last)) => format!("records {first} to {last}"),
        _ => "no record".to_owned(),
    };
    let bytes = plural(stretch.bytes, "byte");
    let (from, to) = (stretch.from_pos, stretch.to_pos);
    let end = if stretch.ends_log { "; nothing intact follows" } else { "" };
    let tables: Vec<String> = stretch.tables.iter().map(|table| tame(table)).collect();
    let tables = if tables.is_empty() { String::new() } else { format!("; of {}", tables.join(", ")) };
    format!("{records}, {bytes} at positions {from} to {to}{tables}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::inspect::Slot;

    #[test]
    fn a_report_tells_damage_at_a_glance() {
        let slot = |state| Slot { offset: 0, state, counter: Some(3) };
        let damage = StretchView {
            first: Some(3),
            last: Some(9),
            from_pos: 512,
            to_pos: 2048,
            bytes: 1_536,
            tables: vec!["t\n".into()],
            ends_log: true,
        };
        let report = VerifyReport {
            slots: vec![slot(SlotState::Valid), slot(SlotState::Version(7))],
            damage: vec![damage],
            damaged_stretches: 2,
            lost_rows: Some(14),
            file_bytes: 1,
            expected_bytes: 1_000,
            ..VerifyReport::default()
        };
        let text = render(&report);
        for part in [
            "CUT SHORT: 1 of 1,000 bytes",
            "valid, write 3",
            "FORMAT VERSION 7",
            "records 3 to 9, 1,536 bytes at positions 512 to 2048; of t\\n; nothing intact follows",
            "1 further stretch",
            "14 are LOST",
            "DAMAGED",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        let intact = render(&VerifyReport { intact: true, lost_rows: Some(0), ..VerifyReport::default() });
        assert!(intact.contains("verdict     intact") && !intact.contains("LOST"), "{intact}");
    }
}
