//! A QuestDB server of its own, or the one that tests share when their tables have names of their own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;

use super::{
    eventually,
    http::{self, encode},
    process::{Guarded, free_port},
    scratch::{Scratch, scratch},
};

const START_LIMIT: Duration = Duration::from_secs(90);
/// What tests need no more of: QuestDB takes a file's disk by such pages. With the sizes it is shipped with a table of six columns
/// takes 150 MB and each further column 17 MB (9.3.4); with these some 1.3 MB and 0.13 MB.
const SMALL_PAGES: [(&str, &str); 6] = [
    ("QDB_CAIRO_WRITER_DATA_APPEND_PAGE_SIZE", "64k"),
    ("QDB_CAIRO_WRITER_DATA_INDEX_KEY_APPEND_PAGE_SIZE", "16k"),
    ("QDB_CAIRO_WRITER_DATA_INDEX_VALUE_APPEND_PAGE_SIZE", "64k"),
    ("QDB_CAIRO_WAL_WRITER_DATA_APPEND_PAGE_SIZE", "64k"),
    ("QDB_CAIRO_WAL_WRITER_EVENT_APPEND_PAGE_SIZE", "64k"),
    ("QDB_CAIRO_SYSTEM_WRITER_DATA_APPEND_PAGE_SIZE", "64k"),
];

/// Tests live for seconds: the quicker compiler's code is slower, and ready sooner. Benchmarks have
/// it as it is shipped.
const COMPILER: u8 = if cfg!(test) { 1 } else { 4 };

/// A database.
pub struct QuestDb {
    /// HTTP port on the loopback.
    pub port: u16,
    login: Option<(String, String)>,
    pages: &'static [(&'static str, &'static str)],
    /// Added to the environment of the next start.
    pub environment: Vec<(String, String)>,
    running: Option<Guarded>,
    // Removed once nothing runs in it any more.
    dir: Scratch,
}

impl QuestDb {
    /// A new server with no tables, ready.
    pub fn start() -> Self {
        let mut server = Self::prepared(None);
        server.restart();
        server
    }

    /// A new server that asks for a password.
    pub fn with_login(user: &str, password: &str) -> Self {
        let mut server = Self::prepared(Some((user.into(), password.into())));
        server.restart();
        server
    }

    /// A new server with settings of its own, given as environment variables (`QDB_…`).
    pub fn with_settings(settings: &[(&str, &str)]) -> Self {
        let mut server = Self::prepared(None);
        server.environment = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        server.restart();
        server
    }

    /// A new server with the settings it is shipped with, for measurements.
    pub fn as_shipped() -> Self {
        let mut server = Self::prepared(None);
        server.pages = &[];
        server.restart();
        server
    }

    /// Everything in place for a server, not yet started.
    pub fn prepared(login: Option<(String, String)>) -> Self {
        Self {
            port: free_port(),
            login,
            pages: &SMALL_PAGES,
            environment: Vec::new(),
            running: None,
            dir: scratch("questdb"),
        }
    }

    /// The server for tests that only need tables of their own; it ends with this process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<QuestDb> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Value of forebay's `questdb.conf`.
    pub fn conf(&self) -> String {
        format!("http::addr=127.0.0.1:{};", self.port)
    }

    /// Starts it (again) on the same data and waits until it answers.
    pub fn restart(&mut self) {
        self.launch();
        eventually(START_LIMIT, "QuestDB answers", || self.answers());
    }

    /// Starts it without waiting.
    pub fn launch(&mut self) {
        assert!(self.running.is_none(), "QuestDB runs already");
        let jar = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools/questdb.jar");
        assert!(jar.exists(), "QuestDB is missing: run tests/tools/install-deps test");
        let java = which("java");
        let (data, port, login) = (self.data(), self.port, self.login.clone());
        fs::create_dir_all(&data).expect("a directory");
        let (pages, environment) = (self.pages, self.environment.clone());
        // It unpacks its native libraries there, and a killed one leaves them.
        let unpacked = self.dir.join("unpacked");
        let _ = fs::remove_dir_all(&unpacked);
        fs::create_dir_all(&unpacked).expect("a directory");
        self.running = Some(Guarded::spawn(&java, &self.dir.join("log"), |command| {
            command
                .args(["-Xms64m", "-Xmx1g", "-XX:+UseSerialGC", "-XX:-UsePerfData"])
                .arg(format!("-XX:TieredStopAtLevel={COMPILER}"))
                .arg(format!("-Djava.io.tmpdir={}", unpacked.display()))
                .arg("-p")
                .arg(jar)
                .args(["-m", "io.questdb/io.questdb.ServerMain", "-d"])
                .arg(data)
                .env("QDB_HTTP_BIND_TO", format!("127.0.0.1:{port}"))
                .env("QDB_HTTP_MIN_ENABLED", "false")
                .env("QDB_PG_ENABLED", "false")
                .env("QDB_LINE_TCP_ENABLED", "false")
                .env("QDB_TELEMETRY_ENABLED", "false")
                .envs(pages.iter().copied())
                .envs(environment);
            if let Some((user, password)) = login {
                command.env("QDB_HTTP_USER", user).env("QDB_HTTP_PASSWORD", password);
            }
        }));
    }

    /// Its process; none while it does not run.
    #[allow(dead_code, reason = "benchmarks ask what it costs")]
    pub fn id(&self) -> Option<u32> {
        self.running.as_ref().map(Guarded::id)
    }

    /// Whether it accepts requests.
    pub fn answers(&self) -> bool {
        http::get(self.port, "/ping", None).is_ok_and(|response| response.code == 204)
    }

    /// Stops it in order.
    pub fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.signal(Signal::TERM);
            running.wait(Duration::from_secs(60));
        }
    }

    /// Kills it.
    pub fn kill9(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill9();
        }
    }

    /// Stops it, keeps a copy of its data, and starts it again.
    pub fn keep_copy(&mut self) {
        self.stop();
        copy(&self.data(), &self.copied());
        self.restart();
    }

    /// Kills it and starts it on the data of [`Self::keep_copy`], as if nothing written since had reached the disk.
    pub fn roll_back(&mut self) {
        self.kill9();
        fs::remove_dir_all(self.data()).expect("its data can be removed");
        copy(&self.copied(), &self.data());
        self.restart();
    }

    /// Removes what [`Self::keep_copy`] made, so that another can be made.
    pub fn forget_copy(&self) {
        fs::remove_dir_all(self.copied()).expect("the copy can be removed");
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn copied(&self) -> PathBuf {
        self.dir.join("copy")
    }

    /// Freezes it: connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.running.as_ref().expect("running").signal(Signal::STOP);
    }

    /// Ends [`Self::pause`].
    pub fn resume(&self) {
        self.running.as_ref().expect("running").signal(Signal::CONT);
    }

    /// Runs a statement; the rows of its result.
    pub fn try_sql(&self, statement: &str) -> Result<Vec<Vec<Value>>, String> {
        let login = self.login.as_ref().map(|(user, password)| format!("{user}:{password}"));
        let target = format!("/exec?query={}", encode(statement));
        let response = http::get(self.port, &target, login.as_deref()).map_err(|why| why.to_string())?;
        if response.code != 200 {
            return Err(format!("{}: {}", response.code, response.body));
        }
        let rows = response.json()["dataset"].as_array().cloned().unwrap_or_default();
        Ok(rows.into_iter().map(|row| row.as_array().cloned().unwrap_or_default()).collect())
    }

    /// Runs a statement that must succeed.
    #[track_caller]
    pub fn sql(&self, statement: &str) -> Vec<Vec<Value>> {
        self.try_sql(statement).unwrap_or_else(|why| panic!("{statement}: {why}"))
    }

    /// One number; 0 while the table, or a column that its first row brings, does not exist.
    pub fn number(&self, statement: &str) -> i64 {
        match self.try_sql(statement) {
            Ok(rows) => rows.first().and_then(|row| row.first()).and_then(Value::as_i64).unwrap_or(0),
            Err(why) if why.contains("does not exist") || why.contains("Invalid column") => 0,
            Err(why) => panic!("{statement}: {why}"),
        }
    }

    /// Rows in a table; 0 while it does not exist.
    pub fn count(&self, table: &str) -> i64 {
        self.number(&format!("SELECT count() FROM '{table}'"))
    }

    /// Waits until everything QuestDB has accepted for `table` is applied and visible.
    pub fn settle(&self, table: &str) {
        eventually(Duration::from_mins(1), "QuestDB applies its WAL", || {
            let statement =
                format!("SELECT writerTxn, sequencerTxn, suspended FROM wal_tables() WHERE name = '{table}'");
            self.try_sql(&statement).is_ok_and(|rows| rows.iter().all(|row| row[0] == row[1]))
        });
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(to).status().expect("cp");
    assert!(status.success(), "cp -a {} {}: {status}", from.display(), to.display());
}

fn which(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{program} is missing: run tests/tools/install-deps test"))
}
