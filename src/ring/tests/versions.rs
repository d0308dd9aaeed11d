//! Files of every format version: earlier ones are taken over with all they hold, later ones are left alone.

use super::*;
use crate::{
    entry::{DeadLetter, Rows},
    ring::{HeaderSource, OpenError, Record, layout::FORMAT_VERSION},
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
    let (log, outcome, _) =
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
