//! What decoding costs: one message of the usual size, one with a device time, a batch of readings, and the topic.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay::{
    decode::{
        Decoder, Faults,
        line::{Lines, Precision},
    },
    point::Row,
    settings::Source,
};

const FIVE: &[u8] = br#"{"temperature":21.53,"humidity":48.2,"pressure":1013.25,"battery":3012,"ok":true}"#;
const TIMED: &[u8] = br#"{"ts":1700000000123,"temperature":21.53,"humidity":48.2,"battery":3012,"unit":"C"}"#;
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
    let batch = [b"[".as_slice(), &[FIVE; 100].join(&b","[..]), b"]"].concat();
    for (name, extra, payload, readings) in [
        ("five members", "", FIVE, 1),
        ("five members, shaped", shaped, FIVE, 1),
        ("time, symbol, long", typed, TIMED, 1),
        ("nested, RFC 3339", rfc3339, NESTED, 1),
        ("plain number", "format = \"plain\"", b"21.53".as_slice(), 1),
        ("100 readings", "", &batch, 100),
    ] {
        let mut decoder = decoder(extra);
        let resolved = decoder.resolve("sensors/north/device-17").expect("match").expect("valid");
        let (mut rows, mut faults) = (Vec::<Row>::new(), Faults::default());
        let mut group = c.benchmark_group("decode");
        group.throughput(Throughput::Elements(readings));
        group.bench_function(name, |b| {
            b.iter(|| {
                rows.clear();
                decoder.decode(black_box(payload), &mut rows, &mut faults).expect("rows");
                decoder.finish(&mut rows, &resolved, &mut faults);
            });
        });
    }
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
}

criterion_group!(benches, payloads, topics, lines);
criterion_main!(benches);
