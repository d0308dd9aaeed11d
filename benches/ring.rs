//! What the ring costs: appending without syncs, and the scan of recovery. In memory, so that no disk is measured.

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay::{
    clock::{SharedClock, SystemClock},
    config::settings::{Durability, OnFull, Ring as Settings},
    observe::heartbeat::Heartbeats,
    point::Received,
    ring::{
        Kind, Part, RecoveryReport, Ring, format, headers,
        media::{Media, MemoryMedia},
        recover,
    },
};

const RING_BYTES: usize = 64 << 20;
const BODY_BYTES: usize = 100;

fn settings() -> Settings {
    // Sealed rarely and never synced, the oldest giving way: what is left is the append itself.
    Settings {
        durability: Durability::Memory,
        on_full: OnFull::DropOldest,
        interval: Duration::from_millis(1),
        ..Settings::default()
    }
}

fn open(media: &Arc<MemoryMedia>) -> Ring {
    let clock: SharedClock = Arc::new(SystemClock);
    let heartbeat = Heartbeats::new(Arc::clone(&clock)).register("bench");
    let media: Box<dyn Media> = Box::new(Arc::clone(media));
    let report = RecoveryReport::default();
    let opened =
        Ring::from_media(media, &settings(), Duration::ZERO, clock, heartbeat, report, &mut |_| {}, &mut |_| {});
    opened.expect("an empty ring opens").ring
}

fn append(c: &mut Criterion) {
    let media = Arc::new(MemoryMedia::with(vec![0; RING_BYTES]));
    format(&*media, 1).expect("a ring's header fits");
    let ring = open(&media);
    let body = [7; BODY_BYTES];
    let part = Part { kind: Kind::Rows, table_hash: 1, rows: 1, body: &body };
    let mut group = c.benchmark_group("ring");
    group.throughput(Throughput::Elements(1));
    group.bench_function("append a row of 100 bytes", |b| {
        b.iter(|| {
            while ring.append(black_box(&[part]), Received::default()).is_err() {
                std::thread::yield_now();
            }
        });
    });
    ring.close().expect("closes");
    let header = headers::read_header(&*media).expect("readable").expect("valid");
    let scanned = recover::scan(&*media, header, &mut |_| {}, &mut |_| {}).expect("scans");
    group.throughput(Throughput::Bytes(scanned.head.pos.0 - header.tail.pos.0));
    group.sample_size(10);
    group.bench_function("recovery scan of a full ring", |b| {
        b.iter(|| {
            recover::scan(
                &*media,
                header,
                &mut |record| {
                    black_box(record.seq);
                },
                &mut |_| {},
            )
            .expect("scans")
        });
    });
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
