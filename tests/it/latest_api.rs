//! The forms and parts of `/v1/latest`, and watchers that come back.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{Daemon, DaemonBuilder, Mosquitto, QuestDb, Readings, daemon::told, eventually_eq, unique};

const LIMIT: Duration = Duration::from_secs(30);

/// A request with a header of its own, as a stream of the answer's lines.
fn open(daemon: &Daemon, target: &str, header: &str) -> BufReader<UnixStream> {
    let mut stream = UnixStream::connect(daemon.socket()).expect("connects");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    write!(stream, "GET {target} HTTP/1.1\r\nHost: forebay\r\n{header}\r\nConnection: close\r\n\r\n").expect("asks");
    BufReader::new(stream)
}

/// Head and body of a short answer.
fn accepting(daemon: &Daemon, target: &str, accept: &str) -> (String, String) {
    let mut whole = String::new();
    std::io::Read::read_to_string(&mut open(daemon, target, &format!("Accept: {accept}")), &mut whole).expect("text");
    let (head, body) = whole.split_once("\r\n\r\n").expect("a head");
    (head.to_ascii_lowercase(), body.to_owned())
}

/// The next line of an event stream that begins so, without its beginning.
fn line(stream: &mut BufReader<UnixStream>, begin: &str) -> String {
    let mut line = String::new();
    // Keep-alive comments come for ever, so that the stream's own time-out never does.
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < LIMIT, "not within {LIMIT:?}: a line that begins with {begin:?}");
        line.clear();
        assert!(stream.read_line(&mut line).expect("a line in time") > 0, "the stream ended before {begin:?}");
        if let Some(rest) = line.trim_end().strip_prefix(begin) {
            return rest.to_owned();
        }
    }
}

#[test]
fn listings_come_in_pages_forms_and_news() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("pages"), 150);
    let table = readings.name.clone();
    let daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    readings.publish(&mut publisher, 0..150);
    daemon.wait_drained(150, LIMIT);
    let json = |query: &str| {
        let answer = daemon.request("GET", &format!("/v1/latest?{query}"), "").expect("answers");
        assert_eq!(answer.code, 200, "{query}: {}", answer.body);
        answer.json()
    };

    // More than fit into one piece, so this one is streamed.
    let all = json(&format!("table={table}"));
    assert_eq!((all["series"].as_array().expect("series").len(), all.get("truncated")), (150, None));
    let (mut seen, mut cursor, mut pages) = (BTreeSet::new(), String::new(), 0);
    loop {
        let page = json(&format!("table={table}&limit=70{cursor}"));
        let devices = page["series"].as_array().expect("series").iter().map(|one| one["symbols"]["device"].to_string());
        assert!(devices.into_iter().all(|device| seen.insert(device)), "no series comes twice");
        pages += 1;
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((seen.len(), pages), (150, 3));

    let seq = all["seq"].as_u64().expect("a record number");
    assert_eq!(json(&format!("table={table}&since={seq}"))["series"], Value::Array(vec![]));
    readings.publish(&mut publisher, 150..152);
    eventually_eq(LIMIT, "two series are news", 2, || {
        json(&format!("table={table}&since={seq}"))["series"].as_array().map_or(0, Vec::len)
    });

    let one = format!("/v1/latest?table={table}&device=dev-7&field=seq,humidity");
    let (head, body) = accepting(&daemon, &one, "text/csv");
    assert!(head.starts_with("http/1.1 200") && head.contains("content-type: text/csv"), "{head}");
    let lines: Vec<&str> = body.lines().collect();
    assert_eq!(lines.len(), 3, "{body}");
    assert!(lines[1].starts_with(&format!("{table},\"device=dev-7,site=site-3\",humidity,47")), "{body}");
    let (head, body) = accepting(&daemon, &one, "text/plain;q=0.9, text/html");
    assert!(head.contains("content-type: text/plain"), "{head}");
    assert_eq!(body.lines().next().and_then(|line| line.split('\t').nth(3)), Some("47.0"), "{body}");
    let (head, body) = accepting(&daemon, &one, "image/png");
    assert!(head.starts_with("http/1.1 406") && head.contains("application/problem+json"), "{head}");
    let problem: Value = serde_json::from_str(&body).expect("a document");
    assert_eq!(
        (&problem["type"], &problem["title"], &problem["status"]),
        (&"about:blank".into(), &"Not Acceptable".into(), &406.into())
    );
}

#[test]
fn get_lists_everything_page_by_page() {
    const SERIES: usize = 1_100;
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("all"), SERIES as u64);
    let daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    daemon.wait_subscribed();
    readings.publish(&mut broker.publisher().expect("connects"), 0..SERIES as u64);
    eventually_eq(LIMIT, "all series", SERIES as u64, || daemon.status()["latest"]["series"].as_u64().unwrap_or(0));
    let get = |arguments: &[&str]| {
        let (code, out, error) = told(&daemon.cli(&[arguments, &["get", &readings.name, "--field", "seq"]].concat()));
        assert_eq!(code, 0, "{arguments:?}: {error}");
        out
    };
    let json: Value = serde_json::from_str(&get(&["--json"])).expect("a document");
    let devices = json["series"].as_array().expect("series").iter().map(|one| one["symbols"]["device"].to_string());
    assert_eq!((devices.collect::<BTreeSet<_>>().len(), json.get("truncated")), (SERIES, None));
    let table = get(&[]);
    assert_eq!((table.lines().count(), table.matches("TABLE ").count()), (SERIES + 1, 1));

    let (code, csv, error) = told(&daemon.cli(&["get", &readings.name, "--field", "seq", "--csv", "--limit", "1001"]));
    assert_eq!((code, csv.lines().count()), (0, 1_002), "{error}");
    assert_eq!(told(&daemon.cli(&["--json", "get", "--csv"])).0, 2);
    assert_eq!(told(&daemon.cli(&["get", &readings.name, "--field", "none"])).0, 3);
    assert_eq!(told(&daemon.cli(&["get", "--limit", "0"])).0, 2);
}

#[test]
fn a_watcher_gets_what_holds_then_changes_and_goes_on_where_it_was() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("resume"), 2);
    let table = readings.name.clone();
    let mut daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    readings.publish(&mut publisher, 0..2);
    eventually_eq(LIMIT, "two series", 2, || daemon.status()["latest"]["series"].as_u64().unwrap_or(0));
    let target = format!("/v1/watch?table={table}&snapshot=true");
    let seq = |stream: &mut BufReader<UnixStream>| {
        let event: Value = serde_json::from_str(&line(stream, "data: ")).expect("a document");
        event["fields"]["seq"].as_u64().expect("a number")
    };
    let mut stream = open(&daemon, &target, "Accept: text/event-stream");
    assert_eq!([seq(&mut stream), seq(&mut stream)], [0, 0]);
    readings.publish(&mut publisher, 2..4);
    assert_eq!(seq(&mut stream), 1);
    let id = line(&mut stream, "id: ");
    drop(stream);

    readings.publish(&mut publisher, 4..6);
    publisher.publish(&readings.reading(5).0, b"").expect("publish");
    publisher.drain(LIMIT).expect("the broker acknowledges");
    let mut stream = open(&daemon, &target, &format!("Last-Event-ID: {id}"));
    assert_eq!([seq(&mut stream), seq(&mut stream), seq(&mut stream)], [1, 2, 2]);
    assert_eq!(line(&mut stream, "event: "), "cleared");
    assert!(line(&mut stream, "data: ").contains("dev-1"));

    // Another daemon's numbers mean nothing to this one: the watcher is told so, and then what holds.
    daemon.kill9();
    daemon.restart();
    let mut stream = open(&daemon, &target, &format!("Last-Event-ID: {id}"));
    assert_eq!(line(&mut stream, "event: "), "missed");
    assert_eq!(line(&mut stream, "data: "), "{\"missed\":null}");
    assert_eq!(seq(&mut stream), 2);
}
