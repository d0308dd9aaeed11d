//! `forebay quarantine drop`.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;
use serde_json::json;

use super::{
    TargetArgs, nothing_matches,
    source::{Source, Want},
    tell_missing, usage,
};
use crate::cli::{
    Exit, Failure, Global, block_on,
    out::{count, emit, plural},
};

/// Arguments of `quarantine drop`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  forebay quarantine drop 1234-m-9f86d081
  forebay quarantine drop --reason 'not JSON' --yes
  forebay quarantine drop --all

What is dropped cannot be got back; `quarantine export` first keeps a copy. On a terminal the number of entries is shown and \
confirmed; elsewhere --yes has to be given. The ledger goes on counting dropped entries as quarantined, which they were. While no \
daemon runs, its files are changed.

Exit codes: 0 done, 1 failed or not confirmed, 2 usage, 3 nothing matches, 4 a daemon runs and is not reachable")]
pub struct DropArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

pub fn run(args: &DropArgs, global: &Global) -> Result<(), Failure> {
    let requests = args.target.requests()?;
    let dropped = block_on(async {
        let mut source = Source::open(global, None).await?;
        let mut matched = 0;
        for terms in &requests {
            let selecting = terms.iter().filter(|(name, _)| *name != "all").cloned().collect();
            let want = Want { terms: selecting, limit: Some(1), summary: true, ..Want::default() };
            matched += source.page(&want).await?.summary.unwrap_or_default().entries;
        }
        tell_missing(args.target.named(), matched);
        if matched == 0 {
            return Err(nothing_matches());
        }
        if !args.yes {
            confirm(matched)?;
        }
        let mut dropped = 0;
        for terms in &requests {
            let mut cursor = None;
            loop {
                let done = source.discard(terms, cursor.as_deref()).await?;
                dropped += done.dropped;
                cursor = done.cursor;
                if cursor.is_none() {
                    break;
                }
                eprintln!("{} dropped, {} remain", count(dropped), count(done.remaining));
            }
        }
        Ok(dropped)
    })?;
    if global.json { emit(&format!("{}\n", json!({ "dropped": dropped }))) } else { emit(&said(dropped)) }
}

fn said(dropped: u64) -> String {
    format!("{} dropped\n", plural(dropped, "entry"))
}

/// Asks on the terminal.
fn confirm(entries: u64) -> Result<(), Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(usage(&format!("{} would be dropped for good; say --yes", plural(entries, "entry"))));
    }
    let _ = write!(io::stderr(), "drop {} for good? [y/N] ", plural(entries, "entry"));
    let mut answer = String::new();
    let _ = io::stdin().lock().read_line(&mut answer);
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, "nothing was dropped"))
}
