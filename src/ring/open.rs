//! Opening a ring: create or recover, sync before trusting, start the committer.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::{Notify, watch};

use super::{
    Ring,
    bell::Bell,
    committer::{self, Shared},
    consumers::{ConsumerId, Consumers},
    first_records::FirstRecords,
    headers::{FoundHeader, HeaderSource, find_header},
    held::Held,
    layout::{FORMAT_VERSION, Geometry, Header, Kind, SECTOR_BYTES, SlotError},
    ledger::{Intake, Outcome},
    log::Log,
    losses::{self, Gap},
    marks::{Mark, Pos, Seq},
    media::Media,
    mmap::{FileError, MmapMedia, hint},
    place,
    reader::{Reader, Record},
    recover::{self, PROGRESS_BYTES, Recovered},
    seeded::{Bug, is_on},
    senders::Senders,
    settle::Settlement,
};
use crate::{
    clock::{SharedClock, boot_id},
    observe::{heartbeat::Heartbeat, histogram::Histogram},
    settings::{Durability, Ring as Settings},
};

/// Sectors behind the head that recovery overwrites, so that nothing left there can pass as new.
const CLEARED_SECTORS: u64 = 4;
/// By how much more the open generation is raised after the loss of a header, which may have told of later ones.
const GENERATIONS_UNKNOWN: u32 = 1024;
/// Bytes copied at a time when recovered records are written again.
const REWRITE_BYTES: usize = 1 << 16;

/// Why a ring cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The configured size is too small.
    #[error("[ring] size = {0} bytes is too small for a ring; 1MiB is the least that makes sense")]
    Size(u64),
    /// The file is of a format version that this program does not know; it is left as it is.
    #[error(
        "{path} is a ring of format version {version}; this forebay knows versions up to {FORMAT_VERSION}. The file was left as it is: run \
         the forebay that wrote it, or move the file away to begin a new ring (what waits in it is then not sent)"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// Reading, writing or syncing failed during recovery.
    #[error("recovery of {path} failed: {source}{}", hint(source))]
    Recovery {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// An opened ring.
pub struct Opened {
    /// The ring.
    pub ring: Ring,
    /// What recovery found.
    pub report: RecoveryReport,
}

/// What was found in the file.
#[derive(Debug, Clone, Default)]
pub struct RecoveryReport {
    /// Whether the file was created now.
    pub created: bool,
    /// Whether the previous run had closed it in order.
    pub clean: bool,
    /// Data records between tail and head.
    pub records: u64,
    /// Rows not yet settled.
    pub pending_rows: u64,
    /// Where the header was found.
    pub header: HeaderSource,
    /// Damaged stretches that lay between intact ones.
    pub gaps: Vec<Gap>,
    /// Rows lost to damage.
    pub lost_rows: u64,
    /// Where a file without a usable header was moved.
    pub moved_aside: Option<PathBuf>,
    /// Length in bytes of a file that had been cut short; it has its full length again.
    pub cut_to: Option<u64>,
    /// Size of the file, where it differs from the configured one.
    pub other_size: Option<u64>,
}

/// How far opening a ring has come: what is being done, and the bytes done of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A new file is filled with zeros.
    Created(u64),
    /// Records are checked; this ends where the log does.
    Checked(u64),
    /// Rows that nothing has become of yet are counted.
    Counted(u64),
}

impl Ring {
    /// Opens the ring file, creating it where there is none, and starts the committer.
    ///
    /// `visit` sees every intact record in order; `progress` is told how far it has come.
    pub fn open(
        settings: &Settings,
        resend_window: Duration,
        clock: SharedClock,
        heartbeat: Heartbeat,
        visit: &mut dyn FnMut(&Record<'_>),
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Opened, OpenError> {
        let mut report = RecoveryReport::default();
        let media = open_file(settings, &clock, &mut report, progress)?;
        let failed = |source| OpenError::Recovery { path: settings.path.clone(), source };
        Self::from_media(media, settings, resend_window, clock, heartbeat, report, visit, progress).map_err(failed)
    }

    /// Recovers the ring in a medium that has a valid header (see [`format()`]), and starts the committer.
    #[allow(
        clippy::too_many_arguments,
        reason = "each is a part of the ring's surroundings, and there are two callers"
    )]
    pub fn from_media(
        media: Box<dyn Media>,
        settings: &Settings,
        resend_window: Duration,
        clock: SharedClock,
        heartbeat: Heartbeat,
        mut report: RecoveryReport,
        visit: &mut dyn FnMut(&Record<'_>),
        progress: &mut dyn FnMut(Progress),
    ) -> std::io::Result<Opened> {
        let recovered = recover_log(media, &clock, &mut report, visit, progress)?;
        let shared = share(recovered, settings, resend_window, clock);
        let thread = committer::start(Arc::clone(&shared), heartbeat)?;
        Ok(Opened { ring: Ring { shared, committer: Arc::new(Mutex::new(Some(thread))) }, report })
    }
}

/// A log that goes on where an earlier life ended.
pub(super) struct Resumed {
    pub log: Arc<Log>,
    pub outcome: Outcome,
    /// Where resending begins.
    pub safe: Mark,
    /// From there on.
    pub first_records: FirstRecords,
}

/// What a ring's handles and its committer share.
pub(super) fn share(
    Resumed { log, outcome, safe, first_records }: Resumed,
    settings: &Settings,
    resend_window: Duration,
    clock: SharedClock,
) -> Arc<Shared> {
    if settings.durability == Durability::Commit {
        log.allow_writing_apart();
    }
    let bell = Arc::new(Bell::default());
    Arc::new(Shared {
        settlement: Mutex::new(Settlement::new(Arc::clone(&log), outcome, safe, resend_window)),
        clock,
        settings: settings.clone(),
        ackable: watch::Sender::new(log.ackable()),
        failed: watch::Sender::new(None),
        room: Notify::new(),
        commit_micros: Histogram::new(),
        senders: Senders::new(Arc::clone(&bell)),
        bell,
        first_records,
        log,
    })
}

/// Scans the medium, makes what it finds durable, and closes the ledger over what is lost.
pub(super) fn recover_log(
    media: Box<dyn Media>,
    clock: &SharedClock,
    report: &mut RecoveryReport,
    visit: &mut dyn FnMut(&Record<'_>),
    progress: &mut dyn FnMut(Progress),
) -> std::io::Result<Resumed> {
    let found = find_header(&*media)?.map_err(|error| std::io::Error::other(format!("no usable header: {error:?}")))?;
    (report.clean, report.header) = (found.header.clean, found.source);
    let mut recovered = recover::scan(&*media, found, visit, &mut |bytes| progress(Progress::Checked(bytes)))?;
    if found.source != HeaderSource::Slots {
        recovered.header.generation += GENERATIONS_UNKNOWN;
    }
    let (first_held, released_upto) = recovered.held;
    let (log, mut outcome, safe) = resume(media, recovered, clock)?;
    let log = Arc::new(log);
    let held = match first_held {
        Some(first) => find_held(&log, first.max(log.tail()), released_upto)?,
        None => Held::default(),
    };
    report.gaps = losses::describe(&log)?;
    let missing: u64 = report.gaps.iter().map(|gap| (gap.last.0 + 1).saturating_sub(gap.first.0)).sum();
    report.records = (log.appended().seq.0 - log.tail().seq.0).saturating_sub(missing);
    let (waiting, first_records) =
        walk_pending(&log, safe, outcome.settled, &mut |bytes| progress(Progress::Counted(bytes)))?;
    let pending = waiting + held.rows();
    log.set_held(held);
    log.count_at_least(outcome.rows() + pending);
    // Rows that were taken in, have no fate and are not in the log any more were lost to damage.
    report.lost_rows = log.intake().rows.saturating_sub(outcome.rows() + pending);
    report.pending_rows = pending;
    outcome.dropped += report.lost_rows;
    log.set_books(ConsumerId::QUESTDB, outcome, safe);
    log.write_header(|_| {})?;
    Ok(Resumed { log, outcome, safe, first_records })
}

/// Writes the headers of an empty ring into a zeroed medium.
pub fn format(media: &dyn Media, ring_id: u64) -> Result<(), OpenError> {
    let geometry = Geometry::of_file(media.len()).ok_or(OpenError::Size(media.len()))?;
    let start = Mark { pos: Pos(0), seq: Seq(1) };
    let header = Header {
        version: FORMAT_VERSION,
        counter: 1,
        ring_id,
        capacity: geometry.capacity,
        generation: 0,
        clean: true,
        boot_id: boot_id(),
        tail: start,
        durable: start,
        opened: crate::point::Received::default(),
        intake: Intake::default(),
        consumers: Consumers::questdb(start, Outcome { settled: start, ..Outcome::default() }),
    };
    let written = media
        .store(header.slot_offset(), &header.encode())
        .and_then(|()| media.sync(header.slot_offset()..header.slot_offset() + SECTOR_BYTES));
    written.map_err(|source| OpenError::Recovery { path: PathBuf::from("a new ring"), source })
}

/// What has the ring's name.
pub(super) enum Present {
    /// Nothing, or a file of which no ring is left.
    None {
        /// Where that file is.
        damaged: Option<PathBuf>,
    },
    /// A ring, open and locked.
    Ring {
        /// Where it is, behind links.
        path: PathBuf,
        /// Its file, of full length.
        media: MmapMedia,
        /// Bytes of the file.
        bytes: u64,
    },
}

/// Opens the ring file that is there. One that was cut short gets its length back; what is missing
/// then shows as damage.
pub(super) fn open_existing(path: &Path, report: &mut RecoveryReport) -> Result<Present, OpenError> {
    let (path, exists) = place::resolve(path)?;
    if !exists {
        return Ok(Present::None { damaged: None });
    }
    let media = MmapMedia::open(&path)?;
    let found = find_header(&media);
    match found.map_err(|source| OpenError::Recovery { path: path.clone(), source })? {
        Ok(FoundHeader { header, .. }) => {
            let bytes = super::layout::DATA_START + header.capacity;
            if media.len() >= bytes {
                return Ok(Present::Ring { path, media, bytes });
            }
            report.cut_to = Some(media.len());
            drop(media);
            let media = MmapMedia::lengthen(&path, bytes)?;
            Ok(Present::Ring { path, media, bytes })
        }
        Err(SlotError::Version(version)) => Err(OpenError::Version { path, version }),
        Err(SlotError::Damaged) => Ok(Present::None { damaged: Some(path) }),
    }
}

fn open_file(
    settings: &Settings,
    clock: &SharedClock,
    report: &mut RecoveryReport,
    progress: &mut dyn FnMut(Progress),
) -> Result<Box<dyn Media>, OpenError> {
    let path = match open_existing(&settings.path, report)? {
        Present::Ring { path, media, bytes } => {
            MmapMedia::sync_name(&path)?;
            if MmapMedia::remove_leftover(&path) {
                let path = path.display();
                tracing::info!(%path, "removed what was left beside the ring by a change of its size that had not ended");
            }
            report.other_size = (Geometry::of_file(settings.size.0) != Geometry::of_file(bytes)).then_some(bytes);
            return Ok(Box::new(media.called(&settings.path)));
        }
        // Behind a link the new one takes the place of the one that is moved aside.
        Present::None { damaged: Some(path) } => {
            report.moved_aside = Some(place::move_aside(&path)?);
            path
        }
        Present::None { damaged: None } => settings.path.clone(),
    };
    let path = path.as_path();
    let size = settings.size.0;
    if Geometry::of_file(size).is_none() {
        return Err(OpenError::Size(size));
    }
    let Some(media) = MmapMedia::create(path, size, &mut |bytes| progress(Progress::Created(bytes)))? else {
        // Another daemon made it meanwhile; it holds the lock, or has ended and left a ring to open.
        return open_file(settings, clock, report, progress);
    };
    report.created = true;
    let now = clock.now();
    let mut random =
        fastrand::Rng::with_seed(now.wall.0 as u64 ^ now.since_boot_ns.rotate_left(32) ^ fastrand::u64(..));
    format(&media, random.u64(..))?;
    Ok(Box::new(media))
}

/// Raises the open generation, then syncs what recovery trusts before anything builds on it.
fn resume(
    media: Box<dyn Media>,
    mut recovered: Recovered,
    clock: &SharedClock,
) -> std::io::Result<(Log, Outcome, Mark)> {
    let boot = boot_id();
    let (consumers, unsealed) = (recovered.consumers, recovered.unsealed);
    let header = &mut recovered.header;
    header.version = FORMAT_VERSION;
    header.counter += 1;
    if !is_on(Bug::NoGeneration) {
        header.generation += 1;
    }
    header.clean = false;
    header.boot_id = boot;
    header.opened = clock.now();
    media.store(header.slot_offset(), &header.encode())?;
    media.sync(header.slot_offset()..header.slot_offset() + SECTOR_BYTES)?;
    let geometry = Geometry { capacity: header.capacity };
    let (vouched, head) = (recovered.vouched, recovered.head);
    if !is_on(Bug::TrustUnsyncedEnd) {
        make_durable(&*media, geometry, vouched, head.pos)?;
        let end = clear_behind(&*media, geometry, head.pos.0, header.tail.pos.0 + header.capacity)?;
        for range in geometry.ranges(vouched.0, end) {
            media.sync(range)?;
        }
    }
    let log = Log::new(media, boot, recovered);
    if unsealed {
        log.mark_unsealed(vouched);
        log.commit(true)?;
    }
    Ok((log, consumers.outcome(), consumers.safe()))
}

/// Makes what was read from `from` to `to` be on the disk.
///
/// After kill -9 its pages may only be dirty, and a sync writes them. After a failed sync they are clean in the cache and absent on the
/// disk: those sectors are stored again, so that a sync writes them. No other sector is: one that holds acknowledged bytes is on the disk
/// already, and a power cut might turn a sector that is being written into garbage.
fn make_durable(media: &dyn Media, geometry: Geometry, from: Pos, to: Pos) -> std::io::Result<()> {
    const SECTOR: usize = SECTOR_BYTES as usize;
    let (mut cached, mut on_disk) = (vec![0; REWRITE_BYTES], vec![0; REWRITE_BYTES]);
    for range in geometry.ranges(from.0, to.0) {
        media.sync(range.clone())?;
        let mut at = range.start / SECTOR_BYTES * SECTOR_BYTES;
        while at < range.end {
            let length = REWRITE_BYTES.min((range.end.next_multiple_of(SECTOR_BYTES) - at) as usize);
            let (cached, on_disk) = (&mut cached[..length], &mut on_disk[..length]);
            media.load(at, cached)?;
            let can_tell = media.load_from_disk(at, on_disk)?;
            for (number, (sector, stored)) in cached.chunks(SECTOR).zip(on_disk.chunks(SECTOR)).enumerate() {
                if !can_tell || sector != stored {
                    media.store(at + (number * SECTOR) as u64, sector)?;
                }
            }
            at += length as u64;
        }
    }
    Ok(())
}

/// Overwrites the first bytes behind the head with zeros; returns where they end.
fn clear_behind(media: &dyn Media, geometry: Geometry, head: u64, limit: u64) -> std::io::Result<u64> {
    let end = (head.next_multiple_of(SECTOR_BYTES) + CLEARED_SECTORS * SECTOR_BYTES).min(limit);
    for range in geometry.ranges(head, end) {
        media.store(range.start, &vec![0; (range.end - range.start) as usize])?;
    }
    Ok(end)
}

/// The held records from the first one on that no release names.
fn find_held(log: &Arc<Log>, first: Mark, released_upto: Seq) -> std::io::Result<Held> {
    let mut held = Held::default();
    held.release(released_upto, 0, first);
    let mut reader = Reader::new(Arc::clone(log), first);
    loop {
        match reader.next_with(Pos(u64::MAX), |_, _| false)? {
            Some(record) if record.kind == Kind::Held => held.hold(record.mark, record.rows),
            Some(_) => {}
            None => return Ok(held),
        }
    }
}

/// Counts the rows from `settled` on, and finds where each table's records begin from `safe` on.
/// Only headers are read: the scan has just checked the rest.
fn walk_pending(
    log: &Arc<Log>,
    safe: Mark,
    settled: Mark,
    progress: &mut dyn FnMut(u64),
) -> std::io::Result<(u64, FirstRecords)> {
    let mut reader = Reader::new(Arc::clone(log), safe);
    let (mut rows, mut told, mut first_records) = (0, safe.pos.0, FirstRecords::from(safe));
    loop {
        match reader.next_with(Pos(u64::MAX), |_, _| false)? {
            Some(record) => {
                first_records.note(record.table_hash, record.mark, record.end);
                if record.kind == Kind::Rows && record.mark >= settled {
                    rows += u64::from(record.rows);
                }
                if record.end.pos.0 - told > PROGRESS_BYTES {
                    told = record.end.pos.0;
                    progress(told - safe.pos.0);
                }
            }
            None => return Ok((rows, first_records)),
        }
    }
}
