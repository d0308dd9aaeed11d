//! `forebay decode`: what would a message become?

mod follow;
mod printer;
mod queue;
mod words;

use std::{io::Read, time::Duration};

use clap::Args;

use super::{Exit, Failure, Global, out::emit};
use crate::{
    clock::{Clock, SystemClock},
    config,
    ingest::{Incoming, preview::Previewer},
    settings::Settings,
};

/// Arguments of `forebay decode`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  forebay decode --topic sensors/north/d1 --payload '{\"temperature\":21.5}'
  forebay decode --follow
  forebay decode --follow --source climate --topic 'sensors/north/+' --count 10
  forebay decode --follow --json --for 1m | jq 'select(.set_aside != [])'

--follow prints the time of receipt and the topic of each message, and what becomes of it, until interrupted. It connects with a \
client id and a session of its own, at QoS 0, and by plain filters where a source has a shared_group. Of retained messages it says \
what `retained` of their source makes of rows without a time. In words at most 100 messages a second are shown, and the rest \
counted; --json shows all. Messages that come faster than they can be printed are left out and counted. A connection that is lost is \
made again.

Exit codes: 0 rows, or a message that says nothing (--follow: nothing was set aside, it was interrupted, or output closed), 1 \
something would be set aside (--follow: only where --count or --for ends it), 2 usage, configuration or refused credentials, 3 no \
source takes the topic, 4 the broker is not reachable (--follow)")]
pub struct DecodeArgs {
    /// Go by this source alone [default: the one that takes the topic].
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// The message's topic; with --follow a filter (a/+/b, a/#) that messages have to match
    /// [default with --follow: all topics of the sources].
    #[arg(long, required_unless_present = "follow")]
    pub topic: Option<String>,
    /// The message's payload, or - for standard input.
    #[arg(long, value_name = "TEXT", default_value = "-", allow_hyphen_values = true, conflicts_with = "follow")]
    pub payload: String,
    /// Say of each member what becomes of it, and by which keys.
    #[arg(long)]
    pub explain: bool,
    /// Listen at the broker, and show what each message becomes.
    #[arg(long)]
    pub follow: bool,
    /// With --follow, end after so many messages [default: go on].
    #[arg(long, short = 'n', value_name = "N", requires = "follow", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// With --follow, end after a time such as 30s [default: go on].
    #[arg(long = "for", value_name = "SPAN", requires = "follow", value_parser = humantime::parse_duration)]
    pub span: Option<Duration>,
}

/// Prints what a message would become by the configuration, or what becomes of those that come.
pub fn run(args: &DecodeArgs, global: &Global) -> Result<(), Failure> {
    let settings = config::load(global.config_file()).map_err(|error| Failure::new(Exit::Usage, error))?.settings;
    if let Some(name) = args.source.as_ref().filter(|name| !settings.source.contains_key(*name)) {
        return Err(Failure::new(Exit::Usage, format!("there is no [source.{name}] in the configuration")));
    }
    if args.follow {
        return follow::run(args, &settings, global.json);
    }
    one(args, &settings, global.json)
}

/// Shows a message that is given, without broker, ring and database. The clock is taken to be
/// right, the message not to be a retained one; `[limits]` are not asked.
fn one(args: &DecodeArgs, settings: &Settings, json: bool) -> Result<(), Failure> {
    let topic = args.topic.as_deref().unwrap_or_default();
    let payload = match args.payload.as_str() {
        "-" => standard_input(settings.mqtt.max_payload.0)?,
        text => text.as_bytes().to_vec(),
    };
    let previewer = Previewer::new(settings, args.source.as_deref());
    let previewer = previewer.map_err(|error| Failure::new(Exit::Usage, error))?;
    let mut previewer = if args.explain { previewer.explaining() } else { previewer };
    let message = Incoming { topic, payload: &payload, received: SystemClock.now(), ..Incoming::default() };
    let Some(told) = previewer.preview(&message) else {
        let what = match &args.source {
            Some(name) => format!("source.{name} does not take topic {topic:?}"),
            None => format!("no source takes topic {topic:?}"),
        };
        return Err(Failure::new(Exit::NotFound, what));
    };
    if json {
        emit(&format!("{}\n", told.as_json()))?;
    } else {
        emit(&words::of(&told))?;
    }
    if told.set_aside.is_empty() { Ok(()) } else { Err(Failure::silent(Exit::Failed)) }
}

/// Standard input, but no more than tells that it is too large.
fn standard_input(most: u64) -> Result<Vec<u8>, Failure> {
    let mut payload = Vec::new();
    let read = std::io::stdin().take(most + 1).read_to_end(&mut payload);
    read.map_err(|error| Failure::new(Exit::Failed, format!("standard input: {error}")))?;
    Ok(payload)
}
