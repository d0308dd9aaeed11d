//! The ring file is there, and something is wrong with what is in it.

use std::{collections::BTreeSet, fs};

use super::{AFTER, BEFORE, DATA_START, LIMIT, Loss, SLOT, Stage, beside, field};
use crate::support::{DaemonBuilder, Mosquitto, QuestDb, Readings, eventually, eventually_eq, scratch, unique};

#[test]
fn a_file_cut_in_its_data_loses_what_was_behind_the_cut_and_says_what() {
    // In the middle of the rows, behind the first of them, and right behind the headers.
    for length in [200_000, DATA_START as u64 + 700, DATA_START as u64] {
        let mut stage = Stage::filled("cut");
        stage.end(true);
        stage.cut(length);
        let log = stage.go_on();
        let line = log.lines().find(|line| line.contains("had been cut short")).unwrap_or_else(|| panic!("{log}"));
        assert_eq!(field(line, "bytes"), length.to_string());
        let losses = Loss::all(&log);
        let [loss] = &losses[..] else { panic!("one stretch: {losses:?}\n{log}") };
        assert_eq!(loss.last, BEFORE, "up to the end: {loss:?}");
        assert!(loss.unknown > 0, "nothing says what zeros were: {loss:?}");
        let lost = Loss::readings(&losses);
        let line = log.lines().find(|line| line.contains("rows lost to damage")).unwrap_or_else(|| panic!("{log}"));
        assert_eq!(field(line, "rows"), lost.len().to_string());
        stage.assert_balanced(BEFORE + AFTER, &lost);
    }
}

#[test]
fn a_file_cut_in_its_headers_is_moved_aside_as_it_is() {
    for length in [DATA_START as u64 - 1, 5_000, 512, 100, 0] {
        let mut stage = Stage::filled("stump");
        stage.end(true);
        stage.cut(length);
        let stump = fs::read(stage.daemon.ring()).expect("the ring");
        assert_moved_aside(&mut stage, ".damaged-1", &stump);
    }
}

#[test]
fn zeros_and_rubbish_in_place_of_a_ring_are_moved_aside() {
    let rubbish = (0..300_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for bytes in [vec![0; 1 << 20], rubbish] {
        let mut stage = Stage::filled("rubbish");
        stage.end(false);
        fs::write(stage.daemon.ring(), &bytes).expect("the ring");
        assert_moved_aside(&mut stage, ".damaged-1", &bytes);
    }
}

/// A start makes a new ring, whose ledger begins anew, and what was there has another name.
#[track_caller]
fn assert_moved_aside(stage: &mut Stage, suffix: &str, bytes: &[u8]) {
    let ring = stage.daemon.ring();
    let log = stage.go_on();
    let aside = beside(&ring, suffix);
    let line = log.lines().find(|line| line.contains("moved aside")).unwrap_or_else(|| panic!("{log}"));
    assert_eq!(field(line, "moved_to"), aside.display().to_string());
    assert_eq!(field(line, "path"), ring.display().to_string());
    assert!(fs::read(&aside).expect("it is there") == bytes, "it is as it was");
    stage.assert_balanced(AFTER, &(0..BEFORE).collect());
}

#[test]
fn flipped_bits_cost_the_records_they_are_in() {
    let mut stage = Stage::filled("bits");
    stage.end(false);
    stage.edit(|bytes| {
        for place in [80_000, 160_000, 240_000] {
            // In a row's own bytes: its symbols are there as text.
            let at = bytes[place..].windows(5).position(|window| window == b"site-").expect("rows");
            bytes[place + at] ^= 4;
        }
    });
    let log = stage.go_on();
    let losses = Loss::all(&log);
    assert_eq!(losses.len(), 3, "{losses:?}");
    for loss in &losses {
        assert_eq!((loss.first, &loss.tables, loss.unknown), (loss.last, &stage.readings.name, 0), "{loss:?}");
        assert!(loss.bytes > 40 && loss.bytes < 512, "{loss:?}");
    }
    stage.assert_balanced(BEFORE + AFTER, &Loss::readings(&losses));
}

#[test]
fn one_header_slot_or_both_cost_nothing() {
    for (slots, in_order) in [(&[0][..], false), (&[1], false), (&[0, 1], false), (&[0, 1], true)] {
        let mut stage = Stage::filled("slots");
        stage.end(in_order);
        stage.edit(|bytes| slots.iter().for_each(|slot| bytes[slot * SLOT + 100] ^= 1));
        let log = stage.go_on();
        let both = slots.len() == 2;
        let told = if both { "both header slots of the ring" } else { "one of the ring's two header slots" };
        assert!(log.contains(told), "{log}");
        assert!(Loss::all(&log).is_empty(), "{log}");
        stage.assert_balanced(BEFORE + AFTER, &BTreeSet::new());
    }
}

#[test]
fn a_ring_of_a_later_version_is_kept_for_the_program_that_knows_it() {
    /// Where a header slot has its version, and the checksum over the rest of its sector.
    const VERSION: std::ops::Range<usize> = 8..12;
    const CHECKSUM: std::ops::Range<usize> = 12..16;
    let mut stage = Stage::filled("later");
    stage.end(true);
    stage.edit(|bytes| {
        for slot in [0, SLOT] {
            let sector = &mut bytes[slot..slot + 512];
            sector[VERSION].copy_from_slice(&9_u32.to_le_bytes());
            let sum = crc32c::crc32c_append(crc32c::crc32c(&sector[..CHECKSUM.start]), &sector[CHECKSUM.end..]);
            sector[CHECKSUM].copy_from_slice(&sum.to_le_bytes());
        }
    });
    let ring = stage.daemon.ring();
    let bytes = fs::read(&ring).expect("the ring");
    stage.daemon.launch();
    let status = stage.daemon.wait_end(LIMIT);
    let log = stage.log();
    assert_eq!(status.code(), Some(5), "{log}");
    assert!(log.contains("format version 9") && log.contains(&ring.display().to_string()), "{log}");
    assert!(fs::read(&ring).expect("it is there") == bytes, "it is as it was");
    let beside = ring.parent().expect("a directory").read_dir().expect("it reads");
    let names: Vec<String> = beside.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(!names.iter().any(|name| name.starts_with("ring.")), "nothing was moved aside: {names:?}");
}

#[test]
fn a_ring_of_an_earlier_version_is_taken_over() {
    const ROWS: u64 = 21;
    let mut stage = Stage::prepared("earlier", |builder| builder);
    let mut bytes = include_bytes!("../../data/ring-format-1.bin").to_vec();
    bytes.resize(1 << 20, 0);
    fs::write(stage.daemon.ring(), bytes).expect("the ring");
    let log = stage.go_on();
    assert!(log.contains(&format!("records={ROWS} pending_rows={ROWS}")), "{log}");
    stage.daemon.wait_drained(ROWS + AFTER, LIMIT);
    let questdb = QuestDb::shared();
    eventually_eq(LIMIT, "its rows are in QuestDB", ROWS as i64, || questdb.count("sensors"));
    assert_eq!((stage.daemon.ledger("rows"), stage.daemon.ledger("stored")), (ROWS + AFTER, ROWS + AFTER));
    questdb.settle(&stage.readings.name);
    assert_eq!(stage.readings.present(questdb).len() as u64, AFTER);
}

/// The ring of a format 2 program that was killed with everything unsent: 20 rows of four tables, and two dead letters, one of them cut.
#[test]
fn what_waits_in_a_ring_of_format_2_is_stored_and_set_aside() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::start());
    let mut daemon = DaemonBuilder::new()
        .servers(&broker, &questdb)
        .source(&Readings::new(unique("format-2"), 1))
        .set("ring.size", "1MiB")
        .set("mqtt.max_payload", "64KiB")
        .write();
    let mut bytes = include_bytes!("../../data/ring-format-2.bin").to_vec();
    bytes.resize(1 << 20, 0);
    fs::write(daemon.ring(), bytes).expect("the ring");
    daemon.restart();
    daemon.wait_drained(21, LIMIT);
    let counts = || {
        ["sensors", "plain", "climate", "other"].map(|table| questdb.try_sql(&format!("SELECT count() FROM {table}")))
    };
    let number = |rows: Result<Vec<Vec<serde_json::Value>>, String>| rows.ok().and_then(|rows| rows[0][0].as_u64());
    // Two of the readings are of one moment, and were united when they came.
    eventually_eq(LIMIT, "rows", [15, 1, 2, 1].map(Some).to_vec(), || counts().map(number).to_vec());
    let ledger = ["rows", "stored", "dead_letters", "clears"].map(|name| daemon.ledger(name));
    assert_eq!(ledger, [20, 20, 2, 1]);
    eventually(LIMIT, "both letters are in quarantine", || {
        let listed = daemon.cli(&["quarantine", "ls", "--json"]);
        String::from_utf8_lossy(&listed.stdout).matches("dead-letter").count() == 2
    });
    let requeued = daemon.cli(&["quarantine", "requeue", "--all"]);
    let told = format!("{}{}", String::from_utf8_lossy(&requeued.stdout), String::from_utf8_lossy(&requeued.stderr));
    assert!(told.contains("too long to be kept whole"), "the cut one is known as such: {told}");
    let info = daemon.cli(&["ring", "info"]);
    assert!(String::from_utf8_lossy(&info.stdout).contains("format version 4"), "{info:?}");
}

/// Positions do not know of pages, and where their size matters the system is asked (`src/ring/mmap.rs`). So a machine with pages of
/// 16 or 64 KiB can use a file that was made on one with 4 KiB, and the other way round; all it meets is a length that is no
/// multiple of its pages.
#[test]
fn a_ring_whose_data_is_no_multiple_of_larger_pages_goes_round_and_survives_kills() {
    const DATA_BYTES: u64 = 257 * 4096;
    let mut stage = Stage::prepared("pages", |builder| {
        builder.set("ring.size", format!("{}B", DATA_START as u64 + DATA_BYTES)).set("questdb.resend_window", "100ms")
    });
    stage.connect();
    stage.start();
    assert_eq!(fs::metadata(stage.daemon.ring()).expect("the ring").len() % 16_384, 12_288);
    for _ in 0..4 {
        stage.publish(4_000);
        stage.end(false);
        stage.start();
    }
    // It never holds more than these.
    let most = DATA_BYTES / 100;
    let tail = stage.daemon.status()["ring"]["tail"].as_u64();
    assert!(
        tail < Some(stage.published) && tail > Some(most / 2),
        "more than a lap: {}",
        stage.daemon.status()["ring"]
    );
    stage.assert_balanced(stage.published, &BTreeSet::new());
}

#[test]
fn a_link_to_a_ring_on_another_disk_is_followed_also_where_that_is_damaged() {
    let other_disk = scratch("elsewhere");
    let elsewhere = other_disk.join("ring");
    let mut stage = Stage::filled("link");
    stage.end(false);
    let ring = stage.daemon.ring();
    fs::copy(&ring, &elsewhere).and_then(|_| fs::remove_file(&ring)).expect("moved");
    std::os::unix::fs::symlink(&elsewhere, &ring).expect("a link");
    stage.start();
    assert!(stage.log().contains(&format!("records={BEFORE} ")), "{}", stage.log());
    stage.end(false);

    fs::write(&elsewhere, b"rubbish").expect("rubbish");
    let log = stage.go_on();
    assert!(log.contains("moved aside"), "{log}");
    assert_eq!(fs::read(beside(&elsewhere, ".damaged-1")).expect("it is there"), b"rubbish");
    assert!(fs::symlink_metadata(&ring).expect("the link").is_symlink(), "the new ring is on the other disk too");
    stage.assert_balanced(AFTER, &(0..BEFORE).collect());
}
