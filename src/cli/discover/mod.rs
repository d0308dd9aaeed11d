//! `forebay discover`: which topics there are at the broker, and sources for them.

mod look;

use std::{
    fs,
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use jiff::tz::TimeZone;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    Exit, Failure, Global, block_on,
    fragment::{self, Fragment},
    out::{emit, plural, say},
};
use crate::{
    clock::{Clock, SystemClock},
    config,
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
  forebay discover --output /etc/forebay/conf.d/discovered.toml

It listens at QoS 0 with a client id and a session of its own, and stores nothing. --output writes the proposed sections to a new \
file and replaces none; without it nothing is changed. Topics that sources of the configuration take already are named and not \
proposed again. At most 2,000 topics are looked at, and 8 messages of each; --filter \
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
    /// Write the proposed sections to a new file, such as one of conf.d. A file that is there is
    /// not replaced.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "toml"])]
    pub output: Option<PathBuf>,
}

/// What else can be done where a file is in the way.
const OTHER_NAME: &str = ", or name another one with --output";

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
    // It is told before the listening, which may take long.
    let output = args.output.as_deref().map(free_place).transpose()?;
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
    for warning in &findings.warnings {
        say(&format!("note: {warning}"));
    }
    match output {
        Some(path) => write(path, global, &findings),
        None => print(args, global, &notes, &findings),
    }
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

/// Where a new file goes, from the root on; none is there.
fn free_place(path: &Path) -> Result<PathBuf, Failure> {
    let path = fragment::absolute(path)?;
    match fs::symlink_metadata(&path) {
        Ok(_) => Err(Failure::new(Exit::Usage, fragment::in_the_way(&path, OTHER_NAME))),
        Err(_) => Ok(path),
    }
}

/// Writes the proposed sections to a new file, and says what comes next.
fn write(path: PathBuf, global: &Global, findings: &Findings) -> Result<(), Failure> {
    if findings.proposals.is_empty() {
        say("nothing is proposed, so nothing is written; forebay discover without --output says why");
        return Ok(());
    }
    let file = fragment::config_file(global)?;
    let new = Fragment { path, text: findings.text() };
    let next = next(&new.path, &file, global);
    let checked = if next.is_fragment && file.exists() {
        // What it newly warns of is among the findings.
        fragment::check(&file, std::slice::from_ref(&new)).map(drop)
    } else {
        Ok(())
    };
    if let Err(failure) = checked.and_then(|()| new.write(OTHER_NAME)) {
        say("the sections are not written; so that they are not lost, they follow");
        emit(&new.text)?;
        return Err(failure);
    }
    emit(&format!("{}\nnext: {}\n", new.path.display(), next.command))
}

/// What is to be done with a new file.
struct Next {
    /// Whether the configuration takes it in where it is.
    is_fragment: bool,
    command: String,
}

fn next(path: &Path, file: &Path, global: &Global) -> Next {
    let fragments = config::fragments_of(file);
    let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let is_toml = path.extension().is_some_and(|extension| extension == "toml");
    let is_fragment = path.parent() == Some(&fragments) && is_toml && !is_hidden;
    let command = fragment::next(global, false);
    let command = if is_fragment {
        command.to_owned()
    } else {
        format!("put it into {} as a file whose name ends in .toml, then: {command}", fragments.display())
    };
    Next { is_fragment, command }
}

fn print(args: &DiscoverArgs, global: &Global, notes: &Notes, findings: &Findings) -> Result<(), Failure> {
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
    use crate::discover::Proposal;

    /// What `--output` does with these sections; none is nothing proposed.
    fn write_at(path: &Path, file: &Path, sections: Option<&str>) -> Result<(), Failure> {
        let proposal = |text: &str| Proposal { text: text.to_owned(), ..Proposal::default() };
        let findings = Findings { proposals: sections.map(proposal).into_iter().collect(), ..Findings::default() };
        let global = Global { config: Some(file.to_owned()), ..Global::default() };
        free_place(path).and_then(|path| write(path, &global, &findings))
    }

    #[test]
    fn sections_are_written_whole_to_a_new_file_and_replace_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let (file, path) = (directory.path().join("forebay.toml"), directory.path().join("conf.d/found.toml"));
        fs::write(&file, "[source.a]\ntopic = \"a\"\ntable = \"a\"\n").expect("written");
        write_at(&path, &file, None).expect("nothing to write");
        assert!(!path.exists() && !directory.path().join("conf.d").exists());
        let sections = "[source.b]\ntopic = \"b\"\ntable = \"b\"\n";
        write_at(&path, &file, Some(sections)).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("a file"), sections);
        let failure = write_at(&path, &file, Some("[source.c]\ntopic = \"c\"\n")).expect_err("it is there");
        let told = failure.error.expect("an error").to_string();
        assert!(failure.exit == Exit::Usage && told.ends_with("or name another one with --output"), "{told}");
        assert_eq!(fs::read_to_string(&path).expect("a file"), sections);
    }

    #[test]
    fn a_file_that_would_spoil_the_configuration_is_not_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let (file, path) = (directory.path().join("forebay.toml"), directory.path().join("conf.d/found.toml"));
        let section = "[source.a]\ntopic = \"a\"\ntable = \"a\"\n";
        fs::write(&file, section).expect("written");
        assert_eq!(write_at(&path, &file, Some(section)).expect_err("twice").exit, Exit::Usage);
        assert!(!path.exists());
        // Elsewhere it is no part of the configuration.
        let aside = directory.path().join("found.toml");
        write_at(&aside, &file, Some(section)).expect("written");
        assert!(aside.exists());
    }

    #[test]
    fn what_comes_next_depends_on_where_the_file_is() {
        let of = |path: &str| next(Path::new(path), Path::new("/c/forebay.toml"), &Global::default());
        let there = of("/c/conf.d/a.toml");
        assert!(there.is_fragment && there.command.starts_with("systemctl "), "{}", there.command);
        for path in ["/c/a.toml", "/c/conf.d/a.txt", "/c/conf.d/.a.toml", "/c/conf.d/b/a.toml"] {
            let next = of(path);
            assert!(!next.is_fragment && next.command.starts_with("put it into /c/conf.d "), "{}", next.command);
        }
    }

    #[test]
    fn spans_and_filters_are_checked() {
        assert_eq!(span("5m"), Ok(Duration::from_mins(5)));
        assert!(span("0s").is_err() && span("30h").is_err() && span("soon").is_err());
        assert_eq!(filter("a/{x}/#").as_deref(), Ok("a/+/#"));
        assert!(filter("a/#/b").is_err());
    }
}
