//! The token that lets a client of the loopback listener write: `[control] token_file`.

use std::{
    path::{Path, PathBuf},
    sync::RwLock,
};

use axum::http::{HeaderMap, header::AUTHORIZATION};
use base64::{Engine, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::{
    config::secrets::{Secret, SecretError, read_secret},
    sync,
};

/// Shortest token; what is shorter can be guessed.
pub const MIN_TOKEN_BYTES: usize = 16;
/// Longest: it has to fit into a request's head.
pub const MAX_TOKEN_BYTES: usize = 1_024;

/// Why there is no token.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The file gives no secret.
    #[error("control.token_file: {0}")]
    Secret(#[from] SecretError),
    /// Every user of the machine may read the file.
    #[error("control.token_file {}: every user of the machine may read or write it; chmod 640, or 600", .0.display())]
    Open(PathBuf),
    /// It is no token.
    #[error(
        "control.token_file {}: a token has {MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES} letters, digits and signs without a space; make one with: openssl rand -hex 32",
        .0.display()
    )]
    Unfit(PathBuf),
}

/// The token in force.
#[derive(Debug)]
pub struct WriteToken {
    path: PathBuf,
    secret: RwLock<Secret>,
}

impl WriteToken {
    /// Reads it from a file that only its owner and group may read.
    pub fn load(path: &Path) -> Result<Self, TokenError> {
        Ok(Self { path: path.to_owned(), secret: RwLock::new(read(path)?) })
    }

    /// Reads the file again; on an error the token stays what it was. Says whether it has changed.
    pub fn reload(&self) -> Result<bool, TokenError> {
        let fresh = read(&self.path)?;
        let mut secret = sync::write(&self.secret);
        let changed = *secret != fresh;
        *secret = fresh;
        Ok(changed)
    }

    /// Whether this is the token. How long that takes does not depend on where they differ.
    pub fn is(&self, offered: &str) -> bool {
        let secret = sync::read(&self.secret);
        secret.expose().as_bytes().ct_eq(offered.as_bytes()).into()
    }
}

fn read(path: &Path) -> Result<Secret, TokenError> {
    let read = read_secret(path)?;
    if read.warning.is_some() {
        return Err(TokenError::Open(path.to_owned()));
    }
    let token = read.secret.expose().as_bytes();
    let fits = (MIN_TOKEN_BYTES..=MAX_TOKEN_BYTES).contains(&token.len()) && token.iter().all(u8::is_ascii_graphic);
    if fits { Ok(read.secret) } else { Err(TokenError::Unfit(path.to_owned())) }
}

/// The token a request's head offers: `Authorization: Bearer T` (QuestDB), `Token T` (`InfluxDB` v2), or the password of `Basic`
/// (RFC 7617; QuestDB, `InfluxDB` v1), whatever the user's name.
#[must_use]
pub fn offered(headers: &HeaderMap) -> Option<String> {
    let (scheme, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim();
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "token" => Some(rest.to_owned()),
        "basic" => {
            let login = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
            login.split_once(':').map(|(_, password)| password.to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn put(path: &Path, token: &str, mode: u32) {
        fs::write(path, token).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_token_is_long_enough_hidden_and_can_be_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        for (token, mode) in
            [(TOKEN, 0o644), (TOKEN, 0o604), (&TOKEN[1..], 0o600), ("0123456789 abcdef", 0o600), ("", 0o600)]
        {
            put(&path, token, mode);
            assert!(WriteToken::load(&path).is_err(), "{token:?} {mode:o}");
        }
        put(&path, &"t".repeat(MAX_TOKEN_BYTES + 1), 0o600);
        assert!(WriteToken::load(&path).is_err());
        put(&path, &format!("{TOKEN}\n"), 0o640);
        let token = WriteToken::load(&path).unwrap();
        assert!(token.is(TOKEN) && !token.is("") && !token.is("0123456789abcdeF") && !token.is(&format!("{TOKEN}0")));
        assert!(!format!("{token:?}").contains(TOKEN));

        assert!(!token.reload().unwrap());
        put(&path, "fedcba9876543210", 0o600);
        assert!(token.reload().unwrap() && token.is("fedcba9876543210") && !token.is(TOKEN));
        put(&path, TOKEN, 0o666);
        assert!(token.reload().is_err() && token.is("fedcba9876543210"), "the old one stays");
    }

    #[test]
    fn each_way_of_offering_it_is_understood() {
        let from = |value: &str| offered(&HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]));
        assert_eq!(from("Bearer t").as_deref(), Some("t"));
        assert_eq!(from("token  t").as_deref(), Some("t"));
        assert_eq!(from("Basic dTpwOnE=").as_deref(), Some("p:q"));
        for other in ["", "Bearer", "Basic !!!", "Basic dQ==", "Digest t"] {
            assert_eq!(from(other), None, "{other}");
        }
        assert_eq!(offered(&HeaderMap::new()), None);
    }
}
