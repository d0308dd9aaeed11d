//! What is safe on the disk: the ring, what waits in it, and the ledger.

use super::{screen::Screen, verdict::waits};
use crate::cli::{
    document::Document,
    out::{bar, count, human_bytes, plural, span},
};

pub(super) fn show(screen: &mut Screen, status: &Document<'_>, all: bool) {
    screen.group("Durable");
    let ring = status.at("/ring");
    if ring.0.is_null() {
        screen.line("ring", "being recovered");
    } else {
        fill(screen, &ring, all);
    }
    waiting(screen, status);
    if let Some(forecast) = status.sentence("/forecast/sentence") {
        screen.line("forecast", &forecast);
    }
    ledger(screen, status);
}

fn fill(screen: &mut Screen, ring: &Document<'_>, all: bool) {
    let fill = ring.number("/fill");
    let size = human_bytes(ring.integer("/size_bytes"));
    screen.line("ring", &format!("[{}] {:.1} % of {size}", bar(fill), fill * 100.0));
    if ring.flag("/full") {
        screen.more(&format!("full, on_full = {}", ring.text("/on_full").unwrap_or_default()));
    }
    if all {
        let marks = ["tail", "safe", "settled", "durable", "appended"];
        let marks = marks.map(|mark| format!("{mark} {}", ring.count(&format!("/{mark}")))).join(" ≤ ");
        screen.more(&marks);
        let commits = plural(ring.integer("/commit_us/count"), "commit");
        screen.more(&format!("{commits}: {}", ring.latency("/commit_us")));
    }
}

fn waiting(screen: &mut Screen, status: &Document<'_>) {
    let rows = status.integer("/ledger/pending");
    if rows == 0 {
        return screen.line("waiting", "no row waits for QuestDB");
    }
    let bytes = human_bytes(status.integer("/ring/pending_bytes"));
    let age = status.known("/lag_s").filter(|lag_s| *lag_s > 0.0);
    let age = age.map_or(String::new(), |lag_s| format!(", the oldest for {}", span(lag_s * 1e3)));
    screen.line("waiting", &format!("{} for QuestDB ({bytes}){age}", waits(rows)));
    let held = status.integer("/ring/held_rows");
    if held > 0 {
        screen.more(&format!("{} until this machine knows the time", waits(held)));
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
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Document, render};

    #[test]
    fn the_ledger_says_whether_it_balances() {
        let mut status =
            json!({ "ledger": { "rows": 1_010, "pending": 3, "stored": 1_000, "quarantined": 7, "messages": 505 } });
        let text = render(&Document(&status), true);
        assert!(
            text.contains("1,010 = 3 pending + 1,000 stored + 7 quarantined + 0 dropped + 0 coalesced; balances"),
            "{text}"
        );
        status["ledger"]["dropped"] = 1.into();
        assert!(render(&Document(&status), true).contains("DOES NOT BALANCE: they add up to 1,011"));
    }

    #[test]
    fn what_waits_is_told_with_its_age() {
        let waiting = |rows: u64, lag_s: f64| {
            let status = json!({ "ledger": { "pending": rows }, "lag_s": lag_s, "ring": { "pending_bytes": 2_048, "held_rows": 1 } });
            render(&Document(&status), false)
        };
        let text = waiting(1_000, 312.4);
        assert!(text.contains("1,000 rows wait for QuestDB (2.0 KiB), the oldest for 5 min"), "{text}");
        assert!(text.contains("1 row waits until this machine knows the time"), "{text}");
        assert!(waiting(1, 0.0).contains("1 row waits for QuestDB (2.0 KiB)\n"));
        assert!(waiting(0, 0.0).contains("no row waits"));
    }

    #[test]
    fn marks_and_commits_are_shown_to_who_asks_for_all() {
        let status = json!({ "ring": { "fill": 0.5, "tail": 3, "commit_us": { "count": 1 } } });
        let (some, all) = (render(&Document(&status), false), render(&Document(&status), true));
        assert!(some.contains("############............") && !some.contains("tail 3"), "{some}");
        assert!(all.contains("tail 3 ≤ safe 0") && all.contains("1 commit: p50"), "{all}");
    }

    #[test]
    fn an_empty_document_still_makes_a_screen() {
        let text = render(&Document(&json!({})), true);
        assert!(text.contains("being recovered"), "{text}");
    }
}
