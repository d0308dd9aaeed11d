//! Dynamic batches against fixed ones: simulated in every regime, and on a real QuestDB behind a delaying line.
//!
//! Prints tables, draws `target/bench/batcher-*.svg`, and writes `target/bench/batcher.json`.

mod plot;
mod real;
mod simulated;

#[path = "../common/line.rs"]
mod line;
#[path = "../common/memory.rs"]
mod memory;
#[allow(unused_imports, reason = "the tests use all of it, this a part")]
#[path = "../../tests/it/support/mod.rs"]
mod support;

use std::{fs, path::Path, process::ExitCode};

const USAGE: &str = "usage: batcher [--seed N] [--real SECONDS]    (--real 0 leaves the real QuestDB out)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some((seed, seconds)) = plan(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    fs::create_dir_all(&out).expect("target/bench");
    let simulated = simulated::all(seed);
    simulated.iter().for_each(simulated::Table::print);
    plot::draw(seed, &out);
    let real = (seconds > 0).then(|| real::compare(seconds, seed));
    if let Some(real) = &real {
        real::print(real);
    }
    let rows: Vec<_> = simulated.iter().flat_map(|table| &table.rows).collect();
    let json = serde_json::json!({ "simulated": rows, "real": real });
    let file = out.join("batcher.json");
    fs::write(&file, format!("{json:#}\n")).expect("target/bench/batcher.json");
    ExitCode::SUCCESS
}

fn plan(arguments: &[String]) -> Option<(u64, u64)> {
    let (mut seed, mut seconds) = (1, 20);
    for pair in arguments.chunks(2) {
        let value = pair.get(1)?.parse().ok()?;
        match pair[0].as_str() {
            "--seed" => seed = value,
            "--real" => seconds = value,
            _ => return None,
        }
    }
    Some((seed, seconds))
}
