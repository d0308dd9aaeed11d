//! From the tail to the head, record by record, in a file that a daemon may be writing at the same time.
//!
//! A record that checks out is what was written there: its position is part of its checksum. One that does not is looked at
//! again, since the tail may have passed it and its space been used anew; that is no damage. Whether a place that does not check
//! out is damage or the head is decided as recovery decides it (docs/ring-format.md).

use std::{collections::BTreeSet, io};

use super::window::{Reach, Window, occupied};
use crate::ring::{
    headers::read_header,
    layout::{Commit, Header, Kind, RECORD_HEADER_BYTES, RecordHeader},
    marks::{Mark, Pos, Seq},
    media::Media,
    reader::Record,
    tables,
};

/// Tables named of one damaged stretch.
const MAX_TABLES: usize = 16;

/// Bytes that were durable and do not check out any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The first record lost.
    pub from: Mark,
    /// Where reading goes on.
    pub to: Mark,
    /// Whether nothing intact follows.
    pub ends_log: bool,
    /// Tables whose name stands in it and matches its record's header.
    pub tables: BTreeSet<String>,
    /// Hashes of tables whose name is not readable there.
    pub hashes: BTreeSet<u32>,
}

impl Stretch {
    /// Records lost: none where only a pad or a commit was hit.
    pub fn records(&self) -> u64 {
        self.to.seq.0.saturating_sub(self.from.seq.0)
    }

    /// Bytes from the first that is bad to where reading goes on.
    pub fn bytes(&self) -> u64 {
        self.to.pos.0.saturating_sub(self.from.pos.0)
    }
}

/// What comes next on the way.
#[derive(Debug)]
pub enum Seen<'a> {
    /// An intact data record.
    Data(RecordHeader, Record<'a>),
    /// An intact pad, commit or state record.
    Frame {
        /// Its header.
        header: RecordHeader,
        /// Where it begins.
        at: Mark,
        /// Where it ends.
        end: Mark,
        /// What a commit says.
        commit: Option<Box<Commit>>,
        /// The body of a state record.
        state: &'a [u8],
    },
    /// Damage.
    Damaged(Stretch),
    /// The tail has passed the place meanwhile: what lay there was given up by the daemon.
    Overtaken {
        /// Where reading had come to.
        from: Mark,
        /// The tail, where it goes on.
        to: Mark,
    },
}

/// A walk over the log.
pub struct Walk<'a> {
    media: &'a dyn Media,
    window: Window<'a>,
    header: Header,
    at: Mark,
    generation: u32,
    /// Damage has been proved by a commit that ends here: what lies before it was written.
    proven: Pos,
    /// The last commit behind the first place that was in doubt: up to where it says all was durable, and its end.
    last_commit: Searched,
    /// What is appended behind a lap after the start is no business of this walk's, so that it ends.
    until: u64,
    done: bool,
}

/// What lies behind a bad place.
enum Beyond {
    /// Nothing that proves it had been durable.
    NoProof,
    /// It had been durable, and nothing intact follows.
    Nothing,
    /// It had been durable, and this is the first intact record behind it.
    Intact(Mark),
}

/// The outcome of a search that is made once.
#[derive(Clone, Copy)]
enum Searched {
    NotYet,
    Done(Option<(Pos, Pos)>),
}

/// How far a search has come.
struct Place {
    pos: u64,
    /// What follows is of no earlier one.
    generation: u32,
}

enum Verdict {
    /// It checks out now.
    Intact,
    /// Nothing more is in the log.
    Head,
    Damaged(Stretch),
    Overtaken {
        from: Mark,
        to: Mark,
    },
}

impl<'a> Walk<'a> {
    /// A walk from the tail.
    pub fn new(media: &'a dyn Media, header: &Header) -> Self {
        Self::from(media, header, header.tail)
    }

    /// A walk from a place between tail and head where a record begins.
    pub fn from(media: &'a dyn Media, header: &Header, at: Mark) -> Self {
        Self {
            media,
            window: Window::new(media, header),
            header: *header,
            at,
            generation: 0,
            proven: Pos(0),
            last_commit: Searched::NotYet,
            until: header.tail.pos.0 + header.capacity,
            done: false,
        }
    }

    /// The same walk, ended at a position that is known to be no further than the head.
    #[must_use]
    pub fn upto(self, end: Pos) -> Self {
        Self { until: self.until.min(end.0), ..self }
    }

    /// The newest header seen on the way.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Where the next record begins; at the end, the place of the head.
    pub fn place(&self) -> Mark {
        self.at
    }

    /// What comes next; none at the head.
    #[allow(clippy::should_implement_trait, reason = "it lends from the walk, which an iterator cannot")]
    pub fn next(&mut self) -> io::Result<Option<Seen<'_>>> {
        loop {
            if self.done || self.at.pos.0 >= self.until {
                return Ok(None);
            }
            let left = self.window.geometry.to_lap_end(self.at.pos.0);
            if left < RECORD_HEADER_BYTES as u64 {
                self.at.pos.0 += left;
                continue;
            }
            if let Some(header) = self.fitting()? {
                return self.step(header).map(Some);
            }
            match self.judge()? {
                Verdict::Intact => {}
                Verdict::Head => self.done = true,
                Verdict::Damaged(stretch) => {
                    self.done = stretch.ends_log;
                    if !stretch.ends_log {
                        self.at = stretch.to;
                    }
                    return Ok(Some(Seen::Damaged(stretch)));
                }
                Verdict::Overtaken { from, to } => {
                    self.at = to;
                    return Ok(Some(Seen::Overtaken { from, to }));
                }
            }
        }
    }

    /// The record at the current place, if it checks out and continues the log.
    fn fitting(&mut self) -> io::Result<Option<RecordHeader>> {
        let header = self.window.record_at(self.at.pos.0)?;
        Ok(header.filter(|header| header.seq == self.at.seq && header.generation >= self.generation))
    }

    fn step(&mut self, header: RecordHeader) -> io::Result<Seen<'_>> {
        let at = self.at;
        self.generation = header.generation;
        self.at.pos.0 += header.total();
        if header.kind.is_data() {
            self.at.seq.0 += 1;
            return Ok(Seen::Data(header, self.window.record(at.pos.0, &header)?));
        }
        let commit = match header.kind {
            Kind::Commit => self.window.commit(at.pos.0, &header)?.map(Box::new),
            _ => None,
        };
        let state = if header.kind == Kind::State { self.window.body(at.pos.0, &header)? } else { &[] };
        Ok(Seen::Frame { header, at, end: self.at, commit, state })
    }

    /// Decides what a place that does not check out is.
    fn judge(&mut self) -> io::Result<Verdict> {
        if let Some(verdict) = self.look_again()? {
            return Ok(verdict);
        }
        if self.header.clean && self.at == self.header.durable {
            return Ok(Verdict::Head);
        }
        let beyond = self.beyond()?;
        let (to, ends_log) = match beyond {
            Beyond::NoProof => return Ok(Verdict::Head),
            Beyond::Nothing => (self.header.durable, true),
            Beyond::Intact(to) => (to, false),
        };
        // The proof that this place had been durable may be younger than the last look at it.
        if let Some(verdict) = self.look_again()? {
            return Ok(verdict);
        }
        let from = self.at;
        let (tables, hashes) = self.tables_in(from, to.pos.0)?;
        Ok(Verdict::Damaged(Stretch { from, to, ends_log, tables, hashes }))
    }

    /// Whether the place was overtaken by the tail, or has been written since it was read.
    fn look_again(&mut self) -> io::Result<Option<Verdict>> {
        // Only a header that was written meanwhile says more than the one at hand, which commits may have completed.
        if let Ok(header) = read_header(self.media)?
            && header.counter > self.header.counter
        {
            self.header = header;
            self.window.newest = header.generation;
        }
        self.window.forget();
        if self.header.tail.pos > self.at.pos {
            return Ok(Some(Verdict::Overtaken { from: self.at, to: self.header.tail }));
        }
        Ok(self.fitting()?.map(|_| Verdict::Intact))
    }

    /// Looks behind a bad place for proof that it had been durable, and for the first intact record.
    fn beyond(&mut self) -> io::Result<Beyond> {
        let bad = self.at;
        let first = self.next_of_log(&mut Place { pos: bad.pos.0 + 8, generation: self.generation })?;
        let first = first.map(|(pos, header)| Mark { pos: Pos(pos), seq: header.seq });
        let known = |walk: &Self| walk.header.durable.pos.max(walk.proven);
        if first.unwrap_or(bad).pos >= known(self)
            && let Some((durable, end)) = self.last_commit()?
            && durable > bad.pos
        {
            self.proven = self.proven.max(end);
        }
        Ok(match first {
            Some(first) if bad.pos < known(self) && first.pos <= known(self) => Beyond::Intact(first),
            _ if self.header.durable.pos > bad.pos => Beyond::Nothing,
            _ => Beyond::NoProof,
        })
    }

    /// The last commit behind the current place. It is looked for once: what it proves stays true, and it proves most.
    fn last_commit(&mut self) -> io::Result<Option<(Pos, Pos)>> {
        if let Searched::Done(found) = self.last_commit {
            return Ok(found);
        }
        let mut last = None;
        let mut place = Place { pos: self.at.pos.0 + 8, generation: self.generation };
        while let Some((pos, header)) = self.next_of_log(&mut place)? {
            if header.kind == Kind::Commit
                && let Some(commit) = self.window.commit(pos, &header)?
            {
                last = Some((commit.durable.pos, Pos(pos + header.total())));
            }
        }
        self.last_commit = Searched::Done(last);
        Ok(last)
    }

    /// The next intact record from a place on that can belong to the log behind the current one; the place moves behind it.
    fn next_of_log(&mut self, place: &mut Place) -> io::Result<Option<(u64, RecordHeader)>> {
        let limit = self.header.tail.pos.0 + self.header.capacity;
        while place.pos < limit {
            let Some((pos, header)) = self.next_on_lap(place.pos, limit)? else {
                place.pos += self.window.geometry.to_lap_end(place.pos);
                continue;
            };
            if header.generation >= place.generation && header.seq >= self.at.seq {
                *place = Place { pos: pos + header.total(), generation: header.generation };
                return Ok(Some((pos, header)));
            }
            place.pos = pos + 8;
        }
        Ok(None)
    }

    /// The next intact record up to the end of the lap. Records of the lap before, which lie in the free space, are stepped over
    /// whole: what their bodies look like costs nothing.
    fn next_on_lap(&mut self, pos: u64, limit: u64) -> io::Result<Option<(u64, RecordHeader)>> {
        let capacity = self.window.geometry.capacity;
        let end = limit.min(pos + self.window.geometry.to_lap_end(pos));
        let (lap_start, reach) = (pos - pos % capacity, Reach { low: pos.saturating_sub(capacity), high: end });
        let mut offset = pos - lap_start;
        while let Some((found, header)) = self.window.next_intact(offset, end - lap_start, reach)? {
            if found >= pos {
                return Ok(Some((found, header)));
            }
            offset = found % capacity + occupied(&header);
        }
        Ok(None)
    }

    /// What damaged headers still tell of the tables they belong to. A name counts when header and body agree on it.
    fn tables_in(&mut self, from: Mark, end: u64) -> io::Result<(BTreeSet<String>, BTreeSet<u32>)> {
        let (mut tables, mut hashes) = (BTreeSet::new(), BTreeSet::new());
        let mut at = from;
        while at.pos.0 < end && tables.len() + hashes.len() < MAX_TABLES {
            let Some(header) = self.window.claimed_at(at.pos.0)?.filter(|header| header.seq == at.seq) else { break };
            if header.table_hash != 0 {
                match self.name_at(at.pos.0, &header)? {
                    Some(name) => tables.insert(name),
                    None => hashes.insert(header.table_hash),
                };
            }
            at.pos.0 += header.total();
            at.seq.0 += u64::from(header.kind.is_data());
        }
        Ok((tables, hashes))
    }

    fn name_at(&mut self, pos: u64, header: &RecordHeader) -> io::Result<Option<String>> {
        let head = self.window.head_of(pos, RECORD_HEADER_BYTES + tables::NAME_BYTES)?;
        let behind_header = head.get(RECORD_HEADER_BYTES..).unwrap_or_default();
        Ok(tables::name_of(header, behind_header).map(str::to_owned))
    }
}

/// The number of the last record before a mark.
pub(super) fn last_before(mark: Mark) -> Seq {
    Seq(mark.seq.0.saturating_sub(1))
}
