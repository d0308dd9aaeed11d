use super::{
    super::again::{self, tests::ingest},
    *,
};
use crate::{latest::Filter, marks::Seq, point::Row};

const NOW: Received = Received { wall: Timestamp(1_800_000_000_000_000_000), since_boot_ns: 1 };

fn write(ingest: &Ingest, text: &str) -> Written {
    ingest.write(Writing { body: text.as_bytes(), precision: Precision::Seconds, received: NOW })
}

fn series(ingest: &Ingest, table: &str) -> Vec<crate::latest::Series> {
    ingest.latest.list(&Filter::new(Some(table), Vec::<(Text, Text)>::new()).unwrap(), 100).series
}

#[test]
fn a_request_is_one_message_of_records_by_table_and_is_visible_at_once() {
    let ingest = ingest();
    let text = "a,d=1 x=1 10\nb,d=1 x=1 10\na,d=2 x=2 10\na,d=1 y=2 10\nb x=1";
    assert!(matches!(write(&ingest, text), Written::Accepted { rows: 4, end } if end > Pos(0)));
    let ledger = ingest.ring.ledger();
    assert_eq!((ledger.messages, ledger.rows), (1, 4));
    let (a, b) = (series(&ingest, "a"), series(&ingest, "b"));
    assert_eq!((a.len(), b.len()), (2, 2));
    assert_eq!(a[0].fields.len(), 2, "two lines of one moment are united");
    assert_eq!((a[0].seq(), b[1].seq()), (Seq(1), Seq(2)), "each table has its record");
    assert_eq!(b[0].fields[0].time, NOW.wall, "a row without a time has that of its receipt");
    assert!(matches!(write(&ingest, "# nothing\n"), Written::Accepted { rows: 0, end: Pos(0) }));
}

#[test]
fn nothing_is_taken_of_a_request_that_is_wrong_anywhere() {
    let ingest = ingest();
    for (text, line) in [("a x=1\na x=", 2), (&*format!("a x=1\na x=1\na x=\"{}\"", "v".repeat(ingest.max_payload)), 3)]
    {
        assert!(matches!(write(&ingest, text), Written::Malformed(error) if error.line == line), "line {line}");
    }
    let limit = ingest.ring.capacity_bytes() / RING_PART;
    let rows = (0..limit / 20).map(|n| format!("a,d=1 longer_name={n} {n}\n")).collect::<Vec<_>>().concat();
    assert!(matches!(write(&ingest, &rows), Written::TooLarge(why) if why.contains("a 32nd of [ring] size")));
    ingest.close_writes();
    assert!(matches!(write(&ingest, "a x=1"), Written::Failed(why) if why.contains("stopping")));
    assert_eq!(ingest.ring.ledger().rows, 0);
    assert!(series(&ingest, "a").is_empty());
}

#[test]
fn what_is_good_of_a_request_is_taken_and_the_rest_set_aside_in_a_letter() {
    let ingest = ingest();
    let long = "n".repeat(128);
    let text = format!("a x=1 5\na,x=y x=2,f=3 6\na {long}=1 7\na/b x=1 8\na x=4 9\nc x=NaN");
    assert!(matches!(write(&ingest, &text), Written::Accepted { rows: 4, .. }));
    let ledger = ingest.ring.ledger();
    assert_eq!((ledger.messages, ledger.rows, ledger.dead_letters), (1, 4, 1));
    assert_eq!(series(&ingest, "a_b").len(), 1);
    let mut reader = ingest.ring.reader(ingest.ring.marks().tail);
    assert!(ingest.ring.wait_durable(Pos(ingest.ring.marks().appended.pos.0 - 1), Duration::from_mins(1)));
    let mut letter = None;
    while let Some(record) = reader.next().unwrap() {
        if let Ok(found) = record.dead_letter()
            && record.kind == crate::ring::Kind::DeadLetter
        {
            letter = Some((found.reason.to_owned(), String::from_utf8_lossy(found.payload).into_owned()));
        }
    }
    let (reason, payload) = letter.unwrap();
    assert!(reason.starts_with("at line 2: ") && reason.contains("at line 3: column name"), "{reason}");
    assert_eq!(payload, format!("a,x=y x=2,f=3 6\na {long}=1 7\n"));
    assert_eq!(ingest.write_status().bad_members, 2);
    let counted = ingest.ring.with_states(crate::ring::state::States::source_counts);
    assert_eq!(counted.iter().map(|source| source.counts.empty).sum::<u64>(), 1);
}

#[test]
fn too_many_rows_and_a_full_ring_are_told() {
    let ingest = ingest();
    let many = "a x=1\n".repeat(MAX_ROWS + 1);
    assert!(matches!(write(&ingest, &many), Written::Malformed(error) if error.line == MAX_ROWS as u64 + 1));
    let rows = (0..400).map(|n| format!("a,d=1 x={n} {n}\n")).collect::<Vec<_>>().concat();
    let mut taken = 0;
    let full = loop {
        match write(&ingest, &rows) {
            Written::Accepted { rows, .. } => taken += rows,
            other => break other,
        }
    };
    assert_eq!(full, Written::Full { soon: false }, "nothing is stored, so nothing can be given up");
    assert_eq!((ingest.ring.ledger().rows, ingest.ring.ledger().messages), (taken, taken / 400));
}

#[test]
fn a_row_that_is_written_stops_an_older_one_from_being_put_back() {
    let ingest = ingest();
    let row = Row {
        time: Some(Timestamp(7_000_000_000)),
        symbols: vec![("d".into(), "1".into())],
        fields: vec![("x".into(), crate::point::Value::Double(1.0))],
        ..Row::default()
    };
    let watch = ingest.watch(std::iter::once(crate::moment::of_row("a", &row)));
    assert!(matches!(write(&ingest, "a,d=1 x=2 7"), Written::Accepted { .. }));
    assert_eq!(watch.enter("a", &[row], NOW), again::Entered::Superseded);
}
