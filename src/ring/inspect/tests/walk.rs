//! The walk from tail to head, against what recovery finds.

use super::*;

/// What a walk makes of a file.
struct Walked {
    seqs: Vec<Seq>,
    damaged: Vec<(Mark, Mark)>,
    accounts: Accounts,
}

fn walk(media: &dyn Media) -> Walked {
    let found = headers::find(media).unwrap().unwrap();
    let (mut seqs, mut damaged, mut accounts) = (Vec::new(), Vec::new(), Accounts::new(&found));
    let mut walk = Walk::new(media, &found.header);
    while let Some(seen) = walk.next().unwrap() {
        accounts.take(&seen);
        match seen {
            Seen::Data(_, record) => seqs.push(record.seq),
            Seen::Damaged(stretch) => damaged.push((stretch.from, stretch.to)),
            Seen::Frame { .. } => {}
            Seen::Overtaken { .. } => panic!("nobody writes"),
        }
    }
    Walked { seqs, damaged, accounts }
}

#[test]
fn a_walk_sees_what_recovery_finds() {
    let mut unsealed = 0;
    for seed in 0..150 {
        let mut rng = Rng::with_seed(seed);
        let (story, _) = story(&mut rng);
        match rng.u8(0..4) {
            0 | 1 => {
                story.commit();
                story.log.write_header(|header| header.clean = rng.bool()).unwrap();
            }
            // The power goes while this commit is being synced.
            2 => drop(story.log.seal().unwrap()),
            _ => {}
        }
        let likelihood = rng.u8(0..=100);
        let media = MemoryMedia::with(story.media.media.after_power_cut(|| rng.u8(0..100) < likelihood));
        let walked = walk(&media);
        let header = crate::ring::headers::find_header(&media).unwrap().unwrap();
        let mut found = Vec::new();
        let recovered = recover::scan(&media, header, &mut |record| found.push(record.seq), &mut |_| {}).unwrap();
        assert_eq!(walked.damaged, [], "seed {seed}: a power cut is no damage");
        assert!(recovered.gaps.is_empty());
        let marks = walked.accounts.marks();
        assert_eq!(walked.accounts.intake(), recovered.intake, "seed {seed}");
        assert_eq!(walked.accounts.outcome(), recovered.consumers.outcome(), "seed {seed}");
        assert_eq!((marks.appended, marks.safe), (recovered.head, recovered.consumers.safe()), "seed {seed}");
        let whole = walked.seqs.iter().copied().take_while(|seq| *seq < recovered.head.seq).collect::<Vec<_>>();
        assert_eq!(whole, found, "seed {seed}");
        unsealed += usize::from(recovered.unsealed);
    }
    assert!(unsealed > 5, "{unsealed}");
}

#[test]
fn a_walk_reads_on_behind_damage_wherever_recovery_does() {
    let (mut stretches, mut more, mut same) = (0, 0, 0);
    for seed in 0..150 {
        let mut rng = Rng::with_seed(1_000 + seed);
        let (story, _) = story(&mut rng);
        story.commit();
        let mut image = story.stored();
        damage(&mut rng, &mut image);
        let media = MemoryMedia::with(image);
        let header = crate::ring::headers::find_header(&media).unwrap().unwrap();
        let mut found = Vec::new();
        let recovered = recover::scan(&media, header, &mut |record| found.push(record.seq), &mut |_| {}).unwrap();
        let walked = walk(&media);
        for seq in &found {
            assert!(walked.seqs.contains(seq), "seed {seed}: recovery keeps record {seq}");
        }
        assert!(walked.seqs.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}");
        assert!(recovered.gaps.is_empty() || !walked.damaged.is_empty(), "seed {seed}");
        if walked.seqs == found {
            assert_eq!(walked.accounts.intake(), recovered.intake, "seed {seed}");
            same += 1;
        }
        stretches += walked.damaged.len();
        more += walked.seqs.len() - found.len();
    }
    assert!(stretches > 100 && same > 10, "{stretches} {more} {same}");
}

#[test]
fn a_walk_is_not_led_astray_by_a_log_that_moves_under_it() {
    let mut rng = Rng::with_seed(3);
    let mut overtaken = 0;
    for slow in [1, 40, 2_000] {
        let mut story = Story::begin(empty());
        story.run(&mut rng, 600);
        story.commit();
        let media = Arc::clone(&story.media);
        let header = headers::find(&*media).unwrap().unwrap().header;
        let mut walk = Walk::new(&*media, &header);
        let mut seqs = Vec::new();
        let mut steps = 0;
        loop {
            match walk.next().unwrap() {
                None => break,
                Some(Seen::Data(_, record)) => seqs.push(record.seq),
                Some(Seen::Frame { .. }) => {}
                Some(Seen::Damaged(stretch)) => panic!("{stretch:?} is no damage"),
                Some(Seen::Overtaken { from, to }) => {
                    assert!(to.seq >= from.seq && to.pos > from.pos);
                    overtaken += 1;
                }
            }
            steps += 1;
            if steps % 20 == 0 {
                story.run(&mut rng, slow);
            }
            assert!(steps < 100_000, "it ends although the log goes on");
        }
        assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(seqs.len() > 20);
    }
    assert!(overtaken > 0);
}

#[test]
fn damage_is_told_with_its_records_and_places() {
    let story = Story::begin(empty());
    let mut ends = Vec::new();
    for n in 0..30u8 {
        let mut body = vec![1, b't'];
        body.extend([n; 300]);
        let part = Part {
            kind: Kind::Rows,
            table_hash: crate::ring::table_hash("t"),
            rows: 1,
            body: &body,
            ..Part::default()
        };
        story.log.append(&[part], Received::default(), Tally::default()).unwrap();
        ends.push(story.log.appended());
        if n % 10 == 9 {
            story.commit();
        }
    }
    let mut image = story.stored();
    // A bit of record 3's body, all of the header of record 13, and a bit in the commit that no other one follows.
    image[(DATA_START + ends[1].pos.0) as usize + 100] ^= 1;
    image[(DATA_START + ends[23].pos.0) as usize + 100] ^= 1;
    let at = (DATA_START + ends[11].pos.0) as usize;
    image[at..at + RECORD_HEADER_BYTES].fill(0xEE);
    let media = MemoryMedia::with(image);
    let header = headers::find(&media).unwrap().unwrap().header;
    let mut walk = Walk::new(&media, &header);
    let (mut stretches, mut read) = (Vec::new(), 0);
    while let Some(seen) = walk.next().unwrap() {
        match seen {
            Seen::Damaged(stretch) => stretches.push(stretch),
            Seen::Data(..) => read += 1,
            _ => {}
        }
    }
    assert_eq!(read, 27, "one record each is lost");
    let told: Vec<_> = stretches.iter().map(|stretch| (stretch.from.seq.0, stretch.records())).collect();
    assert_eq!(told, [(3, 1), (13, 1), (25, 1)]);
    assert_eq!((stretches[0].from, stretches[0].to), (ends[1], ends[2]));
    assert_eq!(stretches[0].tables.iter().collect::<Vec<_>>(), ["t"]);
    assert!(stretches[1].tables.is_empty(), "nothing tells whose it was");
}

#[test]
fn a_walk_ends_where_only_leftovers_of_an_earlier_life_follow() {
    // Each record fills a sector, and both lives cut their commits alike: the number and place of the leftover fit.
    let body = [5; SECTOR_BYTES as usize - RECORD_HEADER_BYTES - EXTENSION_BYTES];
    let append = |story: &Story| {
        let part = Part { kind: Kind::Rows, table_hash: 1, rows: 1, body: &body, ..Part::default() };
        story.log.append(&[part], Received::default(), Tally::default()).unwrap();
    };
    let first = Story::begin(empty());
    (0..5).for_each(|_| append(&first));
    assert!(first.log.seal().unwrap().is_some());
    append(&first);
    let mut sector = 0;
    let image = first.media.media.after_power_cut(|| {
        sector += 1;
        sector == 7
    });
    let second = first.next_life(image);
    (0..5).for_each(|_| append(&second));
    second.commit();
    let walked = walk(&MemoryMedia::with(second.stored()));
    assert_eq!(walked.seqs, (1..=5).map(Seq).collect::<Vec<_>>());
    assert_eq!(walked.damaged, []);
}

#[test]
fn a_message_cut_at_the_end_of_a_lap_is_behind_the_head() {
    let mut story = Story::begin(empty());
    let part = |body| Part { kind: Kind::Rows, table_hash: 1, rows: 1, body, ..Part::default() };
    while MIN_CAPACITY - story.log.appended().pos.0 > 4_000 {
        story.log.append(&[part(&[1; 1_000])], Received::default(), Tally::default()).unwrap();
        story.commit();
        story.free();
    }
    let head = story.log.appended();
    story.log.append(&[part(&[2; 100]), part(&[3; 8_000])], Received::default(), Tally::default()).unwrap();
    assert!(story.log.appended().pos.0 > MIN_CAPACITY, "a pad parts the message");
    let mut image = story.stored();
    image[DATA_START as usize + 100] ^= 1;
    let walked = walk(&MemoryMedia::with(image));
    assert_eq!(walked.accounts.marks().appended, head);
    assert_eq!(walked.accounts.ledger().rows, head.seq.0 - 1);
}

#[test]
fn what_the_header_counts_is_not_counted_again_where_a_commit_is_lost() {
    let story = Story::begin(empty());
    let part = Part { kind: Kind::Rows, table_hash: 1, rows: 3, body: &[1; 200], ..Part::default() };
    story.log.append(&[part], Received::default(), Tally::default()).unwrap();
    let commit = story.log.appended().pos.0;
    story.commit();
    story.log.write_header(|_| {}).unwrap();
    let mut image = story.stored();
    image[(DATA_START + commit) as usize + 60] ^= 1;
    let walked = walk(&MemoryMedia::with(image));
    assert_eq!((walked.seqs.len(), walked.damaged.len()), (1, 1));
    assert_eq!((walked.accounts.intake().rows, walked.accounts.intake().messages), (3, 1));
}

#[test]
fn slots_are_told_apart() {
    let states =
        |image: &[u8]| headers::slots(&MemoryMedia::with(image.to_vec())).unwrap().map(|slot: Slot| slot.state);
    let mut image = empty();
    assert_eq!(states(&image), [SlotState::Empty, SlotState::Valid], "a new ring");
    image = Story::begin(image).stored();
    assert_eq!(states(&image), [SlotState::Valid, SlotState::Valid]);
    image[20] ^= 1;
    assert_eq!(states(&image), [SlotState::Damaged, SlotState::Valid]);
    image[..SECTOR_BYTES as usize].fill(0);
    assert_eq!(states(&image), [SlotState::Damaged, SlotState::Valid], "zeros where a header was");
    let slot = &mut image[SLOT_BYTES as usize..][..SECTOR_BYTES as usize];
    slot[8] = 9;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&slot[..12]), &slot[16..]);
    slot[12..16].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(states(&image)[1], SlotState::Version(9));
}

#[test]
fn a_file_of_an_older_format_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ring");
    let mut image = include_bytes!("../../../../tests/data/ring-format-1.bin").to_vec();
    image.resize(1 << 20, 0);
    std::fs::write(&path, image).unwrap();
    let file = crate::ring::inspect::RingFile::open(&path).unwrap();
    let info = file.info(Timestamp(0), &mut || true).unwrap();
    assert_eq!((info.format_version, info.records, info.rows), (1, 21, 21));
    let report = file.verify().unwrap();
    assert_eq!((report.format_version, report.records, report.damaged_stretches), (1, 21, 0));
}
