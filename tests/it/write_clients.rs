//! `POST /write` with the programs of others: QuestDB's and `InfluxDB`'s clients, and Telegraf, pointed at forebay as they would be at
//! their database.

use std::{fs, time::Duration};

use crate::{
    support::{Daemon, QuestDb, clients, eventually, eventually_eq, unique},
    write::{TOKEN, stage, with_listener},
};

const LIMIT: Duration = Duration::from_secs(60);

struct Listening {
    daemon: Daemon,
    address: String,
    table: String,
}

fn listening(name: &str) -> Listening {
    let (daemon, port) = with_listener(stage(QuestDb::shared()));
    Listening { daemon, address: format!("127.0.0.1:{port}"), table: unique(name) }
}

fn sum(table: &str, what: &str) -> i64 {
    QuestDb::shared().settle(table);
    QuestDb::shared().number(&format!("SELECT {what} FROM '{table}'"))
}

#[test]
fn the_questdb_client_loses_nothing_while_forebay_is_killed_and_comes_back() {
    let Listening { mut daemon, address, table } = listening("questdb_client");
    let log = daemon.config().with_file_name("client.log");
    let arguments = ["questdb-rows", &address, TOKEN, &table, "5000"];
    let mut client = clients::python_beside(&arguments, &log);
    let flushed = || {
        let said = clients::said_in(&fs::read_to_string(&log).unwrap_or_default());
        said.iter().filter_map(|line| line["flushed"].as_u64()).max().unwrap_or(0)
    };
    for kill in 1..=3 {
        let enough = flushed() + 300;
        eventually(LIMIT, "the client goes on", || flushed() >= enough || client.ended().is_some());
        assert!(flushed() < 5_000, "it was to be killed {kill} times on the way");
        daemon.kill9();
        daemon.restart();
    }
    assert!(client.wait(LIMIT).success(), "{}", client.log_tail());
    assert_eq!(flushed(), 5_000);
    eventually_eq(LIMIT, "every row is stored once", [5_000, 5_000, 4_999], || {
        ["count()", "count_distinct(n)", "max(n)"].map(|what| sum(&table, what))
    });
    let whole = format!(
        "SELECT count() FROM '{table}' WHERE site = 'a,b=c\\' AND note = 'say \"hi\"\n' AND device LIKE 'dev %'"
    );
    assert_eq!(QuestDb::shared().number(&whole), 5_000, "names and strings come through as they were written");
}

#[test]
fn the_questdb_client_is_told_which_row_is_bad() {
    let Listening { daemon, address, table } = listening("questdb_bad");
    let said = clients::python(&["questdb-bad", &address, TOKEN, &table]);
    let error = said[0]["error"].as_str().expect("an error");
    for part in ["error in line 2", "max_future", "code: invalid", "line: 2", "id: forebay-"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(daemon.ledger("rows"), 0, "no row of the request is taken");
    let said = clients::python(&["questdb-bad", &address, "wrong-token-of-some-length", &table]);
    assert!(said[0]["error"].as_str().expect("an error").contains("not the token"), "{said:?}");
}

#[test]
fn the_clients_of_both_generations_of_influxdb_write() {
    let Listening { daemon, address, table } = listening("influx");
    for (client, requests) in [("influx-v2", 2), ("influx-v1", 1)] {
        let table = format!("{table}_{}", client.replace('-', "_"));
        let said = clients::python(&[client, &address, TOKEN, &table]);
        let pings: Vec<_> = said.iter().filter_map(|line| line.get("ping")).collect();
        assert!(pings.iter().all(|ping| **ping == true || ping.to_string().contains("forebay-")), "{said:?}");
        if client == "influx-v2" {
            let probed = said.iter().filter(|line| line["health"] == "pass" && line["bucket"] == "b");
            assert_eq!(probed.count(), requests, "{said:?}");
        } else {
            assert!(said.iter().any(|line| line["databases"][0]["name"] == "d"), "{said:?}");
            let query = said.iter().find_map(|line| line["query"].as_str()).expect("a query is refused");
            assert!(query.contains("answers no queries"), "{query}");
        }
        assert_eq!(said.iter().filter(|line| line["written"] == 500).count(), requests, "{said:?}");
        let errors: Vec<_> = said.iter().filter_map(|line| line["error"].as_str()).collect();
        assert_eq!(errors.len(), requests, "{said:?}");
        assert!(
            errors.iter().all(|error| error.contains("failed to parse line protocol") && error.contains("400")),
            "{errors:?}"
        );
        eventually_eq(LIMIT, "every point is stored", requests as i64 * 500, || sum(&table, "count()"));
        eventually_eq(LIMIT, "with its integer", requests as i64 * 124_750, || sum(&table, "sum(n)"));
    }
    assert_eq!(daemon.ledger("rows"), 1_500);
}

#[test]
fn telegraf_writes_with_both_of_its_outputs() {
    let Listening { daemon, address, table } = listening("telegraf");
    for (output, settings) in [
        ("influxdb_v2", format!("token = \"{TOKEN}\"\norganization = \"o\"\nbucket = \"b\"")),
        ("influxdb", format!("username = \"telegraf\"\npassword = \"{TOKEN}\"")),
    ] {
        let table = format!("{table}_{output}");
        let configuration = daemon.config().with_file_name(format!("{output}.conf"));
        let text = format!(
            "[agent]\nskip_processors_after_aggregators = true\nhostname = \"gateway 7\"\n[[inputs.system]]\nname_override = \"{table}\"\n\
             [[inputs.mem]]\nname_override = \"{table}_mem\"\n[[outputs.{output}]]\nurls = [\"http://{address}\"]\n{settings}\n"
        );
        fs::write(&configuration, text).expect("the configuration");
        let log = clients::telegraf_once(&configuration);
        assert!(!log.contains("E!") && !log.contains("W!"), "{log}");
        // Its input `system` gives three lines of one moment; one row has the fields of all.
        let whole =
            format!("SELECT count() FROM '{table}' WHERE load1 >= 0 AND uptime > 0 AND uptime_format IS NOT NULL");
        eventually_eq(LIMIT, "one row with every field", (1, 1), || {
            QuestDb::shared().settle(&table);
            (QuestDb::shared().count(&table), QuestDb::shared().number(&whole))
        });
        let memory = format!("SELECT count() FROM '{table}_mem' WHERE host = 'gateway 7' AND total > 0");
        eventually_eq(LIMIT, "the other table", 1, || QuestDb::shared().number(&memory));
    }
}
