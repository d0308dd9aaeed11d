//! Seeing into a ring file without being its owner: what it holds, whether it is intact, and what can be had out of a damaged one.
//!
//! Nothing here locks, maps or writes the file. `file` is the medium, `window` finds records, `walk` follows the log from tail to
//! head, `salvage` looks for records everywhere; `info` and `verify` are the documents.

mod accounts;
mod file;
mod headers;
mod info;
mod salvage;
mod states;
#[cfg(test)]
mod tests;
mod verify;
mod walk;
mod window;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use self::{
    file::FileMedia,
    headers::{Slot, SlotState, slots},
    info::{MarkView, RingInfo, StateCount, TableRows, live_info},
    salvage::Salvage,
    verify::{StretchView, VerifyReport},
    walk::{Seen, Stretch, Walk},
};
use super::headers::FoundHeader;
use super::layout::{DATA_START, FORMAT_VERSION, Geometry, Header, SlotError};
use crate::files::access::{self, Wish};

/// Why a file cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}{}", hint(path, source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Neither header slot can be read.
    #[error(
        "{path} is no ring, or nothing is left of it that names its id: neither header slot and no commit is intact; \
         a daemon that finds it moves it aside and begins a new one"
    )]
    NoHeader {
        /// The file.
        path: PathBuf,
    },
    /// It is of another format version.
    #[error(
        "{path} is of format version {version}; this forebay reads versions up to {FORMAT_VERSION}: use the forebay that wrote it to look \
         into it or to let it drain (this one's daemon does not start on it, and leaves it as it is)"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

fn hint(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "; name the ring file with --file, or the configuration with --config".into(),
        io::ErrorKind::PermissionDenied => format!("; {}", access::advice(path, Wish::Read)),
        _ => String::new(),
    }
}

/// A ring file open for reading.
#[derive(Debug)]
pub struct RingFile {
    path: PathBuf,
    media: FileMedia,
    found: FoundHeader,
}

impl RingFile {
    /// Opens a file and finds its header.
    pub fn open(path: &Path) -> Result<Self, InspectError> {
        let failed = |source| InspectError::Io { path: path.to_owned(), source };
        let media = FileMedia::open(path).map_err(failed)?;
        match headers::find(&media).map_err(failed)? {
            Ok(found) => Ok(Self { path: path.to_owned(), media, found }),
            Err(SlotError::Damaged) => Err(InspectError::NoHeader { path: path.to_owned() }),
            Err(SlotError::Version(version)) => Err(InspectError::Version { path: path.to_owned(), version }),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is read through.
    pub fn media(&self) -> &FileMedia {
        &self.media
    }

    /// The header when it was opened.
    pub fn header(&self) -> &Header {
        &self.found.header
    }

    /// Whether a ring of so many bytes would be as large.
    pub fn has_size(&self, bytes: u64) -> bool {
        Geometry::of_file(bytes).is_some_and(|geometry| geometry.capacity == self.found.header.capacity)
    }

    /// Bytes the header says the file has.
    pub fn expected_bytes(&self) -> u64 {
        DATA_START + self.found.header.capacity
    }

    /// A walk from the tail to the head.
    pub fn walk(&self) -> Walk<'_> {
        Walk::new(&self.media, &self.found.header)
    }

    /// Says which file an error comes from.
    pub fn failed(&self, source: io::Error) -> InspectError {
        InspectError::Io { path: self.path.clone(), source }
    }
}
