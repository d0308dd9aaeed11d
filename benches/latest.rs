//! What the map of latest values costs a reading and a question.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use forebay::{
    latest::{Filter, Latest},
    marks::Seq,
    point::{Received, Row, Timestamp, Value},
    settings,
};

const SERIES: usize = 10_000;

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

criterion_group!(benches, readings);
criterion_main!(benches);
