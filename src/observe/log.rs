//! Logging: to the journal when systemd started the process, else to standard error; the level can change at run time.

use std::{
    borrow::Cow,
    io::{self, IsTerminal},
};

use thiserror::Error;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::{Layer, Registry, filter::Targets, layer::SubscriberExt, reload, util::SubscriberInitExt};

use super::plain::{Plain, Shows};
use crate::{
    settings::{Log, LogTarget},
    shown::harmless,
};

/// Most bytes of a text from outside (a topic, an error of the database) that go into one log field.
pub const MAX_CLIPPED_BYTES: usize = 256;

/// Logging that cannot be set up or changed.
#[derive(Debug, Error)]
pub enum LogError {
    /// The level or filter does not read.
    #[error("log.level: {0}")]
    Filter(String),
    /// Another subscriber is in place.
    #[error("logging is set up already ({0})")]
    Twice(String),
    /// The filter could not be exchanged.
    #[error("the log level could not be changed ({0})")]
    Reload(#[from] reload::Error),
}

/// Reads a level or a filter. The error says what is wrong with it.
pub fn log_filter(level: &str) -> Result<Targets, String> {
    const REMEDY: &str = "write error, warn, info, debug or trace, or a filter such as \"info,forebay::flush=debug\"";
    for directive in level.split(',').map(str::trim) {
        // A bare word that is no level would be taken for a module's name, and everything else be silenced.
        let bare = !directive.contains(['=', ':', '[']);
        if bare && directive.parse::<tracing::level_filters::LevelFilter>().is_err() {
            return Err(format!("{directive:?} is no level; {REMEDY}"));
        }
    }
    level.parse::<Targets>().map_err(|error| format!("{level:?} is no filter ({error}); {REMEDY}"))
}

/// Changes the level of a running process.
#[derive(Debug, Clone)]
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
}

impl LogHandle {
    /// Sets a new level or filter, as in `log.level`.
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        let filter = log_filter(level).map_err(LogError::Filter)?;
        Ok(self.filter.reload(filter)?)
    }
}

/// Where lines go, once `auto` is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Destination {
    Journal,
    Stderr,
}

/// Sets up logging for the process; to be called once.
pub fn init(log: &Log) -> Result<LogHandle, LogError> {
    let filter = log_filter(&log.level).map_err(LogError::Filter)?;
    let (filter, handle) = reload::Layer::new(filter);
    let stream = std::env::var("JOURNAL_STREAM").ok();
    let wanted = decide(log.target, stream.as_deref(), stderr_identity());
    let (journal, missing) = match wanted {
        Destination::Stderr => (None, None),
        Destination::Journal => match journal() {
            Ok(layer) => (Some(Plain::new(layer, Shows::Message)), None),
            Err(error) => (None, Some(error)),
        },
    };
    let stderr = journal.is_none().then(|| {
        let terminal = io::stderr().is_terminal();
        Plain::new(tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(terminal), Shows::Fields).boxed()
    });
    tracing_subscriber::registry()
        .with(filter)
        .with(journal)
        .with(stderr)
        .try_init()
        .map_err(|error| LogError::Twice(error.to_string()))?;
    if let Some(error) = missing {
        tracing::warn!(%error, "the journal's socket cannot be reached; logging to standard error");
    }
    Ok(LogHandle { filter: handle })
}

fn journal() -> io::Result<tracing_journald::Layer> {
    // journald's "notice" stands for what is normal but significant; a daemon's info lines are not.
    let priorities =
        PriorityMappings { info: Priority::Informational, debug: Priority::Debug, ..PriorityMappings::new() };
    let layer = tracing_journald::layer()?;
    Ok(layer.with_syslog_identifier("forebay".into()).with_priority_mappings(priorities))
}

/// Device and inode of standard error.
fn stderr_identity() -> Option<(u64, u64)> {
    let stat = rustix::fs::fstat(io::stderr()).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// `auto` means the journal when standard error is the stream systemd connected to it (systemd.exec(5), `JOURNAL_STREAM`).
fn decide(target: LogTarget, journal_stream: Option<&str>, stderr: Option<(u64, u64)>) -> Destination {
    let connected = || {
        let (device, inode) = journal_stream?.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    };
    match target {
        LogTarget::Journald => Destination::Journal,
        LogTarget::Auto if stderr.is_some() && connected() == stderr => Destination::Journal,
        LogTarget::Auto | LogTarget::Stderr => Destination::Stderr,
    }
}

/// A text from outside, fit for a log line: at most [`MAX_CLIPPED_BYTES`] of it, without harmful characters ([`crate::shown::is_harmful`]).
#[must_use]
pub fn clip(text: &str) -> Cow<'_, str> {
    let end = text.floor_char_boundary(MAX_CLIPPED_BYTES);
    let kept = &text[..end];
    if end == text.len() {
        return harmless(text);
    }
    Cow::Owned(format!("{}…", harmless(kept)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn auto_is_the_journal_only_when_stderr_leads_there() {
        let auto = |stream, stderr| decide(LogTarget::Auto, stream, stderr);
        assert_eq!(auto(Some("8:42"), Some((8, 42))), Destination::Journal);
        for (stream, stderr) in [
            (Some("8:42"), Some((8, 43))),
            (Some("x"), Some((8, 42))),
            (None, Some((8, 42))),
            (None, None),
            (Some("8:42"), None),
        ] {
            assert_eq!(auto(stream, stderr), Destination::Stderr, "{stream:?} {stderr:?}");
        }
        assert_eq!(decide(LogTarget::Journald, None, None), Destination::Journal);
        assert_eq!(decide(LogTarget::Stderr, Some("8:42"), Some((8, 42))), Destination::Stderr);
        assert!(stderr_identity().is_some());
    }

    #[test]
    fn the_level_can_change_and_a_wrong_one_is_refused() {
        let (filter, handle) = reload::Layer::<Targets, Registry>::new(log_filter("info").expect("filter"));
        let handle = LogHandle { filter: handle };
        handle.set_level("warn,forebay::flush=debug").expect("set");
        assert!(matches!(handle.set_level("loud"), Err(LogError::Filter(_))));
        let shown = handle.filter.with_current(ToString::to_string).expect("filter");
        assert!(shown.contains("forebay::flush=debug"), "{shown}");
        drop(filter);
        assert!(matches!(handle.set_level("info"), Err(LogError::Reload(_))));
    }

    #[test]
    fn texts_from_outside_are_bounded_and_stay_on_one_line() {
        assert!(matches!(clip("a/b"), Cow::Borrowed("a/b")));
        assert_eq!(clip("a\nb\u{1b}"), "a\\nb\\u{1b}");
        assert_eq!(clip(&"ä".repeat(200)), format!("{}…", "ä".repeat(128)));
    }

    proptest! {
        #[test]
        fn clipping_never_panics_and_leaves_no_harmful_characters(text in any::<String>()) {
            prop_assert!(!clip(&text).contains(crate::shown::is_harmful));
        }
    }
}
