//! Ten states of a gateway, and what each says first through every door: `status`, `check`, `top`,
//! the page, the journal.

mod look;

use std::time::Duration;

use crate::support::{
    Daemon, DaemonBuilder, Load, Mosquitto, QuestDb, Readings,
    disk::Volume,
    eventually,
    impostor::{Impostor, Said},
    process::free_port,
    relay::Relay,
    unique,
};
use look::{Seen, look};

const LIMIT: Duration = Duration::from_secs(60);

struct Stage {
    broker: Mosquitto,
    readings: Readings,
    daemon: Daemon,
    site: String,
}

impl Stage {
    /// A daemon in front of the shared database.
    fn start(state: &str) -> Self {
        Self::with(state, |builder| builder)
    }

    fn with(state: &str, change: impl FnOnce(DaemonBuilder) -> DaemonBuilder) -> Self {
        let (broker, readings) = (Mosquitto::start(), Readings::new(unique(state), 20));
        let address = format!("127.0.0.1:{}", free_port());
        let builder = DaemonBuilder::new()
            .servers(&broker, QuestDb::shared())
            .source(&readings)
            .set("control.listen", address.clone());
        let daemon = change(builder).start();
        daemon.wait_subscribed();
        Self { broker, readings, daemon, site: format!("http://{address}") }
    }

    fn publish(&self, count: u64) {
        self.readings.publish(&mut self.broker.publisher().expect("connects"), 0..count);
    }

    fn publish_raw(&self, topic: &str, payloads: &[&str]) {
        let mut publisher = self.broker.publisher().expect("connects");
        for payload in payloads {
            publisher.publish(topic, payload.as_bytes()).expect("published");
        }
        publisher.drain(LIMIT).expect("acknowledged");
    }

    fn look(&self, state: &str) -> Seen {
        look(state, &self.daemon, &self.site)
    }
}

/// A database that nobody answers for.
fn nobody(builder: DaemonBuilder) -> DaemonBuilder {
    builder.set("questdb.conf", format!("http::addr=127.0.0.1:{};", free_port()))
}

/// `status` begins with this, `check` says that the configuration is valid, and each of these doors
/// says these words, wherever its lines are broken.
#[track_caller]
fn says(seen: &Seen, first: &str, doors: &[(&str, &str)]) {
    for text in [&seen.status, &seen.all] {
        let line = text.lines().next().unwrap_or_default();
        assert!(line.contains(first), "status begins with {line:?}, not {first:?}");
    }
    assert!(seen.check.contains("\nvalid\n"), "{}", seen.check);
    for (door, words) in doors {
        let text = match *door {
            "top" => &seen.top,
            "page" => &seen.page,
            "journal" => &seen.journal,
            other => panic!("there is no door {other}"),
        };
        assert!(unbroken(text).contains(&unbroken(words)), "{door} does not say {words:?}:\n{text}");
    }
}

/// A text without frames, charts and line breaks.
fn unbroken(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || "│█░┌┐└┘─".contains(c))
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn idle() {
    let stage = Stage::start("idle");
    stage.publish(5);
    stage.daemon.wait_drained(5, LIMIT);
    eventually(LIMIT, "the rates have come to rest", || stage.daemon.status()["rates"]["messages_per_s"] == 0.0);
    let seen = stage.look("idle");
    says(&seen, "OK ", &[("top", "QuestDB: ok"), ("page", "nothing is wrong")]);
    assert!(!seen.journal.contains("WARN forebay::flush"), "{}", seen.journal);
}

#[test]
fn busy() {
    let stage = Stage::start("busy");
    let load = Load::start(&stage.readings, stage.broker.port, 1_000);
    eventually(LIMIT, "the forecast is there", || stage.daemon.status()["forecast"]["intake_bytes_per_s"].is_number());
    let seen = stage.look("busy");
    load.finish();
    says(&seen, "OK ", &[("top", "QuestDB: ok"), ("page", "nothing is wrong")]);
}

#[test]
fn no_broker() {
    let mut stage = Stage::start("nobroker");
    stage.publish(5);
    stage.broker.stop();
    eventually(LIMIT, "it is noticed", || stage.daemon.broker()["connected"] == false);
    let seen = stage.look("no-broker");
    let error = "the broker can't be reached";
    let doors = [("top", error), ("page", error), ("journal", "no connection to the broker")];
    says(&seen, "NOT OK      no connection to the broker", &doors);
}

#[test]
fn no_database() {
    let stage = Stage::with("nodb", nobody);
    let load = Load::start(&stage.readings, stage.broker.port, 500);
    eventually(LIMIT, "it is noticed", || {
        stage.daemon.database()["database"] == "unreachable"
            && stage.daemon.status()["forecast"]["intake_bytes_per_s"].is_number()
    });
    let seen = stage.look("no-database");
    load.finish();
    let doors = [("top", "QuestDB: unreachable"), ("page", "Nothing is lost"), ("journal", "QuestDB is not reachable")];
    says(&seen, "NOT OK      QuestDB does not answer", &doors);
    assert!(!unbroken(&seen.all).contains("at most"), "lanes say nothing of batches: {}", seen.all);
}

#[test]
fn credentials_refused() {
    let door = Impostor::before(None, |_| Said::Whole(401, "Unauthorized".into()));
    let stage = Stage::with("auth", |builder| builder.set("questdb.conf", door.conf()));
    stage.publish(100);
    eventually(LIMIT, "it is noticed", || stage.daemon.database()["database"] == "refused");
    let seen = stage.look("credentials");
    let doors = [("page", "put right questdb.username"), ("journal", "QuestDB refuses the credentials")];
    says(&seen, "NOT OK      QuestDB refuses the credentials", &doors);
    // One column of two: its words are broken among those of the other.
    assert!(seen.top.contains("QuestDB: refused") && seen.top.contains("the rows wait in the ring"), "{}", seen.top);
}

#[test]
fn table_suspended() {
    // QuestDB suspends a table at will in this mode alone.
    let questdb = QuestDb::with_settings(&[("QDB_DEV_MODE_ENABLED", "true")]);
    let stage = Stage::with("halt", |builder| builder.set("questdb.conf", questdb.conf()));
    stage.publish(100);
    stage.daemon.wait_drained(100, LIMIT);
    let table = &stage.readings.name;
    questdb.settle(table);
    questdb.sql(&format!("ALTER TABLE '{table}' SUSPEND WAL WITH 28, 'no space left'"));
    let load = Load::start(&Readings::new(table.clone(), 20).later(Duration::from_secs(3600)), stage.broker.port, 100);
    eventually(LIMIT, "it is noticed", || stage.daemon.database()["database"] == "suspended");
    let seen = stage.look("suspended");
    questdb.sql(&format!("ALTER TABLE '{table}' RESUME WAL"));
    load.finish();
    let statement = format!("ALTER TABLE \"{}\" RESUME WAL", stage.readings.name);
    let doors = ["top", "page", "journal"].map(|door| (door, statement.as_str()));
    says(&seen, "NOT OK      QuestDB has suspended table", &doors);
}

#[test]
fn set_aside() {
    let stage = Stage::with("aside", |builder| builder);
    let topic = stage.readings.reading(0).0;
    stage.publish(50);
    stage.daemon.wait_drained(50, LIMIT);
    let table = &stage.readings.name;
    QuestDb::shared().settle(table);
    stage.publish_raw(&topic, &["no json", "{\"ts\":", "{\"seq\":1}", "{\"ts\":1780000000000,\"seq\":\"many\"}"]);
    eventually(LIMIT, "they are set aside", || {
        stage.daemon.status()["flush"]["quarantine"]["entries"].as_u64() >= Some(3)
    });
    let seen = stage.look("set-aside");
    let wanted = "is a string, but the source wants type \"long\"";
    let doors = [("top", "3 in quarantine"), ("page", wanted), ("page", "Set aside 3"), ("journal", wanted)];
    says(&seen, "NOT OK      3 messages and rows are set aside", &doors);
}

#[test]
fn ring_full() {
    let stage =
        Stage::with("full", |builder| nobody(builder).set("ring.size", "4MiB").set("mqtt.max_payload", "64KiB"));
    stage.publish(60_000);
    eventually(LIMIT, "it is full", || stage.daemon.status()["ring"]["full"] == true);
    let words = "the ring is full, and nothing more is acknowledged: the broker keeps it";
    eventually(LIMIT, "the journal says so", || stage.daemon.log().contains(words));
    let seen = stage.look("ring-full");
    says(&seen, "NOT OK      the ring is full", &["top", "page", "journal"].map(|door| (door, words)));
}

#[test]
fn after_a_crash() {
    let mut database = Relay::shut();
    let port = database.port;
    let mut stage =
        Stage::with("crash", |builder| builder.set("questdb.conf", format!("http::addr=127.0.0.1:{port};")));
    stage.publish(5_000);
    eventually(LIMIT, "all of it is taken", || stage.daemon.ledger("messages") == 5_000);
    stage.daemon.kill9();
    stage.daemon.restart();
    stage.daemon.wait_subscribed();
    database.open(QuestDb::shared().port);
    // What was not acknowledged before the kill comes twice.
    eventually(LIMIT, "all of it is stored", || {
        let ledger = stage.daemon.status()["ledger"].clone();
        ledger["stored"].as_u64() >= Some(5_000) && ledger["pending"] == 0
    });
    let seen = stage.look("after-a-crash");
    let doors = [("top", "QuestDB: ok"), ("page", "nothing is wrong"), ("journal", "recovered the ring")];
    says(&seen, "OK ", &doors);
}

#[test]
fn disk_full() {
    let volume = Volume::ext4(64);
    let on = |name: &str| volume.at().join(name).display().to_string();
    let stage = Stage::with("disk", |builder| {
        builder
            .set("ring.path", on("ring"))
            .set("ring.size", "16MiB")
            .set("quarantine.path", on("quarantine"))
            .set("quarantine.size", "8MiB")
    });
    volume.fill();
    stage.publish(50);
    stage.publish_raw(&stage.readings.reading(0).0, &["no json"]);
    stage.daemon.wait_drained(51, LIMIT);
    let seen = stage.look("disk-full");
    // Both files have had all their space from the start.
    let doors = [("top", "1 in quarantine"), ("page", "Set aside 1"), ("journal", "goes to quarantine")];
    says(&seen, "NOT OK      1 message or row is set aside", &doors);
    assert!(seen.status.contains("also        the disk of the ring is full"), "{}", seen.status);
}
