//! `forebay ring cat`: rows in a time range.

use clap::{Args, ValueEnum};

use super::{
    Exit, Failure, FileArgs, Global,
    select::{Met, Span, table_of},
    text::{Format, Lines},
};
use crate::{
    cli::target::Target,
    entry::RowRef,
    names,
    ring::{Kind, Record, inspect::Seen},
};

/// Which time a range is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// The row's own time. Dead letters and clears have none: theirs is when they were received.
    Event,
    /// When the message was received.
    Received,
}

/// Arguments of `ring cat`.
#[derive(Debug, Clone, Args)]
pub struct CatArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Only what belongs to this table; dead letters belong to none.
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Only from this time on: how long ago (10m, 2h), or RFC 3339.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Which time is meant.
    #[arg(long, value_enum, default_value = "event")]
    by: By,
    /// How rows are written.
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
}

pub fn run(args: &CatArgs, global: &Global) -> Result<(), Failure> {
    check_format(args.format, global)?;
    let span = Span::parse(args.since.as_deref(), args.until.as_deref())?;
    let ring = args.file.open(global)?;
    let mut lines = Lines::new(args.format, Target::Stdout);
    let mut met = Met::default();
    let mut walk = ring.walk();
    let by_event = args.by == By::Event;
    while let Some(seen) = walk.next().map_err(|why| ring.failed(why))? {
        met.note(&seen);
        if let Seen::Data(_, record) = &seen
            && args.wants(record, &span)
        {
            lines.put(record, &|row: &RowRef<'_>| !by_event || span.has(row.time))?;
        }
    }
    lines.finish()?;
    met.conclude()
}

impl CatArgs {
    /// Whether any of a record can be wanted.
    fn wants(&self, record: &Record<'_>, span: &Span) -> bool {
        let timed_by_row = self.by == By::Event && matches!(record.kind, Kind::Rows | Kind::Held);
        (timed_by_row || span.has(record.received.wall))
            && self.table.as_deref().is_none_or(|table| table_of(record).is_some_and(|of| names::same(of, table)))
    }
}

/// `--json` asks for what `--format` may have ruled out.
pub fn check_format(format: Format, global: &Global) -> Result<(), Failure> {
    if global.json && format != Format::Json {
        return Err(Failure::new(Exit::Usage, "--json and --format line-protocol exclude each other; leave one out"));
    }
    Ok(())
}
