//! The ring file on disk: created whole, locked, memory-mapped for writing. The only file with `unsafe`.
#![allow(unsafe_code)]

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Write},
    ops::Range,
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::fs::{Mode, OFlags};

use super::{media::Media, stretches::Stretches};
use crate::{
    files::{
        place::{self, Displaced},
        put_back::put_back,
        read::other_than_file,
    },
    settings::Bytes,
};

/// Bytes written at a time when a file is filled with zeros. Larger writes make the kernel keep the file in large folios,
/// and then each commit of 100 bytes writes up to a megabyte.
const ZERO_CHUNK_BYTES: usize = 4096;
/// Unit in which a file system addresses a file and reads past the cache. It is not the machine's page, which may be larger: nothing
/// in the file depends on that, and msync's addresses are rounded by the system's own answer.
const PAGE_BYTES: u64 = 4096;

/// Largest file that is mapped: a program of 32 bits has addresses for 3 or 4 GiB in all.
pub const MAX_MAPPED: u64 = if cfg!(target_pointer_width = "32") { 1 << 30 } else { 1 << 62 };

/// A file mapped into memory for stores; loads go through `pread`, so no reference into the mapping ever exists.
pub struct MmapMedia {
    file: File,
    map: MmapRaw,
    len: u64,
    /// What it is called in the configuration, links and all.
    path: PathBuf,
    /// Stores that overlap in place never do in time.
    storing: Stretches,
}

impl MmapMedia {
    /// Opens and locks an existing file.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let file = open_locked(path, OpenOptions::new().read(true).write(true))?;
        let len = file.metadata().map_err(|e| FileError::io("read the size of", path, e))?.len();
        Self::map(file, len, path)
    }

    /// Creates a file of `bytes` zeros, all of it allocated on disk, and puts it in place at `path`; none when another process
    /// was faster.
    ///
    /// The file is made under a name of its own, which is locked from the start: of two daemons that find no ring, one makes it.
    /// `progress` is told how many bytes are written.
    pub fn create(path: &Path, bytes: u64, progress: &mut dyn FnMut(u64)) -> Result<Option<Self>, FileError> {
        let temporary = new_name(path);
        let mut file = open_new(&temporary, false)?;
        let mut put_in_place = |file: &mut File| {
            fill(file, bytes, &mut |written| {
                progress(written);
                Ok(())
            })?;
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            rustix::fs::renameat_with(rustix::fs::CWD, &temporary, rustix::fs::CWD, path, flags)?;
            sync_directory_of(path)
        };
        match put_in_place(&mut file) {
            Ok(()) => Self::map(file, bytes, path).map(Some),
            Err(error) => {
                let _ = std::fs::remove_file(&temporary);
                let came_second = error.kind() == io::ErrorKind::AlreadyExists;
                if came_second { Ok(None) } else { Err(FileError::io("create", path, error)) }
            }
        }
    }

    /// Creates a file of `bytes` zeros beside the ring at `path`, with the owner and the mode of that
    /// one. It is whole when it has taken the name ([`Self::take_name`]); until then the ring is the
    /// old file.
    pub fn beside(
        path: &Path,
        bytes: u64,
        old: &Self,
        progress: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<Self, FileError> {
        let temporary = new_name(path);
        Self::remove_leftover(path);
        // Root does this in directories of others: a link there leads nowhere.
        let mut file = open_new(&temporary, true)?;
        let made = like(&file, &old.file).and_then(|()| fill(&mut file, bytes, progress));
        let mapped =
            made.map_err(|why| FileError::io("create", &temporary, why)).and_then(|()| Self::map(file, bytes, path));
        mapped.inspect_err(|_| {
            let _ = std::fs::remove_file(&temporary);
        })
    }

    /// Has the file that was made beside the ring at `path` take its name. All of it is synced before;
    /// [`Self::sync_name`] follows.
    pub fn take_name(&self, path: &Path) -> Result<(), FileError> {
        let temporary = new_name(path);
        let taken = self.file.sync_all().and_then(|()| std::fs::rename(&temporary, path));
        taken.map_err(|why| FileError::io("put in place", path, why))
    }

    /// Makes sure that the file with this name still has it after a power cut: nothing may be written
    /// to it before.
    pub fn sync_name(path: &Path) -> Result<(), FileError> {
        sync_directory_of(path).map_err(|why| FileError::io("sync the directory of", path, why))
    }

    /// Removes the file that was made beside the ring at `path`, and has not taken its name.
    pub fn remove_beside(&self, path: &Path) {
        let _ = std::fs::remove_file(new_name(path));
    }

    /// Removes what a creation or a change of size left beside the ring at `path` when it was killed,
    /// unless somebody is at it; says whether there was something.
    pub fn remove_leftover(path: &Path) -> bool {
        let leftover = new_name(path);
        std::fs::symlink_metadata(&leftover).is_ok_and(|found| found.is_file())
            && open_locked(&leftover, OpenOptions::new().read(true).write(true)).is_ok()
            && std::fs::remove_file(&leftover).is_ok()
    }

    /// Opens an existing file that was cut short, giving it its length back.
    pub fn lengthen(path: &Path, bytes: u64) -> Result<Self, FileError> {
        let file = open_locked(path, OpenOptions::new().read(true).write(true))?;
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            Ok(()) => {}
            Err(error) => return Err(FileError::io("lengthen", path, error.into())),
        }
        Self::map(file, bytes, path)
    }

    /// The same under the name that the next start opens it by, where that is a link.
    #[must_use]
    pub fn called(self, path: &Path) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    fn map(file: File, len: u64, path: &Path) -> Result<Self, FileError> {
        if len > MAX_MAPPED {
            return Err(FileError::TooLarge(path.to_owned(), Bytes(len), Bytes(MAX_MAPPED)));
        }
        let map = MmapOptions::new().map_raw(&file).map_err(|e| FileError::io("map", path, e))?;
        // Readahead around faulting stores would only read what is about to be overwritten.
        map.advise(Advice::Random).map_err(|e| FileError::io("advise on", path, e))?;
        // Nor through reads: what readahead brings in comes in large folios, and the kernel writes a folio back whole. A ring that
        // recovery has read with a cold cache would write up to a megabyte a commit for a lap.
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random)
            .map_err(|e| FileError::io("advise on", path, e.into()))?;
        Ok(Self { file, map, len, path: path.to_owned(), storing: Stretches::default() })
    }
}

/// What a ring is called before it is whole.
fn new_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".new");
    PathBuf::from(name)
}

/// Makes that file, or opens the one that is there; none that is there, where it has to be `own`.
fn open_new(temporary: &Path, own: bool) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).create_new(own).truncate(false).mode(0o640);
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    open_locked(temporary, &options)
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

/// Gives a file the owner and the mode of another one: who may open that one can open this one.
fn like(file: &File, other: &File) -> io::Result<()> {
    let (own, wanted) = (file.metadata()?, other.metadata()?);
    if (own.uid(), own.gid()) != (wanted.uid(), wanted.gid()) {
        std::os::unix::fs::fchown(file, Some(wanted.uid()), Some(wanted.gid()))?;
    }
    file.set_permissions(wanted.permissions())
}

fn fill(file: &mut File, bytes: u64, progress: &mut dyn FnMut(u64) -> io::Result<()>) -> io::Result<()> {
    file.set_len(0)?;
    // A sparse file would answer a full disk with SIGBUS at a store; allocation answers with ENOSPC here.
    match rustix::fs::fallocate(&*file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
        Err(error) => return Err(error.into()),
    }
    let zeros = [0; ZERO_CHUNK_BYTES];
    let mut written = 0;
    while written < bytes {
        let chunk = (bytes - written).min(ZERO_CHUNK_BYTES as u64);
        file.write_all(&zeros[..chunk as usize])?;
        written += chunk;
        // So that a sign of progress is one, and the last sync no long wait.
        if written.is_multiple_of(16 << 20) {
            file.sync_data()?;
            progress(written)?;
        }
    }
    file.sync_all()
}

/// Opens the file and takes its lock, making sure that the locked file is the one the path names.
fn open_locked(path: &Path, options: &OpenOptions) -> Result<File, FileError> {
    // Opening a pipe or a device may have effects of its own.
    if let Some(kind) = std::fs::metadata(path).ok().and_then(|found| other_than_file(&found)) {
        return Err(FileError::NotAFile(path.to_owned(), kind));
    }
    loop {
        let file = options.open(path).map_err(|e| FileError::io("open", path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FileError::Locked(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(FileError::io("lock", path, error)),
        }
        let ours = file.metadata().map_err(|e| FileError::io("inspect", path, e))?;
        match std::fs::metadata(path) {
            Ok(named) if (ours.dev(), ours.ino()) == (named.dev(), named.ino()) => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(FileError::io("inspect", path, error)),
        }
    }
}

/// Why the ring file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Another process holds it.
    #[error(
        "{0} is locked: another forebay is running on it; stop that one, or give this one a [ring] path of its own"
    )]
    Locked(PathBuf),
    /// Something else has its name.
    #[error("{0} is {1}, not a ring file; move it away, or set [ring] path to the name of a file")]
    NotAFile(PathBuf, &'static str),
    /// A link that leads nowhere.
    #[error("{0} is a link to a file that does not exist; mount the disk it leads to, or remove the link")]
    DeadLink(PathBuf),
    /// It has more bytes than the program has addresses for.
    #[error(
        "{0} has {1}, and a program of {bits} bits has addresses for {2} of a ring: run the program for 64 bits, or give the ring another \
         size there (forebay ring resize)",
        bits = usize::BITS
    )]
    TooLarge(PathBuf, Bytes, Bytes),
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}{}", hint(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What to do about it, where that can be told.
pub(super) fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "; free some space, or lower [ring] size",
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "; create its directory, or set [ring] path",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; let the daemon's user write there, or set [ring] path"
        }
        // EIO, which has no kind of its own.
        _ if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
            "; the disk fails: `dmesg` says more; mend or replace it, or set [ring] path to another one"
        }
        _ => "",
    }
}

impl FileError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

impl Media for MmapMedia {
    fn len(&self) -> u64 {
        self.len
    }

    fn load(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }

    fn store(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(end) = at.checked_add(bytes.len() as u64).filter(|end| *end <= self.len) else {
            let message = format!("offset {at} + {} is outside the ring of {} bytes", bytes.len(), self.len);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        };
        let _turn = self.storing.turn(at..end);
        // SAFETY: `at..end` lies inside the mapping (checked above; the file is locked and never
        // shrunk by us, and the mapping lives as long as `self`). `bytes` cannot overlap the
        // mapping: no reference into it is ever made. No other store runs meanwhile that overlaps
        // (`storing`), and reads go through the kernel, not through the mapping.
        unsafe {
            let to = self.map.as_mut_ptr().add(at as usize);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
        Ok(())
    }

    fn sync(&self, range: Range<u64>) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        // msync(2) asks for an address at the start of one of the machine's pages, whatever their size; `flush_range` sees to that.
        self.map.flush_range(range.start as usize, (range.end - range.start) as usize)
    }

    /// By `O_DIRECT` (open(2)), which reads the device, after writing out what is dirty in the range. Some file systems know no such reads.
    fn load_from_disk(&self, at: u64, into: &mut [u8]) -> io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
        let name = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let Ok(direct) = rustix::fs::open(name, flags, Mode::empty()) else { return Ok(false) };
        let direct = File::from(direct);
        let start = at / PAGE_BYTES * PAGE_BYTES;
        let end = (at + into.len() as u64).next_multiple_of(PAGE_BYTES);
        // Such a read asks for aligned memory.
        let mut memory = vec![0; (end - start + PAGE_BYTES) as usize];
        let aligned = memory.as_ptr().align_offset(PAGE_BYTES as usize);
        let Some(memory) = memory.get_mut(aligned..aligned + (end - start) as usize) else { return Ok(false) };
        let mut filled = 0;
        while start + (filled as u64) < at + into.len() as u64 {
            match direct.read_at(&mut memory[filled..], start + filled as u64) {
                Ok(0) => return Ok(false),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        into.copy_from_slice(&memory[(at - start) as usize..][..into.len()]);
        Ok(true)
    }

    fn look_at_place(&self) -> Result<(), Displaced> {
        place::look(&self.file, &self.path)
    }

    fn put_back(&self, progress: &mut dyn FnMut(u64)) -> io::Result<()> {
        put_back(&self.file, self.len, &self.path, progress).map(drop)
    }
}
