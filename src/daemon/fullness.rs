//! Tells the journal that the ring is full, and that it has room again. Pure but for the lines.

use std::time::Duration;

use crate::settings::OnFull;

/// A ring that is full, or full again, is told again after this.
const REMINDER: Duration = Duration::from_mins(10);

/// What was told of the ring.
#[derive(Debug, Default)]
pub struct Fullness {
    /// Since when it is full.
    since: Option<Duration>,
    /// When that was told last.
    told_at: Option<Duration>,
    /// Whether its end is to be told.
    is_told: bool,
}

/// What is worth a line.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Full,
    /// After so long.
    RoomAgain(Duration),
}

impl Fullness {
    /// Tells what has changed.
    pub fn look(&mut self, now: Duration, is_full: bool, on_full: OnFull) {
        match self.news(now, is_full) {
            Some(News::Full) => tracing::warn!(
                "the ring is full, and {}; bring the database back, or make the ring larger (forebay ring size)",
                on_full.consequence()
            ),
            Some(News::RoomAgain(lasted)) => {
                tracing::info!(lasted_s = lasted.as_secs(), "the ring has room again");
            }
            None => {}
        }
    }

    fn news(&mut self, now: Duration, is_full: bool) -> Option<News> {
        if !is_full {
            let since = self.since.take()?;
            let is_told = std::mem::take(&mut self.is_told);
            return is_told.then(|| News::RoomAgain(now.saturating_sub(since)));
        }
        self.since.get_or_insert(now);
        if self.told_at.is_some_and(|told_at| now.saturating_sub(told_at) < REMINDER) {
            return None;
        }
        (self.told_at, self.is_told) = (Some(now), true);
        Some(News::Full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_is_told_once_and_reminded_of_however_often_it_has_a_little_room() {
        let at = Duration::from_secs;
        let mut fullness = Fullness::default();
        assert_eq!(fullness.news(at(0), false), None);
        assert_eq!(fullness.news(at(10), true), Some(News::Full));
        assert_eq!(fullness.news(at(12), true), None);
        assert_eq!(fullness.news(at(40), false), Some(News::RoomAgain(at(30))));
        let lines = (0..300).filter(|tick| fullness.news(at(42 + 2 * tick), tick % 2 == 0).is_some()).count();
        assert_eq!(lines, 2, "full once more after ten minutes, and room again");
        let lasting = (0..1_800).filter(|tick| fullness.news(at(1_000 + 2 * tick), true).is_some()).count();
        assert_eq!(lasting, 6, "six in an hour");
    }
}
