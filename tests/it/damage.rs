//! Damage never stops a start: what is intact is recovered, what is not is told. Only an unwritable place or a foreign lock stops one.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::support::{
    Daemon, DaemonBuilder, Mosquitto, QuestDb, Readings, daemon::pending, eventually, heavy, scratch, unique,
};

const LIMIT: Duration = Duration::from_secs(60);
const SLOT_B: u64 = 4096;
const DATA: u64 = 8192;
/// Readings in the ring when it is damaged.
const HELD: u64 = 3_000;

struct Stage {
    broker: Mosquitto,
    questdb: QuestDb,
    readings: Readings,
    daemon: Daemon,
}

impl Stage {
    /// A daemon that was killed with [`HELD`] readings in its ring, its database not there yet.
    fn killed(name: &str) -> Self {
        let (broker, questdb) = (Mosquitto::start(), QuestDb::prepared(None));
        let readings = Readings::new(unique(name), 10);
        let builder = DaemonBuilder::new().servers(&broker, &questdb).source(&readings).set("ring.size", "2MiB");
        let mut daemon = builder.set("mqtt.max_payload", "64KiB").start();
        daemon.wait_subscribed();
        readings.publish(&mut broker.publisher().expect("connects"), 0..HELD);
        eventually(LIMIT, "all are acknowledged", || daemon.broker()["acknowledged"] == HELD);
        daemon.kill9();
        Self { broker, questdb, readings, daemon }
    }

    fn ring(&self) -> fs::File {
        fs::OpenOptions::new().read(true).write(true).open(self.daemon.ring()).expect("the ring")
    }

    /// The daemon and the database start; so many rows come of what was held, the next readings are stored, and the ledger balances.
    fn goes_on(&mut self, held: impl FnOnce(u64) -> bool) {
        self.daemon.restart();
        self.questdb.restart();
        self.daemon.wait_subscribed();
        self.readings.publish(&mut self.broker.publisher().expect("connects"), HELD..HELD + 500);
        let newest = format!("SELECT count() FROM '{}' WHERE seq >= {}", self.readings.name, HELD / 10);
        eventually(LIMIT, "new readings are stored", || self.questdb.number(&newest) == 500);
        eventually(LIMIT, "nothing is pending", || pending(&self.daemon.status()["ledger"]) == 0);
        self.questdb.settle(&self.readings.name);
        let rows = self.questdb.count(&self.readings.name) as u64;
        assert!(held(rows - 500), "{} of {HELD} readings held\n{}", rows - 500, self.daemon.log());
        let ledger = self.daemon.status()["ledger"].clone();
        assert_eq!(ledger["stored"], rows, "{ledger}");
        let parts = ["pending", "stored", "quarantined", "dropped", "coalesced"];
        let sum: u64 = parts.iter().filter_map(|part| ledger[part].as_u64()).sum();
        assert_eq!(ledger["rows"], sum, "the ledger balances: {ledger}");
    }
}

fn flip(file: &fs::File, at: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 0x10], at).expect("written");
}

#[test]
fn flipped_bits_cost_what_they_touch_and_are_told() {
    let _alone = heavy();
    let mut stage = Stage::killed("bits");
    let ring = stage.ring();
    for at in [20_000, 60_000, 60_500, 150_000] {
        flip(&ring, DATA + at);
    }
    stage.goes_on(|held| (HELD - 12..HELD).contains(&held));
    let log = stage.daemon.log();
    assert!(log.contains("damage in the ring: these records are lost") && log.contains("bytes="), "{log}");
    assert!(log.contains(&format!("tables={}", stage.readings.name)), "the table is named: {log}");
    let dropped = stage.daemon.ledger("dropped");
    assert!((1..=12).contains(&dropped), "{dropped}");
}

#[test]
fn header_slots_cost_nothing_one_or_both() {
    let _alone = heavy();
    for slots in [&[0][..], &[SLOT_B], &[0, SLOT_B]] {
        let mut stage = Stage::killed("slots");
        let ring = stage.ring();
        for slot in slots {
            flip(&ring, slot + 70);
        }
        stage.goes_on(|held| held == HELD);
        assert_eq!(stage.daemon.ledger("dropped"), 0);
        let told = if slots.len() == 2 { "both header slots" } else { "one of the ring's two header slots" };
        assert!(stage.daemon.log().contains(told), "{}", stage.daemon.log());
    }
}

#[test]
fn a_file_cut_short_keeps_what_is_left_of_it() {
    let _alone = heavy();
    for (length, most) in [(DATA + 100_000, HELD - 1), (5_000, 0), (0, 0)] {
        let mut stage = Stage::killed("cut");
        stage.ring().set_len(length).expect("cut");
        stage.goes_on(|held| held <= most && (most == 0) == (held == 0));
    }
}

#[test]
fn what_is_no_ring_of_ours_is_moved_aside() {
    let _alone = heavy();
    let mut stage = Stage::killed("aside");
    fs::write(stage.daemon.ring(), vec![0xAB; 1 << 20]).expect("written");
    stage.goes_on(|held| held == 0);
    let aside = |suffix: &str| PathBuf::from(format!("{}.{suffix}", stage.daemon.ring().display()));
    assert!(aside("damaged-1").exists(), "{}", stage.daemon.log());

    assert_eq!(stage.daemon.stop().code(), Some(0));
    let mut bytes = fs::read(stage.daemon.ring()).expect("the ring");
    for slot in [0, SLOT_B as usize] {
        let slot = &mut bytes[slot..slot + 512];
        slot[8] = 9;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&slot[..12]), &slot[16..]);
        slot[12..16].copy_from_slice(&crc.to_le_bytes());
    }
    fs::write(stage.daemon.ring(), bytes).expect("written");
    stage.daemon.restart();
    let aside = PathBuf::from(format!("{}.version-9-1", stage.daemon.ring().display()));
    assert!(aside.exists(), "{}", stage.daemon.log());
}

#[test]
fn a_ring_of_the_first_format_and_of_an_odd_length_is_taken_over() {
    let _alone = heavy();
    let (broker, questdb) = (Mosquitto::start(), QuestDb::start());
    let readings = Readings::new(unique("first"), 10);
    let mut daemon = DaemonBuilder::new().servers(&broker, &questdb).source(&readings).write();
    // Its data are no multiple of the larger pages of other machines.
    let mut bytes = include_bytes!("../data/ring-format-1.bin").to_vec();
    bytes.resize(1 << 20, 0);
    fs::write(daemon.ring(), bytes).expect("written");
    daemon.restart();
    eventually(LIMIT, "its rows are stored", || questdb.count("sensors") == 21);
    assert_eq!(daemon.ledger("rows"), 21);
}

#[test]
fn only_an_unwritable_place_or_a_foreign_lock_stops_a_start() {
    let _alone = heavy();
    let (broker, questdb) = (Mosquitto::start(), QuestDb::prepared(None));
    let readings = Readings::new(unique("place"), 10);
    let builder = || DaemonBuilder::new().servers(&broker, &questdb).source(&readings);
    let refused = |daemon: &mut Daemon, words: &[&str]| {
        daemon.launch();
        let code = daemon.wait_end(LIMIT).code();
        let log = daemon.log();
        assert_eq!(code, Some(5), "{log}");
        assert!(words.iter().all(|word| log.contains(word)), "{words:?} in {log}");
    };

    let first = builder().start();
    let mut second = builder().set("ring.path", first.ring().display().to_string()).write();
    refused(&mut second, &["is locked", "another forebay"]);

    // A file system of its own, too small for the ring, then read-only.
    let place = Mounted::tmpfs("8m");
    let path = place.path().join("ring");
    let mut full = builder().set("ring.path", path.display().to_string()).set("ring.size", "64MiB").write();
    refused(&mut full, &["ring", "free some space, or lower [ring] size"]);
    assert_eq!(fs::read_dir(place.path()).expect("the place").count(), 0, "nothing is left behind");
    place.make_read_only();
    refused(&mut full, &["let the daemon's user write there"]);

    let directory = scratch("directory");
    let mut occupied = builder().set("ring.path", directory.display().to_string()).write();
    refused(&mut occupied, &["cannot open", "remove what stands there"]);
}

#[test]
fn a_ring_on_a_disk_that_fills_up_goes_on() {
    let _alone = heavy();
    let (broker, questdb) = (Mosquitto::start(), QuestDb::start());
    let readings = Readings::new(unique("fills"), 10);
    let place = Mounted::tmpfs("6m");
    let path = place.path().join("ring").display().to_string();
    let builder = DaemonBuilder::new().servers(&broker, &questdb).source(&readings).set("ring.path", path);
    let daemon = builder.set("ring.size", "4MiB").set("mqtt.max_payload", "64KiB").start();
    daemon.wait_subscribed();
    let mut rest = fs::File::create(place.path().join("rest")).expect("created");
    let full = std::io::copy(&mut std::io::repeat(7), &mut rest).expect_err("the file system is full");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    readings.publish(&mut broker.publisher().expect("connects"), 0..20_000);
    readings.assert_exactly_once(&questdb, 20_000, LIMIT);
}

/// A file system of the test's own.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(size: &str) -> Self {
        let path = scratch("mount");
        let options = format!("size={size}");
        run("mount", &["-t", "tmpfs", "-o", &options, "forebay-test", &path.display().to_string()]);
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn make_read_only(&self) {
        run("mount", &["-o", "remount,ro", &self.0.display().to_string()]);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().expect("can be run");
    assert!(status.success(), "{program} {arguments:?}: {status}; mounting needs root");
}
