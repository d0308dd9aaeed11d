//! The thread that waits for QuestDB's answer while its lane encodes the next batch.
//!
//! It has the next request at hand: that leaves as soon as the one before is stored, without the lane having to wake up first.

use std::{
    io,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    outside::{Done, Link, May, NotStored},
    seeded::{Bug, is_on},
};
use crate::{
    questdb::{Connection, Dialect, RowBuffer, WriteError, Writer},
    sync::lock,
};

/// Requests handed over and not answered yet, at most: one in flight, one that follows.
const AT_HAND: usize = 2;

/// A request to send.
struct Job {
    buffer: RowBuffer,
    /// Of one that follows another: sent only when that was stored and this agrees.
    follows: Option<May>,
}

/// A lane's connection with its sender thread, which ends when the lane drops this.
pub struct Sender {
    jobs: SyncSender<Job>,
    done: Receiver<Done>,
    /// Locked by the thread while a request is in flight.
    writer: Arc<Mutex<Writer>>,
    /// What the connected server speaks.
    dialect: Option<Dialect>,
}

impl Sender {
    /// Starts the thread; nothing is sent yet.
    pub fn start(lane: usize, connection: Arc<Connection>) -> io::Result<Self> {
        let (jobs, waiting) = sync_channel::<Job>(AT_HAND);
        let (answer, done) = sync_channel(AT_HAND);
        let writer = Arc::new(Mutex::new(Writer::new(connection)));
        let own = Arc::clone(&writer);
        let work = move || {
            let mut is_stored = false;
            while let Ok(Job { buffer, follows }) = waiting.recv() {
                let started = Instant::now();
                let result = if may_leave(follows, is_stored) {
                    lock(&own).send(&buffer).map_err(NotStored::Failed)
                } else {
                    Err(NotStored::Unsent)
                };
                is_stored = result.is_ok();
                if answer.send(Done { buffer, result, took: started.elapsed() }).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name(format!("send-{lane}")).spawn(work)?;
        Ok(Self { jobs, done, writer, dialect: None })
    }
}

/// Whether a request may leave, the one before it being stored or not.
pub fn may_leave(follows: Option<May>, is_stored: bool) -> bool {
    follows.is_none_or(|may| is_stored && (may() || is_on(Bug::FollowWithoutLook)))
}

impl Link for Sender {
    fn connect(&mut self) -> Result<(), WriteError> {
        let in_flight = || WriteError::Other("a request is in flight".to_owned());
        let mut writer = self.writer.try_lock().map_err(|_| in_flight())?;
        writer.connect()?;
        self.dialect = writer.dialect();
        Ok(())
    }

    fn disconnect(&mut self) {
        if let Ok(mut writer) = self.writer.try_lock() {
            writer.disconnect();
            self.dialect = None;
        }
    }

    fn set_request_timeout(&mut self, timeout: Duration) {
        if let Ok(mut writer) = self.writer.try_lock() {
            writer.set_request_timeout(timeout);
        }
    }

    fn buffer(&self, room: usize) -> RowBuffer {
        RowBuffer::speaking(self.dialect.unwrap_or_default(), room)
    }

    fn speaks(&self, buffer: &RowBuffer) -> bool {
        self.dialect.is_none_or(|dialect| dialect == buffer.dialect())
    }

    fn send(&mut self, buffer: RowBuffer) -> bool {
        self.jobs.send(Job { buffer, follows: None }).is_ok()
    }

    fn follow(&mut self, buffer: RowBuffer, may: May) -> bool {
        self.jobs.send(Job { buffer, follows: Some(may) }).is_ok()
    }

    /// The thread being gone is a bug in it, since a panic aborts the process.
    fn wait(&mut self, at_most: Duration) -> Option<Done> {
        match self.done.recv_timeout(at_most) {
            Ok(done) => Some(done),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => unreachable!("the sender thread ends only after its lane"),
        }
    }
}
