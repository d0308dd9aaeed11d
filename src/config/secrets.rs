//! Secrets: read from files, never shown.

use std::{fmt, io::ErrorKind, os::unix::fs::PermissionsExt, path::Path};

use thiserror::Error;

use crate::files::read::{MAX_SECRET_BYTES, open_regular, read_open};

/// A password or token. Neither `Debug` nor `Display` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// A secret file that gives no secret.
#[derive(Debug, Error)]
#[error("secret file {path}: {what}")]
pub struct SecretError {
    path: String,
    what: String,
    is_denied: bool,
}

impl SecretError {
    /// Whether the file is there and this user may not read it; another may.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.is_denied
    }
}

/// What [`read_secret`] found.
#[derive(Debug)]
pub struct ReadSecret {
    /// The secret.
    pub secret: Secret,
    /// That every user of the machine may read the file.
    pub warning: Option<String>,
}

/// Reads a secret from a regular file: UTF-8, one trailing newline removed, at most [`MAX_SECRET_BYTES`].
pub fn read_secret(path: &Path) -> Result<ReadSecret, SecretError> {
    let fault = |what: String| SecretError { path: path.display().to_string(), what, is_denied: false };
    let (file, found) = open_regular(path).map_err(|error| SecretError {
        is_denied: error.kind() == ErrorKind::PermissionDenied,
        ..fault(format!("cannot be opened ({error})"))
    })?;
    let mode = found.permissions().mode();
    let bytes = read_open(&file, MAX_SECRET_BYTES).map_err(|error| fault(format!("cannot be read ({error})")))?;
    let mut text = String::from_utf8(bytes).map_err(|_| fault("not UTF-8; is it the right file?".into()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err(fault("empty; write the secret into it".into()));
    }
    let warning = (mode & 0o004 != 0)
        .then(|| format!("secret file {}: every user may read it; chmod 0600 or use LoadCredential=", path.display()));
    Ok(ReadSecret { secret: Secret(text), warning })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("secret");
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
        (directory, path)
    }

    #[test]
    fn one_newline_is_removed_and_nothing_is_shown() {
        let (_directory, path) = file(b" s3cret \n\n", 0o600);
        let read = read_secret(&path).expect("secret");
        assert_eq!(read.secret.expose(), " s3cret \n");
        assert!(read.warning.is_none());
        assert!(!format!("{read:?} {}", read.secret).contains("s3cret"));
    }

    #[test]
    fn a_file_open_to_all_is_warned_of() {
        let (_directory, path) = file(b"x", 0o644);
        assert!(read_secret(&path).expect("secret").warning.is_some());
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for content in [b"".as_slice(), b"\n", b"\xff", &b"x".repeat(MAX_SECRET_BYTES as usize + 1)] {
            let (_directory, path) = file(content, 0o600);
            assert!(read_secret(&path).is_err());
        }
        let (_directory, path) = file(&b"x".repeat(MAX_SECRET_BYTES as usize), 0o600);
        assert!(read_secret(&path).is_ok());
        assert!(read_secret(Path::new("/nonexistent")).is_err());
        let error = read_secret(Path::new("/dev/zero")).expect_err("refused").to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }
}
