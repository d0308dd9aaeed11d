//! The same strategies on a real daemon, mosquitto and QuestDB, through lines of several kinds, beside what the simulator
//! foretells for them.

use std::time::{Duration, Instant};

use forebay::{
    flush::simulator::{Arrivals, Database, Scenario, Stalls, fixed, run},
    settings::Batch,
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    line::Line,
    memory,
    simulated::seconds as shown,
    support::{Daemon, DaemonBuilder, Load, Mosquitto, QuestDb, Readings, eventually, unique},
};

const DEVICES: u64 = 100;
const ROWS_PER_S: u64 = 1_000;
const WARM_UP_ROWS: u64 = 20;
const LIMIT: Duration = Duration::from_mins(2);

/// A line and what the simulator is told of it.
struct Way {
    name: &'static str,
    line: Line,
}

fn ways() -> [Way; 5] {
    let ms = Duration::from_millis;
    let line = Line::default();
    [
        Way { name: "direct", line },
        Way { name: "20 ms each way", line: Line { one_way: ms(20), ..line } },
        Way { name: "100 ms each way", line: Line { one_way: ms(100), ..line } },
        Way { name: "0.5 MB/s", line: Line { bytes_per_s: Some(5e5), ..line } },
        Way { name: "stalls of 300 ms every 3 s", line: Line { stalls: Some((ms(3_000), ms(300))), ..line } },
    ]
}

/// How batches are cut.
#[derive(Debug, Clone, Copy)]
enum Strategy {
    /// Dynamic, with this freshness in milliseconds.
    Dynamic(u64),
    /// So many rows, or a linger in milliseconds.
    Fixed(i64, u64),
}

const STRATEGIES: [(&str, Strategy); 7] = [
    ("dynamic, 100 ms", Strategy::Dynamic(100)),
    ("dynamic, 1 s (default)", Strategy::Dynamic(1_000)),
    ("10 rows / 1 s", Strategy::Fixed(10, 1_000)),
    ("100 rows / 1 s", Strategy::Fixed(100, 1_000)),
    ("1,000 rows / 1 s", Strategy::Fixed(1_000, 1_000)),
    ("1,000 rows / 10 s", Strategy::Fixed(1_000, 10_000)),
    ("10,000 rows / 1 s", Strategy::Fixed(10_000, 1_000)),
];
/// Makes small requests of many sizes.
const VARIED: Strategy = Strategy::Dynamic(10);
/// Makes large ones.
const LARGE: Strategy = Strategy::Fixed(1_000, 1_000);

/// What was measured, and what was foretold.
#[derive(Debug, Serialize)]
pub struct Measured {
    way: String,
    strategy: String,
    /// 99th percentile and median of the time from arrival to stored, in seconds.
    p99_s: f64,
    p50_s: f64,
    flushes: u64,
    foretold_p99_s: f64,
    foretold_p50_s: f64,
}

/// What one row, one flush and one commit cost without a line in between.
#[derive(Debug)]
struct Base {
    fixed_s: f64,
    per_row_s: f64,
    /// Bytes of a request apart from its rows: its head, and whatever else goes with it.
    head_bytes: f64,
    row_bytes: f64,
    sync_s: f64,
    sync_spread: f64,
    noise: f64,
}

/// Runs every strategy over every line.
pub fn compare(seconds: u64, seed: u64) -> Vec<Measured> {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::as_shipped());
    // The server's code is compiled while it runs, and the costs are told by the strategy that varies its sizes most.
    let varied = measure(&Line::default(), VARIED, seconds, &broker, &questdb);
    let large = measure(&Line::default(), LARGE, seconds, &broker, &questdb);
    let base = Base::of(&varied, &large);
    eprintln!("{base:?}");
    let mut measured = Vec::new();
    for way in ways() {
        for (name, strategy) in STRATEGIES {
            let run = measure(&way.line, strategy, seconds, &broker, &questdb);
            let foretold = foretell(&way.line, run.line_age_s, strategy, &base, seconds, seed);
            let figure =
                |name: &str| run.status["flush"]["stored_latency_us"][name].as_f64().unwrap_or(f64::NAN) * 1e-6;
            measured.push(Measured {
                way: way.name.to_owned(),
                strategy: name.to_owned(),
                p99_s: figure("p99"),
                p50_s: figure("p50"),
                flushes: run.flushes(),
                foretold_p99_s: foretold.p99_s,
                foretold_p50_s: foretold.p50_s,
            });
            eprintln!("{}, {name}: {:?}", way.name, measured.last());
        }
    }
    measured
}

struct Run {
    status: Value,
    /// Seconds from the line's beginning, from which its stalls count, to the load's.
    line_age_s: f64,
    carried: u64,
}

impl Run {
    fn sum(&self, figure: &str) -> u64 {
        let lanes = self.status["flush"]["lanes"].as_array().map(Vec::as_slice).unwrap_or_default();
        lanes.iter().filter_map(|lane| lane[figure].as_u64()).sum()
    }

    fn flushes(&self) -> u64 {
        self.sum("flushes")
    }
}

impl Base {
    /// Costs from a run of many small requests, and bytes from one of few large ones too.
    fn of(small: &Run, large: &Run) -> Self {
        let lanes = small.status["flush"]["lanes"].as_array().expect("lanes");
        let lane = lanes.iter().max_by_key(|lane| lane["flushes"].as_u64()).expect("a lane");
        let figure = |name: &str| lane[name].as_f64().expect("a figure");
        let commit = |name: &str| small.status["ring"]["commit_us"][name].as_f64().expect("commits");
        // Of both runs: carried = head · flushes + row · rows.
        let [(carried, flushes, rows), (few_carried, few, few_rows)] =
            [small, large].map(|run| (run.carried as f64, run.flushes() as f64, run.sum("rows_sent") as f64));
        let head_bytes = (carried * few_rows - few_carried * rows) / (flushes * few_rows - few * rows);
        Self {
            fixed_s: figure("fixed_ms") * 1e-3,
            per_row_s: figure("per_row_us") * 1e-6,
            head_bytes,
            row_bytes: (few_carried - head_bytes * few) / few_rows,
            noise: figure("spread"),
            sync_s: commit("p50") * 1e-6,
            // So far from the median is the 99th percentile of what is spread normally.
            sync_spread: (commit("p99") / commit("p50")).ln() / 2.33,
        }
    }
}

fn measure(line: &Line, strategy: Strategy, seconds: u64, broker: &Mosquitto, questdb: &QuestDb) -> Run {
    let readings = Readings::new(unique("line"), DEVICES);
    let (opened, open) = (Instant::now(), line.open(questdb.port));
    let mut builder = DaemonBuilder::new()
        .servers(broker, questdb)
        .source(&readings)
        .set("questdb.conf", format!("http::addr=127.0.0.1:{};", open.port))
        // As by default. Without one the server is asked four times a second when it was started, which takes a round trip each.
        .set("questdb.resend_window", "1m");
    builder = match strategy {
        Strategy::Dynamic(freshness_ms) => builder.set("batch.freshness", format!("{freshness_ms}ms")),
        Strategy::Fixed(rows, linger_ms) => builder
            .set("batch.strategy", "hybrid")
            .set("batch.max_rows", rows)
            .set("batch.max_linger", format!("{linger_ms}ms")),
    };
    memory::bring_to_hand();
    let mut daemon = builder.start();
    daemon.wait_subscribed();
    warm_up(&readings, broker, &daemon);
    let load = Load::start(&readings, broker.port, ROWS_PER_S);
    let began = Instant::now();
    eventually(LIMIT, "the load", || began.elapsed() >= Duration::from_secs(seconds));
    load.finish();
    // The rows that wait at the end for company that does not come would tell of nothing but the end.
    let run = Run { status: daemon.status(), line_age_s: (began - opened).as_secs_f64(), carried: open.carried() };
    // What is left over would take long with the slower strategies, and tells nothing more.
    daemon.kill9();
    questdb.sql(&format!("DROP TABLE '{}'", readings.name));
    run
}

/// The table and the connection are there before anything is measured: their cost is that of the first rows alone, too few to
/// move a 99th percentile.
fn warm_up(readings: &Readings, broker: &Mosquitto, daemon: &Daemon) {
    let mut publisher = broker.publisher().expect("the broker is there");
    for n in 0..WARM_UP_ROWS {
        let (topic, payload) = readings.reading(n);
        publisher.publish(&topic, payload.as_bytes()).expect("publishes");
    }
    publisher.drain(LIMIT).expect("the broker acknowledges");
    eventually(LIMIT, "the first rows are stored", || daemon.ledger("stored") >= WARM_UP_ROWS);
}

fn foretell(
    line: &Line,
    line_age_s: f64,
    strategy: Strategy,
    base: &Base,
    seconds: u64,
    seed: u64,
) -> forebay::flush::simulator::Outcome {
    let takes_s = |bytes: f64| line.bytes_per_s.map_or(0.0, |rate| bytes / rate);
    let database = Database {
        fixed_s: base.fixed_s,
        per_row_s: base.per_row_s,
        noise: base.noise,
        line_s: (2.0 * line.one_way.as_secs_f64() + takes_s(base.head_bytes), takes_s(base.row_bytes)),
        stalls: line.stalls.map(|(every, span)| {
            let (every_s, for_s) = (every.as_secs_f64(), span.as_secs_f64());
            Stalls { first_s: every_s - line_age_s % every_s, every_s, for_s }
        }),
        ..Database::default()
    };
    let scenario = Scenario {
        arrivals: Arrivals::Steady { rows_per_s: ROWS_PER_S as f64 },
        database,
        sync_s: base.sync_s,
        sync_spread: base.sync_spread,
        warm_up_rows: WARM_UP_ROWS,
        seconds: seconds as f64,
        seed,
    };
    let batch = match strategy {
        Strategy::Dynamic(freshness_ms) => Batch { freshness: Duration::from_millis(freshness_ms), ..Batch::default() },
        Strategy::Fixed(rows, linger_ms) => fixed(rows as usize, Duration::from_millis(linger_ms)),
    };
    run(&scenario, &batch)
}

/// Prints it as Markdown.
pub fn print(all: &[Measured]) {
    println!(
        "| line | strategy | p50 | foretold | p99 | foretold | off by | flushes |\n|---|---|---|---|---|---|---|---|"
    );
    for one in all {
        println!(
            "| {} | {} | {} | {} | {} | {} | {:+.0} % | {} |",
            one.way,
            one.strategy,
            shown(one.p50_s),
            shown(one.foretold_p50_s),
            shown(one.p99_s),
            shown(one.foretold_p99_s),
            (one.foretold_p99_s / one.p99_s - 1.0) * 100.0,
            one.flushes,
        );
    }
    println!();
    for way in ways() {
        let of: Vec<_> = all.iter().filter(|one| one.way == way.name).collect();
        let by = |figure: fn(&Measured) -> f64| {
            let mut order = of.clone();
            order.sort_by(|a, b| figure(a).total_cmp(&figure(b)));
            order.iter().map(|one| one.strategy.as_str()).collect::<Vec<_>>().join(" < ")
        };
        println!(
            "{}: measured {}\n{}: foretold {}\n",
            way.name,
            by(|one| one.p99_s),
            way.name,
            by(|one| one.foretold_p99_s)
        );
    }
}
