//! A control group with little memory and a part of a processor for the daemon, in whichever
//! version the kernel has the memory controller.

use std::{fs, path::PathBuf};

use super::{disk::as_root, eventually, unique};

/// How long the kernel may take to let go of a group whose processes have ended.
const EMPTY_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);
/// Length of a period of the processor's time, in microseconds.
const PERIOD_US: u64 = 100_000;

/// A group; dropping it removes it. Its processes must have ended.
pub struct Cgroup {
    /// One directory in version 2; one a controller in version 1, the memory's first.
    directories: Vec<PathBuf>,
    is_unified: bool,
}

impl Cgroup {
    /// A group whose processes may have so many bytes of memory, none of it swapped, and so many
    /// thousandths of a processor.
    #[track_caller]
    pub fn new(memory_bytes: u64, millicores: u64) -> Self {
        let name = unique("forebay");
        let root = PathBuf::from("/sys/fs/cgroup");
        let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let is_unified = controllers.split_whitespace().any(|controller| controller == "memory");
        let quota_us = millicores * PERIOD_US / 1_000;
        let (directories, limits) = if is_unified {
            write(&root.join("cgroup.subtree_control"), "+memory +cpu");
            let own = root.join(&name);
            let limits = vec![
                (own.join("memory.max"), memory_bytes.to_string()),
                (own.join("memory.swap.max"), "0".to_owned()),
                (own.join("cpu.max"), format!("{quota_us} {PERIOD_US}")),
            ];
            (vec![own], limits)
        } else {
            let (memory, cpu) = (root.join("memory").join(&name), root.join("cpu").join(&name));
            let limits = vec![
                (memory.join("memory.limit_in_bytes"), memory_bytes.to_string()),
                (memory.join("memory.memsw.limit_in_bytes"), memory_bytes.to_string()),
                (cpu.join("cpu.cfs_period_us"), PERIOD_US.to_string()),
                (cpu.join("cpu.cfs_quota_us"), quota_us.to_string()),
            ];
            (vec![memory, cpu], limits)
        };
        for directory in &directories {
            as_root(std::process::Command::new("mkdir").arg(directory));
        }
        let group = Self { directories, is_unified };
        for (file, value) in limits {
            // Where the kernel does not count swap there is no such file; then there is none to
            // forbid.
            if file.exists() || !file.ends_with("memory.memsw.limit_in_bytes") {
                write(&file, &value);
            }
        }
        group
    }

    /// What starts a program within it, in place of the test.
    pub fn wrapper(&self) -> Vec<String> {
        let enter: Vec<String> = self
            .directories
            .iter()
            .map(|directory| format!("echo $$ > {}/cgroup.procs", directory.display()))
            .collect();
        ["sh", "-c", &format!("{}; exec \"$@\"", enter.join("; ")), "sh"].map(str::to_owned).to_vec()
    }

    /// Most bytes that were charged to it: its processes', and the kernel's on their behalf, the
    /// cache of their files included.
    pub fn peak_bytes(&self) -> u64 {
        self.number(if self.is_unified { "memory.peak" } else { "memory.max_usage_in_bytes" })
    }

    /// Bytes of its processes alone, without any file.
    pub fn anonymous_bytes(&self) -> u64 {
        self.counter("memory.stat", if self.is_unified { "anon" } else { "rss" })
    }

    /// How often the kernel killed one of its processes for want of memory.
    pub fn kills(&self) -> u64 {
        self.counter(if self.is_unified { "memory.events" } else { "memory.oom_control" }, "oom_kill")
    }

    fn number(&self, file: &str) -> u64 {
        self.read(file).trim().parse().expect("a number")
    }

    fn counter(&self, file: &str, name: &str) -> u64 {
        let text = self.read(file);
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    fn read(&self, file: &str) -> String {
        let path = self.directories[0].join(file);
        fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for directory in &self.directories {
            // Only what is empty can be removed; a failed test's processes may still be on their
            // way out.
            if !std::thread::panicking() {
                let procs = directory.join("cgroup.procs");
                eventually(EMPTY_LIMIT, "the group is empty", || {
                    fs::read_to_string(&procs).is_ok_and(|ids| ids.is_empty())
                });
            }
            let _ = super::disk::root_command(std::process::Command::new("rmdir").arg(directory)).output();
        }
    }
}

#[track_caller]
fn write(file: &std::path::Path, value: &str) {
    super::disk::write_as_root(&file.display().to_string(), value);
}
