//! Prometheus and its promtool, as `install-deps` unpacks them.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use super::{
    eventually,
    http::{self, encode},
    process::{Guarded, free_port},
    scratch::{Scratch, scratch},
};

const START_LIMIT: Duration = Duration::from_secs(60);

fn tool(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin").join(name);
    assert!(path.exists(), "{name} is missing: run tests/tools/install-deps test");
    path
}

/// Runs promtool on some input; gives whether it is content, and what it said.
pub fn promtool(arguments: &[&str], input: &str) -> (bool, String) {
    let mut command = Command::new(tool("promtool"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().expect("promtool runs");
    running.stdin.take().expect("piped").write_all(input.as_bytes()).expect("promtool reads");
    let output = running.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// A Prometheus that scrapes a daemon every second.
pub struct Prometheus {
    port: u16,
    _running: Guarded,
    _dir: Scratch,
}

impl Prometheus {
    /// Scrapes `target` (a loopback port) as the job `forebay`, and evaluates the rules of a file.
    pub fn start(target: u16, rules: &Path) -> Self {
        let (dir, port) = (scratch("prometheus"), free_port());
        let config = dir.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{:?}]\n\
             scrape_configs:\n\
             - job_name: forebay\n  static_configs: [{{targets: [\"127.0.0.1:{target}\"]}}]\n",
            rules.display().to_string(),
        );
        std::fs::write(&config, text).expect("prometheus.yml");
        let running = Guarded::spawn(&tool("prometheus"), &dir.join("log"), |command| {
            command
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg("--log.level=warn");
        });
        eventually(START_LIMIT, "Prometheus is ready", || {
            http::get(port, "/-/ready", None).is_ok_and(|response| response.code == 200)
        });
        Self { port, _running: running, _dir: dir }
    }

    /// The samples that an expression gives now.
    ///
    /// # Panics
    /// When Prometheus does not understand it.
    #[track_caller]
    pub fn query(&self, expression: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/v1/query?query={}", encode(expression)));
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"].as_array().expect("samples").clone()
    }

    /// The document behind a path of its API.
    pub fn get(&self, path: &str) -> Value {
        http::get(self.port, path, None).expect("Prometheus answers").json()
    }
}
