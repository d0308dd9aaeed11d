//! The ring file changes under a running daemon, which ends rather than send what nothing vouches for; the next start goes on.

use std::{fs, os::unix::fs::FileExt};

use super::{AFTER, BEFORE, LIMIT, Loss, Stage};
use crate::support::QuestDb;

#[test]
fn a_record_that_rots_under_the_running_daemon_is_not_sent_and_costs_only_itself() {
    let mut stage = Stage::filled("rot");
    let ring = stage.daemon.ring();
    let bytes = fs::read(&ring).expect("the ring");
    let at = 150_000 + bytes[150_000..].windows(5).position(|window| window == b"site-").expect("rows");
    let file = fs::File::options().write(true).open(&ring).expect("the ring");
    file.write_all_at(&[bytes[at] ^ 4], at as u64).expect("one byte");
    stage.connect();
    let status = stage.daemon.wait_end(LIMIT);
    let log = stage.log();
    assert_eq!(status.code(), Some(5), "{log}");
    assert!(log.contains("no longer matches its checksum") && log.contains("the next start recovers"), "{log}");

    stage.broker.kill9();
    stage.broker.restart();
    stage.start();
    stage.publish(AFTER);
    let losses = Loss::all(&stage.log());
    let [loss] = &losses[..] else { panic!("{losses:?}\n{}", stage.log()) };
    assert_eq!((loss.first, &loss.tables), (loss.last, &stage.readings.name), "{loss:?}");
    stage.assert_balanced(BEFORE + AFTER, &Loss::readings(&losses));
}

#[test]
fn a_file_cut_under_the_running_daemon_ends_it_and_the_next_start_goes_on() {
    let mut stage = Stage::filled("cut_running");
    stage.cut(100_000);
    // It meets the cut when it stores the next reading.
    stage.readings.publish(&mut stage.broker.publisher().expect("connects"), BEFORE..BEFORE + 1);
    assert!(!stage.daemon.wait_end(LIMIT).success());
    stage.broker.kill9();
    stage.broker.restart();
    stage.published += 1;
    let log = stage.go_on();
    assert!(log.contains("had been cut short"), "{log}");
    // The latest header is from the start, and so nothing tells how many there were behind the cut.
    stage.daemon.wait_drained(stage.daemon.ledger("messages"), LIMIT);
    let present = stage.readings.present(QuestDb::shared());
    let kept = present.len() as u64 - AFTER;
    assert!(kept > 100 && kept < BEFORE, "{kept}");
    assert!((0..kept).chain(BEFORE + 1..stage.published).all(|n| present.contains(&n)), "the first, and the new ones");
    assert_eq!(stage.daemon.ledger("stored"), kept + AFTER);
}
