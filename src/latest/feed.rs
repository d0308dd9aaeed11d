//! The feed of changed series to those who watch; nobody watching costs one atomic load an update.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::broadcast::{self, error::RecvError};

use super::Series;

/// Updates kept for watchers that lag behind.
pub const WATCH_BACKLOG: usize = 1024;

#[derive(Debug)]
pub(super) struct Feed {
    watchers: Arc<AtomicUsize>,
    updates: broadcast::Sender<Arc<Series>>,
}

impl Feed {
    pub fn new() -> Self {
        Self { watchers: Arc::default(), updates: broadcast::Sender::new(WATCH_BACKLOG) }
    }

    pub fn watchers(&self) -> usize {
        self.watchers.load(Ordering::Relaxed)
    }

    pub fn publish(&self, series: Series) {
        // An error says that the last watcher has just gone.
        let _ = self.updates.send(Arc::new(series));
    }

    pub fn subscribe(&self) -> Subscription {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        Subscription { watchers: Arc::clone(&self.watchers), updates: self.updates.subscribe() }
    }
}

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A series changed; this is what it holds since.
    Changed(Arc<Series>),
    /// The watcher was too slow: so many updates, of whichever series, went by. The next event is a new one.
    Missed(u64),
}

/// A watcher's end of the feed. Dropping it ends the watch.
#[derive(Debug)]
pub struct Subscription {
    watchers: Arc<AtomicUsize>,
    updates: broadcast::Receiver<Arc<Series>>,
}

impl Subscription {
    /// The next event; `None` once the map is gone. Safe to cancel.
    pub async fn next(&mut self) -> Option<Event> {
        match self.updates.recv().await {
            Ok(series) => Some(Event::Changed(series)),
            Err(RecvError::Lagged(lost)) => {
                let kept = self.updates.len() as u64;
                self.updates = self.updates.resubscribe();
                Some(Event::Missed(lost + kept))
            }
            Err(RecvError::Closed) => None,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}
