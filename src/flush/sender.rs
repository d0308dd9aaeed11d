//! The thread that waits for QuestDB's answer while its lane encodes the next batch.
//!
//! The writer travels with the job: the lane has it back with the answer, so one request is in flight at most.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::outside::{Done, Link};
use crate::questdb::{Connection, RowBuffer, WriteError, Writer};

/// A request to send.
struct Job {
    writer: Writer,
    buffer: RowBuffer,
}

/// A lane's connection with its sender thread, which ends when the lane drops this.
pub struct Sender {
    jobs: SyncSender<Job>,
    done: Receiver<(Writer, Done)>,
    /// With the thread while a request is in flight.
    writer: Option<Writer>,
}

impl Sender {
    /// Starts the thread; nothing is sent yet.
    pub fn start(lane: usize, connection: Arc<Connection>) -> io::Result<Self> {
        let (jobs, waiting) = sync_channel::<Job>(1);
        let (answer, done) = sync_channel(1);
        let work = move || {
            while let Ok(Job { mut writer, buffer }) = waiting.recv() {
                let started = Instant::now();
                let result = writer.send(&buffer);
                if answer.send((writer, Done { buffer, result, took: started.elapsed() })).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name(format!("send-{lane}")).spawn(work)?;
        Ok(Self { jobs, done, writer: Some(Writer::new(connection)) })
    }
}

impl Link for Sender {
    fn connect(&mut self) -> Result<(), WriteError> {
        let in_flight = || WriteError::Other("a request is in flight".to_owned());
        self.writer.as_mut().ok_or_else(in_flight)?.connect()
    }

    fn disconnect(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.disconnect();
        }
    }

    fn set_request_timeout(&mut self, timeout: Duration) -> Result<bool, WriteError> {
        self.writer.as_mut().map_or(Ok(false), |writer| writer.set_request_timeout(timeout))
    }

    fn buffer(&self, room: usize) -> RowBuffer {
        self.writer.as_ref().map_or_else(|| RowBuffer::default().with_room(room), |writer| writer.buffer(room))
    }

    fn speaks(&self, buffer: &RowBuffer) -> bool {
        self.writer.as_ref().is_none_or(|writer| writer.speaks(buffer))
    }

    fn send(&mut self, buffer: RowBuffer) -> bool {
        self.writer.take().is_some_and(|writer| self.jobs.send(Job { writer, buffer }).is_ok())
    }

    /// The thread being gone is a bug in it, since a panic aborts the process.
    fn wait(&mut self, at_most: Duration) -> Option<Done> {
        match self.done.recv_timeout(at_most) {
            Ok((writer, done)) => {
                self.writer = Some(writer);
                Some(done)
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => unreachable!("the sender thread ends only after its lane"),
        }
    }
}
