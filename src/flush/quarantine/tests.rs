//! The files through starts, rotations, damage and crashes.

use std::os::unix::fs::{FileExt, MetadataExt};

use super::*;
use crate::{marks::Seq, settings::Bytes};

fn push(quarantine: &Quarantine, seq: u64, body: &[u8]) -> io::Result<()> {
    let key = Key { ring_id: 9, seq: Seq(seq), row: 0 };
    let entry =
        Entry { key, time: Timestamp(0), received: Timestamp(3), reason: "bad", origin: "t", body, row_time: None };
    quarantine.push(&entry).map(drop)
}

fn settings(directory: &Path) -> settings::Quarantine {
    settings::Quarantine { path: directory.join("q"), size: Bytes::kib(256) }
}

fn seqs(settings: &settings::Quarantine) -> Vec<u64> {
    Quarantine::open(settings).unwrap().1.iter().map(|held| held.key.seq.0).collect()
}

/// Numbers of the entries that are in, the oldest first.
fn live(snapshot: &Snapshot) -> Vec<u64> {
    let mut seqs = Vec::new();
    let each = &mut |_, entry: &Entry<'_>| {
        seqs.push(entry.key.seq.0);
        ControlFlow::Continue(())
    };
    snapshot.oldest(&Selection::default(), None, each).unwrap();
    seqs
}

/// A quarantine of entries 1 to `count`, closed.
fn filled(settings: &settings::Quarantine, count: u64) {
    let (quarantine, _) = Quarantine::open(settings).unwrap();
    (1..=count).for_each(|seq| push(&quarantine, seq, b"x").unwrap());
    quarantine.sync().unwrap();
}

#[test]
fn entries_outlive_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    filled(&settings, 3);
    let (quarantine, held) = Quarantine::open(&settings).unwrap();
    assert_eq!(held.len(), 3);
    assert!(held.iter().all(|held| held.received == Timestamp(3)));
    let status = quarantine.status();
    assert_eq!((status.entries, status.reasons), (3, vec![("bad".to_owned(), 3)]));
    push(&quarantine, 4, b"y").unwrap();
    let seqs = live(&quarantine.snapshot().unwrap());
    assert_eq!(seqs, [1, 2, 3, 4]);
}

#[test]
fn the_oldest_are_pushed_out_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    let (quarantine, _) = Quarantine::open(&settings).unwrap();
    (1..=1_000).for_each(|seq| push(&quarantine, seq, &[7; 1_000]).unwrap());
    quarantine.sync().unwrap();
    let status = quarantine.status();
    assert_eq!(status.entries + status.pushed_out, 1_000);
    assert!(status.bytes <= 256 << 10 && status.entries > 100, "{status:?}");
    let on_disk = fs::metadata(&settings.path).unwrap().len() + fs::metadata(old_path(&settings.path)).unwrap().len();
    assert!(on_disk <= status.bytes, "{on_disk}");
    drop(quarantine);
    let seqs = seqs(&settings);
    assert_eq!((seqs.last(), seqs.len() as u64), (Some(&1_000), status.entries));
}

#[test]
fn both_halves_have_their_space_from_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    let _quarantine = Quarantine::open(&settings).unwrap();
    for path in [settings.path.clone(), old_path(&settings.path)] {
        let metadata = fs::metadata(path).unwrap();
        assert!(metadata.blocks() * 512 >= 128 << 10, "{metadata:?}");
    }
}

#[test]
fn a_full_disk_takes_nothing_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    let (quarantine, _) = Quarantine::open(&settings).unwrap();
    push(&quarantine, 1, b"x").unwrap();
    quarantine.sync().unwrap();
    push(&quarantine, 2, b"y").unwrap();
    let file = quarantine.fill_disk();
    assert!(quarantine.sync().is_err());
    // Beyond the buffer each push has to write; tried again and again it is neither kept nor counted.
    for _ in 0..100 {
        assert!(push(&quarantine, 3, &vec![7; 70 << 10]).is_err());
    }
    assert_eq!(quarantine.status().entries, 2);
    // As a write that got half way leaves it.
    let end = file.metadata().unwrap().len();
    file.write_all_at(&[9; 30], end).unwrap();
    quarantine.free_disk(file);
    push(&quarantine, 3, b"z").unwrap();
    quarantine.sync().unwrap();
    drop(quarantine);
    assert_eq!(seqs(&settings), [1, 2, 3]);
    assert!(!beside(&settings.path, ".damaged-1").exists());
}

#[test]
fn a_change_of_files_that_fails_can_be_made_later() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    let (quarantine, _) = Quarantine::open(&settings).unwrap();
    (1..=200).for_each(|seq| push(&quarantine, seq, &[7; 1_000]).unwrap());
    // The new file cannot be created while a directory has its name.
    let blocked = beside(&settings.path, ".new");
    fs::create_dir(&blocked).unwrap();
    let mut next = 201;
    while push(&quarantine, next, &[7; 1_000]).is_ok() {
        next += 1;
    }
    assert!(push(&quarantine, next, &[7; 1_000]).is_err());
    fs::remove_dir(&blocked).unwrap();
    // As if the second rename had failed the last time.
    fs::rename(&settings.path, old_path(&settings.path)).unwrap();
    (next..next + 3).for_each(|seq| push(&quarantine, seq, &[7; 1_000]).unwrap());
    quarantine.sync().unwrap();
    drop(quarantine);
    assert_eq!(seqs(&settings).last(), Some(&(next + 2)));
    assert!(seqs(&settings).len() > 100);
}

#[test]
fn what_is_no_quarantine_is_moved_and_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    for (n, what) in [b"rubbish".as_slice(), &[1; 5_000]].into_iter().enumerate() {
        fs::write(&settings.path, what).unwrap();
        assert!(seqs(&settings).is_empty());
        assert_eq!(fs::read(beside(&settings.path, &format!(".damaged-{}", n + 1))).unwrap(), what);
    }
    for n in 3..=16 {
        fs::write(beside(&settings.path, &format!(".damaged-{n}")), b"").unwrap();
    }
    fs::write(&settings.path, b"rubbish").unwrap();
    assert!(Quarantine::open(&settings).is_err());
    assert_eq!(fs::read(&settings.path).unwrap(), b"rubbish");
}

#[test]
fn a_flipped_bit_costs_one_entry_and_a_torn_end_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    filled(&settings, 4);
    let intact = fs::read(&settings.path).unwrap();
    let entry = (intact.len() - 16) / 4;
    for at in [0, 1, 3, 5, 20, entry - 1] {
        let mut bytes = intact.clone();
        bytes[16 + entry + at] ^= 0x10;
        fs::write(&settings.path, &bytes).unwrap();
        assert_eq!(seqs(&settings), [1, 3, 4], "byte {at}");
        assert_eq!(fs::read(&settings.path).unwrap(), bytes);
    }
    fs::write(&settings.path, &intact[..intact.len() - 5]).unwrap();
    assert_eq!(seqs(&settings), [1, 2, 3]);
    assert_eq!(fs::read(beside(&settings.path, ".damaged-1")).unwrap().len(), entry - 5);
    filled(&settings, 1);
    assert_eq!(seqs(&settings), [1, 2, 3, 1]);
}

fn place_and_id(snapshot: &Snapshot, seq: u64) -> (Place, Id) {
    let newest = snapshot.newest(&Selection::default(), None, usize::MAX).unwrap();
    let entries = newest.places.into_iter().map(|place| (place, snapshot.load(place).unwrap().unwrap()));
    let (place, owned) = entries.into_iter().find(|(_, owned)| owned.entry().key.seq.0 == seq).unwrap();
    (place, Id::from(&owned.entry()))
}

#[test]
fn what_is_taken_out_stays_out_and_is_still_known_to_have_been_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    filled(&settings, 4);
    let (quarantine, _) = Quarantine::open(&settings).unwrap();
    let snapshot = quarantine.snapshot().unwrap();
    let out = [2, 3].map(|seq| place_and_id(&snapshot, seq));
    assert_eq!(quarantine.take_out(&out).unwrap(), 2);
    assert_eq!(quarantine.take_out(&out).unwrap(), 0, "they are out already");
    let status = quarantine.status();
    assert_eq!((status.entries, status.reasons), (2, vec![("bad".to_owned(), 2)]));
    assert_eq!(live(&quarantine.snapshot().unwrap()), [1, 4]);
    push(&quarantine, 5, b"x").unwrap();
    quarantine.sync().unwrap();
    drop((snapshot, quarantine));
    let (quarantine, held) = Quarantine::open(&settings).unwrap();
    assert_eq!(quarantine.status().entries, 3);
    assert_eq!(live(&quarantine.snapshot().unwrap()), [1, 4, 5]);
    assert_eq!(held.iter().map(|held| held.key.seq.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

#[test]
fn a_crash_at_any_byte_brings_nothing_back_and_takes_nothing_else_out() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    filled(&settings, 4);
    let before = fs::read(&settings.path).unwrap();
    let (quarantine, _) = Quarantine::open(&settings).unwrap();
    let snapshot = quarantine.snapshot().unwrap();
    quarantine.take_out(&[2, 4].map(|seq| place_and_id(&snapshot, seq))).unwrap();
    drop((snapshot, quarantine));
    let after = fs::read(&settings.path).unwrap();
    let changed: Vec<usize> = (0..before.len()).filter(|at| before[*at] != after[*at]).collect();
    assert_eq!((before.len(), changed.len()), (after.len(), 2), "one byte an entry is all that is written");
    // Of the two bytes either may have reached the disk alone.
    for (reached, wanted) in [(0, &[1, 3, 4][..]), (1, &[1, 2, 3])] {
        let mut bytes = before.clone();
        bytes[changed[reached]] = after[changed[reached]];
        fs::write(&settings.path, &bytes).unwrap();
        assert_eq!(live(&Quarantine::open(&settings).unwrap().0.snapshot().unwrap()), wanted);
    }
    let entry = (after.len() - 16) / 4;
    for cut in 16..=after.len() {
        fs::write(&settings.path, &after[..cut]).unwrap();
        let (quarantine, held) = Quarantine::open(&settings).unwrap();
        let whole = (cut - 16) / entry;
        assert_eq!(held.len(), whole, "cut at {cut}");
        let wanted: Vec<u64> = [1, 3].into_iter().filter(|seq| *seq <= whole as u64).collect();
        assert_eq!(live(&quarantine.snapshot().unwrap()), wanted, "cut at {cut}");
        assert_eq!(quarantine.status().entries, wanted.len() as u64);
        let _ = fs::remove_file(beside(&settings.path, ".damaged-1"));
    }
}

#[test]
fn a_file_of_a_later_version_is_an_error_and_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    filled(&settings, 3);
    for path in [settings.path.clone(), old_path(&settings.path)] {
        let good = fs::read(&path).unwrap();
        let mut bytes = good.clone();
        bytes[8] = 9;
        fs::write(&path, &bytes).unwrap();
        let error = Quarantine::open(&settings).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("format version 9") && error.contains("left as it is:"), "{error}");
        assert!(snapshot_of(&settings.path, &mut Vec::new()).is_err());
        assert!(fs::read(&path).unwrap() == bytes && !beside(&path, ".damaged-1").exists());
        fs::write(&path, good).unwrap();
    }
    assert_eq!(Quarantine::open(&settings).unwrap().0.status().entries, 3);
}

/// As programs of their times left them: two dead letters, of the same message.
#[test]
fn a_file_of_each_version_is_read_as_it_was_written() {
    let version_1 = include_bytes!("../../../tests/data/quarantine-format-1.bin").as_slice();
    let version_2 = include_bytes!("../../../tests/data/quarantine-format-2.bin").as_slice();
    for (written, version, numbers) in [(version_1, 1, [1, 3]), (version_2, 2, [10, 21])] {
        assert_eq!(written[8..12], u32::to_le_bytes(version));
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path());
        fs::write(&settings.path, written).unwrap();
        let offline = snapshot_of(&settings.path, &mut Vec::new()).unwrap();
        assert_eq!(live(&offline), numbers);
        offline
            .oldest(&Selection::default(), None, &mut |_, entry| {
                assert_eq!((entry.origin, entry.body), ("plant/north/dev-1", b"no JSON".as_slice()));
                ControlFlow::Continue(())
            })
            .unwrap();
        let (quarantine, held) = Quarantine::open(&settings).unwrap();
        assert_eq!((held.len(), quarantine.status().entries), (2, 2));
        assert_eq!(quarantine.take_out(&[place_and_id(&offline, numbers[0])]).unwrap(), 1);
        assert_eq!(live(&quarantine.snapshot().unwrap()), numbers[1..]);
    }
}

#[test]
fn a_file_of_version_1_is_read_and_goes_on_as_version_2() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    filled(&settings, 3);
    for path in [settings.path.clone(), old_path(&settings.path)] {
        let mut bytes = fs::read(&path).unwrap();
        bytes[..16].copy_from_slice(b"forebayQ\x01\0\0\0\0\0\0\0");
        fs::write(&path, bytes).unwrap();
    }
    let mut complaints = Vec::new();
    let offline = snapshot_of(&settings.path, &mut complaints).unwrap();
    let out = place_and_id(&offline, 2);
    assert_eq!((take_out_of(&settings.path, &[out]).unwrap(), complaints.len()), (1, 0));
    assert_eq!(live(&snapshot_of(&settings.path, &mut complaints).unwrap()), [1, 3]);
    let (quarantine, held) = Quarantine::open(&settings).unwrap();
    assert_eq!((held.len(), quarantine.status().entries), (3, 2));
    // Places found before are still good, whoever opens the files.
    let out = place_and_id(&offline, 3);
    assert_eq!(quarantine.take_out(&[out]).unwrap(), 1);
    assert_eq!(&fs::read(&settings.path).unwrap()[8..12], &2u32.to_le_bytes());
    assert!(!beside(&settings.path, ".damaged-1").exists());
}

#[test]
fn places_outlive_a_change_of_files_and_say_when_they_are_gone() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    let (quarantine, _) = Quarantine::open(&settings).unwrap();
    let mut next = 1;
    let mut fill_one = |quarantine: &Quarantine| {
        let number = quarantine.lock().number;
        while quarantine.lock().number == number {
            push(quarantine, next, &[7; 1_000]).unwrap();
            next += 1;
        }
    };
    (0..2).for_each(|_| fill_one(&quarantine));
    let snapshot = quarantine.snapshot().unwrap();
    let all = live(&snapshot);
    let newest = snapshot.newest(&Selection::default(), None, 10).unwrap();
    assert_eq!((newest.places.len(), newest.more, newest.moved_on), (10, all.len() as u64 - 10, false));
    let (middle, first) = (place_and_id(&snapshot, all[all.len() / 2]), place_and_id(&snapshot, all[0]));
    assert_eq!(quarantine.take_out(&[first]).unwrap(), 1);
    fill_one(&quarantine);
    // What was the present file is the older one now; the entry taken out was not pushed out.
    let status = quarantine.status();
    assert_eq!(status.entries + status.pushed_out + 1, newest_of(&quarantine));
    let later = quarantine.snapshot().unwrap();
    assert_eq!(quarantine.take_out(&[first]).unwrap(), 0, "pushed out");
    let before = later.newest(&Selection::default(), Some(middle.0), 1_000).unwrap();
    assert_eq!(before.moved_on, live(&later)[0] > all[all.len() / 2]);
    let seen = later.newest(&Selection::default(), Some(first.0), 1_000).unwrap();
    assert_eq!((seen.places.len(), seen.moved_on), (0, true));
    let mut count = 0;
    let moved_on = later.oldest(&Selection::default(), Some(first.0), &mut |_, _| {
        count += 1;
        ControlFlow::Continue(())
    });
    assert_eq!((moved_on.unwrap(), count), (true, live(&later).len()));
    // The first snapshot still reads what it had, but for what was taken out.
    assert_eq!(live(&snapshot), all[1..]);
}

/// Number of the newest entry, which counts from 1.
fn newest_of(quarantine: &Quarantine) -> u64 {
    *live(&quarantine.snapshot().unwrap()).last().unwrap()
}

#[test]
fn pages_hold_each_entry_once_whatever_is_pushed_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    let (quarantine, _) = Quarantine::open(&settings).unwrap();
    (1..=25).for_each(|seq| push(&quarantine, seq, b"x").unwrap());
    for order in [view::Order::Newest, view::Order::Oldest] {
        let mut ask = view::Ask { order, limit: Some(10), ..view::Ask::default() };
        let (mut ids, mut next) = (Vec::new(), 100);
        loop {
            let page = view::page(&quarantine.snapshot().unwrap(), &ask).unwrap();
            ids.extend(page.entries.iter().map(|entry| entry["id"].as_str().unwrap().to_owned()));
            push(&quarantine, next, b"y").unwrap();
            next += 1;
            let Some(cursor) = page.cursor else { break };
            ask.cursor = Some(cursor.parse().unwrap());
        }
        let seqs: Vec<u64> = ids.iter().map(|id| id.split('-').next().unwrap().parse().unwrap()).collect();
        let mut first: Vec<u64> = seqs.into_iter().filter(|seq| *seq <= 25).collect();
        if order == view::Order::Newest {
            first.reverse();
        }
        assert_eq!(first, (1..=25).collect::<Vec<_>>(), "{order:?}");
    }
}

#[test]
fn summaries_count_by_reason_table_and_topic() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    let (quarantine, _) = Quarantine::open(&settings).unwrap();
    (1..=3).for_each(|seq| push(&quarantine, seq, b"x").unwrap());
    let key = Key { ring_id: 9, seq: Seq(4), row: DEAD_LETTER };
    let letter = Entry {
        key,
        time: Timestamp(0),
        received: Timestamp(3),
        reason: "no JSON",
        origin: "a/b",
        body: b"x",
        row_time: None,
    };
    quarantine.push(&letter).unwrap();
    let snapshot = quarantine.snapshot().unwrap();
    let summary = snapshot.summary(&Selection::default()).unwrap();
    assert_eq!((summary.entries, summary.rows, summary.dead_letters), (4, 3, 1));
    assert_eq!(summary.reasons, [("bad".to_owned(), 3), ("no JSON".to_owned(), 1)]);
    assert_eq!((summary.tables, summary.topics), (vec![("t".to_owned(), 3)], vec![("a/b".to_owned(), 1)]));
    let mut selection = Selection::default();
    selection.set("kind", "dead-letter").unwrap();
    assert_eq!(snapshot.summary(&selection).unwrap().entries, 1);
}
