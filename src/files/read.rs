//! Reading a small file that may be anything: a pipe nobody writes to, a device without an end, something far too large.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::OFlags;

/// Most bytes of a password or a token with what is around it.
pub const MAX_SECRET_BYTES: u64 = 64 << 10;
/// Most bytes of a file of certificates; a system's whole bundle has some 250 KiB.
pub const MAX_PEM_BYTES: u64 = 4 << 20;
/// Where systemd puts what `LoadCredential=` names; it gives them to the unit's user.
pub const CREDENTIALS: &str = "/run/credentials";

/// What stands under a name, if it is no regular file.
#[must_use]
pub fn other_than_file(found: &Metadata) -> Option<&'static str> {
    let kind = found.file_type();
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("a directory")
    } else if kind.is_fifo() {
        Some("a named pipe")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        Some("a device")
    }
}

/// Opens a regular file to read it; whatever else has the name is an error, and is not waited for.
pub fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    let refuse = |found: &Metadata| match other_than_file(found) {
        None => Ok(()),
        Some(kind) => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {kind}, not a regular file"))),
    };
    // Looked at by name first: to open a device may have effects of its own.
    refuse(&fs::metadata(path).map_err(|error| of_credential(path, error))?)?;
    // What has the name by now may be a pipe all the same: to open it does not wait then.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let found = file.metadata()?;
    refuse(&found)?;
    Ok((file, found))
}

/// The same error; where systemd has not put a credential into its place, with what is to be done.
fn of_credential(path: &Path, error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::NotFound || !path.starts_with(CREDENTIALS) {
        return error;
    }
    let what = "systemd puts it there while the service runs, with a LoadCredential= of this name: start the service";
    io::Error::new(error.kind(), format!("{error}; {what}"))
}

/// Reads a regular file of at most `most` bytes.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_open(&open_regular(path)?.0, most)
}

/// Reads an open file of at most `most` bytes. Its length is not trusted: it may be growing.
pub fn read_open(file: &File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let what = format!("it has more than {most} bytes; is it the right file?");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// Reads a regular file of at most `most` bytes of UTF-8.
pub fn read_regular_text(path: &Path, most: u64) -> io::Result<String> {
    let bytes = read_regular(path, most)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path) -> String {
        read_regular(path, 10).unwrap_err().to_string()
    }

    #[test]
    fn only_regular_files_are_read_and_nothing_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert_eq!(refused(&pipe), "it is a named pipe, not a regular file");
        assert_eq!(refused(Path::new("/dev/zero")), "it is a device, not a regular file");
        assert_eq!(refused(directory.path()), "it is a directory, not a regular file");
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(refused(&socket), "it is a socket, not a regular file");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        assert_eq!(refused(&link), "it is a named pipe, not a regular file");
    }

    #[test]
    fn the_limit_is_exact() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "0123456789").unwrap();
        assert_eq!(read_regular_text(&path, 10).unwrap(), "0123456789");
        fs::write(&path, "0123456789a").unwrap();
        assert!(refused(&path).contains("more than 10 bytes"));
        fs::write(&path, b"\xff").unwrap();
        assert!(read_regular_text(&path, 10).is_err());
    }
}
