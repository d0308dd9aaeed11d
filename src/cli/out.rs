//! Writing for people: standard output that may close any time, aligned columns, and text from devices made harmless.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
};

use unicode_width::UnicodeWidthStr;

use super::{Exit, Failure};
pub use crate::shown::{count, plural};
use crate::shown::{for_terminal, is_harmful};

/// Longest value shown to people, in characters.
const MAX_SHOWN_CHARS: usize = 80;
/// Width of the bar that shows a share.
const BAR_CHARS: usize = 24;

/// Writes to standard output at once. A reader that has gone, such as `head`, ends the command quietly. A terminal is shown what it
/// would obey, or nobody would see, in another writing; a file or a pipe gets all of it as it is.
pub fn emit(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let text = if out.is_terminal() { for_terminal(text) } else { text.into() };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Err(Failure::silent(Exit::Ok)),
        Err(why) => Err(Failure::new(Exit::Failed, format!("can't write to standard output: {why}"))),
    }
}

/// Says something on standard error, fit for a terminal; when even that fails there is nowhere left to say so.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", for_terminal(text));
}

/// The text without characters that a terminal would obey or nobody would see, and cut to a readable length.
pub fn tame(text: &str) -> String {
    let mut tame = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == MAX_SHOWN_CHARS {
            tame.push('…');
            break;
        }
        if is_harmful(c) {
            let _ = write!(tame, "{}", c.escape_default());
        } else {
            tame.push(c);
        }
    }
    tame
}

/// Rows under a head, each column as wide as its widest cell.
pub fn columns<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    aligned(head, &[], rows)
}

/// The same with some columns, by their place, flush right: figures are compared by their last
/// digits. Quoted text in them stays flush left, as text is read.
pub fn aligned<const N: usize>(head: [&str; N], right: &[usize], rows: &[[String; N]]) -> String {
    Columns::new(head, right).rows(rows)
}

/// Columns of a table that is written in parts: each is as wide as the widest cell so far.
pub struct Columns<'a, const N: usize> {
    /// Until it is written.
    head: Option<[&'a str; N]>,
    right: &'a [usize],
    widths: [usize; N],
}

impl<'a, const N: usize> Columns<'a, N> {
    /// Under a head, some columns flush right.
    pub fn new(head: [&'a str; N], right: &'a [usize]) -> Self {
        Self { head: Some(head), right, widths: head.map(UnicodeWidthStr::width) }
    }

    /// The next rows; the first under the head.
    pub fn rows(&mut self, rows: &[[String; N]]) -> String {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let mut text = self.head.take().map_or(String::new(), |head| self.line(head));
        for row in rows {
            text.push_str(&self.line(row.each_ref().map(String::as_str)));
        }
        text
    }

    fn line(&self, cells: [&str; N]) -> String {
        let mut line = String::new();
        for (at, (cell, width)) in cells.iter().zip(self.widths).enumerate() {
            let room = " ".repeat(width - cell.width());
            let is_right = self.right.contains(&at) && !cell.starts_with('"');
            let (before, after) = if is_right { (room.as_str(), "") } else { ("", room.as_str()) };
            let _ = write!(line, "{before}{cell}{after}  ");
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

/// A span in one unit a person reads at a glance.
pub fn span(millis: f64) -> String {
    let seconds = millis / 1e3;
    match seconds {
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 0.01 => format!("{:.1} ms", s * 1e3).replace(".0 ", " "),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

/// A time as it is answered (RFC 3339, UTC) without its fraction of a second.
pub fn to_seconds(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => tame(time),
    }
}

/// A bar that shows a share from 0 to 1.
pub fn bar(fill: f64) -> String {
    let full = (fill.clamp(0.0, 1.0) * BAR_CHARS as f64).ceil() as usize;
    format!("{}{}", "#".repeat(full), ".".repeat(BAR_CHARS - full))
}

/// A size in the unit a person reads at a glance.
pub fn human_bytes(bytes: u64) -> String {
    match bytes {
        b if b < 1 << 10 => format!("{b} B"),
        b if b < 1 << 20 => format!("{:.1} KiB", b as f64 / 1024.0),
        b if b < 1 << 30 => format!("{:.1} MiB", b as f64 / f64::from(1 << 20)),
        b => format!("{:.1} GiB", b as f64 / f64::from(1 << 30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_told_nothing_by_devices() {
        assert_eq!(tame("a\u{1b}[2Jb\nc\u{202e}"), "a\\u{1b}[2Jb\\nc\\u{202e}");
        assert_eq!(tame(&"x".repeat(100)).chars().count(), MAX_SHOWN_CHARS + 1);
    }

    #[test]
    fn columns_line_up() {
        let rows = [["a".into(), "1".into()], ["long".into(), "2".into()]];
        assert_eq!(columns(["N", "V"], &rows), "N     V\na     1\nlong  2\n");
        let mut parts = Columns::new(["N", "V"], &[1]);
        assert_eq!(parts.rows(&[["a".into(), "10".into()]]), "N   V\na  10\n");
        assert_eq!(parts.rows(&[["b".into(), "7".into()]]), "b   7\n");
        let rows = [["漢字".into(), "9.5".into(), "x".into()], ["a".into(), "10".into(), "y".into()]];
        assert_eq!(aligned(["N", "V", "U"], &[1], &rows), "N       V  U\n漢字  9.5  x\na      10  y\n");
        let rows = [["\"漢\"".into(), "x".into()], ["1".into(), "y".into()], ["\"longer\"".into(), "z".into()]];
        assert_eq!(aligned(["VALUE", "U"], &[0], &rows), "   VALUE  U\n\"漢\"      x\n       1  y\n\"longer\"  z\n");
    }

    #[test]
    fn times_are_told_to_the_second() {
        assert_eq!(to_seconds("2026-01-31T12:00:00.123456Z"), "2026-01-31T12:00:00Z");
        assert_eq!(to_seconds("then\u{1b}"), "then\\u{1b}");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([count(7), count(1_000), count(1_234_567)], ["7", "1,000", "1,234,567"]);
        let counted = [plural(0, "row"), plural(1, "row"), plural(1, "entry"), plural(1_000, "entry")];
        assert_eq!(counted, ["0 rows", "1 row", "1 entry", "1,000 entries"]);
        let spans = [0.5, 1.26, 12.34, 1_500.0, 600_000.0, 10_800_000.0].map(span);
        assert_eq!(spans, ["500 µs", "1.3 ms", "12 ms", "1.5 s", "10 min", "3.0 h"]);
    }
}
