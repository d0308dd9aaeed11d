//! What the service manager is told while the ring is made or recovered. Pure.
//!
//! The ring tells bytes, pass by pass; a count that falls begins the next pass.

/// Follows the passes.
#[derive(Debug)]
pub struct Progress {
    pass: Pass,
    /// Size of the file.
    total: u64,
    last: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// The file is filled with zeros.
    Create,
    /// Records are checked and latest values taken from them; this ends where the log does.
    Scan,
    /// Rows without a fate are counted.
    Count,
}

impl Progress {
    /// Progress of opening a file of `existing` bytes, or of creating one of `size` where there is none.
    pub fn new(existing: Option<u64>, size: u64) -> Self {
        let pass = if existing.is_some() { Pass::Scan } else { Pass::Create };
        Self { pass, total: existing.unwrap_or(size), last: 0 }
    }

    /// The line for so many bytes.
    pub fn tell(&mut self, bytes: u64) -> String {
        if bytes < self.last {
            self.pass = match self.pass {
                Pass::Create => Pass::Scan,
                Pass::Scan | Pass::Count => Pass::Count,
            };
        }
        self.last = bytes;
        let (done, total) = (bytes >> 20, self.total >> 20);
        let percent = (bytes.saturating_mul(100) / self.total.max(1)).min(100);
        match self.pass {
            Pass::Create => format!("creating the ring: {done} of {total} MiB ({percent} %)"),
            Pass::Scan => format!("recovering the ring: {done} of at most {total} MiB checked ({percent} %)"),
            Pass::Count => format!("recovering the ring: counting what waits for QuestDB, {done} MiB done"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pass_has_its_line() {
        let mut found = Progress::new(Some(64 << 20), 1 << 30);
        assert_eq!(found.tell(16 << 20), "recovering the ring: 16 of at most 64 MiB checked (25 %)");
        assert_eq!(found.tell(48 << 20), "recovering the ring: 48 of at most 64 MiB checked (75 %)");
        assert_eq!(found.tell(16 << 20), "recovering the ring: counting what waits for QuestDB, 16 MiB done");

        let mut new = Progress::new(None, 32 << 20);
        assert_eq!(new.tell(16 << 20), "creating the ring: 16 of 32 MiB (50 %)");
        assert_eq!(new.tell(32 << 20), "creating the ring: 32 of 32 MiB (100 %)");
    }

    #[test]
    fn a_size_of_nothing_is_no_trouble() {
        assert_eq!(Progress::new(Some(0), 0).tell(1 << 20), "recovering the ring: 1 of at most 0 MiB checked (100 %)");
    }
}
