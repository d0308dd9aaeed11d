//! How long a message from the broker waits for the way in while full requests of line protocol enter beside it: the whole of an
//! offer's time, with decoding and appending, in one process and without a broker. And how long the largest request's append takes.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use forebay::{
    clock::{Clock, ClockTrust, SharedClock, SystemClock},
    decode::line::Precision,
    ingest::{
        Incoming, Ingest, Intake, Offer,
        write::{LineIntake, MAX_ROWS, Writing, Written},
    },
    latest::Latest,
    observe::heartbeat::Heartbeats,
    ring::{Kind, Part, Ring},
    settings::{Bytes, OnFull, Settings, Source},
};

const RING_BYTES: u64 = 1 << 30;
const REQUESTS: usize = 20;
const SERIES: usize = 1_000;
/// Pause between two offers: with none, the measuring itself would keep a core busy.
const SPACING: Duration = Duration::from_micros(200);
const RECORD_BYTES: usize = 64 << 10;

/// Prints the figures.
pub fn run() {
    println!(
        "an offer's time: {REQUESTS} requests of {MAX_ROWS} rows after each other on another thread, and with no request"
    );
    let quiet = offers(false);
    let beside = offers(true);
    for (name, offers) in [("alone", quiet), ("beside requests", beside)] {
        println!("{name}, {} offers:", offers.len());
        print("whole", offers.iter().map(|offer| offer.took).collect());
        print("with a core", offers.iter().map(|offer| offer.took.saturating_sub(offer.without_core)).collect());
    }
    append();
}

fn print(name: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    let [p50, p99, p999, longest] = [0.5, 0.99, 0.999, 1.0].map(at);
    println!("  {name:<12} p50 {p50:?}, p99 {p99:?}, p99.9 {p999:?}, longest {longest:?}");
}

/// How long an offer took.
struct Offered {
    took: Duration,
    /// The part of it in which the thread could have gone on, and others had the cores.
    without_core: Duration,
}

/// How long this thread has waited for a core so far (proc(5), schedstat).
fn without_core() -> Duration {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").expect("schedstat");
    let waited = schedule.split_whitespace().nth(1).expect("the time waited");
    Duration::from_nanos(waited.parse().expect("nanoseconds"))
}

fn open(settings: &Settings) -> Ring {
    let clock: SharedClock = Arc::new(SystemClock);
    let heartbeat = Heartbeats::new(Arc::clone(&clock)).register("bench");
    let opened = Ring::open(&settings.ring, Duration::ZERO, clock, heartbeat, &mut |_| {}, &mut |_| {});
    opened.expect("the ring opens").ring
}

fn settings(dir: &tempfile::TempDir) -> Settings {
    let mut settings = Settings::default();
    settings.ring.path = dir.path().join("ring");
    settings.ring.size = Bytes(RING_BYTES);
    // Nothing takes the rows: what is oldest gives way.
    settings.ring.on_full = OnFull::DropOldest;
    let source: Source = toml::from_str("topic = \"t/{device}\"\ntable = \"t\"").expect("a source");
    settings.source.insert("t".into(), source);
    settings
}

fn offers(beside: bool) -> Vec<Offered> {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let settings = settings(&dir);
    let latest = Arc::new(Latest::new(&settings.latest));
    let ring = open(&settings);
    let ingest = Ingest::new(&settings, ring.clone(), latest, ClockTrust::always()).expect("sources");
    let is_over = AtomicBool::new(false);
    let mut took = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let began = Instant::now();
            for number in 0..REQUESTS {
                if beside {
                    let body = body(number);
                    let writing =
                        Writing { body: body.as_bytes(), precision: Precision::Seconds, received: SystemClock.now() };
                    let written = ingest.write(writing);
                    assert!(matches!(written, Written::Accepted { .. }), "{written:?}");
                } else {
                    thread::sleep(Duration::from_millis(100));
                }
            }
            println!("{REQUESTS} requests in {:?}", began.elapsed());
            is_over.store(true, Ordering::Relaxed);
        });
        for number in 0_u64.. {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            let topic = format!("t/dev-{}", number % 100);
            let payload = br#"{"temperature":21.5,"humidity":48.2,"battery":3012,"ok":true}"#;
            let message = Incoming { topic: &topic, payload, received: SystemClock.now(), ..Incoming::default() };
            let (waited, began) = (without_core(), Instant::now());
            let offer = ingest.offer(message);
            let elapsed = began.elapsed();
            took.push(Offered { took: elapsed, without_core: without_core().saturating_sub(waited) });
            assert!(matches!(offer, Offer::Accepted(_)), "{offer:?}");
            thread::sleep(SPACING);
        }
    });
    ring.close().expect("closed");
    took
}

fn body(request: usize) -> String {
    let mut text = String::new();
    for n in 0..MAX_ROWS {
        let (device, second) = (n % SERIES, 1_700_000_000 + request * MAX_ROWS + n);
        let _ = writeln!(text, "bench,site=north,device=dev-{device} temperature={}.53,humidity=48.2 {second}", n % 40);
    }
    text
}

/// The ring's own part: as many records as the largest request may have, in one append.
fn append() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let settings = settings(&dir);
    let ring = open(&settings);
    let body = vec![7; RECORD_BYTES];
    let part = Part { kind: Kind::Rows, table_hash: 1, rows: 1_000, body: &body, ..Part::default() };
    for records in [1, 16, 128, 480] {
        let parts = vec![part; records];
        let mut took: Vec<Duration> = Vec::new();
        while took.len() < 20 {
            let began = Instant::now();
            match ring.append(&parts, SystemClock.now()) {
                Ok(_) => took.push(began.elapsed()),
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        }
        took.sort_unstable();
        println!("append of {:>5} KiB: p50 {:?}, longest {:?}", records * RECORD_BYTES / 1024, took[10], took[19]);
    }
    ring.close().expect("closed");
}
