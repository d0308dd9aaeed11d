use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(5);

#[test]
fn the_age_is_that_of_the_oldest_transaction_not_applied() {
    let mut trace = Trace::default();
    let looks = [(0, 10, 10), (5, 20, 25), (10, 22, 40), (15, 30, 60), (20, 60, 60), (25, 60, 61)];
    let ages = looks.map(|(at, applied, accepted)| trace.look(SECOND * at, applied, accepted).as_secs());
    assert_eq!(ages, [0, 5, 10, 10, 0, 5]);
    assert_eq!(trace.look(SECOND * 1_000, 60, 61), Duration::ZERO, "nothing is known of the time between");
    assert_eq!(trace.look(SECOND * 1_005, 60, 61), EVERY);
    assert_eq!(trace.look(SECOND * 1_010, 0, 3), Duration::ZERO, "a new table of the same name");
}

#[test]
fn a_trace_is_bounded_and_stays_true() {
    let mut trace = Trace::default();
    for look in 0..1_000u32 {
        let age = trace.look(EVERY * look, 1, 1 + i64::from(look));
        assert_eq!(age, EVERY * look);
        assert!(trace.seen.len() <= MAX_SEEN);
    }
    let age = trace.look(EVERY * 1_000, 900, 2_000);
    assert!((EVERY * 100..EVERY * 250).contains(&age), "{age:?}");
}

/// A database that applies so many rows a second, and a lane that has more to send than it may.
struct Simulation {
    now: Duration,
    able: f64,
    /// Rows of a transaction.
    rows: u64,
    tells_rows: bool,
    waiting: f64,
    accepted: f64,
    applied: f64,
    ring_fill: f64,
    trace: Trace,
    pacer: Pacer,
}

impl Simulation {
    fn new(able: f64, tells_rows: bool) -> Self {
        Self {
            now: SECOND,
            able,
            rows: 100,
            tells_rows,
            waiting: 0.0,
            accepted: 0.0,
            applied: 0.0,
            ring_fill: 0.1,
            trace: Trace::default(),
            pacer: Pacer::default(),
        }
    }

    /// Goes on for so many looks; the rows applied meanwhile.
    fn run(&mut self, looks: u32, offered: f64) -> f64 {
        (0..looks).map(|_| self.step(offered)).sum()
    }

    /// Goes on to the next look with so many rows a second to send; the rows applied meanwhile.
    fn step(&mut self, offered: f64) -> f64 {
        let sent = self.pacer.pace().rows_per_s.map_or(offered, |cap| cap.min(offered)) * EVERY.as_secs_f64();
        let applied = (self.able * EVERY.as_secs_f64()).min(self.waiting + sent);
        self.accepted += sent;
        self.applied += applied;
        self.waiting += sent - applied;
        self.now += EVERY;
        let transaction = |rows: f64| (rows / self.rows as f64) as i64;
        let (done, taken) = (transaction(self.applied), transaction(self.accepted));
        let age = self.trace.look(self.now, done, taken);
        let rows = self.tells_rows.then_some(self.waiting as u64);
        self.pacer.look(Look {
            at: self.now,
            age,
            transactions: (taken - done) as u64,
            applied: done,
            rows,
            rows_of_all: rows,
            is_short_of_memory: false,
            sent: self.accepted as u64,
            ring_fill: self.ring_fill,
        });
        applied
    }
}

#[test]
fn a_database_that_keeps_up_is_never_slowed_down() {
    let mut simulation = Simulation::new(50_000.0, true);
    for _ in 0..500 {
        simulation.step(49_000.0);
        assert!(simulation.pacer.pace().is_full());
    }
}

#[test]
fn a_short_drain_is_not_slowed_down() {
    let mut simulation = Simulation::new(300_000.0, true);
    for _ in 0..2 {
        simulation.step(450_000.0);
    }
    simulation.run(10, 100.0);
    assert!(simulation.pacer.pace().is_full());
}

#[test]
fn a_log_that_is_not_applied_at_all_gets_the_least_and_never_nothing() {
    let mut simulation = Simulation::new(0.0, true);
    for _ in 0..200 {
        simulation.step(10_000.0);
    }
    assert_eq!(simulation.pacer.pace(), Pace { stretch: MAX_STRETCH, rows_per_s: Some(LEAST_ROWS_PER_S) });
    simulation.able = 100_000.0;
    for _ in 0..30 {
        simulation.step(10_000.0);
    }
    assert!(simulation.pacer.pace().is_full(), "{:?}", simulation.pacer);
}

#[test]
fn a_ring_that_fills_goes_first() {
    let mut simulation = Simulation::new(100.0, true);
    simulation.run(40, 10_000.0);
    assert!(simulation.pacer.pace().rows_per_s.is_some());
    simulation.ring_fill = RING_FIRST;
    simulation.step(10_000.0);
    assert_eq!(simulation.pacer.pace().rows_per_s, None);
    simulation.ring_fill = 0.7;
    simulation.run(5, 10_000.0);
    assert_eq!(simulation.pacer.pace().rows_per_s, None, "not back and forth");
    simulation.ring_fill = 0.5;
    simulation.run(5, 10_000.0);
    assert!(simulation.pacer.pace().rows_per_s.is_some());
}

#[test]
fn shortage_of_memory_means_fewer_requests() {
    let mut pacer = Pacer::default();
    let look = |at: u32, is_short_of_memory| Look { at: SECOND * at, is_short_of_memory, ..Look::default() };
    assert_eq!(pacer.look(look(1, true)), Pace { stretch: 2, rows_per_s: None });
    assert_eq!(pacer.look(look(6, true)).stretch, 4);
    let stretches = [11, 16, 21, 26].map(|at| pacer.look(look(at, false)).stretch);
    assert_eq!(stretches, [4, 2, 1, 1]);
}

#[test]
fn a_pace_in_words_and_effect() {
    let pace = Pace { stretch: 4, rows_per_s: Some(250.0) };
    assert_eq!(pace.sentence().unwrap(), "slowed down for QuestDB's apply lag: linger × 4, at most 250 rows/s");
    assert_eq!((pace.rows(1_000), pace.rows(7)), (250, 7));
    assert_eq!(pace.linger(Duration::from_millis(2), SECOND), Duration::from_millis(400));
    assert_eq!(pace.linger(Duration::from_millis(400), SECOND), SECOND);
    let full = Pace::default();
    assert_eq!((full.sentence(), full.rows(9), full.linger(EVERY, SECOND)), (None, 9, EVERY));
}

#[test]
fn a_throttled_lane_sends_its_rows_a_second() {
    let pace = Pace { stretch: 1, rows_per_s: Some(1_000.0) };
    let (mut throttle, mut now, mut sent) = (Throttle::default(), SECOND, 0);
    while now < 101 * SECOND {
        let wait = throttle.wait(now, pace);
        now += wait;
        if wait.is_zero() {
            throttle.sent(now, pace.rows(50_000), pace);
            sent += pace.rows(50_000);
            now += Duration::from_millis(7);
        }
    }
    assert!((99_000..=101_000).contains(&sent), "{sent}");
    assert_eq!(throttle.wait(now, Pace::default()), Duration::ZERO);
}

proptest! {
    #[test]
    fn the_lag_stays_bounded_and_the_database_busy(
        able in 500.0..200_000.0, times in 1.1..30.0, tells_rows: bool,
    ) {
        let mut simulation = Simulation::new(able, tells_rows);
        let looks = 400;
        let mut applied = 0.0;
        for look in 0..looks {
            applied += simulation.step(able * times);
            let pace = simulation.pacer.pace();
            prop_assert!(pace.rows_per_s.is_none_or(|cap| cap >= LEAST_ROWS_PER_S));
            prop_assert!((1..=MAX_STRETCH).contains(&pace.stretch));
            if look > 50 {
                let behind_s = simulation.waiting / able;
                prop_assert!(behind_s < 400.0, "{behind_s} s at {look}: {:?}", simulation.pacer);
            }
        }
        let possible = able * EVERY.as_secs_f64() * f64::from(looks);
        prop_assert!(applied > 0.9 * possible, "{applied} of {possible}: {:?}", simulation.pacer);
        // And once there is little to send, full speed is back.
        for _ in 0..150 {
            simulation.step(able * 0.1);
        }
        prop_assert!(simulation.pacer.pace().is_full(), "{:?}", simulation.pacer);
    }

    #[test]
    fn whatever_is_seen_the_pace_stays_in_its_bounds(looks in prop::collection::vec(
        (0u64..40_000, 0u64..1_000, any::<u64>(), any::<i64>(), prop::option::of(any::<u64>()), any::<bool>(), any::<u64>(), 0.0..1.0), 1..100,
    )) {
        let (mut pacer, mut at) = (Pacer::default(), Duration::ZERO);
        for (later_ms, age_s, transactions, applied, rows, is_short_of_memory, sent, ring_fill) in looks {
            at += Duration::from_millis(later_ms);
            let age = SECOND * age_s as u32;
            let look =
                Look { at, age, transactions, applied, rows, rows_of_all: rows, is_short_of_memory, sent, ring_fill };
            let pace = pacer.look(look);
            prop_assert!((1..=MAX_STRETCH).contains(&pace.stretch));
            prop_assert!(pace.rows_per_s.is_none_or(|cap| cap.is_finite() && cap >= LEAST_ROWS_PER_S));
            prop_assert!(ring_fill < RING_FIRST || pace.rows_per_s.is_none());
        }
    }
}
