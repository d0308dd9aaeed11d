//! What the kernel tells of this process: time, memory, threads and descriptors (proc(5)). What
//! cannot be read is left out.

use procfs::process::Process as Kernel;
use rustix::process::{Resource, getrlimit};

/// What this process takes of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Process {
    /// Time its threads have run, in the kernel too.
    pub cpu_s: Option<f64>,
    /// Descriptors that are open.
    pub open_fds: Option<u64>,
    /// Most descriptors that may be open at a time; none while there is no limit.
    pub max_fds: Option<u64>,
    /// Address space, the mapped ring included.
    pub virtual_bytes: Option<u64>,
    /// What of it is in memory, pages of the mapped ring included.
    pub resident_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// When it started, since the Unix epoch, by the clock as it is set now.
    pub started_s: Option<f64>,
}

impl Process {
    /// Asks the kernel about this process.
    #[must_use]
    pub fn read() -> Self {
        let kernel = Kernel::myself().ok();
        let stat = kernel.as_ref().and_then(|kernel| kernel.stat().ok());
        let stat = stat.as_ref();
        let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
        let started_s = |started: u64| Some(procfs::boot_time_secs().ok()? as f64 + seconds(started));
        Self {
            cpu_s: stat.map(|stat| seconds(stat.utime.saturating_add(stat.stime))),
            // One is the look itself.
            open_fds: kernel.and_then(|kernel| Some(kernel.fd_count().ok()?.saturating_sub(1) as u64)),
            max_fds: getrlimit(Resource::Nofile).current,
            virtual_bytes: stat.map(|stat| stat.vsize),
            resident_bytes: stat.map(|stat| stat.rss.saturating_mul(procfs::page_size())),
            threads: stat.and_then(|stat| stat.num_threads.try_into().ok()),
            started_s: stat.and_then(|stat| started_s(stat.starttime)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn this_process_has_all_of_it() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let told = Process::read();
        assert!(told.cpu_s.is_some_and(|cpu_s| cpu_s >= 0.0), "{told:?}");
        assert!(told.open_fds.is_some_and(|fds| fds >= 3 && told.max_fds.is_none_or(|most| fds <= most)), "{told:?}");
        assert!(
            told.resident_bytes.zip(told.virtual_bytes).is_some_and(|(in_memory, all)| in_memory <= all),
            "{told:?}"
        );
        assert!(told.resident_bytes.is_some_and(|bytes| bytes > 0) && told.threads.is_some_and(|threads| threads > 0));
        assert!(
            told.started_s.is_some_and(|started_s| started_s > now - 86_400.0 && started_s < now + 2.0),
            "{told:?}"
        );
    }

    #[test]
    fn an_open_file_is_counted() {
        let file = fs::File::open("/proc/self/stat").expect("opens");
        // Other tests open and close files meanwhile: one of many is not told apart from them.
        let held: Vec<_> = (0..200).map(|_| file.try_clone().expect("a descriptor")).collect();
        assert!(Process::read().open_fds.is_some_and(|count| count > held.len() as u64));
    }
}
