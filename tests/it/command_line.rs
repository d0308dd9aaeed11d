//! Clear errors and the documented exit codes.

use std::{os::unix::fs::PermissionsExt, process::Command, time::Duration};

use serde_json::Value;

use crate::support::{
    DaemonBuilder, Load, Mosquitto, QuestDb, Readings,
    daemon::{FOREBAY, told},
    eventually, eventually_eq,
    mosquitto::Options,
    unique,
};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_socket_without_a_daemon_is_exit_code_4() {
    let daemon = DaemonBuilder::new().write();
    for arguments in [&["status"][..], &["get", "device=dev-1"][..]] {
        let (code, _, error) = told(&daemon.cli(arguments));
        assert_eq!(code, 4, "{arguments:?}: {error}");
        let socket = daemon.socket().display().to_string();
        assert!(error.contains(&socket), "{arguments:?} names the socket: {error}");
    }
    // A socket file that a killed daemon left behind answers no better.
    drop(std::os::unix::net::UnixListener::bind(daemon.socket()).expect("binds"));
    assert_eq!(told(&daemon.cli(&["status"])).0, 4);
}

#[test]
fn a_second_daemon_on_the_same_ring_is_refused() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("second"), 1);
    let first = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    first.wait_subscribed();
    let ring = first.ring().display().to_string();
    let mut second =
        DaemonBuilder::new().servers(&broker, questdb).source(&readings).set("ring.path", ring.clone()).write();
    second.launch();
    let status = second.wait_end(LIMIT);
    assert_eq!(status.code(), Some(5), "{}", second.log());
    assert!(second.log().contains(&ring), "names the ring: {}", second.log());
    readings.publish(&mut broker.publisher().expect("connects"), 0..10);
    readings.assert_exactly_once(questdb, 10, LIMIT);
}

#[test]
fn a_ring_that_cannot_be_written_is_exit_code_5() {
    for path in ["/proc/forebay/ring", "/dev/null/ring"] {
        let mut daemon = DaemonBuilder::new()
            .set("source.s.topic", "a/{b}")
            .set("source.s.table", "t")
            .set("ring.path", path)
            .write();
        daemon.launch();
        let status = daemon.wait_end(LIMIT);
        assert_eq!(status.code(), Some(5), "{}", daemon.log());
        assert!(daemon.log().contains(path), "names the path: {}", daemon.log());
    }
}

#[test]
fn a_wrong_broker_password_is_found_by_check_and_told_by_a_running_daemon() {
    let login = Some(("gate".to_owned(), "right".to_owned()));
    let (broker, questdb) = (Mosquitto::with(&Options { login, ..Default::default() }), QuestDb::shared());
    let readings = Readings::new(unique("password"), 1);
    let builder = DaemonBuilder::new().servers(&broker, questdb).source(&readings);
    let password = builder.dir().join("mqtt-password");
    std::fs::write(&password, "wrong\n").expect("password file");
    let mut daemon =
        builder.set("mqtt.username", "gate").set("mqtt.password_file", password.display().to_string()).write();

    let (code, out, error) = told(&daemon.cli(&["check", "--connect"]));
    assert_eq!(code, 2, "{out}{error}");
    assert!(format!("{out}{error}").contains("mqtt."), "names the key: {out}{error}");
    assert!(error.ends_with("\nnot valid; a connection is refused\n"), "{error}");
    assert!(!format!("{out}{error}").contains("wrong"), "never shows the password: {out}{error}");

    daemon.launch();
    eventually(LIMIT, "status tells of the refused login", || {
        daemon.broker()["error"]
            .as_str()
            .is_some_and(|text| text.contains("mqtt.") || text.to_lowercase().contains("password"))
    });
    assert!(daemon.runs());
    std::fs::write(&password, "right\n").expect("password file");
    let (code, _, error) = told(&daemon.cli(&["check", "--connect"]));
    assert!(code == 0 && error.ends_with("\nvalid; both connections work\n"), "{error}");
    assert_eq!(daemon.stop().code(), Some(0));
    daemon.restart();
    daemon.wait_subscribed();
}

#[test]
fn a_wrong_database_password_is_found_by_check_and_told_by_a_running_daemon() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::with_login("ingest", "right"));
    let readings = Readings::new(unique("dbpassword"), 1);
    let builder = DaemonBuilder::new().servers(&broker, &questdb).source(&readings);
    let password = builder.dir().join("questdb-password");
    std::fs::write(&password, "wrong\n").expect("password file");
    let mut daemon =
        builder.set("questdb.username", "ingest").set("questdb.password_file", password.display().to_string()).write();

    let (code, out, error) = told(&daemon.cli(&["check", "--connect"]));
    assert_eq!(code, 2, "{out}{error}");
    assert!(format!("{out}{error}").contains("questdb."), "names the key: {out}{error}");

    daemon.restart();
    daemon.wait_subscribed();
    readings.publish(&mut broker.publisher().expect("connects"), 0..10);
    eventually_eq(LIMIT, "status tells of the refused login", Value::from("refused"), || {
        daemon.database()["database"].clone()
    });
    assert_eq!(daemon.ledger("quarantined"), 0, "a wrong password is no fault of the rows");
    let advice = daemon.database()["advice"].to_string();
    assert!(advice.contains("password_file"), "{advice}");
    std::fs::write(&password, "right\n").expect("password file");
    assert_eq!(daemon.stop().code(), Some(0));
    daemon.restart();
    readings.assert_exactly_once(&questdb, 10, LIMIT);
}

#[test]
fn bad_configuration_is_exit_code_2_and_names_file_key_and_remedy() {
    let cases = [
        ("ring.sise", toml::Value::from("64MiB"), "sise"),
        ("ring.size", "lots".into(), "ring.size"),
        ("batch.max_linger", "7 parsecs".into(), "batch.max_linger"),
        ("mqtt.url", "ftp://example.org".into(), "mqtt.url"),
        ("mqtt.protocol", 3.into(), "mqtt.protocol"),
        ("questdb.conf", "http::addr=127.0.0.1:9000;password=secret;".into(), "questdb.conf"),
        ("source.s.topic", "a/{b".into(), "source.s.topic"),
    ];
    for (key, value, named) in cases {
        let daemon =
            DaemonBuilder::new().set("source.s.topic", "a/{b}").set("source.s.table", "t").set(key, value).write();
        for arguments in [&["check"][..], &["run"][..]] {
            let (code, out, error) = told(&daemon.cli(arguments));
            assert_eq!(code, 2, "{key} {arguments:?}: {out}{error}");
            assert!(error.contains("forebay.toml"), "{key} {arguments:?} names the file: {error}");
            assert!(error.contains(named), "{key} {arguments:?} names the key: {error}");
            assert!(!error.contains("secret"), "{key} {arguments:?} shows no secret: {error}");
        }
    }
    let missing = Command::new(FOREBAY).args(["--config", "/no/such/forebay.toml", "check"]).output().expect("runs");
    assert_eq!(told(&missing).0, 2);
    assert!(told(&missing).2.contains("/no/such/forebay.toml"));
    assert_eq!(told(&Command::new(FOREBAY).arg("frobnicate").output().expect("runs")).0, 2);
}

#[test]
fn check_prints_the_effective_configuration_and_hides_secrets() {
    let builder = DaemonBuilder::new().set("source.s.topic", "a/{b}").set("source.s.table", "t");
    let password = builder.dir().join("password");
    std::fs::write(&password, "hunter2").expect("password file");
    let daemon = builder.set("mqtt.username", "u").set("mqtt.password_file", password.display().to_string()).write();
    let (code, out, error) = told(&daemon.cli(&["check"]));
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("64MiB") && out.contains("commit_spacing"), "set and default values: {out}");
    assert!(!out.contains("hunter2"), "{out}");
}

#[test]
fn the_environment_and_fragments_override_the_file() {
    let daemon = DaemonBuilder::new().set("source.s.topic", "a/{b}").set("source.s.table", "t").write();
    let fragments = daemon.config().with_file_name("conf.d");
    std::fs::create_dir(&fragments).expect("conf.d");
    std::fs::write(
        fragments.join("10-more.toml"),
        "[source.extra]\ntopic = \"x/{y}\"\ntable = \"extra_table\"\n[batch]\nmax_rows = 123\n",
    )
    .expect("fragment");
    let output = Command::new(FOREBAY)
        .arg("--config")
        .arg(daemon.config())
        .arg("check")
        .env("FOREBAY__RING__SIZE", "32MiB")
        .output()
        .expect("runs");
    let (code, out, error) = told(&output);
    assert_eq!(code, 0, "{error}");
    for wanted in ["32MiB", "123", "extra_table"] {
        assert!(out.contains(wanted), "{wanted}: {out}");
    }
}

#[test]
fn the_shipped_example_is_valid() {
    let conf = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/forebay.toml");
    let output = Command::new(FOREBAY).args(["--config", conf, "check"]).output().expect("runs");
    assert_eq!(told(&output).0, 0, "{}", told(&output).2);
}

#[test]
fn sigterm_and_sigint_store_everything_and_exit_0() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let readings = Readings::new(unique("sigterm"), 10);
        // A batch that would wait for company far longer than the stop takes.
        let mut daemon = DaemonBuilder::new()
            .servers(&broker, questdb)
            .source(&readings)
            .set("batch.strategy", "hybrid")
            .set("batch.max_linger", "5m")
            .start();
        daemon.wait_subscribed();
        let load = Load::start(&readings, broker.port, 2_000);
        eventually(LIMIT, "forebay takes readings in", || daemon.ledger("messages") > 500);
        daemon.signal(signal);
        assert_eq!(daemon.wait_end(LIMIT).code(), Some(0), "{}", daemon.log());
        let published = load.finish();
        // All it had taken in is stored by now; what came later waits at the broker for the next start.
        questdb.settle(&readings.name);
        assert!(questdb.count(&readings.name) > 500, "stored before it ended");
        daemon.reconfigure(|builder| builder.set("batch.max_linger", "100ms"));
        daemon.restart();
        readings.assert_exactly_once(questdb, published, LIMIT);
    }
}

#[test]
fn a_stop_without_the_database_keeps_the_rest_in_the_ring() {
    let (broker, mut questdb) = (Mosquitto::start(), QuestDb::prepared(None));
    let readings = Readings::new(unique("stopdown"), 10);
    let mut daemon =
        DaemonBuilder::new().servers(&broker, &questdb).source(&readings).set("daemon.stop_timeout", "1s").start();
    daemon.wait_subscribed();
    readings.publish(&mut broker.publisher().expect("connects"), 0..1_000);
    eventually(LIMIT, "all are taken in", || daemon.ledger("messages") == 1_000);
    assert_eq!(daemon.stop().code(), Some(0));
    questdb.restart();
    daemon.restart();
    readings.assert_exactly_once(&questdb, 1_000, LIMIT);
}

#[test]
fn status_is_for_people_and_with_json_for_programs() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("status"), 2);
    let daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    daemon.wait_subscribed();
    readings.publish(&mut broker.publisher().expect("connects"), 0..100);
    daemon.wait_drained(100, LIMIT);
    let (code, out, error) = told(&daemon.cli(&["status"]));
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("100"), "{out}");
    let (code, out, error) = told(&daemon.cli(&["--json", "status"]));
    assert_eq!(code, 0, "{error}");
    let status: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(status["ledger"]["stored"], 100);
    let metrics = daemon.request("GET", "/metrics", "").expect("answers");
    assert_eq!(metrics.code, 200);
    assert!(metrics.body.contains("# TYPE forebay_"), "{}", metrics.body);
}

#[test]
fn check_ends_with_its_verdict_and_tells_of_a_ring_of_another_size() {
    let builder = DaemonBuilder::new().set("source.s.topic", "a/{b}").set("source.s.table", "t");
    let mut daemon = builder.set("ring.size", "8MiB").write();
    let (code, _, said) = told(&daemon.cli(&["check"]));
    assert!(code == 0 && said.ends_with("valid\n") && !said.contains("ring.size"), "{said}");
    daemon.launch();
    eventually(LIMIT, "the ring is there", || told(&daemon.cli(&["status"])).0 == 0);
    daemon.stop();
    let file = daemon.config();
    let configured = std::fs::read_to_string(&file).expect("reads");
    std::fs::write(&file, configured.replace("8MiB", "16MiB")).expect("writes");
    let (code, _, said) = told(&daemon.cli(&["check"]));
    assert!(code == 0 && said.contains(" has 8MiB and keeps it, not 16MiB; ") && said.ends_with("\nvalid\n"), "{said}");
    let (code, _, said) = told(&daemon.cli(&["check", "--connect"]));
    assert!(code == 1 && said.ends_with("\nvalid; a connection does not work\n"), "{said}");
    std::fs::write(&file, "[source.s\n").expect("writes");
    let (code, _, said) = told(&daemon.cli(&["check"]));
    assert!(code == 2 && said.contains("no valid TOML") && said.ends_with("\nnot valid\n"), "{said}");
    assert!(!said.contains("there is none"), "{said}");
}

#[test]
fn check_says_what_the_daemon_s_user_could_not_read_and_by_whom_it_judged() {
    let builder = DaemonBuilder::new().set("source.s.topic", "a/{b}").set("source.s.table", "t");
    let directory = builder.dir().to_owned();
    let (state, secret) = (directory.join("state"), directory.join("secret"));
    std::fs::create_dir(&state).expect("a directory");
    std::fs::write(&secret, "password\n").expect("writes");
    let daemon = builder
        .set("mqtt.username", "gate")
        .set("mqtt.password_file", secret.display().to_string())
        .set("ring.path", state.join("ring").display().to_string())
        .set("quarantine.path", state.join("quarantine").display().to_string())
        .write();
    // Each directory on the way lets others through.
    let modes = [(directory.as_path(), 0o777), (&state, 0o755), (&secret, 0o600), (&daemon.config(), 0o644)];
    for (path, mode) in modes {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
    }
    let other = "3999999999";
    let (code, _, said) = told(&daemon.cli(&["check", "--as", other]));
    assert!(code == 2 && said.ends_with("\nnot valid\n"), "{said}");
    assert!(said.contains(&format!("files are judged for user {other} (--as)")), "{said}");
    for part in ["mqtt.password_file", "ring.path", "quarantine.path"] {
        assert!(said.lines().any(|line| line.contains(part) && line.contains("may not")), "{part} in {said}");
    }
    assert!(!said.contains("password\n"), "{said}");
    let (code, _, said) = told(&daemon.cli(&["check", "--as", "root"]));
    assert!(code == 0 && said.ends_with("\nvalid\n"), "{said}");
    let (code, _, said) = told(&daemon.cli(&["check", "--as", "nobody at all"]));
    assert!(code == 2 && said.contains("there is no such user") && said.ends_with("\nnot valid\n"), "{said}");

    // The owner of the ring's directory is the daemon's user where nobody says who is; only root
    // can give it away.
    if std::os::unix::fs::chown(&state, Some(3_999_999_999), None).is_err() {
        return;
    }
    let (code, _, said) = told(&daemon.cli(&["check"]));
    assert!(code == 2 && said.contains(&format!("(the owner of {})", state.display())), "{said}");
    assert!(said.contains("mqtt.password_file") && !said.contains("ring.path"), "{said}");
    std::os::unix::fs::chown(&secret, Some(3_999_999_999), None).expect("given away");
    let (code, _, said) = told(&daemon.cli(&["check"]));
    assert!(code == 0 && said.ends_with("\nvalid\n"), "{said}");
}
