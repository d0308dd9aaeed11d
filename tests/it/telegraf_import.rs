//! `forebay import telegraf` against the real Telegraf: both take the same messages from one broker,
//! Telegraf by its configuration, forebay by the sources that were made of it. What Telegraf writes
//! as line protocol is compared with the rows in QuestDB.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    time::Duration,
};

use serde_json::Value;

use crate::support::{
    Daemon, DaemonBuilder, Mosquitto, QuestDb, clients, daemon::FOREBAY, eventually, scratch::scratch, unique,
};

const LIMIT: Duration = Duration::from_secs(60);
/// A number that no message has.
const MARK: u64 = 424_242;

/// A configuration of Telegraf, and messages.
struct Case<'a> {
    /// Input and processors; `TABLE` stands for a name of this test's own.
    configuration: &'a str,
    /// A topic and a payload that make a line; `N` stands for a number in it.
    probe: (&'a str, &'a str),
    messages: &'a [(&'a str, &'a str)],
    /// Columns whose values are not compared: times of receipt.
    has_times: bool,
}

/// A row: its table, its symbols, its fields and its time, where that is compared.
type Row = (String, BTreeMap<String, String>, BTreeMap<String, String>, Option<i64>);

impl Case<'_> {
    #[track_caller]
    fn run(&self) {
        let table = unique("tg");
        let topic_of = |text: &str| text.replace("TABLE", &table);
        let (broker, questdb, dir) = (Mosquitto::start(), QuestDb::shared(), scratch("import"));
        let (configuration, output) = (dir.join("telegraf.conf"), dir.join("lines"));
        let text = format!(
            "[agent]\nomit_hostname = true\nflush_interval = \"100ms\"\nskip_processors_after_aggregators = true\n\
             [[inputs.mqtt_consumer]]\nservers = [\"tcp://127.0.0.1:{}\"]\nqos = 1\n{}\n\
             [[outputs.file]]\nfiles = [{:?}]\ndata_format = \"influx\"\n",
            broker.port,
            topic_of(self.configuration),
            output.display().to_string()
        );
        fs::write(&configuration, text).expect("the configuration");
        let telegraf = clients::telegraf_beside(&configuration, &dir.join("telegraf.log"));
        let lines = || fs::read_to_string(&output).unwrap_or_default();
        let probe = |number: u64| {
            let payload = self.probe.1.replace('N', &number.to_string());
            broker.publish(&[(&topic_of(self.probe.0), &payload)]);
        };
        eventually(LIMIT, "Telegraf is subscribed", || {
            probe(1);
            !lines().is_empty()
        });
        probe(MARK);
        eventually(LIMIT, "Telegraf has had all probes", || lines().contains(&MARK.to_string()));
        let before = lines().len();

        let mut daemon = imported(&configuration, &broker, questdb);
        daemon.restart();
        daemon.wait_subscribed();
        let messages: Vec<(String, String)> =
            self.messages.iter().map(|(topic, payload)| (topic_of(topic), topic_of(payload))).collect();
        let messages: Vec<(&str, &str)> =
            messages.iter().map(|(topic, payload)| (topic.as_str(), payload.as_str())).collect();
        broker.publish(&messages);
        daemon.wait_drained(messages.len() as u64, LIMIT);
        assert_eq!(daemon.ledger("dead_letters"), 0, "{}", daemon.log());
        let mut wanted: Vec<Row> = Vec::new();
        eventually(LIMIT, "Telegraf writes as many rows", || {
            wanted = lines()[before..].lines().map(|line| self.of_line(line)).collect();
            wanted.len() as u64 >= daemon.ledger("rows")
        });
        drop(telegraf);
        let tables: BTreeSet<String> = wanted.iter().map(|row| row.0.clone()).collect();
        let mut rows: Vec<Row> = tables.iter().flat_map(|table| self.of_table(questdb, table)).collect();
        rows.sort();
        wanted.sort();
        assert_eq!(rows, wanted, "{}", fs::read_to_string(daemon.config()).unwrap_or_default());
    }

    /// A line of Telegraf's: no name or value in these tests has a character that is escaped.
    fn of_line(&self, line: &str) -> Row {
        let (key, rest) = line.split_once(' ').expect(line);
        let (fields, time) = rest.rsplit_once(' ').expect(line);
        let mut key = key.split(',');
        let table = key.next().unwrap_or_default().to_owned();
        let pair =
            |pair: &str| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).expect(line);
        let value = |(name, value): (String, String)| {
            let text = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            let number = || value.strip_suffix('i').unwrap_or(&value).parse::<f64>().expect(line).to_string();
            let told = match (text, value.as_str()) {
                (Some(text), _) => text.to_owned(),
                (None, "true") => "1".to_owned(),
                (None, "false") => "0".to_owned(),
                (None, _) => number(),
            };
            (name, told)
        };
        let fields = fields.split(',').map(|field| value(pair(field))).collect();
        let micros = time.parse::<i64>().expect(line) / 1_000;
        (table, key.map(pair).collect(), fields, self.has_times.then_some(micros))
    }

    /// The rows of a table in QuestDB.
    fn of_table(&self, questdb: &QuestDb, table: &str) -> Vec<Row> {
        questdb.settle(table);
        let columns = questdb.sql(&format!("SELECT \"column\", type FROM table_columns('{table}')"));
        let columns: Vec<(String, String)> = columns
            .iter()
            .map(|row| (row[0].as_str().unwrap_or_default().to_owned(), row[1].as_str().unwrap_or_default().to_owned()))
            .filter(|(name, _)| name != "timestamp")
            .collect();
        let names: Vec<String> = columns.iter().map(|(name, _)| format!("\"{name}\", ")).collect();
        let names = names.concat();
        let rows = questdb.sql(&format!("SELECT {names}timestamp::long FROM '{table}'"));
        let row = |row: &Vec<Value>| {
            let (mut symbols, mut fields) = (BTreeMap::new(), BTreeMap::new());
            for ((name, kind), value) in columns.iter().zip(row).filter(|(_, value)| !value.is_null()) {
                let into = if kind == "SYMBOL" { &mut symbols } else { &mut fields };
                into.insert(name.clone(), told(value));
            }
            let micros = row.last().and_then(Value::as_i64);
            (table.to_owned(), symbols, fields, micros.filter(|_| self.has_times))
        };
        rows.iter().map(row).collect()
    }
}

fn told(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(is_true) => u8::from(*is_true).to_string(),
        other => other.as_f64().map_or_else(|| other.to_string(), |number| number.to_string()),
    }
}

/// A daemon with the sources that the import prints.
fn imported(configuration: &std::path::Path, broker: &Mosquitto, questdb: &QuestDb) -> Daemon {
    let output = Command::new(FOREBAY).args(["import", "telegraf"]).arg(configuration).output().expect("forebay runs");
    let (fragment, summary) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{summary}");
    let parsed: toml::Table = toml::from_str(&fragment).expect("the fragment is TOML");
    let sources = parsed["source"].as_table().expect("sources").clone();
    let builder = DaemonBuilder::new().servers(broker, questdb);
    let builder =
        sources.into_iter().fold(builder, |builder, (name, source)| builder.set(&format!("source.{name}"), source));
    builder.write()
}

#[test]
fn json_with_its_topic_parsed() {
    Case {
        configuration: r#"
topics = ["TABLE/+/+/temp", "TABLE/+/+/hum"]
topic_tag = ""
data_format = "json"
json_string_fields = ["note"]
name_suffix = "_TABLE"
[inputs.mqtt_consumer.tags]
owner = "me"
[[inputs.mqtt_consumer.topic_parsing]]
topic = "TABLE/+/+/+"
measurement = "_/_/_/measurement"
tags = "_/line/device/_""#,
        probe: ("TABLE/probe/probe/temp", r#"{"value":N}"#),
        messages: &[
            ("TABLE/l1/d7/temp", r#"{"value":21.5,"n":{"a":1,"b":[2,3]},"note":"hot"}"#),
            ("TABLE/l2/d8/hum", r#"[{"value":1},{"value":2}]"#),
        ],
        has_times: false,
    }
    .run();
}

#[test]
fn json_with_tags_and_a_time_of_its_own() {
    Case {
        configuration: r#"
topics = ["TABLE/+"]
topic_tag = ""
name_override = "TABLE"
data_format = "json"
tag_keys = ["id", "meta_unit", "num"]
json_string_fields = ["state", "meta_*"]
json_time_key = "ts"
json_time_format = "2006-01-02 15:04:05"
json_timezone = "Europe/Berlin"
json_query = "data"
fieldexclude = ["secret", "x_*"]"#,
        probe: ("TABLE/probe", r#"{"data":{"ts":"2026-01-01 00:00:00","v":N}}"#),
        messages: &[
            (
                "TABLE/a",
                r#"{"data":{"id":"d1","num":5,"meta":{"unit":"l","fw":"1.2"},"ts":"2026-03-01 12:00:00","v":1.25,"state":"ON","secret":7,"x":{"y":1}}}"#,
            ),
            ("TABLE/b", r#"{"data":[{"id":"d2","ts":"2026-07-01 12:00:00.25","v":1},{"id":"d3","ts":"2026-07-01 12:00:01","v":2}]}"#),
        ],
        has_times: true,
    }
    .run();
}

#[test]
fn json_v2_with_objects() {
    Case {
        configuration: r#"
topics = ["TABLE/+"]
topic_tag = ""
data_format = "json_v2"
[[inputs.mqtt_consumer.json_v2]]
measurement_name = "TABLE"
[[inputs.mqtt_consumer.json_v2.tag]]
path = "head.site"
[[inputs.mqtt_consumer.json_v2.field]]
path = "head.rssi"
type = "int"
[[inputs.mqtt_consumer.json_v2.object]]
path = "list"
timestamp_key = "t"
timestamp_format = "2006-01-02T15:04:05Z07:00"
tags = ["id", "in_unit"]
excluded_keys = ["junk", "in_junk"]
[inputs.mqtt_consumer.json_v2.object.renames]
in_val = "val"
[inputs.mqtt_consumer.json_v2.object.fields]
cnt = "int""#,
        probe: ("TABLE/probe", r#"{"head":{"site":"probe","rssi":N},"list":[{"v":1}]}"#),
        messages: &[(
            "TABLE/1",
            r#"{"head":{"site":"n","rssi":-70},"list":[{"id":"a","t":"2026-03-01T13:00:00+01:00","in":{"val":1.5,"unit":"C","junk":2},"cnt":"3","junk":1,"s":"str"},{"id":"b","t":"2026-03-01T12:00:01Z","in":{"val":2,"unit":"F"},"cnt":4}]}"#,
        )],
        has_times: true,
    }
    .run();
}

#[test]
fn json_v2_with_several_objects_of_a_device() {
    Case {
        configuration: r#"
topics = ["TABLE/+/SENSOR"]
topic_tag = ""
data_format = "json_v2"
[[inputs.mqtt_consumer.json_v2]]
measurement_name = "TABLE"
timestamp_path = "Time"
timestamp_format = "2006-01-02T15:04:05"
timestamp_timezone = "Europe/Berlin"
[[inputs.mqtt_consumer.json_v2.tag]]
path = "TempUnit"
[[inputs.mqtt_consumer.json_v2.object]]
path = "AM2301"
optional = true
[[inputs.mqtt_consumer.json_v2.object]]
path = "DS18B20"
optional = true
tags = ["Id"]
[[inputs.mqtt_consumer.topic_parsing]]
topic = "TABLE/+/SENSOR"
tags = "_/device/_""#,
        probe: ("TABLE/probe/SENSOR", r#"{"Time":"2026-01-01T00:00:00","AM2301":{"v":N},"TempUnit":"C"}"#),
        messages: &[
            (
                "TABLE/kitchen/SENSOR",
                r#"{"Time":"2026-03-01T12:00:00","AM2301":{"Temperature":21.5,"Humidity":40},"TempUnit":"C"}"#,
            ),
            (
                "TABLE/attic/SENSOR",
                r#"{"Time":"2026-03-01T12:00:00","DS18B20":{"Id":"01","Temperature":18.5},"TempUnit":"C"}"#,
            ),
        ],
        has_times: true,
    }
    .run();
}

#[test]
fn values_of_one_topic_each_with_the_topic_as_a_tag() {
    Case {
        configuration: r#"
topics = ["TABLE/r1/temp", "TABLE/r1/co2", "TABLE/+/+/more"]
data_format = "value"
data_type = "float"
value_field_name = "reading"
[[inputs.mqtt_consumer.topic_parsing]]
topic = "TABLE/+/+"
tags = "_/room/kind"
[[processors.rename]]
[[processors.rename.replace]]
field = "reading"
dest = "val"
[[processors.rename.replace]]
tag = "kind"
dest = "metric"
[[processors.rename.replace]]
measurement = "mqtt_consumer"
dest = "TABLE""#,
        probe: ("TABLE/r1/temp", "N"),
        messages: &[("TABLE/r1/temp", "21.5"), ("TABLE/r1/co2", "612")],
        has_times: false,
    }
    .run();
}

#[test]
fn line_protocol() {
    Case {
        configuration: r#"
topics = ["TABLE/+/+"]
topic_tag = ""
name_suffix = "_TABLE"
fieldexclude = ["usage_guest*"]
tagexclude = ["secret"]
data_format = "influx"
[[inputs.mqtt_consumer.topic_parsing]]
topic = "TABLE/+/+"
tags = "_/gateway/_""#,
        probe: ("TABLE/probe/probe", "probe v=N"),
        messages: &[(
            "TABLE/pi/cpu",
            "cpu,host=a,secret=s usage=1.5,n=2i,t=\"x\",ok=true,usage_guest=1 1772366400000000000\nmem,host=a used=3i 1772366401000000000",
        )],
        has_times: true,
    }
    .run();
}

#[test]
fn csv() {
    Case {
        configuration: r#"
topics = ["TABLE/+"]
topic_tag = ""
name_override = "TABLE"
data_format = "csv"
csv_column_names = ["time", "id", "temp", "skip", "bat"]
csv_column_types = ["string", "string", "float", "string", "int"]
csv_delimiter = ";"
csv_tag_columns = ["id"]
csv_timestamp_column = "time"
csv_timestamp_format = "02.01.2006 15:04:05"
csv_timezone = "Europe/Berlin"
csv_skip_values = ["na"]
fieldexclude = ["skip"]"#,
        probe: ("TABLE/probe", "01.01.2026 00:00:00;probe;N;x;1"),
        messages: &[("TABLE/1", "01.07.2025 14:00:00;a;21.5;x;3\n01.07.2025 14:01:00;b;na;x;4\n")],
        has_times: true,
    }
    .run();
}

#[test]
fn converter_rename_and_strings_in_their_order() {
    Case {
        configuration: r#"
topics = ["TABLE/+/+"]
topic_tag = ""
data_format = "json"
tag_keys = ["id", "unit", "seen"]
json_string_fields = ["*"]
[[inputs.mqtt_consumer.topic_parsing]]
topic = "TABLE/+/+"
tags = "_/Site/kind"
[[processors.rename]]
order = 2
[[processors.rename.replace]]
field = "n"
dest = "number"
[[processors.rename.replace]]
tag = "ID"
dest = "device"
[[processors.strings]]
order = 1
[[processors.strings.lowercase]]
tag_key = "Site"
[[processors.strings.uppercase]]
tag_key = "id"
[[processors.strings.uppercase]]
field = "state"
[[processors.strings.replace]]
tag = "unit"
old = "deg_"
new = ""
[[processors.strings.replace]]
measurement = "*"
old = "mqtt_consumer"
new = "TABLE"
[[processors.converter]]
order = 3
[processors.converter.tags]
string = ["seen"]
[processors.converter.fields]
tag = ["channel"]
integer = ["number"]
float = ["txt"]
boolean = ["flag"]
timestamp = ["when"]
timestamp_format = "unix_ms"
[[processors.converter]]
order = 4
namepass = ["nothing"]
[processors.converter.fields]
string = ["v"]"#,
        probe: ("TABLE/probe/probe", r#"{"v":N}"#),
        messages: &[(
            "TABLE/north/pumps",
            r#"{"id":"a","unit":"deg_C","seen":"yes","n":7,"channel":3,"txt":"2.5","flag":"true","when":1772366400000,"v":1.5,"state":"on"}"#,
        )],
        has_times: true,
    }
    .run();
}
