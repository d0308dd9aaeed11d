//! `forebay device`: ready-made sources.

mod add;
mod ls;
mod show;

use clap::{Args, Subcommand};

use super::{Exit, Failure, Global};
use crate::devices::{self, Family};

const EXAMPLES: &str = "\
Examples:
  forebay device ls
  forebay device show tasmota
  forebay device add tasmota --zone Europe/London
  forebay device add zigbee2mqtt --topic 'home/zigbee/{device...}'

Exit codes: 0 done, 1 a file cannot be written, 2 usage or configuration is wrong, 3 there is no ready-made file of that name";

/// Arguments of `device`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct DeviceArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// List them.
    #[command(after_help = EXAMPLES)]
    Ls,
    /// Print one: its comments say what to set at the device and what is left out.
    #[command(after_help = EXAMPLES)]
    Show(show::ShowArgs),
    /// Put one into conf.d beside the configuration file.
    ///
    /// The whole configuration is checked first, as `forebay check` does. A file that is there is
    /// never replaced.
    #[command(after_help = EXAMPLES)]
    Add(add::AddArgs),
}

/// Which ready-made file.
#[derive(Debug, Clone, Args)]
struct FamilyArg {
    /// Its name, as `forebay device ls` lists it.
    #[arg(value_name = "NAME")]
    family: String,
}

impl FamilyArg {
    fn find(&self) -> Result<&'static Family, Failure> {
        family(&self.family)
    }
}

/// The ready-made file of that name; the failure has a name that is spelled like it.
pub fn family(name: &str) -> Result<&'static Family, Failure> {
    devices::find(name).ok_or_else(|| {
        let near = devices::nearest(name).map(|near| format!("did you mean {near}? ")).unwrap_or_default();
        Failure::new(
            Exit::NotFound,
            format!("there is no ready-made file {name:?}; {near}forebay device ls lists them"),
        )
    })
}

pub fn run(args: &DeviceArgs, global: &Global) -> Result<(), Failure> {
    match &args.action {
        Action::Ls => ls::run(global),
        Action::Show(args) => show::run(args, global),
        Action::Add(args) => add::run(args, global),
    }
}
