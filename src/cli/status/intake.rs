//! What comes in: broker, writers, sources.

use std::fmt::Write as _;

use super::{screen::Screen, verdict::notices};
use crate::cli::{
    document::Document,
    out::{columns, count, plural, span},
};

pub(super) fn show(screen: &mut Screen, status: &Document<'_>) {
    screen.group("In");
    broker(screen, status);
    writes(screen, status);
    messages(screen, status);
    sources(screen, status);
}

fn broker(screen: &mut Screen, status: &Document<'_>) {
    let broker = status.at("/broker");
    let state = broker.text("/state").unwrap_or_default();
    let rate = count(status.number("/rates/messages_per_s").round() as u64);
    let mut text = format!("{state}; {rate} messages/s; {} not acknowledged yet", broker.count("/unacknowledged"));
    if broker.integer("/held") > 0 {
        let _ = write!(text, ", {} of them held back", broker.count("/held"));
    }
    screen.line("broker", &text);
    let acknowledged = broker.integer("/acknowledged");
    if acknowledged > 0 {
        let latency = broker.latency("/ack_latency_us");
        let waits_for = status.text("/acks_wait_for").unwrap_or_default();
        screen.more(&format!("{} acknowledged once {waits_for}: {latency}", count(acknowledged)));
    }
    let connects = broker.integer("/connects");
    if connects > 1 {
        screen.more(&format!("{} connections since the start", count(connects)));
    }
    for notice in notices(&broker) {
        screen.more(&notice);
    }
}

/// What came as line protocol, if anything did.
fn writes(screen: &mut Screen, status: &Document<'_>) {
    let writes = status.at("/writes");
    let refused: u64 = ["/malformed", "/full", "/unauthorized", "/refused"].iter().map(|of| writes.integer(of)).sum();
    if refused + writes.integer("/requests") == 0 {
        return;
    }
    let (requests, rows) = (plural(writes.integer("/requests"), "request"), plural(writes.integer("/rows"), "row"));
    screen.line("written", &format!("{requests}, {rows}: {}", writes.latency("/latency_us")));
    if refused > 0 {
        let [malformed, full, unauthorized, other] =
            ["/malformed", "/full", "/unauthorized", "/refused"].map(|of| writes.count(of));
        screen.more(&format!(
            "refused: {malformed} malformed, {full} with the ring full, {unauthorized} without the token, {other} others"
        ));
    }
}

fn messages(screen: &mut Screen, status: &Document<'_>) {
    let ledger = status.at("/ledger");
    let (messages, letters) = (ledger.integer("/messages"), ledger.count("/dead_letters"));
    if messages == 0 {
        return;
    }
    let each = ledger.integer("/rows") as f64 / messages as f64;
    screen.line(
        "messages",
        &format!(
            "{} since the ring was created, {letters} of them dead letters; {each:.2} rows a message",
            count(messages)
        ),
    );
}

fn sources(screen: &mut Screen, status: &Document<'_>) {
    let rows: Vec<[String; 7]> = status
        .each("/sources")
        .map(|source| {
            let text = |path| source.text(path).unwrap_or_else(|| "–".into());
            let numbers = ["/messages", "/rows", "/dead_letters", "/refused_rows"].map(|path| source.count(path));
            let [messages, rows, letters, refused] = numbers;
            let age = source.known("/last_received_age_s");
            let ago = |age_s: f64| if age_s < 1.0 { "now".into() } else { format!("{} ago", span(age_s * 1e3)) };
            let last = age.map_or_else(|| "never".into(), ago);
            let last = last + if source.flag("/silent") { " (silent)" } else { "" };
            [text("/name"), text("/topic"), messages, rows, letters, refused, last]
        })
        .collect();
    if !rows.is_empty() {
        let head = ["SOURCE", "TOPIC", "MESSAGES", "ROWS", "DEAD LETTERS", "REFUSED ROWS", "LAST MESSAGE"];
        screen.line("sources", "since the start");
        screen.table(&columns(head, &rows));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Document, render};

    #[test]
    fn a_source_is_told_with_the_age_of_its_last_message() {
        let status = json!({ "sources": [
            { "name": "a", "topic": "a/+", "messages": 1_000, "last_received_age_s": 0.21 },
            { "name": "b", "topic": "b/+", "last_received_age_s": 7_300.0, "silent": true },
            { "name": "c", "topic": "c/+" },
        ] });
        let text = render(&Document(&status), false);
        for part in ["1,000", "now", "2.0 h ago (silent)", "never"] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn rows_a_message_are_told() {
        let text = render(&Document(&json!({ "ledger": { "rows": 1_010, "messages": 505 } })), false);
        assert!(text.contains("505 since the ring was created, 0 of them dead letters; 2.00 rows a message"), "{text}");
    }

    #[test]
    fn a_broker_that_grants_less_is_told() {
        let lowered = json!([{ "filter": "a\u{1b}[2J/+", "asked": 1, "granted": 0 }]);
        let text = render(&Document(&json!({ "broker": { "lowered": lowered, "connects": 3 } })), false);
        assert!(text.contains("grants QoS 0 in place of 1") && text.contains("3 connections"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
