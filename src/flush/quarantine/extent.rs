//! How large a quarantine is whose files are there already: their space is set aside in full, so
//! the disk tells.

use std::{io, os::unix::fs::MetadataExt, path::Path};

use super::{
    old_path,
    scan::{self, Found},
};

/// Unit of `st_blocks`, in bytes (stat(2)).
const BLOCK_BYTES: u64 = 512;
/// Halves are multiples of this: what a file system takes for its own books besides is less.
const GRAIN_BYTES: u64 = 512 << 10;
/// A file with less than this behind its end may have no space set aside at all.
const SLACK_BYTES: u64 = 64 << 10;

/// Size of the files that are there, both halves together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// There are none.
    None,
    /// So much space is set aside for them, in bytes.
    Reserved(u64),
    /// They have so many bytes. Nothing is set aside behind their ends, or both are full.
    AtLeast(u64),
}

/// Looks at the files of the quarantine at `path`. What is no quarantine file will be moved aside,
/// and does not count.
pub fn extent(path: &Path) -> io::Result<Extent> {
    let (mut half, mut is_reserved) = (None, false);
    for path in [old_path(path), path.to_owned()] {
        let file = match scan::open_to_read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let Found::Entries { length, .. } = scan::look(&file)? else { continue };
        let on_disk = file.metadata()?.blocks() * BLOCK_BYTES;
        let own = match on_disk.checked_sub(length + SLACK_BYTES) {
            Some(_) => {
                is_reserved = true;
                on_disk / GRAIN_BYTES * GRAIN_BYTES
            }
            None => length.next_multiple_of(GRAIN_BYTES),
        };
        half = half.max(Some(own));
    }
    Ok(match half {
        None => Extent::None,
        Some(half) if is_reserved && half >= GRAIN_BYTES => Extent::Reserved(2 * half),
        Some(half) => Extent::AtLeast(2 * half.max(GRAIN_BYTES)),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        flush::quarantine::{Quarantine, format},
        settings::{self, Bytes},
    };

    #[test]
    fn a_quarantine_s_size_is_told_by_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("quarantine");
        assert_eq!(extent(&path).unwrap(), Extent::None);
        for mib in [1, 3, 4, 16] {
            let settings = settings::Quarantine { path: path.clone(), size: Bytes::mib(mib) };
            drop(Quarantine::open(&settings).unwrap());
            assert_eq!(extent(&path).unwrap(), Extent::Reserved(mib << 20));
            drop(Quarantine::open(&settings).unwrap());
            assert_eq!(extent(&path).unwrap(), Extent::Reserved(mib << 20), "opened again");
        }
    }

    #[test]
    fn without_space_set_aside_the_files_count_as_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("quarantine");
        let file = |bytes: usize| [&format::encode_header(1)[..], &vec![1; bytes]].concat();
        fs::write(&path, file(600 << 10)).unwrap();
        assert_eq!(extent(&path).unwrap(), Extent::AtLeast(2 << 20));
        fs::write(&path, file(0)).unwrap();
        assert_eq!(extent(&path).unwrap(), Extent::AtLeast(1 << 20));
        fs::write(&path, "something else, which is moved aside").unwrap();
        assert_eq!(extent(&path).unwrap(), Extent::None);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(extent(&path).is_err());
    }
}
