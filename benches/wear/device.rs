//! The write counters of the block device below a directory, from `/proc/diskstats` (Linux, Documentation/admin-guide/iostats.rst).

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

/// `/proc/diskstats` counts in sectors of 512 bytes, whatever the device's own are.
const SECTOR_BYTES: u64 = 512;

/// A block device.
#[derive(Debug, Clone)]
pub struct Device {
    /// Its name, such as `vda`.
    pub name: String,
    major: u32,
    minor: u32,
}

/// What the device has done since it was attached.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Bytes written.
    pub bytes: u64,
    /// Write requests.
    pub writes: u64,
    /// Flushes of its cache.
    pub flushes: u64,
}

impl Counters {
    /// What was done since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            bytes: self.bytes - earlier.bytes,
            writes: self.writes - earlier.writes,
            flushes: self.flushes - earlier.flushes,
        }
    }
}

impl Device {
    /// The device that holds the file system of `path`.
    pub fn below(path: &Path) -> io::Result<Self> {
        let id = fs::metadata(path)?.dev();
        let (major, minor) = (rustix::fs::major(id), rustix::fs::minor(id));
        let device = Self { name: String::new(), major, minor };
        let name = device.line()?.split_whitespace().nth(2).unwrap_or_default().to_owned();
        Ok(Self { name, ..device })
    }

    fn line(&self) -> io::Result<String> {
        let text = fs::read_to_string("/proc/diskstats")?;
        let ours = |line: &&str| {
            let mut fields = line.split_whitespace().map(|field| field.parse::<u32>().ok());
            (fields.next().flatten(), fields.next().flatten()) == (Some(self.major), Some(self.minor))
        };
        let found = text.lines().find(ours).map(str::to_owned);
        found.ok_or_else(|| {
            let what = format!("device {}:{} is no block device with counters of its own", self.major, self.minor);
            io::Error::new(io::ErrorKind::Unsupported, what)
        })
    }

    /// Its counters now.
    pub fn counters(&self) -> Counters {
        let line = self.line().unwrap_or_default();
        let fields: Vec<u64> = line.split_whitespace().skip(3).map(|field| field.parse().unwrap_or(0)).collect();
        let field = |number: usize| fields.get(number - 1).copied().unwrap_or(0);
        Counters { writes: field(5), bytes: field(7) * SECTOR_BYTES, flushes: field(16) }
    }
}
