//! Records as lines.

use clap::ValueEnum;
use serde_json::{Map, Value as Json, json};

use super::{Failure, remark};
use crate::{
    cli::{out, target::Target},
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
