//! The resend window: which settled records are old enough to be safe. Pure.

use std::{collections::VecDeque, time::Duration};

use super::marks::Mark;

/// Samples kept of the settled watermark's way; the window is cut into as many steps.
const SAMPLES: u32 = 64;

/// Follows the settled watermark and says what of it is at least a window old.
#[derive(Debug)]
pub struct ResendWindow {
    window: Duration,
    samples: VecDeque<(Duration, Mark)>,
    safe: Mark,
}

impl ResendWindow {
    /// A window that begins with `safe` known to be old enough.
    pub fn new(window: Duration, safe: Mark) -> Self {
        Self { window, samples: VecDeque::new(), safe }
    }

    /// Takes note that at `now` (time since boot) everything before `settled` is settled; returns what is safe: what was
    /// settled a window before `seen`, the last time the database was known not to have been restarted.
    pub fn advance(&mut self, now: Duration, seen: Duration, settled: Mark) -> Mark {
        let step = self.window / SAMPLES;
        let newest = self.samples.back();
        if newest.map_or(self.safe, |(_, mark)| *mark) < settled
            && newest.is_none_or(|(time, _)| now.saturating_sub(*time) >= step)
        {
            self.samples.push_back((now, settled));
        }
        while let Some(&(time, mark)) = self.samples.front() {
            if seen.saturating_sub(time) < self.window {
                break;
            }
            self.safe = mark;
            self.samples.pop_front();
        }
        self.safe
    }

    /// Begins anew at `now` for all that is not safe yet: it is sent again, to a database that was restarted.
    pub fn restart(&mut self, now: Duration) {
        if let Some((_, newest)) = self.samples.pop_back() {
            self.samples.clear();
            self.samples.push_back((now, newest));
        }
    }

    /// Gives up the window before `mark`, because its space is needed more.
    pub fn force(&mut self, mark: Mark) {
        self.safe = self.safe.max(mark);
        self.samples.retain(|(_, sample)| *sample > mark);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::marks::{Pos, Seq},
        *,
    };

    fn advance(window: &mut ResendWindow, now: u64, seen: u64, settled: u64) -> Mark {
        window.advance(Duration::from_secs(now), Duration::from_secs(seen), mark(settled))
    }

    fn mark(n: u64) -> Mark {
        Mark { pos: Pos(n), seq: Seq(n) }
    }

    #[test]
    fn nothing_is_safe_before_the_window_has_passed_and_all_is_after_it() {
        let mut window = ResendWindow::new(Duration::from_secs(64), Mark::default());
        for second in 0..64 {
            assert_eq!(advance(&mut window, second, second, 10 + second), Mark::default());
        }
        assert_eq!(advance(&mut window, 64, 64, 99), mark(10));
        assert_eq!(advance(&mut window, 200, 200, 99), mark(99));
    }

    #[test]
    fn time_in_which_the_database_was_not_seen_does_not_count() {
        let mut window = ResendWindow::new(Duration::from_secs(64), Mark::default());
        assert_eq!(advance(&mut window, 0, 0, 10), Mark::default());
        assert_eq!(advance(&mut window, 1_000, 63, 20), Mark::default());
        assert_eq!(advance(&mut window, 1_000, 64, 20), mark(10));
        window.restart(Duration::from_secs(1_001));
        assert_eq!(advance(&mut window, 1_064, 1_064, 30), mark(10));
        assert_eq!(advance(&mut window, 1_065, 1_065, 30), mark(20));
    }

    #[test]
    fn memory_is_bounded_however_often_it_is_asked() {
        let mut window = ResendWindow::new(Duration::from_secs(64), Mark::default());
        for n in 0..100_000 {
            let now = Duration::from_millis(n);
            window.advance(now, now, mark(n));
            assert!(window.samples.len() <= SAMPLES as usize + 1);
        }
    }

    #[test]
    fn a_window_of_zero_makes_all_settled_safe_at_once() {
        let mut window = ResendWindow::new(Duration::ZERO, Mark::default());
        assert_eq!(advance(&mut window, 0, 0, 5), mark(5));
    }
}
