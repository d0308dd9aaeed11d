//! The lists: lanes with their batching, and the liveliest series.

use std::fmt::Write as _;

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Modifier, Style},
    text::Line,
    widgets::{Paragraph, Row, Table, Widget, Wrap},
};

use super::{BAD, DIM, POOR, chart, framed, panels::rate};
use crate::{
    cli::{
        document::Document,
        get::{shown, symbols},
        out::{span, tame},
        top::{
            poll::SAMPLE_PERIOD,
            view::{Focus, View},
        },
    },
    control::api::SeriesView,
};

/// Lanes listed at most; the others come into view by moving down.
const MAX_LISTED: u16 = 6;
/// Lines below the list: why the batch is as large as it is, and the charts.
const REASON_LINES: u16 = 2;
const CHART_LINES: u16 = 2;

/// Lines that the lanes would like: frame, head, lanes, reason, charts.
pub fn lanes_height(view: &View) -> u16 {
    let lanes = view.document().each("/flush/lanes").count().min(MAX_LISTED as usize) as u16;
    3 + lanes.max(1) + REASON_LINES + CHART_LINES
}

pub fn lanes(view: &View, area: Rect, buffer: &mut Buffer) {
    let status = view.document();
    let lanes: Vec<Document<'_>> = status.each("/flush/lanes").collect();
    let inside = framed("Lanes", view.focus == Focus::Lanes, area, buffer);
    if inside.height == 0 || lanes.is_empty() {
        return;
    }
    let chosen = view.lane.min(lanes.len() - 1);
    // The list comes first, then the reason, then the charts.
    let listed = (lanes.len() as u16).min(MAX_LISTED).min(inside.height.saturating_sub(1));
    let reason = REASON_LINES.min(inside.height.saturating_sub(1 + listed));
    let parts = [Constraint::Length(1 + listed), Constraint::Length(reason), Constraint::Min(0)];
    let [list, reason, charts] = Layout::vertical(parts).areas(inside);
    let first = (chosen + 1).saturating_sub(listed.max(1) as usize);
    let rows = lanes.iter().enumerate().skip(first).take(listed as usize);
    lane_table(rows.map(|(place, lane)| (lane, place == chosen)), list.width).render(list, buffer);
    why(&lanes[chosen]).render(reason, buffer);
    if charts.height > 0 {
        lane_charts(view, lanes[chosen].integer("/lane"), charts, buffer);
    }
}

/// A lane's columns; those of the model are left out where there is no room for them.
type Column = (&'static str, u16, bool, fn(&Document<'_>) -> String);

const COLUMNS: [Column; 10] = [
    ("LANE", 4, true, |lane| lane.integer("/lane").to_string()),
    ("BATCH", 9, true, |lane| lane.count("/batch_rows")),
    ("LINGER", 9, true, |lane| span(lane.number("/linger_ms"))),
    ("LAST", 9, true, |lane| lane.count("/last_rows")),
    ("TOOK", 10, true, |lane| span(lane.number("/last_ms"))),
    ("FIXED", 10, false, |lane| span(lane.number("/fixed_ms"))),
    // Microseconds a row are milliseconds a thousand.
    ("1,000 ROWS", 10, false, |lane| span(lane.number("/per_row_us"))),
    ("FLUSHES", 11, true, |lane| lane.count("/flushes")),
    ("FAILED", 7, true, |lane| lane.count("/failures")),
    ("BREAKER", 9, true, |lane| lane.text("/breaker").unwrap_or_default()),
];
const ALL_COLUMNS: u16 = 98;

fn lane_table<'a>(lanes: impl Iterator<Item = (&'a Document<'a>, bool)>, width: u16) -> Table<'static> {
    let columns = || COLUMNS.into_iter().filter(|(_, _, always, _)| *always || width >= ALL_COLUMNS);
    let rows = lanes.map(|(lane, chosen)| {
        let row = Row::new(columns().map(|(_, _, _, text)| text(lane)));
        let closed = matches!(lane.text("/breaker").as_deref(), None | Some("closed" | ""));
        let row = if closed { row } else { row.style(BAD) };
        if chosen { row.style(Style::new().add_modifier(Modifier::REVERSED)) } else { row }
    });
    let widths: Vec<Constraint> = columns().map(|(_, width, _, _)| Constraint::Length(width)).collect();
    let head = Row::new(columns().map(|(name, ..)| name)).style(DIM);
    Table::new(rows.collect::<Vec<_>>(), widths).header(head).column_spacing(1)
}

fn why(lane: &Document<'_>) -> Paragraph<'static> {
    let number = lane.integer("/lane");
    if lane.integer("/flushes") + lane.integer("/failures") == 0 && lane.text("/breaker").as_deref() == Some("closed") {
        return Paragraph::new(format!("lane {number}: nothing sent yet"));
    }
    let mut text = format!("lane {number}: {}", lane.sentence("/reason").unwrap_or_default());
    if let Some(pace) = lane.sentence("/pace") {
        let _ = write!(text, "; slowed down: {pace}");
    }
    if let Some(spread) = lane.known("/spread") {
        let _ = write!(text, "; flushes spread by {:.0} %", spread * 100.0);
    }
    if let Some(error) = lane.known("/last_error") {
        let _ = write!(text, ", the last was off by {:.0} %", error.abs() * 100.0);
    }
    Paragraph::new(text).wrap(Wrap { trim: true })
}

fn lane_charts(view: &View, lane: u64, area: Rect, buffer: &mut Buffer) {
    let Some(history) = view.lanes.get(&lane) else { return };
    let halves = Layout::horizontal([Constraint::Ratio(1, 2); 2]).spacing(2).areas::<2>(area);
    for (half, (title, points)) in halves.into_iter().zip([("batch", &history.batch_rows), ("took", &history.last_ms)])
    {
        let [name, rest] = Layout::horizontal([Constraint::Length(6), Constraint::Min(0)]).areas(half);
        Line::styled(title, DIM).render(name, buffer);
        chart(points, rest, buffer);
    }
}

pub fn series(view: &View, area: Rect, buffer: &mut Buffer) {
    let status = view.document();
    let held = status.count("/latest/series");
    let title = format!("Liveliest of {held} series");
    let inside = framed(&title, view.focus == Focus::Series, area, buffer);
    if inside.height == 0 {
        return;
    }
    if view.lively.is_empty() {
        let note = view.lively_note.clone().unwrap_or_else(|| "no update seen yet".into());
        return Line::styled(tame(&note), POOR).render(inside, buffer);
    }
    let rows = view.lively.iter().skip(view.skipped).take(inside.height as usize - 1).map(|lively| {
        // Between two samples nothing is seen of a series, however lively it is.
        let recent = lively.since < 2 * SAMPLE_PERIOD;
        let since = if recent { "now".into() } else { span(lively.since.as_secs_f64() * 1e3) };
        Row::new([name(&lively.series), rate(lively.per_s), since, values(&lively.series)])
    });
    let widths = [Constraint::Fill(2), Constraint::Length(9), Constraint::Length(9), Constraint::Fill(3)];
    let table = Table::new(rows, widths).header(Row::new(["SERIES", "UPDATES/S", "LAST", "VALUES"]).style(DIM));
    table.column_spacing(1).render(inside, buffer);
}

fn name(series: &SeriesView) -> String {
    format!("{} {}", tame(&series.table), symbols(series))
}

fn values(series: &SeriesView) -> String {
    let pairs = series.fields.iter().map(|(name, value)| format!("{}={}", tame(name), shown(value)));
    pairs.collect::<Vec<_>>().join(" ")
}
