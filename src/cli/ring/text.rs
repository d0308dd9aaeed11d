//! Records as lines, and where the lines go.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use serde_json::{Map, Value as Json, json};

use super::{Exit, Failure, remark};
use crate::{
    cli::out,
    entry::{Clear, EntryError, RowRef, Rows},
    lines::{self, Origin},
    ring::{Kind, Record},
};

/// Characters gathered before they are written.
const GATHERED_BYTES: usize = 64 << 10;

/// How rows are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a line: rows, dead letters, clears and held rows, each with its kind.
    #[default]
    Json,
    /// Line protocol (InfluxDB, QuestDB), times in nanoseconds: rows only.
    LineProtocol,
}

/// Lines on their way out.
pub struct Lines {
    format: Format,
    gathered: String,
    target: Target,
    /// Lines written.
    pub written: u64,
    /// Dead letters, clears and held rows, which line protocol has no form for.
    pub left_out: u64,
    /// Rows without fields, likewise.
    pub empty_rows: u64,
    /// Records that check out and cannot be read.
    pub malformed: u64,
}

impl Lines {
    /// Lines in a format.
    pub fn new(format: Format, target: Target) -> Self {
        Self { format, gathered: String::new(), target, written: 0, left_out: 0, empty_rows: 0, malformed: 0 }
    }

    /// Adds the lines of a record; of its rows those that are wanted.
    pub fn put(&mut self, record: &Record<'_>, wanted: &dyn Fn(&RowRef<'_>) -> bool) -> Result<(), Failure> {
        let origin = Origin { seq: record.seq.0, received: record.received.wall };
        let read = match record.kind {
            // Held rows have no time that could be stored.
            Kind::DeadLetter | Kind::Clear | Kind::Held if self.format != Format::Json => {
                self.left_out += 1;
                Ok(())
            }
            Kind::DeadLetter => record.dead_letter().map(|letter| {
                self.put_object(lines::dead_letter_object(origin, &letter));
            }),
            Kind::Rows | Kind::Held => self.put_rows(origin, record, wanted),
            Kind::Clear => Clear::decode(record.body).map(|clear| self.put_object(lines::clear_object(origin, &clear))),
            Kind::Pad | Kind::Commit | Kind::State => Ok(()),
        };
        if let Err(error) = read {
            self.put_malformed(origin, record.body, &error);
        }
        if self.gathered.len() >= GATHERED_BYTES { self.flush() } else { Ok(()) }
    }

    fn put_rows(
        &mut self,
        origin: Origin,
        record: &Record<'_>,
        wanted: &dyn Fn(&RowRef<'_>) -> bool,
    ) -> Result<(), EntryError> {
        let Record { body, kind, .. } = *record;
        let (rows, is_held) = (Rows::decode(body)?, kind == Kind::Held);
        let table = rows.table;
        for (index, row) in rows.enumerate() {
            let row = row?;
            if !wanted(&row) {
                continue;
            }
            if self.format == Format::Json {
                let mut object = lines::row_object(origin, index as u16, table, &row);
                if is_held {
                    object.insert("kind".into(), "held".into());
                }
                self.put_object(object);
            } else if lines::line_protocol(table, &row, &mut self.gathered) {
                self.written += 1;
            } else {
                self.empty_rows += 1;
            }
        }
        Ok(())
    }

    fn put_object(&mut self, object: Map<String, Json>) {
        self.gathered.push_str(&Json::Object(object).to_string());
        self.gathered.push('\n');
        self.written += 1;
    }

    /// What cannot be read is kept all the same, where the format has room for it.
    fn put_malformed(&mut self, origin: Origin, body: &[u8], error: &EntryError) {
        self.malformed += 1;
        if self.format == Format::Json {
            let head = json!({ "kind": "malformed", "seq": origin.seq, "received": origin.received.to_string(), "error": error.to_string() });
            let mut line = if let Json::Object(head) = head { head } else { Map::new() };
            lines::put_bytes(&mut line, "body", body);
            self.put_object(line);
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.target.write(&self.gathered)?;
        self.gathered.clear();
        Ok(())
    }

    /// Writes what is left and puts a file in its place; says what the format had no room for.
    pub fn finish(&mut self) -> Result<(), Failure> {
        self.flush()?;
        self.target.finish()?;
        for (count, what) in [
            (
                self.left_out,
                "dead letters, clears and held rows left out: line protocol has no form for them, --format json does",
            ),
            (self.empty_rows, "rows without fields left out: line protocol has no form for them, --format json does"),
            (self.malformed, "records check out but cannot be read; --format json gives their bytes"),
        ] {
            if count > 0 {
                remark(&format!("{} {what}", out::count(count)));
            }
        }
        Ok(())
    }
}

/// Where lines go.
pub enum Target {
    /// Standard output.
    Stdout,
    /// A device, a pipe: as it is.
    Direct(File, PathBuf),
    /// A file that appears whole or not at all.
    Whole {
        /// The file under its temporary name.
        file: File,
        /// That name; none once it is in place.
        temporary: Option<PathBuf>,
        /// Its name in the end.
        path: PathBuf,
    },
}

impl Target {
    /// Opens `path` ("-" is standard output) for an export of the file `source`, which must not be the target itself.
    pub fn open(path: &Path, source: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        match std::fs::metadata(path) {
            Ok(there) if !there.is_file() => {
                let file = File::options().write(true).open(path).map_err(|why| failed("write", path, &why))?;
                return Ok(Self::Direct(file, path.to_owned()));
            }
            Ok(there) => {
                let source = std::fs::metadata(source).map_err(|why| failed("read", source, &why))?;
                if (there.dev(), there.ino()) == (source.dev(), source.ino()) {
                    let what = format!("{} is the ring itself; name another --output", path.display());
                    return Err(Failure::new(Exit::Usage, what));
                }
            }
            Err(_) => {}
        }
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}.new", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary).map_err(|why| failed("create", &temporary, &why))?;
        Ok(Self::Whole { file, temporary: Some(temporary), path: path.to_owned() })
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Stdout => out::emit(text),
            Self::Direct(file, path) => match file.write_all(text.as_bytes()) {
                Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Err(Failure::silent(Exit::Ok)),
                written => written.map_err(|why| failed("write", path, &why)),
            },
            Self::Whole { file, path, .. } => {
                file.write_all(text.as_bytes()).map_err(|why| failed("write", path, &why))
            }
        }
    }

    fn finish(&mut self) -> Result<(), Failure> {
        let Self::Whole { file, temporary, path } = self else { return Ok(()) };
        let Some(from) = temporary.take() else { return Ok(()) };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let placed = file
            .sync_all()
            .and_then(|()| std::fs::rename(&from, &*path))
            .and_then(|()| File::open(directory)?.sync_all());
        placed.map_err(|why| {
            *temporary = Some(from);
            failed("put in place", path, &why)
        })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Self::Whole { temporary: Some(temporary), .. } = self {
            let _ = std::fs::remove_file(temporary);
        }
    }
}

fn failed(action: &str, path: &Path, why: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot {action} {}: {why}", path.display()))
}
