//! What header, commits and records together say of watermarks and ledger: the same sums as recovery's. Pure.

use crate::ring::{
    consumers::Consumers,
    headers::FoundHeader,
    layout::{Commit, Header, RecordHeader},
    ledger::{Intake, Ledger, Outcome},
    marks::{Mark, Marks, Pos},
};

/// Follows a walk from the tail to the head.
#[derive(Debug)]
pub(super) struct Accounts {
    header: Header,
    intake: Intake,
    consumers: Consumers,
    durable: Mark,
    /// Everything before it is counted in `intake`.
    counted: Pos,
    /// Records of a message whose last one has not been seen, as far as they are not counted yet.
    open: Intake,
    /// Whether there are such records.
    unfinished: bool,
    /// Behind the last whole message or commit.
    whole_upto: Mark,
}

impl Accounts {
    pub fn new(found: &FoundHeader) -> Self {
        let header = &found.header;
        Self {
            header: *header,
            intake: header.intake,
            consumers: header.consumers,
            durable: header.durable,
            counted: found.counted,
            open: Intake::default(),
            unfinished: false,
            whole_upto: header.tail,
        }
    }

    /// Takes note of an intact data record.
    pub fn record(&mut self, at: Mark, end: Mark, header: &RecordHeader) {
        if at.pos >= self.counted && !header.releases {
            self.open.count(header.kind, header.rows, header.last);
        }
        self.unfinished = !header.last;
        if header.last {
            self.close_message();
            self.whole_upto = end;
        }
    }

    /// Takes note of an intact pad or commit.
    pub fn frame(&mut self, end: Mark, commit: Option<&Commit>) {
        if let Some(commit) = commit {
            self.intake = self.intake.latest(commit.intake);
            self.consumers = self.consumers.later(commit.consumers);
            self.durable = self.durable.max(commit.durable);
            self.counted = self.counted.max(end.pos);
            self.open = Intake::default();
        }
        if !self.unfinished {
            self.whole_upto = end;
        }
    }

    /// Reading goes on at another place: behind damage, or at a tail that has moved.
    pub fn jump(&mut self, to: Mark) {
        self.open = Intake::default();
        self.unfinished = false;
        self.whole_upto = to;
    }

    /// Takes note of a header that was written meanwhile.
    pub fn newer(&mut self, header: &Header) {
        self.header = *header;
        self.consumers = self.consumers.later(header.consumers);
        self.durable = self.durable.max(header.durable);
    }

    fn close_message(&mut self) {
        let open = std::mem::take(&mut self.open);
        self.intake.messages += open.messages;
        self.intake.rows += open.rows;
        self.intake.dead_letters += open.dead_letters;
        self.intake.clears += open.clears;
    }

    /// The five watermarks, as far as they are told; the head is behind the last whole message.
    pub fn marks(&self) -> Marks {
        let (tail, appended) = (self.header.tail, self.whole_upto.max(self.header.tail));
        let settled = self.consumers.outcome().settled.max(tail).min(appended);
        let safe = self.consumers.safe().max(tail).min(settled);
        Marks { tail, safe, settled, durable: self.durable.max(settled).min(appended), appended }
    }

    /// Messages and rows in the log.
    pub fn intake(&self) -> Intake {
        self.intake.latest(self.header.intake)
    }

    /// What became of the rows before the settled watermark.
    pub fn outcome(&self) -> Outcome {
        Outcome { settled: self.marks().settled, ..self.consumers.outcome() }
    }

    /// The ledger.
    pub fn ledger(&self) -> Ledger {
        Ledger::of(&self.intake(), &self.consumers.outcome())
    }
}
