//! What putting rows back into the ring (`requeue/`) needs of the way out.

use std::sync::Arc;

use super::{
    exceptions::{Exceptions, Id},
    quarantine::Quarantine,
    shared::Shared,
};
use crate::{
    clock::SharedClock,
    questdb::Sql,
    ring::{Record, Ring},
};

/// The way out, as whoever puts rows back sees it.
pub struct Outflow {
    /// Where the lanes read.
    pub ring: Ring,
    /// What was set aside.
    pub quarantine: Arc<Quarantine>,
    /// Asks the database.
    pub sql: Sql,
    /// The lanes' clock.
    pub clock: SharedClock,
    pub(super) exceptions: Arc<Exceptions>,
    pub(super) shared: Arc<Shared>,
}

impl Outflow {
    /// Whether a row of a record is in quarantine, or was, so that it is in no table.
    pub fn is_set_aside(&self, record: &Record<'_>, row: u16) -> bool {
        self.exceptions.contains(Id::from(record), row)
    }

    /// Has the lanes take tables for what they are now, whatever is known of them.
    pub fn look_afresh(&self) {
        self.shared.ask_for_fresh_look();
    }
}
