//! Small machines: a file system without much room, and 64 MB of memory with half a processor.
//! Nothing is set; the defaults fit.

use std::time::Duration;

use crate::support::{
    Daemon, DaemonBuilder, Load, Mosquitto, QuestDb, Readings,
    cgroup::Cgroup,
    daemon::{count, pending, told},
    disk::Volume,
    eventually, eventually_eq, heavy,
    relay::Relay,
    unique,
};

const LIMIT: Duration = Duration::from_mins(2);
const MIB: u64 = 1 << 20;
/// The least machine (docs/small.md).
const MEMORY_BYTES: u64 = 64_000_000;
const MILLICORES: u64 = 500;

/// A daemon whose files are on a volume, with sizes that it chooses itself.
fn builder_on(volume: &Volume) -> DaemonBuilder {
    let path = |name: &str| volume.at().join(name).display().to_string();
    DaemonBuilder::new().unset("ring", "size").set("ring.path", path("ring")).set("quarantine.path", path("quarantine"))
}

fn ring_mib(daemon: &Daemon) -> u64 {
    daemon.status()["ring"]["size_bytes"].as_u64().expect("a size") / MIB
}

fn quarantine_mib(daemon: &Daemon) -> u64 {
    let (code, out, error) = told(&daemon.cli(&["quarantine", "ls", "--json"]));
    assert_eq!(code, 0, "{error}");
    serde_json::from_str::<serde_json::Value>(&out).expect("JSON")["summary"]["size_bytes"].as_u64().expect("a size")
        / MIB
}

#[test]
fn a_small_disk_gets_small_files_which_stay_as_they_are_when_its_room_changes() {
    let volume = Volume::ext4(400);
    let builder = builder_on(&volume).set("source.s.topic", "a/{b}").set("source.s.table", "t");
    let mut daemon = builder.write();
    let (code, out, said) = told(&daemon.cli(&["check"]));
    let of_room = format!("{} has ", volume.at().display());
    assert!(
        code == 0 && said.contains(&of_room) && said.contains("ring.size is ") && said.ends_with("valid\n"),
        "{said}"
    );
    assert!(out.contains("  # default, 256MiB elsewhere: "), "{out}");
    daemon.restart();
    let sizes = (ring_mib(&daemon), quarantine_mib(&daemon));
    assert!((40..=49).contains(&sizes.0) && sizes.1 == sizes.0 / 16, "{sizes:?} of 400 MiB");
    let log = daemon.log();
    assert!(log.contains(&format!("ring.size is {}MiB instead of 256MiB", sizes.0)), "{log}");
    assert!(volume.names().iter().all(|name| name.starts_with("ring") || name.starts_with("quarantine")));
    daemon.stop();

    // Now there is no room at all, and then more than there was.
    volume.fill();
    daemon.restart();
    assert_eq!((ring_mib(&daemon), quarantine_mib(&daemon)), sizes);
    daemon.stop();
    volume.free();
    daemon.restart();
    assert_eq!((ring_mib(&daemon), quarantine_mib(&daemon)), sizes);
    let (code, out, said) = told(&daemon.cli(&["check"]));
    assert!(code == 0 && said.ends_with("valid\n") && !said.contains("ring.size"), "{said}");
    assert!(out.contains("256MiB elsewhere: the file is there and keeps its size"), "{out}");
    assert_eq!(daemon.stop().code(), Some(0));
    let log = daemon.log();
    assert!(!log.contains("another size than configured") && !log.contains("moved"), "{log}");
    assert!(!volume.names().iter().any(|name| name.contains("damaged")), "{:?}", volume.names());
}

#[test]
fn a_disk_without_room_for_the_least_ring_is_told_of_as_before() {
    let volume = Volume::ext4(16);
    let mut daemon = builder_on(&volume).set("source.s.topic", "a/{b}").set("source.s.table", "t").write();
    volume.fill();
    daemon.launch();
    assert_eq!(daemon.wait_end(LIMIT).code(), Some(5));
    let log = daemon.log();
    assert!(log.contains("ring.size is 4MiB instead of 256MiB") && log.contains("No space left on device"), "{log}");
}

#[test]
fn sixty_four_megabytes_and_half_a_processor_are_enough() {
    let _alone = heavy();
    let (group, card) = (Cgroup::new(MEMORY_BYTES, MILLICORES), Volume::card());
    let (broker, questdb, mut relay) = (Mosquitto::start(), QuestDb::shared(), Relay::shut());
    let readings = Readings::new(unique("small"), 200);
    let mut daemon = builder_on(&card)
        .servers(&broker, questdb)
        .source(&readings)
        .set("questdb.conf", format!("http::addr=127.0.0.1:{};", relay.port))
        .write();
    daemon.wrapper = group.wrapper();
    daemon.restart();
    daemon.wait_subscribed();
    let log = daemon.log();
    assert!(log.contains("there are 61 MiB of memory: latest.max_bytes is 7MiB instead of 96MiB"), "{log}");
    assert!((100..=119).contains(&ring_mib(&daemon)), "{} MiB of a card of 1 GB", ring_mib(&daemon));

    // The database is away for the first 20,000, and comes back while the others come.
    let load = Load::start(&readings, broker.port, 1_000);
    eventually(LIMIT, "a backlog is in the ring", || daemon.ledger("rows") >= 20_000);
    relay.open(questdb.port);
    eventually(LIMIT, "more is taken in", || load.acked() >= 30_000);
    let sent = load.finish();
    daemon.wait_drained(sent, LIMIT);
    let ledger = daemon.status()["ledger"].clone();
    assert_eq!((count(&ledger, "rows"), count(&ledger, "stored"), pending(&ledger)), (sent, sent, 0), "{ledger}");
    readings.assert_exactly_once(questdb, sent, LIMIT);
    assert_eq!(group.kills(), 0);
    assert!(group.peak_bytes() <= MEMORY_BYTES && group.anonymous_bytes() < MEMORY_BYTES / 2);
    eventually_eq(LIMIT, "the series that are known", 200, || {
        daemon.status()["latest"]["series"].as_u64().unwrap_or(0)
    });
    assert_eq!(daemon.stop().code(), Some(0));
}
