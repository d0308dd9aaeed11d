//! Drawing: from what is shown to a buffer of cells. Pure; any size will do.

mod lists;
mod panels;

use std::time::Duration;

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Paragraph, Sparkline, Widget, Wrap},
};

use super::view::{Focus, History, Link, View};
use crate::{
    cli::out::{span, tame},
    shown::harmless,
};

/// Narrower screens have the broker above the database instead of beside it.
const SIDE_BY_SIDE: u16 = 70;
/// Lines of warnings at most.
const MAX_WARNINGS: usize = 3;
/// An answer older than this is told to be old.
const OLD: Duration = Duration::from_secs(3);

const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const GOOD: Style = Style::new().fg(Color::Green);
const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const POOR: Style = Style::new().fg(Color::Yellow);
const CHART: Style = Style::new().fg(Color::Cyan);

/// Draws all of it.
pub fn draw(view: &View, area: Rect, buffer: &mut Buffer) {
    let warnings = warnings(view);
    let footer = u16::from(area.height >= 12);
    let told = if area.height >= 12 { wrapped_height(&warnings, area.width).min(area.height / 2) } else { 0 };
    let parts = [Constraint::Length(1), Constraint::Length(told), Constraint::Min(0), Constraint::Length(footer)];
    let [head, alarm, body, foot] = Layout::vertical(parts).areas(area);
    header(view).render(head, buffer);
    Paragraph::new(warnings).wrap(Wrap { trim: false }).render(alarm, buffer);
    if view.status.is_null() {
        nothing_yet(view, body, buffer);
    } else {
        panels_into(view, body, buffer);
    }
    keys(view).render(foot, buffer);
}

/// The panels that there is room for, the most telling first.
fn panels_into(view: &View, area: Rect, buffer: &mut Buffer) {
    let flows = if area.width >= SIDE_BY_SIDE { 1 } else { 2 };
    // Least and wanted lines of each panel, its frame included.
    let lanes = lists::lanes_height(view);
    let flow = panels::database_height(view, area.width / (3 - flows)).max(7);
    let [flow, ring, lanes, series] =
        share(area.height, [(3 * flows, flow * flows), (3, 6), (6.min(lanes), lanes), (4, u16::MAX)]);
    let parts = [flow, ring, lanes, series].map(Constraint::Length);
    let [flow, ring, lanes, series] = Layout::vertical(parts).areas(area);
    let halves = [Constraint::Ratio(1, 2); 2];
    let [broker, database] =
        if flows == 1 { Layout::horizontal(halves).areas(flow) } else { Layout::vertical(halves).areas(flow) };
    panels::broker(view, broker, buffer);
    panels::database(view, database, buffer);
    panels::ring(view, ring, buffer);
    lists::lanes(view, lanes, buffer);
    lists::series(view, series, buffer);
}

/// Shares lines out: the least to each for whom they suffice, first come first served, then in the same order what more each wants.
fn share<const N: usize>(mut lines: u16, panels: [(u16, u16); N]) -> [u16; N] {
    let mut shares = panels.map(|(least, _)| {
        let share = if lines >= least { least } else { 0 };
        lines -= share;
        share
    });
    for (share, (_, wanted)) in shares.iter_mut().zip(panels) {
        if *share > 0 {
            let more = (wanted - *share).min(lines);
            *share += more;
            lines -= more;
        }
    }
    shares
}

fn header(view: &View) -> Line<'static> {
    let status = view.document();
    let mut line = vec![Span::styled(" forebay ", BOLD)];
    if !view.status.is_null() {
        let (version, up) = (status.text("/version").unwrap_or_default(), span(status.number("/uptime_s") * 1e3));
        line.push(Span::raw(format!("{version}  up {up}  ")));
    }
    match &view.link {
        Link::Asking => line.push(Span::styled("asking the daemon …", POOR)),
        Link::Up => line.push(Span::styled("● running", GOOD)),
        Link::Away(why) => line.push(Span::styled(format!("○ {}", tame(why)), BAD)),
    }
    let age = view.now.saturating_sub(view.status_at);
    if !view.status.is_null() && age > OLD {
        line.push(Span::styled(format!("  this is of {} ago", span(age.as_secs_f64() * 1e3)), POOR));
    }
    if view.paused {
        line.push(Span::styled("  PAUSED (p goes on)", POOR));
    }
    Line::from(line)
}

fn nothing_yet(view: &View, area: Rect, buffer: &mut Buffer) {
    if let Link::Away(why) = &view.link {
        // The header cuts a long sentence; here it has room.
        let text = Paragraph::new(format!("{}\n\nIt is asked again every second.\n", harmless(why)));
        text.wrap(Wrap { trim: true }).render(area, buffer);
    }
}

fn warnings(view: &View) -> Vec<Line<'static>> {
    let warnings: Vec<String> = view.document().each("/warnings").filter_map(|warning| warning.sentence("")).collect();
    let more = warnings.len().saturating_sub(MAX_WARNINGS);
    let shown = if more > 0 { MAX_WARNINGS - 1 } else { MAX_WARNINGS };
    let mut lines: Vec<Line<'static>> =
        warnings.into_iter().take(shown).map(|text| Line::styled(format!(" ! {text}"), BAD)).collect();
    if more > 0 {
        lines.push(Line::styled(format!(" ! and {} more, see forebay status", more + 1), BAD));
    }
    lines
}

fn keys(view: &View) -> Line<'static> {
    let list = if view.focus == Focus::Lanes { "lanes" } else { "series" };
    Line::styled(format!(" q quit  p pause  ↑ ↓ move in the {list}  tab the other list"), DIM)
}

/// Lines that these take where they are broken at the width; where one is, perhaps a line more,
/// since words that move on leave room behind.
fn wrapped_height(lines: &[Line<'_>], width: u16) -> u16 {
    let width = usize::from(width).max(1);
    let height = |line: &Line<'_>| line.width().div_ceil(width).max(1) + usize::from(line.width() > width);
    lines.iter().map(height).sum::<usize>() as u16
}

/// A frame with a title; gives what is inside.
fn framed(title: &str, focused: bool, area: Rect, buffer: &mut Buffer) -> Rect {
    let style = if focused { BOLD } else { Style::new() };
    let block = Block::bordered().border_style(DIM).title(Span::styled(format!(" {title} "), style));
    let inside = block.inner(area);
    block.render(area, buffer);
    inside
}

/// A history with the newest point at the right, as high as the area.
fn chart(history: &History, area: Rect, buffer: &mut Buffer) {
    // Whole numbers are drawn; small ones keep three digits.
    let points: Vec<u64> =
        history.newest_first().take(area.width as usize).map(|value| (value * 1e3).round() as u64).collect();
    let direction = ratatui::widgets::RenderDirection::RightToLeft;
    Sparkline::default().data(points).direction(direction).style(CHART).render(area, buffer);
}

/// The buffer's text, without trailing blanks and blank lines at the end.
pub fn text(buffer: &Buffer) -> String {
    let mut lines: Vec<String> = Vec::new();
    for y in buffer.area.rows().map(|row| row.y) {
        let mut line = String::new();
        let mut covered = 0;
        for x in buffer.area.columns().map(|column| column.x) {
            if covered > 0 {
                // The second cell of a wide character.
                covered -= 1;
                continue;
            }
            let symbol = buffer.cell((x, y)).map_or(" ", |cell| cell.symbol());
            covered = Span::raw(symbol).width().saturating_sub(1);
            line.push_str(symbol);
        }
        lines.push(line.trim_end().to_owned());
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.join("\n") + "\n"
}

/// The same without colours, for people who asked for none (`NO_COLOR`).
pub fn without_colour(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        (cell.fg, cell.bg) = (Color::Reset, Color::Reset);
    }
}

#[cfg(test)]
mod tests;
