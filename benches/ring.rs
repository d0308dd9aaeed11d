//! What the ring costs: appending without syncs and the scan of recovery, in memory, so that no disk is measured; the scan of a file
//! in the page cache; a group commit beside a bare msync of the same bytes.

#[allow(dead_code, reason = "the speed benchmark uses the rest")]
#[path = "speed/commit.rs"]
mod commit;
#[allow(dead_code, reason = "the speed benchmark uses the rest")]
#[path = "speed/full.rs"]
mod full;

use std::{hint::black_box, io::Write, path::PathBuf, sync::Arc, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay::{
    clock::{SharedClock, SystemClock},
    observe::heartbeat::Heartbeats,
    point::Received,
    ring::{
        Kind, Part, RecoveryReport, Ring, format, headers,
        inspect::FileMedia,
        media::{Media, MemoryMedia},
        recover,
    },
    settings::{Durability, OnFull, Ring as Settings},
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
    let part = Part { kind: Kind::Rows, table_hash: 1, rows: 1, body: &body, ..Part::default() };
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
    let mut see = |record: &forebay::ring::Record<'_>| {
        black_box(record.seq);
    };
    let scanned = recover::scan(&*media, header, &mut |_| {}, &mut |_| {}).expect("scans");
    group.throughput(Throughput::Bytes(scanned.head.pos.0 - header.tail.pos.0));
    group.sample_size(10);
    group.bench_function("recovery scan of a full ring", |b| {
        b.iter(|| recover::scan(&*media, header, &mut see, &mut |_| {}).expect("scans"));
    });
    let file = warm_file(&media);
    group.bench_function("recovery scan of a full ring, a file in the page cache", |b| {
        b.iter(|| recover::scan(&file, header, &mut see, &mut |_| {}).expect("scans"));
    });
    group.finish();
}

/// The medium's bytes in a file that has just been written.
fn warm_file(media: &MemoryMedia) -> FileMedia {
    let mut bytes = vec![0; RING_BYTES];
    media.load(0, &mut bytes).expect("all of it");
    let directory = directory();
    let path = directory.0.join("ring");
    std::fs::File::create(&path).and_then(|mut file| file.write_all(&bytes)).expect("room on the disk");
    // The file lives as long as it is open.
    FileMedia::open(&path).expect("the file")
}

/// A directory below the build directory, removed when this is dropped. It has the same name in each run, so that what a killed one
/// leaves is used again.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn directory() -> Directory {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-ring");
    std::fs::create_dir_all(&path).expect("a directory");
    Directory(path)
}

fn group_commit(c: &mut Criterion) {
    let directory = directory();
    let mut pair = commit::Pair::new(&directory.0, 150);
    let mut group = c.benchmark_group("commit of 150 rows");
    group.sample_size(30);
    group.bench_function("group commit", |b| {
        b.iter_custom(|times| (0..times).map(|_| pair.group()).sum());
    });
    group.bench_function("bare msync of the same bytes", |b| {
        // The ring goes on, so that the bare file is written at fresh places too.
        b.iter_custom(|times| {
            let turn = |_| {
                pair.group();
                pair.bare()
            };
            (0..times).map(turn).sum()
        });
    });
    group.finish();
}

criterion_group!(benches, append, group_commit);
criterion_main!(benches);
