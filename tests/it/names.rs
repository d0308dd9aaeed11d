//! Tables, symbols and fields that are spelled in several ways, which QuestDB takes for one name
//! each.

use std::{fmt::Write as _, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    Daemon, DaemonBuilder, Mosquitto, QuestDb,
    daemon::{count, told},
    eventually_eq,
    http::encode,
    unique,
    wire::Publisher,
};

const LIMIT: Duration = Duration::from_secs(60);
/// 2024-01-01T00:00:00Z.
const BEGAN_MS: u64 = 1_704_067_200_000;

/// One table, written to by two sources in two spellings, with the symbol `device` in two
/// spellings.
struct Stage {
    broker: Mosquitto,
    questdb: &'static QuestDb,
    daemon: Daemon,
    stem: String,
    /// The table's name in upper and lower case.
    spellings: [String; 2],
}

fn stage() -> Stage {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let stem = unique("names");
    let spellings = [format!("{}_GRÖẞE", stem.to_uppercase()), format!("{stem}_größe")];
    let mut builder = DaemonBuilder::new().servers(&broker, questdb).set("batch.max_lanes", 4);
    for (number, (table, symbol)) in spellings.iter().zip(["Device", "device"]).enumerate() {
        let source = format!("source.{stem}_{number}");
        builder = builder
            .set(&format!("{source}.topic"), format!("{stem}/{number}/{{{symbol}}}"))
            .set(&format!("{source}.table"), table.clone())
            .set(&format!("{source}.timestamp.field"), "ts")
            .set(&format!("{source}.timestamp.unit"), "ms");
    }
    let daemon = builder.start();
    daemon.wait_subscribed();
    Stage { broker, questdb, daemon, stem, spellings }
}

impl Stage {
    /// A reading by the source of one spelling of the table, so many ms after the beginning.
    fn publish(&self, publisher: &mut Publisher, spelling: usize, device: &str, after_ms: u64, mut reading: Value) {
        reading["ts"] = (BEGAN_MS + after_ms).into();
        let topic = format!("{}/{spelling}/{device}", self.stem);
        publisher.publish(&topic, reading.to_string().as_bytes()).expect("publishes");
    }

    fn settle(&self) {
        let statement = "SELECT name FROM wal_tables() WHERE lower(name) = lower";
        let tables = self.questdb.sql(&format!("{statement}('{}')", self.spellings[0]));
        assert_eq!(tables.len(), 1, "one table: {tables:?}");
        self.questdb.settle(tables[0][0].as_str().expect("a name"));
    }

    fn stored(&self, what: &str) -> Vec<Vec<Value>> {
        self.settle();
        self.questdb.sql(&format!("SELECT {what} FROM '{}' ORDER BY timestamp", self.spellings[1]))
    }

    /// The series that a query finds, of which there is to be one.
    fn latest(&self, query: &str) -> Value {
        let answer = self.daemon.request("GET", &format!("/v1/latest?{query}"), "").expect("answers");
        let series = answer.json()["series"].as_array().cloned().unwrap_or_default();
        assert_eq!(series.len(), 1, "{query}: {}", answer.body);
        series[0].clone()
    }

    /// Code, rows that agree, that differ, that later ones replaced, and what differs first.
    fn verify(&self) -> (i32, [u64; 3], Value) {
        let (code, out, err) = told(&self.daemon.cli(&["verify", "--json", "--table", &self.spellings[1]]));
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|why| panic!("{why}: {code} {out}{err}"));
        assert_eq!((count(&report, "missing"), &report["ledger_fault"]), (0, &Value::Null), "{report}");
        let counts = [count(&report, "agree"), count(&report, "differ"), count(&report["excused"], "superseded")];
        (code, counts, report["findings"][0]["differences"].clone())
    }
}

#[test]
fn all_spellings_of_a_name_are_one_from_the_way_in_to_the_database_and_back() {
    let mut stage = stage();
    let [upper, lower] = stage.spellings.clone();
    let mut publisher = stage.broker.publisher().expect("connects");
    // Each reading brings what another one of its moment has not, and one value anew.
    for (spelling, reading) in [
        (0, json!({ "ä": 1, "STRAẞE": 1 })),
        (1, json!({ "Ä": 2, "k": 1 })),
        (0, json!({ "straße": 3, "i": 1 })),
        (1, json!({ "\u{212a}": 4 })),
    ] {
        stage.publish(&mut publisher, spelling, "d1", 0, reading);
        publisher.drain(LIMIT).expect("the broker acknowledges");
    }
    // What the broker has acknowledged may come after what is written now.
    eventually_eq(LIMIT, "they are taken in", 4, || stage.daemon.ledger("messages"));
    let line = format!("{lower},DEVICE=d1 İ=5 {BEGAN_MS}000000\n");
    assert_eq!(stage.daemon.request("POST", "/write", &line).expect("answers").code, 204);
    stage.daemon.wait_drained(5, LIMIT);
    let fields = "\"ä\", \"straße\", k, i";
    assert_eq!(stage.stored(fields), [[2.0, 3.0, 4.0, 5.0]], "one row with the newest value of each");
    let columns = format!("SELECT count() FROM table_columns('{lower}')");
    assert_eq!(stage.questdb.number(&columns), 6, "the time, the device and four more");

    // Whatever the spelling, and after a restart too.
    let values = |series: &Value| series["fields"].as_object().expect("fields").values().cloned().collect::<Vec<_>>();
    for restarted in [false, true] {
        if restarted {
            stage.daemon.kill9();
            stage.daemon.restart();
        }
        for (table, symbol) in [(&upper, "device"), (&lower, "DEVICE")] {
            let series = stage.latest(&format!("table={}&{symbol}=d1", encode(table)));
            let mut found = values(&series);
            found.sort_by_key(|value| value.as_f64().map(|value| value as i64));
            assert_eq!(found, [2.0, 3.0, 4.0, 5.0], "restarted: {restarted}, {series}");
            let series = stage.latest(&format!("table={}&{symbol}=d1&field=K", encode(table)));
            assert_eq!(values(&series), [4.0]);
        }
    }
    stage.daemon.wait_subscribed();
    stage.publish(&mut publisher, 1, "d1", 1, json!({ "Ä": 6 }));
    publisher.drain(LIMIT).expect("the broker acknowledges");
    stage.publish(&mut publisher, 0, "d1", 1, json!({ "K": 7 }));
    publisher.drain(LIMIT).expect("the broker acknowledges");
    stage.daemon.wait_drained(7, LIMIT);
    assert_eq!(stage.stored("\"ä\", k"), [[2.0, 4.0], [6.0, 7.0]]);

    assert_eq!(stage.verify(), (0, [2, 0, 5], Value::Null));
    stage.questdb.sql(&format!("UPDATE '{lower}' SET \"ä\" = -1 WHERE k = 4"));
    stage.settle();
    let (code, counts, differences) = stage.verify();
    assert_eq!((code, counts), (1, [1, 1, 5]));
    assert_eq!((&differences[0]["ring"], &differences[0]["questdb"]), (&json!("2"), &json!("-1")), "{differences}");

    // All of the table's records are one lane's, and go again by any of its names.
    let target = format!("/v1/replay?since_ms=3600000&table={}", encode(&upper));
    let answer = stage.daemon.request("POST", &target, "").expect("answers").json();
    let lanes = answer["lanes"].as_array().expect("lanes");
    assert_eq!(lanes.iter().map(|lane| count(lane, "rows")).collect::<Vec<_>>(), [7], "{answer}");
    eventually_eq(LIMIT, "the altered value is put right", json!([2.0, 6.0]), || {
        stage.stored("\"ä\"").into_iter().map(|row| row[0].clone()).collect()
    });
    assert_eq!(stage.verify().1, [2, 0, 5]);
}

#[test]
fn rows_of_one_moment_keep_their_order_in_whatever_spelling_their_table_comes() {
    let stage = stage();
    let mut publisher = stage.broker.publisher().expect("connects");
    // The first spelling has the last word: QuestDB keeps the rows of each spelling apart within a
    // request.
    for value in 0..301 {
        stage.publish(&mut publisher, value % 2, "d1", 0, json!({ "v": value }));
    }
    publisher.drain(LIMIT).expect("the broker acknowledges");
    let mut rows = String::new();
    for value in 0..301 {
        let _ = writeln!(rows, "{},device=d2 v={value} {BEGAN_MS}000000", &stage.spellings[value % 2]);
    }
    assert_eq!(stage.daemon.request("POST", "/write", &rows).expect("answers").code, 204);
    stage.daemon.wait_drained(302, LIMIT);
    assert_eq!(stage.stored("v"), [[300.0], [300.0]]);
    // The request's rows of the moment are one, whatever its table is called.
    assert_eq!(stage.verify().1, [2, 0, 300]);
}
