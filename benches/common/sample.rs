//! What a process has used, from /proc.

use std::{
    fs::read_to_string,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// `USER_HZ`, in which proc(5) counts: 100 on every architecture that forebay is built for.
const TICKS_PER_SECOND: u64 = 100;
const INTERVAL: Duration = Duration::from_millis(20);

/// CPU time of a process so far, all threads, user and system.
pub fn cpu(pid: u32) -> Duration {
    let stat = read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold spaces; utime and stime are the 12th and 13th fields after it.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
}

#[allow(dead_code, reason = "one of the benchmarks shows it")]
/// Bytes the process has caused to be written to storage (`write_bytes` of proc(5): counted when pages are dirtied).
pub fn written(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/io"), "write_bytes:")
}

fn anonymous(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/status"), "RssAnon:") * 1024
}

fn field(file: &str, name: &str) -> u64 {
    let text = read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Watches the anonymous memory of a process.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u64>>,
}

/// Anonymous memory of a process in bytes, at equal steps of time.
pub struct Course(Vec<u64>);

impl Watch {
    /// Starts watching.
    pub fn start(pid: u32) -> Self {
        let stop: Arc<AtomicBool> = Arc::default();
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut course = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                course.push(anonymous(pid));
                thread::sleep(INTERVAL);
            }
            course
        });
        Self { stop, thread }
    }

    /// What was seen.
    pub fn finish(self) -> Course {
        self.stop.store(true, Ordering::Relaxed);
        Course(self.thread.join().unwrap_or_default())
    }
}

impl Course {
    /// The peak in bytes.
    pub fn peak(&self) -> u64 {
        self.0.iter().copied().max().unwrap_or(0)
    }

    /// The peaks of so many equal parts of the time, in bytes.
    #[allow(dead_code, reason = "one of the benchmarks shows it")]
    pub fn peaks(&self, parts: usize) -> Vec<u64> {
        let part = self.0.len().div_ceil(parts.max(1)).max(1);
        self.0.chunks(part).map(|chunk| chunk.iter().copied().max().unwrap_or(0)).collect()
    }
}
