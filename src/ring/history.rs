//! Reading a ring from its tail on without taking part: a daemon may be appending at its head and giving up its tail meanwhile.
//!
//! Whatever is read carries the checksum of its place, so it is whole or noticed. A record that does not check out has been overtaken by
//! the tail, is damaged, or lies behind the head; the header and the commits read so far tell which.

use std::io;

use super::{
    headers::find_header,
    layout::{Checksum, Commit, Geometry, Header, Kind, RECORD_HEADER_BYTES, RecordHeader, SECTOR_BYTES, SlotError},
    marks::{Mark, Pos, Seq},
    media::Media,
    reader::Record,
};

/// Bytes read at a time.
const WINDOW_BYTES: usize = 256 << 10;

/// Why a ring has no history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be read.
    #[error("cannot read the ring: {0}")]
    Io(#[from] io::Error),
    /// Neither header slot can be used.
    #[error("the file has no usable header{}", match .0 { SlotError::Version(v) => format!(" (it is of format version {v})"), SlotError::Damaged => String::new() })]
    Header(SlotError),
}

/// What comes next.
#[derive(Debug)]
pub enum Step<'a> {
    /// A data record.
    Record(Record<'a>, u32),
    /// The trailer that seals what came before, and the place behind it.
    Commit(Commit, Mark),
    /// Records that cannot be read any more: the first, and the one that follows.
    Damaged(Seq, Seq),
    /// Records that were given up before they could be read: the first, and the one that follows.
    Overtaken(Seq, Seq),
    /// Nothing more.
    End,
}

/// A place in the history that moves on.
pub struct History<M> {
    media: M,
    header: Header,
    geometry: Geometry,
    sum: Checksum,
    at: Mark,
    /// Everything before it had been synced.
    vouched: Pos,
    window: Vec<u8>,
    window_start: u64,
}

impl<M: Media> History<M> {
    /// The history from its tail on.
    pub fn new(media: M) -> Result<Self, HistoryError> {
        let header = find_header(&media)?.map(|found| found.header).map_err(HistoryError::Header)?;
        Ok(Self {
            geometry: Geometry { capacity: header.capacity },
            sum: Checksum::of_ring(header.ring_id),
            at: header.tail,
            vouched: header.durable.pos,
            window: Vec::new(),
            window_start: 0,
            header,
            media,
        })
    }

    /// The header as it was read last.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Where the next record begins.
    pub fn mark(&self) -> Mark {
        self.at
    }

    /// Goes to a record's beginning, or to the tail where that is beyond it.
    pub fn seek(&mut self, to: Mark) {
        self.at = to.max(self.header.tail);
    }

    /// The next thing of interest.
    pub fn step(&mut self) -> Result<Step<'_>, HistoryError> {
        loop {
            let left = self.geometry.to_lap_end(self.at.pos.0);
            if left < RECORD_HEADER_BYTES as u64 {
                self.at.pos.0 += left;
                continue;
            }
            let Some(header) = self.record_here()? else { return self.no_record() };
            let mark = self.at;
            self.at.pos.0 += header.total();
            match header.kind {
                Kind::Pad => {}
                Kind::Commit => {
                    let body = &self.bytes(mark.pos.0, header.needed())?[RECORD_HEADER_BYTES..];
                    if let Some(commit) = Commit::decode(header.rows, body) {
                        self.vouched = self.vouched.max(commit.durable.pos);
                        return Ok(Step::Commit(commit, self.at));
                    }
                }
                Kind::Rows | Kind::DeadLetter | Kind::Clear => {
                    self.at.seq.0 += 1;
                    let end = self.at;
                    let body = &self.bytes(mark.pos.0, header.needed())?[RECORD_HEADER_BYTES..header.needed()];
                    let RecordHeader { seq, kind, last, table_hash, rows, received, generation, .. } = header;
                    let record = Record { seq, mark, end, kind, last, table_hash, rows, received, body };
                    return Ok(Step::Record(record, generation));
                }
            }
        }
    }

    /// The record at the present place, if there is one. What was read a while ago may have been written since.
    fn record_here(&mut self) -> Result<Option<RecordHeader>, HistoryError> {
        for again in [false, true] {
            let seq = self.at.seq;
            if let Some(header) = self.record_at(self.at.pos.0)?.filter(|header| header.seq == seq) {
                return Ok(Some(header));
            }
            if !again {
                self.window.clear();
                if let Ok(header) = find_header(&self.media)?.map(|found| found.header) {
                    self.vouched = self.vouched.max(header.durable.pos);
                    self.header = header;
                }
            }
        }
        Ok(None)
    }

    /// What it means that there is no record at the present place.
    fn no_record(&mut self) -> Result<Step<'_>, HistoryError> {
        let before = self.at.seq;
        // The tail moves, durably, before its space is used again.
        if self.header.tail.pos > self.at.pos {
            self.at = self.header.tail;
            return Ok(Step::Overtaken(before, self.at.seq));
        }
        let mut pos = (self.at.pos.0 + 1).next_multiple_of(SECTOR_BYTES);
        while pos < self.vouched.0 {
            // Commits end on a sector, so whatever follows the damage begins on one.
            if let Some(header) = self.record_at(pos)?.filter(|header| header.seq >= before) {
                self.at = Mark { pos: Pos(pos), seq: header.seq };
                return Ok(Step::Damaged(before, self.at.seq));
            }
            pos += SECTOR_BYTES;
        }
        Ok(Step::End)
    }

    /// The record at a position, if one checks out there.
    fn record_at(&mut self, pos: u64) -> Result<Option<RecordHeader>, HistoryError> {
        let (sum, left) = (self.sum, self.geometry.to_lap_end(pos));
        let Some(header) = RecordHeader::parse(self.bytes(pos, RECORD_HEADER_BYTES)?) else { return Ok(None) };
        if header.total() > left || header.generation > self.header.generation {
            return Ok(None);
        }
        let needed = header.needed();
        Ok(header.checks_out(sum, pos, self.bytes(pos, needed)?).then_some(header))
    }

    /// The bytes at a position, at least so many unless the lap or the file ends.
    fn bytes(&mut self, pos: u64, needed: usize) -> Result<&[u8], HistoryError> {
        let offset = self.geometry.offset(pos);
        let most = self.geometry.to_lap_end(pos).min(self.media.len().saturating_sub(offset)) as usize;
        let needed = needed.min(most);
        let end = self.window_start + self.window.len() as u64;
        if pos < self.window_start || pos + needed as u64 > end {
            self.window.resize(most.min(WINDOW_BYTES.max(needed)), 0);
            self.window_start = pos;
            self.media.load(offset, &mut self.window)?;
        }
        Ok(&self.window[(pos - self.window_start) as usize..])
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        clock::{Clock, SharedClock, SystemClock},
        config::settings::{Durability, Ring as Settings},
        observe::heartbeat::Heartbeats,
        ring::{Part, RecoveryReport, Ring, media::MemoryMedia},
    };

    fn ring(media: &Arc<MemoryMedia>) -> Ring {
        let clock: SharedClock = Arc::new(SystemClock);
        let heartbeats = Heartbeats::new(Arc::clone(&clock));
        let settings = Settings { durability: Durability::Memory, interval: Duration::ZERO, ..Settings::default() };
        let beat = heartbeats.register("committer");
        let (media, report) = (Box::new(Arc::clone(media)), RecoveryReport::default());
        Ring::from_media(media, &settings, Duration::ZERO, clock, beat, report, &mut |_| {}, &mut |_| {}).unwrap().ring
    }

    fn append(ring: &Ring, number: u64) {
        let body = vec![number as u8; 1_000];
        let part = Part { kind: Kind::Rows, table_hash: 1, rows: 1, body: &body };
        let end = ring.append(&[part], SystemClock.now()).unwrap().end;
        while ring.marks().durable.pos < end {
            ring.wait_durable(Pos(end.0 - 1), Duration::from_millis(100));
        }
        ring.lane_done(0, ring.marks().durable);
    }

    fn steps(history: &mut History<Arc<MemoryMedia>>) -> Vec<(char, u64)> {
        let mut steps = Vec::new();
        loop {
            steps.push(match history.step().unwrap() {
                Step::Record(record, _) => ('r', record.seq.0),
                Step::Commit(..) => continue,
                Step::Damaged(from, to) => ('d', to.0 - from.0),
                Step::Overtaken(from, to) => ('o', to.0 - from.0),
                Step::End => return steps,
            });
        }
    }

    fn new_media() -> Arc<MemoryMedia> {
        let media = Arc::new(MemoryMedia::with(vec![0; 1 << 20]));
        crate::ring::format(&*media, 1).unwrap();
        media
    }

    #[test]
    fn a_ring_in_use_is_read_up_to_its_head() {
        let media = new_media();
        let ring = ring(&media);
        (1..=3).for_each(|number| append(&ring, number));
        let mut history = History::new(Arc::clone(&media)).unwrap();
        assert_eq!(steps(&mut history), [('r', 1), ('r', 2), ('r', 3)]);
        append(&ring, 4);
        assert_eq!(steps(&mut history), [('r', 4)]);
    }

    #[test]
    fn what_the_tail_has_overtaken_is_counted() {
        let media = new_media();
        let ring = ring(&media);
        append(&ring, 1);
        let mut history = History::new(Arc::clone(&media)).unwrap();
        assert!(matches!(history.step().unwrap(), Step::Record(..)));
        (2..=2_000).for_each(|number| append(&ring, number));
        let steps = steps(&mut history);
        let (first, tail) = (steps[0], ring.marks().tail.seq.0);
        assert_eq!((first, steps[1], steps.last()), (('o', tail - 2), ('r', tail), Some(&('r', 2_000))));
    }

    #[test]
    fn damage_is_passed_over_and_told() {
        let media = new_media();
        let ring = ring(&media);
        (1..=5).for_each(|number| append(&ring, number));
        ring.close().unwrap();
        let mut history = History::new(Arc::clone(&media)).unwrap();
        assert!(matches!(history.step().unwrap(), Step::Record(..)));
        assert!(matches!(history.step().unwrap(), Step::Commit(..)));
        let at = history.geometry.offset(history.at.pos.0) + 100;
        media.store(at, &[0xFF; 3]).unwrap();
        let mut history = History::new(Arc::clone(&media)).unwrap();
        assert_eq!(steps(&mut history), [('r', 1), ('d', 1), ('r', 3), ('r', 4), ('r', 5)]);
    }
}
