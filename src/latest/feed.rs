//! The feed of changed series to those who watch: a ring of the last changes that anyone may read without a lock, so that a slow watcher
//! holds nobody up. Until somebody watches for the first time it costs one atomic load an update.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
};

use arc_swap::ArcSwapOption;
use futures_util::task::AtomicWaker;

use super::{Key, Series};

/// Changes kept for watchers that lag behind or come back.
pub const WATCH_BACKLOG: usize = 1024;
/// Most that can watch at a time.
pub const MAX_SEATS: usize = u64::BITS as usize;

#[derive(Debug)]
pub(super) struct Feed {
    /// Whether anybody ever watched; from then on changes are kept.
    in_use: AtomicBool,
    /// Number of the next change.
    head: AtomicU64,
    kept: Box<[ArcSwapOption<Told>]>,
    /// Seats taken, a bit each.
    taken: AtomicU64,
    wakers: Box<[AtomicWaker]>,
}

#[derive(Debug)]
struct Told {
    number: u64,
    change: Change,
}

/// What happened to a series.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It changed; this is what it holds since.
    Values(Series),
    /// An empty message cleared it.
    Cleared(Arc<Key>),
}

impl Change {
    /// Whose.
    pub fn key(&self) -> &Arc<Key> {
        match self {
            Self::Values(series) => &series.key,
            Self::Cleared(key) => key,
        }
    }
}

impl Feed {
    pub fn new() -> Self {
        Self {
            in_use: AtomicBool::new(false),
            head: AtomicU64::new(0),
            kept: (0..WATCH_BACKLOG).map(|_| ArcSwapOption::empty()).collect(),
            taken: AtomicU64::new(0),
            wakers: (0..MAX_SEATS).map(|_| AtomicWaker::new()).collect(),
        }
    }

    pub fn watchers(&self) -> u32 {
        self.taken.load(Ordering::Relaxed).count_ones()
    }

    pub fn is_in_use(&self) -> bool {
        self.in_use.load(Ordering::Relaxed)
    }

    pub fn next_number(&self) -> u64 {
        self.head.load(Ordering::SeqCst)
    }

    pub fn publish(&self, change: Change) {
        let number = self.head.fetch_add(1, Ordering::SeqCst);
        self.place(number).store(Some(Arc::new(Told { number, change })));
        let mut taken = self.taken.load(Ordering::SeqCst);
        while taken != 0 {
            self.wakers[taken.trailing_zeros() as usize].wake();
            taken &= taken - 1;
        }
    }

    fn place(&self, number: u64) -> &ArcSwapOption<Told> {
        &self.kept[number as usize % WATCH_BACKLOG]
    }

    /// Begins to watch: from a number on, or from now on. None when every seat is taken.
    pub fn subscribe(self: &Arc<Self>, from: Option<u64>) -> Option<Subscription> {
        let take = |taken: u64| (taken != u64::MAX).then(|| taken | (taken + 1));
        let before = self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).ok()?;
        let seat = before.trailing_ones() as usize;
        self.in_use.store(true, Ordering::SeqCst);
        let head = self.head.load(Ordering::SeqCst);
        Some(Subscription { feed: Arc::clone(self), seat, next: from.unwrap_or(head).min(head) })
    }
}

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A change and its number.
    Changed(u64, Change),
    /// The watcher was too slow: so many changes, of whichever series, went by. The next event is a new one.
    Missed(u64),
}

/// A watcher's end of the feed. Dropping it ends the watch.
#[derive(Debug)]
pub struct Subscription {
    feed: Arc<Feed>,
    seat: usize,
    next: u64,
}

impl Subscription {
    /// Number of the next change this watcher is told of.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// The next event that is there already.
    pub fn poll_next(&mut self) -> Option<Event> {
        let told = self.feed.place(self.next).load_full()?;
        if told.number == self.next {
            self.next += 1;
            return Some(Event::Changed(told.number, told.change.clone()));
        }
        if told.number < self.next {
            return None;
        }
        let head = self.feed.head.load(Ordering::SeqCst);
        let missed = head - self.next;
        self.next = head;
        Some(Event::Missed(missed))
    }

    /// The next event. Safe to cancel.
    pub async fn next(&mut self) -> Event {
        poll_fn(|context| {
            if let Some(event) = self.poll_next() {
                return Poll::Ready(event);
            }
            self.feed.wakers[self.seat].register(context.waker());
            // A change that came in between has woken nobody.
            self.poll_next().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.feed.wakers[self.seat].take();
        self.feed.taken.fetch_and(!(1 << self.seat), Ordering::SeqCst);
    }
}
