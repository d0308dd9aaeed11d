//! `forebay version`: what this program is, and which files it reads and writes.

use std::sync::LazyLock;

use serde_json::json;

use super::{Failure, Global, out};
use crate::{
    flush::quarantine::format,
    ring::layout::{FORMAT_VERSION, OLDEST_FORMAT_VERSION},
};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Where it was built from: a commit's first digits, `-modified` behind them where the sources
/// differed; "development" of a debug build; "unknown" where nothing told it.
const COMMIT: &str = env!("FOREBAY_COMMIT");
/// What it was built for, as rustc names it.
const TARGET: &str = env!("FOREBAY_TARGET");

/// Behind "forebay": the version, and a line each of commit, target and formats.
static WORDS: LazyLock<String> = LazyLock::new(|| {
    let reads = |written: u32, oldest: u32| match written - oldest {
        0 => String::new(),
        1 => format!(", and reads {oldest}"),
        _ => format!(", and reads {oldest} to {}", written - 1),
    };
    format!(
        "{VERSION}\n\
         commit:             {COMMIT}\n\
         target:             {TARGET}\n\
         format, ring:       {FORMAT_VERSION}{}\n\
         format, quarantine: {}{}",
        reads(FORMAT_VERSION, OLDEST_FORMAT_VERSION),
        format::VERSION,
        reads(format::VERSION, format::OLDEST_VERSION)
    )
});

/// What `--version` prints behind the program's name.
pub fn words() -> &'static str {
    &WORDS
}

pub fn run(global: &Global) -> Result<(), Failure> {
    if !global.json {
        return out::emit(&format!("forebay {}\n", words()));
    }
    let told = json!({
        "version": VERSION,
        "commit": COMMIT,
        "target": TARGET,
        "ring_format": FORMAT_VERSION,
        "quarantine_format": format::VERSION,
    });
    out::emit(&format!("{told}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_target_and_formats_are_named() {
        assert!(words().starts_with(concat!(env!("CARGO_PKG_VERSION"), "\n")), "{}", words());
        for line in [
            &format!("commit:             {COMMIT}"),
            &format!("target:             {TARGET}"),
            "format, ring:       4, and reads 1 to 3",
            "format, quarantine: 2, and reads 1",
        ] {
            assert!(words().lines().any(|each| each == line), "{line} in {}", words());
        }
        assert!(!COMMIT.is_empty() && TARGET.contains("linux"), "{COMMIT} {TARGET}");
    }
}
