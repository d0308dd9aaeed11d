//! `forebay quarantine export`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::{
    FilterArgs,
    source::{Source, Want},
};
use crate::{
    cli::{
        Exit, Failure, Global, block_on,
        out::{count, emit},
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
Nothing is taken out of the quarantine. The file appears under its name once it is complete and synced.

Exit codes: 0 done, 1 the output cannot be written, 2 usage, 4 a daemon runs and is not reachable")]
pub struct ExportArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Where to; standard output when absent.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
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
    let mut out = Output::open(args.output.as_deref())?;
    let (written, left_out) = block_on(async {
        let mut source = Source::open(global, args.file.as_deref()).await?;
        write_all(&mut source, want, &mut out).await
    })?;
    out.finish()?;
    let left_out = match left_out {
        0 => String::new(),
        entries => format!("; {} left out, which are no rows or have no field", count(entries)),
    };
    eprintln!("{} entries exported{left_out}", count(written));
    Ok(())
}

async fn write_all(source: &mut Source, mut want: Want, out: &mut Output) -> Result<(u64, u64), Failure> {
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

/// Standard output, or a file that gets its name once it is complete.
enum Output {
    Standard,
    File { file: Option<File>, part: PathBuf, path: PathBuf },
}

impl Output {
    fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::Standard) };
        let mut part = path.to_owned().into_os_string();
        part.push(format!(".part-{}", std::process::id()));
        let part = PathBuf::from(part);
        // Payloads are for the owner's eyes only, until he says otherwise.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
        let file = file.map_err(|why| unwritten(path, &why))?;
        Ok(Self::File { file: Some(file), part, path: path.to_owned() })
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Standard => emit(text),
            Self::File { file: Some(file), path, .. } => {
                file.write_all(text.as_bytes()).map_err(|why| unwritten(path, &why))
            }
            Self::File { file: None, .. } => Ok(()),
        }
    }

    fn finish(mut self) -> Result<(), Failure> {
        let Self::File { file, part, path } = &mut self else { return Ok(()) };
        let Some(complete) = file.take() else { return Ok(()) };
        let named = complete.sync_all().and_then(|()| fs::rename(&*part, &*path)).and_then(|()| sync_directory(path));
        named.map_err(|why| {
            let _ = fs::remove_file(&*part);
            unwritten(path, &why)
        })
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Self::File { file: Some(_), part, .. } = self {
            let _ = fs::remove_file(part);
        }
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn unwritten(path: &Path, why: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot write {}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_when_it_is_complete_and_not_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let mut out = Output::open(Some(&path)).unwrap();
        out.write("a\n").unwrap();
        assert!(!path.exists());
        out.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\n");
        let mut given_up = Output::open(Some(&path)).unwrap();
        given_up.write("b\n").unwrap();
        drop(given_up);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert_eq!(Output::open(Some(&directory.path().join("none/out"))).err().unwrap().exit, Exit::Failed);
    }
}
