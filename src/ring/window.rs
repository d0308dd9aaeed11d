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
    /// Time since boot at which the database was last seen not to have restarted since it stored what is settled.
    kept: Option<Duration>,
}

impl ResendWindow {
    /// A window that begins with `safe` known to be old enough.
    pub fn new(window: Duration, safe: Mark) -> Self {
        Self { window, samples: VecDeque::new(), safe, kept: None }
    }

    /// Takes note that at `now` (time since boot) everything before `settled` is settled; returns what is safe.
    pub fn advance(&mut self, now: Duration, settled: Mark) -> Mark {
        let step = self.window / SAMPLES;
        let newest = self.samples.back();
        if newest.map_or(self.safe, |(_, mark)| *mark) < settled
            && newest.is_none_or(|(time, _)| now.saturating_sub(*time) >= step)
        {
            // While nobody looks at the database, the newest sample stands for all that come.
            if self.samples.len() > SAMPLES as usize {
                self.samples.pop_back();
            }
            self.samples.push_back((now, settled));
        }
        let kept = if self.window.is_zero() { Some(now) } else { self.kept };
        while let (Some(&(time, mark)), Some(kept)) = (self.samples.front(), kept) {
            if kept.checked_sub(time).is_none_or(|age| age < self.window) {
                break;
            }
            self.safe = mark;
            self.samples.pop_front();
        }
        self.safe
    }

    /// Takes note that at `now` the database has what it said it stored, as far as it is a window old.
    pub fn confirm(&mut self, now: Duration) {
        self.kept = self.kept.max(Some(now));
    }

    /// Takes note that the database may have lost what is not safe: it counts as settled when it has been sent again.
    pub fn begin_anew(&mut self, now: Duration) {
        self.samples.clear();
        self.kept = Some(now);
    }

    /// Takes note that from a place on everything may be sent again: it counts as settled when that has been done.
    pub fn hold(&mut self, from: Mark) {
        self.samples.retain(|(_, sample)| *sample <= from);
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

    fn mark(n: u64) -> Mark {
        Mark { pos: Pos(n), seq: Seq(n) }
    }

    #[test]
    fn nothing_is_safe_before_the_window_has_passed_and_all_is_after_it() {
        let mut window = ResendWindow::new(Duration::from_secs(64), Mark::default());
        for second in 0..64 {
            window.confirm(Duration::from_secs(second));
            assert_eq!(window.advance(Duration::from_secs(second), mark(10 + second)), Mark::default());
        }
        window.confirm(Duration::from_secs(64));
        assert_eq!(window.advance(Duration::from_secs(64), mark(99)), mark(10));
        window.confirm(Duration::from_secs(200));
        assert_eq!(window.advance(Duration::from_secs(200), mark(99)), mark(99));
    }

    #[test]
    fn time_alone_makes_nothing_safe_and_a_restart_begins_the_window_anew() {
        let mut window = ResendWindow::new(Duration::from_secs(60), Mark::default());
        let at = Duration::from_secs;
        window.confirm(at(0));
        window.advance(at(0), mark(5));
        assert_eq!(window.advance(at(1_000), mark(5)), Mark::default(), "nobody has looked since");
        window.begin_anew(at(1_000));
        // It is sent again only now.
        window.advance(at(1_030), mark(5));
        window.confirm(at(1_089));
        assert_eq!(window.advance(at(1_089), mark(5)), Mark::default());
        window.confirm(at(1_090));
        assert_eq!(window.advance(at(1_090), mark(5)), mark(5));
    }

    #[test]
    fn what_is_held_becomes_safe_a_window_after_it_is_let_go() {
        let mut window = ResendWindow::new(Duration::from_secs(60), Mark::default());
        let at = Duration::from_secs;
        window.advance(at(0), mark(5));
        window.advance(at(10), mark(9));
        window.hold(mark(5));
        window.confirm(at(100));
        assert_eq!(window.advance(at(100), mark(5)), mark(5));
        window.advance(at(110), mark(9));
        window.confirm(at(169));
        assert_eq!(window.advance(at(169), mark(9)), mark(5));
        window.confirm(at(170));
        assert_eq!(window.advance(at(170), mark(9)), mark(9));
    }

    #[test]
    fn memory_is_bounded_however_often_it_is_asked() {
        let mut window = ResendWindow::new(Duration::from_secs(64), Mark::default());
        for n in 0..100_000 {
            window.advance(Duration::from_millis(n), mark(n));
            assert!(window.samples.len() <= SAMPLES as usize + 1);
        }
    }

    #[test]
    fn a_window_of_zero_makes_all_settled_safe_at_once() {
        let mut window = ResendWindow::new(Duration::ZERO, Mark::default());
        assert_eq!(window.advance(Duration::ZERO, mark(5)), mark(5));
    }
}
