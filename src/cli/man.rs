//! `forebay man`: the manual pages, made from the same descriptions as `--help`. For `make install` and packagers.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use clap_mangen::Man;

use super::{Exit, Failure, command};

/// Arguments of `man`.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// Where the pages go; made if missing. One page a subcommand, forebay.1, forebay-get.1 and so on.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub fn run(args: &ManArgs) -> Result<(), Failure> {
    let failed = |why| Failure::new(Exit::Failed, format!("can't write manual pages to {}: {why}", args.dir.display()));
    pages(&args.dir).map_err(failed)
}

fn pages(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    // The pages are the same for every target and commit.
    let mut command = command().disable_help_subcommand(true).long_version(None);
    command.build();
    page(&command, dir)
}

/// The page of a command, and of those below it but the hidden ones.
fn page(command: &clap::Command, dir: &Path) -> io::Result<()> {
    let man = Man::new(command.clone()).manual("forebay").date("");
    man.generate_to(dir)?;
    command.get_subcommands().filter(|below| !below.is_hide_set()).try_for_each(|below| page(below, dir))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn expected(command: &clap::Command, before: &str, names: &mut BTreeSet<String>) {
        let name =
            if before.is_empty() { command.get_name().to_owned() } else { format!("{before}-{}", command.get_name()) };
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            expected(below, &name, names);
        }
        names.insert(format!("{name}.1"));
    }

    #[test]
    fn every_subcommand_has_a_page_that_tells_its_options_and_exit_codes() {
        let dir = tempfile::tempdir().unwrap();
        pages(dir.path()).unwrap();
        let found: BTreeSet<String> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let mut names = BTreeSet::new();
        expected(&command(), "", &mut names);
        assert_eq!(found, names);
        for name in ["forebay-top.1", "forebay-quarantine-requeue.1", "forebay-ring-verify.1"] {
            assert!(found.contains(name), "{name} in {found:?}");
        }
        assert!(!found.contains("forebay-man.1"), "it is hidden");
        for name in found {
            let page = fs::read_to_string(dir.path().join(&name)).unwrap();
            for part in [".TH", ".SH NAME", ".SH SYNOPSIS", "\\-\\-help"] {
                assert!(page.contains(part), "{part} in {name}:\n{page}");
            }
        }
        let run = fs::read_to_string(dir.path().join("forebay-run.1")).unwrap();
        assert!(run.contains("\\-\\-config") && !run.contains("\\-\\-socket"), "{run}");
        let get = fs::read_to_string(dir.path().join("forebay-get.1")).unwrap();
        assert!(get.contains("Exit codes") && get.contains("Examples"), "{get}");
    }
}
