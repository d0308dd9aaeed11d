//! What the service manager is told while the ring is made or recovered. Pure.

use crate::ring::Progress;

/// The line for what has been done so far: of a file of `existing` bytes, or of one of `size` that
/// is made.
pub fn line(progress: Progress, existing: Option<u64>, size: u64) -> String {
    let mib = |bytes: u64| bytes >> 20;
    let percent = |bytes: u64, total: u64| (bytes.saturating_mul(100) / total.max(1)).min(100);
    match progress {
        Progress::Created(bytes) => {
            format!("creating the ring: {} of {} MiB ({} %)", mib(bytes), mib(size), percent(bytes, size))
        }
        // This ends where the log does, so it is of at most the file.
        Progress::Checked(bytes) => {
            let total = existing.unwrap_or(size);
            let (done, all, percent) = (mib(bytes), mib(total), percent(bytes, total));
            format!("recovering the ring: {done} of at most {all} MiB checked ({percent} %)")
        }
        Progress::Counted(bytes) => {
            format!("recovering the ring: counting what waits for QuestDB, {} MiB done", mib(bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pass_has_its_line() {
        let found = |progress| line(progress, Some(64 << 20), 1 << 30);
        for (progress, said) in [
            (Progress::Checked(16 << 20), "recovering the ring: 16 of at most 64 MiB checked (25 %)"),
            (Progress::Checked(48 << 20), "recovering the ring: 48 of at most 64 MiB checked (75 %)"),
            (Progress::Counted(16 << 20), "recovering the ring: counting what waits for QuestDB, 16 MiB done"),
            (Progress::Counted(64 << 20), "recovering the ring: counting what waits for QuestDB, 64 MiB done"),
            (Progress::Created(512 << 20), "creating the ring: 512 of 1024 MiB (50 %)"),
        ] {
            assert_eq!(found(progress), said);
        }
        let new = |progress| line(progress, None, 32 << 20);
        assert_eq!(new(Progress::Created(16 << 20)), "creating the ring: 16 of 32 MiB (50 %)");
        assert_eq!(new(Progress::Created(32 << 20)), "creating the ring: 32 of 32 MiB (100 %)");
    }

    #[test]
    fn a_size_of_nothing_is_no_trouble() {
        let said = line(Progress::Checked(1 << 20), Some(0), 0);
        assert_eq!(said, "recovering the ring: 1 of at most 0 MiB checked (100 %)");
    }
}
