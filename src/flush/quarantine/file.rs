//! One quarantine file: reading it past damage, and appending at a known place.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Seek},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};

use super::format::{self, Entry, HEADER, MAX_ENTRY_BYTES, PREFIX_BYTES};

/// Unwritten bytes are written out beyond this.
const BUFFER_BYTES: usize = 64 << 10;
/// Files and ends of files that are kept for being damaged.
const MAX_DAMAGED: usize = 16;
/// Places looked at closely behind a damaged entry.
const MAX_TRIES: usize = 4_096;

/// `path` with more at the end of its name.
pub fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

/// Makes creations and renames in a file's directory durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// The file being written. What could not be written is kept, and written to the same place the next time.
#[derive(Debug)]
pub struct Appender {
    file: File,
    /// Where the next bytes go.
    end: u64,
    unwritten: Vec<u8>,
    unsynced: bool,
    /// Bytes of the disk it has for itself.
    reserved: u64,
}

impl Appender {
    /// An empty file, with whatever was there gone.
    pub fn create(path: &Path, reserve: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        file.write_all_at(&HEADER, 0)?;
        Self::new(file, HEADER.len() as u64, reserve, path)
    }

    /// Goes on at `end` of an existing file; what follows is cut off.
    pub fn resume(path: &Path, end: u64, reserve: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        if file.metadata()?.len() != end {
            file.set_len(end)?;
        }
        Self::new(file, end, reserve, path)
    }

    fn new(file: File, end: u64, reserve: u64, path: &Path) -> io::Result<Self> {
        reserve_space(&file, reserve, path);
        file.sync_all()?;
        Ok(Self { file, end, unwritten: Vec::new(), unsynced: false, reserved: reserve })
    }

    /// Length of the file once everything is written.
    pub fn len(&self) -> u64 {
        self.end + self.unwritten.len() as u64
    }

    /// Appends an entry, durable after the next [`Self::sync`]; on an error it is not taken.
    pub fn push(&mut self, entry: &[u8]) -> io::Result<()> {
        let before = self.unwritten.len();
        self.unwritten.extend_from_slice(entry);
        if self.unwritten.len() > BUFFER_BYTES
            && let Err(error) = self.write_out()
        {
            self.unwritten.truncate(before);
            return Err(error);
        }
        self.unsynced = true;
        Ok(())
    }

    /// Writes what is pushed; on an error all of it stays to be written.
    pub fn write_out(&mut self) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all_at(&self.unwritten, self.end) {
            // A part may be there. It is written over the next time; should that never come, nothing of it is taken for an entry.
            let _ = self.file.set_len(self.end);
            let _ = fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, self.reserved);
            return Err(error);
        }
        self.end += self.unwritten.len() as u64;
        self.unwritten.clear();
        self.unwritten.shrink_to(BUFFER_BYTES);
        Ok(())
    }

    /// Makes everything pushed durable.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.unsynced {
            self.write_out()?;
            self.file.sync_data()?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Has writing go to another file, such as one that refuses; returns the one before.
    #[cfg(test)]
    pub fn replace_file(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }
}

/// Sets space aside without changing the file's length, so that a disk that fills up later does not stop the quarantine.
fn reserve_space(file: &File, bytes: u64, path: &Path) {
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        Err(error) => {
            tracing::error!(path = %path.display(), bytes, "cannot set space aside for the quarantine: {error}; free some space");
        }
    }
}

/// What a file looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// There is none, or one whose creation a crash cut short.
    Nothing,
    /// Something that is no quarantine file.
    Foreign,
    /// A quarantine file.
    Entries {
        /// Where its last intact entry ends.
        end: u64,
        /// Its length.
        length: u64,
    },
}

/// Calls `each` with every intact entry of a file and its length in bytes. A damaged one is passed over where the next
/// can be found.
pub fn scan(path: &Path, each: &mut dyn FnMut(&Entry<'_>, u64)) -> io::Result<Found> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    let length = metadata.len();
    let mut reader = BufReader::new(&file);
    let mut header = Vec::new();
    reader.by_ref().take(HEADER.len() as u64).read_to_end(&mut header)?;
    if header != HEADER {
        let unborn = length <= HEADER.len() as u64 && (HEADER.starts_with(&header) || header.iter().all(|b| *b == 0));
        return Ok(if unborn { Found::Nothing } else { Found::Foreign });
    }
    let (mut at, mut end, mut bytes) = (HEADER.len() as u64, HEADER.len() as u64, Vec::new());
    while at < length {
        if let Some((entry, size)) = read_entry(&mut reader, &mut bytes)? {
            each(&entry, size);
            at += size;
            end = at;
            continue;
        }
        let Some(next) = next_entry(&file, at, length)? else { break };
        tracing::error!(path = %path.display(), at, bytes = next - at, "a damaged stretch in the quarantine is passed over");
        reader.seek(io::SeekFrom::Start(next))?;
        at = next;
    }
    Ok(Found::Entries { end, length })
}

/// The entry at the reader's place and its size; none when it is damaged or cut short.
fn read_entry<'b>(reader: &mut impl Read, bytes: &'b mut Vec<u8>) -> io::Result<Option<(Entry<'b>, u64)>> {
    let mut prefix = [0; PREFIX_BYTES];
    if !filled(reader, &mut prefix)? {
        return Ok(None);
    }
    let Some((len, crc)) = format::decode_prefix(prefix) else { return Ok(None) };
    bytes.resize(len, 0);
    if !filled(reader, bytes)? {
        return Ok(None);
    }
    Ok(format::decode(bytes, crc).map(|entry| (entry, (PREFIX_BYTES + len) as u64)))
}

/// Reads a buffer full; false at the file's end.
fn filled(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Where the next intact entry begins behind a damaged one at `at`, looked for as far as an entry can reach.
fn next_entry(file: &File, at: u64, length: u64) -> io::Result<Option<u64>> {
    let reach = 2 * (PREFIX_BYTES + MAX_ENTRY_BYTES) as u64;
    let mut window = vec![0; (length - at).min(reach) as usize];
    file.read_exact_at(&mut window, at)?;
    let entry_at = |place: usize| -> Option<Option<usize>> {
        let (prefix, rest) = window.get(place..)?.split_first_chunk()?;
        let (len, crc) = format::decode_prefix(*prefix)?;
        let body = rest.get(..len)?;
        Some(format::decode(body, crc).map(|_| place))
    };
    // Where only what the checksum covers is damaged, the length tells; so nothing inside the entry is taken for another.
    let by_length = window.split_first_chunk().and_then(|(prefix, _)| format::decode_prefix(*prefix));
    let places = by_length.map(|(len, _)| PREFIX_BYTES + len).into_iter().chain(1..=PREFIX_BYTES + MAX_ENTRY_BYTES);
    Ok(places.filter_map(entry_at).take(MAX_TRIES).flatten().next().map(|place| at + place as u64))
}

/// Moves a file that is none of the quarantine's out of the way; it is never written to.
pub fn move_aside(path: &Path) -> io::Result<()> {
    let free = (1..=MAX_DAMAGED).map(|n| beside(path, &format!(".damaged-{n}"))).find(|to| !to.exists());
    let Some(to) = free else {
        return Err(io::Error::other(format!(
            "it is no quarantine file, and {MAX_DAMAGED} files of its name that end in .damaged-N are kept already; remove some"
        )));
    };
    fs::rename(path, &to)?;
    sync_directory(path)?;
    tracing::error!(path = %path.display(), moved_to = %to.display(), "this is no quarantine file, or one whose start is damaged: it was moved");
    Ok(())
}

/// Copies a damaged end, before it is cut off, into a file of its own.
pub fn copy_aside(path: &Path, from: u64) -> io::Result<()> {
    let free = (1..=MAX_DAMAGED).map(|n| beside(path, &format!(".damaged-{n}"))).find(|to| !to.exists());
    let Some(to) = free else {
        tracing::error!(path = %path.display(), at = from, "the damaged end of a quarantine file is cut off; no copy is kept, there are {MAX_DAMAGED}");
        return Ok(());
    };
    let mut source = File::open(path)?;
    source.seek(io::SeekFrom::Start(from))?;
    let copied = OpenOptions::new().write(true).create_new(true).open(&to).and_then(|mut out| {
        io::copy(&mut source, &mut out)?;
        out.sync_all()
    });
    let outcome = if copied.is_ok() { "kept" } else { "not kept: it cannot be written" };
    tracing::error!(path = %path.display(), at = from, copy = %to.display(), "the damaged end of a quarantine file is cut off; the copy is {outcome}");
    Ok(())
}
