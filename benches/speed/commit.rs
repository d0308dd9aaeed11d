//! A group commit beside a bare msync of the same bytes, turn by turn on files of the same making.

use std::{
    fs::File,
    io::Write,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use forebay::{
    clock::{Clock, SystemClock},
    ring::{Kind, Part, Pos, Reader, Ring, table_hash},
};
use memmap2::{Advice, MmapOptions, MmapRaw};
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
    /// From the first append until the last row is known to be durable.
    group_us: f64,
    /// As the committer measures itself: sealing and syncing.
    committer_us: u64,
    /// Writing the same bytes at the same offsets and `msync`.
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
            "group commit of {rows} rows ({bytes} bytes): {group_us:.0} us (the committer itself {committer_us} us), bare msync {bare_us:.0} us, \
             ratio {:.2}",
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

    /// Appends the rows as one message, so that one commit holds them all, and waits until they are durable.
    pub fn group(&mut self) -> Duration {
        let body = |n: usize| &self.bodies[n % self.bodies.len()];
        let part = |n: usize| Part { kind: Kind::Rows, table_hash: table_hash("sensors"), rows: 1, body: body(n) };
        let parts: Vec<_> = (0..self.rows).map(part).collect();
        self.from = self.ring.marks().appended.pos.0;
        let start = Instant::now();
        let appended = self.ring.append(&parts, SystemClock.now()).expect("what came before is settled");
        let durable = self.ring.wait_durable(Pos(appended.end.0 - 1), Duration::from_secs(10));
        let took = start.elapsed();
        assert!(durable, "within ten seconds");
        self.bytes = self.ring.marks().appended.pos.0 - self.from;
        while self.reader.next().expect("readable").is_some() {}
        self.ring.confirm_kept(SystemClock.since_boot());
        self.ring.lane_done(0, self.reader.mark());
        took
    }

    /// Writes as many bytes to the same place of the bare file and syncs them.
    pub fn bare(&mut self) -> Duration {
        self.bare.commit(self.from, self.bytes)
    }
}

/// A file made as the ring's is, written and synced without any of its logic.
struct Bare {
    file: File,
    map: MmapRaw,
    buffer: Vec<u8>,
}

impl Bare {
    fn create(path: &Path) -> Self {
        let mut file = File::options().read(true).write(true).create(true).truncate(true).open(path).expect("a file");
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, RING_MIB << 20).expect("room");
        for _ in 0..(RING_MIB << 20) / PAGE_BYTES {
            file.write_all(&[0; PAGE_BYTES as usize]).expect("room");
        }
        file.sync_all().expect("syncs");
        let map = MmapOptions::new().map_raw(&file).expect("maps");
        map.advise(Advice::Random).expect("advice");
        Self { file, map, buffer: Vec::new() }
    }

    fn commit(&mut self, pos: u64, bytes: u64) -> Duration {
        let at = pos % (((RING_MIB << 20) - bytes) / PAGE_BYTES * PAGE_BYTES);
        self.buffer.resize(bytes as usize, 7);
        let start = Instant::now();
        self.file.write_all_at(&self.buffer, at).expect("writes");
        let first = at / PAGE_BYTES * PAGE_BYTES;
        self.map.flush_range(first as usize, (at + bytes - first) as usize).expect("syncs");
        start.elapsed()
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
