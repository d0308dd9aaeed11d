//! `forebay ring ls`: one line a record.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{
    Failure, FileArgs, Global,
    select::{Met, Span, table_of},
};
use crate::{
    cli::out::{emit, tame},
    names,
    point::Timestamp,
    ring::{Kind, inspect::Seen},
};

/// Characters gathered before they are written.
const GATHERED_BYTES: usize = 64 << 10;

/// Kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KindArg {
    /// Rows of one table.
    Rows,
    /// A message that could not be decoded.
    DeadLetter,
    /// A cleared series.
    Clear,
    /// Rows that wait for their time.
    Held,
    /// The trailer that seals what was appended before it.
    Commit,
    /// Filling at the end of a lap.
    Pad,
    /// What outlives the tail: sources and their counts, filters, boots.
    State,
}

/// Arguments of `ring ls`.
#[derive(Debug, Clone, Args)]
pub struct LsArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Only records of this table.
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Only records received from this time on: how long ago (10m, 2h), or RFC 3339.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only records received before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only records of this kind; may be given several times. Commits and pads are listed only when asked for.
    #[arg(long, value_enum)]
    kind: Vec<KindArg>,
    /// End after so many records.
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<u64>,
}

/// One line.
struct Entry<'a> {
    seq: u64,
    kind: Kind,
    table: Option<&'a str>,
    rows: u16,
    received: Option<Timestamp>,
    bytes: u64,
    pos: u64,
}

pub fn run(args: &LsArgs, global: &Global) -> Result<(), Failure> {
    let span = Span::parse(args.since.as_deref(), args.until.as_deref())?;
    let ring = args.file.open(global)?;
    let mut text = String::new();
    if !global.json {
        text.push_str(&line(["NUMBER", "KIND", "TABLE", "ROWS", "RECEIVED", "BYTES", "POSITION"].map(str::to_owned)));
    }
    let mut met = Met::default();
    let mut left = args.limit;
    let mut walk = ring.walk();
    while left != Some(0)
        && let Some(seen) = walk.next().map_err(|why| ring.failed(why))?
    {
        met.note(&seen);
        let Some(entry) = Entry::of(&seen).filter(|entry| args.wants(entry, &span)) else { continue };
        text.push_str(&if global.json { entry.json() } else { entry.columns() });
        left = left.map(|left| left - 1);
        if text.len() >= GATHERED_BYTES {
            emit(&std::mem::take(&mut text))?;
        }
    }
    emit(&text)?;
    met.conclude()
}

impl LsArgs {
    fn wants(&self, entry: &Entry<'_>, span: &Span) -> bool {
        let kind = if self.kind.is_empty() {
            !matches!(entry.kind, Kind::Commit | Kind::Pad | Kind::State)
        } else {
            self.kind.iter().any(|kind| kind.kind() == entry.kind)
        };
        // A commit, a pad and a state record were not received; they are listed whenever they are asked for.
        kind && entry.received.is_none_or(|received| span.has(received))
            && self.table.as_deref().is_none_or(|table| entry.table.is_some_and(|of| names::same(of, table)))
    }
}

impl KindArg {
    fn kind(self) -> Kind {
        match self {
            Self::Rows => Kind::Rows,
            Self::DeadLetter => Kind::DeadLetter,
            Self::Clear => Kind::Clear,
            Self::Held => Kind::Held,
            Self::Commit => Kind::Commit,
            Self::Pad => Kind::Pad,
            Self::State => Kind::State,
        }
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Rows => "rows",
        Kind::DeadLetter => "dead-letter",
        Kind::Clear => "clear",
        Kind::Held => "held",
        Kind::Commit => "commit",
        Kind::Pad => "pad",
        Kind::State => "state",
    }
}

impl<'a> Entry<'a> {
    fn of(seen: &Seen<'a>) -> Option<Self> {
        match seen {
            Seen::Data(header, record) => Some(Self {
                seq: record.seq.0,
                kind: record.kind,
                table: table_of(record),
                rows: record.rows,
                received: Some(record.received.wall),
                bytes: header.total(),
                pos: record.mark.pos.0,
            }),
            Seen::Frame { header, at, .. } => Some(Self {
                seq: header.seq.0,
                kind: header.kind,
                table: None,
                rows: 0,
                received: None,
                bytes: header.total(),
                pos: at.pos.0,
            }),
            Seen::Damaged(_) | Seen::Overtaken { .. } => None,
        }
    }

    fn json(&self) -> String {
        let received = self.received.map(|time| time.to_string());
        let line = json!({
            "seq": self.seq, "kind": name(self.kind), "table": self.table, "rows": self.rows, "received": received,
            "bytes": self.bytes, "position": self.pos,
        });
        format!("{line}\n")
    }

    fn columns(&self) -> String {
        let text = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
        line([
            self.seq.to_string(),
            name(self.kind).to_owned(),
            text(self.table.map(tame)),
            self.rows.to_string(),
            text(self.received.map(|time| time.to_string())),
            self.bytes.to_string(),
            self.pos.to_string(),
        ])
    }
}

/// Columns of fixed width, since lines are written before the last one is known.
fn line([seq, kind, table, rows, received, bytes, pos]: [String; 7]) -> String {
    format!("{seq:>10}  {kind:11}  {table:24}  {rows:>6}  {received:30}  {bytes:>9}  {pos:>14}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_tame_and_aligned() {
        let entry = Entry {
            seq: 7,
            kind: Kind::Rows,
            table: Some("a\u{1b}[2J"),
            rows: 3,
            received: Some(Timestamp(1_700_000_000_000_000_000)),
            bytes: 160,
            pos: 4096,
        };
        let text = entry.columns();
        assert!(text.contains("a\\u{1b}[2J ") && text.contains("2023-11-14T22:13:20Z"), "{text}");
        assert_eq!(text.chars().count(), line(["N"; 7].map(str::to_owned)).chars().count());
        assert!(entry.json().contains("\"table\":\"a\\u001b[2J\""), "{}", entry.json());
    }
}
