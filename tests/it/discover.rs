//! `forebay discover` proposes sources for what comes, which then work without a change, and takes
//! nothing from the running daemon.

use std::{
    process::{Command, Output, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use crate::support::{
    Daemon, DaemonBuilder, Mosquitto, QuestDb,
    daemon::{FOREBAY, told},
    eventually, eventually_eq,
    process::free_port,
    unique,
};

const LIMIT: Duration = Duration::from_secs(60);
/// Most rounds of messages while it listens.
const ROUNDS: u32 = 500;

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis()
}

/// Messages of five kinds of devices; each source gets one row of each of its messages, but for the
/// list, which gives two.
fn messages(root: &str, round: u32) -> Vec<(String, String)> {
    let (now, value) = (now_ms(), 20.5 + f64::from(round));
    let seconds = now as f64 / 1e3;
    vec![
        (format!("{root}climate/north/d1"), format!(r#"{{"ts":{now},"temperature":{value},"humidity":40}}"#)),
        (format!("{root}climate/south/d2"), format!(r#"{{"ts":{now},"temperature":{value},"humidity":41}}"#)),
        (format!("{root}rooms/kitchen/temperature"), format!("{value}")),
        (format!("{root}rooms/kitchen/door"), if round.is_multiple_of(2) { "ON".into() } else { "OFF".into() }),
        (format!("{root}rooms/bath/temperature"), format!("{value} °C")),
        (
            format!("{root}list"),
            format!(r#"{{"ts":{seconds},"values":[{{"id":"t1","level":{value}}},{{"id":"t2","level":{value}}}]}}"#),
        ),
        (format!("{root}lines/pi"), format!("{root}cpu,host=pi idle={value} {now}000000")),
        (format!("{root}csv/7"), format!("{now};{};3,61", value.to_string().replace('.', ","))),
        // None of these are readings.
        (format!("{root}climate/north/set"), r#"{"interval":5}"#.into()),
        (format!("{root}rooms/kitchen/availability"), "online".into()),
    ]
}

fn publish(broker: &Mosquitto, messages: &[(String, String)]) {
    let messages: Vec<(&str, &str)> =
        messages.iter().map(|(topic, payload)| (topic.as_str(), payload.as_str())).collect();
    broker.publish(&messages);
}

/// Starts it, publishes rounds of messages while it listens, and waits for its end.
fn discovered(daemon: &Daemon, broker: &Mosquitto, root: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(FOREBAY);
    command.arg("--config").arg(daemon.config()).args(["discover", "--for", "4s"]).args(arguments);
    let process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let (told, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || told.send(process.wait_with_output().expect("ends")));
    for round in 0..ROUNDS {
        publish(broker, &messages(root, round));
        // The pace of devices, until it has heard enough.
        if let Ok(output) = ended.recv_timeout(Duration::from_millis(100)) {
            return output;
        }
    }
    panic!("discover has not ended after {ROUNDS} rounds")
}

#[test]
fn what_is_proposed_works_without_a_change_and_the_daemon_loses_nothing() {
    let (broker, questdb, root) = (Mosquitto::start(), QuestDb::shared(), unique("disc"));
    let own = format!("{root}own");
    let mut daemon = DaemonBuilder::new()
        .servers(&broker, questdb)
        .set("source.own.topic", format!("{own}/{{id}}"))
        .set("source.own.table", own.as_str())
        .set("source.own.timestamp.field", "ts")
        .start();
    daemon.wait_subscribed();
    let own_message = |n: u64| (format!("{own}/1"), format!(r#"{{"ts":{},"n":{n}}}"#, 1_780_000_000 + n));
    publish(&broker, &(0..100).map(own_message).collect::<Vec<_>>());

    let file = daemon.config().with_file_name("conf.d").join("discovered.toml");
    let output = discovered(&daemon, &broker, &root, &["--output", &file.to_string_lossy()]);
    let (code, said, error) = told(&output);
    let expected = format!("{}\nnext: systemctl reload forebay\n", file.display());
    assert_eq!((code, said), (0, expected), "{error}");
    let text = std::fs::read_to_string(&file).expect("a fragment");
    publish(&broker, &(100..200).map(own_message).collect::<Vec<_>>());
    eventually_eq(LIMIT, "its own messages", 200, || daemon.ledger("messages"));
    assert_eq!((daemon.ledger("rows"), daemon.broker()["connects"].as_u64()), (200, Some(1)));
    eventually_eq(LIMIT, "its own rows", 200, || questdb.count(&own));

    let sections: toml::Table = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let sources = sections["source"].as_table().expect("sources");
    assert!(!sources.contains_key("own") && sources.len() == 5, "{text}");
    let (code, _, error) = told(&daemon.cli(&["check", "--quiet"]));
    assert_eq!(code, 0, "{error}\n{text}");
    daemon.stop();
    daemon.restart();
    daemon.wait_subscribed();
    let before = daemon.ledger("rows");
    publish(&broker, &messages(&root, 7));
    eventually_eq(LIMIT, "rows of all kinds", before + 9, || daemon.ledger("rows"));
    assert_eq!(daemon.ledger("dead_letters"), 0, "{text}");
    let tables: Vec<&str> = sources.values().filter_map(|source| source.get("table")?.as_str()).collect();
    let rows: i64 = tables
        .into_iter()
        .chain([format!("{root}cpu").as_str()])
        .map(|table| {
            let count = |_: &str| questdb.try_sql(&format!("select count() from \"{table}\"")).ok();
            eventually(LIMIT, "a table", || {
                count(table).and_then(|rows| rows.first()?.first().and_then(Value::as_i64)).is_some_and(|rows| rows > 0)
            });
            questdb.count(table)
        })
        .sum();
    assert_eq!(rows, 9, "{text}");
}

#[test]
fn what_cannot_be_done_is_told_with_its_code() {
    let broker = Mosquitto::start();
    let daemon = DaemonBuilder::new().set("mqtt.url", broker.url()).write();
    let (code, text, error) = told(&daemon.cli(&["discover", "--for", "300ms"]));
    assert!(code == 3 && text.is_empty() && error.contains("nothing was heard on # in 300ms"), "{code}: {error}");
    let nobody = format!("mqtt://127.0.0.1:{}", free_port());
    let (code, _, error) = told(&daemon.cli(&["discover", "--for", "300ms", "--broker", &nobody]));
    assert!(code == 1 && error.contains("check mqtt.url and that the broker runs"), "{code}: {error}");
    for wrong in
        [&["--for", "0s"][..], &["--filter", "a/#/b"], &["--toml", "--json"], &["--output", "x.toml", "--toml"]]
    {
        assert_eq!(told(&daemon.cli(&[&["discover"], wrong].concat())).0, 2, "{wrong:?}");
    }
    let mut publisher = broker.publisher().expect("connects");
    publisher.publish_retained("kept/a", br#"{"v":1}"#).expect("publishes");
    publisher.drain(LIMIT).expect("the broker acknowledges");
    let (code, text, _) = told(&daemon.cli(&["discover", "--for", "300ms", "--json"]));
    let told: Value = serde_json::from_str(&text).expect("JSON");
    assert!(code == 0 && told["proposals"][0]["retained_without_time"] == 1, "{told}");
}
