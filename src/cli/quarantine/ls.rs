//! `forebay quarantine ls`.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use super::{
    FilterArgs, nothing_matches,
    source::{Source, Want},
};
use crate::{
    cli::{
        Failure, Global, block_on,
        out::{columns, count, emit, human_bytes, plural, tame, to_seconds},
    },
    flush::quarantine::{
        Summary,
        advice::advice_for,
        view::{MAX_PAGE_ENTRIES, Order, Page},
    },
};

/// Most entries listed; `export` writes any number.
const MAX_LISTED: usize = 10_000;
/// Reasons, tables and topics shown above a list.
const SHOWN_ABOVE: usize = 10;

/// Arguments of `quarantine ls`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  forebay quarantine ls
  forebay quarantine ls --summary
  forebay quarantine ls --reason 'cast error' --since 1h

While no daemon runs, its files are read. Entries that arrive while a long list is read may be missing from it; each entry is \
listed once.

Exit codes: 0 done, 2 usage, 3 conditions were given and nothing meets them, 4 a daemon runs and is not reachable")]
pub struct LsArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Only the counts: by reason (with what to do about it), by table and by topic.
    #[arg(long, conflicts_with_all = ["limit", "oldest"])]
    summary: bool,
    /// Most entries to list [most: 10000].
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// The oldest first.
    #[arg(long)]
    oldest: bool,
    /// Read this file (and FILE.old) instead, such as a copy from another machine.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub fn run(args: &LsArgs, global: &Global) -> Result<(), Failure> {
    if !(1..=MAX_LISTED).contains(&args.limit) {
        return Err(super::usage(&format!("--limit is 1 to {MAX_LISTED}; export writes any number")));
    }
    let order = if args.oldest { Order::Oldest } else { Order::Newest };
    let terms = args.filter.terms()?;
    let filtered = !terms.is_empty();
    let mut want = Want { terms, order, summary: true, limit: Some(1), ..Want::default() };
    let (summary, entries, more) = block_on(async {
        let mut source = Source::open(global, args.file.as_deref()).await?;
        if args.summary {
            return Ok((source.page(&want).await?.summary.unwrap_or_default(), Vec::new(), 0));
        }
        list(&mut source, &mut want, args.limit).await
    })?;
    if filtered && summary.entries == 0 {
        return Err(nothing_matches());
    }
    if global.json {
        let answer = json!({ "summary": summary, "entries": entries, "more": more });
        return emit(&format!("{answer}\n"));
    }
    let mut text = if args.summary { whole_summary(&summary) } else { head(&summary) };
    if !entries.is_empty() {
        let _ = writeln!(text, "\n{}", table(&entries).trim_end());
    }
    if more > 0 {
        let _ = writeln!(text, "… and {} more: --limit N, or conditions (--help)", count(more));
    }
    emit(&text)
}

/// Reads pages until there are enough entries; how many more there are comes with them.
async fn list(
    source: &mut Source,
    want: &mut Want,
    limit: usize,
) -> Result<(Summary, Vec<Map<String, Value>>, u64), Failure> {
    let (mut summary, mut entries) = (Summary::default(), Vec::new());
    loop {
        want.limit = Some((limit - entries.len()).min(MAX_PAGE_ENTRIES));
        let Page { entries: page, cursor, moved_on, summary: counted, .. } = source.page(want).await?;
        summary = counted.unwrap_or(summary);
        entries.extend(page);
        if moved_on {
            eprintln!("entries were pushed out by newer ones meanwhile; the list has a gap or ends early");
        }
        want.summary = false;
        match cursor {
            Some(cursor) if entries.len() < limit => want.cursor = Some(cursor),
            _ => break,
        }
    }
    let more = summary.entries.saturating_sub(entries.len() as u64);
    Ok((summary, entries, more))
}

/// The fill, and the most frequent reasons.
fn head(summary: &Summary) -> String {
    let size = summary.size_bytes.map(|bytes| format!(" of {}", human_bytes(bytes))).unwrap_or_default();
    let pushed = summary
        .pushed_out
        .map(|entries| format!("; {} pushed out since the daemon's start", count(entries)))
        .unwrap_or_default();
    let mut text = format!(
        "{}: {}, {}; {}{size}{pushed}\n",
        plural(summary.entries, "entry"),
        plural(summary.rows, "row"),
        plural(summary.dead_letters, "dead letter"),
        human_bytes(summary.bytes),
    );
    if summary.damaged_bytes > 0 {
        let _ = writeln!(text, "{} are damaged and passed over", human_bytes(summary.damaged_bytes));
    }
    counts(&mut text, &summary.reasons, SHOWN_ABOVE, "reasons");
    text
}

fn whole_summary(summary: &Summary) -> String {
    let mut text = head(&Summary { reasons: Vec::new(), ..summary.clone() });
    if !summary.reasons.is_empty() {
        text.push_str("\nby reason\n");
    }
    for reason in &summary.reasons {
        counts(&mut text, std::slice::from_ref(reason), 1, "reasons");
        if let Some(advice) = advice_for(&reason.0) {
            let _ = writeln!(text, "      {advice}");
        }
    }
    for (heading, what, counted) in
        [("rows by table", "tables", &summary.tables), ("dead letters by topic", "topics", &summary.topics)]
    {
        if !counted.is_empty() {
            let _ = writeln!(text, "\n{heading}");
            counts(&mut text, counted, usize::MAX, what);
        }
    }
    text
}

fn counts(text: &mut String, counted: &[(String, u64)], most: usize, what: &str) {
    for (name, number) in counted.iter().take(most) {
        let _ = writeln!(text, "  {} × {}", count(*number), tame(name));
    }
    if counted.len() > most {
        let more = counted.len() - most;
        let what = if more == 1 { what.trim_end_matches('s') } else { what };
        let _ = writeln!(text, "  and {more} more {what}: --summary");
    }
}

fn table(entries: &[Map<String, Value>]) -> String {
    let rows: Vec<[String; 6]> = entries.iter().map(row).collect();
    columns(["ID", "SET ASIDE", "RECEIVED", "KIND", "TABLE OR TOPIC", "REASON"], &rows)
}

fn row(entry: &Map<String, Value>) -> [String; 6] {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    let origin = if entry.contains_key("table") { text("table") } else { text("topic") };
    [
        tame(text("id")),
        to_seconds(text("set_aside")),
        to_seconds(text("received")),
        tame(text("kind")),
        tame(origin),
        tame(text("reason")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_well_and_obeys_no_device() {
        let entry = json!({
            "id": "7-0-00000000", "kind": "row", "set_aside": "2026-01-31T12:00:00.123Z",
            "received": "2026-01-31T11:00:00Z", "table": "t\u{1b}[2J", "reason": "no",
        });
        let text = table(&[entry.as_object().unwrap().clone()]);
        assert!(text.contains("2026-01-31T12:00:00Z  2026-01-31T11:00:00Z  row   t\\u{1b}[2J"), "{text}");
        let summary = Summary {
            entries: 1_200,
            rows: 1_000,
            dead_letters: 200,
            reasons: (0..12).map(|n| (format!("reason {n}"), 100)).collect(),
            tables: vec![("t".into(), 1_000)],
            size_bytes: Some(16 << 20),
            pushed_out: Some(3),
            ..Summary::default()
        };
        let text = head(&summary);
        assert!(
            text.starts_with("1,200 entries: 1,000 rows, 200 dead letters; 0 B of 16.0 MiB; 3 pushed out"),
            "{text}"
        );
        assert!(text.contains("100 × reason 9\n  and 2 more reasons: --summary"), "{text}");
        let text = whole_summary(&summary);
        let reason = "at $.battery: … is a number, but the source wants type \"long\"";
        let advised = whole_summary(&Summary { reasons: vec![(reason.into(), 3)], ..summary.clone() });
        assert!(advised.contains(&format!("3 × {reason}\n      Change the member's type in")), "{advised}");
        assert!(text.contains("100 × reason 11") && text.contains("rows by table\n  1,000 × t"), "{text}");
    }
}
