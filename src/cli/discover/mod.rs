//! `forebay discover`: which topics there are at the broker, and sources for them.

mod look;

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use clap::Args;
use jiff::tz::TimeZone;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    Exit, Failure, Global, block_on,
    out::{emit, plural, say},
};
use crate::{
    clock::{Clock, SystemClock},
    decode::pattern::Pattern,
    devices,
    discover::{self, Ended, Findings, Limits, Listening, Notes},
    mqtt::url::shown,
};

/// How long it listens where nothing says it.
const DEFAULT_SPAN: &str = "30s";
/// The longest time that it listens.
const MAX_SPAN: Duration = Duration::from_hours(24);

/// Arguments of `forebay discover`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  forebay discover
  forebay discover --for 5m --filter 'plant/#'
  forebay discover --broker mqtt://192.0.2.7:1883
  forebay discover --toml > /etc/forebay/conf.d/discovered.toml

It listens at QoS 0 with a client id and a session of its own, stores nothing and changes nothing. Topics that sources of the \
configuration take already are named and not proposed again. At most 2,000 topics are looked at, and 8 messages of each; --filter \
narrows it. The longer it listens, the better it tells what varies from what stays.

Exit codes: 0 something was heard, 1 the broker was not reached, refused the subscription, or the output failed, 2 usage, \
configuration or refused credentials, 3 nothing was heard")]
pub struct DiscoverArgs {
    /// How long to listen, such as 30s or 5m.
    #[arg(long = "for", value_name = "SPAN", default_value = DEFAULT_SPAN, value_parser = span)]
    pub span: Duration,
    /// Listen to topics that this filter matches; may be given several times [default: #].
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    pub filter: Vec<String>,
    /// The broker [default: the configuration's]. With it no configuration is needed.
    #[arg(long, value_name = "URL")]
    pub broker: Option<String>,
    /// Print the proposed sections alone.
    #[arg(long, conflicts_with = "json")]
    pub toml: bool,
}

/// A time to listen for.
pub fn span(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let fits = (Duration::from_millis(100)..=MAX_SPAN).contains(&span);
    if fits { Ok(span) } else { Err("100ms to 24h are allowed".into()) }
}

/// A filter; names of levels, as in a source, are taken for any level.
pub fn filter(text: &str) -> Result<String, String> {
    Pattern::parse(text).map(|pattern| pattern.filter()).map_err(|error| error.to_string())
}

/// Listens, and prints what was found.
pub fn run(args: &DiscoverArgs, global: &Global) -> Result<(), Failure> {
    let settings = look::settings(args.broker.as_deref(), global)?;
    let broker = shown(&settings.mqtt.url);
    let filters = if args.filter.is_empty() { vec!["#".to_owned()] } else { args.filter.clone() };
    let listening = Listening { mqtt: &settings.mqtt, filters, span: args.span };
    let mut notes = Notes::new(Limits::default());
    hear_all(&listening, &mut notes)?;
    if notes.messages == 0 {
        let span = humantime::format_duration(args.span);
        let what = format!(
            "broker {broker}: nothing was heard on {} in {span}; listen longer with --for, see whether anybody publishes, and \
             whether this user may read these topics",
            listening.filters.join(", ")
        );
        return Err(Failure::new(Exit::NotFound, what));
    }
    let zone = TimeZone::system();
    let now = SystemClock.now().wall;
    let findings = discover::findings_beside(&notes, now, devices::all(), &zone, &settings.source);
    print(args, global, &notes, &findings)
}

/// Listens until the time is over or somebody interrupts it, and tells how far it is.
pub fn hear_all(listening: &Listening<'_>, notes: &mut Notes) -> Result<(), Failure> {
    let broker = shown(&listening.mqtt.url);
    let ended = block_on(hear(listening, notes, &broker))?;
    end(ended, notes, &broker)
}

/// Listens until the time is over or somebody interrupts it.
async fn hear(listening: &Listening<'_>, notes: &mut Notes, broker: &str) -> Result<Ended, Failure> {
    let failed = |why: std::io::Error| Failure::new(Exit::Failed, format!("can't catch signals: {why}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let stop = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let is_live = std::io::stderr().is_terminal();
    let span = humantime::format_duration(listening.span);
    say(&format!("broker {broker}: listening to {} for {span}; Ctrl-C ends it early", listening.filters.join(", ")));
    let mut tell = |notes: &Notes, left: Duration| {
        if is_live {
            let topics = plural(notes.topics.len() as u64, "topic");
            let line = format!("{}, {topics}, {} s left", plural(notes.messages, "message"), left.as_secs());
            // With standard error closed there is nobody to tell.
            let _ = write!(std::io::stderr(), "\r\u{1b}[K{line}");
        }
    };
    let ended = discover::listen(listening, notes, &SystemClock, stop, &mut tell).await;
    if is_live {
        let _ = write!(std::io::stderr(), "\r\u{1b}[K");
    }
    Ok(ended)
}

/// What is to be said of the end.
fn end(ended: Ended, notes: &Notes, broker: &str) -> Result<(), Failure> {
    match ended {
        Ended::InTime | Ended::Told => Ok(()),
        Ended::Refused(why) => Err(Failure::new(Exit::Failed, format!("broker {broker}: {why}"))),
        Ended::Lost(error) if notes.messages > 0 => {
            say(&format!("broker {broker}: {error}; what was heard until then is looked at"));
            Ok(())
        }
        Ended::Lost(error) => {
            let exit = if error.needs_hands() { Exit::Usage } else { Exit::Failed };
            Err(Failure::new(exit, format!("broker {broker}: {error}")))
        }
    }
}

fn print(args: &DiscoverArgs, global: &Global, notes: &Notes, findings: &Findings) -> Result<(), Failure> {
    for warning in &findings.warnings {
        say(&format!("note: {warning}"));
    }
    if global.json {
        return emit(&format!("{}\n", discover::as_json(notes, findings)));
    }
    if !args.toml {
        return emit(&discover::in_words(notes, findings));
    }
    if findings.proposals.is_empty() {
        say("nothing is proposed; forebay discover without --toml says why");
        return Ok(());
    }
    emit(&findings.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_filters_are_checked() {
        assert_eq!(span("5m"), Ok(Duration::from_mins(5)));
        assert!(span("0s").is_err() && span("30h").is_err() && span("soon").is_err());
        assert_eq!(filter("a/{x}/#").as_deref(), Ok("a/+/#"));
        assert!(filter("a/#/b").is_err());
    }
}
