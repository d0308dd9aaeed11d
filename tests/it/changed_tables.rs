//! Tables that an operator drops, renames, makes again or changes under the running daemon.

use std::{collections::BTreeSet, time::Duration};

use crate::support::{Daemon, DaemonBuilder, Load, Mosquitto, QuestDb, Readings, eventually, eventually_eq, unique};

const LIMIT: Duration = Duration::from_secs(60);
const PER_SECOND: u64 = 300;
/// What may have been stored and not confirmed when a table was dropped: docs/ARCHITECTURE.md's 10
/// s where QuestDB is behind with applying, a look's second, and what such a machine takes to look.
const UNCONFIRMED_S: u64 = 14;

struct Stage {
    broker: Mosquitto,
    questdb: &'static QuestDb,
    readings: Readings,
    daemon: Daemon,
}

impl Stage {
    fn new(stem: &str, settings: impl FnOnce(DaemonBuilder) -> DaemonBuilder) -> Self {
        let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
        let readings = Readings::new(unique(stem), 10);
        let builder = DaemonBuilder::new().servers(&broker, questdb).source(&readings);
        let daemon = settings(builder).start();
        daemon.wait_subscribed();
        Self { broker, questdb, readings, daemon }
    }

    fn load(&self) -> Load {
        self.load_of(3)
    }

    /// A load of which the rows of so many seconds are stored.
    fn load_of(&self, seconds: u64) -> Load {
        let load = Load::start(&self.readings, self.broker.port, PER_SECOND);
        eventually(LIMIT, "rows are stored", || self.daemon.ledger("stored") > seconds * PER_SECOND);
        load
    }

    fn publish(&self, range: std::ops::Range<u64>) {
        let upto = range.end;
        let mut publisher = self.broker.publisher().expect("connects");
        self.readings.publish(&mut publisher, range);
        self.daemon.wait_drained(upto, LIMIT);
    }

    /// Runs a statement; the readings acknowledged before and after it.
    fn change(&self, load: &Load, statement: &str) -> (u64, u64) {
        let before = load.acked();
        self.questdb.sql(statement);
        (before, load.acked())
    }

    /// Goes on for a while, then waits until all is stored; returns how many readings were published.
    fn finish(&self, load: Load) -> u64 {
        let stored = self.daemon.ledger("stored");
        eventually(LIMIT, "more rows are stored", || self.daemon.ledger("stored") > stored + 3 * PER_SECOND);
        let published = load.finish();
        self.daemon.wait_drained(published, LIMIT);
        self.questdb.settle(&self.readings.name);
        published
    }

    fn present(&self) -> BTreeSet<u64> {
        self.readings.present(self.questdb)
    }

    #[track_caller]
    fn assert_all_since(&self, since: u64, published: u64) {
        let table = &self.readings.name;
        eventually_eq(LIMIT, "every reading since is there", Vec::new(), || {
            let present = self.present();
            (since..published).filter(|n| !present.contains(n)).take(9).collect::<Vec<_>>()
        });
        self.questdb.settle(table);
        assert_eq!(
            self.questdb.count(table),
            self.present().len() as i64,
            "none is there twice\n{}",
            self.daemon.log()
        );
        assert_eq!(self.daemon.ledger("quarantined"), 0);
    }

    #[track_caller]
    fn assert_as_configured(&self, partition_by: &str) {
        let table = &self.readings.name;
        let row = self.questdb.sql(&format!(
            "SELECT dedup, walEnabled, partitionBy, ttlValue, ttlUnit FROM tables() WHERE table_name = '{table}'"
        ));
        let shown = serde_json::Value::from(row[0].clone()).to_string();
        assert_eq!(shown, format!("[true,true,\"{partition_by}\",2,\"DAY\"]"), "{}", self.daemon.log());
        let keys = format!("SELECT count() FROM table_columns('{table}') WHERE upsertKey");
        eventually_eq(LIMIT, "time, site and device are keys", 3, || self.questdb.number(&keys));
        assert_eq!(self.daemon.database()["delivery"], "exactly-once");
    }

    fn warnings(&self) -> String {
        self.daemon.status()["warnings"].to_string().replace('\\', "")
    }

    #[track_caller]
    fn assert_told(&self, what: &str) {
        assert!(self.daemon.log().contains(what), "{}", self.daemon.log());
        assert!(self.warnings().contains(what), "{}", self.warnings());
    }

    fn delivery(&self) -> String {
        self.daemon.database()["delivery"].as_str().unwrap_or_default().to_owned()
    }
}

fn with_ttl(builder: DaemonBuilder) -> DaemonBuilder {
    builder.set("questdb.ttl", "48h")
}

#[test]
fn the_first_row_after_a_drop_is_stored_in_a_table_as_configured() {
    let stage = Stage::new("first", with_ttl);
    stage.publish(0..100);
    stage.readings.assert_exactly_once(stage.questdb, 100, LIMIT);
    for round in 0..3 {
        stage.questdb.sql(&format!("DROP TABLE '{}'", stage.readings.name));
        stage.publish(100 + round..101 + round);
        stage.assert_all_since(100 + round, 101 + round);
        stage.assert_as_configured("DAY");
    }
    stage.assert_told("was dropped or renamed");
}

#[test]
fn a_table_dropped_under_load_loses_nothing_that_comes_after_and_gets_nothing_back() {
    for (partition_by, word, seconds) in [("day", "DAY", UNCONFIRMED_S + 1), ("hour", "HOUR", 3)] {
        let stage = Stage::new("dropped", |builder| with_ttl(builder).set("questdb.partition_by", partition_by));
        let load = stage.load_of(seconds);
        let (before, after) = stage.change(&load, &format!("DROP TABLE '{}'", stage.readings.name));
        let published = stage.finish(load);
        stage.assert_all_since(after, published);
        stage.assert_as_configured(word);
        let oldest = stage.present().first().copied();
        let confirmed = before.saturating_sub(UNCONFIRMED_S * PER_SECOND);
        assert!(oldest >= Some(confirmed), "{oldest:?} of {before} came back");
        let log = stage.daemon.log();
        assert!(log.contains("was made again") || log.contains("was dropped or renamed"), "{log}");
    }
}

#[test]
fn a_renamed_table_keeps_its_rows_and_the_next_go_to_a_new_one() {
    let stage = Stage::new("renamed", with_ttl);
    let load = stage.load();
    let (table, old) = (&stage.readings.name, format!("{}_old", stage.readings.name));
    let (_, after) = stage.change(&load, &format!("RENAME TABLE '{table}' TO '{old}'"));
    let published = stage.finish(load);
    stage.assert_all_since(after, published);
    stage.assert_as_configured("DAY");
    let kept = Readings::new(old.clone(), stage.readings.devices);
    let mut all = kept.present(stage.questdb);
    all.append(&mut stage.present());
    assert_eq!(all.len() as u64, published, "every reading is in one of them");
}

#[test]
fn a_table_made_again_by_hand_is_taken_as_it_is() {
    let stage = Stage::new("by_hand", with_ttl);
    let load = stage.load();
    let table = &stage.readings.name;
    stage.change(&load, &format!("DROP TABLE '{table}'"));
    let made = format!(
        "CREATE TABLE IF NOT EXISTS '{table}' (timestamp TIMESTAMP, site SYMBOL, device SYMBOL) TIMESTAMP(timestamp) PARTITION BY DAY WAL"
    );
    // The daemon may have been quicker.
    let made_by_hand = "SELECT count() FROM tables() WHERE NOT dedup AND table_name = '".to_owned() + table + "'";
    stage.questdb.sql(&made);
    if stage.questdb.number(&made_by_hand) == 0 {
        stage.questdb.sql(&format!("DROP TABLE '{table}'"));
        stage.questdb.sql(&made);
    }
    let after = load.acked();
    let time_first = format!("SELECT \"column\" FROM table_columns('{table}')");
    let is_by_hand = stage.questdb.sql(&time_first)[0][0] == "timestamp" && stage.questdb.number(&made_by_hand) == 1;
    let published = stage.finish(load);
    let present = stage.present();
    assert!((after..published).all(|n| present.contains(&n)), "every reading since is there");
    if is_by_hand {
        assert_eq!(stage.delivery(), format!("at-least-once ({table})"), "{}", stage.daemon.log());
        assert!(stage.warnings().contains("DEDUP ENABLE UPSERT KEYS"), "{}", stage.warnings());
    }
    assert_eq!(stage.daemon.ledger("quarantined"), 0);
}

#[test]
fn deduplication_that_is_turned_off_and_on_is_told_at_once() {
    let stage = Stage::new("keys", |builder| builder);
    stage.publish(0..100);
    let table = &stage.readings.name;
    eventually_eq(LIMIT, "as it is created", "exactly-once".to_owned(), || stage.delivery());
    stage.questdb.sql(&format!("ALTER TABLE '{table}' DEDUP DISABLE"));
    stage.questdb.settle(table);
    stage.publish(100..101);
    eventually_eq(Duration::from_secs(10), "as it is now", format!("at-least-once ({table})"), || stage.delivery());
    stage.assert_told("has keys no more");
    stage.questdb.sql(&format!("ALTER TABLE '{table}' DEDUP ENABLE UPSERT KEYS(timestamp, site, device)"));
    stage.questdb.settle(table);
    stage.publish(101..102);
    eventually_eq(Duration::from_secs(10), "as it is again", "exactly-once".to_owned(), || stage.delivery());
    stage.readings.assert_exactly_once(stage.questdb, 102, LIMIT);
}

#[test]
fn values_of_columns_that_are_dropped_or_retyped_are_stored() {
    let stage = Stage::new("columns", |builder| builder);
    let load = stage.load();
    let table = &stage.readings.name;
    let (_, after) = stage.change(&load, &format!("ALTER TABLE '{table}' DROP COLUMN temperature"));
    let stored = stage.daemon.ledger("stored");
    eventually(LIMIT, "more rows are stored", || stage.daemon.ledger("stored") > stored + 2 * PER_SECOND);
    let (_, retyped) = stage.change(&load, &format!("ALTER TABLE '{table}' ALTER COLUMN temperature TYPE LONG"));
    let published = stage.finish(load);
    stage.assert_all_since(0, published);
    stage.assert_told("has columns dropped, renamed or of another type: \"temperature\"");
    let without = |condition: String| {
        stage.questdb.number(&format!("SELECT count() FROM '{table}' WHERE {condition} AND seq >= {}", after / 10 + 1))
    };
    assert_eq!(without("temperature IS NULL AND temperature_double IS NULL".to_owned()), 0);
    let per_device = retyped / 10 + 1;
    let whole = format!(
        "SELECT count() FROM '{table}' WHERE seq >= {per_device} AND abs(coalesce(temperature_double, temperature::double) - (15.0 + (seq % 200) / 10.0)) > 0.001"
    );
    assert_eq!(stage.questdb.number(&whole), 0, "no fraction was cut off");
}

#[test]
fn a_key_column_that_is_dropped_becomes_a_key_again() {
    let stage = Stage::new("key_column", |builder| builder);
    let load = stage.load();
    let table = &stage.readings.name;
    let (_, after) = stage.change(&load, &format!("ALTER TABLE '{table}' DROP COLUMN device"));
    let published = stage.finish(load);
    stage.assert_told("has columns dropped");
    let keys = format!("SELECT count() FROM table_columns('{table}') WHERE upsertKey");
    eventually_eq(LIMIT, "time, site and device are keys", 3, || stage.questdb.number(&keys));
    let rows = format!("SELECT count() FROM '{table}' WHERE device IS NOT NULL AND seq >= {}", after / 10 + 1);
    let expected = (after / 10 + 1) * 10..published;
    eventually_eq(LIMIT, "every reading since is there", expected.count() as i64, || stage.questdb.number(&rows));
    assert_eq!(stage.daemon.ledger("quarantined"), 0);
}

#[test]
fn a_view_or_a_table_without_wal_in_its_place_gets_no_rows_and_is_told() {
    let stage = Stage::new("in_place", |builder| builder);
    stage.publish(0..100);
    let (table, old) = (&stage.readings.name, format!("{}_old", stage.readings.name));
    // QuestDB (9.3.4) shows the old table under the name for ever where rows were still to be applied; then refusals alone tell.
    stage.questdb.settle(table);
    stage.questdb.sql(&format!("RENAME TABLE '{table}' TO '{old}'"));
    stage.questdb.sql(&format!("CREATE VIEW '{table}' AS (SELECT * FROM '{old}')"));
    // A look at a table whose rows are set aside is due a second after the one before.
    let mut next = 100;
    let mut told = |what: &str| {
        eventually(LIMIT, what, || {
            stage.publish(next..next + 10);
            next += 10;
            stage.warnings().contains(what)
        });
        next
    };
    told("is a view, which takes no rows");
    assert_eq!(stage.delivery(), "exactly-once", "no row is taken at all");

    stage.questdb.sql(&format!("DROP VIEW '{table}'"));
    let columns = "(timestamp TIMESTAMP, site SYMBOL, device SYMBOL)";
    let made = format!("CREATE TABLE '{table}' {columns} TIMESTAMP(timestamp) PARTITION BY DAY BYPASS WAL");
    stage.questdb.sql(&made);
    let upto = told("SET TYPE WAL");
    assert_eq!(stage.delivery(), "exactly-once", "no row is taken at all");
    assert_eq!(stage.questdb.count(table), 0);

    stage.questdb.sql(&format!("DROP TABLE '{table}'"));
    let requeued = stage.daemon.cli(&["quarantine", "requeue", "--all"]);
    assert!(requeued.status.success(), "{requeued:?}");
    eventually(LIMIT, "what was set aside is stored", || (100..upto).all(|n| stage.present().contains(&n)));
    stage.questdb.settle(table);
    assert_eq!(stage.questdb.count(table), stage.present().len() as i64);
    assert_eq!(stage.delivery(), "exactly-once");
}
