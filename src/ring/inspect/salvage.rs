//! Every intact record of a ring file, whatever has become of the rest of it.
//!
//! Neither tail nor head, nor the chain of records from one to the other, is relied on. A record is one when it checks out at a
//! position the file can hold: its checksum covers the ring's id and the position, and the position of a place in the file is known
//! up to the lap. A survey tries every multiple of 8 bytes in every lap that can be there. Then records are given in the order of
//! their positions, which is that of their numbers: both only grow along the log.
//!
//! Memory does not depend on what is found: the survey keeps no list of records but one byte for each of at most 65,536 parts of the
//! file (in which laps do records begin in it?), and the parts that have some are searched again for the second pass. So the file is
//! read about twice.

use std::{collections::BTreeMap, io};

use super::window::{Reach, Window, occupied};
use crate::ring::{
    layout::{Header, RECORD_ALIGN, RecordHeader},
    media::Media,
    reader::Record,
};

/// Parts the data is divided into.
const PARTS: u64 = 1 << 16;
/// Smallest part.
const MIN_PART_BYTES: u64 = 4096;
/// Open generations told apart; of more, the oldest are forgotten.
const MAX_GENERATIONS: usize = 1 << 16;
/// A start raises the generation and writes the header twice, so the header that is left may be one start behind.
const GENERATIONS_AHEAD: u32 = 1;

/// A search for every intact record.
pub struct Salvage<'a> {
    window: Window<'a>,
    reach: Reach,
    /// For each part, a bit a lap: whether a record begins in it.
    parts: Vec<u8>,
    part_bytes: u64,
    generations: Generations,
    /// Where the second pass is.
    pos: u64,
    last_seq: u64,
    superseded: u64,
}

impl<'a> Salvage<'a> {
    /// Surveys the file. `both_slots` says whether both header slots are valid: with one alone, the log may have gone on further.
    pub fn survey(media: &'a dyn Media, header: &Header, both_slots: bool) -> io::Result<Self> {
        let (tail, capacity) = (header.tail.pos.0, header.capacity);
        let reach = Reach {
            low: tail.saturating_sub(capacity),
            high: tail.saturating_add(if both_slots { capacity } else { 2 * capacity }),
        };
        let part_bytes = capacity.div_ceil(PARTS).next_multiple_of(RECORD_ALIGN).max(MIN_PART_BYTES);
        let mut window = Window::new(media, header);
        window.newest = header.generation.saturating_add(GENERATIONS_AHEAD);
        let mut salvage = Self {
            window,
            reach,
            parts: vec![0; capacity.div_ceil(part_bytes) as usize],
            part_bytes,
            generations: Generations::default(),
            pos: reach.low,
            last_seq: 0,
            superseded: 0,
        };
        let mut offset = 0;
        while let Some((pos, found)) = salvage.window.next_intact(offset, capacity, reach)? {
            salvage.note(pos, &found);
            offset = pos % capacity + occupied(&found);
        }
        salvage.generations.accumulate();
        Ok(salvage)
    }

    fn note(&mut self, pos: u64, found: &RecordHeader) {
        let (part, bit) = self.part_of(pos);
        self.parts[part] |= bit;
        self.generations.note(found.generation, pos, found.seq.0);
    }

    /// The part a position lies in, and the bit of its lap.
    fn part_of(&self, pos: u64) -> (usize, u8) {
        let capacity = self.window.geometry.capacity;
        let lap = pos / capacity - self.reach.low / capacity;
        ((pos % capacity / self.part_bytes) as usize, 1 << lap)
    }

    /// Intact records left out so far: leftovers of an earlier life, whose place in the log a later one has given to others.
    pub fn superseded(&self) -> u64 {
        self.superseded
    }

    /// The next intact data record, in the order of numbers, each once.
    #[allow(clippy::should_implement_trait, reason = "it lends from the search, which an iterator cannot")]
    pub fn next(&mut self) -> io::Result<Option<Record<'_>>> {
        while let Some((pos, header)) = self.find()? {
            self.pos = pos + header.total();
            if !header.kind.is_data() {
                continue;
            }
            if header.seq.0 <= self.last_seq || self.generations.supersede(&header, pos) {
                self.superseded += 1;
                continue;
            }
            self.last_seq = header.seq.0;
            return self.window.record(pos, &header).map(Some);
        }
        Ok(None)
    }

    /// The next intact record of any kind, in the parts and laps that have some. Records of other laps are stepped over whole.
    fn find(&mut self) -> io::Result<Option<(u64, RecordHeader)>> {
        let capacity = self.window.geometry.capacity;
        while self.pos < self.reach.high {
            let (part, bit) = self.part_of(self.pos);
            let lap_start = self.pos - self.pos % capacity;
            let end = capacity.min((part as u64 + 1) * self.part_bytes);
            let mut offset = self.pos - lap_start;
            while self.parts[part] & bit != 0
                && let Some((pos, header)) = self.window.next_intact(offset, end, self.reach)?
            {
                if pos >= self.pos && pos < lap_start + capacity {
                    return Ok(Some((pos, header)));
                }
                offset = pos % capacity + occupied(&header);
            }
            self.pos = lap_start + end;
        }
        Ok(None)
    }
}

/// Where each open generation begins. Generations never decrease along the log, so what lies behind the beginning of a later one, or
/// has a number from there on, is no longer part of it.
#[derive(Debug, Default)]
struct Generations {
    /// Lowest position and number seen of each; once accumulated, of each and all later ones.
    begins: BTreeMap<u32, (u64, u64)>,
}

impl Generations {
    fn note(&mut self, generation: u32, pos: u64, seq: u64) {
        let (first_pos, first_seq) = self.begins.entry(generation).or_insert((pos, seq));
        *first_pos = pos.min(*first_pos);
        *first_seq = seq.min(*first_seq);
        if self.begins.len() > MAX_GENERATIONS {
            self.begins.pop_first();
        }
    }

    fn accumulate(&mut self) {
        let mut least = (u64::MAX, u64::MAX);
        for (pos, seq) in self.begins.values_mut().rev() {
            least = (least.0.min(*pos), least.1.min(*seq));
            (*pos, *seq) = least;
        }
    }

    fn supersede(&self, header: &RecordHeader, pos: u64) -> bool {
        let later = self.begins.range(header.generation.saturating_add(1)..).next();
        later.is_some_and(|(_, (first_pos, first_seq))| pos >= *first_pos || header.seq.0 >= *first_seq)
    }
}
