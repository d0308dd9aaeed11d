//! `forebay simulate`: devices that publish readings over MQTT, with counts that tell what is missing.

mod device;
mod publisher;

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde::Serialize;

use self::{
    device::Device,
    publisher::{Plan, Publisher, Totals},
};
use super::{Exit, Failure, target::Target};
use crate::{
    mqtt::{ConnectError, v5::publisher_options},
    settings::Mqtt,
};

/// Messages under way on each connection; brokers commonly allow fewer.
const INFLIGHT: u16 = 1_000;
/// Most connections: each has its buffers and its file descriptor.
const MAX_CONNECTIONS: u32 = 1_000;
/// How often the live rate is shown.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// Simulates devices that publish readings over MQTT.
#[derive(Debug, Clone, clap::Args)]
pub struct SimulateArgs {
    /// The broker.
    #[arg(long, default_value = "mqtt://127.0.0.1:1883")]
    pub url: String,
    /// Topic pattern; {site} and {device} are filled in.
    #[arg(long, default_value = "sensors/{site}/{device}")]
    pub topic: String,
    /// Number of devices.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub devices: u32,
    /// Number of sites the devices are spread over.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub sites: u32,
    /// Connections to the broker [default: as many as devices, at most 8].
    #[arg(long)]
    pub connections: Option<u32>,
    /// Messages a second in all; 0: as fast as the broker takes them.
    #[arg(long, default_value_t = 0.0)]
    pub rate: f64,
    /// Messages in all; 0: no limit.
    #[arg(long, default_value_t = 0)]
    pub count: u64,
    /// How long to publish, such as 30s; 0: until Ctrl-C.
    #[arg(long, default_value = "0", value_parser = duration)]
    pub duration: Duration,
    /// QoS of the messages: 0 or 1.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub qos: u8,
    /// Seed of the values; equal seeds make equal values.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Share of messages that are broken on purpose, in percent.
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    pub rubbish: f64,
    /// User name.
    #[arg(long)]
    pub username: Option<String>,
    /// File holding the password.
    #[arg(long)]
    pub password_file: Option<PathBuf>,
    /// Start of the client ids; two simulators at one broker need different ones.
    #[arg(long, default_value = "forebay-simulate")]
    pub client_id: String,
    /// Sequence number of each device's first reading.
    #[arg(long, default_value_t = 0, value_name = "SEQ")]
    pub start: u64,
    /// Where to write, at the end, one JSON line a device: first and last sequence number, readings published, acknowledged.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// How long to wait at the end for acknowledgements.
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub drain_timeout: Duration,
    /// Print the summary as JSON (the global `--json`).
    #[arg(skip)]
    pub json: bool,
}

/// Why a simulation could not be run.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// An argument makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The first connection failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The runtime, the signals or the ledger failed.
    #[error("{what}: {why}")]
    Io {
        /// What was being done.
        what: String,
        /// What came of it.
        why: std::io::Error,
    },
}

impl SimulateError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |why| Self::Io { what, why }
    }

    fn ledger(failure: &Failure) -> Self {
        let why = failure.error.as_ref().map_or_else(String::new, ToString::to_string);
        Self::Usage(format!("--ledger: {why}"))
    }

    /// How the command ends for it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if matches!(self, Self::Usage(_) | Self::Connect(ConnectError::Settings(_))) {
            Exit::Usage
        } else {
            Exit::Failed
        }
    }
}

/// How a simulation went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Messages sent, rubbish included.
    pub published: u64,
    /// Messages acknowledged (QoS 1).
    pub acknowledged: u64,
    /// QoS 1 messages sent or queued that were never acknowledged.
    pub unacknowledged: u64,
    /// Messages that were broken on purpose.
    pub rubbish: u64,
    /// Connections made, reconnects included.
    pub connects: u64,
    /// From the first message to the last acknowledgement.
    pub seconds: f64,
    /// Messages sent a second.
    pub rate: f64,
}

#[derive(Serialize)]
struct LedgerLine<'a> {
    device: &'a str,
    topic: &'a str,
    /// None when nothing was published.
    first_seq: Option<u64>,
    last_seq: Option<u64>,
    published: u64,
    acknowledged: u64,
}

/// Runs the simulation and prints its summary. The result is the exit code: 0, or 1 when QoS 1 messages stayed
/// unacknowledged.
pub fn run(args: &SimulateArgs) -> Result<u8, SimulateError> {
    validate(args)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The second one ends the program at once.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(SimulateError::io("can't catch signals"))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(SimulateError::io("can't start the runtime"))?;
    // What is wrong with the ledger's place is told before anything is published.
    let ledger = args.ledger.as_deref().map(|path| Target::open(path, &[])).transpose();
    let ledger = ledger.map_err(|failure| SimulateError::ledger(&failure))?;
    let totals = Arc::new(Totals::default());
    let started = Instant::now();
    let publishers = runtime.block_on(publish(args, &totals, &stop))?;
    let seconds = started.elapsed().as_secs_f64();
    let summary = summarise(&totals, &publishers, args.qos, seconds);
    if let Some(mut target) = ledger {
        let text = ledger_text(&publishers, args.start).map_err(SimulateError::io("--ledger: can't be written"))?;
        let written = target.write(&text).and_then(|()| target.finish());
        written.map_err(|failure| SimulateError::ledger(&failure))?;
    }
    print(&summary, args.json).map_err(SimulateError::io("can't print the summary"))?;
    Ok(u8::from(summary.unacknowledged > 0))
}

fn validate(args: &SimulateArgs) -> Result<(), SimulateError> {
    let usage = |text: &str| Err(SimulateError::Usage(text.to_owned()));
    let rest = args.topic.replace("{site}", "").replace("{device}", "");
    if rest.contains(['{', '}', '+', '#']) || args.topic.is_empty() {
        return usage("--topic: only {site} and {device} are filled in, and a topic has no wildcards");
    }
    if args.devices > 1 && !args.topic.contains("{device}") {
        return usage("--topic: needs {device} to tell the devices apart");
    }
    if args.rate < 0.0 || !args.rate.is_finite() || !(0.0..=100.0).contains(&args.rubbish) {
        return usage("--rate must not be negative, and --rubbish is a percentage from 0 to 100");
    }
    if args.connections.is_some_and(|n| !(1..=MAX_CONNECTIONS).contains(&n)) {
        return usage("--connections: from 1 to 1000");
    }
    Ok(())
}

/// Runs every connection to its end.
async fn publish(
    args: &SimulateArgs,
    totals: &Arc<Totals>,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<Publisher>, SimulateError> {
    let connections = args.connections.unwrap_or(8).min(args.devices);
    let until = (!args.duration.is_zero()).then(|| Instant::now() + args.duration);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..connections {
        let settings = Mqtt {
            url: args.url.clone(),
            client_id: format!("{}-{number}", args.client_id),
            username: args.username.clone(),
            password_file: args.password_file.clone(),
            session_expiry: Duration::from_hours(1),
            ..Mqtt::default()
        };
        let options = publisher_options(&settings, INFLIGHT)?;
        let plan = Plan {
            qos: args.qos,
            rate: args.rate / f64::from(connections),
            count: share(args.count, number, connections),
            until,
            rubbish_percent: args.rubbish,
            drain_timeout: args.drain_timeout,
        };
        let devices = (number..args.devices)
            .step_by(connections as usize)
            .map(|index| Device::new(&args.topic, index, args.sites, args.seed, args.start))
            .collect();
        let (mut publisher, eventloop) = Publisher::new(options, plan, devices, Arc::clone(totals), Arc::clone(stop));
        tasks.spawn(async move { publisher.run(eventloop).await.map(|()| publisher) });
    }
    let mut done = Vec::new();
    let mut show = tokio::time::interval(SHOW_EVERY);
    let live = std::io::stderr().is_terminal() && !args.json;
    let mut before = 0;
    loop {
        tokio::select! {
            finished = tasks.join_next() => match finished {
                None => break,
                Some(Ok(publisher)) => done.push(publisher?),
                Some(Err(panicked)) => return Err(SimulateError::io("a connection's task failed")(std::io::Error::other(panicked))),
            },
            _ = show.tick(), if live => {
                let published = totals.published.load(Relaxed);
                eprint!("\r{published} published, {} acknowledged, {}/s   ", totals.acknowledged.load(Relaxed), published - before);
                before = published;
            }
        }
    }
    if live {
        eprintln!();
    }
    Ok(done)
}

/// One connection's part of all messages.
fn share(count: u64, number: u32, connections: u32) -> Option<u64> {
    let (number, connections) = (u64::from(number), u64::from(connections));
    (count > 0).then(|| count / connections + u64::from(number < count % connections))
}

fn summarise(totals: &Totals, publishers: &[Publisher], qos: u8, seconds: f64) -> Summary {
    let published = totals.published.load(Relaxed);
    let acknowledged = totals.acknowledged.load(Relaxed);
    let made: u64 = publishers.iter().map(Publisher::made).sum();
    Summary {
        published,
        acknowledged,
        unacknowledged: if qos == 0 { 0 } else { made.saturating_sub(acknowledged) },
        rubbish: totals.rubbish.load(Relaxed),
        connects: totals.connects.load(Relaxed),
        seconds,
        rate: published as f64 / seconds.max(f64::MIN_POSITIVE),
    }
}

fn ledger_text(publishers: &[Publisher], start: u64) -> std::io::Result<String> {
    let mut out = Vec::new();
    for publisher in publishers {
        for (device, tally) in publisher.devices.iter().zip(&publisher.tallies) {
            let any = device.next_seq() > start;
            let line = LedgerLine {
                device: &device.name,
                topic: &device.topic,
                first_seq: any.then_some(start),
                last_seq: any.then(|| device.next_seq() - 1),
                published: tally.published,
                acknowledged: tally.acknowledged,
            };
            serde_json::to_writer(&mut out, &line)?;
            out.push(b'\n');
        }
    }
    String::from_utf8(out).map_err(std::io::Error::other)
}

fn print(summary: &Summary, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, summary)?;
        return out.write_all(b"\n");
    }
    writeln!(
        out,
        "published {} ({} rubbish), acknowledged {}, unacknowledged {}, in {:.2} s ({:.0} msg/s), {} connections made",
        summary.published,
        summary.rubbish,
        summary.acknowledged,
        summary.unacknowledged,
        summary.seconds,
        summary.rate,
        summary.connects
    )
}

fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|why| format!("{why}; write one like 30s"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn parsed(args: &[&str]) -> SimulateArgs {
        Cli::try_parse_from([&["simulate"], args].concat()).expect("parses").args
    }

    #[test]
    fn the_count_is_shared_out_exactly() {
        for (count, connections) in [(10, 3), (2, 8), (100_000, 7)] {
            let all: u64 = (0..connections).filter_map(|n| share(count, n, connections)).sum();
            assert_eq!(all, count);
        }
        assert_eq!(share(0, 0, 1), None);
    }

    #[test]
    fn defaults_are_usable_and_mistakes_are_usage_errors() {
        assert!(validate(&parsed(&[])).is_ok());
        assert_eq!(parsed(&["--duration", "2min"]).duration, Duration::from_mins(2));
        for wrong in [
            &["--topic", "a/{rack}/{device}"][..],
            &["--topic", "a/#/{device}"],
            &["--topic", "all"],
            &["--rubbish", "101"],
            &["--rate", "nan"],
            &["--connections", "0"],
        ] {
            assert_eq!(validate(&parsed(wrong)).expect_err("is refused").exit(), Exit::Usage, "{wrong:?}");
        }
    }
}
