//! `forebay init`: from nothing to a configuration that works.

mod address;
mod ask;
mod connections;
mod password;
mod sources;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use rustix::fs::{Access, access};

use self::{address::Server, ask::Answers, connections::Connections};
use super::{
    Exit, Failure, Global, connect,
    discover::{filter, span},
    fragment::{self, Fragment},
    out::{emit, say},
};
use crate::{
    config::{self, Loaded},
    files::{
        access::{Wish, advice},
        read::open_regular,
    },
};

/// The configuration where there is none: it starts, and says what to do next.
const FIRST: &str = include_str!("../../../conf/installed.toml");

/// Arguments of `forebay init`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  sudo forebay init
  sudo forebay init --yes --for 2m
  sudo forebay init --yes --broker mqtts://gate:8883 --username forebay --password-file /etc/forebay/mqtt-password
  sudo forebay init --device zigbee2mqtt --device tasmota --no-listen

What is asked for can be given by options; --yes takes the defaults for the rest. New files go to conf.d beside the configuration \
file; none that is there is changed. It may be run again: what sources take already is not proposed again. Connections that are \
configured stay as they are: where another broker or database is given, init says which file to edit.

Exit codes: 0 done, 1 a connection or a file failed, 2 usage, configuration or refused credentials, 3 no such ready-made source")]
pub struct InitArgs {
    /// The broker: a URL, or a host.
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// User name at the broker.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// File with the password at the broker.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The database: host and port, or a configuration string.
    #[arg(long, value_name = "ADDRESS")]
    questdb: Option<String>,
    /// User name at the database.
    #[arg(long, value_name = "NAME")]
    questdb_username: Option<String>,
    /// File with the password at the database.
    #[arg(long, value_name = "FILE")]
    questdb_password_file: Option<PathBuf>,
    /// A ready-made source to take; may be given several times (see forebay device ls).
    #[arg(long = "device", value_name = "NAME")]
    devices: Vec<String>,
    /// How long to listen at the broker for what is published.
    #[arg(long = "for", value_name = "SPAN", default_value = "30s", value_parser = span)]
    span: Duration,
    /// Listen to topics that this filter matches; may be given several times [default: #].
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    filter: Vec<String>,
    /// Do not listen.
    #[arg(long, conflicts_with = "filter")]
    no_listen: bool,
    /// Ask nothing: take the defaults, and all sources that are found.
    #[arg(long, short)]
    yes: bool,
    /// Print what would be written; write nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Asks for broker, database and sources, checks them, writes the files, and says what comes next.
pub fn run(args: &InitArgs, global: &Global) -> Result<(), Failure> {
    Server::Broker.refuse_fault(args.broker.as_deref())?;
    Server::Database.refuse_fault(args.questdb.as_deref())?;
    let args = &InitArgs {
        password_file: password_file("--password-file", args.password_file.as_deref())?,
        questdb_password_file: password_file("--questdb-password-file", args.questdb_password_file.as_deref())?,
        ..args.clone()
    };
    let file = fragment::config_file(global)?;
    let mut answers = Answers::new(args.yes)?;
    let fragments = config::fragments_of(&file);
    if !args.dry_run {
        may_write(&fragments)?;
    }
    let is_new = !file.exists();
    let loaded = loaded_with(&file, is_new, &[])?;
    let named = sources::named(&args.devices, &loaded, &fragments)?;
    let directory = file.parent().unwrap_or(Path::new("/"));
    let found = connections::ask(args, &loaded.settings, directory, &mut answers)?;
    let mut files: Vec<Fragment> = found.fragment(&loaded, &fragments)?.into_iter().collect();
    let connects_otherwise = !files.is_empty();
    files.extend(named);
    // What is not sound is told before anybody waits. Sources that are named take their topics
    // first.
    let settings = loaded_with(&file, is_new, &files)?.settings;
    if !args.no_listen {
        files.extend(sources::heard(args, &found.mqtt_for_now(), &settings, &fragments, &mut answers)?);
    }
    if is_new {
        files.insert(0, Fragment { path: file.clone(), text: FIRST.to_owned() });
    }
    write(args, &file, &found, &files)?;
    conclude(args, global, &file, &found, connects_otherwise)
}

/// A file with a password that an option names, from the root on. It can be read.
fn password_file(option: &str, path: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let what = |why| Failure::new(Exit::Usage, format!("{option}: {} cannot be read ({why})", path.display()));
    open_regular(path).map_err(what)?;
    fragment::absolute(path).map(Some)
}

/// Refuses early what could not be written in the end.
fn may_write(fragments: &Path) -> Result<(), Failure> {
    let there = fragments.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
    access(there, Access::WRITE_OK).map_err(|why| {
        let what = format!("{} cannot be written ({why}): {}", there.display(), advice(there, Wish::Make));
        Failure::new(Exit::Failed, what)
    })
}

/// The configuration with more files; one that is not sound is put right by hand first.
fn loaded_with(file: &Path, is_new: bool, files: &[Fragment]) -> Result<Loaded, Failure> {
    let first = is_new.then(|| Fragment { path: file.to_owned(), text: FIRST.to_owned() });
    let all: Vec<Fragment> = first.into_iter().chain(files.iter().cloned()).collect();
    fragment::load(file, &all)
}

fn write(args: &InitArgs, file: &Path, found: &Connections, files: &[Fragment]) -> Result<(), Failure> {
    if let Some(there) = files.iter().find(|of| of.path.exists()) {
        return Err(Failure::new(Exit::Usage, fragment::in_the_way(&there.path, " and run this again")));
    }
    for warning in fragment::check(file, files)? {
        say(&format!("warning: {warning}"));
    }
    if args.dry_run {
        return show(found, files);
    }
    let mut written = Vec::new();
    for typed in found.typed() {
        typed.write().map_err(|failure| fragment::after(&written, failure))?;
        say(&format!("wrote {}", typed.path.display()));
        written.push(typed.path.clone());
    }
    for new in files {
        new.write(" and run this again").map_err(|failure| fragment::after(&written, failure))?;
        say(&format!("wrote {}", new.path.display()));
        written.push(new.path.clone());
    }
    if written.is_empty() {
        say("nothing to write: the configuration has it all");
    }
    Ok(())
}

/// Prints what would be written.
fn show(found: &Connections, files: &[Fragment]) -> Result<(), Failure> {
    for typed in found.typed() {
        say(&format!("{} would get the password that was typed", typed.path.display()));
    }
    for new in files {
        emit(&format!("# {}\n{}\n", new.path.display(), new.text))?;
    }
    if files.is_empty() {
        say("nothing to write: the configuration has it all");
    }
    Ok(())
}

/// Tries what is configured now, and says which command comes next.
fn conclude(
    args: &InitArgs,
    global: &Global,
    file: &Path,
    found: &Connections,
    connects_otherwise: bool,
) -> Result<(), Failure> {
    if args.dry_run {
        say("nothing was written");
        return Ok(());
    }
    let loaded = config::load(Some(file)).map_err(|error| Failure::new(Exit::Usage, error))?;
    let (mqtt, questdb) = (&loaded.settings.mqtt, &loaded.settings.questdb);
    if (&mqtt.url, &questdb.conf) != (&found.mqtt.url, &found.questdb.conf) {
        let set = ["mqtt.url", "questdb.conf"].map(|key| loaded.origins.get(key).cloned().unwrap_or_default());
        say(&format!("warning: a later file sets them otherwise: {}", set.join(", ")));
    }
    let connected = connect::try_all(&loaded.settings);
    let next = fragment::next(global, connects_otherwise);
    emit(&format!("next: {next}\nthen: forebay status\n"))?;
    // A database that is away is told, and no reason to stop: readings wait for it.
    match connected {
        Err(failure) if failure.exit == Exit::Usage => Err(failure),
        _ => Ok(()),
    }
}
