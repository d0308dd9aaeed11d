//! `forebay ring export`: every intact record of a file, however damaged.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{
    Failure, FileArgs, Global,
    cat::check_format,
    remark,
    text::{Format, Lines},
};
use crate::{
    cli::{
        out::{count, plural},
        target::Target,
    },
    ring::{
        Kind, Record,
        inspect::{RingFile, Salvage, SlotState, slots},
    },
};

/// Stretches of missing numbers that are listed; all are counted.
const MAX_LISTED: usize = 100;

/// Arguments of `ring export`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Every place where a record can begin is tried, so nothing depends on what lies before it: stretches of garbage, a file cut short, one \
header slot lost. What lies before the tail comes out too, as far as it is not overwritten yet. Each record comes once, in the order \
of numbers; of two with one number the one of the later start counts. The file is read about twice, in bounded memory.

An output file is written under a temporary name, synced and renamed; a pipe or a device is written to, and a link is followed. At the end standard error tells what was found and which numbers \
were not (with --json as one JSON object). Records of a message that was never acknowledged may be among what comes out.

Exit codes: 0 all that is intact is written, 1 the file has no usable header or the output failed, 2 usage, 5 the file cannot be read")]
pub struct ExportArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Where to write; "-" is standard output.
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// How rows are written.
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
}

pub fn run(args: &ExportArgs, global: &Global) -> Result<(), Failure> {
    check_format(args.format, global)?;
    let ring = args.file.open(global)?;
    let mut lines = Lines::new(args.format, Target::open(&args.output, &[ring.path()])?);
    let failed = |why| Failure::from(ring.failed(why));
    let states = slots(ring.media()).map_err(failed)?.map(|slot| slot.state);
    let both = states.iter().all(|state| matches!(state, SlotState::Valid | SlotState::Empty));
    let mut search = Salvage::survey(ring.media(), ring.header(), both).map_err(failed)?;
    let mut report = Report::of(&ring, &states);
    while let Some(record) = search.next().map_err(failed)? {
        report.count(&record);
        lines.put(&record, &|_| true)?;
    }
    lines.finish()?;
    report.superseded = search.superseded();
    report.malformed = lines.malformed;
    report.lines = lines.written;
    report.unreadable = ring.media().unreadable();
    report.close();
    if global.json {
        remark(&serde_json::to_string(&report).map_err(|why| Failure::new(super::Exit::Failed, why))?);
    } else {
        remark(report.text().trim_end());
    }
    Ok(())
}

/// Numbers of which no intact record is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Missing {
    first: u64,
    last: u64,
}

/// What was found and what was not.
#[derive(Debug, Default, Serialize)]
struct Report {
    file: String,
    /// Lines written.
    lines: u64,
    records: u64,
    rows: u64,
    dead_letters: u64,
    clears: u64,
    /// Lowest and highest number found.
    first: Option<u64>,
    last: Option<u64>,
    /// Records found before the tail: history the ring was about to overwrite.
    history: u64,
    /// Numbers between tail and head of which nothing is left, the first 100 stretches.
    missing: Vec<Missing>,
    missing_stretches: u64,
    missing_records: u64,
    /// Intact records left out: leftovers of an earlier start, whose numbers a later one gave to others.
    superseded: u64,
    /// Records that check out and cannot be read.
    malformed: u64,
    /// Whether the disk refused to read a part of the file.
    unreadable: bool,
    /// Bytes missing at the end of the file.
    short_by_bytes: u64,
    header_slots: Vec<SlotState>,
    /// Whether the ring was closed in order; if not, a daemon may be running on it.
    clean: bool,
    #[serde(skip)]
    tail: u64,
    #[serde(skip)]
    durable: u64,
    /// The next number that is due.
    #[serde(skip)]
    due: u64,
}

impl Report {
    fn of(ring: &RingFile, states: &[SlotState]) -> Self {
        let header = ring.header();
        Self {
            file: ring.path().display().to_string(),
            short_by_bytes: ring.expected_bytes().saturating_sub(ring.media().file_bytes()),
            header_slots: states.to_vec(),
            clean: header.clean,
            tail: header.tail.seq.0,
            durable: header.durable.seq.0,
            due: header.tail.seq.0,
            ..Self::default()
        }
    }

    fn count(&mut self, record: &Record<'_>) {
        let seq = record.seq.0;
        self.records += 1;
        match record.kind {
            Kind::Rows | Kind::Held => self.rows += u64::from(record.rows),
            Kind::DeadLetter => self.dead_letters += 1,
            Kind::Clear => self.clears += 1,
            Kind::Pad | Kind::Commit | Kind::State => {}
        }
        self.first.get_or_insert(seq);
        self.last = Some(seq);
        self.history += u64::from(seq < self.tail);
        self.missing_before(seq);
        self.due = self.due.max(seq + 1);
    }

    fn missing_before(&mut self, seq: u64) {
        if seq > self.due {
            let missing = Missing { first: self.due, last: seq - 1 };
            self.missing_stretches += 1;
            self.missing_records += seq - self.due;
            if self.missing.len() < MAX_LISTED {
                self.missing.push(missing);
            }
        }
    }

    /// What the header says was durable and nothing is left of.
    fn close(&mut self) {
        self.missing_before(self.durable);
    }

    fn text(&self) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        let mut say = |line: &str| {
            let _ = writeln!(text, "{line}");
        };
        let numbers = match (self.first, self.last) {
            (Some(first), Some(last)) => format!(", numbers {first} to {last}"),
            _ => String::new(),
        };
        let held = [(self.rows, "row"), (self.dead_letters, "dead letter"), (self.clears, "clear")];
        let held = held.map(|(number, one)| plural(number, one)).join(", ");
        say(&format!(
            "found {}{numbers}: {held}; records before the tail: {}",
            plural(self.records, "intact record"),
            count(self.history)
        ));
        for missing in &self.missing {
            say(&format!("missing: records {} to {}", missing.first, missing.last));
        }
        let unlisted = self.missing_stretches - self.missing.len() as u64;
        if unlisted > 0 {
            let stretches = if unlisted == 1 { "stretch" } else { "stretches" };
            say(&format!("missing: {} further {stretches}", count(unlisted)));
        }
        match self.missing_records {
            0 => say("nothing is missing between the tail and what is known of the head"),
            1 => say("1 record is missing in all"),
            missing => say(&format!("{} records are missing in all", count(missing))),
        }
        if self.superseded > 0 {
            let what = "of an earlier start left out: a later start gave their numbers to others";
            say(&format!("{} {what}", plural(self.superseded, "intact record")));
        }
        if self.short_by_bytes > 0 {
            say(&format!("the file is {} shorter than its header says", plural(self.short_by_bytes, "byte")));
        }
        if self.unreadable {
            say("the disk refused to read parts of the file; what lies there is missing");
        }
        let lost =
            self.header_slots.iter().filter(|state| !matches!(state, SlotState::Valid | SlotState::Empty)).count();
        match lost {
            0 => {}
            1 => say("one header slot is damaged; the other one was used"),
            _ => say("both header slots are damaged; the newest commit told what they said"),
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        marks::{Mark, Pos, Seq},
        point::Received,
        tally::SourceId,
    };

    fn record(seq: u64) -> Record<'static> {
        let mark = Mark { pos: Pos(0), seq: Seq(seq) };
        Record {
            seq: Seq(seq),
            mark,
            end: mark,
            kind: Kind::Rows,
            last: true,
            table_hash: 1,
            rows: 2,
            received: Received::default(),
            source: SourceId::NONE,
            letter: None,
            boot: None,
            released: None,
            body: &[],
        }
    }

    #[test]
    fn missing_numbers_are_those_between_tail_and_head() {
        let mut report = Report { tail: 10, durable: 31, due: 10, ..Report::default() };
        for seq in [4, 7, 12, 13, 20] {
            report.count(&record(seq));
        }
        report.close();
        let missing = [(10, 11), (14, 19), (21, 30)].map(|(first, last)| Missing { first, last });
        assert_eq!(report.missing, missing);
        assert_eq!((report.missing_records, report.history, report.rows), (18, 2, 10));
        let text = report.text();
        assert!(text.contains("numbers 4 to 20") && text.contains("missing: records 14 to 19"), "{text}");
        let mut whole = Report { tail: 1, durable: 2, due: 1, ..Report::default() };
        whole.count(&record(1));
        whole.close();
        assert!(whole.text().contains("nothing is missing"));
    }
}
