//! The panels of figures: broker, database, ring.

use std::fmt::Write as _;

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::{Paragraph, Widget, Wrap},
};

use super::{BAD, GOOD, POOR, chart, framed, wrapped_height};
use crate::cli::{
    document::Document,
    out::{count, human_bytes, plural, span},
    top::view::View,
};

/// A lag in applying that is less than this is none: the daemon looks every five seconds.
const APPLY_LAG_S: f64 = 10.0;
/// A ring's panel as wide as this has a chart beside the text, which takes so much.
const WITH_CHART: u16 = 116;
const TEXT_WIDTH: u16 = 92;

pub fn broker(view: &View, area: Rect, buffer: &mut Buffer) {
    let status = view.document();
    let broker = status.at("/broker");
    let state = broker.text("/state").unwrap_or_default();
    let inside = framed(&format!("Broker: {state}"), false, area, buffer);
    let mut lines = vec![
        Line::raw(format!("{} messages/s, {} rows/s", rate(view.rates.messages), rate(view.rates.rows))),
        Line::raw(format!("PUBACK {}", broker.latency("/ack_latency_us"))),
        Line::raw(format!("{} not acknowledged, {} held back", broker.count("/unacknowledged"), broker.count("/held"))),
    ];
    lines.extend(broker.sentence("/error").map(|error| Line::styled(error, BAD)));
    if broker.integer("/qos0_dropped") > 0 {
        lines.push(Line::styled(format!("{} QoS 0 messages dropped", broker.count("/qos0_dropped")), POOR));
    }
    fill(lines, inside, buffer, |rest, buffer| chart(&view.messages, rest, buffer));
}

pub fn database(view: &View, area: Rect, buffer: &mut Buffer) {
    let state = view.document().text("/flush/database").unwrap_or_default();
    let inside = framed(&format!("QuestDB: {state}"), false, area, buffer);
    fill(database_lines(view), inside, buffer, |rest, buffer| chart(&view.stored, rest, buffer));
}

fn database_lines(view: &View) -> Vec<Line<'static>> {
    let status = view.document();
    let flush = status.at("/flush");
    let lag = status.known("/lag_s").map_or(String::new(), |lag| format!(", the oldest for {}", span(lag * 1e3)));
    let mut lines = vec![
        Line::raw(format!("{} rows/s stored", rate(view.rates.stored))),
        Line::raw(format!("{}{lag}", waiting(status.integer("/ledger/pending")))),
        Line::raw(set_aside(&status)),
    ];
    lines.extend(flush.sentence("/error").map(|error| Line::styled(error, BAD)));
    lines.extend(flush.sentence("/advice").map(Line::raw));
    lines.extend(applying(&flush).map(|text| Line::styled(text, POOR)));
    lines
}

fn set_aside(status: &Document<'_>) -> String {
    let flush = status.at("/flush");
    let mut text = flush.text("/delivery").unwrap_or_default();
    let of = |path: &str, told: fn(u64) -> String| (status.integer(path), told);
    for (number, told) in [
        of("/flush/quarantine/entries", |entries| format!("{} in quarantine", count(entries))),
        of("/ledger/dead_letters", |letters| plural(letters, "dead letter")),
        of("/ledger/dropped", |rows| format!("{} dropped", plural(rows, "row"))),
    ] {
        if number > 0 {
            let _ = write!(text, "; {}", told(number));
        }
    }
    text
}

fn waiting(rows: u64) -> String {
    if rows == 1 { "1 row waits".to_owned() } else { format!("{} wait", plural(rows, "row")) }
}

/// How far QuestDB is behind in applying what it accepted; none while it keeps up, or when the daemon does not tell.
fn applying(flush: &Document<'_>) -> Option<String> {
    let mut parts = Vec::new();
    let suspended = flush.integer("/wal/suspended");
    if suspended > 0 {
        parts.push(format!("{} SUSPENDED", plural(suspended, "table")));
    }
    // The table furthest behind comes first.
    let table = flush.at("/wal/tables/0");
    if table.number("/lag_s") >= APPLY_LAG_S {
        let lag = span(table.number("/lag_s") * 1e3);
        parts.push(format!("applying {} lags by {lag}", table.text("/table").unwrap_or_default()));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

pub fn ring(view: &View, area: Rect, buffer: &mut Buffer) {
    let status = view.document();
    let ring = status.at("/ring");
    let inside = framed("Ring", false, area, buffer);
    if ring.0.is_null() {
        return Line::raw("being recovered").render(inside, buffer);
    }
    let chart_width = if inside.width >= WITH_CHART { inside.width - TEXT_WIDTH - 1 } else { 0 };
    let [left, right] =
        Layout::horizontal([Constraint::Min(0), Constraint::Length(chart_width)]).spacing(1).areas(inside);
    let share = ring.number("/fill");
    let style = match share {
        share if share >= 0.8 => BAD,
        share if share >= 0.5 => POOR,
        _ => GOOD,
    };
    let (size, pending) = (human_bytes(ring.integer("/size_bytes")), human_bytes(ring.integer("/pending_bytes")));
    let label = format!(" {:.1} % of {size}; {pending} wait for QuestDB", share * 100.0);
    let length = (left.width as usize).saturating_sub(label.chars().count()).clamp(10, 30);
    let mut lines = vec![Line::from(vec![Span::styled(bar(share, length), style), Span::raw(label)])];
    if ring.flag("/full") {
        let what = ring.text("/on_full").unwrap_or_default();
        lines.push(Line::styled(format!("FULL, on_full = {what}"), BAD));
    }
    lines.extend(ring.text("/poisoned").map(|why| Line::styled(format!("POISONED: {why}"), BAD)));
    lines.extend(halves(&status.sentence("/forecast/sentence").unwrap_or_default(), left.width).map(Line::raw));
    let (waits_for, commits) = (status.text("/acks_wait_for").unwrap_or_default(), ring.count("/commit_us/count"));
    lines.push(Line::raw(format!("acknowledged once {waits_for}; {commits} commits, {}", ring.latency("/commit_us"))));
    fill(lines, left, buffer, |_, _| ());
    if right.width > 0 {
        let [title, rest] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(right);
        Line::styled("bytes waiting", Style::new().dim()).render(title, buffer);
        chart(&view.pending, rest, buffer);
    }
}

/// A sentence of several parts on one line, or on two if it is longer than that.
fn halves(sentence: &str, width: u16) -> impl Iterator<Item = String> {
    let fits = |part: &str| part.chars().count() <= width as usize;
    let cut = sentence.rmatch_indices("; ").map(|(at, _)| at + 1).find(|at| fits(&sentence[..*at]));
    let (first, second) = match cut {
        Some(at) if !fits(sentence) => (&sentence[..at], sentence[at..].trim_start()),
        _ => (sentence, ""),
    };
    let lines = [first.to_owned(), second.to_owned()];
    lines.into_iter().filter(|line| !line.is_empty())
}

/// Lines of the database's panel, its frame included, in which its advice has room.
pub fn database_height(view: &View, width: u16) -> u16 {
    wrapped_height(&database_lines(view), width.saturating_sub(2)) + 2
}

/// Lines from the top, and something else in the room that is left, if any. Where a line is too
/// long, it is broken, and there is nothing else.
pub fn fill(lines: Vec<Line<'_>>, area: Rect, buffer: &mut Buffer, rest: impl FnOnce(Rect, &mut Buffer)) {
    if lines.iter().any(|line| line.width() > usize::from(area.width)) {
        return Paragraph::new(lines).wrap(Wrap { trim: true }).render(area, buffer);
    }
    let used = (lines.len() as u16).min(area.height);
    for (line, row) in lines.into_iter().zip(area.rows()) {
        line.render(row, buffer);
    }
    let below = Rect { y: area.y + used, height: area.height - used, ..area };
    if below.height > 0 && below.width > 0 {
        rest(below, buffer);
    }
}

fn bar(share: f64, length: usize) -> String {
    let full = (share.clamp(0.0, 1.0) * length as f64).ceil() as usize;
    "█".repeat(full) + &"░".repeat(length - full)
}

/// A rate with as many digits as tell something.
pub fn rate(per_s: f64) -> String {
    match per_s {
        rate if rate >= 100.0 => count(rate.round() as u64),
        rate if rate >= 10.0 => format!("{rate:.0}"),
        rate if rate > 0.0 => format!("{rate:.1}"),
        _ => "0".into(),
    }
}
