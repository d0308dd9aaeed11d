//! The first line of `forebay status`: OK, or what is wrong and what to do about it. Pure.

pub use crate::cli::out::plural;
use crate::cli::{
    document::Document,
    out::{count, span},
};

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
    database(&mut found, status);
    set_aside(&mut found, status);
    clock(&mut found, status);
    warnings(&mut found, status);
    found.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Finding { what: what.into(), remedy: remedy.into() });
    }
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
        let what = match ring.text("/on_full").as_deref() {
            Some("drop-oldest") => "the ring is full, and the oldest rows are given up",
            Some("drop-newest") => "the ring is full, and what comes in is not kept",
            _ => "the ring is full, and nothing more is acknowledged: the broker keeps it",
        };
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
    for gap in ring.each("/gaps") {
        let (first, last) = (count(gap.integer("/0")), count(gap.integer("/1")));
        found.add(format!("damage in the ring: records {first} to {last} are lost"), "replace the disk");
    }
}

fn broker(found: &mut Findings, status: &Document<'_>) {
    let broker = status.at("/broker");
    if broker.0.is_object() && !broker.flag("/connected") {
        let why = broker.sentence("/error").map(|why| format!(": {why}")).unwrap_or_default();
        found.add(
            format!("not connected to the broker{why}"),
            "check [mqtt] url, the broker and the line (forebay check --connect)",
        );
    }
}

fn database(found: &mut Findings, status: &Document<'_>) {
    let flush = status.at("/flush");
    let state = flush.text("/database").unwrap_or_default();
    // A slow one is none that anybody has to do something about: batches follow it.
    if !state.is_empty() && state != "ok" && state != "slow" {
        let why = flush.sentence("/error").map(|why| format!(": {why}")).unwrap_or_default();
        let waiting = status.integer("/ledger/pending");
        let waiting = if waiting == 1 { "1 row waits".to_owned() } else { format!("{} wait", plural(waiting, "row")) };
        let age = status.known("/lag_s").filter(|lag| *lag > 0.0);
        let age = age.map(|lag| format!(", the oldest for {}", span(lag * 1e3))).unwrap_or_default();
        let room = status.known("/forecast/full_in_s").filter(|left| *left >= 1.0);
        let room = room.map(|left| format!("; there is room for {} more", span(left * 1e3))).unwrap_or_default();
        let is_whole = status.integer("/ledger/dropped") == 0 && !status.flag("/ring/full");
        let lost = if is_whole { "nothing is lost: " } else { "" };
        found.add(
            format!("QuestDB is {state}{why}; {lost}{waiting}{age}{room}"),
            flush.sentence("/advice").unwrap_or_else(|| "check the database and the line to it".into()),
        );
    }
}

/// What the daemon itself warns of and nothing else here tells.
fn warnings(found: &mut Findings, status: &Document<'_>) {
    for warning in status.each("/warnings").chain(status.each("/flush/warnings")) {
        let text = warning.sentence("").unwrap_or_default();
        if !found.0.iter().any(|finding| finding.what == text) {
            found.add(text, "");
        }
    }
}

fn set_aside(found: &mut Findings, status: &Document<'_>) {
    let quarantine = status.at("/flush/quarantine");
    let entries = quarantine.integer("/entries");
    if entries > 0 {
        let most = quarantine.each("/reasons").next().and_then(|reason| reason.sentence("/0"));
        let most = most.map(|why| format!("; the most frequent reason: {why}")).unwrap_or_default();
        let noun = if entries == 1 { "message or row is" } else { "messages and rows are" };
        found.add(
            format!("{} {noun} set aside{most}", count(entries)),
            "forebay quarantine ls --summary; once the cause is put right: forebay quarantine requeue --all",
        );
    }
    for source in status.each("/ring/counted") {
        let (name, unmatched) = (source.text("/source").unwrap_or_default(), source.integer("/unmatched"));
        if unmatched > 0 {
            let of = if name.is_empty() { String::new() } else { format!(" of {name}") };
            found.add(
                format!("{}{of} fit no source's topic", plural(unmatched, "message")),
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
        let rows = if held == 1 { "1 row waits".to_owned() } else { format!("{} wait", plural(held, "row")) };
        found.add(
            format!("{rows} until this machine knows the time"),
            "start a time service, such as systemd-timesyncd or chrony",
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
            "ring": { "full": false, "held_rows": 0, "counted": [{ "source": "s", "unmatched": 0 }] },
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
    fn each_kind_of_trouble_is_told_the_worst_first() {
        let mut status = sound();
        status["clock"] = json!({ "trusted": false });
        status["ring"] = json!({
            "poisoned": "sync failed", "full": true, "on_full": "block", "held_rows": 1,
            "gaps": [[3, 9]], "counted": [{ "source": "", "unmatched": 2 }],
        });
        status["broker"] = json!({ "connected": false, "error": "connection refused" });
        status["flush"] = json!({
            "database": "unreachable", "error": "no route", "warnings": ["keys are narrow"],
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
            "not connected to the broker: connection refused",
            "QuestDB is unreachable: no route; 1,000 rows wait, the oldest for 5 min; there is room for 24.0 h more",
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
    fn numbers_have_their_plural() {
        assert_eq!(
            (plural(1, "row"), plural(2, "row"), plural(1_000, "entry")),
            ("1 row".into(), "2 rows".into(), "1,000 entries".into())
        );
    }
}
