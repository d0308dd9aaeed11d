//! `forebay device show`.

use clap::Args;

use super::{FamilyArg, ls::as_json};
use crate::cli::{Failure, Global, out::emit};

/// Arguments of `device show`.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    family: FamilyArg,
}

pub fn run(args: &ShowArgs, global: &Global) -> Result<(), Failure> {
    let family = args.family.find()?;
    if !global.json {
        return emit(family.text);
    }
    let mut json = as_json(family)?;
    json["text"] = family.text.into();
    emit(&format!("{json:#}\n"))
}
