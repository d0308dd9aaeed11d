//! Latest values that memory lacks come from QuestDB: asked once for many, with a deadline, and not while it is away.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{Daemon, DaemonBuilder, Mosquitto, QuestDb, Readings, eventually, eventually_eq, heavy, unique};

const LIMIT: Duration = Duration::from_secs(30);

fn ask(daemon: &Daemon, query: &str) -> (u16, Value) {
    let answer = daemon.request("GET", &format!("/v1/latest?{query}"), "").expect("answers");
    (answer.code, answer.json())
}

fn lookups(daemon: &Daemon, count: &str) -> u64 {
    daemon.status()["lookup"][count].as_u64().unwrap_or(0)
}

#[test]
fn many_who_ask_for_what_memory_lost_share_one_query_and_a_database_that_is_silent_costs_a_moment() {
    let _heavy = heavy();
    let (broker, questdb) = (Mosquitto::start(), QuestDb::start());
    let readings = Readings::new(unique("lookup"), 6);
    let table = readings.name.clone();
    let daemon = DaemonBuilder::new().servers(&broker, &questdb).source(&readings).set("latest.max_series", 2).start();
    daemon.wait_subscribed();
    readings.publish(&mut broker.publisher().expect("connects"), 0..12);
    daemon.wait_drained(12, LIMIT);
    questdb.settle(&table);
    assert_eq!(daemon.status()["latest"]["evicted"], 10, "each of twelve readings but two pushed one out");

    // All wait before the database may answer.
    let query = format!("table={table}&device=dev-0");
    questdb.pause();
    thread::scope(|scope| {
        let callers: Vec<_> = (0..20).map(|_| scope.spawn(|| ask(&daemon, &query))).collect();
        eventually_eq(Duration::from_millis(1_500), "twenty ask", 20, || lookups(&daemon, "asked"));
        questdb.resume();
        for caller in callers {
            let (code, answer) = caller.join().expect("no panic");
            let one = &answer["series"][0];
            assert_eq!(
                (code, &one["fields"]["seq"], &one["source"], &one["state"]),
                (200, &1.into(), &"questdb".into(), &"stored".into())
            );
            assert_eq!((&one["symbols"]["site"], one.get("received")), (&"site-0".into(), None));
        }
    });
    assert_eq!(["queries", "joined", "filled"].map(|count| lookups(&daemon, count)), [1, 19, 20]);
    assert_eq!(ask(&daemon, &query).1["series"][0]["fields"]["seq"], 1);
    assert_eq!(lookups(&daemon, "queries"), 1, "the map holds it now");

    // What is not there is remembered for a moment.
    let nobody = format!("table={table}&device=nobody");
    let began = Instant::now();
    let codes = [ask(&daemon, &nobody).0, ask(&daemon, &nobody).0];
    assert_eq!(codes, [404, 404]);
    let counts = ["nothing", "remembered"].map(|count| lookups(&daemon, count));
    assert!(counts == [1, 1] || began.elapsed() > Duration::from_secs(1), "{counts:?}");
    assert!(
        lookups(&daemon, "queries") == 2 || began.elapsed() > Duration::from_secs(1),
        "one of two was answered from memory"
    );
    eventually(LIMIT, "it is asked again later", || {
        ask(&daemon, &nobody);
        lookups(&daemon, "queries") > 2
    });
    assert_eq!(ask(&daemon, &format!("{nobody}&source=memory")).0, 404);

    // Silent: one waits for the deadline, those after it do not even ask.
    questdb.pause();
    let began = Instant::now();
    let (code, answer) = ask(&daemon, &format!("table={table}&device=dev-1"));
    assert_eq!(code, 404);
    assert!(answer["detail"].as_str().expect("a detail").contains("not known"), "{answer}");
    assert!((1_500..6_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    let began = Instant::now();
    assert_eq!(ask(&daemon, &format!("table={table}&device=dev-1&source=questdb")).0, 503);
    // The query's own deadline ends about when the first caller's does: the other may share its end, or come after it.
    let counts = ["timed_out", "failed", "away"].map(|count| lookups(&daemon, count));
    assert!(counts.iter().sum::<u64>() == 2 && counts[2] < 2, "{counts:?}");
    assert_eq!(lookups(&daemon, "unanswered"), 2);
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    questdb.resume();
    eventually_eq(LIMIT, "it is asked again", 200, || ask(&daemon, &format!("table={table}&device=dev-1")).0);
}

#[test]
fn a_daemon_without_its_ring_knows_what_the_database_knows_but_not_what_was_cleared() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("warm"), 3);
    let table = readings.name.clone();
    let mut daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    readings.publish(&mut publisher, 0..9);
    daemon.wait_drained(9, LIMIT);
    questdb.settle(&table);

    let topic = readings.reading(2).0;
    publisher.publish(&topic, b"").expect("publish");
    publisher.drain(LIMIT).expect("the broker acknowledges");
    eventually_eq(LIMIT, "cleared", 404, || ask(&daemon, &format!("table={table}&device=dev-2")).0);
    daemon.kill9();
    daemon.restart();
    assert_eq!(ask(&daemon, &format!("table={table}&device=dev-2")).0, 404, "the ring tells what was cleared");

    daemon.kill9();
    std::fs::remove_file(daemon.ring()).expect("the ring can be removed");
    daemon.restart();
    let (code, answer) = ask(&daemon, &format!("table={table}"));
    assert_eq!(code, 200);
    let devices: Vec<&str> = answer["series"]
        .as_array()
        .expect("series")
        .iter()
        .filter_map(|one| one["symbols"]["device"].as_str())
        .collect();
    assert_eq!(devices, ["dev-0", "dev-1", "dev-2"]);
    assert_eq!(answer["series"][0]["fields"]["temperature"], 15.2);
    assert_eq!(answer["series"][0]["fields"]["ok"], 0);
    assert_eq!(ask(&daemon, "table=no_such_table").0, 404);
}

#[test]
fn a_reader_can_wait_until_a_value_is_durable_or_shown_by_queries() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("reach"), 1);
    let table = readings.name.clone();
    let daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    for n in 0..20 {
        readings.publish(&mut publisher, n..n + 1);
        eventually_eq(LIMIT, "visible", Value::from(n), || {
            ask(&daemon, &format!("table={table}")).1["series"][0]["fields"]["seq"].clone()
        });
        let (code, answer) = ask(&daemon, &format!("table={table}&min_state=stored&wait=20s"));
        assert_eq!((code, &answer["series"][0]["state"]), (200, &"stored".into()), "{answer}");
        assert_eq!(questdb.number(&format!("SELECT max(seq) FROM '{table}'")), n as i64, "the query shows it");
    }
}

#[test]
fn what_does_not_get_that_far_is_said_in_time() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::prepared(None));
    let readings = Readings::new(unique("late"), 2);
    let table = readings.name.clone();
    let daemon = DaemonBuilder::new().servers(&broker, &questdb).source(&readings).start();
    daemon.wait_subscribed();
    readings.publish(&mut broker.publisher().expect("connects"), 0..2);
    eventually_eq(LIMIT, "durable", 200, || ask(&daemon, &format!("table={table}&min_state=durable&wait=1s")).0);
    let began = Instant::now();
    let (code, answer) = ask(&daemon, &format!("table={table}&min_state=stored&wait=300ms"));
    assert_eq!((code, &answer["status"]), (504, &504.into()));
    let detail = answer["detail"].as_str().expect("a detail");
    assert!(detail.contains("2 of 2") && detail.contains("durable"), "{detail}");
    assert!((300..3_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    // The lanes know that the database is away, so nobody is kept waiting for it.
    eventually_eq(LIMIT, "the breaker is open", true, || {
        daemon.database()["lanes"].as_array().is_some_and(|lanes| lanes.iter().any(|lane| lane["breaker"] == "open"))
    });
    let began = Instant::now();
    let (code, answer) = ask(&daemon, &format!("table={table}&device=nobody"));
    assert_eq!(code, 404);
    assert!(
        answer["detail"].as_str().expect("a detail").contains("not known") && began.elapsed() < Duration::from_secs(1),
        "{answer}"
    );
}

#[test]
fn only_forebay_s_own_tables_are_asked_about() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("own"), 3);
    let (payroll, written) = (unique("payroll"), unique("written"));
    for table in [&payroll, &written] {
        let columns = "(device SYMBOL, salary LONG, timestamp TIMESTAMP)";
        questdb.sql(&format!("CREATE TABLE {table} {columns} TIMESTAMP(timestamp) PARTITION BY DAY WAL"));
        questdb.sql(&format!("INSERT INTO {table} VALUES ('boss', 987654, '2024-01-01T00:00:00.000000Z')"));
        questdb.settle(table);
    }
    let mut daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    daemon.wait_subscribed();
    let refused = |daemon: &Daemon, table: &str| {
        for (query, code) in
            [("", 404), ("&device=boss", 404), ("&source=questdb", 403), ("&device=boss&source=questdb", 403)]
        {
            let (told, answer) = ask(daemon, &format!("table={table}{query}"));
            assert_eq!(told, code, "{query}: {answer}");
            assert!(answer["detail"].as_str().is_some_and(|why| why.contains("no table of forebay's")), "{answer}");
            assert!(!answer.to_string().contains("987654"), "{answer}");
        }
    };
    refused(&daemon, &payroll);
    refused(&daemon, &payroll.to_uppercase());
    refused(&daemon, &written);
    assert_eq!((lookups(&daemon, "foreign"), lookups(&daemon, "queries")), (12, 0), "QuestDB is not asked");

    let line = format!("{written},device=d salary=1i 1704067200000000000\n");
    assert_eq!(daemon.request("POST", "/write", &line).expect("answers").code, 204);
    eventually_eq(LIMIT, "it is forebay's now", 200, || ask(&daemon, &format!("table={written}&device=boss")).0);
    daemon.kill9();
    daemon.restart();
    assert_eq!(ask(&daemon, &format!("table={written}&device=boss")).0, 200, "the ring has rows of it");
    refused(&daemon, &payroll);
}
