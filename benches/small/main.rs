//! The least machine: the daemon in a control group with 64 MB of memory and half a processor, its
//! files on an ext4 of 1 GB on a loop device, with the sizes that it chooses itself. The broker and
//! the database are outside. At several rates the database is away for a while, and comes back
//! while the readings go on. docs/small.md has the figures.

#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use support::{
    Daemon, DaemonBuilder, Load, Mosquitto, QuestDb, Readings, cgroup::Cgroup, daemon::pending, disk::Volume,
    relay::Relay, unique,
};

const MEMORY_BYTES: u64 = 64_000_000;
const MILLICORES: u64 = 500;
const DEVICES: u64 = 200;
const RATES: [u64; 6] = [100, 1_000, 2_000, 5_000, 10_000, 20_000];
/// Between two looks at the daemon.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a backlog may take to drain.
const LIMIT: Duration = Duration::from_mins(10);

/// What one rate came to.
#[derive(Debug, Default)]
struct Figures {
    /// Messages taken in a second while the database was away, and while the backlog drained.
    taken: [f64; 2],
    /// Messages that were published a second in the same times.
    published: [f64; 2],
    backlog_rows: u64,
    drain: Duration,
    anonymous_bytes: u64,
    peak_bytes: u64,
    kills: u64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (mut seconds, mut rates) = (30, RATES.to_vec());
    for pair in arguments.chunks(2) {
        let value = pair.get(1).map_or("", String::as_str);
        let numbers: Result<Vec<u64>, _> = value.split(',').map(str::parse).collect();
        match (pair[0].as_str(), numbers) {
            ("--seconds", Ok(numbers)) if numbers.len() == 1 => seconds = numbers[0],
            ("--rates", Ok(numbers)) => rates = numbers,
            _ => {
                eprintln!("usage: small [--seconds N] [--rates N,N,…]");
                return ExitCode::from(2);
            }
        }
    }
    println!(
        "{:>10} {:>11} {:>11} {:>9} {:>7} {:>12} {:>9} {:>6}",
        "readings/s", "in, outage", "in, drain", "backlog", "drain", "anonymous", "peak", "kills"
    );
    let (broker, questdb) = (Mosquitto::start(), QuestDb::start());
    for rate in rates {
        let one = measure(rate, Duration::from_secs(seconds), &broker, &questdb);
        let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        println!(
            "{rate:>10} {:>11} {:>11} {:>9} {:>6.0}s {:>12} {:>9} {:>6}",
            share(one.taken[0], one.published[0]),
            share(one.taken[1], one.published[1]),
            one.backlog_rows,
            one.drain.as_secs_f64(),
            mb(one.anonymous_bytes),
            mb(one.peak_bytes),
            one.kills
        );
    }
    ExitCode::SUCCESS
}

/// What was taken in a second, and what part of what was published that is.
fn share(taken: f64, published: f64) -> String {
    format!("{taken:.0} ({:.0} %)", 100.0 * taken / published.max(1.0))
}

fn measure(rate: u64, outage: Duration, broker: &Mosquitto, questdb: &QuestDb) -> Figures {
    let (group, card, mut relay) = (Cgroup::new(MEMORY_BYTES, MILLICORES), Volume::card(), Relay::shut());
    let readings = Readings::new(unique("small"), DEVICES);
    let path = |name: &str| card.at().join(name).display().to_string();
    let mut daemon = DaemonBuilder::new()
        .unset("ring", "size")
        .servers(broker, questdb)
        .source(&readings)
        .set("ring.path", path("ring"))
        .set("quarantine.path", path("quarantine"))
        .set("questdb.conf", format!("http::addr=127.0.0.1:{};", relay.port))
        .write();
    daemon.wrapper = group.wrapper();
    daemon.restart();
    daemon.wait_subscribed();
    let mut figures = Figures::default();
    let load = Load::start(&readings, broker.port, rate);
    let (taken, published) = stage(&daemon, &load, &group, &mut figures, |elapsed| elapsed >= outage);
    (figures.taken[0], figures.published[0]) = (taken, published);
    figures.backlog_rows = daemon.ledger("rows");
    relay.open(questdb.port);
    let start = Instant::now();
    // What comes in is stored within two seconds again.
    let drained = || pending(&daemon.status()["ledger"]) <= 2 * rate;
    let (taken, published) =
        stage(&daemon, &load, &group, &mut figures, |elapsed| elapsed >= LIMIT || (elapsed > PAUSE && drained()));
    (figures.taken[1], figures.published[1]) = (taken, published);
    figures.drain = start.elapsed();
    let sent = load.finish();
    daemon.wait_drained(sent, LIMIT);
    let ledger = daemon.status()["ledger"].clone();
    assert_eq!(ledger["stored"], sent, "{ledger}");
    readings.assert_exactly_once(questdb, sent, LIMIT);
    (figures.peak_bytes, figures.kills) = (group.peak_bytes(), group.kills());
    assert_eq!(daemon.stop().code(), Some(0), "forebay stops in order");
    figures
}

/// Looks on until `done`; messages taken in and published a second meanwhile.
fn stage(
    daemon: &Daemon,
    load: &Load,
    group: &Cgroup,
    figures: &mut Figures,
    done: impl Fn(Duration) -> bool,
) -> (f64, f64) {
    let start = Instant::now();
    let before = (daemon.ledger("messages"), load.acked());
    while !done(start.elapsed()) {
        std::thread::sleep(PAUSE);
        figures.anonymous_bytes = figures.anonymous_bytes.max(group.anonymous_bytes());
    }
    let a_second = |count: u64| count as f64 / start.elapsed().as_secs_f64();
    (a_second(daemon.ledger("messages") - before.0), a_second(load.acked() - before.1))
}
