//! A group commit beside a bare msync of the same bytes, turn by turn on files of the same making.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use forebay::{
    clock::{Clock, SystemClock},
    marks::Pos,
    ring::{Kind, MmapMedia, Part, Reader, Ring, media::Media, table_hash},
};
use serde::Serialize;

use crate::full;

const RING_MIB: u64 = 64;
const PAGE_BYTES: u64 = 4096;
/// Rows a commit.
const ROWS: [usize; 4] = [1, 20, 150, 3_000];

/// Median times in microseconds.
#[derive(Debug, Serialize)]
pub struct Commit {
    rows: usize,
    bytes: u64,
    /// From the return of the append until its rows are known to be durable: two threads' wake-ups, sealing and syncing.
    group_us: f64,
    /// As the committer measures itself, without the wake-ups: sealing and syncing.
    committer_us: u64,
    /// `msync` of the same bytes at the same offsets, stored just before.
    bare_us: f64,
}

/// Measures `count` commits of each size.
pub fn measure(directory: &Path, count: usize) -> Vec<Commit> {
    ROWS.map(|rows| one(directory, rows, count)).into()
}

/// Shows them.
pub fn print(commits: &[Commit]) {
    println!();
    for Commit { rows, bytes, group_us, committer_us, bare_us } in commits {
        println!(
            "group commit of {rows} rows ({bytes} bytes): {committer_us} us, bare msync {bare_us:.0} us, ratio {:.2}; \
             until the appending thread knows of it {group_us:.0} us, ratio {:.2}",
            *committer_us as f64 / bare_us,
            group_us / bare_us
        );
    }
}

fn one(directory: &Path, rows: usize, count: usize) -> Commit {
    let mut pair = Pair::new(directory, rows);
    let (mut group, mut msync, mut bytes) = (Vec::new(), Vec::new(), 0);
    for turn in 0..count {
        let took = pair.group();
        let bared = pair.bare();
        bytes = pair.bytes;
        // The first turns warm up.
        if turn >= count / 10 {
            group.push(took.as_secs_f64() * 1e6);
            msync.push(bared.as_secs_f64() * 1e6);
        }
    }
    let committer_us = pair.ring.status().commit_us.p50;
    pair.ring.close().expect("closes");
    Commit { rows, bytes, group_us: median(group), committer_us, bare_us: median(msync) }
}

/// A ring and a bare file, for commits of the same bytes in turn.
pub struct Pair {
    ring: Ring,
    reader: Reader,
    bare: Bare,
    bodies: Vec<Vec<u8>>,
    rows: usize,
    /// Where the last commit of the ring began, and its bytes.
    from: u64,
    bytes: u64,
}

impl Pair {
    /// Both in `directory`, for commits of so many rows.
    pub fn new(directory: &Path, rows: usize) -> Self {
        let path = directory.join("commits");
        let _ = std::fs::remove_file(&path);
        let ring = full::open(&full::settings(&path, RING_MIB), &mut |_| {}).ring;
        ring.set_lanes(1);
        let (reader, bare) = (ring.reader(ring.marks().settled), Bare::create(&directory.join("bare")));
        Self { ring, reader, bare, bodies: full::bodies(), rows, from: 0, bytes: 0 }
    }

    /// Appends the rows as one message, so that one commit holds them all; how long it takes from then until they are known to be
    /// durable.
    pub fn group(&mut self) -> Duration {
        let body = |n: usize| &self.bodies[n % self.bodies.len()];
        let part = |n: usize| Part {
            kind: Kind::Rows,
            table_hash: table_hash("sensors"),
            rows: 1,
            body: body(n),
            ..Part::default()
        };
        let parts: Vec<_> = (0..self.rows).map(part).collect();
        self.from = self.ring.marks().appended.pos.0;
        let appended = self.ring.append(&parts, SystemClock.now()).expect("what came before is settled");
        let start = Instant::now();
        let durable = self.ring.wait_durable(Pos(appended.end.0 - 1), Duration::from_secs(10));
        let took = start.elapsed();
        assert!(durable, "within ten seconds");
        self.bytes = self.ring.marks().appended.pos.0 - self.from;
        while self.reader.next().expect("readable").is_some() {}
        self.ring.confirm_kept(SystemClock.since_boot());
        self.ring.lane_done(0, self.reader.mark());
        took
    }

    /// Stores as many bytes at the same place of the bare file; how long their sync takes.
    pub fn bare(&mut self) -> Duration {
        self.bare.commit(self.from, self.bytes)
    }
}

/// A file made, mapped, stored to and synced as the ring's is, without any of its logic.
struct Bare {
    media: MmapMedia,
    buffer: Vec<u8>,
}

impl Bare {
    fn create(path: &Path) -> Self {
        let _ = std::fs::remove_file(path);
        let media = MmapMedia::create(path, RING_MIB << 20, &mut |_| {}).expect("room").expect("nobody else's");
        Self { media, buffer: Vec::new() }
    }

    fn commit(&mut self, pos: u64, bytes: u64) -> Duration {
        let at = pos % (((RING_MIB << 20) - bytes) / PAGE_BYTES * PAGE_BYTES);
        self.buffer.resize(bytes as usize, 7);
        self.media.store(at, &self.buffer).expect("stores");
        let start = Instant::now();
        self.media.sync(at..at + bytes).expect("syncs");
        start.elapsed()
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
