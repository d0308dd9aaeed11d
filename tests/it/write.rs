//! `POST /write`: line protocol straight to forebay, over its socket and the loopback listener.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, SystemTime},
};

use rustix::process::Signal;

use crate::support::{
    Daemon, DaemonBuilder, QuestDb, Readings, daemon::count, eventually, eventually_eq, heavy, http,
    process::free_port, unique,
};

const LIMIT: Duration = Duration::from_secs(30);

/// The token of [`with_listener`].
pub const TOKEN: &str = "a-token-for-the-tests-0123456789";

/// A daemon without a broker: nothing listens there.
pub fn stage(questdb: &QuestDb) -> DaemonBuilder {
    DaemonBuilder::new()
        .source(&Readings::new(unique("unused"), 1))
        .set("mqtt.url", format!("mqtt://127.0.0.1:{}", free_port()))
        .set("questdb.conf", questdb.conf())
}

/// Starts it with a listener that takes writers with [`TOKEN`]; the port.
pub fn with_listener(builder: DaemonBuilder) -> (Daemon, u16) {
    let (port, file) = (free_port(), builder.dir().join("token"));
    put_token(&file, TOKEN, 0o600);
    let builder = builder.set("control.listen", format!("127.0.0.1:{port}"));
    (builder.set("control.token_file", file.display().to_string()).start(), port)
}

fn put_token(file: &Path, token: &str, mode: u32) {
    fs::write(file, format!("{token}\n")).expect("the token");
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("its mode");
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

/// `rows` lines of a table, numbered from `first`, a millisecond apart.
fn lines(table: &str, first: u64, rows: u64) -> String {
    let base = now_ns() / 1_000_000_000 * 1_000_000_000 - 3_600_000_000_000;
    let mut text = String::new();
    for n in first..first + rows {
        let _ = writeln!(text, "{table},device=d{} n={n}i,x={}.5 {}", n % 7, n % 100, base + n * 1_000_000);
    }
    text
}

#[track_caller]
fn write(daemon: &Daemon, target: &str, body: &str) -> http::Response {
    daemon.request("POST", target, body).expect("an answer")
}

#[track_caller]
fn written(daemon: &Daemon, target: &str, body: &str) {
    let response = write(daemon, target, body);
    assert_eq!((response.code, response.body.as_str()), (204, ""), "{target}\n{body}");
}

#[test]
fn what_is_written_is_visible_at_once_durable_and_stored() {
    let questdb = QuestDb::shared();
    let daemon = stage(questdb).start();
    let (a, b) = (unique("write_a"), unique("write_b"));
    let now = now_ns();
    let body = format!(
        "# two tables, in turns\n{a},device=d\\ 1 x=1.5,n=7i,ok=t,s=\"say \\\"hi\\\"\",at=1700000000123456t {now}\r\n\
         {b},device=d2 x=1 {now}\n{a},device=d3 x=2 {}\n\n{b},only=symbols {now}\n{b},device=d2 y=2 {now}",
        now + 1_000
    );
    written(&daemon, "/write", &body);
    let latest = daemon.request("GET", &format!("/v1/latest?table={a}&device=d%201"), "").expect("an answer").json();
    assert_eq!(latest["series"][0]["fields"]["s"], "say \"hi\"", "{latest}");
    assert_ne!(latest["series"][0]["state"], "memory", "{latest}");

    eventually_eq(LIMIT, "rows of both tables", (2, 2), || {
        questdb.settle(&a);
        questdb.settle(&b);
        (questdb.count(&a), questdb.count(&b))
    });
    let row = questdb.sql(&format!("SELECT x, n, ok, s, at FROM '{a}' WHERE device = 'd 1'")).remove(0);
    assert_eq!(serde_json::json!(row), serde_json::json!([1.5, 7, 1, "say \"hi\"", 1_700_000_000_123_456_i64]));
    let row = questdb.sql(&format!("SELECT x, y FROM '{b}' WHERE device = 'd2'")).remove(0);
    assert_eq!(serde_json::json!(row), serde_json::json!([1.0, 2.0]), "two lines of one moment become one row");

    let status = daemon.status();
    let ledger = |name: &str| count(&status["ledger"], name);
    assert_eq!((ledger("messages"), ledger("rows"), ledger("quarantined")), (1, 4, 0), "{status}");
    assert_eq!((&status["writes"]["requests"], &status["writes"]["rows"]), (&1.into(), &4.into()), "{status}");
    let screen = String::from_utf8(daemon.cli(&["status"]).stdout).expect("text");
    assert!(screen.contains("1 request, 4 rows"), "{screen}");
}

#[test]
fn times_come_in_any_unit_or_are_the_time_of_receipt() {
    let questdb = QuestDb::shared();
    let daemon = stage(questdb).start();
    let table = unique("write_times");
    for (n, precision) in ["ns", "us", "ms", "s"].iter().enumerate() {
        let time = now_ns() / 1_000_u64.pow(n as u32);
        written(
            &daemon,
            &format!("/api/v2/write?bucket=b&precision={precision}"),
            &format!("{table},p={precision} x=1 {time}"),
        );
    }
    written(&daemon, "/write?precision=h", &format!("{table},p=h x=1 {}", now_ns() / 3_600_000_000_000));
    written(&daemon, "/write", &format!("{table},p=none x=1\n{table},p=none x=2\n"));
    let recent =
        format!("SELECT count() FROM '{table}' WHERE timestamp > dateadd('m', -70, now()) AND timestamp <= now()");
    eventually_eq(LIMIT, "every row has its time, also the two of one series", 7, || questdb.number(&recent));
}

#[test]
fn a_bad_line_or_a_bad_time_takes_nothing() {
    let questdb = QuestDb::shared();
    let daemon = stage(questdb).start();
    let table = unique("write_bad");
    let ahead = now_ns() + 7_200_000_000_000;
    for (body, line) in [
        (format!("{table} x=1\n\n{table} x=oops\n{table} x=2"), 3),
        (format!("{table} x=1\n{table} x"), 2),
        (format!("{table} x=1\n{table} x=1 {ahead}"), 2),
        (format!("{table} x=1\n{table} x=1 then"), 2),
    ] {
        let response = write(&daemon, "/write", &body);
        assert_eq!((response.code, &response.json()["line"]), (400, &line.into()), "{}", response.body);
    }
    assert_eq!(daemon.ledger("rows"), 0);
    let none = daemon.request("GET", &format!("/v1/latest?table={table}"), "").expect("an answer");
    assert_eq!(none.code, 404, "{}", none.body);
    assert_eq!(daemon.status()["writes"]["malformed"], 4);
}

#[test]
fn the_listener_wants_the_token_and_reads_it_again() {
    let (daemon, port) = with_listener(stage(QuestDb::shared()));
    let table = unique("write_token");
    let post = |header: &str| {
        let body = format!("{table} x=1");
        http::post(port, "/write", header, &body).expect("an answer").code
    };
    assert_eq!((post(""), post("Authorization: Bearer nonsense\r\n")), (401, 401));
    assert_eq!(post(&format!("Authorization: Token {TOKEN}\r\n")), 204);
    let file = daemon.config().with_file_name("token");
    put_token(&file, "another-token-0123456789", 0o600);
    daemon.signal(Signal::HUP);
    eventually_eq(LIMIT, "the new token is in force", 204, || {
        post("Authorization: Bearer another-token-0123456789\r\n")
    });
    assert_eq!(post(&format!("Authorization: Bearer {TOKEN}\r\n")), 401);
    put_token(&file, "open-to-everybody-0123456789", 0o644);
    daemon.signal(Signal::HUP);
    eventually(LIMIT, "it says why it keeps the old one", || {
        daemon.log().contains("every user of the machine may read")
    });
    assert_eq!(post("Authorization: Bearer another-token-0123456789\r\n"), 204);
}

#[test]
fn a_token_that_others_can_read_stops_the_start() {
    let mut daemon = stage(QuestDb::shared()).set("control.listen", format!("127.0.0.1:{}", free_port())).write();
    let file = daemon.config().with_file_name("token");
    put_token(&file, TOKEN, 0o644);
    daemon.reconfigure(|builder| builder.set("control.token_file", file.display().to_string()));
    daemon.launch();
    assert_eq!(daemon.wait_end(LIMIT).code(), Some(2), "{}", daemon.log());
    assert!(daemon.log().contains("chmod 640"), "{}", daemon.log());
}

#[test]
fn a_full_ring_refuses_at_once_and_what_was_accepted_is_stored() {
    let _alone = heavy();
    let mut questdb = QuestDb::prepared(None);
    let daemon = stage(&questdb).set("ring.size", "2MiB").set("mqtt.max_payload", "64KiB").start();
    let table = unique("write_full");
    let mut accepted = 0;
    let refused = loop {
        let response = write(&daemon, "/write", &lines(&table, accepted, 200));
        if response.code != 204 {
            break response;
        }
        accepted += 200;
        assert!(accepted < 100_000, "2 MiB hold no more");
    };
    assert_eq!(refused.code, 503, "{}", refused.body);
    assert!(refused.head.to_ascii_lowercase().contains("retry-after: 1"), "{}", refused.head);
    assert!(refused.body.contains("the ring is full"), "{}", refused.body);
    assert!(accepted > 5_000, "{accepted} rows fit");

    let large = write(&daemon, "/write", &lines(&table, 0, 2_000));
    assert_eq!(large.code, 413, "a 32nd of the ring is the most: {}", large.body);

    questdb.restart();
    eventually(LIMIT, "there is room again", || write(&daemon, "/write", &lines(&table, accepted, 200)).code == 204);
    accepted += 200;
    daemon.request("POST", "/v1/flush", "").expect("an answer");
    eventually_eq(LIMIT, "exactly what was accepted is stored", accepted as i64, || {
        questdb.settle(&table);
        questdb.count(&table)
    });
    assert_eq!(daemon.ledger("dropped"), 0);
}

#[test]
fn drop_newest_counts_what_it_does_not_keep_and_says_so() {
    let _alone = heavy();
    let questdb = QuestDb::prepared(None);
    let builder = stage(&questdb).set("ring.size", "2MiB").set("mqtt.max_payload", "64KiB");
    let daemon = builder.set("ring.on_full", "drop-newest").start();
    let (a, b) = (unique("write_drop_a"), unique("write_drop_b"));
    let (mut requests, mut dropped) = (0, 0);
    while dropped == 0 {
        let body = lines(&a, requests * 200, 200) + &lines(&b, requests * 200, 100);
        let response = write(&daemon, "/write", &body);
        assert_eq!(response.code, 204, "{}", response.body);
        requests += 1;
        if response.head.to_ascii_lowercase().contains("forebay-dropped-rows: 300") {
            dropped += 300;
        }
        assert!(requests < 1_000, "2 MiB hold no more");
    }
    eventually_eq(LIMIT, "the ledger has all of it", [requests, requests * 300, dropped], || {
        ["messages", "rows", "dropped"].map(|name| daemon.ledger(name))
    });
    let by_table = daemon.status()["ring"]["dropped_by_table"].to_string();
    assert!(by_table.contains(&format!("[\"{a}\",200]")) && by_table.contains(&format!("[\"{b}\",100]")), "{by_table}");
}

#[test]
fn what_was_answered_survives_kills_and_stops() {
    let questdb = QuestDb::shared();
    let mut daemon = stage(questdb).start();
    let table = unique("write_kill");
    let socket = daemon.socket();
    for round in 0..4 {
        let (to, name) = (socket.clone(), table.clone());
        let writer = std::thread::spawn(move || {
            let mut answered = Vec::new();
            for batch in 0..10_000 {
                let first = round * 1_000_000 + batch * 20;
                match http::unix(&to, "POST", "/write", &lines(&name, first, 20)) {
                    Ok(response) if response.code == 204 => answered.extend(first..first + 20),
                    _ => break,
                }
            }
            answered
        });
        let enough = daemon.status()["writes"]["requests"].as_u64().unwrap_or(0) + 50;
        eventually(LIMIT, "the writer goes on", || daemon.status()["writes"]["requests"].as_u64() >= Some(enough));
        if round % 2 == 0 {
            daemon.kill9();
        } else {
            assert_eq!(daemon.stop().code(), Some(0), "a stop goes well");
        }
        let answered = writer.join().expect("the writer ends");
        daemon.restart();
        let (first, last) = (answered[0], answered[answered.len() - 1]);
        let found = format!("SELECT count_distinct(n) FROM '{table}' WHERE n BETWEEN {first} AND {last}");
        eventually_eq(LIMIT, "everything that was answered is stored", answered.len() as i64, || {
            questdb.settle(&table);
            questdb.number(&found)
        });
    }
}

#[test]
fn a_request_of_many_rows_is_one_message() {
    let questdb = QuestDb::shared();
    let daemon = stage(questdb).set("ring.size", "256MiB").start();
    let table = unique("write_many");
    written(&daemon, "/write", &lines(&table, 0, 75_000));
    eventually_eq(LIMIT, "all rows", 75_000, || {
        questdb.settle(&table);
        questdb.count(&table)
    });
    assert_eq!((daemon.ledger("messages"), daemon.ledger("rows"), daemon.ledger("stored")), (1, 75_000, 75_000));
    let too_many = (0..100_001).map(|n| format!("{table} x=1 {n}\n")).collect::<Vec<_>>().concat();
    let response = write(&daemon, "/write", &too_many);
    assert_eq!((response.code, &response.json()["line"]), (400, &100_001.into()), "{}", response.body);
}
