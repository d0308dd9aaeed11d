//! The search for every intact record, against what was written.

use std::collections::BTreeSet;

use super::*;

/// Everything the salvage finds, and how many records it left out.
fn salvage(image: &[u8], both_slots: bool) -> (Vec<Written>, u64) {
    let media = MemoryMedia::with(image.to_vec());
    let header = header_of(image);
    let mut search = Salvage::survey(&media, &header, both_slots).unwrap();
    let mut found = Vec::new();
    while let Some(record) = search.next().unwrap() {
        let (pos, seq) = (record.mark.pos.0, record.seq.0);
        let at = (DATA_START + pos % MIN_CAPACITY) as usize;
        let bytes = image[at..at + RECORD_HEADER_BYTES + EXTENSION_BYTES + record.body.len()].to_vec();
        let header = RecordHeader::parse(&bytes).unwrap();
        assert_eq!(record.body, &bytes[RECORD_HEADER_BYTES + EXTENSION_BYTES..]);
        found.push(Written { pos, seq, generation: header.generation, bytes });
    }
    (found, search.superseded())
}

#[test]
fn every_intact_record_of_a_damaged_ring_comes_out_and_nothing_else() {
    let (mut most_found, mut history, mut damaged_ones) = (0, 0, 0);
    for seed in 0..120 {
        let mut rng = Rng::with_seed(seed);
        let (story, mut image) = story(&mut rng);
        let tail = story.log.tail();
        damage(&mut rng, &mut image);
        let one_slot_lost = rng.bool();
        if one_slot_lost {
            image[if rng.bool() { 0 } else { SLOT_BYTES as usize } + rng.usize(0..280)] ^= 4;
        }
        let (found, _) = salvage(&image, !one_slot_lost);
        assert!(found.windows(2).all(|pair| pair[0].seq < pair[1].seq), "seed {seed}: in order, each once");
        let all = story.all_live();
        let written: BTreeSet<&Written> = all.iter().chain(&story.given_up).collect();
        assert!(found.iter().all(|record| written.contains(record)), "seed {seed}: nothing is invented");
        let header = header_of(&image);
        let low = header.tail.pos.0.saturating_sub(MIN_CAPACITY);
        let intact: Vec<&Written> = all.iter().filter(|written| written.pos >= low && written.is_in(&image)).collect();
        for written in &intact {
            assert!(found.contains(written), "seed {seed}: record {} at {} is missing", written.seq, written.pos);
        }
        let live_in_reach = all.iter().filter(|written| written.pos >= tail.pos.0);
        damaged_ones += live_in_reach.filter(|written| !written.is_in(&image)).count();
        history += found.iter().filter(|record| record.pos < tail.pos.0).count();
        most_found = most_found.max(found.len());
    }
    assert!(most_found > 300 && history > 1_000 && damaged_ones > 1_000, "{most_found} {history} {damaged_ones}");
}

#[test]
fn leftovers_of_an_earlier_life_are_left_out() {
    let body = [5; SECTOR_BYTES as usize - RECORD_HEADER_BYTES - EXTENSION_BYTES];
    let append = |story: &Story| {
        let part = Part { kind: Kind::Rows, table_hash: 1, rows: 1, body: &body, ..Part::default() };
        story.log.append(&[part], Received::default(), Tally::default()).unwrap();
    };
    let first = Story::begin(empty());
    (0..5).for_each(|_| append(&first));
    assert!(first.log.seal().unwrap().is_some());
    (0..5).for_each(|_| append(&first));
    // Of records 1 to 5, a commit, and records 6 to 10, the power cut leaves the last five alone.
    let mut sector = 0;
    let image = first.media.media.after_power_cut(|| {
        sector += 1;
        sector > 6
    });
    assert_eq!(sector, 11);
    let numbers = |image: &[u8]| -> Vec<(u64, u32)> {
        salvage(image, true).0.iter().map(|record| (record.seq, record.generation)).collect()
    };
    let leftovers: Vec<(u64, u32)> = (6..=10).map(|seq| (seq, 1)).collect();
    assert_eq!(numbers(&image), leftovers, "nothing tells yet that they are none of the log");
    let second = first.next_life(image);
    (0..2).for_each(|_| append(&second));
    second.commit();
    let image = second.stored();
    assert_eq!(numbers(&image), [(1, 2), (2, 2)]);
    assert_eq!(salvage(&image, true).1, 5, "the leftovers are counted");
}

#[test]
fn a_record_larger_than_a_chunk_is_found_and_a_false_length_is_not_believed() {
    const CAPACITY: u64 = 32 << 20;
    let media = MemoryMedia::with(vec![0; (DATA_START + CAPACITY) as usize]);
    format(&media, 5).unwrap();
    let story = Story::begin(media.after_power_cut(|| true));
    let body: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    let part = Part { kind: Kind::DeadLetter, table_hash: 0, rows: 0, body: &body, ..Part::default() };
    for _ in 0..2 {
        story.log.append(&[part], Received::default(), Tally::default()).unwrap();
        story.commit();
    }
    let mut image = story.stored();
    image[DATA_START as usize + 1_000_000] ^= 1;
    let media = MemoryMedia::with(image);
    let header = headers::find(&media).unwrap().unwrap().header;
    let mut search = Salvage::survey(&media, &header, true).unwrap();
    let record = search.next().unwrap().expect("the second record");
    assert_eq!((record.seq, record.body), (Seq(2), &*body));
    assert!(search.next().unwrap().is_none());
    let mut walk = Walk::new(&media, &header);
    assert!(matches!(walk.next().unwrap(), Some(Seen::Damaged(stretch)) if stretch.records() == 1));
    assert!(matches!(walk.next().unwrap(), Some(Seen::Frame { .. })), "the first commit is intact");
    assert!(matches!(walk.next().unwrap(), Some(Seen::Data(_, record)) if record.body == body));
}
