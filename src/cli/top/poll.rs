//! Asking the daemon: its status, with a deadline, and a sample of its updates.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{task::JoinHandle, time::timeout};

use super::tally::{Lively, Tally};
use crate::{
    control::{
        api::SeriesView,
        client::{Client, ClientError},
    },
    sync::lock,
};

/// How often the daemon is asked.
pub const PERIOD: Duration = Duration::from_secs(1);
/// How long it may take to answer; less than the period, so that questions never pile up.
const ANSWER: Duration = Duration::from_millis(900);
/// Updates watched at a stretch.
const SAMPLE: u32 = 500;
/// How often such a stretch begins.
pub const SAMPLE_PERIOD: Duration = Duration::from_secs(2);
/// Series handed on at most.
const MAX_LIVELY: usize = 200;

/// Asks for the status over one connection, made anew when it breaks.
pub struct Poller {
    socket: PathBuf,
    client: Option<Client>,
}

impl Poller {
    /// Asks the daemon behind this socket.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.into(), client: None }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The status.
    pub async fn status(&mut self) -> Result<Value, ClientError> {
        if let Some(client) = self.client.take()
            && let Ok(status) = self.ask(client).await
        {
            return Ok(status);
        }
        // The daemon may have restarted since; a second silence in a row takes twice as long.
        let client = within(&self.socket, Client::connect(&self.socket)).await?;
        self.ask(client).await
    }

    async fn ask(&mut self, mut client: Client) -> Result<Value, ClientError> {
        let status = within(&self.socket, client.get_json("/v1/status")).await?;
        self.client = Some(client);
        Ok(status)
    }
}

async fn within<T>(socket: &Path, work: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    let late = || ClientError::Silent { path: socket.into(), within: PERIOD };
    timeout(ANSWER, work).await.unwrap_or_else(|_| Err(late()))
}

/// Watches samples of the daemon's updates until it is dropped.
pub struct Watcher {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

struct Seen {
    began: Instant,
    tally: Tally,
    watching: bool,
    note: Option<String>,
}

impl Watcher {
    /// Begins to watch; must be called inside the runtime.
    pub fn start(socket: &Path) -> Self {
        let seen = Seen { began: Instant::now(), tally: Tally::default(), watching: false, note: None };
        let seen = Arc::new(Mutex::new(seen));
        let task = tokio::spawn(watch(socket.into(), Arc::clone(&seen)));
        Self { seen, task }
    }

    /// The liveliest series so far, and why there may be none.
    pub fn liveliest(&self) -> (Vec<Lively>, Option<String>) {
        let mut seen = lock(&self.seen);
        let (now, watching) = (seen.began.elapsed(), seen.watching);
        seen.tally.pass(now, watching);
        (seen.tally.liveliest(now, MAX_LIVELY), seen.note.clone())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(socket: PathBuf, seen: Arc<Mutex<Seen>>) {
    let mut turns = tokio::time::interval(SAMPLE_PERIOD);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let ended = sample(&socket, &seen).await;
        let mut seen = lock(&seen);
        let (now, watching) = (seen.began.elapsed(), seen.watching);
        seen.tally.pass(now, watching);
        seen.watching = false;
        seen.note = ended.err().map(|why| why.to_string());
    }
}

/// One stretch. On a quiet daemon it never ends, on a busy one soon.
async fn sample(socket: &Path, seen: &Mutex<Seen>) -> Result<(), ClientError> {
    let client = within(socket, Client::connect(socket)).await?;
    let mut events = within(socket, client.events("/v1/watch")).await?;
    let start = |seen: &mut Seen| {
        let now = seen.began.elapsed();
        seen.tally.pass(now, false);
        (seen.watching, seen.note) = (true, None);
    };
    start(&mut lock(seen));
    for _ in 0..SAMPLE {
        let Some(event) = events.next().await? else { break };
        if event.event == "missed" {
            // What follows is what holds now, which is no update; the next stretch begins afresh.
            break;
        }
        if !event.event.is_empty() {
            continue;
        }
        let Ok(series) = serde_json::from_str::<SeriesView>(&event.data) else { continue };
        let mut seen = lock(seen);
        let now = seen.began.elapsed();
        seen.tally.pass(now, true);
        seen.tally.count(now, series);
    }
    Ok(())
}
