//! The command line: one file a subcommand.

mod changes;
mod check;
mod completions;
mod connect;
mod decode;
mod device;
mod discover;
mod document;
mod exit;
mod fragment;
mod get;
mod import;
mod init;
mod man;
mod options;
mod out;
mod quarantine;
mod query;
mod replay;
mod ring;
mod run;
mod simulate;
mod status;
mod target;
mod top;
mod verify;
mod version;
mod watch;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use self::exit::{Exit, Failure};
use crate::{config, jq, settings};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  usage or configuration is wrong
  3  nothing found
  4  the daemon is not reachable
  5  the ring has failed: poisoned, or an I/O error";

/// Sensor ingestion for edge gateways: MQTT in, a durable ring on disk, QuestDB out.
///
/// Readings are acknowledged once they are safe on this machine's disk, written to QuestDB at the pace it can take, and their
/// latest values answered from memory.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, long_version = version::words(), max_term_width = 110, after_help = EXIT_CODES, propagate_version = true)]
struct Command {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    action: Action,
}

/// What every subcommand takes; `options` says to which it means nothing.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// Configuration file; conf.d/*.toml beside it and `FOREBAY__SECTION__KEY` variables are read after it
    /// [default: /etc/forebay/forebay.toml].
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The daemon's socket [default: control.socket of the configuration if that can be read, else
    /// /run/forebay/forebay.sock].
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run the daemon in the foreground.
    ///
    /// Logs go to the journal when systemd starts it, else to stderr. SIGTERM and SIGINT stop it in order, SIGHUP re-reads the
    /// configuration.
    #[command(after_help = EXIT_CODES)]
    Run(run::RunArgs),
    /// Set forebay up: broker, database, and sources for what is published.
    ///
    /// Asks for the broker and the database and tries both, listens for what is published, and
    /// writes what it finds to new files of the configuration. Nothing that is there is changed.
    Init(init::InitArgs),
    /// Check the configuration and print what is in effect, secrets hidden.
    #[command(after_help = EXIT_CODES)]
    Check(check::CheckArgs),
    /// Show what a message would become, or live what becomes of those at the broker.
    ///
    /// A message that is given is shown without broker, ring and database. With --follow forebay
    /// listens at the configured broker beside the running daemon, and shows what each message
    /// becomes; it stores nothing and takes nothing from the daemon. The clock is taken to be
    /// right; [limits] and what is held of a row's moment are not looked at.
    #[command(after_help = EXIT_CODES)]
    Decode(decode::DecodeArgs),
    /// Listen at the broker, tell which topics there are, and propose sources for them.
    ///
    /// It listens beside the running daemon, stores nothing and changes nothing. What it proposes
    /// is checked and tried with the messages that were heard: put into conf.d it works without a
    /// change.
    #[command(after_help = EXIT_CODES)]
    Discover(discover::DiscoverArgs),
    /// List, show or add ready-made sources for devices and programs that are known.
    Device(device::DeviceArgs),
    /// Print latest values.
    #[command(after_help = EXIT_CODES)]
    Get(get::GetArgs),
    /// Follow latest values as they change.
    #[command(after_help = EXIT_CODES)]
    Watch(watch::WatchArgs),
    /// Show how the daemon is doing.
    #[command(after_help = EXIT_CODES)]
    Status(status::StatusArgs),
    /// Watch the daemon at work: rates, batching, the ring, the liveliest series.
    #[command(after_help = EXIT_CODES)]
    Top(top::TopArgs),
    /// Look into the ring file: what it holds, and whether it is intact.
    Ring(ring::RingArgs),
    /// List, show, requeue, export or drop what was set aside.
    ///
    /// Rows that could not be stored and messages that could not be decoded are kept with their reason, the oldest making room for new
    /// ones. A row that is requeued is a row taken in anew in the ledger.
    #[command(after_help = EXIT_CODES)]
    Quarantine(quarantine::QuarantineArgs),
    /// Send stored rows again, out of the ring's history.
    #[command(after_help = EXIT_CODES)]
    Replay(replay::ReplayArgs),
    /// Publish made-up readings of many devices to a broker.
    #[command(after_help = EXIT_CODES)]
    Simulate(simulate::SimulateArgs),
    /// Compare the ring's history with QuestDB, row by row.
    #[command(after_help = EXIT_CODES)]
    Verify(verify::VerifyArgs),
    /// Turn another program's configuration into sources.
    Import(import::ImportArgs),
    /// Print the version: commit, target, and the formats of its files.
    Version,
    /// Print a shell's completion script.
    Completions(completions::CompletionsArgs),
    /// Run a source's jq program: what the daemon starts for itself.
    #[command(hide = true)]
    JqWorker,
    /// Write the manual pages.
    #[command(hide = true)]
    Man(man::ManArgs),
}

/// What is parsed, and described by `--help`, the manual pages and completions.
fn command() -> clap::Command {
    options::only_what_matters(Command::command())
}

/// Parses the arguments and runs the subcommand.
#[must_use]
pub fn main() -> ExitCode {
    completions::complete();
    let mut command = command();
    let parsed = Command::from_arg_matches(&command.get_matches_mut());
    let Command { global, action } = parsed.unwrap_or_else(|why| why.format(&mut command).exit());
    let done = match &action {
        Action::Run(args) => run::run(args, &global),
        Action::Init(args) => init::run(args, &global),
        Action::Check(args) => check::run(args, &global),
        Action::Decode(args) => decode::run(args, &global),
        Action::Device(args) => device::run(args, &global),
        Action::Discover(args) => discover::run(args, &global),
        Action::Get(args) => get::run(args, &global),
        Action::Watch(args) => watch::run(args, &global),
        Action::Status(args) => status::run(args, &global),
        Action::Top(args) => top::run(args, &global),
        Action::Ring(args) => ring::run(args, &global),
        Action::Quarantine(args) => quarantine::run(args, &global),
        Action::Replay(args) => replay::run(args, &global),
        Action::Simulate(args) => simulate(args, &global),
        Action::Verify(args) => verify::run(args, &global),
        Action::Import(args) => import::run(args, &global),
        Action::JqWorker => return jq::serve(),
        Action::Version => version::run(&global),
        Action::Completions(args) => completions::run(args),
        Action::Man(args) => man::run(args),
    };
    exit::conclude(done)
}

impl Global {
    /// The configuration file named, or the default one.
    pub fn config_file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Where the daemon listens, as far as can be told from here: the default configuration may be unreadable to this user.
    pub fn socket_path(&self) -> Result<PathBuf, Failure> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        match config::load(self.config_file()) {
            Ok(loaded) => Ok(loaded.settings.control.socket),
            Err(why) if self.config.is_some() => Err(Failure::new(Exit::Usage, why)),
            Err(_) => Ok(settings::Control::default().socket),
        }
    }
}

fn simulate(args: &simulate::SimulateArgs, global: &Global) -> Result<(), Failure> {
    let args = simulate::SimulateArgs { json: global.json, ..args.clone() };
    // Without a broker of its own it goes by the configuration, if there is one.
    let settings = match config::load(global.config_file()) {
        Ok(loaded) => Some(loaded.settings),
        Err(why) if global.config.is_some() => return Err(Failure::new(Exit::Usage, why)),
        Err(_) => None,
    };
    match simulate::run(&args, settings.as_ref()) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Failure::silent(Exit::Failed)),
        Err(why) => Err(Failure::new(why.exit(), why)),
    }
}

/// Runs a command that talks to the daemon.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Failure::new(Exit::Failed, why))?;
    let done = runtime.block_on(work);
    // A name that is being resolved is not waited for.
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn the_socket_comes_from_the_argument_then_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("forebay.toml");
        std::fs::write(
            &file,
            "[control]\nsocket = \"/tmp/elsewhere.sock\"\n[source.a]\ntopic = \"a/{x}\"\ntable = \"a\"\n",
        )
        .unwrap();
        let mut global = Global { config: Some(file.clone()), ..Global::default() };
        assert_eq!(global.socket_path().unwrap(), Path::new("/tmp/elsewhere.sock"));
        std::fs::write(&file, "[control]\nsocked = 1\n").unwrap();
        assert_eq!(global.socket_path().unwrap_err().exit, Exit::Usage);
        global.socket = Some("/tmp/given.sock".into());
        assert_eq!(global.socket_path().unwrap(), Path::new("/tmp/given.sock"));
    }
}
