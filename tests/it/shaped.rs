//! Sources that rename, leave out, scale and tag what devices send: in QuestDB, in the latest
//! values, and as `forebay decode` foretells.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    DaemonBuilder, Mosquitto, QuestDb,
    daemon::{FOREBAY, told},
    unique,
};

const LIMIT: Duration = Duration::from_secs(60);

fn shaped(table: &str) -> DaemonBuilder {
    let list = |texts: &[&str]| texts.iter().map(|text| toml::Value::from(*text)).collect::<Vec<_>>();
    DaemonBuilder::new()
        .set("tags.gateway", "g-1")
        .set("source.s.topic", format!("{table}/{{id}}"))
        .set("source.s.table", table)
        .set("source.s.timestamp.field", "meta.ts")
        .set("source.s.symbols", list(&["meta.from"]))
        .set("source.s.rename", toml::Table::from_iter([("meta.from".to_owned(), toml::Value::from("sender"))]))
        .set("source.s.ignore", list(&["meta", "wifi.*"]))
        .set("source.s.scale.power", 0.1)
        .set("source.s.scale.temp.factor", 0.1)
        .set("source.s.scale.temp.offset", -40)
        .set("source.s.null_values", list(&["unavailable", "-9999"]))
        .set("source.s.tags.place", "hall-{id}")
}

const PAYLOAD: &str = r#"{"meta":{"ts":1780000000000,"from":"n7","rssi":-70},"wifi":{"ssid":"x"},"power":3,"temp":"615",
    "state":"unavailable","level":-9999,"ok":7.5}"#;

#[test]
fn a_shaped_message_is_stored_as_decode_foretells() {
    let (broker, questdb, table) = (Mosquitto::start(), QuestDb::shared(), unique("shaped"));
    let daemon = shaped(&table).servers(&broker, questdb).start();
    daemon.wait_subscribed();
    let topic = format!("{table}/4");
    let mut publisher = broker.publisher().expect("connects");
    publisher.publish(&topic, PAYLOAD.as_bytes()).expect("publishes");
    publisher.drain(LIMIT).expect("the broker acknowledges");
    daemon.wait_drained(1, LIMIT);
    questdb.settle(&table);
    let rows = questdb.sql(&format!("SELECT gateway, id, place, sender, power, temp, ok FROM '{table}'"));
    assert_eq!(rows, [json!(["g-1", "4", "hall-4", "n7", 0.3, 21.5, 7.5]).as_array().expect("a row").clone()]);
    let columns = questdb.sql(&format!("SELECT count() FROM table_columns('{table}')"));
    assert_eq!(columns[0][0], json!(8), "nothing else became a column");

    let (code, told, error) = told(&daemon.cli(&["decode", "--json", "--topic", &topic, "--payload", PAYLOAD]));
    assert_eq!(code, 0, "{error}");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let row = json!({
        "table": table,
        "symbols": { "gateway": "g-1", "id": "4", "place": "hall-4", "sender": "n7" },
        "fields": { "power": 0.3, "temp": 21.5, "ok": 7.5 },
        "time": "2026-05-28T20:26:40Z",
    });
    assert_eq!(told, json!({ "source": "s", "rows": [row], "set_aside": [], "empty": false, "clears": false }));
}

#[test]
fn decode_says_what_would_become_of_a_message_by_its_exit_code_too() {
    let daemon = shaped("t").write();
    let decode = |arguments: &[&str]| told(&daemon.cli(&[&["decode"], arguments].concat()));
    let (code, said, _) = decode(&["--topic", "t/4", "--payload", PAYLOAD]);
    assert!(code == 0 && said.contains("source: s\n") && said.contains("  symbol   sender = n7\n"), "{said}");
    assert!(said.contains("  double   power = 0.3\n") && said.contains("  time     2026-05-28T20:26:40Z\n"), "{said}");
    let (code, said, _) = decode(&["--topic", "t/4", "--payload", r#"{"power":true,"ok":1}"#]);
    assert!(code == 1 && said.contains("set aside: at $.power: scale asks for a number"), "{said}");
    assert!(said.contains("double   ok = 1\n"), "the rest is stored: {said}");
    let (code, said, _) = decode(&["--topic", "t/4", "--payload", r#"{"state":"unavailable"}"#]);
    assert!(code == 0 && said.contains("empty: "), "{said}");
    assert_eq!(decode(&["--topic", "other/4", "--payload", "{}"]).0, 3);
    assert_eq!(decode(&["--source", "nope", "--topic", "t/4", "--payload", "{}"]).0, 2);
    let mut command = Command::new(FOREBAY);
    let command = command.arg("--config").arg(daemon.config()).args(["decode", "--json", "--topic", "t/4"]);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
    process.stdin.take().expect("a pipe").write_all(PAYLOAD.as_bytes()).expect("it reads");
    let output = process.wait_with_output().expect("it ends");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(said["rows"][0]["fields"]["temp"], 21.5, "{said}");
}
