//! The log itself: appending under a short lock, sealing commits, publishing what is durable, moving the tail.

mod clump;
mod halt;
mod holding;
mod notes;
mod transfer;

use std::{
    io,
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use self::{clump::Clump, halt::Halt, notes::Carried};
use super::{
    append::{AppendError, Appended, Part},
    consumers::{Consumer, ConsumerId, Consumers},
    held::Held,
    layout::{
        self, Checksum, Commit, CommitForm, EXTENSION_BYTES, Extension, Geometry, Header, Kind, RECORD_HEADER_BYTES,
        RecordHeader, RingFacts,
    },
    ledger::{Intake, Outcome},
    marks::{Ackable, Mark, Pos, Seq},
    media::Media,
    recover::Recovered,
    seeded::{Bug, is_on},
    state::States,
    tail::TailIndex,
};
use crate::{
    point::Received,
    sync::{lock, wait},
    tally::Tally,
};

/// A message of more bytes has its place kept under the head's lock, and is written without it: others append behind it meanwhile.
const WRITTEN_APART_BYTES: u64 = 256 << 10;

struct Head {
    at: Mark,
    sealed: Mark,
    intake: Intake,
    scratch: Vec<u8>,
    states: States,
    /// The body of a state record being written.
    state_body: Vec<u8>,
    /// Changes of state and counts of messages without a record, since the start.
    notes: u64,
    /// Messages whose place is kept and that are still being written. Nothing is sealed until they are.
    apart: usize,
    /// The tail is about to pass some state, which is written again.
    is_carrying: bool,
    clump: Clump,
}

impl Head {
    /// The number of a note just made: that of the next one where something is still to be sealed for it.
    fn note(&mut self) -> u64 {
        self.notes += u64::from(self.at != self.sealed || self.states.is_pending());
        self.notes
    }

    /// Whether something is to be sealed, and all of it is written.
    fn is_owed_a_seal(&self) -> bool {
        self.apart == 0 && (self.at != self.sealed || self.states.is_pending())
    }
}

struct Durable {
    mark: Mark,
    intake: Intake,
    /// The lowest position somebody waits to be passed; commits below it wake nobody.
    wanted: Pos,
}

/// A commit that is sealed and has to be synced.
#[derive(Debug, Clone, Copy)]
pub struct Sealed {
    /// Where the unsynced bytes begin.
    pub from: Pos,
    /// Where they end.
    pub to: Mark,
    intake: Intake,
    /// Notes that it carries.
    notes: u64,
}

/// The log in its medium.
pub struct Log {
    media: Box<dyn Media>,
    geometry: Geometry,
    ring_id: u64,
    sum: Checksum,
    generation: u32,
    boot_id: [u8; 16],
    gaps: Vec<(Mark, Mark)>,
    head: Mutex<Head>,
    durable: Mutex<Durable>,
    durable_advanced: Condvar,
    readable: AtomicU64,
    header: Mutex<Header>,
    index: Mutex<TailIndex>,
    tail: Mutex<Mark>,
    /// Position of the tail, for readers to look at without a lock.
    tail_pos: AtomicU64,
    /// The head may go up to here.
    limit: AtomicU64,
    starved: AtomicBool,
    /// A page's worth waits to be sealed.
    has_page: AtomicBool,
    /// Messages that were taken in since the start, refused and noted ones included.
    taken: AtomicU64,
    /// Refused messages whose count a synced commit or header carries.
    refused_counted: AtomicU64,
    /// Notes that a synced commit carries.
    noted: AtomicU64,
    books: Mutex<Consumers>,
    /// Bytes of a commit's body.
    commit_body: usize,
    /// Space kept back at each append.
    reserve: u64,
    /// Whether large messages may be written apart: where acknowledgements wait for a commit. Elsewhere what is appended behind one is
    /// acknowledged at once, and a kill meanwhile would end the log in front of it.
    may_write_apart: AtomicBool,
    /// What waits for its time.
    held: Mutex<Held>,
    /// Up to where ordinary appends may take the head while something is held.
    held_limit: AtomicU64,
    poison: Mutex<Option<String>>,
    poisoned: AtomicBool,
    halt: Halt,
}

fn count(intake: &mut Intake, parts: &[Part<'_>]) {
    // What was held back was counted when it was.
    for (number, part) in parts.iter().enumerate().filter(|(_, part)| !part.releases) {
        intake.count(part.kind, part.rows, number + 1 == parts.len());
    }
}

impl Log {
    /// The log as recovery left it: synced up to its head.
    pub(super) fn new(media: Box<dyn Media>, boot_id: [u8; 16], recovered: Recovered) -> Self {
        let header = recovered.header;
        let geometry = Geometry { capacity: header.capacity };
        let head = recovered.head;
        let consumers = recovered.consumers;
        Self {
            geometry,
            commit_body: CommitForm::Third(consumers.all().len()).body_bytes(),
            reserve: layout::reserve_bytes(header.capacity),
            ring_id: header.ring_id,
            sum: Checksum::of_ring(header.ring_id),
            generation: header.generation,
            boot_id,
            gaps: recovered.gaps,
            head: Mutex::new(Head {
                at: head,
                sealed: head,
                intake: recovered.intake,
                scratch: Vec::new(),
                states: recovered.states,
                state_body: Vec::new(),
                notes: 0,
                apart: 0,
                is_carrying: false,
                clump: Clump::default(),
            }),
            durable: Mutex::new(Durable { mark: head, intake: recovered.intake, wanted: Pos(u64::MAX) }),
            durable_advanced: Condvar::new(),
            readable: AtomicU64::new(head.pos.0),
            header: Mutex::new(header),
            index: Mutex::new(recovered.index),
            tail: Mutex::new(header.tail),
            tail_pos: AtomicU64::new(header.tail.pos.0),
            limit: AtomicU64::new(header.tail.pos.0 + header.capacity),
            starved: AtomicBool::new(false),
            has_page: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            refused_counted: AtomicU64::new(recovered.intake.refused_messages),
            noted: AtomicU64::new(0),
            books: Mutex::new(consumers),
            may_write_apart: AtomicBool::new(false),
            held: Mutex::new(Held::default()),
            held_limit: AtomicU64::new(u64::MAX),
            poison: Mutex::new(None),
            poisoned: AtomicBool::new(false),
            halt: Halt::default(),
            media,
        }
    }

    /// Allows large messages to be written without the head's lock.
    pub(super) fn allow_writing_apart(&self) {
        self.may_write_apart.store(true, Ordering::Relaxed);
    }

    /// Appends a message's records together, and adds what they bring to the counts of their source.
    pub fn append(&self, parts: &[Part<'_>], received: Received, tally: Tally) -> Result<Appended, AppendError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(AppendError::Poisoned(self.poisoned().unwrap_or_default()));
        }
        self.refuse_when_halted()?;
        let mut head = lock(&self.head);
        let start = self.behind_changes(&head);
        let end = Pos(self.place_all(start, parts)?);
        // A release makes room.
        let is_ordinary = parts.iter().all(|part| !part.releases);
        if !self.admits(end.0) || is_ordinary && end.0 > self.held_limit.load(Ordering::Acquire) {
            self.starved.store(true, Ordering::Release);
            return Err(AppendError::Full);
        }
        if head.states.has_changes() {
            // A record's source has its number in the log before the record.
            self.write_state(&mut head).map_err(|error| self.store_failed(&error))?;
        }
        head.states.tally(tally);
        // Held records are listed in their order.
        let is_held = parts.iter().any(|part| part.kind == Kind::Held);
        if self.may_write_apart.load(Ordering::Relaxed) && end.0 - start > WRITTEN_APART_BYTES && !is_held {
            return self.append_apart(head, end, parts, received);
        }
        let first = head.at.seq;
        self.write_parts(&mut head, parts, received)?;
        count(&mut head.intake, parts);
        self.note_taken(&mut head, received, end.0 - start);
        Ok(Appended { first, last: Seq(head.at.seq.0 - 1), end: head.at.pos })
    }

    /// Keeps a message's place, and writes it without the lock. Seals wait, so no commit covers what is not written.
    fn append_apart(
        &self,
        mut head: MutexGuard<'_, Head>,
        end: Pos,
        parts: &[Part<'_>],
        received: Received,
    ) -> Result<Appended, AppendError> {
        let (first, beyond) = (head.at.seq, Seq(head.at.seq.0 + parts.len() as u64));
        let mut own = Head {
            scratch: Vec::new(),
            states: States::default(),
            state_body: Vec::new(),
            at: head.at,
            sealed: head.sealed,
            intake: head.intake,
            notes: 0,
            apart: 0,
            is_carrying: false,
            clump: Clump::default(),
        };
        head.at = Mark { seq: beyond, pos: end };
        count(&mut head.intake, parts);
        head.apart += 1;
        self.note_taken(&mut head, received, WRITTEN_APART_BYTES);
        drop(head);
        // Where that fails the ring is poisoned, and nothing is ever sealed over what is not written.
        self.write_parts(&mut own, parts, received)?;
        lock(&self.head).apart -= 1;
        assert_eq!((own.at.seq, own.at.pos), (beyond, end), "a message ends where its place was kept to");
        Ok(Appended { first, last: Seq(beyond.0 - 1), end })
    }

    fn write_parts(&self, head: &mut Head, parts: &[Part<'_>], received: Received) -> Result<(), AppendError> {
        for (number, part) in parts.iter().enumerate() {
            let last = number + 1 == parts.len();
            self.write_part(head, part, (number > 0, last), received).map_err(|error| self.store_failed(&error))?;
        }
        Ok(())
    }

    fn store_failed(&self, error: &io::Error) -> AppendError {
        AppendError::Poisoned(self.poison(&format!("a store failed: {error}")))
    }

    /// Whether the head may move to a place with what is appended.
    fn admits(&self, end: u64) -> bool {
        let over = if is_on(Bug::WrapOffByOne) { self.reserve + layout::SECTOR_BYTES } else { 0 };
        end + self.reserve <= self.limit.load(Ordering::Acquire) + over
    }

    fn place_all(&self, mut pos: u64, parts: &[Part<'_>]) -> Result<u64, AppendError> {
        for part in parts {
            let bytes = layout::data_record_bytes(part.body.len());
            if bytes > self.geometry.max_record() {
                return Err(AppendError::TooLarge { bytes, limit: self.geometry.max_record() });
            }
            pos = self.geometry.place(pos, bytes) + bytes;
        }
        Ok(pos)
    }

    fn write_part(
        &self,
        head: &mut Head,
        part: &Part<'_>,
        (continues, last): (bool, bool),
        received: Received,
    ) -> io::Result<()> {
        let header = RecordHeader {
            len: (EXTENSION_BYTES + part.body.len()) as u32,
            seq: head.at.seq,
            generation: self.generation,
            kind: part.kind,
            last,
            continues,
            extended: true,
            releases: part.releases,
            rows: part.rows,
            table_hash: part.table_hash,
            received,
        };
        let at = head.at.seq;
        self.write_record(head, &header, part.extension(), part.body, header.total())?;
        if part.kind == Kind::Held {
            self.hold(Mark { pos: Pos(head.at.pos.0 - header.total()), seq: at }, part.rows);
        }
        head.at.seq.0 += 1;
        Ok(())
    }

    /// Writes a record at the head, behind a pad where the lap has no room left, and moves the head by `bytes`.
    fn write_record(
        &self,
        head: &mut Head,
        header: &RecordHeader,
        extension: Extension,
        body: &[u8],
        bytes: u64,
    ) -> io::Result<()> {
        let place = self.geometry.place(head.at.pos.0, bytes);
        if place != head.at.pos.0 {
            self.write_pad(head, place)?;
        }
        head.scratch.clear();
        header.write(self.sum, place, extension, body, &mut head.scratch);
        // What fills a commit's sector is written too: no leftover of an earlier life may show between intact records.
        head.scratch.resize(bytes as usize, 0);
        self.media.store(self.geometry.offset(place), &head.scratch)?;
        head.at.pos = Pos(place + bytes);
        Ok(())
    }

    /// Fills the lap to its end; all of it is written, as a commit's sector is.
    fn write_pad(&self, head: &mut Head, lap_end: u64) -> io::Result<()> {
        let pos = head.at.pos.0;
        let left = (lap_end - pos) as usize;
        head.scratch.clear();
        if left >= RECORD_HEADER_BYTES {
            let pad = self.frame(Kind::Pad, head.at.seq, left - RECORD_HEADER_BYTES);
            pad.write(self.sum, pos, Extension::default(), &[], &mut head.scratch);
        }
        head.scratch.resize(left, 0);
        self.media.store(self.geometry.offset(pos), &head.scratch)?;
        head.at.pos = Pos(lap_end);
        Ok(())
    }

    fn frame(&self, kind: Kind, seq: Seq, len: usize) -> RecordHeader {
        RecordHeader {
            len: len as u32,
            seq,
            generation: self.generation,
            kind,
            last: true,
            continues: false,
            extended: false,
            releases: false,
            rows: 0,
            table_hash: 0,
            received: Received::default(),
        }
    }

    /// Seals what was appended since the last seal; none when there is nothing.
    pub fn seal(&self) -> io::Result<Option<Sealed>> {
        let durable = self.durable();
        let consumers = self.consumers();
        let facts = RingFacts { ring_id: self.ring_id, capacity: self.geometry.capacity, tail: self.tail() };
        let mut head = lock(&self.head);
        if !head.is_owed_a_seal() || !self.has_room_to_seal(&head) {
            return Ok(None);
        }
        if head.states.is_pending() {
            self.write_state(&mut head)?;
        }
        let commit = Commit {
            durable: if is_on(Bug::DurableAhead) { head.at } else { durable },
            intake: head.intake,
            consumers,
            boot_id: self.boot_id,
            from: head.sealed.pos,
            ring: Some(facts),
        };
        // The commit ends a sector, so that no sector holding acknowledged bytes is ever written again.
        let (place, bytes) = self.place_commit(head.at.pos.0);
        let rest = layout::page_rest(place + bytes, place + bytes - head.sealed.pos.0);
        // The room that is kept for commits is not for this.
        let fits = place + bytes + rest + self.reserve <= self.limit.load(Ordering::Acquire);
        let bytes = if fits && !is_on(Bug::UnalignedCommit) { bytes + rest } else { bytes };
        let frame = self.frame(Kind::Commit, head.at.seq, bytes as usize - RECORD_HEADER_BYTES);
        let frame = RecordHeader { rows: commit.form().rows(), ..frame };
        if place != head.at.pos.0 {
            self.write_pad(&mut head, place)?;
        }
        self.write_record(&mut head, &frame, Extension::default(), &commit.encode(), bytes)?;
        head.sealed = head.at;
        self.has_page.store(false, Ordering::Relaxed);
        lock(&self.index).note(head.at);
        Ok(Some(Sealed { from: durable.pos, to: head.at, intake: head.intake, notes: head.notes }))
    }

    /// Seals what was appended, makes it durable (unless `sync` is false: `memory` mode) and publishes it; none when there is nothing.
    pub fn commit(&self, sync: bool) -> io::Result<Option<Sealed>> {
        let Some(sealed) = self.seal()? else { return Ok(None) };
        if is_on(Bug::AckBeforeSync) {
            self.publish(&sealed);
        }
        if is_on(Bug::AckNoteBeforeSync) {
            self.noted.fetch_max(sealed.notes, Ordering::AcqRel);
        }
        if sync {
            match self.sync(&sealed) {
                Err(_) if is_on(Bug::IgnoreFailedSync) => {}
                synced => synced?,
            }
        }
        self.publish(&sealed);
        Ok(Some(sealed))
    }

    /// Syncs a sealed commit.
    pub fn sync(&self, sealed: &Sealed) -> io::Result<()> {
        self.geometry.ranges(sealed.from.0, sealed.to.pos.0).into_iter().try_for_each(|range| self.media.sync(range))
    }

    /// Makes a sealed commit the durable watermark and wakes who waits for it.
    pub fn publish(&self, sealed: &Sealed) {
        let mut durable = lock(&self.durable);
        durable.mark = sealed.to;
        durable.intake = sealed.intake;
        self.refused_counted.fetch_max(sealed.intake.refused_messages, Ordering::AcqRel);
        self.noted.fetch_max(sealed.notes, Ordering::AcqRel);
        self.readable.store(sealed.to.pos.0, Ordering::Release);
        if sealed.to.pos > durable.wanted {
            durable.wanted = Pos(u64::MAX);
            self.durable_advanced.notify_all();
        }
    }

    /// Waits until the durable watermark is beyond a position; false after the time-out or [`Log::wake_all`].
    pub fn wait_durable(&self, beyond: Pos, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut durable = lock(&self.durable);
        if durable.mark.pos > beyond {
            return true;
        }
        durable.wanted = durable.wanted.min(beyond);
        let left = deadline.saturating_duration_since(Instant::now());
        let durable = wait(&self.durable_advanced, durable, left);
        durable.mark.pos > beyond
    }

    /// Wakes every waiting thread, so that it looks at its stop flag.
    pub fn wake_all(&self) {
        lock(&self.durable).wanted = Pos(u64::MAX);
        self.durable_advanced.notify_all();
    }

    /// Writes and syncs the header with what is durable now, after `change` has had its say.
    pub fn write_header(&self, change: impl FnOnce(&mut Header)) -> io::Result<Header> {
        // Before anything is looked at, so that no header counts less than the one before it.
        let mut current = lock(&self.header);
        let (durable, intake) = {
            let durable = lock(&self.durable);
            (durable.mark, durable.intake)
        };
        let refused = lock(&self.head).intake;
        let consumers = self.consumers();
        let mut next = Header {
            counter: current.counter + if is_on(Bug::OneSlot) { 2 } else { 1 },
            durable: if is_on(Bug::HeaderBeforeData) { self.appended() } else { durable },
            consumers: current.consumers.later(consumers),
            intake: Intake { refused_messages: refused.refused_messages, refused_rows: refused.refused_rows, ..intake },
            ..*current
        };
        change(&mut next);
        self.media.store(next.slot_offset(), &next.encode())?;
        if is_on(Bug::FreeBeforeTail) && next.tail != current.tail {
            *current = next;
            return Ok(next);
        }
        if is_on(Bug::AckRefusedBeforeSync) {
            self.refused_counted.fetch_max(next.intake.refused_messages, Ordering::AcqRel);
        }
        self.media.sync(next.slot_offset()..next.slot_offset() + layout::SECTOR_BYTES)?;
        self.refused_counted.fetch_max(next.intake.refused_messages, Ordering::AcqRel);
        *current = next;
        Ok(next)
    }

    /// Moves the tail: durably first, then for readers, then the space is free. What it would pass of the state is written again before;
    /// returns the commit that has it. The tail stays where it is while a message is being written that no commit can cover.
    pub fn move_tail(&self, to: Mark) -> io::Result<Option<Sealed>> {
        let carried = if is_on(Bug::StateLeftBehind) { None } else { self.carry_state(to.pos)? };
        let (to, carried) = match carried {
            Some(Carried::Later) => return Ok(None),
            Some(Carried::Now(sealed)) => (to, sealed),
            // As far as the state, which makes room for it. Where that is no way at all, the state follows the tail.
            Some(Carried::NoRoom(oldest)) => {
                let before = lock(&self.index).last_upto(oldest).filter(|place| place.pos > self.tail().pos);
                (before.unwrap_or(to), None)
            }
            None => (to, None),
        };
        self.write_header(|header| {
            header.tail = to;
            header.consumers = header.consumers.not_before(to);
        })?;
        *lock(&self.tail) = to;
        self.tail_pos.store(to.pos.0, Ordering::Release);
        lock(&self.head).states.forget_before(to.pos.0);
        lock(&self.index).forget_before(to.pos);
        self.limit.store(to.pos.0 + self.geometry.capacity, Ordering::Release);
        self.starved.store(false, Ordering::Release);
        Ok(carried)
    }

    /// Takes what recovery found behind the last commit as appended and not yet sealed nor durable.
    pub(super) fn mark_unsealed(&self, durable: Pos) {
        lock(&self.head).sealed.pos = durable;
    }

    /// Counts a message that the `drop-newest` policy keeps out; says how many it makes since the ring was made.
    pub fn count_refused(&self, rows: u64) -> u64 {
        self.taken.fetch_add(1, Ordering::Relaxed);
        let mut head = lock(&self.head);
        head.intake.refused_messages += 1;
        head.intake.refused_rows += rows;
        head.intake.refused_messages
    }

    /// Whether messages were refused whose count is in no synced commit or header.
    pub fn owes_refusals(&self) -> bool {
        self.ackable().refused < self.intake().refused_messages
    }

    /// How far acknowledgements may go.
    pub fn ackable(&self) -> Ackable {
        Ackable {
            pos: self.durable().pos,
            refused: self.refused_counted.load(Ordering::Acquire),
            notes: self.noted.load(Ordering::Acquire),
        }
    }

    /// Takes note that so many rows were taken in, at least: what counted them may be lost with a header and a commit.
    pub(super) fn count_at_least(&self, rows: u64) {
        let (mut head, mut durable) = (lock(&self.head), lock(&self.durable));
        for intake in [&mut head.intake, &mut durable.intake] {
            intake.rows = intake.rows.max(rows);
        }
    }

    /// Publishes the fate of the rows before a consumer's settled watermark, and where resending to it begins.
    pub(super) fn set_books(&self, id: ConsumerId, outcome: Outcome, safe: Mark) {
        lock(&self.books).put(Consumer { id, safe, outcome });
    }

    /// What became of the rows before QuestDB's settled watermark, and where resending to it begins.
    pub(super) fn outcome(&self) -> (Outcome, Mark) {
        let consumers = self.consumers();
        (consumers.outcome(), consumers.safe())
    }

    /// The books of all consumers.
    pub(super) fn consumers(&self) -> Consumers {
        *lock(&self.books)
    }

    /// What was taken in so far, synced or not.
    pub fn intake(&self) -> Intake {
        lock(&self.head).intake
    }

    /// Marks the ring as failed; the first reason stays.
    pub fn poison(&self, reason: &str) -> String {
        let kept = lock(&self.poison).get_or_insert_with(|| reason.to_owned()).clone();
        self.poisoned.store(true, Ordering::Release);
        self.wake_all();
        kept
    }

    /// Why the ring has failed, if it has.
    pub fn poisoned(&self) -> Option<String> {
        lock(&self.poison).clone()
    }

    /// The place behind the last appended record.
    pub fn appended(&self) -> Mark {
        lock(&self.head).at
    }

    /// Whether there is something to be sealed, and room to do it.
    pub fn unsealed(&self) -> bool {
        let head = lock(&self.head);
        head.is_owed_a_seal() && self.has_room_to_seal(&head)
    }

    /// Always true of what was appended here, whose room was kept. What recovery found behind a lost commit may fill the ring up to a tail
    /// that is older than the one it was appended by; it is durable and waits for the tail.
    fn has_room_to_seal(&self, head: &Head) -> bool {
        let mut pos = head.at.pos.0;
        if head.states.is_pending() {
            let bytes = layout::record_bytes(head.states.pending_bytes());
            pos = self.geometry.place(pos, bytes) + bytes;
        }
        let (place, bytes) = self.place_commit(pos);
        // Changes of state come without an append that has kept room for them. They leave what the tail's next move needs.
        let is_state_alone = head.at == head.sealed && !head.states.has_counted() && !head.is_carrying;
        let kept = if is_state_alone { self.reserve / 2 } else { 0 };
        place + bytes + kept <= self.limit.load(Ordering::Acquire) || is_on(Bug::WrapOffByOne)
    }

    /// Where a commit lies behind a place, and how long it is.
    fn place_commit(&self, pos: u64) -> (u64, u64) {
        let bytes = |pos| layout::commit_bytes(pos, self.commit_body);
        let place = self.geometry.place(pos, bytes(pos));
        (place, bytes(place))
    }

    /// The place up to which everything is durable.
    pub fn durable(&self) -> Mark {
        lock(&self.durable).mark
    }

    /// Up to where readers may read.
    pub(super) fn readable(&self) -> Pos {
        Pos(self.readable.load(Ordering::Acquire))
    }

    /// The oldest record kept.
    pub fn tail(&self) -> Mark {
        *lock(&self.tail)
    }

    /// Whether the tail is beyond a position.
    pub(super) fn tail_is_beyond(&self, pos: Pos) -> bool {
        self.tail_pos.load(Ordering::Acquire) > pos.0
    }

    /// Bytes the head may still move.
    pub fn free_bytes(&self) -> u64 {
        self.limit.load(Ordering::Acquire).saturating_sub(self.appended().pos.0)
    }

    /// Whether an append was refused since the tail last moved.
    pub fn starved(&self) -> bool {
        self.starved.load(Ordering::Acquire)
    }

    /// The ring's id.
    pub fn ring_id(&self) -> u64 {
        self.ring_id
    }

    pub(super) fn index(&self) -> MutexGuard<'_, TailIndex> {
        lock(&self.index)
    }

    pub(super) fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(super) fn checksum(&self) -> Checksum {
        self.sum
    }

    pub(super) fn load(&self, pos: Pos, into: &mut [u8]) -> io::Result<()> {
        self.media.load(self.geometry.offset(pos.0), into)
    }

    /// The same mark, or the end of the damaged stretch it lies in.
    pub(super) fn over_gap(&self, at: Mark) -> Mark {
        let inside = |(from, to): &&(Mark, Mark)| from.pos <= at.pos && at.pos < to.pos;
        self.gaps.iter().find(inside).map_or(at, |(_, to)| *to)
    }

    pub(super) fn gaps(&self) -> &[(Mark, Mark)] {
        &self.gaps
    }
}
