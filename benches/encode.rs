//! What a row costs on its way from a record of the ring into a request, against the client library alone.

use std::{hint::black_box, sync::Arc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay::{
    clock::SystemClock,
    entry::{RawRows, Rows, ValueRef, encode_rows},
    point::{Row, Timestamp, Value},
    questdb::{
        RowBuffer,
        columns::{Columns, Coming},
        schema::Schema,
    },
};
use questdb::ingress::{Buffer, ProtocolVersion, TimestampNanos};

const RECORDS: usize = 1_000;

fn record(rows: usize) -> Vec<u8> {
    let fields = ["temperature", "humidity", "pressure"].map(|name| (name.into(), Value::Double(21.53)));
    let row = Row {
        time: Some(Timestamp(1_700_000_000_000_000_000)),
        device_time: true,
        symbols: vec![("device".into(), "device-17".into()), ("site".into(), "north".into())],
        fields: fields.into_iter().chain([("battery".into(), Value::Long(3_012))]).collect(),
        ..Row::default()
    };
    let mut body = Vec::new();
    encode_rows("sensors", &vec![row; rows], &mut body).expect("within limits");
    body
}

fn bare(buffer: &mut Buffer, body: &[u8]) -> questdb::Result<()> {
    let rows = Rows::decode(body).expect("rows");
    let table = rows.table;
    for row in rows.flatten() {
        buffer.table(table)?;
        for (name, value) in row.symbols() {
            buffer.symbol(name, value)?;
        }
        for (name, value) in row.fields() {
            match value {
                ValueRef::Bool(v) => buffer.column_bool(name, v)?,
                ValueRef::Flag(v) => buffer.column_i64(name, v.into())?,
                ValueRef::Long(v) | ValueRef::Whole(v) => buffer.column_i64(name, v)?,
                ValueRef::Double(v) => buffer.column_f64(name, v)?,
                ValueRef::Text(v) => buffer.column_str(name, v)?,
            };
        }
        buffer.at(TimestampNanos::new(row.time.0))?;
    }
    Ok(())
}

fn encode(c: &mut Criterion) {
    for rows in [1, 20] {
        let body = record(rows);
        let mut group = c.benchmark_group(format!("encode, {rows} rows a record"));
        group.throughput(Throughput::Elements((RECORDS * rows) as u64));
        group.bench_function("client library alone", |b| {
            let mut buffer = Buffer::new(ProtocolVersion::V3);
            b.iter(|| {
                buffer.clear();
                (0..RECORDS).for_each(|_| bare(&mut buffer, black_box(&body)).expect("valid"));
            });
        });
        group.bench_function("row by row", |b| {
            let mut buffer = RowBuffer::default();
            let (schema, mut coming) = (Schema::new(None, Arc::new(SystemClock)), Coming::default());
            b.iter(|| {
                buffer.clear(usize::MAX);
                let mut columns = Columns::new(&schema, &mut coming, 300);
                for _ in 0..RECORDS {
                    let rows = Rows::decode(black_box(&body)).expect("rows");
                    let table = rows.table;
                    rows.flatten().for_each(|row| buffer.add(table, &row, &mut columns).expect("valid"));
                }
            });
        });
        group.bench_function("record by record", |b| {
            let mut buffer = RowBuffer::default();
            let (schema, mut coming) = (Schema::new(None, Arc::new(SystemClock)), Coming::default());
            b.iter(|| {
                buffer.clear(usize::MAX);
                let mut columns = Columns::new(&schema, &mut coming, 300);
                for _ in 0..RECORDS {
                    let rows = RawRows::decode(black_box(&body)).expect("rows");
                    assert!(buffer.add_all("sensors", rows, |_| true, &mut columns));
                }
            });
        });
    }
}

criterion_group!(benches, encode);
criterion_main!(benches);
