//! Which command puts new files in force.

use std::{fs, io, path::Path};

use crate::{cli::Global, settings::Control};

/// The command: a running daemon takes new sources in, and needs a restart for other connections.
pub fn next(global: &Global, connects_otherwise: bool) -> &'static str {
    let socket = global.socket_path().unwrap_or_else(|_| Control::default().socket);
    command(may_be_there(&socket), connects_otherwise)
}

fn command(runs: bool, connects_otherwise: bool) -> &'static str {
    match (runs, connects_otherwise) {
        (true, true) => "systemctl restart forebay",
        (true, false) => "systemctl reload forebay",
        (false, _) => "systemctl enable --now forebay",
    }
}

/// Whether the daemon has its socket there. It counts as there where this user may not look: the
/// directory of the socket goes with the daemon.
fn may_be_there(socket: &Path) -> bool {
    let is_none = |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    !fs::symlink_metadata(socket).is_err_and(|error| is_none(&error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_socket_that_is_there_is_a_daemon_that_runs() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("s");
        let next = |connects_otherwise| {
            next(&Global { socket: Some(socket.clone()), ..Global::default() }, connects_otherwise)
        };
        assert_eq!([next(false), next(true)], ["systemctl enable --now forebay"; 2]);
        let listener = UnixListener::bind(&socket).expect("bound");
        assert_eq!([next(false), next(true)], ["systemctl reload forebay", "systemctl restart forebay"]);
        drop(listener);
        assert_eq!(next(false), "systemctl reload forebay", "it is still there");
        assert!(!may_be_there(&socket.join("below")), "a file has nothing below it");
    }

    #[test]
    fn a_socket_that_cannot_be_looked_at_counts_as_there() {
        // A name that is too long stands for one that may not be looked at: root may look
        // everywhere.
        assert!(may_be_there(Path::new(&"x".repeat(5_000))));
    }
}
