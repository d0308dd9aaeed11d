//! What answers at QuestDB's address is not always QuestDB: nothing passes for stored that it has not said is stored, and no answer takes
//! more memory than it is worth.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{
    Daemon, DaemonBuilder, Mosquitto, QuestDb, Readings,
    daemon::told,
    eventually,
    impostor::{Impostor, Said},
    unique,
};

const LIMIT: Duration = Duration::from_secs(60);
/// What is said in place of an answer.
const STRANGE: [(u16, &str); 6] = [
    (200, "{}"),
    (200, "[]"),
    (200, r#"{"dataset":null}"#),
    (200, r#"{"columns":[{"name":"x","type":"INT"}],"dataset":[[1]],"count":1}"#),
    (200, "<html><body>Sign in to go on</body></html>"),
    (200, ""),
];

fn failures(daemon: &Daemon, kind: &str) -> u64 {
    let failures = daemon.database()["failures"].as_array().cloned().unwrap_or_default();
    failures.iter().find(|entry| entry[0] == kind).and_then(|entry| entry[1].as_u64()).unwrap_or(0)
}

/// Rows stored, and how far the log is settled and safe.
fn progress(daemon: &Daemon) -> (u64, Value, Value) {
    let status = daemon.status();
    (
        status["ledger"]["stored"].as_u64().unwrap_or(0),
        status["ring"]["settled"].clone(),
        status["ring"]["safe"].clone(),
    )
}

/// The daemon's memory at most so far, in KiB (proc(5)).
fn peak_kib(daemon: &Daemon) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).expect("runs");
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn what_answers_something_else_does_not_pass_for_questdb() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("impostor"), 10);
    let impostor = Impostor::before(None, |_| Said::Whole(200, "{}".into()));
    let builder = DaemonBuilder::new().servers(&broker, questdb).source(&readings);
    let mut daemon = builder.set("questdb.conf", impostor.conf()).start();
    daemon.wait_subscribed();
    let before = progress(&daemon);
    readings.publish(&mut broker.publisher().expect("connects"), 0..100);
    for (status, body) in STRANGE {
        impostor.say(move |_| Said::Whole(status, body.into()));
        let seen = failures(&daemon, "strange-answer");
        eventually(LIMIT, "it is not believed", || failures(&daemon, "strange-answer") > seen);
        assert_eq!(progress(&daemon), before, "{status} {body}: nothing is stored, settled or safe");
        let database = daemon.database();
        assert_eq!(database["database"], "misconfigured", "{database}");
        assert!(database["advice"].as_str().is_some_and(|advice| advice.contains("is not QuestDB")), "{database}");
        let (code, _, err) = told(&daemon.cli(&["check", "--connect"]));
        assert!(code == 1 && err.contains("this is no answer of QuestDB's"), "{status} {body}: {code} {err}");
        let latest = daemon.request("GET", &format!("/v1/latest?table={}&device=none", readings.name), "");
        let latest = latest.expect("answers");
        assert!(latest.code == 404 && latest.body.contains("not known"), "{status} {body}: {}", latest.body);
    }

    daemon.reconfigure(|builder| builder.set("questdb.conf", questdb.conf()));
    daemon.stop();
    daemon.restart();
    readings.assert_exactly_once(questdb, 100, LIMIT);
    assert_eq!(told(&daemon.cli(&["check", "--connect"])).0, 0);
}

#[test]
fn rows_are_stored_when_questdb_says_so_and_safe_when_it_tells_its_start() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("portal"), 10);
    let impostor = Impostor::before(Some(questdb.port), |_| Said::Passed);
    let builder = DaemonBuilder::new().servers(&broker, questdb).source(&readings);
    let daemon = builder.set("questdb.conf", impostor.conf()).start();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    readings.publish(&mut publisher, 0..100);
    readings.assert_exactly_once(questdb, 100, LIMIT);

    // The start alone is not told.
    let start = |line: &str| line.contains("pg_postmaster_start_time");
    let refusal = r#"{"query":"q","error":"unknown function name: pg_postmaster_start_time()","position":7}"#;
    impostor.say(move |line| if start(line) { Said::Whole(400, refusal.into()) } else { Said::Passed });
    readings.publish(&mut publisher, 100..200);
    readings.assert_exactly_once(questdb, 200, LIMIT);
    eventually(LIMIT, "that is told", || daemon.database()["warnings"].to_string().contains("when it was started"));
    daemon.wait_drained(200, LIMIT);
    let settled = daemon.status()["ring"]["settled"].clone();
    // The window is two seconds, and the start is asked for anew meanwhile.
    let until = Instant::now() + Duration::from_secs(8);
    eventually(LIMIT, "some time passes", || {
        assert_ne!(daemon.status()["ring"]["safe"], settled, "nobody vouches for these rows");
        Instant::now() > until
    });
    impostor.say(|_| Said::Passed);
    eventually(LIMIT, "all is safe", || daemon.status()["ring"]["safe"] == settled);
    assert!(!daemon.database()["warnings"].to_string().contains("when it was started"));

    // Rows alone go astray.
    let astray = |line: &str| line.starts_with("POST /write");
    impostor.say(move |line| if astray(line) { Said::Whole(200, "{}".into()) } else { Said::Passed });
    readings.publish(&mut publisher, 200..300);
    eventually(LIMIT, "it is not believed", || failures(&daemon, "strange-answer") >= 2);
    assert_eq!(daemon.ledger("stored"), 200);
    impostor.say(|_| Said::Passed);
    readings.assert_exactly_once(questdb, 300, LIMIT);
}

#[test]
fn answers_without_an_end_take_no_memory() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("endless"), 10);
    let impostor = Impostor::before(Some(questdb.port), |_| Said::Endless(200));
    let builder = DaemonBuilder::new().servers(&broker, questdb).source(&readings);
    let daemon = builder.set("questdb.conf", impostor.conf()).start();
    daemon.wait_subscribed();
    let before = peak_kib(&daemon);
    readings.publish(&mut broker.publisher().expect("connects"), 0..100);
    for (start, status) in
        [("", 200), ("GET /settings", 200), ("GET /exec", 400), ("POST /write", 400), ("POST /write", 500)]
    {
        impostor.say(move |line| if line.starts_with(start) { Said::Endless(status) } else { Said::Passed });
        let seen = failures(&daemon, "strange-answer");
        eventually(LIMIT, "it is given up", || failures(&daemon, "strange-answer") > seen);
    }
    assert_eq!(daemon.ledger("stored"), 0);
    let grown = peak_kib(&daemon) - before;
    assert!(grown < 100 << 10, "{grown} KiB more");
    impostor.say(|_| Said::Passed);
    readings.assert_exactly_once(questdb, 100, LIMIT);
}
