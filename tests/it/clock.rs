//! A clock that is not set: what the wall clock shows counts as wrong for some seconds, while it is
//! before `max_past`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::support::{
    Daemon, DaemonBuilder, Mosquitto, QuestDb, Readings, daemon::told, eventually, eventually_eq, unique,
};

const LIMIT: Duration = Duration::from_secs(60);
/// How long the clock counts as not set: the daemon starts twice meanwhile.
const NOT_SET: SignedDuration = SignedDuration::from_secs(25);
/// By how much the clock may be corrected meanwhile.
const SLEW: SignedDuration = SignedDuration::from_millis(500);

#[test]
fn rows_timed_by_a_clock_that_is_not_set_get_their_times_later_and_keep_nobody_waiting() {
    const MESSAGES: u64 = 600;
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    // The devices' clocks are right, and later than what counts as not set.
    let timed = Readings::new(unique("timed"), 5).later(Duration::from_mins(12));
    let untimed = Readings::new(unique("untimed"), 5);
    let max_past = Timestamp::now() + NOT_SET;
    let builder = DaemonBuilder::new().servers(&broker, questdb).source(&timed).source_by_receipt(&untimed);
    let mut daemon = builder.set("latest.max_past", max_past.to_string()).start();
    daemon.wait_subscribed();
    let held = |daemon: &Daemon| daemon.status()["ring"]["held_rows"].as_u64();

    let mut publisher = broker.publisher().expect("connects");
    let began = Timestamp::now();
    untimed.publish(&mut publisher, 0..MESSAGES);
    timed.publish(&mut publisher, 0..MESSAGES);
    eventually_eq(LIMIT, "all of them are taken", 2 * MESSAGES, || daemon.ledger("rows"));
    let ended = Timestamp::now();
    eventually_eq(LIMIT, "and acknowledged", Some(0), || daemon.broker()["unacknowledged"].as_u64());
    timed.assert_exactly_once(questdb, MESSAGES, LIMIT);
    eventually_eq(LIMIT, "only the held ones are pending", MESSAGES, || daemon.ledger("pending"));
    assert_eq!(held(&daemon), Some(MESSAGES));
    assert!(questdb.try_sql(&format!("SELECT count() FROM '{}'", untimed.name)).is_err(), "none is stored");

    daemon.kill9();
    daemon.restart();
    assert!(Timestamp::now() < max_past, "this machine is too slow for the test");
    assert_eq!(held(&daemon), Some(MESSAGES), "a start finds them");

    // Killed as soon as some go on.
    eventually(LIMIT, "the time comes", || Timestamp::now() >= max_past && daemon.ledger("stored") > MESSAGES);
    daemon.kill9();
    daemon.restart();
    eventually_eq(LIMIT, "all of them are stored", 2 * MESSAGES, || daemon.ledger("stored"));
    assert_eq!((daemon.ledger("rows"), daemon.ledger("pending"), held(&daemon)), (2 * MESSAGES, 0, Some(0)));
    untimed.assert_exactly_once(questdb, MESSAGES, LIMIT);
    let time = |of: &str| {
        let micros = questdb.number(&format!("SELECT {of}(timestamp)::long FROM '{}'", untimed.name));
        Timestamp::from_microsecond(micros).expect("a time")
    };
    let (first, last) = (time("min"), time("max"));
    assert!(began - SLEW < first && last < ended + SLEW, "{first} to {last}; published from {began} to {ended}");
    let (code, text, error) = told(&daemon.cli(&["verify"]));
    assert_eq!(code, 0, "{text}{error}");
}
