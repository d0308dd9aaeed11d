//! When a commit is due. Pure.
//!
//! A commit costs the disk a page, however little it seals, and whoever brought a reading waits for
//! it. So it waits for company: until a page's worth has come or the longest spacing is over,
//! unless nothing more is to be expected by then.

use std::time::{Duration, Instant};

/// Least time between commits.
pub const LEAST: Duration = Duration::from_millis(5);
/// Most time between commits while something waits for one.
pub const LONGEST: Duration = Duration::from_millis(20);
/// So many messages have to be expected by the end of the longest spacing for a commit to wait for
/// them: 20 a second.
const COMPANY: f64 = 0.4;
/// Rates are those of about the last second.
const RATE_OVER_S: f64 = 1.0;

/// What decides over a commit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Look {
    /// A page's worth waits.
    pub has_page: bool,
    /// The broker sends nothing before it has an acknowledgement.
    pub broker_waits: bool,
    /// Requests to write that are being taken in; others wait for a commit.
    pub writing: usize,
}

/// Messages by who brought them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Came {
    pub all: u64,
    /// Of these, from the broker.
    pub broker: u64,
    /// Of these, by requests to write.
    pub writers: u64,
}

/// When a commit is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Now,
    /// Then, whatever happens.
    At(Instant),
    /// Then at the latest; sooner when a page's worth has come, or nobody can bring more.
    By(Instant),
}

/// How commits follow each other with `commit_spacing = "auto"`.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the latest commit began, and what had come by then.
    last: Option<(Instant, Came)>,
    all: Rate,
    broker: Rate,
    writers: Rate,
}

impl Pace {
    /// Takes note of a commit that begins.
    pub fn committed(&mut self, at: Instant, came: Came) {
        if let Some((last, before)) = self.last {
            let span = at.saturating_duration_since(last).as_secs_f64();
            self.all.note(came.all.saturating_sub(before.all), span);
            self.broker.note(came.broker.saturating_sub(before.broker), span);
            self.writers.note(came.writers.saturating_sub(before.writers), span);
        }
        self.last = Some((at, came));
    }

    /// When what waits is to be committed.
    pub fn due(&self, look: &Look, now: Instant) -> Due {
        let Some((last, _)) = self.last else { return Due::Now };
        let (least, longest) = (last + LEAST, last + LONGEST);
        if now < least {
            return Due::At(least);
        }
        let left = longest.saturating_duration_since(now);
        if look.has_page || left.is_zero() || self.expected(look, left) < COMPANY {
            return Due::Now;
        }
        Due::By(longest)
    }

    /// Messages to be expected within so long. A writer who waits for this commit brings nothing,
    /// one who is being taken in one.
    fn expected(&self, look: &Look, within: Duration) -> f64 {
        let waiting = if look.broker_waits { self.broker.per_s } else { 0.0 };
        let freely = (self.all.per_s - self.writers.per_s - waiting).max(0.0);
        freely * within.as_secs_f64() + look.writing as f64
    }
}

/// Messages a second, lately.
#[derive(Debug, Default)]
struct Rate {
    per_s: f64,
}

impl Rate {
    fn note(&mut self, count: u64, span_s: f64) {
        if span_s > 0.0 {
            let weight = 1.0 - (-span_s / RATE_OVER_S).exp();
            self.per_s += weight * (count as f64 / span_s - self.per_s);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Commits of a flow of `rate` messages a second of a 25th of a page, each as soon as it is
    /// due; the times between them. `look` is told how many wait, and says whether they are from
    /// the broker, too.
    fn commits(rate: f64, seconds: f64, look: impl Fn(u64) -> (Look, bool)) -> Vec<f64> {
        let start = Instant::now();
        let at = |s: f64| start + Duration::from_secs_f64(s);
        let (mut pace, mut now, mut sealed, mut spans, mut last) = (Pace::default(), 0.0, 0u64, Vec::new(), None);
        while now < seconds {
            let come = (now * rate) as u64;
            if come > sealed {
                let (look, broker) = look(come - sealed);
                if pace.due(&Look { has_page: come - sealed >= 25, ..look }, at(now)) == Due::Now {
                    pace.committed(at(now), Came { all: come, broker: if broker { come } else { 0 }, writers: 0 });
                    sealed = come;
                    spans.extend(last.replace(now).map(|last| now - last));
                }
            }
            now += 0.000_1;
        }
        spans
    }

    fn mean(spans: &[f64]) -> f64 {
        let late = &spans[spans.len() / 2..];
        late.iter().sum::<f64>() / late.len() as f64
    }

    #[test]
    fn rare_messages_are_committed_at_once_and_frequent_ones_share_commits() {
        let of = |rate: f64| mean(&commits(rate, 8.0, |_| (Look::default(), true)));
        assert!((of(10.0) - 0.1).abs() < 0.002, "each by itself: {}", of(10.0));
        assert!((of(500.0) - 0.02).abs() < 0.001, "the longest spacing: {}", of(500.0));
        assert!((of(2_000.0) - 0.012_5).abs() < 0.001, "a page: {}", of(2_000.0));
        assert!((of(50_000.0) - 0.005).abs() < 0.000_3, "the least spacing: {}", of(50_000.0));
    }

    #[test]
    fn two_messages_after_each_other_now_and_then_wait_for_nobody() {
        let start = Instant::now();
        let mut pace = Pace::default();
        for second in 0..60u64 {
            let came = Came { all: second, ..Came::default() };
            pace.committed(start + Duration::from_secs(second), came);
        }
        let just_after = start + Duration::from_secs(59) + Duration::from_millis(1);
        let look = Look::default();
        assert_eq!(pace.due(&look, just_after), Due::At(start + Duration::from_secs(59) + LEAST));
        assert_eq!(pace.due(&look, start + Duration::from_secs(59) + LEAST), Due::Now);
    }

    #[test]
    fn a_broker_that_waits_for_acknowledgements_is_not_waited_for() {
        let full = |waiting: u64| Look { broker_waits: waiting >= 6, ..Look::default() };
        let of = |is_from_broker: bool| mean(&commits(1_000.0, 8.0, |waiting| (full(waiting), is_from_broker)));
        assert!((of(true) - 0.006).abs() < 0.000_5, "as soon as its window is full: {}", of(true));
        assert!((of(false) - 0.02).abs() < 0.001, "others bring more all the same: {}", of(false));
    }

    #[test]
    fn writers_who_all_wait_are_not_made_to_and_one_who_is_taken_in_is_waited_for() {
        let start = Instant::now();
        let mut pace = Pace::default();
        let came = |n| Came { all: n, broker: 0, writers: n };
        for n in 0..1_000u64 {
            pace.committed(start + Duration::from_millis(5 * n), came(n));
        }
        let now = start + Duration::from_millis(5 * 999 + 6);
        let due = |writing| pace.due(&Look { writing, ..Look::default() }, now);
        assert_eq!(due(0), Due::Now);
        assert_eq!(due(1), Due::By(start + Duration::from_millis(5 * 999) + LONGEST));
    }

    proptest! {
        /// Never more often than the least spacing, never later than the longest.
        #[test]
        fn commits_keep_to_both_bounds(
            rates in prop::collection::vec(0u64..3_000, 1..200), page in 1u64..60, waits: bool, writing in 0usize..3,
        ) {
            let start = Instant::now();
            let (mut pace, mut now, mut came, mut waiting, mut since, mut last) =
                (Pace::default(), start, Came::default(), 0, start, None::<Instant>);
            for new in rates {
                now += Duration::from_millis(1);
                let new = new / 100;
                if waiting == 0 && new > 0 {
                    since = now;
                }
                waiting += new;
                came = Came { all: came.all + new, broker: came.broker + new, writers: 0 };
                if waiting == 0 {
                    continue;
                }
                match pace.due(&Look { has_page: waiting >= page, broker_waits: waits, writing }, now) {
                    Due::Now => {
                        prop_assert!(last.is_none_or(|last| now >= last + LEAST));
                        pace.committed(now, came);
                        (last, waiting) = (Some(now), 0);
                    }
                    Due::At(then) => prop_assert!(then > now && then <= now + LEAST),
                    Due::By(then) => prop_assert!(then > now && then <= since.max(last.unwrap_or(since)) + LONGEST),
                }
            }
        }
    }
}
