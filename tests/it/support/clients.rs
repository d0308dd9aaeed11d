//! Programs of others that write line protocol: the clients of QuestDB and `InfluxDB` in Python, and Telegraf.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::process::Guarded;

/// What `tests/tools/install-deps test` puts in place.
fn tool(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools").join(name);
    assert!(path.exists(), "{} is missing: run tests/tools/install-deps test", path.display());
    path
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/clients/write_clients.py")
}

/// Runs a subcommand of `tests/tools/clients/write_clients.py` to its end; what it said.
#[track_caller]
pub fn python(arguments: &[&str]) -> Vec<Value> {
    let output = Command::new(tool("clients/bin/python")).arg(script()).args(arguments).output().expect("python runs");
    let (said, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {}\n{said}\n{why}", output.status);
    said_in(&said)
}

/// Starts a subcommand; what it says goes to the file `log`.
pub fn python_beside(arguments: &[&str], log: &Path) -> Guarded {
    Guarded::spawn(&tool("clients/bin/python"), log, |command| {
        command.arg(script()).args(arguments);
    })
}

/// The objects among the lines of a text.
pub fn said_in(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Runs Telegraf once with a configuration; everything it logged.
#[track_caller]
pub fn telegraf_once(configuration: &Path) -> String {
    let mut telegraf = Command::new(tool("bin/telegraf"));
    let output = telegraf
        .arg("--config")
        .arg(configuration)
        .args(["--once", "--strict-env-handling"])
        .output()
        .expect("telegraf runs");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {log}", output.status);
    log
}

/// Starts Telegraf with a configuration; its log goes to the file `log`.
pub fn telegraf_beside(configuration: &Path, log: &Path) -> Guarded {
    Guarded::spawn(&tool("bin/telegraf"), log, |command| {
        command.arg("--config").arg(configuration).arg("--strict-env-handling");
    })
}
