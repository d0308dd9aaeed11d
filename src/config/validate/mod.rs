//! What settings mean, beyond their types: every mistake with its key and remedy, and warnings for what works but is
//! probably not meant.

mod mqtt;
mod paths;
pub mod questdb;
mod sources;
pub mod storage;
mod topics;

use std::{fmt::Display, path::Path, time::Duration};

pub use self::sources::{name_fault, tag_fault};
use super::Problem;
use crate::{
    decode::table::TableTemplate,
    observe::log::log_filter,
    settings::{Control, Daemon, Log, Settings},
};

/// Longest path of a Unix socket in bytes (unix(7): 108 with the terminating zero).
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// What must be mended.
    pub problems: Vec<Problem>,
    /// What should be looked at.
    pub warnings: Vec<Problem>,
}

impl Findings {
    fn problem(&mut self, key: impl Into<String>, what: impl Into<String>) {
        self.problems.push(Problem::new(key, what));
    }

    fn warn(&mut self, key: impl Into<String>, what: impl Into<String>) {
        self.warnings.push(Problem::new(key, what));
    }

    /// Demands `low ≤ value ≤ high`.
    fn range<T: PartialOrd + Display + Copy>(&mut self, key: &str, value: T, low: T, high: T) {
        if value < low || value > high {
            self.problem(key, format!("{value} is out of range; {low} to {high} are allowed"));
        }
    }

    /// The same for durations.
    fn span(&mut self, key: &str, value: Duration, low: Duration, high: Duration) {
        if value < low || value > high {
            let [value, low, high] = [value, low, high].map(humantime::format_duration);
            self.problem(key, format!("{value} is out of range; {low} to {high} are allowed"));
        }
    }

    fn absolute(&mut self, key: &str, path: &Path) {
        if !path.is_absolute() {
            self.problem(key, format!("{} is a relative path; write it from /", path.display()));
        }
    }
}

/// Checks everything.
#[must_use]
pub fn check(settings: &Settings) -> Findings {
    let mut findings = Findings::default();
    mqtt::check(&settings.mqtt, &mut findings);
    sources::check_tags(&settings.tags, &mut findings);
    sources::check(&settings.source, settings.mqtt.protocol, &mut findings);
    storage::check(settings, &mut findings);
    questdb::check(&settings.questdb, &mut findings);
    questdb::check_batch(&settings.batch, &mut findings);
    check_control(&settings.control, &mut findings);
    check_readers(settings, &mut findings);
    check_daemon(&settings.daemon, &mut findings);
    paths::check(settings, &mut findings);
    check_log(&settings.log, &mut findings);
    findings
}

fn check_control(control: &Control, findings: &mut Findings) {
    findings.absolute("control.socket", &control.socket);
    if control.socket.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
        findings.problem("control.socket", format!("a socket's path has at most {MAX_SOCKET_PATH_BYTES} bytes"));
    }
    match u32::from_str_radix(&control.mode, 8) {
        Ok(mode) if mode <= 0o777 && mode & 0o600 == 0o600 => {
            if mode & 0o002 != 0 {
                findings.warn("control.mode", "every user of the machine may read and write over the socket");
            }
        }
        _ => {
            findings
                .problem("control.mode", "write an octal mode that lets the owner read and write, such as \"0660\"");
        }
    }
    if let Some(group) = &control.group
        && group.is_empty()
    {
        findings.problem("control.group", "it is empty; name a group or remove the key");
    }
    if let Some(address) = control.listen
        && !address.ip().is_loopback()
    {
        findings.problem(
            "control.listen",
            format!(
                "{address} is reachable from outside; use 127.0.0.1 or [::1], and a reverse proxy with TLS before it"
            ),
        );
    }
    if let Some(path) = &control.token_file {
        findings.absolute("control.token_file", path);
        if control.listen.is_none() {
            findings.warn("control.token_file", "it has no effect without control.listen; the socket takes no token");
        }
    }
}

/// Whoever reaches the listener may look up tables that a source could write.
fn check_readers(settings: &Settings, findings: &mut Findings) {
    if settings.control.listen.is_none() {
        return;
    }
    for (name, source) in &settings.source {
        if TableTemplate::parse(source.table_template()).is_ok_and(|table| table.could_render("")) {
            let what = "with control.listen every local user may look up any table that QuestDB shows forebay, since this may become any \
                        name; write a part of the name, such as \"plant_{site}\"";
            findings.warn(format!("source.{name}.table"), what);
        }
    }
}

fn check_daemon(daemon: &Daemon, findings: &mut Findings) {
    findings.span("daemon.stop_timeout", daemon.stop_timeout, Duration::ZERO, Duration::from_mins(10));
}

fn check_log(log: &Log, findings: &mut Findings) {
    if let Err(what) = log_filter(&log.level) {
        findings.problem("log.level", what);
    }
}
