//! The socket file: who may use it, what a dead daemon left behind, and its removal at the end.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::fd::AsFd,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};

use crate::{files::access::group_id, settings::Control};

/// Newcomers that may wait to be let in. With the 128 of the standard library a crowd of slow clients filled the queue, and the kernel
/// drops what does not fit in: a TCP client tries again after 1 s, 2 s and so on (listen(2), tcp(7)).
const BACKLOG: i32 = 1024;

/// Suffix under which the socket is made ready before it appears under its name.
const NEW_SUFFIX: &str = ".new";

/// Why the socket can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody listens there.
    #[error("another daemon is listening on {}; stop it, or give this one a control.socket of its own", .0.display())]
    InUse(PathBuf),
    /// Something else stands there.
    #[error("control.socket {} is there already and is no socket; remove it or choose another path", .0.display())]
    NotASocket(PathBuf),
    /// The mode is not octal.
    #[error("control.mode {0:?} is no file mode; write it in octal, such as \"0660\"")]
    Mode(String),
    /// No such group.
    #[error("control.group {0:?} is not in /etc/group; create it (groupadd --system {0}) or leave the setting out")]
    Group(String),
    /// A TCP address others could reach.
    #[error(
        "control.listen {0} is no loopback address; there is no authentication, so only 127.0.0.0/8 and [::1] are allowed"
    )]
    NotLoopback(SocketAddr),
    /// The TCP address can't be had.
    #[error("can't listen on control.listen {address}: {why}; choose another port, or leave the setting out")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        why: io::Error,
    },
    /// The system refused.
    #[error("can't {what} {}: {why}; {hint}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
        /// What to do.
        hint: &'static str,
    },
}

/// The listening socket's file; removed when dropped, unless another has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    /// Listens on the settings' socket, with their mode and group. The listener is non-blocking.
    ///
    /// A socket left by a dead daemon is replaced. The new one gets its mode and group before it appears under its name,
    /// so that nobody it is not meant for can connect in between.
    pub fn bind(settings: &Control) -> Result<(Self, UnixListener), SocketError> {
        let path = &settings.socket;
        let mode = parse_mode(&settings.mode)?;
        let group = settings.group.as_deref().map(find_group).transpose()?;
        refuse_occupied(path)?;

        let mut new = path.clone().into_os_string();
        new.push(NEW_SUFFIX);
        let new = PathBuf::from(new);
        if fs::symlink_metadata(&new).is_ok_and(|meta| meta.file_type().is_socket()) {
            fs::remove_file(&new).map_err(|why| failed("remove", &new, why))?;
        }
        let listener = UnixListener::bind(&new).map_err(|why| failed("create the socket", path, why))?;
        let ready = (|| {
            fs::set_permissions(&new, fs::Permissions::from_mode(mode))?;
            if let Some(group) = group {
                std::os::unix::fs::chown(&new, None, Some(group)).map_err(|why| not_given(&why))?;
            }
            widen(&listener)?;
            listener.set_nonblocking(true)?;
            fs::rename(&new, path)?;
            fs::symlink_metadata(path)
        })();
        match ready {
            Ok(meta) => Ok((Self { path: path.clone(), inode: meta.ino() }, listener)),
            Err(why) => {
                let _ = fs::remove_file(&new);
                Err(failed("set up the socket", path, why))
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its name leads to it.
    pub fn is_in_its_place(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_in_its_place() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on the loopback address of `control.listen`. The listener is non-blocking.
pub fn bind_tcp(address: SocketAddr) -> Result<TcpListener, SocketError> {
    if !address.ip().is_loopback() {
        return Err(SocketError::NotLoopback(address));
    }
    let listen = || {
        let listener = TcpListener::bind(address)?;
        widen(&listener)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|why| SocketError::Tcp { address, why })
}

/// Lets more newcomers wait; a socket that listens already takes a new number.
fn widen(listener: impl AsFd) -> io::Result<()> {
    Ok(rustix::net::listen(listener, BACKLOG)?)
}

/// Succeeds when nothing stands at the path, or the socket of a dead daemon.
fn refuse_occupied(path: &Path) -> Result<(), SocketError> {
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => return Err(SocketError::NotASocket(path.into())),
        Ok(_) => {}
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(why) => return Err(failed("look at", path, why)),
    }
    // Non-blocking, since connecting waits while a live daemon's queue of connections is full.
    let connected = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .and_then(|socket| rustix::net::connect(&socket, &SocketAddrUnix::new(path)?));
    match connected {
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(()),
        Ok(()) | Err(Errno::AGAIN) => Err(SocketError::InUse(path.into())),
        Err(why) => Err(failed("find out who listens on", path, why.into())),
    }
}

/// A system that knows no such group says "invalid argument" and no more.
fn not_given(why: &io::Error) -> io::Error {
    let hint = match why.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied => {
            "; forebay's user has to be in it, and under systemd PrivateUsers=no (see forebay.service)"
        }
        _ => "",
    };
    io::Error::new(why.kind(), format!("control.group: {why}{hint}"))
}

fn failed(what: &'static str, path: &Path, why: io::Error) -> SocketError {
    let hint = match why.kind() {
        io::ErrorKind::NotFound => "create its directory, or let systemd do it (RuntimeDirectory=forebay)",
        io::ErrorKind::PermissionDenied => {
            "the daemon's user needs to write to that directory, and to be in the group of control.group"
        }
        io::ErrorKind::InvalidInput => "a socket's path may have about 100 bytes; choose a shorter one",
        _ => "choose another control.socket",
    };
    SocketError::Io { what, path: path.into(), why, hint }
}

fn parse_mode(text: &str) -> Result<u32, SocketError> {
    let octal = text.strip_prefix("0o").unwrap_or(text);
    let mode = u32::from_str_radix(octal, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| SocketError::Mode(text.into()))
}

/// A group's id, by name or as a number (group(5)).
fn find_group(name: &str) -> Result<u32, SocketError> {
    group_id(name).ok_or_else(|| SocketError::Group(name.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(path: PathBuf) -> Control {
        Control { socket: path, ..Control::default() }
    }

    #[test]
    fn modes_and_groups_are_read() {
        assert_eq!(parse_mode("0660").unwrap(), 0o660);
        assert_eq!(parse_mode("0o600").unwrap(), 0o600);
        assert!(parse_mode("rw").is_err() && parse_mode("7777").is_err());
        assert!(matches!(find_group("no-such-group"), Err(SocketError::Group(_))));
    }

    #[test]
    fn tcp_is_for_this_machine_only() {
        assert!(bind_tcp("127.0.0.1:0".parse().unwrap()).is_ok());
        assert!(matches!(bind_tcp("0.0.0.0:0".parse().unwrap()), Err(SocketError::NotLoopback(_))));
    }

    #[test]
    fn a_dead_daemons_socket_is_replaced_and_a_live_ones_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let (file, _listener) = SocketFile::bind(&settings(path.clone())).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(SocketFile::bind(&settings(path.clone())), Err(SocketError::InUse(_))));
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_took_its_place_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (file, listener) = SocketFile::bind(&settings(path.clone())).unwrap();
        drop(listener);
        let (_other, _other_listener) = SocketFile::bind(&settings(path.clone())).unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn what_can_not_be_a_socket_is_said_clearly() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(matches!(SocketFile::bind(&settings(path)), Err(SocketError::NotASocket(_))));
        let missing = SocketFile::bind(&settings(dir.path().join("missing/s"))).unwrap_err().to_string();
        assert!(missing.contains("create its directory"), "{missing}");
        let long = SocketFile::bind(&settings(dir.path().join("x".repeat(120)))).unwrap_err().to_string();
        assert!(long.contains("shorter"), "{long}");
    }
}
