//! The thread that waits for QuestDB's answer while its lane encodes the next batch.
//!
//! The writer travels with the job: the lane has it back with the answer, so one request is in flight at most.

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use crate::questdb::{RowBuffer, WriteError, Writer};

/// A request to send.
struct Job {
    writer: Writer,
    buffer: RowBuffer,
}

/// A request that has been answered, or given up.
pub struct Done {
    /// The connection.
    pub writer: Writer,
    /// The rows, still in it.
    pub buffer: RowBuffer,
    /// The answer.
    pub result: Result<(), WriteError>,
    /// How long it took.
    pub took: Duration,
}

/// A lane's sender thread. It ends when the lane drops this.
pub struct Sender {
    jobs: SyncSender<Job>,
    done: Receiver<Done>,
}

impl Sender {
    /// Starts the thread.
    pub fn start(lane: usize) -> io::Result<Self> {
        let (jobs, waiting) = sync_channel::<Job>(1);
        let (answer, done) = sync_channel(1);
        let work = move || {
            while let Ok(Job { mut writer, buffer }) = waiting.recv() {
                let started = Instant::now();
                let result = writer.send(&buffer);
                if answer.send(Done { writer, buffer, result, took: started.elapsed() }).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name(format!("send-{lane}")).spawn(work)?;
        Ok(Self { jobs, done })
    }

    /// Hands a request over; false when the thread is gone.
    pub fn send(&self, writer: Writer, buffer: RowBuffer) -> bool {
        self.jobs.send(Job { writer, buffer }).is_ok()
    }

    /// Waits for the answer; none after the time-out.
    ///
    /// The thread being gone is a bug in it, since a panic aborts the process.
    pub fn wait(&self, timeout: Duration) -> Option<Done> {
        match self.done.recv_timeout(timeout) {
            Ok(done) => Some(done),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => unreachable!("the sender thread ends only after its lane"),
        }
    }
}
