//! Latest values published again, retained, for those who know MQTT only: `[latest] republish_topic`.
//!
//! A client of its own, so that no acknowledgement waits behind what it publishes. It follows the feed of changes like any watcher; what
//! the broker takes too slowly is coalesced by series, and what was missed is made good by going through the map.

mod pending;
pub mod topic;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::{sync::watch, time::sleep};
use utoipa::ToSchema;

pub use self::pending::MAX_PENDING;
use self::{
    pending::{Pending, Taken},
    topic::TopicTemplate,
};
use crate::{
    latest::{Change, Event, Filter, Latest, Series, Subscription, Walk},
    mqtt::{
        ConnectError,
        backoff::Backoff,
        publisher::{Link, Signal},
    },
    settings::Mqtt,
    sync::lock,
};

/// Added to `mqtt.client_id`.
pub const CLIENT_SUFFIX: &str = "-latest";
/// Series taken from the map at a time.
const PART: usize = 64;
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LAST_WAIT: Duration = Duration::from_secs(30);

/// Counters, as `status` shows them.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct RepublishStatus {
    /// Whether there is a connection.
    pub connected: bool,
    /// Messages handed to it since start.
    pub published: u64,
    /// Changes that never left, since newer ones of their series took their place or too many came at a time.
    pub skipped: u64,
    /// Changes of series that the topic has no name for.
    pub unnamed: u64,
    /// Series that wait.
    pub pending: u64,
    /// Connections that failed or ended.
    pub failures: u64,
    /// The last error; none while connected.
    pub error: Option<String>,
}

/// The counters, shared.
#[derive(Debug, Default)]
pub struct SharedRepublish {
    connected: AtomicBool,
    published: AtomicU64,
    skipped: AtomicU64,
    unnamed: AtomicU64,
    pending: AtomicU64,
    failures: AtomicU64,
    error: Mutex<Option<String>>,
}

impl SharedRepublish {
    /// As they are now.
    pub fn status(&self) -> RepublishStatus {
        RepublishStatus {
            connected: self.connected.load(Relaxed),
            published: self.published.load(Relaxed),
            skipped: self.skipped.load(Relaxed),
            unnamed: self.unnamed.load(Relaxed),
            pending: self.pending.load(Relaxed),
            failures: self.failures.load(Relaxed),
            error: lock(&self.error).clone(),
        }
    }

    fn set_error(&self, error: Option<String>) {
        *lock(&self.error) = error;
    }
}

/// What the task needs.
pub struct Task {
    /// The broker.
    pub mqtt: Mqtt,
    /// Where to.
    pub topic: TopicTemplate,
    /// What.
    pub latest: Arc<Latest>,
    /// Counters.
    pub shared: Arc<SharedRepublish>,
    /// True ends it.
    pub stop: watch::Receiver<bool>,
}

/// Publishes until told to stop.
pub async fn run(task: Task) {
    let Some(changes) = task.latest.subscribe(None) else {
        task.shared.set_error(Some("too many watch the latest values".to_owned()));
        return;
    };
    let mut mqtt = task.mqtt.clone();
    mqtt.client_id.push_str(CLIENT_SUFFIX);
    let Task { topic, latest, shared, mut stop, .. } = task;
    let mut work = Work { topic, latest, shared, changes, pending: Pending::default(), walk: None };
    work.go_through();
    let mut backoff = Backoff::new(FIRST_WAIT, LAST_WAIT);
    loop {
        let error = tokio::select! {
            error = work.connection(&mqtt, &mut backoff) => error,
            () = stopped(&mut stop) => return,
        };
        work.shared.connected.store(false, Relaxed);
        work.shared.failures.fetch_add(1, Relaxed);
        tracing::debug!(%error, "latest values are not published");
        work.shared.set_error(Some(error.to_string()));
        // What was under way may be lost, and so may what the broker kept, should it have been restarted: everything goes again.
        work.go_through();
        let wait = backoff.next(fastrand::f64());
        tokio::select! {
            () = work.gather(wait) => {}
            () = stopped(&mut stop) => return,
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

struct Work {
    topic: TopicTemplate,
    latest: Arc<Latest>,
    shared: Arc<SharedRepublish>,
    changes: Subscription,
    pending: Pending,
    /// The map being gone through.
    walk: Option<Walk>,
}

impl Work {
    /// Has everything gathered from the map.
    fn go_through(&mut self) {
        self.walk = Some(Walk::new(Filter::default(), None, None));
    }

    /// Connects and publishes until the connection ends.
    async fn connection(&mut self, mqtt: &Mqtt, backoff: &mut Backoff) -> ConnectError {
        let mut link = match Link::new(mqtt) {
            Ok(link) => link,
            Err(error) => return error,
        };
        let (requests, poller) = link.parts();
        loop {
            let mut polling = std::pin::pin!(poller.poll());
            // Dropping a poll could lose what it had read, so it is kept while changes come in.
            let signal = loop {
                self.refill();
                if self.shared.connected.load(Relaxed) {
                    while let Some(change) = self.pending.pop() {
                        match self.publish(&change, requests) {
                            Some(true) => {}
                            Some(false) => {
                                self.pending.put_back(change);
                                break;
                            }
                            None => drop(self.shared.unnamed.fetch_add(1, Relaxed)),
                        }
                    }
                }
                self.shared.pending.store(self.pending.len() as u64, Relaxed);
                tokio::select! {
                    biased;
                    signal = &mut polling => break signal,
                    event = self.changes.next() => self.take(event),
                }
            };
            match signal {
                Err(error) => return error,
                Ok(Signal::Connected) => {
                    backoff.reset();
                    self.shared.connected.store(true, Relaxed);
                    self.shared.set_error(None);
                }
                // What was queued has left, or an acknowledgement has made room.
                Ok(Signal::Other) => {}
            }
        }
    }

    /// Keeps up with the changes for a while.
    async fn gather(&mut self, time: Duration) {
        let mut over = std::pin::pin!(sleep(time));
        loop {
            tokio::select! {
                () = &mut over => return,
                event = self.changes.next() => self.take(event),
            }
        }
    }

    /// Takes the next series of the map, while it is gone through and there is room.
    fn refill(&mut self) {
        if self.pending.room() < PART {
            return;
        }
        let Some(walk) = &mut self.walk else { return };
        for series in self.latest.part(walk, PART) {
            self.pending.put(Change::Values(series));
        }
        if walk.is_over() {
            self.walk = None;
        }
    }

    fn take(&mut self, event: Event) {
        let skipped = match event {
            Event::Changed(_, change) => match self.pending.put(change) {
                Taken::Waits => 0,
                Taken::Replaced => 1,
                Taken::Full => {
                    self.go_through();
                    1
                }
            },
            Event::Missed(count) => {
                self.go_through();
                count
            }
        };
        self.shared.skipped.fetch_add(skipped, Relaxed);
    }

    /// False when the connection takes no more for now; none when the series has no topic.
    fn publish(&self, change: &Change, requests: &crate::mqtt::publisher::Publish) -> Option<bool> {
        let topic = self.topic.render(change.key())?;
        let payload = match change {
            Change::Values(series) => payload(series),
            // An empty retained message removes the one that is kept (MQTT 5, 3.3.1.3).
            Change::Cleared(_) => Vec::new(),
        };
        let taken = requests.retained(&topic, &payload);
        self.shared.published.fetch_add(u64::from(taken), Relaxed);
        Some(taken)
    }
}

/// A series as in `/v1/latest`, without what would no longer be true when the message is read: age, staleness, state.
fn payload(series: &Series) -> Vec<u8> {
    let view =
        crate::latest::view::View::new(series, crate::marks::State::Memory, crate::point::Timestamp(0), Duration::MAX);
    let mut document = serde_json::to_value(view).unwrap_or_default();
    if let Some(members) = document.as_object_mut() {
        members.retain(|name, _| !matches!(name.as_str(), "age_ms" | "stale" | "state" | "source"));
    }
    document.to_string().into_bytes()
}
