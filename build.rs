//! How the program is linked, and what it says of itself in `forebay version`.

use std::{env, fs, path::Path, process::Command};

/// What a commit's number depends on beside git's log: whether these differ from it.
const SOURCES: [&str; 6] = ["src", "conf", "Cargo.toml", "Cargo.lock", "build.rs", "SOURCE"];
/// Digits of a commit's number that are shown.
const DIGITS: usize = 12;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=FOREBAY_COMMIT");
    let is = |name, value| env::var(name).is_ok_and(|found| found == value);
    let is_release = is("PROFILE", "release");
    // A program that may be loaded anywhere lists the places of its addresses. Packed they take a
    // fiftieth of the room (glibc 2.36 or newer, which Debian 12 has).
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") && is_release {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    println!("cargo:rustc-env=FOREBAY_TARGET={}", env::var("TARGET").expect("cargo sets it"));
    // A program for development names no commit: each one would have everything built again.
    let commit = if is_release { commit() } else { "development".to_owned() };
    println!("cargo:rustc-env=FOREBAY_COMMIT={commit}");
}

/// The commit that is built: as the environment says, as git says, or as the file SOURCE says in a
/// tree that `git archive` made.
fn commit() -> String {
    if let Ok(given) = env::var("FOREBAY_COMMIT") {
        return given;
    }
    // Each is watched only where it is there: a file that is missing would count as changed.
    for source in SOURCES {
        watch(source);
    }
    let found = Path::new(".git").exists().then(of_git).flatten().or_else(|| of_archive(SOURCES[5]));
    found.unwrap_or_else(|| "unknown".to_owned())
}

/// As git says; with `-modified` where the sources are not those of the commit.
fn of_git() -> Option<String> {
    // Written whenever HEAD comes to name another commit.
    watch(git(&["rev-parse", "--git-path", "logs/HEAD"])?.trim());
    let commit = git(&["rev-parse", "HEAD"])?;
    let changes = git(&[&["status", "--porcelain", "--untracked-files=no", "--"], SOURCES.as_slice()].concat())?;
    let modified = if changes.trim().is_empty() { "" } else { "-modified" };
    Some(format!("{}{modified}", commit.get(..DIGITS)?))
}

fn of_archive(file: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let commit = text.trim();
    commit.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| commit.get(..DIGITS).map(str::to_owned))?
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok())?
}

fn watch(path: &str) {
    if Path::new(path).exists() {
        println!("cargo:rerun-if-changed={path}");
    }
}
