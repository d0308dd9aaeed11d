//! What goes out: the database, the lanes that write to it, and the latest values.

use std::fmt::Write as _;

use super::screen::Screen;
use crate::cli::{
    document::Document,
    out::{count, plural, span},
};

/// Write-ahead logs shown.
const MAX_SHOWN: usize = 5;
/// A shorter lag is what is always under way.
const LEAST_LAG_S: f64 = 10.0;

pub(super) fn show(screen: &mut Screen, status: &Document<'_>, all: bool) {
    screen.group("Out");
    database(screen, status);
    if all {
        for lane in status.each("/flush/lanes") {
            self::lane(screen, &lane);
        }
    }
    latest(screen, status, all);
}

fn database(screen: &mut Screen, status: &Document<'_>) {
    let flush = status.at("/flush");
    let (state, delivery) =
        (flush.text("/database").unwrap_or_default(), flush.sentence("/delivery").unwrap_or_default());
    let rate = count(status.number("/rates/stored_per_s").round() as u64);
    screen.line("database", &format!("{state}; {delivery}; {rate} rows/s stored"));
    let failures = flush.each("/failures").filter(|entry| entry.integer("/1") > 0);
    let failures: Vec<_> =
        failures.map(|entry| format!("{} × {}", entry.count("/1"), entry.text("/0").unwrap_or_default())).collect();
    if !failures.is_empty() {
        screen.more(&format!("failed since the start: {}", failures.join(", ")));
    }
    let behind = |table: &Document<'_>| table.flag("/suspended") || table.number("/lag_s") >= LEAST_LAG_S;
    for table in flush.each("/wal/tables").filter(behind).take(MAX_SHOWN) {
        let name = table.text("/table").unwrap_or_default();
        let state = if table.flag("/suspended") { "suspended" } else { "behind" };
        let transactions = plural(table.integer("/pending_transactions"), "transaction");
        let lag = table.known("/lag_s").filter(|lag_s| *lag_s >= 1.0);
        let lag = lag.map_or(String::new(), |lag_s| format!(", the oldest for {}", span(lag_s * 1e3)));
        screen.more(&format!("table {name} is {state}: {transactions} not applied{lag}"));
    }
    if let Some(error) = flush.sentence("/wal/error") {
        screen.more(&format!("no answer about write-ahead logs: {error}"));
    }
}

fn lane(screen: &mut Screen, lane: &Document<'_>) {
    let word = format!("lane {}", lane.integer("/lane"));
    let breaker = lane.text("/breaker").unwrap_or_default();
    let (flushes, failures) = (lane.integer("/flushes"), lane.count("/failures"));
    if flushes == 0 && lane.integer("/failures") == 0 && breaker != "open" {
        return screen.line(&word, "nothing sent yet");
    }
    let reason = lane.sentence("/reason").unwrap_or_default();
    let (rows, linger_ms) = (lane.integer("/batch_rows"), lane.number("/linger_ms"));
    if breaker == "open" || breaker == "half-open" || rows == 0 {
        screen.line(&word, &reason);
    } else {
        let wait = if linger_ms > 0.0 { format!(" or {}", span(linger_ms)) } else { String::new() };
        screen.line(&word, &format!("at most {}{wait}: {reason}", plural(rows, "row")));
    }
    let last = plural(lane.integer("/last_rows"), "row");
    let (took, timeout) = (span(lane.number("/last_ms")), span(lane.number("/timeout_ms")));
    let last = if flushes > 0 { format!("last {last} in {took}; ") } else { String::new() };
    let flushes = plural(flushes, "flush");
    screen.more(&format!("{last}{flushes} stored, {failures} failed; breaker {breaker}, time-out {timeout}"));
    if let Some(pace) = lane.sentence("/pace") {
        screen.more(&pace);
    }
}

fn latest(screen: &mut Screen, status: &Document<'_>, all: bool) {
    let latest = status.at("/latest");
    let (series, most, evicted) = (latest.count("/series"), latest.count("/max_series"), latest.integer("/evicted"));
    let mut text = format!("{series} of {most} series");
    for (number, what) in
        [(evicted, "evicted"), (latest.integer("/late"), "late readings"), (latest.integer("/watchers"), "watching")]
    {
        if number > 0 || all {
            let _ = write!(text, ", {} {what}", count(number));
        }
    }
    screen.line("latest", &text);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Document, render};

    #[test]
    fn trouble_with_the_database_stands_out() {
        let advice = "look at its log ".repeat(20);
        let status = json!({ "flush": {
            "database": "overloaded",
            "advice": advice,
            "failures": [["overloaded", 3], ["timeout", 0]],
            "lanes": [{ "lane": 0, "pace": "slowed down", "timeout_ms": 2_500.0, "flushes": 1, "batch_rows": 1, "reason": "why" }],
            "wal": { "tables": [
                { "table": "s", "suspended": true, "pending_transactions": 7, "lag_s": 12.0 },
                { "table": "quick", "suspended": false, "pending_transactions": 1, "lag_s": 5.0 },
            ] },
        } });
        let text = render(&Document(&status), true);
        for part in [
            advice.trim(),
            "3 × overloaded",
            "table s is suspended: 7 transactions not applied, the oldest for 12.0 s",
            "slowed down",
            "at most 1 row: why",
            "1 flush stored, 0 failed",
            "time-out 2.5 s",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains("quick") && !text.contains("timeout"), "{text}");
        assert!(!render(&Document(&status), false).contains("lane 0"), "lanes are internals");
    }

    #[test]
    fn a_lane_that_sends_nothing_says_why() {
        let lane = |breaker: &str, failures: u64| {
            let lane = json!({
                "lane": 0, "breaker": breaker, "failures": failures, "batch_rows": 0,
                "reason": "nothing is sent until QuestDB answers",
            });
            render(&Document(&json!({ "flush": { "lanes": [lane] } })), true)
        };
        let open = lane("open", 6);
        assert!(open.contains("lane 0      nothing is sent until QuestDB answers\n"), "{open}");
        assert!(open.contains("0 flushes stored, 6 failed; breaker open"), "{open}");
        assert!(!open.contains("0 rows or"), "{open}");
        assert!(lane("closed", 0).contains("lane 0      nothing sent yet\n"));
    }
}
