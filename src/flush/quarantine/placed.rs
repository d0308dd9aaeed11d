//! Whether the files are still where the next start looks for them.

use std::{io, path::Path};

use super::{Inner, Quarantine, file::sync_directory, old_path};
use crate::files::{
    place::{self, Displaced},
    put_back::put_back,
};

impl Inner {
    pub(super) fn refuse_when_displaced(&self) -> io::Result<()> {
        self.displaced.as_ref().map_or(Ok(()), |reason| Err(io::Error::other(reason.clone())))
    }
}

impl Quarantine {
    /// Looks whether the files are where the next start looks for them. One that was removed is put back; where that cannot be done,
    /// nothing is taken in or out until it has come back. Returns why.
    pub fn look_at_place(&self) -> Option<String> {
        let mut inner = self.lock();
        let old = old_path(&self.path);
        // While a change of files has gone half way, the next entry finishes it.
        let looked = if inner.old_file.is_none() {
            Ok(())
        } else {
            inner.keep_in_place(&self.path).and_then(|()| inner.keep_old_in_place(&old))
        };
        inner.displaced = looked.err();
        inner.displaced.clone()
    }
}

impl Inner {
    fn keep_in_place(&mut self, path: &Path) -> Result<(), String> {
        let Err(displaced) = self.file.look_at_place(path) else { return Ok(()) };
        self.file
            .write_out()
            .map_err(|why| why.to_string())
            .and_then(|()| restore(&displaced, path, || self.file.put_back(path)))
    }

    fn keep_old_in_place(&mut self, path: &Path) -> Result<(), String> {
        let Some((_, file)) = &mut self.old_file else { return Ok(()) };
        let Err(displaced) = place::look(file, path) else { return Ok(()) };
        restore(&displaced, path, || {
            let bytes = file.metadata()?.len();
            *file = put_back(file, bytes, path, &mut |_| {})?;
            Ok(())
        })
    }
}

/// Has a file put back whose name is free; else, and where that fails, says what is wrong.
fn restore(displaced: &Displaced, path: &Path, put_back: impl FnOnce() -> io::Result<()>) -> Result<(), String> {
    if !matches!(displaced, Displaced::Gone(_)) {
        return Err(displaced.to_string());
    }
    put_back()
        .and_then(|()| sync_directory(path))
        .map_err(|why| format!("{displaced}; it cannot be put back: {why}"))?;
    tracing::error!(
        path = %path.display(),
        "the quarantine's file had been removed or renamed while in use; what is in it was written to its place again (to empty it: forebay quarantine drop --all)"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        super::{Entry, Key},
        *,
    };
    use crate::{
        marks::Seq,
        point::Timestamp,
        settings::{self, Bytes},
    };

    fn push(quarantine: &Quarantine, seq: u64) -> io::Result<()> {
        let key = Key { ring_id: 9, seq: Seq(seq), row: 0 };
        let entry = Entry {
            key,
            time: Timestamp(0),
            received: Timestamp(3),
            reason: "bad",
            origin: "t",
            body: b"x",
            row_time: None,
        };
        quarantine.add(&[entry])
    }

    fn open(directory: &Path) -> io::Result<(Quarantine, Vec<u64>)> {
        let settings = settings::Quarantine { path: directory.join("q"), size: Bytes::kib(256) };
        let (quarantine, held) = Quarantine::open(&settings)?;
        Ok((quarantine, held.iter().map(|held| held.key.seq.0).collect()))
    }

    #[test]
    fn two_daemons_never_have_one_quarantine() {
        let directory = tempfile::tempdir().unwrap();
        let (first, _) = open(directory.path()).unwrap();
        push(&first, 1).unwrap();
        let error = open(directory.path()).unwrap_err();
        assert!(error.to_string().contains("another forebay is running on it"), "{error}");
        // Through a change of files, too.
        let path = directory.path().join("q");
        let number = first.lock().number;
        while first.lock().number == number {
            push(&first, 2).unwrap();
        }
        assert!(open(directory.path()).is_err());
        let present = fs::metadata(&path).unwrap().len();
        drop(first);
        let (_second, held) = open(directory.path()).unwrap();
        assert_eq!((held[0], fs::metadata(&path).unwrap().len()), (1, present));
    }

    #[test]
    fn removed_files_are_put_back_with_what_is_in_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("q");
        let (quarantine, _) = open(directory.path()).unwrap();
        push(&quarantine, 1).unwrap();
        assert_eq!(quarantine.look_at_place(), None);
        fs::remove_file(&path).unwrap();
        fs::remove_file(old_path(&path)).unwrap();
        assert_eq!(quarantine.look_at_place(), None);
        push(&quarantine, 2).unwrap();
        assert!(open(directory.path()).is_err(), "it is locked as before");
        drop(quarantine);
        assert_eq!(open(directory.path()).unwrap().1, [1, 2]);
    }

    #[test]
    fn nothing_is_taken_in_while_another_file_has_the_place() {
        let directory = tempfile::tempdir().unwrap();
        let (path, aside) = (directory.path().join("q"), directory.path().join("aside"));
        let (quarantine, _) = open(directory.path()).unwrap();
        push(&quarantine, 1).unwrap();
        fs::rename(&path, &aside).unwrap();
        fs::write(&path, "something else").unwrap();
        assert!(quarantine.look_at_place().unwrap().contains("another file has taken the place"));
        assert!(push(&quarantine, 2).is_err());
        assert!(quarantine.take_out(&[]).is_err());
        fs::rename(&aside, &path).unwrap();
        assert_eq!(quarantine.look_at_place(), None);
        push(&quarantine, 3).unwrap();
        drop(quarantine);
        assert_eq!(open(directory.path()).unwrap().1, [1, 3]);
    }

    #[test]
    fn a_directory_that_is_gone_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let (home, moved) = (directory.path().join("home"), directory.path().join("moved"));
        fs::create_dir(&home).unwrap();
        let (quarantine, _) = open(&home).unwrap();
        push(&quarantine, 1).unwrap();
        fs::rename(&home, &moved).unwrap();
        let why = quarantine.look_at_place().unwrap();
        assert!(why.contains("is gone") && why.contains("cannot be put back"), "{why}");
        fs::rename(&moved, &home).unwrap();
        assert_eq!(quarantine.look_at_place(), None);
        push(&quarantine, 2).unwrap();
        drop(quarantine);
        assert_eq!(open(&home).unwrap().1, [1, 2]);
    }
}
