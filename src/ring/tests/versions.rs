//! Files of every format version: earlier ones are taken over with all they hold, later ones are left alone.

use super::*;
use crate::{
    entry::{DeadLetter, Rows},
    ring::{
        HeaderSource, OpenError, Record,
        layout::{Checksum, Extension, FORMAT_VERSION, RECORD_HEADER_BYTES, RecordHeader},
        marks::Pos,
        table_hash,
    },
    tally::SourceId,
};

/// A file as an earlier program left it: its data, without the zeros that fill it up to 1 MiB.
fn file(data: &[u8]) -> Vec<u8> {
    let mut image = data.to_vec();
    image.resize(1 << 20, 0);
    image
}

fn open_at(path: &std::path::Path) -> Result<Opened, OpenError> {
    let settings = Settings { path: path.to_owned(), size: crate::settings::Bytes(1 << 20), ..Default::default() };
    let heartbeat = Heartbeats::new(clock()).register("test");
    Ring::open(&settings, Duration::ZERO, clock(), heartbeat, &mut |_| {}, &mut |_| {})
}

#[test]
fn a_file_of_format_version_1_is_taken_over() {
    let life = Life::begin(file(include_bytes!("../../../tests/data/ring-format-1.bin")), Vec::new(), Seq(0));
    assert_eq!((life.found.len(), life.report.records, life.report.pending_rows), (21, 21, 21));
    assert_eq!((life.report.header, life.report.gaps.len()), (HeaderSource::Slots, 0));
    assert_eq!(Rows::decode(&life.found[20].1).unwrap().table, "sensors");
    // It is of the present version now, and goes on as such.
    let image = life.media.after_power_cut(|| true);
    assert_eq!(image[8], FORMAT_VERSION as u8);
    let again = Life::begin(image, Vec::new(), Seq(0));
    assert_eq!((again.found.len(), again.log.intake().rows), (21, 21));
}

/// It was killed with 16 rows of readings, one of plain text, a clear, two dead letters (one of them cut) and 3 rows of line protocol, none of
/// them sent.
#[test]
fn a_file_of_format_version_2_is_taken_over_with_what_waits_in_it() {
    let mut letters = Vec::new();
    let mut rows = 0;
    let mut visit = |record: &Record<'_>| {
        assert_eq!(record.source, SourceId::NONE, "records had no source");
        match record.kind {
            Kind::DeadLetter => {
                let DeadLetter { is_cut, payload, .. } = record.dead_letter().unwrap();
                letters.push((is_cut, payload.len()));
            }
            Kind::Rows => {
                for row in Rows::decode(record.body).unwrap() {
                    let row = row.unwrap().to_row();
                    assert_eq!((row.completed, row.notes.is_empty()), (0, true));
                    rows += 1;
                }
            }
            _ => {}
        }
    };
    let media = Arc::new(MemoryMedia::with(file(include_bytes!("../../../tests/data/ring-format-2.bin"))));
    let mut report = RecoveryReport::default();
    let Resumed { log, outcome, .. } =
        recover_log(Box::new(Arc::clone(&media)), &clock(), &mut report, &mut visit, &mut |_| {}).unwrap();
    assert_eq!((report.records, report.pending_rows, report.gaps.len(), rows), (22, 20, 0, 20));
    assert_eq!(letters, [(false, 8), (true, 1024)]);
    assert_eq!((log.intake().messages, log.intake().dead_letters, log.intake().clears), (21, 2, 1));
    assert_eq!((outcome.rows(), outcome.settled), (0, log.tail()));

    // Records of both versions lie side by side, and another start finds them all.
    let number = log.register_sources(&["one"])[0];
    let part = Part { kind: Kind::Rows, source: number, table_hash: 1, rows: 1, body: b"new", ..Part::default() };
    log.append(&[part], Received::default(), Tally::default()).unwrap();
    log.commit(true).unwrap();
    let image = media.after_power_cut(|| true);
    assert!(image[8] == FORMAT_VERSION as u8 || image[4096 + 8] == FORMAT_VERSION as u8);
    let again = Life::begin(image, Vec::new(), Seq(0));
    assert_eq!((again.found.len(), again.log.intake().rows, again.report.pending_rows), (23, 21, 21));
    assert_eq!(again.found[22].1, b"new");
    assert_eq!(again.log.with_states(|states| states.source_name(number).map(str::to_owned)).as_deref(), Some("one"));
}

/// The program that knew versions up to 3 was killed with 8 rows, 3 dead letters and a clear, none of them
/// sent, and two filters subscribed.
#[test]
fn a_file_of_format_version_3_is_taken_over_with_its_state() {
    let life = Life::begin(file(include_bytes!("../../../tests/data/ring-format-3.bin")), Vec::new(), Seq(0));
    assert_eq!((life.found.len(), life.report.records, life.report.pending_rows), (12, 12, 8));
    let intake = life.log.intake();
    assert_eq!((intake.messages, intake.rows, intake.dead_letters, intake.clears), (12, 8, 3, 1));
    assert_eq!((life.report.header, life.report.gaps.len()), (HeaderSource::Slots, 0));
    let filters = |states: &crate::ring::States| states.all(crate::ring::StateKind::FILTER).count();
    assert_eq!(life.log.with_states(filters), 2);
    let image = life.media.after_power_cut(|| true);
    assert!(image[8] == FORMAT_VERSION as u8 || image[4096 + 8] == FORMAT_VERSION as u8);
    let again = Life::begin(image, Vec::new(), Seq(0));
    assert_eq!((again.found.len(), again.log.intake().rows), (12, 8));
}

/// The program of version 4 was killed with 18 rows that were held back, 2 dead letters and 2 clears.
#[test]
fn a_file_of_format_version_4_is_read_as_it_was_written() {
    let life = Life::begin(file(include_bytes!("../../../tests/data/ring-format-4.bin")), Vec::new(), Seq(0));
    assert_eq!((life.found.len(), life.report.records, life.report.pending_rows), (22, 22, 18));
    let intake = life.log.intake();
    assert_eq!((intake.messages, intake.rows, intake.dead_letters, intake.clears), (22, 18, 2, 2));
    assert_eq!(life.log.with_held(crate::ring::held::Held::rows), 18);
    let counts = life.log.with_states(crate::ring::States::source_counts);
    let counted = |name: &str| counts.iter().find(|source| source.source == name).map(|source| source.counts);
    assert_eq!(counted("plain").map(|counts| counts.empty), Some(2));
    assert_eq!(counted("plant").map(|counts| counts.untimed), Some(12));
    let client = |states: &crate::ring::States| states.all(crate::ring::StateKind::CLIENT).count();
    assert_eq!(life.log.with_states(client), 1);
}

/// The file with one spelling of its table in every record, names and hashes as that version wrote
/// them.
fn spelled(data: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut image = file(data);
    let sum = Checksum::of_ring(u64::from_le_bytes(*image[24..].first_chunk().unwrap()));
    let name = |name: &str| [&[name.len() as u8], name.as_bytes()].concat();
    let (from, to) = (name(from), name(to));
    let mut at = DATA_START as usize;
    while let Some(found) = image[at..].windows(from.len()).position(|bytes| bytes == from) {
        let body = at + found;
        at = body + from.len();
        let start = body - RECORD_HEADER_BYTES;
        let pos = start as u64 - DATA_START;
        let Some(header) = RecordHeader::parse(&image[start..]).filter(|h| h.checks_out(sum, pos, &image[start..]))
        else {
            continue;
        };
        image[body..at].copy_from_slice(&to);
        let table_hash = crc32c::crc32c(&to[1..]);
        let behind = image[body..body + header.len as usize].to_vec();
        let mut bytes = Vec::new();
        RecordHeader { table_hash, ..header }.write(sum, pos, Extension::default(), &behind, &mut bytes);
        image[start..start + bytes.len()].copy_from_slice(&bytes);
    }
    image
}

#[test]
fn an_older_file_s_records_have_the_lane_of_their_table_in_whatever_spelling() {
    let data = include_bytes!("../../../tests/data/ring-format-2.bin");
    let lanes = |image: Vec<u8>| {
        let life = Life::begin(image, Vec::new(), Seq(0));
        let mut reader = Reader::new(Arc::clone(&life.log), life.log.tail());
        let mut hashes = Vec::new();
        // Also of records whose bodies are nobody's business.
        while let Some(record) = reader.next_with(Pos(u64::MAX), |_, _| false).unwrap() {
            if record.kind == Kind::Rows {
                hashes.push(record.table_hash);
            }
        }
        (life.found.len(), life.report.gaps.len(), hashes)
    };
    let plain = lanes(file(data));
    assert_eq!((plain.0, plain.2.iter().filter(|hash| **hash == table_hash("sensors")).count()), (22, 16));
    let image = spelled(data, "sensors", "SENSORS");
    assert_eq!(image.windows(8).filter(|bytes| bytes == b"\x07SENSORS").count(), 16);
    assert_eq!(lanes(image), plain);
}

#[test]
fn a_file_of_format_version_2_that_is_damaged_is_taken_over_as_far_as_it_is_intact() {
    let whole = file(include_bytes!("../../../tests/data/ring-format-2.bin"));
    // Both header slots: commits of version 2 tell what they told.
    let mut image = whole.clone();
    image[..512].fill(0xEE);
    image[4096..4096 + 512].fill(0xEE);
    let life = Life::begin(image, Vec::new(), Seq(0));
    assert_eq!((life.report.header, life.found.len()), (HeaderSource::Commits, 22));
    // The end of the log is torn.
    let mut image = whole;
    image[(DATA_START + 10_800) as usize] ^= 1;
    let life = Life::begin(image, Vec::new(), Seq(0));
    assert_eq!(
        (life.found.len(), life.report.lost_rows),
        (20, 0),
        "what was never sealed in full was never acknowledged"
    );
}

#[test]
fn a_file_of_a_later_version_ends_the_start_and_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ring");
    open_at(&path).unwrap().ring.close().unwrap();
    let mut image = std::fs::read(&path).unwrap();
    for slot in [0, 4096] {
        image[slot + 8] = FORMAT_VERSION as u8 + 1;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&image[slot..slot + 12]), &image[slot + 16..slot + 512]);
        image[slot + 12..slot + 16].copy_from_slice(&crc.to_le_bytes());
    }
    std::fs::write(&path, &image).unwrap();
    let Err(error) = open_at(&path) else { panic!("it was opened") };
    assert!(matches!(error, OpenError::Version { version, .. } if version == FORMAT_VERSION + 1), "{error}");
    assert!(error.to_string().contains("left as it is"), "{error}");
    assert!(std::fs::read(&path).unwrap() == image);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing stands beside it");
}
