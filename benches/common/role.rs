//! A contender that is a process of its own: the benchmark's program started again with a role.

use std::{path::PathBuf, time::Duration};

use serde_json::Value as Json;

use crate::support::{
    eventually, eventually_some,
    process::Guarded,
    scratch::{Scratch, scratch},
};

const LIMIT: Duration = Duration::from_mins(10);

/// A role's process and what it prints.
pub struct Role {
    /// The process.
    pub process: Guarded,
    output: PathBuf,
    _dir: Scratch,
}

impl Role {
    /// Starts `role ARGUMENTS` and waits until it is ready.
    pub fn start(arguments: &[String]) -> Self {
        let dir = scratch("role");
        let output = dir.join("output");
        let program = std::env::current_exe().expect("this program");
        let process = Guarded::spawn(&program, &output, |command| {
            command.arg("role").args(arguments);
        });
        let mut role = Self { process, output, _dir: dir };
        eventually(Duration::from_mins(1), "a role is ready", || role.printed().contains("ready"));
        role
    }

    fn printed(&mut self) -> String {
        if let Some(status) = self.process.ended() {
            panic!("a role ended with {status}: {}", self.process.log_tail());
        }
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Its result, once it is done.
    pub fn result(&mut self) -> Json {
        eventually_some(LIMIT, "a role is done", || {
            let printed = self.printed();
            let line = printed.lines().find(|line| line.starts_with('{'))?;
            serde_json::from_str(line).ok()
        })
    }
}
