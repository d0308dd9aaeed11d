//! The first line of `forebay status`: OK, or what is wrong and what to do about it. Pure.

use crate::{
    cli::{
        document::Document,
        out::{count, human_bytes, plural, span},
    },
    flush::quarantine::advice::advice_for,
    mqtt::{Lowered, Shortened},
    settings::OnFull,
    shown::harmless,
};

/// A disk with a smaller share of free space is full.
const LEAST_FREE: f64 = 0.005;

/// Something that a person has to know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// What is wrong, the worst first; nothing where all is well.
pub fn findings(status: &Document<'_>) -> Vec<Finding> {
    let mut found = Findings(Vec::new());
    ring(&mut found, status);
    broker(&mut found, status);
    intake(&mut found, status);
    database(&mut found, status);
    set_aside(&mut found, status);
    clock(&mut found, status);
    disk(&mut found, status);
    warnings(&mut found, status);
    found.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Finding { what: what.into(), remedy: remedy.into() });
    }
}

/// `1 row waits`, `2 rows wait`.
pub fn waits(rows: u64) -> String {
    format!("{} {}", plural(rows, "row"), if rows == 1 { "waits" } else { "wait" })
}

/// `, for 5 min now`, where it is known for how long.
fn lasting(status: &Document<'_>, path: &str) -> String {
    let lasted = status.known(path).filter(|lasted_s| *lasted_s >= 1.0);
    lasted.map_or(String::new(), |lasted_s| format!(", for {} now", span(lasted_s * 1e3)))
}

fn ring(found: &mut Findings, status: &Document<'_>) {
    let ring = status.at("/ring");
    if let Some(why) = ring.sentence("/poisoned") {
        found.add(
            format!("the ring has failed, and nothing is acknowledged: {why}"),
            "look at the disk; the next start recovers what was acknowledged",
        );
    }
    if let Some(why) = ring.sentence("/halted") {
        found.add(
            format!("nothing is taken in or acknowledged: {why}"),
            "bring the file back under its name, or stop forebay",
        );
    }
    if ring.flag("/full") {
        let on_full: OnFull = serde_json::from_value(ring.0["on_full"].clone()).unwrap_or_default();
        let consequence = on_full.consequence();
        let what = format!("the ring is full{}: {consequence}", lasting(status, "/trouble/ring_full_s"));
        found.add(what, "bring the database back, or make the ring larger (forebay ring size)");
    }
    let dropped = status.integer("/ledger/dropped");
    if dropped > 0 {
        let rows = plural(dropped, "row");
        found.add(
            format!("{rows} never reached QuestDB: dropped for want of room, or lost to damage"),
            "the ring was too small for an outage (forebay ring size), or its disk is failing",
        );
    }
    for (path, what) in [
        ("/ring/refused_messages", "turned away while the ring was full: they are lost"),
        ("/broker/qos0_dropped", "of QoS 0 lost, since the ring was full or not all could be held"),
        ("/ring/dropped_letters", "that could not become rows lost, which the quarantine did not take"),
    ] {
        if status.integer(path) > 0 {
            found.add(
                format!("{} {what}", plural(status.integer(path), "message")),
                "the ring was too small for an outage (forebay ring size), or the disk of the quarantine is full",
            );
        }
    }
    for gap in ring.each("/gaps") {
        let (first, last) = (count(gap.integer("/0")), count(gap.integer("/1")));
        found.add(format!("damage in the ring: records {first} to {last} are lost"), "replace the disk");
    }
}

fn broker(found: &mut Findings, status: &Document<'_>) {
    let broker = status.at("/broker");
    if broker.0.is_object() && !broker.flag("/connected") {
        let error = broker.sentence("/error").unwrap_or_default();
        let (why, remedy) = error.split_once("; ").unwrap_or((&error, "check [mqtt] url, the broker and the line"));
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        found.add(
            format!("no connection to the broker{}{why}", lasting(status, "/trouble/broker_s")),
            format!("{remedy} (forebay check --connect tries it)"),
        );
    }
    for notice in notices(&broker) {
        let (what, remedy) = notice.split_once("; ").unwrap_or((&notice, ""));
        found.add(what, remedy);
    }
}

/// Nothing that is configured brings anything in, and nothing has come another way.
fn intake(found: &mut Findings, status: &Document<'_>) {
    let has_no_source = status.0["sources"].as_array().is_some_and(Vec::is_empty);
    let is_unused = status.at("/ring").0.is_object() && status.integer("/ledger/rows") == 0;
    if has_no_source && is_unused && status.integer("/writes/requests") == 0 {
        found.add(
            "no source is configured: nothing is taken from the broker",
            "forebay init listens at the broker and proposes some; forebay device ls lists ready-made ones",
        );
    }
}

/// What the broker grants less of than it was asked for.
pub fn notices(broker: &Document<'_>) -> Vec<String> {
    let lowered = broker.0["lowered"].as_array().cloned().unwrap_or_default();
    let lowered = lowered.into_iter().filter_map(|of| serde_json::from_value::<Lowered>(of).ok());
    let shortened = serde_json::from_value::<Option<Shortened>>(broker.0["shortened"].clone()).ok().flatten();
    let told = lowered.map(|of| of.to_string()).chain(shortened.map(|of| of.to_string()));
    told.map(|text| harmless(&text).into_owned()).collect()
}

/// What a state of the database means, and what its error begins with; none where nobody has to do
/// something about it: batches follow a slow one.
fn state_of_database(state: &str) -> Option<(&'static str, &'static str)> {
    Some(match state {
        "" | "ok" | "slow" | "connecting" => return None,
        "unreachable" => ("QuestDB does not answer", "QuestDB is not reachable: "),
        "refused" => ("QuestDB refuses the credentials", "QuestDB refuses the credentials"),
        "overloaded" => ("QuestDB answers that it cannot now", ""),
        "lagging" => ("QuestDB takes rows faster than it applies them", ""),
        "blocked" => ("some rows cannot go to QuestDB", ""),
        "misconfigured" => ("QuestDB cannot be used as it is configured", ""),
        _ => ("something is wrong with QuestDB", ""),
    })
}

fn database(found: &mut Findings, status: &Document<'_>) {
    let flush = status.at("/flush");
    suspended(found, &flush);
    let state = flush.text("/database").unwrap_or_default();
    let Some((what, known)) = state_of_database(&state).filter(|_| state != "suspended") else { return };
    let error = flush.sentence("/error").unwrap_or_default();
    let error = error.strip_prefix(known).map_or(error.as_str(), without_remedy);
    let why = if error.is_empty() { String::new() } else { format!(" ({error})") };
    let is_whole = status.integer("/ledger/dropped") == 0 && !status.flag("/ring/full");
    let lost = if is_whole { "; nothing is lost" } else { "" };
    found.add(
        format!("{what}{}{why}{lost}{}", lasting(status, "/trouble/database_s"), waiting(status)),
        flush.sentence("/advice").unwrap_or_else(|| "check the database and the line to it".into()),
    );
}

/// What is left of an error behind its first words: without a remedy in brackets, which the advice
/// has, too.
fn without_remedy(rest: &str) -> &str {
    let rest = rest.strip_prefix(" (").and_then(|rest| rest.split_once(')')).map_or(rest, |(_, rest)| rest);
    rest.trim_start_matches([':', ' '])
}

/// How much waits for the database, and for how long there is room.
fn waiting(status: &Document<'_>) -> String {
    let rows = status.integer("/ledger/pending");
    if rows == 0 {
        return "; no row waits".to_owned();
    }
    let age = status.known("/lag_s").filter(|lag| *lag > 0.0);
    let age = age.map(|lag| format!(", the oldest for {}", span(lag * 1e3))).unwrap_or_default();
    let room = status.known("/forecast/full_in_s").filter(|left| *left >= 1.0);
    let room = room.map(|left| format!("; there is room for {} more", span(left * 1e3))).unwrap_or_default();
    format!("; {} in the ring{age}{room}", waits(rows))
}

/// Tables that QuestDB takes rows of and shows none.
fn suspended(found: &mut Findings, flush: &Document<'_>) {
    for table in flush.each("/wal/tables").filter(|table| table.flag("/suspended")) {
        let name = table.text("/table").unwrap_or_default();
        let why = table.sentence("/error").map(|why| format!(" ({why})")).unwrap_or_default();
        let transactions = plural(table.integer("/pending_transactions"), "transaction");
        found.add(
            format!(
                "QuestDB has suspended table {name}{why}: it takes its rows and shows none of the new ones; nothing is lost: {transactions} \
                 in the table's write-ahead log so far"
            ),
            format!("remove the cause, then run in QuestDB: {}", resume(&name)),
        );
    }
}

fn resume(table: &str) -> String {
    format!("ALTER TABLE \"{table}\" RESUME WAL")
}

/// What the daemon itself warns of and nothing else here tells.
fn warnings(found: &mut Findings, status: &Document<'_>) {
    for warning in status.each("/warnings").chain(status.each("/flush/warnings")) {
        let text = warning.sentence("").unwrap_or_default();
        // What stands above in other words, and what the daemon says twice.
        let is_told = text.starts_with("the ring is full")
            || text.starts_with("the ring is poisoned")
            || text.starts_with("nothing is taken in or acknowledged")
            || text.starts_with("damage: ")
            || found.0.iter().any(|finding| finding.what == text || has_statement(&finding.remedy, &text));
        if !is_told {
            found.add(text, "");
        }
    }
}

/// Whether the remedy's statement stands in the text.
fn has_statement(remedy: &str, text: &str) -> bool {
    remedy.split_once("run in QuestDB: ").is_some_and(|(_, statement)| text.contains(statement))
}

fn set_aside(found: &mut Findings, status: &Document<'_>) {
    let quarantine = status.at("/flush/quarantine");
    let entries = quarantine.integer("/entries");
    if entries > 0 {
        let most = quarantine.each("/reasons").next().and_then(|reason| reason.sentence("/0"));
        let advice = most.as_deref().and_then(advice_for).map(|advice| format!("{advice} ")).unwrap_or_default();
        let most = most.map(|why| format!("; the most frequent reason: {why}")).unwrap_or_default();
        let noun = if entries == 1 { "message or row is" } else { "messages and rows are" };
        found.add(
            format!("{} {noun} set aside{most}", count(entries)),
            format!("{advice}All of it: forebay quarantine ls --summary"),
        );
    }
    for source in status.each("/ring/counted") {
        let (name, unmatched) = (source.text("/source").unwrap_or_default(), source.integer("/unmatched"));
        // Those of a source are what it leaves out on purpose.
        if name.is_empty() && unmatched > 0 {
            found.add(
                format!("{} fit no source's topic", plural(unmatched, "message")),
                "give them a [source], or narrow the pattern that brings them",
            );
        }
    }
    for of in status.each("/replaced").filter(|of| of.integer("/replaced") > 0) {
        let [table, source] = ["/table", "/source"].map(|path| of.text(path).unwrap_or_default());
        let remedy = match of.text("/differing_member") {
            Some(member) => format!("{member:?} may be missing from the symbols of source.{source}"),
            None => format!(
                "source.{source} may lack a symbol, or its device repeats its times (docs/values.md: same_time)"
            ),
        };
        let rows = plural(of.integer("/replaced"), "row");
        found.add(
            format!("{rows} of table {table} replaced by others of the same time and symbols since start"),
            remedy,
        );
    }
    for limit in status.each("/limits") {
        let [name, source] = ["/limit", "/source"].map(|path| limit.text(path).unwrap_or_default());
        let (values, rows) = (plural(limit.integer("/fields"), "value"), plural(limit.integer("/rows"), "row"));
        found.add(
            format!("{values} and {rows} of {source} left out since start for [limits] {name}"),
            "raise the limit if the names are real columns; else leave the members out",
        );
    }
}

fn clock(found: &mut Findings, status: &Document<'_>) {
    let held = status.integer("/ring/held_rows");
    if held > 0 {
        found.add(
            format!("{} until this machine knows the time", waits(held)),
            "start a time service, such as systemd-timesyncd or chrony",
        );
    }
}

/// A full disk: forebay's files have had all their space from the start, others' have not.
fn disk(found: &mut Findings, status: &Document<'_>) {
    let room = |name: &str| status.known(&format!("/machine/ring_disk_{name}"));
    let Some((free, size)) = room("free_bytes").zip(room("bytes")) else { return };
    if free < size * LEAST_FREE {
        found.add(
            format!("the disk of the ring is full ({} free)", human_bytes(free as u64)),
            "forebay goes on, since its files have all their space; other programs on that disk, such as QuestDB, may not: free some",
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(status: &Value) -> Vec<String> {
        findings(&Document(status)).into_iter().map(|finding| finding.what).collect()
    }

    fn sound() -> Value {
        json!({
            "ring": { "full": false, "held_rows": 0, "counted": [{ "source": "s", "unmatched": 7 }] },
            "broker": { "connected": true },
            "flush": { "database": "ok", "quarantine": { "entries": 0, "reasons": [] }, "warnings": [] },
            "ledger": { "rows": 5, "dropped": 0 },
        })
    }

    #[test]
    fn nothing_is_wrong_where_all_is_well() {
        assert_eq!(told(&sound()), Vec::<String>::new());
        assert_eq!(told(&json!({})), Vec::<String>::new(), "an older daemon, or one that recovers its ring");
    }

    #[test]
    fn a_daemon_that_takes_nothing_in_is_told_until_something_came() {
        let mut status = sound();
        status["sources"] = json!([]);
        assert_eq!(told(&status), Vec::<String>::new(), "rows came by /write, or before");
        status["ledger"]["rows"] = json!(0);
        assert_eq!(told(&status), ["no source is configured: nothing is taken from the broker"]);
        status["sources"] = json!([{ "name": "s" }]);
        assert_eq!(told(&status), Vec::<String>::new());
    }

    #[test]
    fn each_kind_of_trouble_is_told_the_worst_first() {
        let mut status = sound();
        status["clock"] = json!({ "trusted": false });
        status["trouble"] = json!({ "broker_s": 10_800.0, "database_s": 7_200.0, "ring_full_s": 0.5 });
        status["ring"] = json!({
            "poisoned": "sync failed", "full": true, "on_full": "block", "held_rows": 1,
            "gaps": [[3, 9]], "counted": [{ "source": "", "unmatched": 2 }],
        });
        status["broker"] = json!({ "connected": false, "error": "connection refused" });
        status["flush"] = json!({
            "database": "unreachable", "error": "QuestDB is not reachable: no route", "warnings": ["keys are narrow"],
            "quarantine": { "entries": 3, "reasons": [["no JSON", 2]] },
        });
        status["ledger"] = json!({ "pending": 1_000, "dropped": 1 });
        status["lag_s"] = 300.0.into();
        status["forecast"] = json!({ "full_in_s": 86_400.0 });
        status["warnings"] = json!(["keys are narrow"]);
        status["replaced"] = json!([{ "table": "t", "source": "s", "replaced": 2, "differing_member": "id" }]);
        status["limits"] = json!([{ "source": "s", "limit": "columns_per_table", "fields": 1, "rows": 0 }]);
        let told = told(&status);
        for (at, part) in [
            "the ring has failed",
            "nothing more is acknowledged: the broker keeps it",
            "1 row never reached QuestDB",
            "records 3 to 9 are lost",
            "no connection to the broker, for 3.0 h now: connection refused",
            "QuestDB does not answer, for 2.0 h now (no route); 1,000 rows wait in the ring, the oldest for 5 min; there is room for 24.0 h more",
            "3 messages and rows are set aside; the most frequent reason: no JSON",
            "2 messages fit no source's topic",
            "2 rows of table t replaced",
            "1 value and 0 rows of s left out",
            "1 row waits until this machine knows the time",
            "keys are narrow",
        ]
        .into_iter()
        .enumerate()
        {
            assert!(told[at].contains(part), "{part} at {at} of {told:#?}");
        }
    }

    #[test]
    fn nothing_is_said_to_be_safe_that_may_not_be() {
        let mut status = sound();
        status["flush"]["database"] = "unreachable".into();
        assert!(told(&status)[0].contains("nothing is lost"));
        status["ring"]["full"] = true.into();
        assert!(told(&status).iter().all(|what| !what.contains("nothing is lost")));
        status = sound();
        status["flush"]["database"] = "slow".into();
        assert_eq!(told(&status), Vec::<String>::new());
    }

    #[test]
    fn a_suspended_table_is_told_once_with_its_statement() {
        let mut status = sound();
        let statement = "ALTER TABLE \"s\" RESUME WAL";
        let warning = format!("QuestDB has suspended table \"s\"; mend the cause, then run: {statement}");
        status["flush"]["database"] = "suspended".into();
        status["flush"]["wal"] = json!({ "tables": [{ "table": "s", "suspended": true, "error": "DISK FULL" }] });
        status["flush"]["warnings"] = json!([warning]);
        status["warnings"] = json!([warning]);
        let found = findings(&Document(&status));
        let [only] = found.as_slice() else { panic!("{found:?}") };
        assert!(only.what.contains("table s (DISK FULL)") && only.remedy.contains(statement), "{only:?}");
    }

    #[test]
    fn refused_credentials_are_told_once() {
        let mut status = sound();
        status["flush"]["database"] = "refused".into();
        let error = "QuestDB refuses the credentials (check questdb.username, password_file, token_file): status 401: Unauthorized";
        status["flush"]["error"] = error.into();
        status["flush"]["advice"] = "put right questdb.username".into();
        let found = findings(&Document(&status));
        assert_eq!(
            found[0].what,
            "QuestDB refuses the credentials (status 401: Unauthorized); nothing is lost; no row waits"
        );
    }

    #[test]
    fn a_broker_that_grants_less_is_a_finding() {
        let mut status = sound();
        status["broker"]["lowered"] = json!([{ "filter": "a/+", "asked": 1, "granted": 0 }]);
        let found = findings(&Document(&status));
        assert!(found[0].what.contains("grants QoS 0 in place of 1 to a/+"), "{found:?}");
        assert!(found[0].remedy.starts_with("let the broker allow QoS 1"), "{found:?}");
    }

    #[test]
    fn a_full_disk_is_a_finding() {
        let mut status = sound();
        status["machine"] = json!({ "ring_disk_free_bytes": 1_u64 << 20, "ring_disk_bytes": 1_u64 << 30 });
        assert!(told(&status)[0].contains("the disk of the ring is full (1.0 MiB free)"), "{:?}", told(&status));
        status["machine"]["ring_disk_free_bytes"] = (1_u64 << 29).into();
        assert_eq!(told(&status), Vec::<String>::new());
    }

    #[test]
    fn numbers_have_their_plural() {
        assert_eq!(
            (plural(1, "row"), plural(2, "row"), plural(1_000, "entry")),
            ("1 row".into(), "2 rows".into(), "1,000 entries".into())
        );
    }
}
