//! Where a command writes to: the one way for every output that a user names.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{Exit, Failure, out};
use crate::{files::read::open_regular, flush::quarantine, ring::layout};

/// Where lines go.
pub enum Target {
    /// Standard output.
    Stdout,
    /// A terminal, a pipe, or another device without an end: as it is.
    Direct(File, PathBuf),
    /// A file that appears whole or not at all.
    Whole {
        /// The file under its temporary name.
        file: File,
        /// That name; none once it is in place.
        temporary: Option<PathBuf>,
        /// Its name in the end; where a link was named, what that leads to.
        path: PathBuf,
    },
}

impl Target {
    /// Opens `path` ("-" is standard output). `sources` are what is read from, and no target.
    ///
    /// What a user names is never destroyed by mistake: links are followed and stay, pipes and devices are written to, and a ring, a
    /// quarantine or a file that a daemon has open is refused. A new file is for its owner alone, since payloads may be confidential;
    /// one that is replaced keeps its mode.
    pub fn open(path: &Path, sources: &[&Path]) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        let is_link = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_symlink());
        let (path, there) = match fs::metadata(path) {
            Ok(there) => (fs::canonicalize(path).map_err(|why| failed("write", path, &why))?, Some(there)),
            Err(why) if why.kind() == io::ErrorKind::NotFound && !is_link => (path.to_owned(), None),
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                let what = format!(
                    "{} is a link to a file that does not exist; name that file, or remove the link",
                    path.display()
                );
                return Err(Failure::new(Exit::Failed, what));
            }
            Err(why) => return Err(failed("write", path, &why)),
        };
        let kind = there.as_ref().map(fs::Metadata::file_type);
        if kind.is_some_and(|kind| kind.is_block_device() || kind.is_dir() || kind.is_socket()) {
            let what = format!("{} is a disk, a directory or a socket; name a file", path.display());
            return Err(Failure::new(Exit::Usage, what));
        }
        if kind.is_some_and(|kind| !kind.is_file()) {
            let file = File::options().write(true).open(&path).map_err(|why| failed("write", &path, &why))?;
            return Ok(Self::Direct(file, path));
        }
        if let Some(there) = &there {
            refuse_our_own(&path, there, sources)?;
        }
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}.new", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
        let file = file.map_err(|why| failed("create", &temporary, &why))?;
        let target = Self::Whole { file, temporary: Some(temporary), path };
        if let (Self::Whole { file, path, .. }, Some(there)) = (&target, there) {
            let mode = fs::Permissions::from_mode(there.permissions().mode() & 0o777);
            file.set_permissions(mode).map_err(|why| failed("write", path, &why))?;
        }
        Ok(target)
    }

    /// Writes text. A reader of a pipe that has gone ends the command quietly.
    pub fn write(&mut self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Stdout => out::emit(text),
            Self::Direct(file, path) => match file.write_all(text.as_bytes()) {
                Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Err(Failure::silent(Exit::Ok)),
                written => written.map_err(|why| failed("write", path, &why)),
            },
            Self::Whole { file, path, .. } => {
                file.write_all(text.as_bytes()).map_err(|why| failed("write", path, &why))
            }
        }
    }

    /// Puts a file in its place, whole and synced.
    pub fn finish(&mut self) -> Result<(), Failure> {
        let Self::Whole { file, temporary, path } = self else { return Ok(()) };
        let Some(from) = temporary.take() else { return Ok(()) };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let placed =
            file.sync_all().and_then(|()| fs::rename(&from, &*path)).and_then(|()| File::open(directory)?.sync_all());
        placed.map_err(|why| {
            *temporary = Some(from);
            failed("put in place", path, &why)
        })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Self::Whole { temporary: Some(temporary), .. } = self {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Refuses to replace what is read from, what a daemon has open, and what looks like a ring or a quarantine.
fn refuse_our_own(path: &Path, there: &fs::Metadata, sources: &[&Path]) -> Result<(), Failure> {
    let is_same = |source: &&Path| {
        fs::metadata(source).is_ok_and(|source| (there.dev(), there.ino()) == (source.dev(), source.ino()))
    };
    let what = if sources.iter().any(is_same) {
        "what is read from"
    } else {
        match open_regular(path) {
            // Where a file system knows no locks, nobody has any.
            Ok((file, _)) if matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) => "open in a daemon",
            Ok((file, _)) if begins(&file, &[&layout::MAGIC, &quarantine::format::MAGIC]) => "a ring or a quarantine",
            // What cannot be read can be no ring of this user's.
            Ok(_) | Err(_) => return Ok(()),
        }
    };
    Err(Failure::new(Exit::Usage, format!("{} is {what}; name another file to write to", path.display())))
}

fn begins(mut file: &File, with: &[&[u8; 8]]) -> bool {
    let mut start = [0; 8];
    file.read_exact(&mut start).is_ok() && with.contains(&&start)
}

fn failed(action: &str, path: &Path, why: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot {action} {}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, thread};

    use super::*;

    fn write(path: &Path, text: &str) -> Result<(), Failure> {
        let mut target = Target::open(path, &[])?;
        target.write(text)?;
        target.finish()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn refused(path: &Path, sources: &[&Path]) -> String {
        let failure = Target::open(path, sources).err().expect("is refused");
        failure.error.expect("an error").to_string()
    }

    #[test]
    fn a_file_appears_when_it_is_complete_and_not_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let mut target = Target::open(&path, &[]).unwrap();
        target.write("a\n").unwrap();
        assert!(!path.exists());
        target.finish().unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("a\n", 0o600));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let mut given_up = Target::open(&path, &[]).unwrap();
        given_up.write("b\n").unwrap();
        drop(given_up);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\n");
        write(&path, "c\n").unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("c\n", 0o644), "it keeps its mode");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert_eq!(Target::open(&directory.path().join("none/out"), &[]).err().unwrap().exit, Exit::Failed);
    }

    #[test]
    fn links_stay_and_what_they_lead_to_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let (link, file) = (directory.path().join("link"), directory.path().join("file"));
        symlink("file", &link).unwrap();
        assert!(refused(&link, &[]).contains("a link to a file that does not exist"));
        fs::write(&file, "old").unwrap();
        write(&link, "new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    }

    #[test]
    fn pipes_and_devices_are_written_to_and_stay_what_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, rustix::fs::Mode::from_raw_mode(0o600), 0).unwrap();
        let reader = thread::spawn({
            let pipe = pipe.clone();
            move || fs::read_to_string(pipe).unwrap()
        });
        write(&pipe, "through").unwrap();
        assert_eq!(reader.join().unwrap(), "through");
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        write(Path::new("/dev/null"), "x").unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        assert!(refused(directory.path(), &[]).contains("name a file"));
    }

    #[test]
    fn rings_quarantines_and_what_is_open_are_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        for start in [layout::MAGIC, quarantine::format::MAGIC] {
            fs::write(&path, [&start[..], b"and more"].concat()).unwrap();
            assert!(refused(&path, &[]).contains("a ring or a quarantine"));
        }
        fs::write(&path, "damaged").unwrap();
        let link = directory.path().join("b");
        fs::hard_link(&path, &link).unwrap();
        assert!(refused(&path, &[&link]).contains("what is read from"));
        let open = File::open(&path).unwrap();
        open.try_lock().unwrap();
        assert!(refused(&path, &[]).contains("open in a daemon"));
        drop(open);
        write(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&link).unwrap(), "damaged");
    }
}
