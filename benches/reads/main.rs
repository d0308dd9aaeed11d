//! Latest values over the Unix socket against Redis GET over its own, and how soon a published reading can be read.
//!
//! All servers answer the same bytes; rounds take turns on the same machine in the same run. Clients are threads of this program that ask
//! and wait, one request at a time each. A bare axum and a bare hyper show what of the time is the libraries'.

mod bare;
mod peers;
mod visible;

#[allow(dead_code, reason = "others use all of it, this a part")]
#[path = "../common/mod.rs"]
mod common;
#[allow(unused_imports, reason = "the tests use all of it, this a part")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::{process::ExitCode, thread, time::Duration};

use bare::Bare;
use peers::{Forebay, Peer, Redis};
use support::{DaemonBuilder, Mosquitto, Readings, eventually, unique};

const REDIS: &str = "Redis GET";
const SERIES: u64 = 1_000;
const CONNECTIONS: [usize; 2] = [1, 50];
const LIMIT: Duration = Duration::from_mins(1);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [role, rest @ ..] = &arguments[..]
        && role == "role"
    {
        bare::run(rest);
        return ExitCode::SUCCESS;
    }
    let (mut rounds, mut seconds) = (5_u32, 1_u64);
    for pair in arguments.chunks(2) {
        match (pair[0].as_str(), pair.get(1).and_then(|value| value.parse().ok())) {
            ("--rounds", Some(value)) => rounds = value,
            ("--seconds", Some(value)) => seconds = u64::from(value),
            _ => {
                eprintln!("usage: reads [--rounds N] [--seconds N]");
                return ExitCode::from(2);
            }
        }
    }
    let broker = Mosquitto::start();
    let readings = Readings::new(unique("reads"), SERIES);
    // No database: what is asked for is in memory, and nothing else takes the two cores.
    let mut daemon = DaemonBuilder::new()
        .set("mqtt.url", broker.url())
        .set("questdb.conf", "http::addr=127.0.0.1:9;")
        .source(&readings)
        .start();
    daemon.wait_subscribed();
    fill(&readings, &broker);
    eventually(LIMIT, "the readings are in", || daemon.ledger("rows") >= SERIES);

    let forebay = Forebay::new(daemon.socket(), &readings.name);
    let redis = Redis::start();
    redis.fill(SERIES, &forebay);
    let [axum, hyper] = ["axum", "hyper"].map(|library| Bare::start(library, SERIES, &forebay));
    let servers: [(&str, &dyn Peer); 4] =
        [(REDIS, &redis), ("forebay GET /v1/latest", &forebay), ("bare axum", &axum), ("bare hyper", &hyper)];
    compare(&servers, rounds, seconds);
    drop((axum, hyper));
    drop(redis);
    visible::measure(&readings, &broker, &daemon).print();
    assert_eq!(daemon.stop().code(), Some(0), "forebay stops in order");
    ExitCode::SUCCESS
}

/// Rounds of each server in turns; each against the first.
fn compare(servers: &[(&str, &dyn Peer)], rounds: u32, seconds: u64) {
    println!(
        "| connections | server | reads/s | p50 | p99 | over Redis: reads/s | p50 | p99 |\n|---|---|---|---|---|---|---|---|"
    );
    for connections in CONNECTIONS {
        let mut times = vec![Vec::new(); servers.len()];
        for _ in 0..rounds {
            for ((_, peer), times) in servers.iter().zip(&mut times) {
                times.extend(load(*peer, connections, seconds));
            }
        }
        let told: Vec<Told> = times.into_iter().map(|times| Told::of(times, u64::from(rounds) * seconds)).collect();
        for ((name, _), told_of) in servers.iter().zip(&told) {
            told_of.print(connections, name, &told[0]);
        }
    }
}

fn fill(readings: &Readings, broker: &Mosquitto) {
    let mut publisher = broker.publisher().expect("the broker is there");
    for n in 0..SERIES {
        let (topic, payload) = readings.reading(n);
        publisher.publish(&topic, payload.as_bytes()).expect("publishes");
    }
    publisher.drain(LIMIT).expect("the broker acknowledges");
}

/// Times of reads in microseconds, from so many connections at once.
fn load(peer: &dyn Peer, connections: usize, seconds: u64) -> Vec<f64> {
    thread::scope(|scope| {
        let clients: Vec<_> = (0..connections)
            .map(|client| scope.spawn(move || peer.connect().read_for(client as u64, Duration::from_secs(seconds))))
            .collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client ends in order")).collect()
    })
}

/// What was measured.
struct Told {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Told {
    fn of(mut times: Vec<f64>, seconds: u64) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        Self { per_second: times.len() as f64 / seconds as f64, p50_us: at(0.5), p99_us: at(0.99) }
    }

    fn print(&self, connections: usize, server: &str, first: &Self) {
        let Self { per_second, p50_us, p99_us } = self;
        println!(
            "| {connections} | {server} | {per_second:.0} | {p50_us:.0} µs | {p99_us:.0} µs | {:.2} | {:.2} | {:.2} |",
            per_second / first.per_second,
            p50_us / first.p50_us,
            p99_us / first.p99_us
        );
    }
}
