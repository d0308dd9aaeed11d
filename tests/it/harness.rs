//! The harness itself: servers start, stop and come back, the publisher's counts are right, and no files are left.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::support::{Load, Mosquitto, QuestDb, Readings, eventually, mosquitto, scratch, unique};

#[test]
fn the_publisher_knows_what_the_broker_acknowledged() {
    let broker = Mosquitto::start();
    let readings = Readings::new(unique("harness"), 7);
    let mut publisher = broker.publisher().expect("connects");
    readings.publish(&mut publisher, 0..70_000);
    assert_eq!((publisher.sent(), publisher.acked()), (70_000, 70_000));
}

#[test]
fn a_load_outlives_its_broker() {
    let mut broker = Mosquitto::with(&mosquitto::Options { persistence: true, ..Default::default() });
    let load = Load::start(&Readings::new(unique("harness"), 3), broker.port, 2_000);
    eventually(Duration::from_secs(10), "some are acknowledged", || load.acked() > 500);
    broker.kill9();
    broker.restart();
    let before = load.acked();
    eventually(Duration::from_secs(10), "more are acknowledged", || load.acked() > before + 500);
    assert!(load.finish() > before + 500);
}

#[test]
fn the_broker_refuses_a_wrong_password() {
    let options = mosquitto::Options { login: Some(("gate".into(), "secret".into())), ..Default::default() };
    let broker = Mosquitto::with(&options);
    assert!(crate::support::wire::Publisher::connect(broker.port, Some(("gate", "wrong"))).is_err());
}

#[test]
fn the_database_answers() {
    let questdb = QuestDb::shared();
    let table = unique("harness");
    questdb.sql(&format!(
        "CREATE TABLE '{table}' (timestamp TIMESTAMP, n LONG) TIMESTAMP(timestamp) PARTITION BY DAY WAL"
    ));
    questdb.sql(&format!("INSERT INTO '{table}' VALUES (now(), 42)"));
    questdb.settle(&table);
    assert_eq!(questdb.count(&table), 1);
    assert_eq!(questdb.number(&format!("SELECT n FROM '{table}'")), 42);
    assert_eq!(questdb.count("no_such_table"), 0);
}

#[test]
fn a_directory_goes_with_its_guard() {
    let dir = scratch("harness");
    let path = dir.to_path_buf();
    fs::create_dir(path.join("data")).and_then(|()| fs::write(path.join("data/ring"), [0; 4096])).expect("written");
    drop(dir);
    assert!(!path.exists());
}

#[test]
fn a_failed_test_keeps_the_end_of_its_texts_and_nothing_else() {
    let dir = scratch("harness");
    let write = |name: &str, bytes: &[u8]| fs::write(dir.join(name), bytes).expect("written");
    write("log", "a line\n".repeat(300_000).as_bytes());
    write("forebay.toml", b"[ring]\n");
    write("ring", &[b'f', 0, 0, 1]);
    fs::create_dir(dir.join("data")).expect("made");
    write("data/text", b"of a database");
    assert!(scratch::keep_texts(&dir));
    let mut names: Vec<_> = fs::read_dir(&*dir).expect("kept").flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    assert_eq!(names, ["forebay.toml", "log"]);
    assert_eq!(fs::metadata(dir.join("log")).expect("kept").len(), scratch::KEPT_BYTES);

    let empty = scratch("harness");
    assert!(!scratch::keep_texts(&empty));
    assert!(!empty.exists(), "nothing to keep");
}

#[test]
fn the_guardian_removes_what_a_process_has_left_once_it_is_gone() {
    let dir = scratch("harness");
    let (run, sockets) = (dir.join("run"), dir.join("sockets"));
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/guardian");
    for failed in [false, true] {
        fs::create_dir_all(run.join("questdb/data")).and_then(|()| fs::create_dir(&sockets)).expect("made");
        fs::write(run.join("questdb/log"), "a line\n").expect("written");
        if failed {
            fs::write(run.join("failed"), "").expect("written");
        }
        let mut guardian = Command::new(&program).args([&run, &sockets]).stdin(Stdio::piped()).spawn().expect("starts");
        assert!(run.join("questdb/data").exists());
        drop(guardian.stdin.take());
        assert!(guardian.wait().expect("ends").success());
        assert!(!sockets.exists());
        assert_eq!(run.join("questdb/log").exists(), failed, "failed: {failed}");
        assert!(!run.join("questdb/data").exists());
    }
}

#[test]
fn the_next_run_removes_what_dead_processes_have_left_and_leaves_the_living_theirs() {
    let mut gone = Command::new("true").spawn().expect("starts");
    gone.wait().expect("ends");
    let root = scratch("harness");
    let place = |name: &str| {
        let dir = root.join(name);
        fs::create_dir(&dir).expect("made");
        dir
    };
    let (dead, own) = (place(&gone.id().to_string()), place(&std::process::id().to_string()));
    scratch::remove_leftovers(&root, "");
    assert_eq!((dead.exists(), own.exists()), (false, true));
    let (dead, others) = (place(&format!("it-{}", gone.id())), place("others"));
    let own = place(&format!("it-{}", std::process::id()));
    scratch::remove_leftovers(&root, "it-");
    assert_eq!((dead.exists(), own.exists(), others.exists()), (false, true, true));
}
