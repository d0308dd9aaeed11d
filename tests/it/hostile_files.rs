//! Files that are something else: pipes nobody writes to, devices without an end, links, and what an output must not replace.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, symlink},
    path::Path,
    process::Command,
    time::Duration,
};

use crate::support::{DaemonBuilder, Mosquitto, QuestDb, Readings, daemon::told, eventually, unique};

const LIMIT: Duration = Duration::from_secs(30);

fn pipe(path: &Path) -> String {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
    path.display().to_string()
}

fn builder() -> DaemonBuilder {
    DaemonBuilder::new().source(&Readings::new(unique("hostile"), 1))
}

#[test]
fn a_secret_that_is_no_regular_file_is_refused_and_never_waited_for() {
    for (key, user) in [
        ("questdb.password_file", Some("questdb.username")),
        ("questdb.token_file", None),
        ("control.token_file", Some("control.listen")),
    ] {
        let builder = builder();
        let place = pipe(&builder.dir().join("pipe"));
        for place in [place.as_str(), "/dev/zero"] {
            let user = user.map_or(("log.level", "info"), |key| {
                (key, if key == "control.listen" { "127.0.0.1:0" } else { "someone" })
            });
            let mut daemon = self::builder().set(key, place).set(user.0, user.1).write();
            let (code, _, error) = told(&daemon.cli(&["check"]));
            assert!(code == 2 && error.contains(key) && error.contains("not a regular file"), "{code} {error}");
            daemon.launch();
            let ended = daemon.wait_end(LIMIT);
            assert!(!ended.success() && daemon.log().contains("not a regular file"), "{key} {place}: {}", daemon.log());
        }
    }
    // The broker's password is read at each connection: the daemon runs and says why there is none.
    let builder = builder();
    let place = pipe(&builder.dir().join("pipe"));
    let daemon = builder.set("mqtt.username", "someone").set("mqtt.password_file", place).start();
    eventually(LIMIT, "it is told", || daemon.broker().to_string().contains("it is a named pipe, not a regular file"));
}

#[test]
fn a_configuration_that_is_a_pipe_is_refused_and_never_waited_for() {
    let daemon = builder().write();
    let fragments = daemon.config().with_file_name("conf.d");
    fs::create_dir(&fragments).expect("a directory");
    pipe(&fragments.join("10-pipe.toml"));
    let (code, _, error) = told(&daemon.cli(&["check"]));
    assert!(code == 2 && error.contains("10-pipe.toml") && error.contains("a named pipe"), "{code} {error}");
}

#[test]
fn places_that_cannot_be_are_found_by_check() {
    let daemon = builder().set("ring.path", "/dev/null").write();
    let (code, _, error) = told(&daemon.cli(&["check"]));
    assert!(code == 2 && error.contains("ring.path: /dev/null is a device"), "{code} {error}");
    let mut daemon = builder().write();
    let socket = daemon.socket().display().to_string();
    daemon.reconfigure(|builder| builder.set("ring.path", socket));
    let (code, _, error) = told(&daemon.cli(&["check"]));
    assert!(code == 2 && error.contains("control.socket: its socket would be the file of ring.path"), "{code} {error}");
}

#[test]
fn an_export_replaces_no_device_no_link_and_never_the_live_quarantine() {
    let broker = Mosquitto::start();
    let daemon =
        builder().servers(&broker, QuestDb::shared()).set("source.bad.topic", "bad/{d}").set("source.bad.table", "bad");
    let daemon = daemon.start();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    publisher.publish("bad/1", b"no JSON").and_then(|()| publisher.drain(LIMIT)).expect("the broker has it");
    let entries = || daemon.database()["quarantine"]["entries"].as_u64().unwrap_or(0);
    eventually(LIMIT, "it is in quarantine", || entries() == 1);

    let home = daemon.ring().parent().expect("a directory").to_owned();
    let export = |to: &Path| told(&daemon.cli(&["quarantine", "export", "-o", &to.display().to_string()]));
    for name in ["quarantine", "quarantine.old", "ring"] {
        let place = home.join(name);
        let before = fs::metadata(&place).expect("it is there").len();
        let (code, _, error) = export(&place);
        assert!(code == 2 && error.contains("name another file"), "{name}: {code} {error}");
        assert_eq!(fs::metadata(&place).expect("it is there").len(), before, "{name}");
    }
    assert_eq!(export(Path::new("/dev/null")).0, 0);
    assert!(fs::metadata("/dev/null").expect("it is there").file_type().is_char_device());
    let (link, file) = (home.join("link"), home.join("file"));
    fs::write(&file, "old").expect("written");
    symlink(&file, &link).expect("a link");
    assert_eq!(export(&link).0, 0);
    assert!(fs::symlink_metadata(&link).expect("it is there").is_symlink());
    assert!(fs::read_to_string(&file).expect("reads").contains("no JSON"));
    assert_eq!(entries(), 1);
}
