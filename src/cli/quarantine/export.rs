//! `forebay quarantine export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::{
    FilterArgs,
    source::{Source, Want},
};
use crate::{
    cli::{
        Failure, Global, block_on,
        out::{count, plural},
        target::Target,
    },
    flush::quarantine::view::{Form, Order},
};

/// Arguments of `quarantine export`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  forebay quarantine export > quarantine.jsonl
  forebay quarantine export --table sensors --format line-protocol --output sensors.lp

A JSON line holds all there is of an entry: a row's symbols and fields, or a dead letter's payload (`payload`, or \
`payload_base64` where it is not UTF-8). Line protocol has rows only; how many entries it leaves out is said on standard error. \
Nothing is taken out of the quarantine. The file appears under its name once it is complete and synced; a pipe or a device is written to, and a link is followed.

Exit codes: 0 done, 1 the output cannot be written, 2 usage, 4 a daemon runs and is not reachable")]
pub struct ExportArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Where to write; "-" is standard output.
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Read this file (and FILE.old) instead, such as a copy from another machine.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object a line.
    Json,
    /// Line protocol, times in nanoseconds.
    LineProtocol,
}

pub fn run(args: &ExportArgs, global: &Global) -> Result<(), Failure> {
    let form = if args.format == Format::Json { Form::Whole } else { Form::Line };
    let want = Want { terms: args.filter.terms()?, order: Order::Oldest, form, ..Want::default() };
    let (written, left_out) = block_on(async {
        let mut source = Source::open(global, args.file.as_deref()).await?;
        let files = source.files();
        let files: Vec<_> = files.iter().map(PathBuf::as_path).collect();
        let mut out = Target::open(&args.output, &files)?;
        let counts = write_all(&mut source, want, &mut out).await?;
        out.finish()?;
        Ok(counts)
    })?;
    let left_out = match left_out {
        0 => String::new(),
        entries => format!("; {} left out, which are no rows or have no field", count(entries)),
    };
    eprintln!("{} exported{left_out}", plural(written, "entry"));
    Ok(())
}

async fn write_all(source: &mut Source, mut want: Want, out: &mut Target) -> Result<(u64, u64), Failure> {
    let (mut written, mut left_out) = (0, 0);
    loop {
        let page = source.page(&want).await?;
        if page.moved_on {
            eprintln!("entries were pushed out by newer ones meanwhile; they are missing here");
        }
        let mut text = String::new();
        for entry in page.entries {
            match line_of(entry, want.form) {
                Some(line) => {
                    text.push_str(&line);
                    written += 1;
                }
                None => left_out += 1,
            }
        }
        out.write(&text)?;
        match page.cursor {
            Some(cursor) => want.cursor = Some(cursor),
            None => return Ok((written, left_out)),
        }
    }
}

fn line_of(entry: Map<String, Value>, form: Form) -> Option<String> {
    match form {
        Form::Line => entry.get("line").and_then(Value::as_str).map(str::to_owned),
        Form::Brief | Form::Whole => Some(format!("{}\n", Value::Object(entry))),
    }
}
