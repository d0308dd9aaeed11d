//! Whether the files are where the next start looks for them. While one is not, nothing is taken in or acknowledged: a kill would lose it.

use crate::{flush::quarantine::Quarantine, ring::Ring};

/// What was told last.
#[derive(Debug, Default)]
pub struct Places {
    told: Option<String>,
}

impl Places {
    /// Looks at the names of the ring's file and the quarantine's, and halts the intake or lets it go on.
    pub fn look(&mut self, ring: &Ring, quarantine: &Quarantine) {
        let reason = ring.look_at_place().err().map(|why| why.to_string());
        let reason = reason.or_else(|| quarantine.look_at_place());
        // The committer looks before it tells of each commit, and halts by itself.
        if reason != ring.halted() {
            ring.halt(reason.as_deref());
        }
        if reason == self.told {
            return;
        }
        if let Some(reason) = &reason {
            tracing::error!(
                %reason,
                "nothing is taken in or acknowledged until this is mended: bring the file back under its name, or stop forebay and do not \
                 kill it (where nothing has the name, it then writes the file there again); what is in the ring goes on to be stored"
            );
        } else {
            tracing::info!("the files are in their places again: messages are taken in and acknowledged");
        }
        self.told = reason;
    }
}

/// Writes a closed ring to its place again, where that is free. A ring that lies where it should is left alone.
pub fn put_back(ring: &Ring, progress: &mut dyn FnMut(u64)) {
    let Err(displaced) = ring.look_at_place() else { return };
    match ring.put_back(progress) {
        Ok(()) => tracing::warn!(%displaced, "the ring was written to its place again, with all that is in it"),
        Err(why) => {
            let pending_rows = ring.ledger().pending;
            tracing::error!(%displaced, %why, pending_rows, "the ring cannot be written to its place again; rows that are pending are lost unless its file is brought back");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc, time::Duration};

    use super::*;
    use crate::{
        clock::SystemClock,
        observe::heartbeat::Heartbeats,
        point::Received,
        ring::{AppendError, Kind, Opened, Part, RecoveryReport, still::Still},
        settings::{self, Bytes, Durability},
    };

    fn open(directory: &std::path::Path, durability: Durability) -> (Ring, RecoveryReport) {
        let settings = settings::Ring {
            path: directory.join("ring"),
            size: Bytes::mib(1),
            durability,
            ..settings::Ring::default()
        };
        let clock: crate::clock::SharedClock = Arc::new(SystemClock);
        let heartbeat = Heartbeats::new(Arc::clone(&clock)).register("committer");
        let opened = Ring::open(&settings, Duration::ZERO, clock, heartbeat, &mut |_| {}, &mut |_| {}).unwrap();
        let Opened { ring, report } = opened;
        (ring, report)
    }

    fn quarantine(directory: &std::path::Path) -> Quarantine {
        let settings = settings::Quarantine { path: directory.join("quarantine"), size: Bytes::mib(1) };
        Quarantine::open(&settings).unwrap().0
    }

    fn append(ring: &Ring) -> Result<crate::ring::Appended, AppendError> {
        ring.append(&[Part { kind: Kind::DeadLetter, body: b"x", ..Part::default() }], Received::default())
    }

    #[test]
    fn a_ring_without_its_file_takes_nothing_in_and_is_put_back_at_the_stop() {
        for durability in [Durability::Commit, Durability::Interval, Durability::Memory] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("ring");
            let (ring, _) = open(directory.path(), durability);
            let quarantine = quarantine(directory.path());
            let mut places = Places::default();
            append(&ring).unwrap();
            places.look(&ring, &quarantine);
            assert_eq!(ring.halted(), None);
            fs::remove_file(&path).unwrap();
            places.look(&ring, &quarantine);
            assert!(ring.halted().unwrap().contains("is gone"), "{durability:?}");
            assert!(matches!(append(&ring), Err(AppendError::Halted(_))));
            ring.close().unwrap();
            put_back(&ring, &mut |_| {});
            drop(ring);
            let (ring, report) = open(directory.path(), durability);
            assert_eq!((report.clean, report.created, report.records), (true, false, 1), "{durability:?}");
            ring.close().unwrap();
        }
    }

    #[test]
    fn a_ring_whose_place_is_taken_goes_on_once_its_file_is_back_and_never_replaces_another() {
        let directory = tempfile::tempdir().unwrap();
        let (path, aside) = (directory.path().join("ring"), directory.path().join("aside"));
        let (ring, _) = open(directory.path(), Durability::Commit);
        let quarantine = quarantine(directory.path());
        let mut places = Places::default();
        fs::rename(&path, &aside).unwrap();
        fs::write(&path, "mine").unwrap();
        places.look(&ring, &quarantine);
        assert!(ring.halted().unwrap().contains("another file has taken the place"));
        put_back(&ring, &mut |_| {});
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        fs::rename(&aside, &path).unwrap();
        places.look(&ring, &quarantine);
        assert_eq!(ring.halted(), None);
        append(&ring).unwrap();
        ring.close().unwrap();
    }

    #[test]
    fn nothing_is_acknowledged_from_the_moment_the_file_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let (path, aside) = (directory.path().join("ring"), directory.path().join("aside"));
        let (ring, _) = open(directory.path(), Durability::Commit);
        let quarantine = quarantine(directory.path());
        fs::rename(&path, &aside).unwrap();
        let end = append(&ring).unwrap().end;
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        let wait = |done: &dyn Fn() -> bool| {
            while !done() {
                assert!(std::time::Instant::now() < deadline);
                std::thread::yield_now();
            }
        };
        wait(&|| ring.halted().is_some());
        assert!(ring.marks().durable.pos >= end && ring.ackable().borrow().pos < end);
        fs::rename(&aside, &path).unwrap();
        // Whether it was told before or not.
        Places::default().look(&ring, &quarantine);
        assert_eq!(ring.halted(), None);
        wait(&|| ring.ackable().borrow().pos >= end);
        ring.close().unwrap();
    }

    #[test]
    fn what_is_synced_meanwhile_is_acknowledged_only_once_the_file_is_back() {
        let media = crate::ring::media::MemoryMedia::with(vec![0; 1 << 20]);
        crate::ring::format(&media, 1).unwrap();
        let clock: crate::clock::SharedClock = Arc::new(SystemClock);
        let heartbeat = Heartbeats::new(Arc::clone(&clock)).register("committer");
        let settings = settings::Ring::default();
        let mut still = Still::open(Box::new(media), &settings, Duration::ZERO, clock, heartbeat).unwrap();
        let ring = still.ring.clone();
        let end = append(&ring).unwrap().end;
        ring.halt(Some("a test"));
        still.commit().unwrap();
        assert!(ring.ackable().borrow().pos < end && ring.marks().durable.pos >= end);
        ring.halt(None);
        still.commit().unwrap();
        assert!(ring.ackable().borrow().pos >= end);
    }
}
