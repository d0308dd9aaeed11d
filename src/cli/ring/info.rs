//! `forebay ring info`: what the ring holds.

use std::fmt::Write;

use clap::Args;

use super::{Exit, Failure, FileArgs, Global, now};
use crate::{
    cli::{
        block_on,
        out::{bar, columns, count, emit, human_bytes, plural, span, tame},
    },
    control::client::Client,
    ring::inspect::RingInfo,
    tally::Counter,
};

/// Arguments of `ring info`.
#[derive(Debug, Clone, Args)]
pub struct InfoArgs {
    #[command(flatten)]
    file: FileArgs,
}

pub fn run(args: &InfoArgs, global: &Global) -> Result<(), Failure> {
    let info: RingInfo = if args.file.file.is_some() {
        args.file.open(global)?.info(now(), &mut || true)?
    } else {
        let socket = global.socket_path()?;
        block_on(async {
            let mut client = Client::connect(&socket).await?;
            Ok(client.get_json("/v1/ring").await?)
        })
        .map_err(|failure: Failure| match failure {
            Failure { exit: Exit::Unreachable, error: Some(why) } => {
                Failure::new(Exit::Unreachable, format!("{why} (--file PATH reads the ring without the daemon)"))
            }
            other => other,
        })?
    };
    if global.json {
        let json = serde_json::to_string(&info).map_err(|why| Failure::new(Exit::Failed, why))?;
        return emit(&(json + "\n"));
    }
    emit(&render(&info))
}

fn render(info: &RingInfo) -> String {
    let mut text = String::new();
    let mut line = |heading: &str, what: &str| {
        let _ = writeln!(text, "{heading:10}  {what}");
    };
    let end = match (info.source.as_str(), info.clean) {
        ("daemon", _) => "in use",
        (_, true) => "closed in order",
        (_, false) => "not closed in order, or in use",
    };
    line("file", &format!("{}, {}", tame(&info.path), human_bytes(info.size_bytes)));
    let opened = info.opened.as_deref().map(|time| format!(" of {}", tame(time))).unwrap_or_default();
    line(
        "ring",
        &format!(
            "id {}, format version {}, start {}{opened}, {end}",
            tame(&info.ring_id),
            info.format_version,
            info.generation
        ),
    );
    let (capacity, pending) = (human_bytes(info.capacity_bytes), human_bytes(info.pending_bytes));
    line("fill", &format!("[{}] {:.1} % of {capacity}; {pending} wait for QuestDB", bar(info.fill), info.fill * 100.0));
    let marks = [
        ("tail", info.tail),
        ("safe", info.safe),
        ("settled", info.settled),
        ("durable", info.durable),
        ("appended", info.appended),
    ];
    line("", &marks.map(|(name, mark)| format!("{name} {}", count(mark.seq))).join(" ≤ "));
    match (&info.oldest_received, info.oldest_age_ms) {
        (Some(received), Some(age)) => {
            let event = info.oldest_time.as_deref().map(tame).unwrap_or_default();
            let age = span(age as f64);
            line("oldest row", &format!("received {} ({age} ago); oldest event time {event}", tame(received)));
        }
        _ => line("oldest row", "none"),
    }
    let held = [(info.rows, "row"), (info.dead_letters, "dead letter"), (info.clears, "clear")];
    let held = held.map(|(number, one)| plural(number, one)).join(", ");
    line("holds", &format!("{held} in {}", plural(info.records, "record")));
    if !info.complete {
        line("", "counting took too long: that is the oldest part; forebay ring info --file counts all");
    }
    if info.damaged_stretches > 0 {
        let stretches = if info.damaged_stretches == 1 { "stretch" } else { "stretches" };
        let damaged = count(info.damaged_stretches);
        line("", &format!("{damaged} damaged {stretches}; forebay ring verify tells more"));
    }
    let ledger = &info.ledger;
    let fates = [
        (ledger.pending, "pending"),
        (ledger.stored, "stored"),
        (ledger.quarantined, "quarantined"),
        (ledger.dropped, "dropped"),
        (ledger.coalesced, "coalesced"),
    ];
    let fates = fates.map(|(rows, fate)| format!("{} {fate}", count(rows))).join(" + ");
    line("ledger", &format!("{} since the ring was created = {fates}", plural(ledger.rows, "row")));
    for counted in &info.sources {
        let numbers = Counter::ALL.into_iter().zip(counted.counts.to_array()).filter(|(_, number)| *number > 0);
        let numbers: Vec<String> =
            numbers.map(|(counter, number)| format!("{} {}", count(number), counter.word())).collect();
        if !numbers.is_empty() {
            let source = if counted.source.is_empty() { "no source".to_owned() } else { tame(&counted.source) };
            line("counted", &format!("{source}: {}", numbers.join(", ")));
        }
    }
    if !info.state.is_empty() {
        let kinds: Vec<String> =
            info.state.iter().map(|kind| format!("{} {}", count(kind.entries), kind.kind)).collect();
        line("state", &kinds.join(", "));
    }
    text.push_str(&tables(info));
    text
}

fn tables(info: &RingInfo) -> String {
    let mut rows: Vec<[String; 2]> = info.tables.iter().map(|table| [tame(&table.table), count(table.rows)]).collect();
    if info.other_tables_rows > 0 {
        rows.push(["(other)".to_owned(), count(info.other_tables_rows)]);
    }
    if rows.is_empty() { String::new() } else { format!("\n{}", columns(["TABLE", "ROWS"], &rows)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ring::inspect::{MarkView, StateCount, TableRows},
        tally::{Counts, SourceCounts},
    };

    #[test]
    fn a_document_makes_a_screen_and_devices_say_nothing_to_the_terminal() {
        let info = RingInfo {
            source: "file".into(),
            path: "/r".into(),
            size_bytes: 64 << 20,
            fill: 0.5,
            safe: MarkView { seq: 1_234, pos: 5 },
            oldest_received: Some("2026-03-01T00:00:00Z".into()),
            oldest_age_ms: Some(600_000),
            oldest_time: Some("2026-02-01T00:00:00Z".into()),
            tables: vec![TableRows { table: "t\u{1b}[2J".into(), rows: 7 }],
            other_tables_rows: 3,
            damaged_stretches: 2,
            sources: vec![SourceCounts {
                source: "plant".into(),
                counts: Counts { untimed: 1_200, ..Counts::default() },
                ..SourceCounts::default()
            }],
            state: vec![StateCount { kind: "filter".into(), entries: 2 }],
            ..RingInfo::default()
        };
        let text = render(&info);
        for part in [
            "not closed in order, or in use",
            "50.0 %",
            "safe 1,234",
            "(10 min ago); oldest event time 2026-02-01T00:00:00Z",
            "t\\u{1b}[2J  7",
            "(other)",
            "2 damaged stretches",
            "plant: 1,200 untimed\n",
            "2 filter\n",
            "counting took too long",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
