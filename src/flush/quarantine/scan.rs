//! Reading a quarantine file, past damage. All reading is at places, so that handles can be shared.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    ops::ControlFlow,
    os::unix::fs::FileExt,
    path::Path,
};

use super::format::{self, Entry, HEADER_BYTES, MAX_ENTRY_BYTES, PREFIX_BYTES, Prefix};
use crate::files::read::open_regular;

/// Places looked at closely behind a damaged entry.
const MAX_TRIES: usize = 4_096;
/// Bytes read at a time.
const WINDOW_BYTES: usize = 64 << 10;
/// Where the first entry begins.
pub const FIRST_ENTRY_AT: u64 = HEADER_BYTES as u64;

/// An entry where it was found.
#[derive(Debug, Clone, Copy)]
pub struct Located<'a> {
    /// Where in the file it begins.
    pub at: u64,
    /// Its bytes in the file.
    pub bytes: u64,
    /// Whether it has been taken out.
    pub taken_out: bool,
    /// What it says.
    pub entry: Entry<'a>,
}

/// What a scan meets.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// An intact entry.
    Entry(Located<'a>),
    /// A stretch that does not read, with an intact entry behind it.
    Damage {
        /// Where it begins.
        at: u64,
        /// Its length.
        bytes: u64,
    },
}

/// What a file looks like by its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// One whose creation a crash cut short.
    Unborn,
    /// Something that is no quarantine file.
    Foreign,
    /// A quarantine file.
    Entries {
        /// Its number; none in version 1.
        number: Option<u32>,
        /// Its length.
        length: u64,
    },
}

/// Opens a file to read it. What is no file is an error, and found to be so first: opening a pipe waits for one who writes into it.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    let opened = open_regular(path).map(|(file, _)| file);
    opened.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => {
            let message = "it is a directory, a pipe or a device, not a file; move it away";
            io::Error::new(io::ErrorKind::InvalidInput, message)
        }
        _ => error,
    })
}

/// Looks at a file's header. A file of a later version is an error, and is left as it is.
pub fn look(file: &File) -> io::Result<Found> {
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    At { file, at: 0 }.take(FIRST_ENTRY_AT).read_to_end(&mut bytes)?;
    if let Some(version) = format::later_version(&bytes) {
        let message = format!(
            "it is a quarantine of format version {version}, which this forebay does not know; the file was left as it is: run \
             the forebay that wrote it, or move it away to begin a new one"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let header = bytes.first_chunk().and_then(|bytes| format::decode_header(*bytes));
    Ok(match header {
        Some(header) => Found::Entries { number: header.number, length },
        None if length <= FIRST_ENTRY_AT && format::is_unborn(&bytes) => Found::Unborn,
        None => Found::Foreign,
    })
}

/// Calls `each` with what lies in `from..to` of a file, `from` being where an entry begins, until it breaks. Returns where the last
/// intact entry ends.
pub fn scan(file: &File, from: u64, to: u64, each: &mut dyn FnMut(Item<'_>) -> ControlFlow<()>) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(WINDOW_BYTES, At { file, at: from });
    let (mut at, mut end, mut bytes) = (from, from, Vec::new());
    while at < to {
        if let Some((prefix, entry)) = read_entry(&mut reader, &mut bytes)? {
            let located = Located { at, bytes: prefix.entry_bytes(), taken_out: prefix.taken_out, entry };
            at += located.bytes;
            end = at;
            if each(Item::Entry(located)).is_break() {
                break;
            }
            continue;
        }
        let Some(next) = next_entry(file, at, to)? else { break };
        if each(Item::Damage { at, bytes: next - at }).is_break() {
            break;
        }
        reader = BufReader::with_capacity(WINDOW_BYTES, At { file, at: next });
        at = next;
    }
    Ok(end)
}

/// Calls `each` with the entry at a place; none when there is none that reads.
pub fn entry_at<T>(file: &File, at: u64, each: impl FnOnce(Located<'_>) -> T) -> io::Result<Option<T>> {
    let (mut reader, mut bytes) = (At { file, at }, Vec::new());
    let found = read_entry(&mut reader, &mut bytes)?;
    Ok(found
        .map(|(prefix, entry)| each(Located { at, bytes: prefix.entry_bytes(), taken_out: prefix.taken_out, entry })))
}

/// Reads a file at places; the handle's own place is left alone.
struct At<'f> {
    file: &'f File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The entry at the reader's place; none when it is damaged or cut short.
fn read_entry<'b>(reader: &mut impl Read, bytes: &'b mut Vec<u8>) -> io::Result<Option<(Prefix, Entry<'b>)>> {
    let mut prefix = [0; PREFIX_BYTES];
    if !filled(reader, &mut prefix)? {
        return Ok(None);
    }
    let Some(prefix) = Prefix::decode(prefix) else { return Ok(None) };
    bytes.resize(prefix.len, 0);
    if !filled(reader, bytes)? {
        return Ok(None);
    }
    Ok(format::decode(bytes, prefix.crc).map(|entry| (prefix, entry)))
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
fn next_entry(file: &File, at: u64, to: u64) -> io::Result<Option<u64>> {
    let reach = 2 * (PREFIX_BYTES + MAX_ENTRY_BYTES) as u64;
    let mut window = vec![0; (to - at).min(reach) as usize];
    if !filled(&mut At { file, at }, &mut window)? {
        return Ok(None);
    }
    let entry_at = |place: usize| -> Option<Option<usize>> {
        let (prefix, rest) = window.get(place..)?.split_first_chunk()?;
        let prefix = Prefix::decode(*prefix)?;
        let body = rest.get(..prefix.len)?;
        Some(format::decode(body, prefix.crc).map(|_| place))
    };
    // Where only what the checksum covers is damaged, the length tells; so nothing inside the entry is taken for another.
    let by_length = window.split_first_chunk().and_then(|(prefix, _)| Prefix::decode(*prefix));
    let places = by_length.map(|p| PREFIX_BYTES + p.len).into_iter().chain(1..=PREFIX_BYTES + MAX_ENTRY_BYTES);
    Ok(places.filter_map(entry_at).take(MAX_TRIES).flatten().next().map(|place| at + place as u64))
}
