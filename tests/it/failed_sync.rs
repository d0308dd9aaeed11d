//! A disk that refuses writes: nothing is acknowledged any more, the daemon ends, and what it had acknowledged is there.
//!
//! The device is real; only its image is made so that it can refuse ([`FailingDisk`]). What the system takes for written although
//! the disk has not taken it is told from what is on the disk by having the system forget its cache.

use std::{collections::BTreeSet, time::Duration};

use crate::support::{
    Daemon, DaemonBuilder, Load, Mosquitto, QuestDb, Readings,
    daemon::pending,
    disk::FailingDisk,
    eventually, heavy,
    relay::{Relay, Tap},
    unique,
};

const LIMIT: Duration = Duration::from_secs(60);

struct Stage {
    daemon: Daemon,
    disk: FailingDisk,
    broker: Mosquitto,
    tap: Tap,
    database: Relay,
    readings: Readings,
}

impl Stage {
    /// A running daemon whose ring is on a disk that is still healthy; the database does not answer yet.
    fn start(name: &str) -> Self {
        let (broker, database, disk) = (Mosquitto::start(), Relay::shut(), FailingDisk::new());
        let (tap, readings) = (Tap::start(broker.port), Readings::new(unique(name), 50));
        let daemon = DaemonBuilder::new()
            .servers(&broker, QuestDb::shared())
            .source(&readings)
            .set("mqtt.url", tap.url())
            .set("questdb.conf", format!("http::addr=127.0.0.1:{};", database.port))
            .set("ring.path", disk.at().join("ring").display().to_string())
            .set("ring.size", "16MiB")
            // Commits of several pages: one of a part of a page is written again with whatever comes next into that page.
            .set("ring.commit_spacing", "50ms")
            .start();
        daemon.wait_subscribed();
        disk.forget_zeros();
        Self { daemon, disk, broker, tap, database, readings }
    }

    /// Lets the disk fail under load, and the daemon end of it.
    #[track_caller]
    fn fail(&mut self) -> Load {
        let load = Load::start(&self.readings, self.broker.port, 2_000);
        let enough = self.tap.count() + 3_000;
        eventually(LIMIT, "readings are acknowledged", || self.tap.count() >= enough);
        self.disk.fail();
        let status = self.daemon.wait_end(LIMIT);
        let log = self.daemon.log();
        assert_eq!(status.code(), Some(5), "{log}");
        let line =
            log.lines().rfind(|line| line.contains("ending with exit code 5")).unwrap_or_else(|| panic!("{log}"));
        let ring = self.daemon.ring().display().to_string();
        for word in [&ring, "the sync of a commit failed", "nothing more is acknowledged", "the next start recovers"] {
            assert!(line.contains(word), "{word:?} is missing in: {line}");
        }
        load
    }

    /// The broker forgets everything, so that only the ring can have what is found in the database afterwards.
    fn forget_broker(&mut self) {
        self.broker.kill9();
        self.broker.restart();
    }

    fn acknowledged(&self) -> BTreeSet<u64> {
        let messages = self.tap.acknowledged();
        messages.iter().map(|(topic, payload)| self.readings.number_of(topic, payload).expect("a reading")).collect()
    }

    /// Starts the daemon and the database; every acknowledged reading gets there, and the ledger balances.
    #[track_caller]
    fn assert_all_acknowledged_are_stored(&mut self) {
        let acknowledged = self.acknowledged();
        assert!(acknowledged.len() >= 3_000);
        self.database.open(QuestDb::shared().port);
        self.daemon.restart();
        eventually(LIMIT, "nothing is pending", || {
            let ledger = self.daemon.status()["ledger"].clone();
            ledger["rows"].as_u64() > Some(0) && pending(&ledger) == 0
        });
        QuestDb::shared().settle(&self.readings.name);
        let present = self.readings.present(QuestDb::shared());
        let missing = acknowledged.difference(&present).count();
        assert_eq!(
            missing,
            0,
            "of {} acknowledged, {} are there\n{}",
            acknowledged.len(),
            present.len(),
            self.daemon.log()
        );
        let ledger = self.daemon.status()["ledger"].clone();
        assert_eq!((&ledger["dropped"], &ledger["rows"]), (&0.into(), &ledger["stored"]), "{ledger}");
    }
}

#[test]
fn nothing_is_acknowledged_after_a_failed_sync_and_what_was_before_is_on_the_disk() {
    let _alone = heavy();
    let mut stage = Stage::start("sync");
    let load = stage.fail();
    // While the disk refuses, so does each start that finds something to bring there, as the service manager's restarts do.
    let before = stage.tap.count();
    stage.daemon.launch();
    assert_eq!(stage.daemon.wait_end(LIMIT).code(), Some(5), "{}", stage.daemon.log());
    let log = stage.daemon.log();
    assert!(log.contains("recovery of") && log.contains("free some space"), "{log}");
    assert_eq!(stage.tap.count(), before, "nothing is acknowledged meanwhile");

    load.finish();
    stage.forget_broker();
    // Had anything been acknowledged that the disk had not taken, it would be gone now.
    stage.disk.forget_cache(FailingDisk::heal);
    stage.assert_all_acknowledged_are_stored();
}

#[test]
fn a_restart_brings_to_the_disk_what_the_system_takes_for_written() {
    let _alone = heavy();
    let mut stage = Stage::start("resync");
    let load = stage.fail();
    let before = stage.tap.count();
    // The disk is well again, and the ring's pages are clean in the cache: no sync writes them by itself.
    stage.disk.heal();
    stage.daemon.restart();
    eventually(LIMIT, "readings are acknowledged again", || stage.tap.count() >= before + 2_000);
    stage.daemon.kill9();
    load.finish();
    stage.forget_broker();
    stage.disk.forget_cache(|_| {});
    stage.assert_all_acknowledged_are_stored();
}

#[test]
fn the_unit_starts_again_after_a_failed_sync() {
    let unit = include_str!("../../systemd/forebay.service");
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default();
    assert_eq!((value("Restart"), value("StartLimitIntervalSec")), ("on-failure", "0"), "as often as it takes");
    assert!(!value("RestartPreventExitStatus").split(' ').any(|code| code == "5"));
}
