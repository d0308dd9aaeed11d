//! Damage never stops a start: what is intact is kept, what is lost is named and counted, and the daemon goes on.
//! Only a place that cannot be written to, or the lock of another daemon, stops one.

mod contents;
mod places;
mod running;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::support::{
    Daemon, DaemonBuilder, Mosquitto, QuestDb, Readings, daemon::pending, eventually, eventually_eq, relay::Relay,
    unique,
};

const LIMIT: Duration = Duration::from_secs(60);
/// Readings in the ring when it gets damaged.
const BEFORE: u64 = 2_000;
/// Readings published after the start.
const AFTER: u64 = 300;
/// Distance between the two header slots, and where the data begins.
const SLOT: usize = 4096;
const DATA_START: usize = 8192;

/// A daemon whose database does not answer until [`Stage::connect`].
struct Stage {
    broker: Mosquitto,
    database: Relay,
    readings: Readings,
    daemon: Daemon,
    published: u64,
    /// Bytes of the log from before the latest start.
    log_before: usize,
}

impl Stage {
    /// A ring of 1 MiB, with the configuration changed; nothing runs yet.
    fn prepared(name: &str, change: impl FnOnce(DaemonBuilder) -> DaemonBuilder) -> Self {
        let (broker, database) = (Mosquitto::start(), Relay::shut());
        let readings = Readings::new(unique(name), 50);
        let builder = DaemonBuilder::new()
            .servers(&broker, QuestDb::shared())
            .source(&readings)
            // Space is kept for as long as a request of the life before may be executed: six time-outs, and the ring is small.
            .set("questdb.conf", format!("http::addr=127.0.0.1:{};request_timeout=1000;", database.port))
            .set("ring.size", "1MiB")
            .set("mqtt.max_payload", "64KiB")
            .set("daemon.stop_timeout", "100ms");
        Self { broker, database, readings, daemon: change(builder).write(), published: 0, log_before: 0 }
    }

    /// The same with [`BEFORE`] acknowledged readings in the ring, and the daemon running.
    fn filled(name: &str) -> Self {
        let mut stage = Self::prepared(name, |builder| builder);
        stage.start();
        stage.publish(BEFORE);
        stage
    }

    #[track_caller]
    fn start(&mut self) {
        self.log_before = self.daemon.log().len();
        self.daemon.restart();
        self.daemon.wait_subscribed();
    }

    /// Publishes so many more readings and waits until the daemon has acknowledged them.
    #[track_caller]
    fn publish(&mut self, more: u64) {
        let acknowledged = |daemon: &Daemon| daemon.broker()["acknowledged"].as_u64().unwrap_or(0);
        let enough = acknowledged(&self.daemon) + more;
        let mut publisher = self.broker.publisher().expect("connects");
        // Bit by bit, so that there are many commits.
        let end = self.published + more;
        for first in (self.published..end).step_by(100) {
            self.readings.publish(&mut publisher, first..(first + 100).min(end));
        }
        self.published = end;
        eventually(LIMIT, "all are acknowledged", || acknowledged(&self.daemon) >= enough);
    }

    /// Ends the daemon: in order, or by a kill. The broker forgets its session, so that nothing is delivered twice.
    #[track_caller]
    fn end(&mut self, in_order: bool) {
        if in_order {
            assert!(self.daemon.stop().success(), "{}", self.daemon.log());
        } else {
            self.daemon.kill9();
        }
        self.broker.kill9();
        self.broker.restart();
    }

    /// From now on the database answers.
    fn connect(&mut self) {
        self.database.open(QuestDb::shared().port);
    }

    /// Changes the ring file's bytes.
    fn edit(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.daemon.ring();
        let mut bytes = fs::read(&path).expect("the ring");
        change(&mut bytes);
        fs::write(&path, bytes).expect("the ring");
    }

    /// Gives the ring file another length.
    fn cut(&self, length: u64) {
        fs::File::options().write(true).open(self.daemon.ring()).and_then(|file| file.set_len(length)).expect("cut");
    }

    /// Starts the daemon and the database and publishes [`AFTER`] readings; what was logged meanwhile.
    #[track_caller]
    fn go_on(&mut self) -> String {
        self.connect();
        self.start();
        self.publish(AFTER);
        self.log()
    }

    /// What was logged since the latest start.
    fn log(&self) -> String {
        self.daemon.log()[self.log_before..].to_owned()
    }

    /// Waits until no row is pending. The ledger has to count `rows`, exactly the readings in `lost` have to be missing in QuestDB, and
    /// those of them that the ledger knows of have to be counted as dropped.
    #[track_caller]
    fn assert_balanced(&self, rows: u64, lost: &BTreeSet<u64>) {
        eventually_eq(LIMIT, "rows, pending", (rows, 0), || {
            let ledger = self.daemon.status()["ledger"].clone();
            (ledger["rows"].as_u64().unwrap_or(0), if ledger.is_null() { 1 } else { pending(&ledger) })
        });
        let wanted: BTreeSet<u64> = (0..self.published).filter(|n| !lost.contains(n)).collect();
        let (questdb, table) = (QuestDb::shared(), &self.readings.name);
        questdb.settle(table);
        assert_eq!(questdb.count(table), wanted.len() as i64, "rows in QuestDB");
        assert!(self.readings.present(questdb) == wanted, "exactly what was not lost is in QuestDB");
        let ledger = self.daemon.status()["ledger"].clone();
        let stored = wanted.len() as u64;
        assert_eq!((&ledger["stored"], &ledger["dropped"]), (&stored.into(), &(rows - stored).into()), "{ledger}");
    }

    /// Starts the daemon where it must refuse to run, with exit code 5 and a message that contains `words`.
    #[track_caller]
    fn assert_refused(&mut self, words: &[&str]) {
        self.log_before = self.daemon.log().len();
        self.daemon.launch();
        let status = self.daemon.wait_end(Duration::from_secs(20));
        let log = self.log();
        assert_eq!(status.code(), Some(5), "{log}");
        let message = log.lines().find(|line| line.starts_with("forebay: ")).unwrap_or_default();
        for word in words {
            assert!(message.contains(word), "{word:?} is missing in: {message}");
        }
    }
}

/// A damaged stretch as the log tells it.
#[derive(Debug)]
struct Loss {
    first: u64,
    last: u64,
    bytes: u64,
    tables: String,
    unknown: u64,
}

impl Loss {
    fn all(log: &str) -> Vec<Self> {
        let lines = log.lines().filter(|line| line.contains("damage in the ring: these records are lost"));
        lines.map(Self::read).collect()
    }

    fn read(line: &str) -> Self {
        let number = |name| field(line, name).parse().unwrap_or_else(|_| panic!("{name} in {line}"));
        Self {
            first: number("first"),
            last: number("last"),
            bytes: number("bytes"),
            tables: field(line, "tables").to_owned(),
            unknown: number("unknown"),
        }
    }

    /// The readings lost. Each reading is one record, and the first of them record 1.
    fn readings(losses: &[Self]) -> BTreeSet<u64> {
        losses.iter().flat_map(|loss| loss.first - 1..loss.last).collect()
    }
}

/// A field of a log line.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    line.split_once(&format!(" {name}=")).map_or("", |(_, rest)| rest.split(' ').next().unwrap_or(rest))
}

/// A file's name with more at its end.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(end);
    name.into()
}
