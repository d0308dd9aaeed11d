//! A series on the side of the map that is read. Its values are an immutable list behind an atomic
//! pointer; an update puts another list there. No lock is taken here.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;

use super::{Field, Series, key::Key};
use crate::marks::Seq;

/// A series as readers see it.
#[derive(Debug)]
pub(super) struct Shown {
    pub key: Arc<Key>,
    fields: ArcSwap<Vec<Field>>,
    /// The last record that changed it, so that a listing of what is new looks at little else.
    seq: AtomicU64,
}

impl Shown {
    pub fn new(key: Arc<Key>, fields: Arc<Vec<Field>>, seq: Seq) -> Self {
        Self { key, fields: ArcSwap::new(fields), seq: AtomicU64::new(seq.0) }
    }

    pub fn put(&self, fields: Arc<Vec<Field>>, seq: Seq) {
        self.fields.store(fields);
        // A reader that sees this number sees the values stored before it.
        self.seq.fetch_max(seq.0, Ordering::Release);
    }

    pub fn seq(&self) -> Seq {
        Seq(self.seq.load(Ordering::Acquire))
    }

    pub fn series(&self) -> Series {
        Series { key: Arc::clone(&self.key), fields: self.fields.load_full() }
    }
}
