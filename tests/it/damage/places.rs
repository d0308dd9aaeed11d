//! The place is full, read-only, not ours, or taken by something else.

use std::{collections::BTreeSet, fs, os::unix::net::UnixListener, path::Path, process::Command};

use super::{AFTER, BEFORE, LIMIT, Stage, beside};
use crate::support::{DaemonBuilder, disk::Volume, eventually, scratch};

const NONE: BTreeSet<u64> = BTreeSet::new();

/// Puts the ring or the quarantine on a volume.
fn on(volume: &Volume, section: &'static str) -> impl FnOnce(DaemonBuilder) -> DaemonBuilder + use<> {
    let path = volume.at().join(section).display().to_string();
    move |builder| builder.set(&format!("{section}.path"), path)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("chmod");
}

/// Root may write everywhere, unless it gives that up.
fn without_privileges() -> Vec<String> {
    let setpriv = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"];
    if rustix::process::geteuid().is_root() { setpriv.map(String::from).to_vec() } else { Vec::new() }
}

#[test]
fn a_full_disk_is_told_before_anything_is_written_and_nothing_stays_behind() {
    let volume = Volume::ext4(16);
    let mut stage = Stage::prepared("full", |builder| on(&volume, "ring")(builder).set("ring.size", "64MiB"));
    let ring = stage.daemon.ring().display().to_string();
    stage.assert_refused(&[&ring, "No space left", "free some space, or lower [ring] size"]);
    assert_eq!(volume.names(), [""; 0], "nothing is left behind");
    // As the message says.
    stage.daemon.reconfigure(|builder| builder.set("ring.size", "1MiB"));
    stage.go_on();
    stage.assert_balanced(AFTER, &NONE);
}

#[test]
fn a_ring_goes_on_when_its_disk_fills_up_and_starts_there_too() {
    let volume = Volume::ext4(16);
    let mut stage =
        Stage::prepared("fills", |builder| on(&volume, "ring")(builder).set("questdb.resend_window", "100ms"));
    stage.connect();
    stage.start();
    volume.fill();
    stage.publish(BEFORE);
    stage.end(false);
    stage.start();
    // More than a lap: none of it needs new space.
    stage.publish(6_000);
    stage.assert_balanced(BEFORE + 6_000, &NONE);
}

#[test]
fn a_read_only_disk_stops_a_start() {
    let volume = Volume::ext4(16);
    let mut stage = Stage::prepared("read_only", on(&volume, "ring"));
    stage.start();
    stage.end(true);
    volume.set_read_only();
    let ring = stage.daemon.ring();
    let advice = "let the daemon's user write there, or set [ring] path";
    stage.assert_refused(&[&ring.display().to_string(), "Read-only file system", advice]);
    // Nor can a new one be made there.
    let other = beside(&ring, "-other").display().to_string();
    stage.daemon.reconfigure(|builder| builder.set("ring.path", other.clone()));
    stage.assert_refused(&[&other, "Read-only file system", advice]);
    let writable = scratch("writable");
    let elsewhere = writable.join("ring").display().to_string();
    stage.daemon.reconfigure(|builder| builder.set("ring.path", elsewhere));
    stage.go_on();
    stage.assert_balanced(AFTER, &NONE);
}

#[test]
fn a_directory_that_may_not_be_written_to_stops_a_start() {
    let dir = scratch("unwritable");
    let ring = dir.join("ring");
    let mut stage = Stage::prepared("unwritable", |builder| builder.set("ring.path", ring.display().to_string()));
    let name = ring.display().to_string();
    set_mode(&dir, 0o500);
    stage.daemon.wrapper = without_privileges();
    stage.assert_refused(&[&name, "Permission denied", "let the daemon's user write there"]);
    // Nor can a damaged file be moved aside there.
    set_mode(&dir, 0o700);
    fs::write(&ring, b"rubbish").expect("rubbish");
    set_mode(&dir, 0o500);
    stage.assert_refused(&["cannot move aside", &name, "let the daemon's user write there"]);
    set_mode(&dir, 0o700);
    stage.go_on();
    stage.assert_balanced(AFTER, &NONE);
}

#[test]
fn a_directory_that_is_missing_stops_a_start() {
    let dir = scratch("missing");
    let path = dir.join("none/ring").display().to_string();
    let mut stage = Stage::prepared("missing", |builder| builder.set("ring.path", path.clone()));
    stage.assert_refused(&[&path, "No such file", "create its directory, or set [ring] path"]);
}

#[test]
fn a_second_daemon_on_the_same_ring_is_refused_and_the_first_goes_on() {
    let mut stage = Stage::filled("first");
    let ring = stage.daemon.ring().display().to_string();
    let mut second = Stage::prepared("second", |builder| builder.set("ring.path", ring.clone()));
    second.assert_refused(&[&ring, "another forebay is running on it", "stop that one"]);
    stage.connect();
    stage.publish(AFTER);
    stage.assert_balanced(BEFORE + AFTER, &NONE);
}

#[test]
fn something_else_in_the_rings_place_is_named_and_left_alone() {
    let mut stage = Stage::prepared("else", |builder| builder);
    let ring = stage.daemon.ring();
    let name = ring.display().to_string();

    fs::create_dir(&ring).expect("a directory");
    fs::write(ring.join("precious"), b"data").expect("a file");
    stage.assert_refused(&[&name, "a directory, not a ring file", "move it away, or set [ring] path"]);
    assert_eq!(fs::read(ring.join("precious")).expect("left alone"), b"data");
    fs::remove_dir_all(&ring).expect("gone");

    assert!(Command::new("mkfifo").arg(&ring).status().expect("mkfifo").success());
    stage.assert_refused(&[&name, "a named pipe, not a ring file"]);
    fs::remove_file(&ring).expect("gone");

    // A socket's own path is limited to 107 bytes; a link leads to it.
    let socket = crate::support::scratch::sockets().join(crate::support::unique("not_a_ring"));
    let listener = UnixListener::bind(&socket).expect("a socket");
    let others = [
        (socket.display().to_string(), "a socket"),
        ("/dev/null".into(), "a device"),
        ("/dev/zero".into(), "a device"),
    ];
    for (place, kind) in &others {
        std::os::unix::fs::symlink(place, &ring).expect("a link");
        stage.assert_refused(&[place, &format!("{kind}, not a ring file")]);
        fs::remove_file(&ring).expect("gone");
    }
    drop(listener);
    fs::remove_file(socket).expect("gone");

    // As when the disk it leads to is not mounted.
    let unmounted = scratch("unmounted");
    std::os::unix::fs::symlink(unmounted.join("ring"), &ring).expect("a link");
    stage.assert_refused(&[&name, "a link to a file that does not exist", "mount the disk it leads to"]);
    fs::remove_file(&ring).expect("gone");
    std::os::unix::fs::symlink(&ring, &ring).expect("a link");
    stage.assert_refused(&[&name, "cannot follow"]);
    fs::remove_file(&ring).expect("gone");

    stage.go_on();
    stage.assert_balanced(AFTER, &NONE);
}

#[test]
fn of_the_quarantine_rubbish_is_moved_and_only_what_cannot_be_written_stops_a_start() {
    let mut stage = Stage::prepared("quarantine", |builder| builder);
    let quarantine = stage.daemon.ring().with_file_name("quarantine");
    let name = quarantine.display().to_string();
    // The older file is opened first, and made where there is none.
    for place in [beside(&quarantine, ".old"), quarantine.clone()] {
        fs::create_dir(&place).expect("a directory");
        stage.assert_refused(&[&name, "not a file", "move it away"]);
        fs::remove_dir(&place).expect("gone");
        assert!(Command::new("mkfifo").arg(&place).status().expect("mkfifo").success());
        stage.assert_refused(&[&name, "not a file", "move it away"]);
        fs::remove_file(&place).expect("gone");
    }
    fs::write(&quarantine, b"rubbish").expect("rubbish");
    fs::write(beside(&quarantine, ".old"), vec![7; 100_000]).expect("rubbish");
    stage.go_on();
    assert_eq!(fs::read(beside(&quarantine, ".damaged-1")).expect("it is there"), b"rubbish");
    assert_eq!(fs::read(beside(&quarantine, ".old.damaged-1")).expect("it is there").len(), 100_000);
    stage.assert_balanced(AFTER, &NONE);

    stage.end(true);
    set_mode(&quarantine, 0o400);
    stage.daemon.wrapper = without_privileges();
    stage.assert_refused(&[&name, "Permission denied", "let the daemon's user write there, or set [quarantine] path"]);
}

#[test]
fn the_quarantine_keeps_its_space_on_a_full_disk_and_is_refused_where_there_never_was_any() {
    let volume = Volume::ext4(16);
    let mut stage = Stage::prepared("aside", on(&volume, "quarantine"));
    stage.daemon.reconfigure(|builder| builder.set("quarantine.size", "1MiB"));
    volume.fill();
    stage.assert_refused(&["quarantine", "No space left", "free some space, lower [quarantine] size"]);
    volume.free();
    stage.connect();
    stage.start();
    volume.fill();
    let topic = format!("{}/site-0/dev-0", stage.readings.name);
    for n in 1..=3 {
        let mut publisher = stage.broker.publisher().expect("connects");
        publisher.publish(&topic, b"no JSON at all").and_then(|()| publisher.drain(LIMIT)).expect("the broker has it");
        eventually(LIMIT, "it is in quarantine", || entries(&stage) == n);
        stage.end(false);
        stage.start();
        assert_eq!(entries(&stage), n, "and stays there");
    }
    stage.publish(AFTER);
    stage.assert_balanced(AFTER, &NONE);
}

fn entries(stage: &Stage) -> u64 {
    stage.daemon.database()["quarantine"]["entries"].as_u64().unwrap_or(0)
}
