//! Where results are written.

use std::path::PathBuf;

use serde_json::Value;

/// Writes every run to `target/bench/NAME.json`.
pub fn write(name: &str, document: &Value) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("target/bench/{name}.json"));
    let directory = file.parent().expect("a directory");
    match std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&file, format!("{document:#}\n"))) {
        Ok(()) => println!("\nevery run: {}", file.display()),
        Err(why) => eprintln!("{}: {why}", file.display()),
    }
}
