//! `forebay status`: the daemon's state on one screen.

mod trouble;
mod verdict;

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use super::{
    Failure, Global, block_on,
    document::Document,
    out::{bar, columns, count, emit, human_bytes, span},
};
use crate::{
    control::client::Client,
    mqtt::{Lowered, Shortened},
    tally::Counter,
};

/// Arguments of `status`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
The first line says OK, or what is wrong and what to do; what else is wrong stands below it.
The ledger counts rows since the ring was created: rows = pending + stored + quarantined + dropped + coalesced.

Exit codes: 0 done, 4 the daemon is not reachable")]
pub struct StatusArgs {
    /// Show what goes on inside, too: the ring's marks and commits, and each lane's batches.
    #[arg(long)]
    all: bool,
}

pub fn run(args: &StatusArgs, global: &Global) -> Result<(), Failure> {
    let socket = global.socket_path()?;
    block_on(async {
        let mut client = Client::connect(&socket).await?;
        if global.json {
            let body = client.get("/v1/status").await?;
            return emit(&(String::from_utf8_lossy(&body).into_owned() + "\n"));
        }
        let status: Value = client.get_json("/v1/status").await?;
        emit(&render(&Document(&status), args.all))
    })
}

fn render(status: &Document<'_>, all: bool) -> String {
    let mut screen = Screen(String::new());
    verdict(&mut screen, status);
    let up = span(status.number("/uptime_s") * 1e3);
    let version = status.text("/version").unwrap_or_default();
    screen.line("forebay", &format!("{version}, up {up}, pid {}", status.integer("/pid")));
    clock(&mut screen, status);
    broker(&mut screen, status);
    ring(&mut screen, status, all);
    if let Some(forecast) = status.0.pointer("/forecast/sentence").and_then(Value::as_str) {
        screen.line("forecast", forecast);
    }
    database(&mut screen, status, all);
    latest(&mut screen, status);
    ledger(&mut screen, status);
    if let Some(lag_s) = status.known("/lag_s") {
        screen.more(&waits(lag_s));
    }
    sources(&mut screen, status);
    writes(&mut screen, status);
    counted(&mut screen, status);
    limits(&mut screen, status);
    replaced(&mut screen, status);
    screen.0
}

/// OK, or what is wrong, the worst first.
fn verdict(screen: &mut Screen, status: &Document<'_>) {
    if status.0.as_object().is_none_or(serde_json::Map::is_empty) {
        return;
    }
    let findings = verdict::findings(status);
    let Some((worst, others)) = findings.split_first() else {
        screen.line("OK", "what came in is acknowledged, and goes to QuestDB; nothing is set aside or lost");
        return;
    };
    screen.line("NOT OK", &worst.what);
    screen.remedy(worst);
    for finding in others {
        screen.line("also", &finding.what);
        screen.remedy(finding);
    }
    screen.0.push('\n');
}

/// Age of the oldest row that waits.
fn waits(lag_s: f64) -> String {
    if lag_s > 0.0 { format!("the oldest that waits came {} ago", span(lag_s * 1e3)) } else { "none waits".into() }
}

/// A clock in doubt; a daemon that says nothing of it is older.
fn clock(screen: &mut Screen, status: &Document<'_>) {
    if status.0.pointer("/clock/trusted").and_then(Value::as_bool) == Some(false) {
        screen.line(
            "clock",
            "not known to be right: no time service keeps it so far; no reading is refused for its time",
        );
    }
}

fn broker(screen: &mut Screen, status: &Document<'_>) {
    let broker = status.at("/broker");
    let state = broker.text("/state").unwrap_or_default();
    let (waiting, held) = (broker.count("/unacknowledged"), broker.count("/held"));
    let rate = status.number("/rates/messages_per_s");
    screen.line("broker", &format!("{state}; {rate:.0} messages/s; {waiting} unacknowledged, {held} held back"));
    let (waits_for, latency) = (status.text("/acks_wait_for").unwrap_or_default(), broker.latency("/ack_latency_us"));
    let acknowledged = broker.count("/acknowledged");
    screen.more(&format!(
        "{acknowledged} acknowledged once {waits_for}: {latency}; {} since the start",
        verdict::plural(broker.integer("/connects"), "connection")
    ));
    if let Some(error) = broker.text("/error") {
        screen.more(&error);
    }
    let lowered = broker.0["lowered"].as_array().cloned().unwrap_or_default();
    for of in lowered.into_iter().filter_map(|of| serde_json::from_value::<Lowered>(of).ok()) {
        screen.more(&super::out::tame(&of.to_string()));
    }
    if let Ok(Some(shortened)) = serde_json::from_value::<Option<Shortened>>(broker.0["shortened"].clone()) {
        screen.more(&shortened.to_string());
    }
}

fn ring(screen: &mut Screen, status: &Document<'_>, all: bool) {
    let ring = status.at("/ring");
    if ring.0.is_null() {
        return screen.line("ring", "being recovered");
    }
    let fill = ring.number("/fill");
    let pending = human_bytes(ring.integer("/pending_bytes"));
    let size = human_bytes(ring.integer("/size_bytes"));
    screen.line("ring", &format!("[{}] {:.1} % of {size}; {pending} wait for QuestDB", bar(fill), fill * 100.0));
    if all {
        let marks = ["tail", "safe", "settled", "durable", "appended"];
        let marks = marks.map(|mark| format!("{mark} {}", ring.count(&format!("/{mark}")))).join(" ≤ ");
        screen.more(&marks);
        screen.more(&format!("{} commits: {}", ring.count("/commit_us/count"), ring.latency("/commit_us")));
    }
    if ring.integer("/held_rows") > 0 {
        screen.more(&format!("{} rows are held back until their time is known", ring.count("/held_rows")));
    }
    if ring.flag("/full") {
        screen.more(&format!("FULL, on_full = {}", ring.text("/on_full").unwrap_or_default()));
    }
    if let Some(why) = ring.text("/poisoned") {
        screen.more(&format!("POISONED: {why}"));
    }
    for gap in ring.each("/gaps") {
        screen.more(&format!("damage found at start: records {} to {} are lost", gap.integer("/0"), gap.integer("/1")));
    }
    if ring.integer("/refused_messages") > 0 {
        screen.more(&format!("{} messages were turned away while the ring was full", ring.count("/refused_messages")));
    }
    if ring.integer("/dropped_letters") > 0 {
        screen.more(&format!(
            "dropped since start: {} messages that could not become rows, which the quarantine did not take",
            ring.count("/dropped_letters")
        ));
    }
    for dropped in ring.each("/dropped_by_table") {
        let table = dropped.text("/0").unwrap_or_default();
        screen.more(&format!("dropped since start from {table}: {} rows", dropped.count("/1")));
    }
}

fn database(screen: &mut Screen, status: &Document<'_>, all: bool) {
    let flush = status.at("/flush");
    let (state, delivery) = (flush.text("/database").unwrap_or_default(), flush.text("/delivery").unwrap_or_default());
    screen.line("database", &format!("{state}; {delivery}; {:.0} rows/s stored", status.number("/rates/stored_per_s")));
    if let Some(error) = flush.text("/error") {
        screen.more(&error);
    }
    trouble::trouble(screen, &flush);
    for lane in flush.each("/lanes").filter(|_| all) {
        let (rows, linger) = (lane.count("/batch_rows"), span(lane.number("/linger_ms")));
        let reason = lane.0.pointer("/reason").and_then(Value::as_str).unwrap_or_default();
        screen.line(&format!("lane {}", lane.integer("/lane")), &format!("{rows} rows or {linger}: {reason}"));
        let (sent, took) = (lane.count("/last_rows"), span(lane.number("/last_ms")));
        let (flushes, failures) = (lane.count("/flushes"), lane.count("/failures"));
        let breaker = lane.text("/breaker").unwrap_or_default();
        let timeout = span(lane.number("/timeout_ms"));
        screen.more(&format!(
            "last {sent} rows in {took}; {flushes} flushes, {failures} failed; breaker {breaker}, time-out {timeout}"
        ));
        trouble::lane(screen, &lane);
    }
    let quarantine = flush.at("/quarantine");
    let (entries, lost) = (quarantine.count("/entries"), quarantine.count("/pushed_out"));
    screen.line("quarantine", &format!("{entries} entries, {lost} pushed out"));
    for reason in quarantine.each("/reasons") {
        screen.more(&format!("{} × {}", reason.count("/1"), reason.text("/0").unwrap_or_default()));
    }
}

fn latest(screen: &mut Screen, status: &Document<'_>) {
    let latest = status.at("/latest");
    let (series, most, evicted) = (latest.count("/series"), latest.count("/max_series"), latest.count("/evicted"));
    let (late, watchers) = (latest.count("/late"), latest.count("/watchers"));
    screen.line(
        "latest",
        &format!("{series} of {most} series, {evicted} evicted; {late} late readings; {watchers} watchers"),
    );
}

/// What came as line protocol, if anything did.
fn writes(screen: &mut Screen, status: &Document<'_>) {
    let writes = status.at("/writes");
    let refused: u64 = ["/malformed", "/full", "/unauthorized", "/refused"].iter().map(|of| writes.integer(of)).sum();
    if refused + writes.integer("/requests") == 0 {
        return;
    }
    let (requests, rows) = (writes.count("/requests"), writes.count("/rows"));
    screen.line("written", &format!("{requests} requests, {rows} rows: {}", writes.latency("/latency_us")));
    if refused > 0 {
        let [malformed, full, unauthorized, other] =
            ["/malformed", "/full", "/unauthorized", "/refused"].map(|of| writes.count(of));
        screen.more(&format!(
            "refused: {malformed} malformed, {full} with the ring full, {unauthorized} without the token, {other} others"
        ));
    }
}

/// What is counted by source, if anything.
fn counted(screen: &mut Screen, status: &Document<'_>) {
    let mut heading = "counted";
    for source in status.each("/ring/counted") {
        let numbers = Counter::IN_USE.map(|counter| (counter.word(), source.integer(&format!("/{}", counter.word()))));
        let told: Vec<String> = numbers
            .iter()
            .filter(|(_, number)| *number > 0)
            .map(|(word, number)| format!("{} {word}", count(*number)))
            .collect();
        if !told.is_empty() {
            let name = source.text("/source").filter(|name| !name.is_empty()).unwrap_or_else(|| "no source".into());
            screen.line(heading, &format!("{name}: {} since the ring was created", told.join(", ")));
            heading = "";
        }
    }
}

/// Rows that took the place of others, if there were any.
fn replaced(screen: &mut Screen, status: &Document<'_>) {
    for (number, of) in status.each("/replaced").enumerate() {
        let text = |path| of.text(path).unwrap_or_default();
        let mut told = format!(
            "{} of {}: {} rows replaced by others of the same time and symbols, {} too old to be compared, since start",
            text("/table"),
            text("/source"),
            of.count("/replaced"),
            of.count("/uncompared")
        );
        if let Some(member) = of.text("/differing_member") {
            let _ = write!(told, "; {member:?} may be missing from its symbols");
        }
        screen.line(if number == 0 { "replaced" } else { "" }, &told);
    }
}

/// What the limits left out, if anything.
fn limits(screen: &mut Screen, status: &Document<'_>) {
    for (number, limit) in status.each("/limits").enumerate() {
        let text = |path| limit.text(path).unwrap_or_default();
        let (fields, rows) = (limit.count("/fields"), limit.count("/rows"));
        let heading = if number == 0 { "limits" } else { "" };
        screen.line(
            heading,
            &format!("{} of {}: {fields} values and {rows} rows left out since start", text("/limit"), text("/source")),
        );
    }
}

fn ledger(screen: &mut Screen, status: &Document<'_>) {
    let ledger = status.at("/ledger");
    let parts = ["pending", "stored", "quarantined", "dropped", "coalesced"];
    let sum: u64 = parts.map(|part| ledger.integer(&format!("/{part}"))).iter().sum();
    let listed = parts.map(|part| format!("{} {part}", ledger.count(&format!("/{part}")))).join(" + ");
    let rows = ledger.integer("/rows");
    let verdict =
        if sum == rows { "balances".into() } else { format!("DOES NOT BALANCE: they add up to {}", count(sum)) };
    screen.line("rows", &format!("{} = {listed}; {verdict}", count(rows)));
    let (messages, letters) = (ledger.integer("/messages"), ledger.count("/dead_letters"));
    let each = if messages == 0 { 0.0 } else { rows as f64 / messages as f64 };
    screen.line("messages", &format!("{}, {letters} of them dead letters; {each:.2} rows a message", count(messages)));
}

fn sources(screen: &mut Screen, status: &Document<'_>) {
    let rows: Vec<[String; 7]> = status
        .each("/sources")
        .map(|source| {
            let text = |path| source.text(path).unwrap_or_else(|| "–".into());
            let numbers = ["/messages", "/rows", "/dead_letters", "/refused_rows"].map(|path| source.count(path));
            let [messages, rows, letters, refused] = numbers;
            let last = text("/last_received") + if source.flag("/silent") { " (silent)" } else { "" };
            [text("/name"), text("/topic"), messages, rows, letters, refused, last]
        })
        .collect();
    if !rows.is_empty() {
        let table =
            columns(["SOURCE", "TOPIC", "MESSAGES", "ROWS", "DEAD LETTERS", "REFUSED ROWS", "LAST RECEIVED"], &rows);
        screen.0.push('\n');
        screen.0.push_str(&table);
    }
}

/// Lines with a heading in front.
struct Screen(String);

impl Screen {
    fn line(&mut self, heading: &str, text: &str) {
        let _ = writeln!(self.0, "{heading:10}  {text}");
    }

    fn more(&mut self, text: &str) {
        self.line("", text);
    }

    fn remedy(&mut self, finding: &verdict::Finding) {
        if !finding.remedy.is_empty() {
            self.more(&format!("→ {}", finding.remedy));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_ledger_says_whether_it_balances() {
        let mut status =
            json!({ "ledger": { "rows": 1_010, "pending": 3, "stored": 1_000, "quarantined": 7, "messages": 505 } });
        let text = render(&Document(&status), true);
        assert!(
            text.contains("1,010 = 3 pending + 1,000 stored + 7 quarantined + 0 dropped + 0 coalesced; balances"),
            "{text}"
        );
        assert!(text.contains("2.00 rows a message"), "{text}");
        status["ledger"]["dropped"] = 1.into();
        assert!(render(&Document(&status), true).contains("DOES NOT BALANCE: they add up to 1,011"));
    }

    #[test]
    fn the_lag_is_told_where_the_daemon_tells_it() {
        let lag = |lag_s: f64| render(&Document(&json!({ "lag_s": lag_s })), true);
        assert!(lag(312.4).contains("the oldest that waits came 5 min ago"), "{}", lag(312.4));
        assert!(lag(0.0).contains("none waits"));
        assert!(!render(&Document(&json!({})), true).contains("wait"), "an older daemon");
    }

    #[test]
    fn what_the_limits_leave_out_is_told() {
        let limit = json!({ "source": "plant", "limit": "columns_per_table", "fields": 1_700, "rows": 2 });
        let text = render(&Document(&json!({ "limits": [limit] })), true);
        let line = "limits      columns_per_table of plant: 1,700 values and 2 rows left out since start";
        assert!(text.contains(line), "{text}");
        assert!(!render(&Document(&json!({})), true).contains("limits"));
    }

    #[test]
    fn replaced_rows_are_told_with_the_likely_cause() {
        let of =
            json!({ "source": "plant", "table": "s", "replaced": 1_200, "uncompared": 3, "differing_member": "id" });
        let text = render(&Document(&json!({ "replaced": [of] })), true);
        let told: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let line = "replaced s of plant: 1,200 rows replaced by others of the same time and symbols, 3 too old to be compared, since start; \
                    \"id\" may be missing from its symbols";
        assert!(told.contains(line), "{text}");
    }

    #[test]
    fn a_clock_in_doubt_is_told() {
        let of = |trusted: bool| render(&Document(&json!({ "clock": { "trusted": trusted } })), true);
        assert!(of(false).contains("clock       not known to be right"), "{}", of(false));
        assert!(!of(true).contains("clock") && !render(&Document(&json!({})), true).contains("clock"));
    }

    #[test]
    fn an_empty_document_still_makes_a_screen() {
        let text = render(&Document(&json!({})), true);
        assert!(text.contains("being recovered"), "{text}");
    }

    #[test]
    fn trouble_stands_out() {
        let status = json!({
            "forecast": { "sentence": "full; the backlog does not shrink" },
            "ring": { "fill": 0.5, "full": true, "on_full": "block", "poisoned": "sync failed", "gaps": [[3, 9]] },
            "flush": { "lanes": [{ "lane": 0, "batch_rows": 500, "linger_ms": 12.0, "reason": "backlog" }], "warnings": ["no dedup"] },
        });
        let text = render(&Document(&status), true);
        for part in [
            "NOT OK      the ring has failed, and nothing is acknowledged: sync failed",
            "############............",
            "forecast    full; the backlog does not shrink",
            "FULL, on_full = block",
            "POISONED: sync failed",
            "records 3 to 9",
            "500 rows or 12 ms: backlog",
            "no dedup",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
