//! The ring on a real file: how fast a full one is opened, by the library and by the daemon, and what a group commit costs
//! beside a bare msync of the same bytes.

mod commit;
mod full;
mod start;

#[allow(unused_imports, reason = "the tests use all of it, this a part")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::process::ExitCode;

use serde_json::json;

/// What is asked for on the command line.
struct Plan {
    ring_mib: u64,
    commits: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let plan = match plan(&arguments) {
        Ok(plan) => plan,
        Err(why) => {
            eprintln!("{why}\nusage: speed [--ring-mib N] [--commits N]");
            return ExitCode::from(2);
        }
    };
    let directory = support::scratch("speed");
    let commits = commit::measure(&directory, plan.commits);
    let starts = [full::Contents::Settled, full::Contents::Pending].map(|contents| {
        let start = start::measure(&directory, contents, plan.ring_mib);
        start.print();
        start
    });
    commit::print(&commits);
    drop(directory);
    let file = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench/speed.json");
    let document = json!({ "starts": starts, "commits": commits });
    let written = std::fs::create_dir_all(file.parent().expect("a directory"))
        .and_then(|()| std::fs::write(&file, serde_json::to_string_pretty(&document).expect("JSON")));
    match written {
        Ok(()) => println!("\neverything: {}", file.display()),
        Err(why) => eprintln!("{}: {why}", file.display()),
    }
    ExitCode::SUCCESS
}

fn plan(arguments: &[String]) -> Result<Plan, String> {
    let mut plan = Plan { ring_mib: 1_024, commits: 300 };
    let mut rest = arguments.iter().filter(|argument| *argument != "--bench");
    while let Some(name) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number: u64 =
            value.parse().ok().filter(|n| *n > 0).ok_or_else(|| format!("{name}: {value} is no count"))?;
        match name.as_str() {
            "--ring-mib" => plan.ring_mib = number,
            "--commits" => plan.commits = number as usize,
            other => return Err(format!("{other} is unknown")),
        }
    }
    Ok(plan)
}
