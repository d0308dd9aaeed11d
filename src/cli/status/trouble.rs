//! What ails the database, on the screen.

use super::{Document, Screen};

/// Write-ahead logs shown.
const MAX_SHOWN: usize = 5;
/// A shorter lag is what is always under way.
const LEAST_LAG_S: f64 = 10.0;

/// The advice, failures by kind, and write-ahead logs that are behind.
pub(super) fn trouble(screen: &mut Screen, flush: &Document<'_>) {
    if let Some(advice) = flush.sentence("/advice") {
        screen.more(&advice);
    }
    let counts = flush.each("/failures").filter(|entry| entry.integer("/1") > 0);
    let counts: Vec<_> =
        counts.map(|entry| format!("{} × {}", entry.count("/1"), entry.text("/0").unwrap_or_default())).collect();
    if !counts.is_empty() {
        screen.more(&format!("trouble since start: {}", counts.join(", ")));
    }
    let behind = |table: &Document<'_>| table.flag("/suspended") || table.number("/lag_s") >= LEAST_LAG_S;
    for table in flush.each("/wal/tables").filter(behind).take(MAX_SHOWN) {
        let name = table.text("/table").unwrap_or_default();
        let state = if table.flag("/suspended") { "SUSPENDED" } else { "behind" };
        let (transactions, lag_s) = (table.count("/pending_transactions"), table.number("/lag_s"));
        screen.more(&format!("{name}: {state}, {transactions} transactions not applied, the oldest for {lag_s:.0} s"));
    }
    if let Some(error) = flush.text("/wal/error") {
        screen.more(&format!("no answer about write-ahead logs: {error}"));
    }
}

/// A lane's time-out and pace.
pub(super) fn lane(screen: &mut Screen, lane: &Document<'_>) {
    if let Some(pace) = lane.sentence("/pace") {
        screen.more(&pace);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Document, render};

    #[test]
    fn trouble_with_the_database_stands_out() {
        let status = json!({ "flush": {
            "database": "suspended",
            "advice": "look at its log",
            "failures": [["overloaded", 3], ["timeout", 0]],
            "lanes": [{ "lane": 0, "pace": "slowed down", "timeout_ms": 2_500.0 }],
            "wal": { "tables": [
                { "table": "s", "suspended": true, "pending_transactions": 7, "lag_s": 12.0 },
                { "table": "quick", "suspended": false, "pending_transactions": 1, "lag_s": 5.0 },
            ] },
        } });
        let text = render(&Document(&status), true);
        for part in
            ["look at its log", "3 × overloaded", "s: SUSPENDED, 7 transactions", "slowed down", "time-out 2.5 s"]
        {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains("quick") && !text.contains("timeout"), "{text}");
    }
}
