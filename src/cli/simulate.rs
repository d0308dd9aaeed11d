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
use super::{Exit, Failure, out::plural, target::Target};
use crate::{
    decode::pattern::Pattern,
    mqtt::{ConnectError, v5::publisher_options},
    settings::{Mqtt, Settings},
};

/// Messages under way on each connection; brokers commonly allow fewer.
const INFLIGHT: u16 = 1_000;
/// Most connections: each has its buffers and its file descriptor.
const MAX_CONNECTIONS: u32 = 1_000;
/// How often the live rate is shown.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// How long to publish where nothing says it.
const DEFAULT_DURATION: Duration = Duration::from_mins(1);
/// A topic for trying a broker: no source takes it unless one is made for it.
const DEFAULT_TOPIC: &str = "forebay-simulate/{site}/{device}";

/// Simulates devices that publish readings over MQTT.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Without options it publishes 10 messages a second for a minute, at the configuration's broker, on topics that no source takes. \
With --topic 'sensors/{site}/{device}' a source of that pattern takes them, and stores them like readings of real devices.")]
pub struct SimulateArgs {
    /// The broker [default: the configuration's, else port 1883 of this machine].
    #[arg(long)]
    pub url: Option<String>,
    /// Topic pattern; {site} and {device} are filled in [default: forebay-simulate/{site}/{device}, which no source takes].
    #[arg(long)]
    pub topic: Option<String>,
    /// Number of devices.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub devices: u32,
    /// Number of sites the devices are spread over.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub sites: u32,
    /// Connections to the broker [default: as many as devices, at most 8].
    #[arg(long)]
    pub connections: Option<u32>,
    /// Messages a second in all; 0: as fast as the broker takes them.
    #[arg(long, default_value_t = 10.0)]
    pub rate: f64,
    /// Messages in all; 0: no limit.
    #[arg(long, default_value_t = 0)]
    pub count: u64,
    /// How long to publish, such as 30s; 0: until Ctrl-C [default: 1min, and with --count no limit].
    #[arg(long, value_parser = duration)]
    pub duration: Option<Duration>,
    /// QoS of the messages: 0 or 1.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub qos: u8,
    /// Seed of the values; equal seeds make equal values.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Share of messages that are broken on purpose, in percent.
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    pub rubbish: f64,
    /// User name [default: with the configuration's broker the configuration's].
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
pub fn run(args: &SimulateArgs, settings: Option<&Settings>) -> Result<u8, SimulateError> {
    let aim = Aim::of(args, settings)?;
    validate(args, &aim.topic)?;
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
    if !args.json {
        eprintln!("{}", aim.announced(args));
    }
    let publishers = runtime.block_on(publish(args, &aim, &totals, &stop))?;
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

/// Where and for how long to publish.
struct Aim {
    /// The broker, and who is asked for there.
    mqtt: Mqtt,
    topic: String,
    /// Zero: no limit.
    duration: Duration,
}

impl Aim {
    /// What the arguments say, and else the settings, as far as there are any.
    fn of(args: &SimulateArgs, settings: Option<&Settings>) -> Result<Self, SimulateError> {
        let mut mqtt = match (&args.url, settings) {
            (Some(url), _) => Mqtt { url: url.clone(), ..Mqtt::default() },
            (None, Some(settings)) => settings.mqtt.clone(),
            (None, None) => Mqtt { url: "mqtt://127.0.0.1:1883".into(), ..Mqtt::default() },
        };
        if args.username.is_some() {
            (mqtt.username, mqtt.password_file) = (args.username.clone(), args.password_file.clone());
        }
        mqtt.session_expiry = Duration::from_hours(1);
        let topic = args.topic.as_deref().unwrap_or(DEFAULT_TOPIC).to_owned();
        if args.topic.is_none() {
            let example = topic.replace("{site}", "site-0").replace("{device}", "dev-0");
            let sources = settings.iter().flat_map(|settings| &settings.source);
            let mut takes = sources.filter(|(_, source)| {
                let takes = |topic| Pattern::parse(topic).is_ok_and(|pattern| pattern.captures(&example).is_some());
                source.topic.iter().any(takes)
            });
            if let Some((name, _)) = takes.next() {
                return Err(SimulateError::Usage(format!(
                    "source.{name} takes {example}, and would store made-up readings; say with --topic where to publish"
                )));
            }
        }
        let unlimited = if args.count > 0 { Duration::ZERO } else { DEFAULT_DURATION };
        Ok(Self { mqtt, topic, duration: args.duration.unwrap_or(unlimited) })
    }

    /// What is about to be done.
    fn announced(&self, args: &SimulateArgs) -> String {
        let rate =
            if args.rate > 0.0 { format!("{} messages/s", args.rate) } else { "as fast as it takes them".into() };
        let count = if args.count > 0 { format!(", {}", plural(args.count, "message")) } else { String::new() };
        let duration = match self.duration {
            Duration::ZERO if args.count > 0 => String::new(),
            Duration::ZERO => ", until Ctrl-C".into(),
            duration => format!(", for {}", humantime::format_duration(duration)),
        };
        format!(
            "{} devices publish on {} at {}: {rate}{count}{duration}",
            args.devices,
            self.topic,
            shown(&self.mqtt.url)
        )
    }
}

/// The URL without what stands in front of the host, which may be a password.
fn shown(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}

fn validate(args: &SimulateArgs, topic: &str) -> Result<(), SimulateError> {
    let usage = |text: &str| Err(SimulateError::Usage(text.to_owned()));
    let rest = topic.replace("{site}", "").replace("{device}", "");
    if rest.contains(['{', '}', '+', '#']) || topic.is_empty() {
        return usage("--topic: only {site} and {device} are filled in, and a topic has no wildcards");
    }
    if args.devices > 1 && !topic.contains("{device}") {
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
    aim: &Aim,
    totals: &Arc<Totals>,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<Publisher>, SimulateError> {
    let connections = args.connections.unwrap_or(8).min(args.devices);
    let until = (!aim.duration.is_zero()).then(|| Instant::now() + aim.duration);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..connections {
        let settings = Mqtt { client_id: format!("{}-{number}", args.client_id), ..aim.mqtt.clone() };
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
            .map(|index| Device::new(&aim.topic, index, args.sites, args.seed, args.start))
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
        "published {} ({} rubbish), acknowledged {}, unacknowledged {}, in {:.2} s ({:.0} msg/s), {} made",
        summary.published,
        summary.rubbish,
        summary.acknowledged,
        summary.unacknowledged,
        summary.seconds,
        summary.rate,
        plural(summary.connects, "connection")
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
        assert!(check(&[]).is_ok());
        assert_eq!(parsed(&["--duration", "2min"]).duration, Some(Duration::from_mins(2)));
        for wrong in [
            &["--topic", "a/{rack}/{device}"][..],
            &["--topic", "a/#/{device}"],
            &["--topic", "all"],
            &["--rubbish", "101"],
            &["--rate", "nan"],
            &["--connections", "0"],
        ] {
            assert_eq!(check(wrong).expect_err("is refused").exit(), Exit::Usage, "{wrong:?}");
        }
    }

    fn check(args: &[&str]) -> Result<(), SimulateError> {
        let args = parsed(args);
        let aim = Aim::of(&args, None)?;
        validate(&args, &aim.topic)
    }

    #[test]
    fn without_options_it_is_slow_ends_and_is_stored_by_nobody() {
        let mut settings = Settings::default();
        settings.mqtt.url = "mqtts://user:secret@plant:8883".into();
        let source = |topic: &str| toml::from_str(&format!("topic = {topic:?}\ntable = \"t\"")).expect("a source");
        settings.source.insert("s".into(), source("sensors/{site}/{device}"));
        let args = parsed(&[]);
        let aim = Aim::of(&args, Some(&settings)).expect("an aim");
        assert_eq!(
            aim.announced(&args),
            "10 devices publish on forebay-simulate/{site}/{device} at plant:8883: 10 messages/s, for 1m"
        );
        assert_eq!(Aim::of(&parsed(&["--count", "5"]), None).expect("an aim").duration, Duration::ZERO);
        settings.source.insert("all".into(), source("#"));
        let refused = Aim::of(&args, Some(&settings)).err().expect("is refused");
        assert!(refused.to_string().starts_with("source.all takes forebay-simulate/"), "{refused}");
        assert!(Aim::of(&parsed(&["--topic", "a/{device}"]), Some(&settings)).is_ok(), "it was asked for");
        assert_eq!(Aim::of(&parsed(&["--url", "mqtt://x"]), None).expect("an aim").mqtt.url, "mqtt://x");
    }
}
