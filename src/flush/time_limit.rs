//! How long a request may take (pure): as long as the model expects, with room, in steps.
//!
//! A step is the configured time halved some times, as long as that is no less than [`LEAST`]. The limit grows at once, to the step that is needed, and
//! shrinks by one step after a calm while, so that the sender, which has its limit built in, is built anew a few times an hour. It never
//! exceeds the configured time: whatever counts in that time (the grace of [`super::late`], the watchdog's deadlines) holds for every step.

use std::time::Duration;

/// No server is given up sooner, unless the configuration says so.
pub const LEAST: Duration = Duration::from_secs(2);
/// Times the expected time that a request is given.
const ROOM: f64 = 4.0;
/// Spreads that count as expected.
const SPREADS: f64 = 3.0;
/// Times the slowest answer of late that a request is given.
const ROOM_OVER_SLOWEST: f64 = 1.5;
/// An answer counts as one of late for so long, and for up to twice that.
const OF_LATE: Duration = Duration::from_mins(1);
/// What is needed has to fit into the smaller step so many times before it is taken.
const ROOM_TO_SHRINK: f64 = 1.25;
/// A step is kept for at least so long and so many answers before a smaller one.
const CALM: Duration = Duration::from_secs(15);
const CALM_ANSWERS: u32 = 20;
/// The same after a request that was not answered in time.
const CALM_AFTER_TIMEOUT: Duration = Duration::from_mins(10);

/// A lane's limit for its next request. Times are since an arbitrary, fixed start.
#[derive(Debug, Clone)]
pub struct TimeLimit {
    ceiling: Duration,
    /// Times the ceiling is halved.
    step: u32,
    slowest: Slowest,
    /// The smaller step would have done since then, and for so many answers.
    calm_since: Option<Duration>,
    calm_answers: u32,
    /// No smaller step before.
    kept_until: Duration,
}

impl TimeLimit {
    /// Begins with the configured time, which is the longest.
    pub fn new(configured: Duration) -> Self {
        Self {
            ceiling: configured,
            step: 0,
            slowest: Slowest::default(),
            calm_since: None,
            calm_answers: 0,
            kept_until: Duration::ZERO,
        }
    }

    /// Time for the next request, its bytes apart.
    pub fn current(&self) -> Duration {
        self.of_step(self.step)
    }

    /// Takes in that a request was answered at `now` and took `took`, where `expected`, give or take `spread`, was foretold for the
    /// largest request that may come next.
    pub fn answered(&mut self, now: Duration, took: Duration, expected: Duration, spread: Duration) {
        self.slowest.take_in(now, took);
        let expected = ROOM * (expected.as_secs_f64() + SPREADS * spread.as_secs_f64());
        let needed = expected.max(ROOM_OVER_SLOWEST * self.slowest.of_late().as_secs_f64());
        if needed > self.current().as_secs_f64() {
            while self.step > 0 && needed > self.current().as_secs_f64() {
                self.step -= 1;
            }
            self.begin_anew();
        } else if self.has_smaller() && needed * ROOM_TO_SHRINK <= self.of_step(self.step + 1).as_secs_f64() {
            self.calm_answers = self.calm_answers.saturating_add(1);
            let since = *self.calm_since.get_or_insert(now);
            let is_calm = now.saturating_sub(since) >= CALM && self.calm_answers >= CALM_ANSWERS;
            if is_calm && now >= self.kept_until {
                self.step += 1;
                self.begin_anew();
            }
        } else {
            self.begin_anew();
        }
    }

    /// Takes in that a request was not answered in time: the next gets twice as long, up to the ceiling.
    pub fn timed_out(&mut self, now: Duration) {
        self.step = self.step.saturating_sub(1);
        self.kept_until = now + CALM_AFTER_TIMEOUT;
        self.begin_anew();
    }

    /// Takes in that the connection was lost: who comes back may need longer at first.
    pub fn lost(&mut self) {
        self.step = 0;
        self.begin_anew();
    }

    fn begin_anew(&mut self) {
        (self.calm_since, self.calm_answers) = (None, 0);
    }

    fn of_step(&self, step: u32) -> Duration {
        self.ceiling / 2u32.saturating_pow(step)
    }

    fn has_smaller(&self) -> bool {
        self.of_step(self.step + 1) >= LEAST
    }
}

/// The slowest answer of this span and the one before.
#[derive(Debug, Clone, Default)]
struct Slowest {
    began: Duration,
    now: Duration,
    before: Duration,
}

impl Slowest {
    fn take_in(&mut self, now: Duration, took: Duration) {
        let age = now.saturating_sub(self.began);
        if age >= OF_LATE {
            self.before = if age < OF_LATE * 2 { self.now } else { Duration::ZERO };
            (self.began, self.now) = (now, Duration::ZERO);
        }
        self.now = self.now.max(took);
    }

    fn of_late(&self) -> Duration {
        self.now.max(self.before)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    /// Answers one a second from `from` on, each of which took and was expected to take `time`; the changes of the limit.
    fn answers(limit: &mut TimeLimit, from: u64, seconds: u64, time: Duration) -> u32 {
        let mut changes = 0;
        for second in from..from + seconds {
            let before = limit.current();
            limit.answered(SECOND * second as u32, time, time, time / 10);
            changes += u32::from(limit.current() != before);
        }
        changes
    }

    #[test]
    fn a_fast_server_is_given_less_time_step_by_step() {
        let mut limit = TimeLimit::new(10 * SECOND);
        assert_eq!(limit.current(), 10 * SECOND);
        assert_eq!(answers(&mut limit, 0, 19, 10 * MS), 0);
        assert_eq!(answers(&mut limit, 19, 3, 10 * MS), 1);
        assert_eq!(limit.current(), 5 * SECOND);
        answers(&mut limit, 22, 500, 10 * MS);
        assert_eq!(limit.current(), 2_500 * MS);
    }

    #[test]
    fn it_never_falls_below_the_least_nor_below_a_shorter_configured_time() {
        let mut limit = TimeLimit::new(3 * SECOND);
        answers(&mut limit, 0, 500, MS);
        assert_eq!(limit.current(), 3 * SECOND);
        let mut limit = TimeLimit::new(4 * SECOND);
        answers(&mut limit, 0, 500, MS);
        assert_eq!(limit.current(), LEAST);
        let mut limit = TimeLimit::new(SECOND);
        assert_eq!(answers(&mut limit, 0, 500, MS), 0);
        assert_eq!(limit.current(), SECOND);
    }

    #[test]
    fn a_slower_server_is_given_its_time_at_once() {
        let mut limit = TimeLimit::new(40 * SECOND);
        answers(&mut limit, 0, 1_000, 10 * MS);
        assert_eq!(limit.current(), 2_500 * MS);
        limit.answered(1_001 * SECOND, 10 * MS, 1_000 * MS, 200 * MS);
        assert_eq!(limit.current(), 10 * SECOND);
        limit.answered(1_002 * SECOND, 10 * MS, 400 * SECOND, SECOND);
        assert_eq!(limit.current(), 40 * SECOND);
    }

    #[test]
    fn stalls_that_keep_coming_are_no_reason_to_give_up() {
        let mut limit = TimeLimit::new(10 * SECOND);
        let mut second = 0;
        for _ in 0..30 {
            answers(&mut limit, second, 50, 5 * MS);
            second += 50;
            limit.answered(SECOND * second as u32, 3 * SECOND, 5 * MS, MS);
            second += 1;
        }
        assert_eq!(limit.current(), 5 * SECOND, "one and a half times the stall fits");
    }

    #[test]
    fn a_request_out_of_time_makes_the_next_ones_longer_and_keeps_them_so() {
        let mut limit = TimeLimit::new(10 * SECOND);
        answers(&mut limit, 0, 500, MS);
        limit.timed_out(500 * SECOND);
        assert_eq!(limit.current(), 5 * SECOND);
        assert_eq!(answers(&mut limit, 501, 590, MS), 0);
        answers(&mut limit, 1_091, 60, MS);
        assert_eq!(limit.current(), 2_500 * MS);
        limit.lost();
        assert_eq!(limit.current(), 10 * SECOND);
    }

    #[derive(Debug, Clone)]
    enum Event {
        Answered { took_ms: u64, expected_ms: u64, spread_ms: u64 },
        TimedOut,
        Lost,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            30 => (0u64..4_000, 0u64..2_000, 0u64..1_000).prop_map(|(took_ms, expected_ms, spread_ms)|
                Event::Answered { took_ms, expected_ms, spread_ms }),
            30 => (0u64..20, 0u64..20, 0u64..5).prop_map(|(took_ms, expected_ms, spread_ms)|
                Event::Answered { took_ms, expected_ms, spread_ms }),
            1 => Just(Event::TimedOut),
            1 => Just(Event::Lost),
        ]
    }

    proptest! {
        #[test]
        fn it_keeps_to_its_bounds_gives_what_is_needed_and_shrinks_rarely(
            ceiling_ms in 1u64..120_000, events in prop::collection::vec((event(), 0u64..5_000), 0..400),
        ) {
            let ceiling = MS * ceiling_ms as u32;
            let mut limit = TimeLimit::new(ceiling);
            let (mut now, mut shrunk) = (Duration::ZERO, 0);
            for (event, later_ms) in events {
                now += MS * later_ms as u32;
                let before = limit.current();
                match event {
                    Event::Answered { took_ms, expected_ms, spread_ms } => {
                        let of = |ms: u64| MS * ms as u32;
                        limit.answered(now, of(took_ms), of(expected_ms), of(spread_ms));
                        let needed = (4 * of(expected_ms) + 12 * of(spread_ms)).max(of(took_ms) * 3 / 2);
                        prop_assert!(limit.current() + MS >= needed.min(ceiling), "{needed:?} {limit:?}");
                    }
                    Event::TimedOut => {
                        limit.timed_out(now);
                        prop_assert!(limit.current() + MS >= (before * 2).min(ceiling));
                    }
                    Event::Lost => limit.lost(),
                }
                prop_assert!(limit.current() >= LEAST.min(ceiling) && limit.current() <= ceiling);
                shrunk += u32::from(limit.current() < before);
                prop_assert!(CALM * shrunk <= now);
            }
        }
    }
}
