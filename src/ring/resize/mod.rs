//! A ring of another size: what is pending, as much history as fits, the state and the books are
//! copied into a new file, which takes the old one's name once it is whole.
//!
//! `keep` decides from which record on (pure but for the reading), `copy` writes the new log. The
//! ring's id and the numbers of records stay; positions begin behind those of the old file.

mod copy;
mod keep;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Ring,
    layout::{DATA_START, Geometry},
    log::Log,
    losses::Gap,
    mmap::{FileError, MmapMedia, hint},
    open::{OpenError, Present, RecoveryReport, Resumed, open_existing, recover_log},
    state::StateFull,
};
use crate::{
    clock::SharedClock,
    marks::{Mark, Seq},
    settings::Bytes,
};

/// Why a ring cannot have another size. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ResizeError {
    /// The ring cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is none.
    #[error("{0} does not exist: the first start makes the ring, with the size that [ring] size says")]
    NoRing(PathBuf),
    /// Nothing is left of one.
    #[error("{0} is no ring, or nothing is left of it that names its id; it stays as it is")]
    NotARing(PathBuf),
    /// What has to be kept does not fit.
    #[error(
        "a ring of {size} is too small: {kept} wait for QuestDB, may have to be sent again or are held back. Let it drain, or choose \
         {least} or more"
    )]
    TooSmall {
        /// Wanted.
        size: Bytes,
        /// What has to be kept.
        kept: Bytes,
        /// A size that is enough.
        least: Bytes,
    },
    /// A record that has to be kept is larger than a record may be.
    #[error(
        "a ring of {size} is too small: record {seq}, which waits for QuestDB, has {bytes}, and one may have an eighth of the ring. Let it \
         drain, or choose {least} or more"
    )]
    LargeRecord {
        /// Wanted.
        size: Bytes,
        /// Which record.
        seq: Seq,
        /// Its size.
        bytes: Bytes,
        /// A size that is enough.
        least: Bytes,
    },
    /// The state does not fit.
    #[error(transparent)]
    State(#[from] StateFull),
    /// The new file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The new ring does not hold what it should, or the old one cannot be read.
    #[error("cannot copy {path}: {source}; it stays as it is{}", hint(source))]
    Copy {
        /// The ring.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// What has been done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resized {
    /// Size of the file before.
    pub from_bytes: u64,
    /// Its size now.
    pub to_bytes: u64,
    /// Records in it.
    pub records: u64,
    /// Records of the history that are no longer in it.
    pub given_up: u64,
    /// Rows that wait for QuestDB.
    pub pending_rows: u64,
    /// Damaged stretches that are still between its records.
    pub gaps: Vec<Gap>,
}

/// How far it has come: bytes of the old log copied, and how many there are; none where that is not
/// what is being done.
pub type Copied = Option<(u64, u64)>;

/// Is told how far it has come, again and again; an error ends it, and the ring stays as it is.
pub type Progress<'a> = &'a mut dyn FnMut(Copied) -> io::Result<()>;

impl Ring {
    /// Whether a ring of so many bytes would be as large.
    pub fn has_size(&self, bytes: u64) -> bool {
        Geometry::of_file(bytes) == Some(self.shared.log.geometry())
    }

    /// Whether the ring could have another size as it is now.
    pub fn can_have_size(&self, bytes: u64) -> Result<(), ResizeError> {
        let geometry = Geometry::of_file(bytes).ok_or(OpenError::Size(bytes))?;
        keep::needed(&self.shared.log, geometry).map(drop)
    }
}

/// Gives the ring at `path` another size. No daemon may be running on it: the file's lock is taken.
pub fn resize(path: &Path, bytes: u64, clock: &SharedClock, progress: Progress<'_>) -> Result<Resized, ResizeError> {
    let geometry = Geometry::of_file(bytes).ok_or(OpenError::Size(bytes))?;
    let mut report = RecoveryReport::default();
    let (real, media) = match open_existing(path, &mut report)? {
        Present::Ring { path, media, .. } => (path, media),
        Present::None { damaged: None } => return Err(ResizeError::NoRing(path.to_owned())),
        Present::None { damaged: Some(path) } => return Err(ResizeError::NotARing(path)),
    };
    MmapMedia::remove_leftover(&real);
    let media = Arc::new(media);
    let failed = |source| ResizeError::Copy { path: path.to_owned(), source };
    let mut recovering = |_| drop(progress(None));
    let recovered = recover_log(Box::new(Arc::clone(&media)), clock, &mut report, &mut |_| {}, &mut recovering);
    let Resumed { log, .. } = recovered.map_err(failed)?;
    let from_bytes = DATA_START + log.geometry().capacity;
    let done = |log: &Log, before: Mark, gaps| Resized {
        from_bytes,
        to_bytes: DATA_START + log.geometry().capacity,
        records: report.records.saturating_sub(log.tail().seq.0.saturating_sub(before.seq.0)),
        given_up: log.tail().seq.0.saturating_sub(before.seq.0),
        pending_rows: report.pending_rows,
        gaps,
    };
    let before = log.tail();
    if geometry == log.geometry() {
        log.write_header(|header| header.clean = true).map_err(failed)?;
        return Ok(done(&log, before, report.gaps.clone()));
    }
    let renamed = copy_beside(&log, &media, &real, bytes, clock, progress).and_then(|(new, file)| {
        file.take_name(&real).inspect_err(|_| file.remove_beside(&real))?;
        Ok(new)
    });
    let new = match renamed {
        Ok(new) => new,
        Err(why) => {
            // What was closed in order still is.
            log.write_header(|header| header.clean = true).map_err(failed)?;
            return Err(why);
        }
    };
    // Should that fail: no start goes on before it has done it.
    MmapMedia::sync_name(&real)?;
    Ok(done(&new, before, report.gaps.clone()))
}

/// A whole copy in a file beside the ring.
fn copy_beside(
    log: &Arc<Log>,
    old: &MmapMedia,
    path: &Path,
    bytes: u64,
    clock: &SharedClock,
    progress: Progress<'_>,
) -> Result<(Arc<Log>, Arc<MmapMedia>), ResizeError> {
    let geometry = Geometry::of_file(bytes).ok_or(OpenError::Size(bytes))?;
    let failed = |source| ResizeError::Copy { path: path.to_owned(), source };
    let kept = keep::choose(log, geometry, progress).map_err(failed)??;
    let new = Arc::new(MmapMedia::beside(path, bytes, old, &mut |_| progress(None))?);
    let copied = copy::copy(log, kept, Box::new(Arc::clone(&new)), clock, progress)
        .and_then(|copied| copy::check(&copied, &*new, progress).map(|()| copied));
    copied.map(|copied| (copied, Arc::clone(&new))).map_err(|why| {
        new.remove_beside(path);
        failed(why)
    })
}
