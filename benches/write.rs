//! Rows a second through `POST /write` on forebay's socket, each request answered once it is durable, against the same requests to
//! QuestDB itself, with the same bare client, in one run. Before that, how long the session waits beside full requests; with the
//! argument `way-in` only that.

#[path = "../tests/it/support/mod.rs"]
#[allow(unused_imports, reason = "the benchmark uses a part of this, the tests another")]
mod support;
#[path = "write/way_in.rs"]
mod way_in;

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use support::{DaemonBuilder, QuestDb, Readings};

const ROWS: u64 = 1_000;
const REQUESTS: u64 = 300;
const ROUNDS: usize = 3;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

#[derive(Clone)]
enum To {
    Forebay(PathBuf),
    QuestDb(u16),
}

impl To {
    fn connect(&self) -> Box<dyn Stream> {
        match self {
            Self::Forebay(socket) => Box::new(UnixStream::connect(socket).expect("forebay")),
            Self::QuestDb(port) => Box::new(TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).expect("QuestDB")),
        }
    }
}

fn main() {
    way_in::run();
    if std::env::args().any(|argument| argument == "way-in") {
        return;
    }
    let questdb = QuestDb::as_shipped();
    let builder = DaemonBuilder::new().source(&Readings::new("unused", 1)).set("ring.size", "1GiB");
    let daemon = builder.set("mqtt.url", "mqtt://127.0.0.1:1").set("questdb.conf", questdb.conf()).start();
    println!("rows a second in requests of {ROWS} rows, two symbols and four fields; p50 and p99 of a request");
    for connections in [1, 4] {
        for (name, to) in
            [("QuestDB directly", To::QuestDb(questdb.port)), ("forebay's socket", To::Forebay(daemon.socket()))]
        {
            let mut rounds: Vec<_> = (0..ROUNDS).map(|round| run(&to, connections, round)).collect();
            rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (rate, p50, p99) = rounds[ROUNDS / 2];
            println!("{name:<17} {connections} connections: {rate:>9.0} rows/s, {p50:?}, {p99:?}");
        }
    }
    let limit = Duration::from_mins(2);
    support::eventually(limit, "everything is stored", || support::daemon::pending(&daemon.status()["ledger"]) == 0);
    let took = daemon.status()["writes"]["latency_us"].clone();
    println!("forebay, from a request's last byte to its answer, in microseconds: {took}");
}

/// Rows a second, median and 99th percentile of a request's time.
fn run(to: &To, connections: u64, round: usize) -> (f64, Duration, Duration) {
    let began = Instant::now();
    let writers: Vec<_> = (0..connections)
        .map(|connection| {
            let to = to.clone();
            thread::spawn(move || writer(&to, round as u64 * 100 + connection, REQUESTS / connections))
        })
        .collect();
    let mut took: Vec<Duration> = writers.into_iter().flat_map(|writer| writer.join().expect("a writer")).collect();
    let elapsed = began.elapsed();
    took.sort();
    let rows = took.len() as f64 * ROWS as f64;
    (rows / elapsed.as_secs_f64(), took[took.len() / 2], took[took.len() * 99 / 100])
}

fn writer(to: &To, number: u64, requests: u64) -> Vec<Duration> {
    let mut stream = to.connect();
    let bodies: Vec<String> = (0..requests).map(|request| body(number, request)).collect();
    bodies.iter().map(|body| post(&mut *stream, body)).collect()
}

fn body(writer: u64, request: u64) -> String {
    let mut text = String::new();
    for n in 0..ROWS {
        let time = 1_700_000_000_000_000_000 + (request * ROWS + n) * 1_000_000;
        let _ = writeln!(
            text,
            "bench,site=north,device=dev-{writer}-{} temperature={}.53,humidity=48.2,battery=3012i,ok=t {time}",
            n % 100,
            n % 40
        );
    }
    text
}

fn post(stream: &mut dyn Stream, body: &str) -> Duration {
    let began = Instant::now();
    let head = format!("POST /write HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(body.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut chunk).expect("an answer");
        assert!(read > 0, "an answer: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&chunk[..read]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 204"), "{}", String::from_utf8_lossy(&answer));
    began.elapsed()
}
