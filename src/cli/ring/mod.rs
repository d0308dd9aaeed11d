//! `forebay ring`: what is in the ring file, is it intact, and is it large enough?

mod cat;
mod export;
mod info;
mod ls;
mod resize;
mod select;
mod size;
mod text;
mod verify;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{Exit, Failure, Global};
use crate::{
    clock::{Clock, SystemClock},
    config,
    point::Timestamp,
    ring::inspect::{InspectError, RingFile},
};

/// The ring's subcommands at a glance.
const TABLE: &str = "\
Subcommand  reads                prints                            exit code 1
  info      daemon, or --file    fill, watermarks, tables          failed
  verify    file, tail to head   damaged stretches, header slots   damage found
  ls        file, tail to head   one line a record                 damage met
  cat       file, tail to head   rows: JSON or line protocol       damage met
  size      configuration        bytes an outage needs             failed
  export    file, every byte     every intact record               no usable header
  resize    daemon, or file      what was done                     cannot have that size

Without --file the configured [ring] path is read; with it no configuration is needed, and the file may be a copy or one that was \
moved aside (.damaged-1). But for resize the file is only ever read: no lock is taken, so a daemon may be running on it. What a running \
daemon gives up and overwrites meanwhile is told, and is no damage.

Exit codes: 0 done, 1 see above, or the file is of another format version, 2 usage, 4 the daemon is not reachable (info without \
--file), 5 the file cannot be read or written";

/// Arguments of `ring`.
#[derive(Debug, Clone, Args)]
#[command(after_help = TABLE)]
pub struct RingArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Show fill, watermarks, what is oldest, and rows by table.
    ///
    /// The running daemon is asked; with --file a file is read, and watermarks and ledger are as far as the file tells them (a daemon
    /// knows better).
    #[command(after_help = TABLE)]
    Info(info::InfoArgs),
    /// Check every checksum from tail to head, and both header slots.
    #[command(after_help = TABLE)]
    Verify(verify::VerifyArgs),
    /// List records.
    #[command(after_help = TABLE)]
    Ls(ls::LsArgs),
    /// Print rows in a time range.
    #[command(after_help = TABLE)]
    Cat(cat::CatArgs),
    /// Work out how large the ring has to be.
    Size(size::SizeArgs),
    /// Get every intact record out of a damaged file.
    #[command(after_help = TABLE)]
    Export(export::ExportArgs),
    /// Give the ring another size, with all that waits in it.
    #[command(after_help = TABLE)]
    Resize(resize::ResizeArgs),
}

pub fn run(args: &RingArgs, global: &Global) -> Result<(), Failure> {
    match &args.action {
        Action::Info(args) => info::run(args, global),
        Action::Verify(args) => verify::run(args, global),
        Action::Ls(args) => ls::run(args, global),
        Action::Cat(args) => cat::run(args, global),
        Action::Size(args) => size::run(args, global),
        Action::Export(args) => export::run(args, global),
        Action::Resize(args) => resize::run(args, global),
    }
}

/// Which file.
#[derive(Debug, Clone, Default, Args)]
struct FileArgs {
    /// The ring file [default: the configured [ring] path].
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
}

impl FileArgs {
    fn path(&self, global: &Global) -> Result<PathBuf, Failure> {
        match &self.file {
            Some(file) => Ok(file.clone()),
            None => Ok(config::load(global.config_file())
                .map_err(|why| {
                    Failure::new(Exit::Usage, format!("{why}\n(--file names a ring without a configuration)"))
                })?
                .settings
                .ring
                .path),
        }
    }

    fn open(&self, global: &Global) -> Result<RingFile, Failure> {
        open(&self.path(global)?)
    }
}

fn open(path: &Path) -> Result<RingFile, Failure> {
    Ok(RingFile::open(path)?)
}

impl From<InspectError> for Failure {
    fn from(error: InspectError) -> Self {
        let exit = match &error {
            InspectError::Io { .. } => Exit::Ring,
            InspectError::NoHeader { .. } | InspectError::Version { .. } => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

fn now() -> Timestamp {
    SystemClock.now().wall
}

/// Says something that is not part of the output on standard error; when even that fails there is nowhere left to say so.
fn remark(text: &str) {
    super::out::say(text);
}
