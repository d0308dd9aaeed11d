//! The daemon under test, with a configuration and files of its own.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
    sync::Arc,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use toml::Table;

use super::{
    QuestDb, Readings, eventually, eventually_eq,
    http::{self, Response},
    mosquitto::Mosquitto,
    process::{Guarded, free_port},
    scratch::{self, Scratch, scratch},
    unique,
};

const READY_LIMIT: Duration = Duration::from_secs(30);

/// The program under test: the one that was built, or another one in its place (`tests/tools/arm`).
pub const FOREBAY: &str = match option_env!("FOREBAY_TEST_PROGRAM") {
    Some(program) => program,
    None => env!("CARGO_BIN_EXE_forebay"),
};

/// A configuration in the making.
pub struct DaemonBuilder {
    dir: Arc<Scratch>,
    settings: Table,
}

impl DaemonBuilder {
    /// A small ring, a short resend window, no source yet; everything below a scratch directory.
    pub fn new() -> Self {
        let dir = Arc::new(scratch("forebay"));
        let socket = scratch::sockets().join(format!("{}.sock", unique("forebay")));
        let mut builder = Self { dir, settings: Table::new() };
        let (ring, quarantine) = (builder.dir.join("ring"), builder.dir.join("quarantine"));
        builder.put("ring.path", ring.display().to_string());
        builder.put("ring.size", "64MiB");
        builder.put("quarantine.path", quarantine.display().to_string());
        builder.put("latest.clock", "trusted");
        builder.put("questdb.resend_window", "2s");
        builder.put("control.socket", socket.display().to_string());
        builder.put("log.target", "stderr");
        builder.put("mqtt.client_id", unique("forebay"));
        builder
    }

    /// The broker and the database.
    #[must_use]
    pub fn servers(self, mosquitto: &Mosquitto, questdb: &QuestDb) -> Self {
        self.set("mqtt.url", mosquitto.url()).set("questdb.conf", questdb.conf())
    }

    /// A source for `readings`, into the table of the same name.
    #[must_use]
    pub fn source(self, readings: &Readings) -> Self {
        let key = format!("source.{}", readings.name);
        self.set(&format!("{key}.topic"), readings.pattern())
            .set(&format!("{key}.table"), readings.name.clone())
            .set(&format!("{key}.timestamp.field"), "ts")
            .set(&format!("{key}.timestamp.unit"), "ms")
            .set(&format!("{key}.fields.seq"), "long")
    }

    /// The same, but with the time of receipt as the readings' time; their own is an ordinary field.
    #[must_use]
    pub fn source_by_receipt(self, readings: &Readings) -> Self {
        let key = format!("source.{}", readings.name);
        self.set(&format!("{key}.topic"), readings.pattern())
            .set(&format!("{key}.table"), readings.name.clone())
            .set(&format!("{key}.fields.seq"), "long")
    }

    /// The broker, and a database that is not there: for what happens before rows go to one.
    #[must_use]
    pub fn without_database(self, mosquitto: &Mosquitto) -> Self {
        let nobody = format!("http::addr=127.0.0.1:{};", free_port());
        self.set("mqtt.url", mosquitto.url()).set("questdb.conf", nobody)
    }

    /// Takes a topic into the table that is called like the source.
    #[must_use]
    pub fn takes(self, name: &str, topic: &str) -> Self {
        let key = format!("source.{name}");
        self.set(&format!("{key}.topic"), topic).set(&format!("{key}.table"), name)
    }

    /// Sets a key, such as `ring.size`.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<toml::Value>) -> Self {
        self.put(key, value);
        self
    }

    /// Leaves a key to its default.
    #[must_use]
    pub fn unset(mut self, section: &str, key: &str) -> Self {
        self.settings
            .get_mut(section)
            .and_then(|section| section.as_table_mut())
            .and_then(|section| section.remove(key));
        self
    }

    fn put(&mut self, key: &str, value: impl Into<toml::Value>) {
        let mut path: Vec<&str> = key.split('.').collect();
        let last = path.pop().expect("a key");
        let table = path.iter().fold(&mut self.settings, |table, part| {
            table.entry(*part).or_insert_with(|| toml::Value::Table(Table::new())).as_table_mut().expect("a section")
        });
        table.insert(last.to_owned(), value.into());
    }

    /// The directory of its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes the configuration without starting anything.
    pub fn write(self) -> Daemon {
        let text = toml::to_string(&self.settings).expect("TOML");
        std::fs::write(self.dir.join("forebay.toml"), text).expect("forebay.toml");
        let (environment, wrapper) = (Vec::new(), Vec::new());
        Daemon { dir: self.dir, settings: self.settings, running: None, environment, wrapper }
    }

    /// Starts the daemon and waits until it is ready.
    pub fn start(self) -> Daemon {
        let mut daemon = self.write();
        daemon.restart();
        daemon
    }
}

/// A daemon, running or not.
pub struct Daemon {
    dir: Arc<Scratch>,
    settings: Table,
    running: Option<Guarded>,
    /// Added to the environment of the next start.
    pub environment: Vec<(String, String)>,
    /// A program, with its arguments, that starts the daemon in place of the test.
    pub wrapper: Vec<String>,
}

impl Daemon {
    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.join("forebay.toml")
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        PathBuf::from(self.text("control", "socket"))
    }

    /// Its ring file.
    pub fn ring(&self) -> PathBuf {
        PathBuf::from(self.text("ring", "path"))
    }

    fn text(&self, section: &str, key: &str) -> &str {
        self.settings[section][key].as_str().expect("text")
    }

    /// Changes the configuration file; it takes effect at the next start or reload.
    pub fn reconfigure(&mut self, change: impl FnOnce(DaemonBuilder) -> DaemonBuilder) {
        let builder = DaemonBuilder { dir: Arc::clone(&self.dir), settings: self.settings.clone() };
        self.settings = change(builder).settings;
        std::fs::write(self.config(), toml::to_string(&self.settings).expect("TOML")).expect("forebay.toml");
    }

    /// Starts it without waiting.
    pub fn launch(&mut self) {
        assert!(self.running.is_none(), "forebay runs already");
        let (config, environment) = (self.config(), self.environment.clone());
        let mut program = self.wrapper.clone();
        program.push(FOREBAY.to_owned());
        self.running = Some(Guarded::spawn(Path::new(&program[0]), &self.log_file(), |command| {
            command
                .args(&program[1..])
                .arg("--config")
                .arg(config)
                .arg("run")
                .envs(environment)
                .env("RUST_BACKTRACE", "1");
        }));
    }

    /// Starts it (again) and waits until its control socket says it is ready.
    #[track_caller]
    pub fn restart(&mut self) {
        self.launch();
        self.wait_ready();
    }

    /// Waits until it says it is ready.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        let socket = self.socket();
        let running = self.running.as_mut().expect("running");
        eventually(READY_LIMIT, "forebay is ready", || {
            if let Some(status) = running.ended() {
                panic!("forebay ended with {status} instead of getting ready\n{}", running.log_tail());
            }
            http::unix(&socket, "GET", "/readyz", "").is_ok_and(|response| response.code == 200)
        });
    }

    /// Waits until it is connected to the broker with every subscription confirmed.
    #[track_caller]
    pub fn wait_subscribed(&self) {
        eventually(READY_LIMIT, "forebay is subscribed", || self.broker()["connected"] == true);
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Everything it has logged, over all starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.running.as_ref().expect("running").id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.running.as_ref().expect("running").signal(signal);
    }

    /// Kills it without warning.
    pub fn kill9(&mut self) {
        self.running.take().expect("running").kill9();
    }

    /// Asks it to stop and returns its exit status.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("running");
        running.signal(Signal::TERM);
        running.wait(Duration::from_secs(30))
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn wait_end(&mut self, limit: Duration) -> ExitStatus {
        self.running.take().expect("running").wait(limit)
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.running.as_mut().is_some_and(|running| running.ended().is_none())
    }

    /// A request over the control socket.
    pub fn request(&self, method: &str, target: &str, body: &str) -> std::io::Result<Response> {
        http::unix(&self.socket(), method, target, body)
    }

    /// `/v1/status`, null when it can't be had.
    pub fn status(&self) -> Value {
        self.request("GET", "/v1/status", "").map_or(Value::Null, |response| response.json())
    }

    /// The broker's part of the status.
    pub fn broker(&self) -> Value {
        self.status()["broker"].clone()
    }

    /// The database's part of the status.
    pub fn database(&self) -> Value {
        self.status()["flush"].clone()
    }

    /// Rows, and dead letters, since the ring was created.
    pub fn taken(&self) -> (u64, u64) {
        let ledger = self.status()["ledger"].clone();
        (count(&ledger, "rows"), count(&ledger, "dead_letters"))
    }

    /// What it tells of a source; null where there is none of that name.
    pub fn source_status(&self, name: &str) -> Value {
        let sources = self.status()["sources"].as_array().cloned().unwrap_or_default();
        sources.into_iter().find(|source| source["name"] == name).unwrap_or_default()
    }

    /// A count of the ledger, 0 when the status can't be had.
    pub fn ledger(&self, name: &str) -> u64 {
        count(&self.status()["ledger"], name)
    }

    /// Waits until it has taken in `messages` messages (since the ring was created) and no row of them is pending.
    #[track_caller]
    pub fn wait_drained(&self, messages: u64, limit: Duration) {
        eventually_eq(limit, "messages taken in, rows pending", (messages, 0), || {
            let ledger = self.status()["ledger"].clone();
            (count(&ledger, "messages"), if ledger.is_null() { u64::MAX } else { pending(&ledger) })
        });
    }

    /// Runs a subcommand with this daemon's configuration and socket.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        Command::new(FOREBAY)
            .arg("--config")
            .arg(self.config())
            .arg("--socket")
            .arg(self.socket())
            .args(arguments)
            .output()
            .expect("forebay can be run")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let socket = self.socket();
        drop(self.running.take());
        let _ = std::fs::remove_file(socket);
    }
}

/// A count in a ledger.
pub fn count(ledger: &Value, name: &str) -> u64 {
    ledger[name].as_u64().unwrap_or(0)
}

/// Rows whose fate is open.
pub fn pending(ledger: &Value) -> u64 {
    let closed: u64 = ["stored", "quarantined", "dropped", "coalesced"].iter().map(|name| count(ledger, name)).sum();
    count(ledger, "rows") - closed.min(count(ledger, "rows"))
}

/// Exit code, and what went to standard output and standard error.
pub fn told(output: &Output) -> (i32, String, String) {
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}
