//! What decoding costs: one message of the usual size, one with a device time, a batch of readings, and the topic.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay::{
    decode::{
        Decoded, Decoder, Payload,
        line::{Lines, Precision},
        names::{column_name, duplicate},
    },
    jq::Jq,
    point::{Row, Text, Value},
    settings::Source,
};

const FIVE: &[u8] = br#"{"temperature":21.53,"humidity":48.2,"pressure":1013.25,"battery":3012,"ok":true}"#;
const TIMED: &[u8] = br#"{"ts":1700000000123,"temperature":21.53,"humidity":48.2,"battery":3012,"unit":"C"}"#;
const FOUR: &[u8] = br#"{"temperature":21.53,"humidity":48.2,"pressure":1013.25,"battery":3012}"#;
const LIST: &[u8] = br#"{"ts":1700000000123,"values":[{"id":"a","t":21.53,"h":48.2},{"id":"b","t":21.53,"h":48.2},{"id":"c","t":21.53,"h":48.2},{"id":"d","t":21.53,"h":48.2}]}"#;
const PAIRS: &[u8] = br#"{"values":[{"id":"a","v":21.53,"t":1700000000123},{"id":"b","v":48.2,"t":1700000000123},{"id":"c","v":3,"t":1700000000123},{"id":"d","v":4,"t":1700000000123}]}"#;
const NESTED: &[u8] = br#"{"time":"2026-01-31T12:00:00.25Z","env":{"t":21.53,"h":48.2},"acc":[0.01,-0.98,0.12]}"#;

fn decoder(extra: &str) -> Decoder {
    let text = format!("topic = \"sensors/{{site}}/{{device}}\"\ntable = \"sensors\"\n{extra}");
    let source: Source = toml::from_str(&text).expect("source");
    Decoder::new("bench", &source).expect("decoder")
}

fn payloads(c: &mut Criterion) {
    let typed = "timestamp = { field = \"ts\", unit = \"ms\" }\nfields = { battery = \"long\" }\nsymbols = [\"unit\"]";
    let rfc3339 = "timestamp = { field = \"time\", unit = \"rfc3339\" }";
    let shaped = "rename = { temperature = \"temp\" }\nignore = [\"linkquality\", \"update.*\"]\nscale = { humidity = 0.1 }\nnull_values = [\"unknown\"]\n\
        fields = { battery = \"double\" }\ntags = { unit = \"C\", place = \"hall-{site}\" }";
    let ten = "rename = { temperature = \"temp\" }\nonly = [\"temp*\", \"hum*\", \"pressure\", \"battery\", \"ok\"]\nignore = [\"linkquality\", \"update.*\"]\n\
        scale = { humidity = 0.1 }\nnull_values = [\"unknown\"]\nfields = { battery = \"double\" }\ntags = { unit = \"C\", place = \"hall-{site}\" }\n\
        symbols = [\"fw\"]\ntimestamp = { field = \"ts\", zone = \"+01:00\" }\nuser_properties = [\"line\"]\nsame_time = \"keep\"";
    let list = "rows = \"values[]\"\nsymbols = [\"id\"]\ntimestamp = { field = \"$.ts\" }";
    let pairs = "rows = \"values[]\"\nname = \"id\"\nvalue = \"v\"\ntimestamp = { field = \"t\" }";
    let csv = "format = \"csv\"\ncolumns = [\"ts\", \"t\", \"h\", \"b\"]\ntimestamp = { field = \"ts\" }";
    let batch = [b"[".as_slice(), &[FIVE; 100].join(&b","[..]), b"]"].concat();
    for (name, extra, payload, readings) in [
        ("five members", "", FIVE, 1),
        ("five members, shaped", shaped, FIVE, 1),
        ("five members, ten keys and more", ten, FIVE, 1),
        ("four members", "", FOUR, 1),
        ("four rows of a list", list, LIST, 4),
        ("four names and values", pairs, PAIRS, 4),
        ("four cells of CSV", csv, b"1700000000123,21.53,48.2,3012", 1),
        ("time, symbol, long", typed, TIMED, 1),
        ("nested, RFC 3339", rfc3339, NESTED, 1),
        ("plain number", "format = \"plain\"", b"21.53".as_slice(), 1),
        ("100 readings", "", &batch, 100),
    ] {
        let mut decoder = decoder(extra);
        let resolved = decoder.resolve("sensors/north/device-17").expect("match").expect("valid");
        let mut out = Decoded::default();
        let mut group = c.benchmark_group("decode");
        group.throughput(Throughput::Elements(readings));
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                decoder.decode(&Payload::of(&resolved, black_box(payload)), &mut out).expect("rows");
                decoder.finish(&mut out.rows, &resolved, &mut out.faults);
            });
        });
    }
}

/// The same rows as of [`Decoder`], by a tree of values: what one would write without it, with
/// members of objects and arrays flattened, and names that the database takes, each once.
fn by_tree(payload: &[u8]) -> Row {
    let value: serde_json::Value = serde_json::from_slice(payload).expect("JSON");
    let mut row = Row::default();
    flatten("", &value, &mut row);
    for (name, value) in [("device", "device-17"), ("site", "north")] {
        row.symbols.push((name.into(), value.into()));
    }
    row.sort_symbols();
    let names = row.symbols.iter().map(|(name, _)| name).chain(row.fields.iter().map(|(name, _)| name));
    assert_eq!(duplicate(names.map(Text::as_str).collect::<Vec<_>>().into_iter()), None);
    row
}

fn flatten(name: &str, value: &serde_json::Value, row: &mut Row) {
    let inner = |inner: &str| if name.is_empty() { inner.to_owned() } else { format!("{name}_{inner}") };
    let value = match value {
        serde_json::Value::Object(members) => {
            return members.iter().for_each(|(own, value)| flatten(&inner(own), value, row));
        }
        serde_json::Value::Array(list) => {
            return list.iter().enumerate().for_each(|(at, value)| flatten(&inner(&at.to_string()), value, row));
        }
        serde_json::Value::Number(number) => Value::Double(number.as_f64().expect("a double")),
        serde_json::Value::Bool(value) => Value::Flag(*value),
        serde_json::Value::String(text) => Value::Text(text.as_str().into()),
        serde_json::Value::Null => return,
    };
    row.fields.push((column_name(name).expect("a name").into(), value));
}

fn others(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    group.bench_function("four members, by serde_json::Value", |b| b.iter(|| by_tree(black_box(FOUR))));
    let mut jq = Jq::here(".values[] | {id, t, h, ts: 1700000000123}");
    group.throughput(Throughput::Elements(4));
    group.bench_function("four rows of a list, by jq in this process", |b| {
        b.iter(|| jq.run(black_box(LIST)).expect("rows"));
    });
}

fn topics(c: &mut Criterion) {
    let decoder = decoder("");
    c.bench_function("resolve", |b| b.iter(|| decoder.resolve(black_box("sensors/north/device-17"))));
    c.bench_function("no match", |b| b.iter(|| decoder.resolve(black_box("actuators/north/device-17"))));
}

fn lines(c: &mut Criterion) {
    let line = |n: u64| {
        let time = 1_700_000_000_000_000_000 + n * 1_000_000;
        format!("sensors,site=north,device=dev-{} temperature=21.53,humidity=48.2,battery=3012i,ok=t {time}\n", n % 100)
    };
    let text: String = (0..1_000).map(line).collect();
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("1,000 lines of line protocol", |b| {
        b.iter(|| Lines::new(black_box(&text), Precision::default()).flatten().count());
    });
    let lines = "topic = \"telegraf/{host}/#\"\nformat = \"line\"\n";
    for (name, extra) in [
        ("1,000 lines in a message", ""),
        ("1,000 lines in a message, shaped", "ignore = [\"x*\"]\nscale = { battery = 0.001 }"),
    ] {
        let source: Source = toml::from_str(&format!("{lines}{extra}")).expect("source");
        let mut decoder = Decoder::new("bench", &source).expect("decoder");
        let resolved = decoder.resolve("telegraf/pi/cpu").expect("match").expect("valid");
        let mut out = Decoded::default();
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                decoder.decode(&Payload::of(&resolved, black_box(text.as_bytes())), &mut out).expect("rows");
                decoder.finish(&mut out.rows, &resolved, &mut out.faults);
            });
        });
    }
}

criterion_group!(benches, payloads, others, topics, lines);
criterion_main!(benches);
