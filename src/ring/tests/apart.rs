//! A large message is written without the lock of the head.

use std::{
    io,
    ops::Range,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use super::*;
use crate::sync::lock;

const LARGE_BODY: usize = 100 << 10;
const LONGEST: Duration = Duration::from_mins(1);

/// Memory in which the first store of a large record waits to be let on.
struct Slow {
    memory: Arc<MemoryMedia>,
    at_store: Mutex<Option<(Sender<()>, Receiver<()>)>>,
}

impl Media for Slow {
    fn len(&self) -> u64 {
        self.memory.len()
    }

    fn load(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.memory.load(at, into)
    }

    fn store(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let stop = if bytes.len() > LARGE_BODY { lock(&self.at_store).take() } else { None };
        if let Some((reached, go_on)) = stop {
            reached.send(()).map_err(io::Error::other)?;
            go_on.recv_timeout(LONGEST).map_err(io::Error::other)?;
        }
        self.memory.store(at, bytes)
    }

    fn sync(&self, range: Range<u64>) -> io::Result<()> {
        self.memory.sync(range)
    }

    fn load_from_disk(&self, at: u64, into: &mut [u8]) -> io::Result<bool> {
        self.memory.load_from_disk(at, into)
    }
}

fn part(body: &[u8]) -> Part<'_> {
    Part { kind: Kind::Rows, table_hash: 1, rows: 1, body, ..Part::default() }
}

#[test]
fn others_append_behind_a_large_message_and_nothing_is_sealed_before_it_is_written() {
    let memory = MemoryMedia::with(vec![0; DATA_START as usize + (1 << 20)]);
    format(&memory, 77).unwrap();
    let memory = Arc::new(memory);
    let (reached, is_reached) = channel();
    let (go_on, may_go_on) = channel();
    let media = Slow { memory: Arc::clone(&memory), at_store: Mutex::new(Some((reached, may_go_on))) };
    let mut report = RecoveryReport::default();
    let (log, ..) = recover_log(Box::new(media), &clock(), &mut report, &mut |_| {}, &mut |_| {}).unwrap();
    log.allow_writing_apart();
    let bodies: Vec<Vec<u8>> = (1..=3).map(|n| vec![n; LARGE_BODY]).collect();
    thread::scope(|scope| {
        let parts: Vec<Part<'_>> = bodies.iter().map(|body| part(body)).collect();
        let large = scope.spawn({
            let log = &log;
            move || log.append(&parts, Received::default(), Tally::default()).unwrap()
        });
        is_reached.recv_timeout(LONGEST).unwrap();
        let small = log.append(&[part(b"small")], Received::default(), Tally::default()).unwrap();
        assert_eq!((small.first, log.appended().seq), (Seq(4), Seq(5)));
        assert!(!log.unsealed() && log.seal().unwrap().is_none(), "no commit covers what is not written");
        go_on.send(()).unwrap();
        let large = large.join().unwrap();
        assert_eq!((large.first, large.last), (Seq(1), Seq(3)));
    });
    assert!(log.commit(true).unwrap().is_some());
    let image = memory.after_power_cut(|| false);
    let expected = bodies.into_iter().chain([b"small".to_vec()]).map(|body| Some((body, 1))).collect();
    let life = Life::begin(image, expected, Seq(4));
    assert_eq!(life.found.len(), 4);
    life.check_recovery("after a power cut");
    assert_eq!(life.log.intake().messages, 2);
}
