//! `forebay ring resize`: a ring of another size, while the daemon runs, without it, and killed at
//! any moment.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{
    Daemon, DaemonBuilder, Load, Mosquitto, QuestDb, Readings,
    daemon::{FOREBAY, pending, told},
    eventually, heavy,
    mosquitto::Options,
    unique,
};

const LIMIT: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

/// What `ring info` says of the ring, asked of the daemon or of its file.
fn info(daemon: &Daemon, of_file: bool) -> Value {
    let ring = daemon.ring().display().to_string();
    let mut arguments = vec!["ring", "info", "--json"];
    if of_file {
        arguments.extend(["--file", &ring]);
    }
    let (code, out, err) = told(&daemon.cli(&arguments));
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).expect("JSON")
}

fn resize(daemon: &Daemon, size: &str) -> (i32, String, String) {
    told(&daemon.cli(&["ring", "resize", size]))
}

/// Readings that wait in the ring of a daemon without a database.
fn waiting(readings: &Readings, broker: &Mosquitto, questdb: &QuestDb, count: u64) -> Daemon {
    let builder = DaemonBuilder::new().servers(broker, questdb).source(readings);
    let daemon = builder.set("ring.size", "8MiB").set("mqtt.max_payload", "64KiB").start();
    daemon.wait_subscribed();
    readings.publish(&mut broker.publisher().expect("connects"), 0..count);
    eventually(LIMIT, "all are acknowledged", || daemon.broker()["acknowledged"].as_u64() == Some(count));
    daemon
}

#[test]
fn a_running_daemon_gets_a_larger_and_a_smaller_ring_under_load() {
    let _alone = heavy();
    let broker = Mosquitto::with(&Options { persistence: true, ..Default::default() });
    let mut questdb = QuestDb::prepared(None);
    let readings = Readings::new(unique("resized"), 20);
    let builder = DaemonBuilder::new().servers(&broker, &questdb).source(&readings);
    let daemon = builder.set("ring.size", "8MiB").set("mqtt.max_payload", "64KiB").start();
    daemon.wait_subscribed();
    let (process, id) = (daemon.id(), info(&daemon, false)["ring_id"].clone());

    let load = Load::start(&readings, broker.port, 1_000);
    eventually(LIMIT, "some wait", || load.acked() >= 2_000);
    let (code, out, err) = resize(&daemon, "16MiB");
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("the ring had 8MiB and has 16MiB: ") && out.contains("rows wait for QuestDB"), "{out}");
    assert!(err.contains(": ring.size is 8MiB: set it to \"16MiB\""), "{err}");
    let larger = info(&daemon, false);
    assert_eq!((&larger["size_bytes"], &larger["ring_id"]), (&(16 * MIB).into(), &id));
    assert!(pending(&larger["ledger"]) >= 2_000, "{larger}");

    questdb.launch();
    let enough = load.acked() + 2_000;
    eventually(LIMIT, "the load goes on", || load.acked() >= enough);
    let (code, out, err) = resize(&daemon, "4MiB");
    assert_eq!(code, 0, "{out}{err}");
    let enough = load.acked() + 1_000;
    eventually(LIMIT, "the load goes on", || load.acked() >= enough);
    let published = load.finish();
    eventually(LIMIT, "the ledger closes", || {
        let ledger = daemon.status()["ledger"].clone();
        ledger["messages"].as_u64() >= Some(published) && pending(&ledger) == 0
    });
    readings.assert_exactly_once(&questdb, published, LIMIT);
    let smaller = info(&daemon, false);
    assert_eq!((&smaller["size_bytes"], &smaller["ring_id"]), (&(4 * MIB).into(), &id));
    let ledger = &smaller["ledger"];
    assert_eq!((&ledger["rows"], &ledger["dropped"]), (&ledger["stored"], &0.into()), "{ledger}");
    assert_eq!(daemon.id(), process, "it is the same process");
    let files = std::fs::read_dir(daemon.ring().parent().expect("a directory")).expect("read").flatten();
    let beside = files.filter(|file| file.file_name().to_string_lossy().starts_with("ring.")).count();
    assert_eq!(beside, 0, "nothing is left beside it");
}

/// A lane that waits for an answer holds the ring open beyond the stop.
#[test]
fn a_database_that_never_answers_holds_up_no_change() {
    let _alone = heavy();
    let (broker, questdb) = (Mosquitto::start(), QuestDb::start());
    let readings = Readings::new(unique("hung"), 5);
    let builder = DaemonBuilder::new().servers(&broker, &questdb).source(&readings).set("daemon.stop_timeout", "100ms");
    let daemon = builder.set("ring.size", "8MiB").set("mqtt.max_payload", "64KiB").start();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    readings.publish(&mut publisher, 0..500);
    daemon.wait_drained(500, LIMIT);
    questdb.pause();
    readings.publish(&mut publisher, 500..1_500);
    // Older than rows get that wait for company.
    let is_under_way = || daemon.status()["lag_s"].as_f64().is_some_and(|lag| lag > 3.0);
    eventually(LIMIT, "a request is under way", is_under_way);
    let (code, out, err) = resize(&daemon, "12MiB");
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(info(&daemon, false)["size_bytes"], 12 * MIB);
    questdb.resume();
    readings.assert_exactly_once(&questdb, 1_500, LIMIT);
    assert_eq!(daemon.status()["ledger"]["rows"], 1_500);
}

#[test]
fn a_ring_that_is_too_small_is_refused_and_the_daemon_goes_on() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::prepared(None));
    let readings = Readings::new(unique("refused"), 5);
    let mut daemon = waiting(&readings, &broker, &questdb, 12_000);
    for (size, code, why) in [
        ("1MiB", 1, "wait for QuestDB, may have to be sent again or are held back. Let it drain, or choose"),
        ("4KiB", 1, "is too small; a ring has at least 1MiB"),
        ("2000TiB", 1, "is too large"),
        ("large", 2, "is no size"),
    ] {
        let (ended, out, err) = resize(&daemon, size);
        assert_eq!((ended, out.as_str()), (code, ""), "{size}: {err}");
        assert!(err.contains(why), "{size}: {err}");
    }
    for (target, status) in
        [("/v1/ring/resize", 400), ("/v1/ring/resize?bytes=x", 400), ("/v1/ring/resize?bytes=1", 409)]
    {
        assert_eq!(daemon.request("POST", target, "").expect("an answer").code, status, "{target}");
    }
    assert_eq!(info(&daemon, false)["size_bytes"], 8 * MIB);
    assert_eq!(daemon.status()["broker"]["state"], "connected");

    // Offline the same is refused, too, and the file is as it was.
    assert!(daemon.stop().success());
    let (code, _, err) = resize(&daemon, "1MiB");
    assert_eq!(code, 1, "{err}");
    let of_file = info(&daemon, true);
    assert_eq!((&of_file["clean"], pending(&of_file["ledger"])), (&true.into(), 12_000), "{of_file}");
}

#[test]
fn killed_at_any_moment_one_whole_ring_is_there() {
    const KILLS: u64 = 40;
    let (broker, mut questdb) = (Mosquitto::start(), QuestDb::prepared(None));
    let readings = Readings::new(unique("killed"), 5);
    let mut daemon = waiting(&readings, &broker, &questdb, 6_000);
    assert!(daemon.stop().success());
    let (config, before) = (daemon.config().display().to_string(), info(&daemon, true));
    let began = Instant::now();
    assert_eq!(resize(&daemon, "12MiB").0, 0);
    let takes = began.elapsed().as_millis() as u64;
    let seed = fastrand::u64(..);
    println!("a change takes {takes} ms; the moments are those of seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut changed, mut size) = (0, 12 * MIB);
    for kill in 0..KILLS {
        let wanted = if size == 8 * MIB { "12MiB" } else { "8MiB" };
        let mut command = Command::new(FOREBAY);
        command.args(["--config", &config, "ring", "resize", wanted]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = command.spawn().expect("it runs");
        // Not for anything to be done by then but to strike at a time of no meaning.
        std::thread::sleep(Duration::from_millis(rng.u64(0..=2 * takes)));
        running.kill().expect("it is ours");
        running.wait().expect("it ends");
        let verified = told(&daemon.cli(&["ring", "verify", "--file", &daemon.ring().display().to_string()]));
        assert_eq!(verified.0, 0, "kill {kill}: {verified:?}");
        let now = info(&daemon, true);
        for same in ["ring_id", "rows", "sources"] {
            assert_eq!(before[same], now[same], "kill {kill}: {same}");
        }
        assert_eq!(before["ledger"], now["ledger"], "kill {kill}");
        changed += u64::from(now["size_bytes"] != size);
        size = now["size_bytes"].as_u64().expect("a number");
    }
    assert!(changed > 0 && changed < KILLS, "{changed} of {KILLS} changes had ended before the kill");

    questdb.restart();
    daemon.restart();
    readings.assert_exactly_once(&questdb, 6_000, LIMIT);
    assert_eq!(daemon.status()["ledger"]["dropped"], 0);
}
