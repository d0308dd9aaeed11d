//! The ring's or the quarantine's file is removed, renamed or replaced under the running daemon: nothing is acknowledged that a kill
//! would lose, it is told, and what was acknowledged is not lost.

use std::{fs, os::unix::net::UnixListener, path::PathBuf, time::Duration};

use crate::support::{
    Daemon, DaemonBuilder, Mosquitto, QuestDb, Readings,
    daemon::{count, told},
    eventually,
    relay::{Relay, Tap},
    unique,
};

const LIMIT: Duration = Duration::from_secs(60);
/// Within which a file that is gone is noticed.
const NOTICED: Duration = Duration::from_secs(5);

struct Stage {
    daemon: Daemon,
    broker: Mosquitto,
    tap: Tap,
    database: Relay,
    readings: Readings,
}

impl Stage {
    /// A daemon with its files in a directory of their own, whose database does not answer yet.
    fn start(name: &str) -> Self {
        let (broker, database) = (Mosquitto::start(), Relay::shut());
        let (tap, readings) = (Tap::start(broker.port), Readings::new(unique(name), 10));
        let builder = DaemonBuilder::new();
        let home = builder.dir().join("home");
        fs::create_dir(&home).expect("a directory");
        let daemon = builder
            .source(&readings)
            .set("mqtt.url", tap.url())
            .set("questdb.conf", format!("http::addr=127.0.0.1:{};", database.port))
            .set("ring.path", home.join("ring").display().to_string())
            .set("quarantine.path", home.join("quarantine").display().to_string())
            .set("ring.size", "16MiB")
            .set("daemon.stop_timeout", "1s")
            .start();
        daemon.wait_subscribed();
        Self { daemon, broker, tap, database, readings }
    }

    fn home(&self) -> PathBuf {
        self.daemon.ring().parent().expect("a directory").to_owned()
    }

    /// Publishes readings, which are acknowledged.
    #[track_caller]
    fn publish(&self, range: std::ops::Range<u64>) {
        let end = range.end;
        self.readings.publish(&mut self.broker.publisher().expect("connects"), range);
        eventually(LIMIT, "all are acknowledged", || self.tap.count() as u64 >= end);
    }

    /// Publishes readings, which are held and not acknowledged.
    #[track_caller]
    fn publish_in_vain(&self, range: std::ops::Range<u64>) {
        let (before, more) = (self.tap.count(), range.end - range.start);
        self.readings.publish(&mut self.broker.publisher().expect("connects"), range);
        eventually(LIMIT, "they have come", || count(&self.daemon.broker(), "held") >= more);
        assert_eq!(self.tap.count(), before, "none is acknowledged");
    }

    fn ready(&self) -> u16 {
        self.daemon.request("GET", "/readyz", "").map_or(0, |answer| answer.code)
    }

    /// Waits until it is told everywhere that nothing is acknowledged.
    #[track_caller]
    fn assert_told(&self, what: &str) {
        eventually(NOTICED, "it is not ready", || self.ready() == 503);
        let answer = self.daemon.request("GET", "/readyz", "").expect("an answer").body;
        let (_, status, _) = told(&self.daemon.cli(&["status"]));
        for text in [&answer, &status, &self.daemon.log()] {
            assert!(text.contains(what) && text.contains("nothing is taken in or acknowledged"), "{what}: {text}");
        }
    }
}

#[test]
fn a_ring_that_is_removed_takes_nothing_in_and_is_there_again_after_the_stop() {
    let mut stage = Stage::start("removed");
    stage.publish(0..200);
    fs::remove_file(stage.daemon.ring()).expect("removed");
    stage.assert_told("is gone");
    stage.publish_in_vain(200..300);
    assert!(stage.daemon.stop().success(), "{}", stage.daemon.log());
    assert!(stage.daemon.log().contains("the ring was written to its place again"), "{}", stage.daemon.log());

    // The broker forgets what it still had: only the ring has the rest.
    stage.broker.kill9();
    stage.broker.restart();
    stage.database.open(QuestDb::shared().port);
    stage.daemon.restart();
    stage.daemon.wait_drained(200, LIMIT);
    stage.readings.assert_exactly_once(QuestDb::shared(), 200, LIMIT);
}

#[test]
fn a_directory_that_is_renamed_and_comes_back_costs_nothing() {
    let mut stage = Stage::start("renamed");
    stage.publish(0..200);
    let (home, moved) = (stage.home(), stage.home().with_file_name("moved"));
    fs::rename(&home, &moved).expect("renamed");
    stage.assert_told("is gone");
    stage.publish_in_vain(200..300);
    fs::rename(&moved, &home).expect("renamed");
    eventually(NOTICED, "it is ready again", || stage.ready() == 200);
    eventually(LIMIT, "all are acknowledged", || stage.tap.count() >= 300);
    stage.daemon.kill9();
    stage.database.open(QuestDb::shared().port);
    stage.daemon.restart();
    stage.readings.assert_exactly_once(QuestDb::shared(), 300, LIMIT);
}

#[test]
fn a_ring_that_is_replaced_goes_on_to_be_stored_and_the_other_file_is_left_alone() {
    let mut stage = Stage::start("replaced");
    stage.publish(0..200);
    let (ring, other) = (stage.daemon.ring(), stage.home().join("other"));
    fs::write(&other, "another file").expect("written");
    fs::rename(&other, &ring).expect("renamed");
    stage.assert_told("another file has taken the place");
    stage.publish_in_vain(200..210);
    stage.database.open(QuestDb::shared().port);
    stage.readings.assert_exactly_once(QuestDb::shared(), 200, LIMIT);
    assert!(stage.daemon.stop().success(), "{}", stage.daemon.log());
    assert_eq!(fs::read_to_string(&ring).expect("the file"), "another file");
}

#[test]
fn a_quarantine_that_is_removed_is_put_back_and_one_that_is_replaced_is_waited_for() {
    let stage = Stage::start("set_aside");
    let quarantine = stage.home().join("quarantine");
    fs::remove_file(&quarantine).expect("removed");
    eventually(NOTICED, "it is put back", || quarantine.exists());
    eventually(NOTICED, "it is told", || stage.daemon.log().contains("was written to its place again"));
    assert_eq!(stage.ready(), 200);

    let aside = stage.home().join("aside");
    fs::rename(&quarantine, &aside).expect("renamed");
    fs::write(&quarantine, "another file").expect("written");
    stage.assert_told("another file has taken the place");
    stage.publish_in_vain(0..10);
    fs::rename(&aside, &quarantine).expect("renamed");
    eventually(NOTICED, "it is ready again", || stage.ready() == 200);
    eventually(LIMIT, "all are acknowledged", || stage.tap.count() >= 10);
}

#[test]
fn a_second_daemon_on_a_quarantine_does_not_start() {
    let mut stage = Stage::start("twice");
    let quarantine = stage.home().join("quarantine");
    let mut second = DaemonBuilder::new()
        .source(&stage.readings)
        .set("mqtt.url", stage.broker.url())
        .set("quarantine.path", quarantine.display().to_string())
        .write();
    second.launch();
    let ended = second.wait_end(LIMIT);
    let log = second.log();
    assert_eq!(ended.code(), Some(5), "{log}");
    assert!(log.contains("another forebay is running on it") && log.contains("[quarantine] path"), "{log}");
    assert!(stage.daemon.stop().success(), "{}", stage.daemon.log());
    second.restart();
    assert!(second.stop().success(), "{}", second.log());
}

#[test]
fn a_control_socket_that_is_gone_is_made_again_and_another_program_keeps_its_own() {
    let stage = Stage::start("socket");
    let socket = stage.daemon.socket();
    let answers = || told(&stage.daemon.cli(&["status"])).0 == 0;
    fs::remove_file(&socket).expect("removes");
    eventually(LIMIT, "it is there again", answers);
    assert!(stage.daemon.log().contains("the control socket was removed or replaced; it is there again"));
    fs::remove_file(&socket).expect("removes");
    let other = UnixListener::bind(&socket).expect("binds");
    let error = "the control socket was removed or replaced, and cannot be made again";
    eventually(LIMIT, "it is told", || stage.daemon.log().contains(error));
    stage.publish(0..10);
    drop(other);
    eventually(LIMIT, "a socket that nobody serves is replaced", answers);
    assert_eq!(stage.daemon.log().matches(error).count(), 1, "told once: {}", stage.daemon.log());
}
