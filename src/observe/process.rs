//! What the kernel tells of this process: time, memory, threads and descriptors (proc(5)). What
//! cannot be read is left out.

use std::{fs, path::Path};

use rustix::process::{Resource, getrlimit};

use crate::files::read::read_regular_text;

/// Most bytes of `/proc/self/stat`; it has some 300.
const MAX_STAT_BYTES: u64 = 4 << 10;
/// Most bytes of `/proc/stat`. It has a line for each core, and a number for each interrupt.
const MAX_SYSTEM_BYTES: u64 = 1 << 20;
/// Most descriptors that are counted. Who has more is told to have so many.
const MAX_FDS_COUNTED: usize = 1 << 16;

/// What this process takes of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Process {
    /// Time its threads have run, in the kernel too.
    pub cpu_s: Option<f64>,
    /// Descriptors that are open; at most 65536 are counted.
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
        let stat = read_regular_text(Path::new("/proc/self/stat"), MAX_STAT_BYTES).ok();
        let system = read_regular_text(Path::new("/proc/stat"), MAX_SYSTEM_BYTES).ok();
        let units = Units {
            ticks_per_s: rustix::param::clock_ticks_per_second(),
            page_bytes: rustix::param::page_size() as u64,
        };
        let told = Self::from_texts(stat.as_deref(), system.as_deref(), units);
        Self { open_fds: open_fds(), max_fds: getrlimit(Resource::Nofile).current, ..told }
    }

    /// What the texts of `/proc/self/stat` and `/proc/stat` tell.
    fn from_texts(stat: Option<&str>, system: Option<&str>, units: Units) -> Self {
        let Some(stat) = stat.and_then(Stat::parse) else { return Self::default() };
        let seconds = |ticks: u64| (units.ticks_per_s > 0).then(|| ticks as f64 / units.ticks_per_s as f64);
        let booted_s = system.and_then(boot_time_s).map(|booted| booted as f64);
        Self {
            cpu_s: seconds(stat.user_ticks.saturating_add(stat.kernel_ticks)),
            virtual_bytes: Some(stat.virtual_bytes),
            resident_bytes: Some(stat.resident_pages.saturating_mul(units.page_bytes)),
            threads: Some(stat.threads),
            started_s: booted_s.zip(seconds(stat.started_ticks)).map(|(booted, since)| booted + since),
            ..Self::default()
        }
    }
}

/// What the kernel counts in (`sysconf(3)`).
#[derive(Debug, Clone, Copy)]
struct Units {
    ticks_per_s: u64,
    page_bytes: u64,
}

/// Fields of `/proc/self/stat` (`proc_pid_stat(5)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    user_ticks: u64,
    kernel_ticks: u64,
    threads: u64,
    /// Since boot.
    started_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    /// Reads the line. The second field is the program's name in parentheses, which may itself have
    /// spaces and parentheses; so the third field is what follows the last one.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Fields are numbered from 1 in the manual.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            user_ticks: field(14)?,
            kernel_ticks: field(15)?,
            threads: field(20)?,
            started_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// When the machine started, in seconds since the Unix epoch, as `/proc/stat` tells it.
fn boot_time_s(system: &str) -> Option<u64> {
    system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Descriptors of this process, without the one that they are read through.
fn open_fds() -> Option<u64> {
    let mut count: u64 = 0;
    for entry in fs::read_dir("/proc/self/fd").ok()?.take(MAX_FDS_COUNTED + 1) {
        entry.ok()?;
        count += 1;
    }
    Some(count.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "4711 (forebay) S 1 4711 4711 0 -1 4194560 9000 0 12 0 250 75 0 0 20 0 9 0 12345 \
                        1073741824 2500 18446744073709551615 1 1 0 0 0 0 0 4096 17411 0 0 0 17 1 0 0 0 0 0\n";
    const SYSTEM: &str =
        "cpu  10 0 20 30 0 0 0 0 0 0\nintr 5 0 1\nctxt 7\nbtime 1700000000\nprocesses 9\nprocs_running 1\n";
    const UNITS: Units = Units { ticks_per_s: 100, page_bytes: 4096 };

    #[test]
    fn the_kernel_s_figures_become_seconds_and_bytes() {
        let expected = Process {
            cpu_s: Some(3.25),
            virtual_bytes: Some(1 << 30),
            resident_bytes: Some(2500 * 4096),
            threads: Some(9),
            started_s: Some(1_700_000_123.45),
            ..Process::default()
        };
        assert_eq!(Process::from_texts(Some(STAT), Some(SYSTEM), UNITS), expected);
        let named = STAT.replace("(forebay)", "(a) R 1 (b c))");
        assert_eq!(Process::from_texts(Some(&named), Some(SYSTEM), UNITS), expected, "a name may be anything");
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let all = Process::from_texts(Some(STAT), Some(SYSTEM), UNITS);
        for system in [None, Some(""), Some("btime"), Some("btime soon\n"), Some("btime -1\n"), Some("xbtime 1\n")] {
            let told = Process::from_texts(Some(STAT), system, UNITS);
            assert_eq!(told, Process { started_s: None, ..all }, "{system:?}");
        }
        let cut = STAT.find(" 2500").expect("the last field that is used");
        for stat in [None, Some(""), Some(")"), Some("no parenthesis"), Some(&STAT[..cut])] {
            assert_eq!(Process::from_texts(stat, Some(SYSTEM), UNITS), Process::default(), "{stat:?}");
        }
        let negative = STAT.replace(" 2500 ", " -1 ");
        assert_eq!(Process::from_texts(Some(&negative), Some(SYSTEM), UNITS), Process::default());
        let timeless = Process::from_texts(Some(STAT), Some(SYSTEM), Units { ticks_per_s: 0, ..UNITS });
        assert_eq!(timeless, Process { cpu_s: None, started_s: None, ..all }, "no division by zero");
        let huge = STAT.replace(" 2500 ", " 18446744073709551615 ").replace(" 250 75 ", " 18446744073709551615 75 ");
        assert_eq!(Process::from_texts(Some(&huge), None, UNITS).resident_bytes, Some(u64::MAX), "no overflow");
    }

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
        assert!(open_fds().is_some_and(|count| count > held.len() as u64));
    }
}
