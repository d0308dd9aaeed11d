//! The metrics page, the alerts and the dashboard, judged by Prometheus itself.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use crate::support::{
    Daemon, DaemonBuilder, Load, Mosquitto, QuestDb, Readings, eventually, eventually_eq, eventually_some, heavy,
    http::{get, get_accepting},
    process::free_port,
    prometheus::{Prometheus, promtool},
    unique,
};

const LIMIT: Duration = Duration::from_secs(60);
/// Metrics without a sample while there is nothing to tell: the forecast's, which `forecast.rs` looks at.
const NOT_ALWAYS: [&str; 5] = [
    "forebay_ring_full_in_seconds",
    "forebay_ring_drained_in_seconds",
    "forebay_ring_outage_covered_seconds",
    // Those with tables come with the first row of one that was replaced.
    "forebay_table_replaced_rows_total",
    "forebay_table_uncompared_rows_total",
];

fn is_always(name: &str) -> bool {
    !NOT_ALWAYS.contains(&name)
}

fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

struct Stage {
    daemon: Daemon,
    /// Port of its loopback listener.
    port: u16,
    load: Load,
    _broker: Mosquitto,
}

/// A daemon that takes readings in and stores them.
fn stage() -> Stage {
    let (broker, questdb, port) = (Mosquitto::start(), QuestDb::shared(), free_port());
    let readings = Readings::new(unique("monitoring"), 20);
    let daemon = DaemonBuilder::new()
        .servers(&broker, questdb)
        .source(&readings)
        .set("control.listen", format!("127.0.0.1:{port}"))
        .set("latest.republish_topic", "again/{table}/{symbols...}")
        .set(&format!("source.{}.silent_after", readings.name), "1h")
        .start();
    daemon.wait_subscribed();
    let load = Load::start(&readings, broker.port, 500);
    eventually(LIMIT, "rows are stored", || daemon.ledger("stored") > 100);
    Stage { daemon, port, load, _broker: broker }
}

/// Names of the families on a page of the older format.
fn families(page: &str) -> BTreeSet<String> {
    let names = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    names.map(str::to_owned).collect()
}

/// How the names of the page's metrics begin.
const PREFIXES: [&str; 2] = ["forebay_", "process_"];

fn is_of_the_page(name: &str) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Names of the page's metrics in a text; the parts of a histogram by the histogram's name.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names = words.filter(|word| is_of_the_page(word));
    let part =
        |name: &str| ["_bucket", "_sum", "_count"].iter().find_map(|end| Some(name.strip_suffix(end)?.to_owned()));
    names.map(|name| part(name).unwrap_or_else(|| name.to_owned())).collect()
}

/// The rules without their sentences, in which commands are named. An expression of several lines
/// begins with `>-` and is indented.
fn rule_expressions(rules: &str) -> Vec<String> {
    let mut lines = rules.lines().peekable();
    let mut expressions = Vec::new();
    while let Some(line) = lines.next() {
        let Some((indent, first)) = line.split_once("expr: ") else { continue };
        let mut expression = first.to_owned();
        let is_deeper = |line: &&str| line.starts_with(&format!("{indent}  "));
        while let Some(more) = lines.next_if(|line| first == ">-" && is_deeper(line)) {
            expression = format!("{expression} {}", more.trim());
        }
        expressions.push(expression);
    }
    expressions
}

fn dashboard() -> Value {
    serde_json::from_str(&read("conf/grafana/forebay.json")).expect("the dashboard is JSON")
}

/// Panel title and query, with the variables filled in.
fn dashboard_queries() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut queries = Vec::new();
    for panel in panels {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().expect("a query");
            let query = query.replace("$job", "forebay").replace("$instance", ".*").replace("$__rate_interval", "10s");
            assert!(!query.contains('$'), "a variable is left: {query}");
            queries.push((panel["title"].as_str().expect("a title").to_owned(), query));
        }
    }
    queries
}

#[test]
fn promtool_finds_nothing_wrong_with_the_page() {
    let stage = stage();
    let page = stage.daemon.request("GET", "/metrics", "").expect("answers").body;
    let (content, said) = promtool(&["check", "metrics"], &page);
    assert!(content && said.trim().is_empty(), "{said}\n{page}");
    let (content, said) = promtool(&["check", "metrics"], &page.replace("forebay_rows_total", "forebay_rows"));
    assert!(!content && said.contains("_total"), "it does look: {said}");

    let value = |name: &str| {
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok());
        value.unwrap_or_else(|| panic!("{name} is on the page:\n{page}"))
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    assert!((now - 600.0..now + 2.0).contains(&value("process_start_time_seconds")), "it has just started");
    assert!(value("process_cpu_seconds_total") > 0.0 && value("process_threads") > 1.0, "it runs");
    assert!((3.0..=value("process_max_fds")).contains(&value("process_open_fds")), "it has files open");
    assert!((1.0..value("process_virtual_memory_bytes")).contains(&value("process_resident_memory_bytes")));

    let open = get_accepting(stage.port, "/metrics", "application/openmetrics-text;version=1.0.0").expect("answers");
    assert!(
        open.body.ends_with("# EOF\n") && open.body.contains("# UNIT forebay_lag_seconds seconds"),
        "{}",
        open.body
    );
    assert!(!get(stage.port, "/metrics", None).expect("answers").body.contains("# EOF"), "only when asked for");
}

#[test]
fn every_metric_is_documented_and_what_is_documented_is_there() {
    let stage = stage();
    let page = || families(&stage.daemon.request("GET", "/metrics", "").expect("answers").body);
    let rows = read("docs/monitoring.md");
    let documented: BTreeSet<String> =
        rows.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned())).collect();
    let documented: BTreeSet<String> = documented.into_iter().filter(|name| is_of_the_page(name)).collect();
    // The forecast needs some seconds of history for its rates.
    eventually_eq(LIMIT, "what is in docs/monitoring.md and not on the page", BTreeSet::new(), || {
        let page = page();
        documented.iter().filter(|name| is_always(name) && !page.contains(*name)).cloned().collect()
    });
    assert_eq!(&page() - &documented, BTreeSet::new(), "on the page and not in docs/monitoring.md");
    let dashboard = dashboard().to_string();
    let rules = rule_expressions(&read("conf/alerts/forebay.rules.yml")).join("\n");
    for end in ["quarantined_total", "source_dead_letters_total", "source_last_message_age_seconds"] {
        assert!(rules.contains(end), "expressions of several lines are read to their end: {end}");
    }
    for (file, names) in [("dashboard", named(&dashboard)), ("rules", named(&rules))] {
        let unknown: Vec<String> = (&names - &documented).into_iter().filter(|name| is_always(name)).collect();
        assert!(unknown.is_empty(), "the {file} name what is not there: {unknown:?}");
    }
    assert!(named(&rules).len() > 10 && named(&dashboard).len() > 40, "the names are found at all");
}

#[test]
fn each_alert_is_shown_firing_and_not_firing() {
    let (rules, tests) = (file("conf/alerts/forebay.rules.yml"), file("conf/alerts/forebay.test.yml"));
    for arguments in [["check", "rules", rules.to_str().unwrap()], ["test", "rules", tests.to_str().unwrap()]] {
        let (content, said) = promtool(&arguments, "");
        assert!(content, "{arguments:?}: {said}");
    }
    let tests = read("conf/alerts/forebay.test.yml");
    let checks: Vec<&str> = tests.split("alertname: ").skip(1).collect();
    let rules = read("conf/alerts/forebay.rules.yml");
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        let of = |fires: bool| {
            let mine = checks.iter().filter(|check| check.lines().next().is_some_and(|name| name.trim() == alert));
            mine.filter(|check| check.contains("exp_labels") == fires).count()
        };
        assert!(of(true) > 0 && of(false) > 0, "{alert} is shown firing {} times, not firing {}", of(true), of(false));
    }
}

#[test]
fn the_dashboard_shows_what_prometheus_scraped_and_no_alert_fires_in_health() {
    let _alone = heavy();
    let stage = stage();
    let prometheus = Prometheus::start(stage.port, &file("conf/alerts/forebay.rules.yml"));
    let sample = |query: &str| prometheus.query(query).first().map(|sample| sample["value"][1].clone());
    eventually_eq(LIMIT, "Prometheus reaches the daemon", Some("1".into()), || sample("up{job=\"forebay\"}"));
    let queries = dashboard_queries();
    assert!(queries.len() > 40, "{} queries", queries.len());
    for (panel, query) in queries {
        if named(&query).iter().all(|name| !is_always(name)) && !named(&query).is_empty() {
            prometheus.query(&query);
        } else {
            eventually(LIMIT, &format!("the panel {panel:?} has data: {query}"), || {
                !prometheus.query(&query).is_empty()
            });
        }
    }
    for rule in prometheus.get("/api/v1/rules")["data"]["groups"][0]["rules"].as_array().expect("rules") {
        assert_eq!((&rule["health"], &rule["state"]), (&"ok".into(), &"inactive".into()), "{rule}");
    }
    // The same rules do notice when something is wrong with this very daemon.
    drop(stage.load);
    let mut daemon = stage.daemon;
    daemon.kill9();
    eventually(LIMIT, "the daemon's end is noticed", || {
        prometheus.get("/api/v1/rules")["data"]["groups"][0]["rules"][0]["state"] == "pending"
    });
}

#[test]
fn the_lag_grows_with_an_outage_and_is_gone_after_it() {
    let (broker, mut questdb) = (Mosquitto::start(), QuestDb::start());
    let readings = Readings::new(unique("lag"), 5);
    let daemon = DaemonBuilder::new().servers(&broker, &questdb).source(&readings).start();
    daemon.wait_subscribed();
    let load = Load::start(&readings, broker.port, 200);
    eventually(LIMIT, "rows are stored", || daemon.ledger("stored") > 100);
    let lag = || {
        let page = daemon.request("GET", "/metrics", "").expect("answers").body;
        let value = page.lines().find_map(|line| line.strip_prefix("forebay_lag_seconds "));
        value.and_then(|value| value.parse::<f64>().ok()).expect("the lag is on the page")
    };
    assert!(lag() < 5.0, "the database keeps up: {}", lag());
    questdb.kill9();
    let began = Instant::now();
    let grown = eventually_some(LIMIT, "the lag grows", || Some(lag()).filter(|lag| *lag > 6.0));
    assert!(grown <= began.elapsed().as_secs_f64() + 2.0, "no more than the outage has lasted: {grown} s");
    questdb.restart();
    let published = load.finish();
    daemon.wait_drained(published, LIMIT);
    assert!(lag() < 0.1, "nothing waits: {}", lag());
}
