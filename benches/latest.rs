//! What the map of latest values costs a reading and a question, and what a series costs it.

use std::{fs, hint::black_box, time::Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use forebay::{
    latest::{Filter, Latest},
    marks::Seq,
    point::{Received, Row, Timestamp, Value},
    settings,
};

const SERIES: usize = 10_000;
/// Series of the map whose look-ups by part of the key are measured.
const MANY: usize = 100_000;
/// Series that share a device there.
const A_DEVICE: usize = 10;

fn rows() -> Vec<Row> {
    let fields = || ["temperature", "humidity", "co2"].map(|name| (name.into(), Value::Double(21.5))).to_vec();
    let symbols = |n| vec![("device".into(), format!("device-{n}").into()), ("site".into(), "north".into())];
    (0..SERIES)
        .map(|n| Row {
            time: Some(Timestamp(0)),
            device_time: true,
            symbols: symbols(n),
            fields: fields(),
            ..Row::default()
        })
        .collect()
}

fn readings(c: &mut Criterion) {
    let latest = Latest::new(&settings::Latest::default());
    let rows = rows();
    let mut moment = 0;
    let mut next = 0;
    let mut group = c.benchmark_group("latest");
    let mut turn = || {
        next = (next + 1) % SERIES;
        moment += 1_000;
        (next, Timestamp(moment))
    };
    group.bench_function("prepare and update", |b| {
        b.iter_batched(
            || {
                let (at, time) = turn();
                Row { time: Some(time), ..rows[at].clone() }
            },
            |mut row| {
                latest.prepare("sensors", &mut row, Received::default());
                latest.update("sensors", &row, Seq(1), Received::default());
                row
            },
            BatchSize::SmallInput,
        );
    });
    let mut at = 0;
    group.bench_function("get one of 10,000 series", |b| {
        b.iter(|| {
            at = (at + 7) % SERIES;
            black_box(latest.get("sensors", &rows[at].symbols))
        });
    });
    let filter = Filter::new(None, [("device", "device-7")]).expect("filter");
    group.bench_function("scan of 10,000 series", |b| b.iter(|| black_box(latest.list(&filter, 10))));
}

/// A row of a series with three symbols: one of its own, one that ten series share, one that all
/// have.
fn row_of_many(n: usize) -> Row {
    let symbols = [("device", format!("device-{}", n / A_DEVICE)), ("sensor", format!("sensor-{n}"))];
    let symbols = symbols.into_iter().chain([("site", "north".to_owned())]);
    let fields = ["temperature", "humidity", "co2"].map(|name| (name.into(), Value::Double(21.5)));
    Row {
        time: Some(Timestamp(0)),
        device_time: true,
        symbols: symbols.map(|(name, value)| (name.into(), value.into())).collect(),
        fields: fields.to_vec(),
        ..Row::default()
    }
}

fn look_ups(c: &mut Criterion) {
    let rows: Vec<Row> = (0..MANY).map(row_of_many).collect();
    let latest = Latest::new(&settings::Latest { max_series: MANY, ..settings::Latest::default() });
    let before = resident();
    let began = Instant::now();
    for at in 0..MANY {
        // A stride, so that neighbours in order are not neighbours in memory.
        latest.update("sensors", &rows[at * 7_919 % MANY], Seq(1), Received::default());
    }
    let (took, taken) = (began.elapsed(), resident() - before);
    let counted = latest.status().bytes as usize / MANY;
    println!("{MANY} series of three symbols and fields: a new one takes {:.2?}", took / MANY as u32);
    println!("a series takes {} bytes of memory; the map counts {counted}", taken / MANY);

    let mut group = c.benchmark_group("latest of 100,000");
    let mut at = 0;
    let mut turn = || {
        at = (at + 7_919) % MANY;
        at
    };
    let filter = |symbols: &[(&str, &str)]| Filter::new(Some("sensors"), symbols.iter().copied()).expect("filter");
    let mut ask = |name: &str, limit: usize, symbols: &dyn Fn(usize) -> Filter| {
        group.bench_function(name, |b| b.iter(|| black_box(latest.list(&symbols(turn()), limit))));
    };
    let device = |n: usize| format!("device-{}", n / A_DEVICE);
    let sensor = |n: usize| format!("sensor-{n}");
    ask("the whole key", 100, &|n| filter(&[("device", &device(n)), ("sensor", &sensor(n)), ("site", "north")]));
    ask("a symbol that one has", 100, &|n| filter(&[("sensor", &sensor(n))]));
    ask("a symbol that ten have", 100, &|n| filter(&[("device", &device(n))]));
    ask("that one and one that all have", 100, &|n| filter(&[("device", &device(n)), ("site", "north")]));
    ask("a hundred of all", 100, &|_| filter(&[("site", "north")]));
    drop(group);

    let mut next = MANY;
    c.benchmark_group("latest of 100,000").bench_function("a new series makes an old one leave", |b| {
        b.iter_batched(
            || {
                next += 1;
                row_of_many(next)
            },
            |row| latest.update("sensors", &row, Seq(1), Received::default()),
            BatchSize::SmallInput,
        );
    });
}

/// Bytes of memory that this process has (proc(5)).
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    kib.map_or(0, |kib: usize| kib << 10)
}

criterion_group!(benches, readings, look_ups);
criterion_main!(benches);
