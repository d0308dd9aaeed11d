//! Rings made by the log itself, damaged at random, against what was written and what recovery finds.

use std::{
    io,
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;

use super::{Salvage, Seen, Slot, SlotState, Walk, accounts::Accounts, headers};
use crate::{
    clock::{SharedClock, SimulatedClock},
    point::{Received, Timestamp},
    ring::{
        append::{AppendError, Part},
        layout::{
            DATA_START, EXTENSION_BYTES, Header, Kind, MIN_CAPACITY, RECORD_HEADER_BYTES, RecordHeader, SECTOR_BYTES,
            SLOT_BYTES,
        },
        log::Log,
        marks::{Mark, Seq},
        media::{Media, MemoryMedia},
        open::{RecoveryReport, Resumed, format, recover_log},
        recover,
        settle::Settlement,
    },
    tally::Tally,
};

mod salvage;
mod walk;

const FILE_BYTES: u64 = DATA_START + MIN_CAPACITY;

/// A data record as it was stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Written {
    pos: u64,
    seq: u64,
    generation: u32,
    /// Header and body.
    bytes: Vec<u8>,
}

impl Written {
    fn is_in(&self, image: &[u8]) -> bool {
        let at = (DATA_START + self.pos % MIN_CAPACITY) as usize;
        image[at..at + self.bytes.len()] == *self.bytes
    }
}

/// A medium that keeps a list of the data records stored on it.
struct Recording {
    media: MemoryMedia,
    written: Mutex<(u64, Vec<Written>)>,
    begun: Mutex<bool>,
}

impl Recording {
    fn note(&self, at: u64, bytes: &[u8]) {
        let Some(header) = RecordHeader::parse(bytes).filter(|h| h.kind.is_data() && h.total() == bytes.len() as u64)
        else {
            return;
        };
        let (next, written) = &mut *self.written.lock().unwrap();
        // The lap: positions only grow within a life.
        let offset = at - DATA_START;
        let lap = *next / MIN_CAPACITY;
        let pos = if offset >= *next % MIN_CAPACITY { lap } else { lap + 1 } * MIN_CAPACITY + offset;
        *next = pos;
        let bytes = bytes[..RECORD_HEADER_BYTES + header.len as usize].to_vec();
        written.push(Written { pos, seq: header.seq.0, generation: header.generation, bytes });
    }
}

impl Media for Recording {
    fn len(&self) -> u64 {
        self.media.len()
    }

    fn load(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.media.load(at, into)
    }

    fn store(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if at >= DATA_START && *self.begun.lock().unwrap() {
            self.note(at, bytes);
        }
        self.media.store(at, bytes)
    }

    fn sync(&self, range: Range<u64>) -> io::Result<()> {
        self.media.sync(range)
    }

    fn load_from_disk(&self, at: u64, into: &mut [u8]) -> io::Result<bool> {
        self.media.load_from_disk(at, into)
    }
}

/// A ring through its lives, and everything written in them.
struct Story {
    media: Arc<Recording>,
    log: Arc<Log>,
    settlement: Settlement,
    /// What was written and not given up by a later recovery.
    live: Vec<Written>,
    /// What a recovery has given up.
    given_up: Vec<Written>,
}

fn empty() -> Vec<u8> {
    let media = MemoryMedia::with(vec![0; FILE_BYTES as usize]);
    format(&media, 77).unwrap();
    media.after_power_cut(|| true)
}

impl Story {
    fn begin(image: Vec<u8>) -> Self {
        let media = Arc::new(Recording {
            media: MemoryMedia::with(image),
            written: Mutex::default(),
            begun: Mutex::new(false),
        });
        let clock: SharedClock = Arc::new(SimulatedClock::default());
        let Resumed { log, outcome, safe, .. } =
            recover_log(Box::new(Arc::clone(&media)), &clock, &mut RecoveryReport::default(), &mut |_| {}, &mut |_| {})
                .unwrap();
        media.written.lock().unwrap().0 = log.appended().pos.0;
        *media.begun.lock().unwrap() = true;
        let settlement = Settlement::new(Arc::clone(&log), outcome, safe, Duration::ZERO);
        Self { media, log, settlement, live: Vec::new(), given_up: Vec::new() }
    }

    fn next_life(mut self, image: Vec<u8>) -> Self {
        self.live.extend(std::mem::take(&mut self.media.written.lock().unwrap().1));
        let mut next = Self::begin(image);
        let head = next.log.appended().seq.0;
        next.live = self.live;
        next.given_up = self.given_up;
        next.given_up.extend(next.live.extract_if(.., |written| written.seq >= head));
        next
    }

    fn append(&self, rng: &mut Rng, most_bytes: usize) -> bool {
        let parts: Vec<Vec<u8>> =
            (0..rng.usize(1..4)).map(|_| (0..rng.usize(0..most_bytes)).map(|_| rng.u8(..)).collect()).collect();
        let kinds = [Kind::Rows, Kind::DeadLetter, Kind::Clear];
        let records: Vec<Part<'_>> = parts
            .iter()
            .map(|body| Part { kind: kinds[rng.usize(0..3)], table_hash: 1, rows: 2, body, ..Part::default() })
            .collect();
        let received = Received { wall: Timestamp(rng.i64(..)), since_boot_ns: rng.u64(..) };
        match self.log.append(&records, received, Tally::default()) {
            Ok(_) => true,
            Err(AppendError::Full) => false,
            Err(other) => panic!("{other}"),
        }
    }

    fn commit(&self) {
        if let Some(sealed) = self.log.seal().unwrap() {
            self.log.sync(&sealed).unwrap();
            self.log.publish(&sealed);
        }
    }

    /// Settles everything durable, and frees what is no longer needed.
    fn free(&mut self) {
        self.settlement.lane_done(0, self.log.durable(), Duration::ZERO).unwrap();
        let safe = self.settlement.publish(Duration::ZERO);
        let target = self.log.index().target(self.log.appended().pos, safe.pos);
        if let Some(to) = target.filter(|to| to.pos > self.log.tail().pos) {
            self.log.move_tail(to).unwrap();
        }
    }

    fn run(&mut self, rng: &mut Rng, steps: usize) {
        let most_bytes = [60, 900, 9_000][rng.usize(0..3)];
        for _ in 0..steps {
            match rng.u8(0..10) {
                0..=6 => {
                    if !self.append(rng, most_bytes) {
                        self.commit();
                        self.free();
                    }
                }
                7 | 8 => self.commit(),
                _ => self.free(),
            }
        }
    }

    /// What was written so far and not given up.
    fn all_live(&self) -> Vec<Written> {
        let mut all = self.live.clone();
        all.extend(self.media.written.lock().unwrap().1.iter().cloned());
        all
    }

    /// The file as another process sees it.
    fn stored(&self) -> Vec<u8> {
        self.media.media.after_power_cut(|| true)
    }
}

/// A ring after some lives, the last of which ends by a kill or a power cut.
fn story(rng: &mut Rng) -> (Story, Vec<u8>) {
    let mut story = Story::begin(empty());
    for _ in 0..rng.usize(0..4) {
        let steps = rng.usize(0..700);
        story.run(rng, steps);
        let likelihood = rng.u8(0..=100);
        let image = story.media.media.after_power_cut(|| rng.u8(0..100) < likelihood);
        story = story.next_life(image);
    }
    let steps = rng.usize(10..900);
    story.run(rng, steps);
    let image = story.stored();
    (story, image)
}

fn damage(rng: &mut Rng, image: &mut [u8]) {
    for _ in 0..rng.usize(0..12) {
        let data = DATA_START as usize;
        let at = rng.usize(data..image.len());
        let len = rng.usize(1..20_000).min(image.len() - at);
        match rng.u8(0..5) {
            0 => (0..rng.usize(1..40)).for_each(|_| {
                let at = rng.usize(data..image.len());
                image[at] ^= 1 << rng.u8(0..8);
            }),
            1 => image[at..at + len].fill_with(|| rng.u8(..)),
            2 => image[at..at + len].fill(0),
            3 => image[at..].fill(0),
            // Intact bytes in a wrong place.
            _ => {
                let from = rng.usize(data..=image.len() - len);
                image.copy_within(from..from + len, at);
            }
        }
    }
}

fn header_of(image: &[u8]) -> Header {
    headers::find(&MemoryMedia::with(image.to_vec())).unwrap().expect("a header").header
}
