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
use crate::{ring::state::StateKind, sync::lock};

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

/// A log whose first large record waits to be stored.
struct Stuck {
    memory: Arc<MemoryMedia>,
    log: Arc<Log>,
    /// Told when it waits.
    is_reached: Receiver<()>,
    /// Lets it go on.
    go_on: Sender<()>,
}

fn stuck() -> Stuck {
    let memory = MemoryMedia::with(vec![0; DATA_START as usize + (1 << 20)]);
    format(&memory, 77).unwrap();
    let memory = Arc::new(memory);
    let (reached, is_reached) = channel();
    let (go_on, may_go_on) = channel();
    let media = Slow { memory: Arc::clone(&memory), at_store: Mutex::new(Some((reached, may_go_on))) };
    let mut report = RecoveryReport::default();
    let Resumed { log, .. } = recover_log(Box::new(media), &clock(), &mut report, &mut |_| {}, &mut |_| {}).unwrap();
    log.allow_writing_apart();
    Stuck { memory, log, is_reached, go_on }
}

#[test]
fn others_append_behind_a_large_message_and_nothing_is_sealed_before_it_is_written() {
    let Stuck { memory, log, is_reached, go_on } = stuck();
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

#[test]
fn the_tail_waits_for_state_that_no_commit_can_carry_meanwhile() {
    let Stuck { memory, log, is_reached, go_on } = stuck();
    let set = |key: &[u8]| log.set_state(StateKind::FILTER, key, Some(b"1")).unwrap();
    set(b"a");
    log.append(&[part(b"first")], Received::default(), Tally::default()).unwrap();
    log.commit(true).unwrap();
    let (tail, to) = (log.tail(), log.durable());
    let bodies: Vec<Vec<u8>> = (1..=3).map(|n| vec![n; LARGE_BODY]).collect();
    thread::scope(|scope| {
        let parts: Vec<Part<'_>> = bodies.iter().map(|body| part(body)).collect();
        let large = scope.spawn({
            let log = &log;
            move || log.append(&parts, Received::default(), Tally::default()).unwrap()
        });
        is_reached.recv_timeout(LONGEST).unwrap();
        assert!(log.move_tail(to).unwrap().is_none());
        // What is written of the state meanwhile is in no commit either.
        set(b"b");
        log.append(&[part(b"small")], Received::default(), Tally::default()).unwrap();
        assert!(log.move_tail(to).unwrap().is_none());
        assert_eq!(log.tail(), tail);
        go_on.send(()).unwrap();
        large.join().unwrap();
    });
    assert!(log.move_tail(to).unwrap().is_some());
    assert_eq!(log.tail(), to);
    let life = Life::begin(memory.after_power_cut(|| false), Vec::new(), Seq(0));
    let keys =
        |states: &crate::ring::States| states.all(StateKind::FILTER).map(|(key, _)| key.to_vec()).collect::<Vec<_>>();
    assert_eq!(life.log.with_states(keys), [b"a".to_vec(), b"b".to_vec()]);
}
