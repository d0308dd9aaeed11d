//! Which rows set aside are worth a line in the journal: the first of a kind, and one each ten
//! minutes that says how many more there were. Pure.

use std::{collections::BTreeMap, fmt, time::Duration};

/// Least time between two lines of a kind, and that in which at most [`MAX_LINES`] are written.
const BETWEEN_LINES: Duration = Duration::from_mins(10);
/// Kinds remembered; the one told the longest ago is forgotten beyond.
const MAX_KINDS: usize = 256;
/// Lines of all kinds in that time: devices can make up tables, and so kinds.
const MAX_LINES: u32 = 20;

/// What was told.
#[derive(Debug, Default)]
pub struct Notices {
    /// By table and kind of reason: when it was told, and rows since.
    kinds: BTreeMap<(String, String), (Duration, u64)>,
    /// When the present ten minutes began, and lines in them.
    lines: (Duration, u32),
    /// Rows of kinds that no line was left for.
    untold: u64,
}

/// Rows that a line tells of beside the one it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct More {
    /// Of the same kind, since it was told.
    same: u64,
    /// Of others.
    others: u64,
}

impl fmt::Display for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.same > 0 {
            write!(f, "; and {} more of this kind since the last line", self.same)?;
        }
        if self.others > 0 {
            write!(f, "; and {} of kinds that are not listed here: see `forebay quarantine ls`", self.others)?;
        }
        Ok(())
    }
}

impl Notices {
    /// Takes note of rows of a table that are set aside for a kind of reason; what a line about one
    /// of them has to tell beside it, when one is due.
    pub fn note(&mut self, table: &str, kind: String, rows: u64, now: Duration) -> Option<More> {
        let key = (table.to_owned(), kind);
        let told = self.kinds.get_mut(&key);
        let is_recent = |at: Duration| now.saturating_sub(at) < BETWEEN_LINES;
        if let Some((at, since)) = told
            && is_recent(*at)
        {
            *since += rows;
            return None;
        }
        if !is_recent(self.lines.0) {
            self.lines = (now, 0);
        }
        if self.lines.1 >= MAX_LINES {
            self.untold += rows;
            return None;
        }
        self.lines.1 += 1;
        let same = self.kinds.insert(key, (now, 0)).map_or(0, |(_, since)| since) + rows.saturating_sub(1);
        if self.kinds.len() > MAX_KINDS
            && let Some(oldest) = self.kinds.iter().min_by_key(|(_, (at, _))| *at).map(|(key, _)| key.clone())
        {
            let forgotten = self.kinds.remove(&oldest);
            self.untold += forgotten.map_or(0, |(_, since)| since);
        }
        Some(More { same, others: std::mem::take(&mut self.untold) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_hours(1);

    #[test]
    fn a_kind_is_told_at_once_and_then_each_ten_minutes_with_how_many_more() {
        let mut notices = Notices::default();
        let mut note =
            |table: &str, kind: &str, now| notices.note(table, kind.into(), 1, now).map(|more| more.to_string());
        assert_eq!(note("t", "no number", START).as_deref(), Some(""));
        for number in 1..1_000 {
            assert_eq!(note("t", "no number", START + Duration::from_millis(number)), None);
        }
        assert_eq!(note("u", "no number", START).as_deref(), Some(""), "another table");
        assert_eq!(note("t", "too long", START).as_deref(), Some(""), "another kind");
        let told = note("t", "no number", START + BETWEEN_LINES);
        assert_eq!(told.as_deref(), Some("; and 999 more of this kind since the last line"));
        assert_eq!(note("t", "no number", START + 2 * BETWEEN_LINES).as_deref(), Some(""));
    }

    #[test]
    fn however_many_kinds_there_are_the_lines_are_few_and_all_rows_are_told_of() {
        let mut notices = Notices::default();
        let (mut lines, mut told) = (0, 0);
        for minute in 0..600 {
            for number in 0..50 {
                let table = format!("t{}", (minute * 7 + number) % 5_000);
                if let Some(More { same, others }) =
                    notices.note(&table, "r".into(), 1, START + Duration::from_mins(minute))
                {
                    lines += 1;
                    told += 1 + same + others;
                }
                assert!(notices.kinds.len() <= MAX_KINDS);
            }
        }
        let waiting: u64 = notices.kinds.values().map(|(_, since)| since).sum();
        assert_eq!(told + waiting + notices.untold, 600 * 50);
        assert!(lines <= 60 * MAX_LINES, "{lines}");
    }
}
