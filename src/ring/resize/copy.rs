//! Writing the log into another medium, and looking whether all of it is there.

use std::{io, sync::Arc};

use super::{Progress, keep::Kept};
use crate::{
    clock::SharedClock,
    marks::{Mark, Pos, Seq},
    ring::{
        consumers::{Consumer, Consumers},
        headers::find_header,
        layout::{FORMAT_VERSION, Geometry, Header},
        log::Log,
        media::Media,
        reader::Reader,
        recover::{self, Recovered},
        tail::TailIndex,
    },
};

/// A commit is sealed each time so many bytes are copied …
const LEAST_COMMIT_BYTES: u64 = 64 << 10;
/// … or this part of the ring: the tail moves from commit to commit.
const COMMITS_A_LAP: u64 = 256;
/// Progress is told each time so many bytes are copied.
const PROGRESS_BYTES: u64 = 4 << 20;

/// A mark of the old log, and where it lies in the new one.
struct Moved {
    seq: Seq,
    at: Option<Mark>,
}

/// The marks of consumers, as the copy comes by them.
struct Marks(Vec<Moved>);

impl Marks {
    fn of(books: &Consumers) -> Self {
        let both = |books: &Consumer| [books.safe.seq, books.outcome.settled.seq];
        Self(books.all().iter().flat_map(both).map(|seq| Moved { seq, at: None }).collect())
    }

    /// Takes note that the new log has come to a place.
    fn pass(&mut self, at: Mark) {
        for mark in self.0.iter_mut().filter(|mark| mark.at.is_none() && mark.seq <= at.seq) {
            mark.at = Some(at);
        }
    }

    /// Where a mark lies, as far as is copied.
    fn place(&self, seq: Seq, head: Mark) -> Mark {
        let known = self.0.iter().find(|mark| mark.seq == seq).and_then(|mark| mark.at);
        known.map_or(head, |at| at.min(head))
    }

    fn books(&self, of: &Consumers, head: Mark) -> Consumers {
        let mut books = Consumers::default();
        for old in of.all() {
            let mut consumer = *old;
            consumer.outcome.settled = self.place(old.outcome.settled.seq, head);
            consumer.safe = self.place(old.safe.seq, head).min(consumer.outcome.settled);
            books.put(consumer);
        }
        books
    }
}

/// Copies what is kept of a log into an empty medium, durably, and closes it in order.
pub fn copy(
    old: &Arc<Log>,
    kept: Kept,
    media: Box<dyn Media>,
    clock: &SharedClock,
    progress: Progress<'_>,
) -> io::Result<Arc<Log>> {
    let capacity = Geometry::of_file(media.len()).map_or(0, |geometry| geometry.capacity);
    let books = old.consumers();
    let intake = old.intake();
    // Behind all positions of the old file, at the beginning of a lap: so nothing is parted by one.
    let start = Mark { pos: Pos(old.appended().pos.0.next_multiple_of(capacity)), seq: kept.from.seq };
    let mut marks = Marks::of(&books);
    marks.pass(start);
    let before = old.write_header(|_| {})?;
    let header = Header {
        version: FORMAT_VERSION,
        capacity,
        clean: false,
        tail: start,
        durable: start,
        opened: clock.now(),
        intake: intake.less(kept.intake),
        consumers: marks.books(&books, start),
        ..before
    };
    let log = Arc::new(Log::new(
        media,
        header.boot_id,
        Recovered {
            header,
            head: start,
            unsealed: false,
            vouched: start.pos,
            intake: header.intake,
            consumers: header.consumers,
            states: kept.states,
            held: (None, Seq(0)),
            gaps: Vec::new(),
            index: TailIndex::new(capacity),
        },
    ));
    copy_records(old, kept.from, &log, &books, &mut marks, progress)?;
    old.with_states(|states| log.end_copy(intake, states));
    commit(&log, &books, &marks)?;
    set_books(&log, &books, &marks);
    log.write_header(|header| header.clean = true)?;
    Ok(log)
}

fn copy_records(
    old: &Arc<Log>,
    from: Mark,
    log: &Log,
    books: &Consumers,
    marks: &mut Marks,
    progress: Progress<'_>,
) -> io::Result<()> {
    log.write_header(|_| {})?;
    let every = (log.geometry().capacity / COMMITS_A_LAP).max(LEAST_COMMIT_BYTES);
    let whole = old.appended().pos.0 - from.pos.0;
    let mut told = 0;
    let mut reader = Reader::new(Arc::clone(old), from);
    while let Some((header, mark, behind_header)) = reader.next_whole()? {
        if header.seq != log.appended().seq {
            // Lost in the old log: what lies before is sealed, as it was there.
            commit(log, books, marks)?;
            log.leave_gap(header.seq);
            marks.pass(log.appended());
        }
        log.copy(&header, behind_header)?;
        marks.pass(log.appended());
        if header.last && log.appended().pos.0 - log.durable().pos.0 >= every {
            commit(log, books, marks)?;
        }
        let done = mark.pos.0 - from.pos.0;
        if done - told >= PROGRESS_BYTES {
            told = done;
            progress(Some((done, whole)))?;
        }
    }
    let head = old.appended();
    if log.appended().seq < head.seq {
        commit(log, books, marks)?;
        log.leave_gap(head.seq);
        marks.pass(log.appended());
    }
    commit(log, books, marks)
}

/// Seals what is copied so far, durably, with the books up to there.
fn commit(log: &Log, books: &Consumers, marks: &Marks) -> io::Result<()> {
    set_books(log, books, marks);
    log.commit(true)?;
    Ok(())
}

fn set_books(log: &Log, books: &Consumers, marks: &Marks) {
    for consumer in marks.books(books, log.appended()).all() {
        log.set_books(consumer.id, consumer.outcome, consumer.safe);
    }
}

/// Reads the new file as a start would: it must hold what was written, and nothing else.
pub fn check(log: &Arc<Log>, media: &dyn Media, progress: Progress<'_>) -> io::Result<()> {
    let wrong = |what: &str| io::Error::other(format!("the copy does not hold what it should: {what}"));
    let found = find_header(media)?.map_err(|_| wrong("its header"))?;
    let recovered = recover::scan(media, found, &mut |_| {}, &mut |_| drop(progress(None)))?;
    if recovered.head != log.appended() || recovered.unsealed {
        return Err(wrong("the end"));
    }
    if recovered.intake != log.intake() || recovered.consumers != log.consumers() {
        return Err(wrong("the ledger"));
    }
    if !log.with_states(|states| recovered.states.source_counts() == states.source_counts()) {
        return Err(wrong("the counts of sources"));
    }
    Ok(())
}
